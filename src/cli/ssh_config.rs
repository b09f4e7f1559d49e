//! `bramblegate ssh-config`.

use std::net::IpAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use super::nodes::known::Known;
use super::nodes::{code, tell};
use super::{exit, output, settings};

const EXAMPLES: &str = "\
Examples:
  ssh pi@HEAD bramblegate ssh-config --via pi@HEAD --user pi > ~/.ssh/bramble
      on a laptop; then put `Include bramble` first in ~/.ssh/config. HEAD: a name, as rack.local, is the same in each venue
  bramblegate ssh-config --direct --user pi
      for use on the head node itself";

/// Print ready-made ssh settings for the nodes, through the head node
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// The way to the head node; without it the address on the panel's first row, or this machine's name
    #[arg(long, value_name = "[USER@]HEAD", conflicts_with = "direct")]
    pub via: Option<String>,
    /// For use on the head node: no way through it
    #[arg(long)]
    pub direct: bool,
    /// Whom to log in as on the nodes
    #[arg(long)]
    pub user: Option<String>,
    /// The daemon's status socket; without it the one that the settings name
    #[arg(long, value_name = "PATH")]
    pub socket: Option<PathBuf>,
    #[command(flatten)]
    pub config: settings::ConfigArg,
}

pub fn main(args: Args) -> ExitCode {
    for (option, value) in [("--via", &args.via), ("--user", &args.user)] {
        if value.as_deref().is_some_and(|value| !is_word(value)) {
            output::err(&format!("bramblegate ssh-config: {option} takes one word, such as pi@head.local\n"));
            return ExitCode::from(exit::USAGE);
        }
    }
    let known = match Known::look(args.socket, &args.config.config) {
        Ok(known) => known,
        Err(unknown) => return tell("ssh-config", &unknown),
    };
    if known.nodes.iter().all(|node| node.address.is_none()) {
        output::err("bramblegate ssh-config: no node has an address yet: `bramblegate nodes` lists them\n");
        return ExitCode::from(code::REFUSED);
    }
    let domain = settings::load(&args.config.config).ok().map(|merged| merged.settings.cluster.domain);
    let jump = (!args.direct).then(|| args.via.unwrap_or_else(|| head(known.head)));
    ExitCode::from(output::deliver(&text(&known, domain.as_deref(), jump.as_deref(), args.user.as_deref())))
}

/// Nothing that ssh's settings would take for more than one word.
fn is_word(value: &str) -> bool {
    !value.is_empty()
        && !value.starts_with('-')
        && value.chars().all(|c| c.is_ascii_alphanumeric() || "@.-_:[]%".contains(c))
}

/// Where the head answers: the address on row 1, else its name as the venue's network may find it.
fn head(address: Option<IpAddr>) -> String {
    match address {
        Some(IpAddr::V4(address)) => address.to_string(),
        Some(IpAddr::V6(address)) => format!("[{address}]"),
        None => {
            let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
            if name.contains('.') { name } else { format!("{name}.local") }
        }
    }
}

fn text(known: &Known, domain: Option<&str>, jump: Option<&str>, user: Option<&str>) -> String {
    let mut text = "# The cluster's nodes, by `bramblegate ssh-config`.\n".to_owned();
    for node in &known.nodes {
        let Some(address) = node.address else { continue };
        let whole = domain.map(|domain| format!("{}.{domain}", node.name));
        let names = whole.iter().map(|whole| format!(" {whole}")).collect::<String>();
        text += &format!("\nHost {}{names}\n    HostName {address}\n", node.name);
        // Addresses move with the venue, and every cluster has the same ones: keys go by the name.
        text += &format!("    HostKeyAlias {}\n", whole.as_deref().unwrap_or(&node.name));
        for (key, value) in [("User", user), ("ProxyJump", jump)] {
            text += &value.map(|value| format!("    {key} {value}\n")).unwrap_or_default();
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::nodes::known::Node;

    fn known() -> Known {
        let node = |name: &str, address: Option<&str>| Node {
            name: name.to_owned(),
            mac: None,
            address: address.map(|address| address.parse().unwrap()),
            found: false,
        };
        Known { nodes: vec![node("rpi1", Some("192.168.50.11")), node("rpi2", None)], head: None }
    }

    #[test]
    fn each_node_with_an_address_is_a_host_behind_the_head() {
        assert_eq!(
            text(&known(), Some("bramble"), Some("pi@10.99.0.126"), Some("pi")),
            "# The cluster's nodes, by `bramblegate ssh-config`.\n\n\
             Host rpi1 rpi1.bramble\n    HostName 192.168.50.11\n    HostKeyAlias rpi1.bramble\n    User pi\n    \
             ProxyJump pi@10.99.0.126\n"
        );
        assert!(!text(&known(), None, None, None).contains("ProxyJump"));
    }

    #[test]
    fn an_ipv6_head_is_written_as_ssh_reads_it() {
        assert_eq!(head(Some("2001:db8::7".parse().unwrap())), "[2001:db8::7]");
        assert_eq!(head(Some("10.99.0.126".parse().unwrap())), "10.99.0.126");
    }

    #[test]
    fn words_that_would_be_settings_are_refused() {
        assert!(is_word("pi@head.local") && is_word("pi@[2001:db8::7]:2222"));
        for bad in ["", "a b", "-oProxyCommand=x", "a\nProxyCommand x", "$(x)"] {
            assert!(!is_word(bad), "{bad:?}");
        }
    }
}
