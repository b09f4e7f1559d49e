//! `bramblegate ssh-config`.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use super::nodes::known::Known;
use super::nodes::{code, tell};
use super::{exit, output, settings};
use crate::source::host;

const EXAMPLES: &str = "\
Examples:
  ssh pi@HEAD bramblegate ssh-config --user pi > ~/.ssh/bramble
      on a laptop, back the way it came; then put `Include bramble` first in ~/.ssh/config
  bramblegate ssh-config --via pi@rack.local --user pi
      through a head that has a name, which is the same in each venue
  bramblegate ssh-config --direct --user pi > ~/.ssh/bramble
      on the head node itself; Include as above";

/// Where an ssh server listens unless it is told otherwise.
const SSH: u16 = 22;

/// Print ready-made ssh settings for the nodes, through the head node
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// The way to the head node; without it the one by which you are logged in, the address on the panel's first row, or this
    /// machine's name
    #[arg(long, value_name = "[USER@]HEAD", conflicts_with = "direct")]
    pub via: Option<String>,
    /// For use on the head node: no way through it
    #[arg(long)]
    pub direct: bool,
    /// Whom to log in as on the nodes; without it ssh takes your name where you use it
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
    let jump = (!args.direct).then(|| args.via.unwrap_or_else(|| way(&known)));
    ExitCode::from(output::deliver(&text(&known, domain.as_deref(), jump.as_deref(), args.user.as_deref())))
}

/// Nothing that ssh's settings would take for more than one word.
fn is_word(value: &str) -> bool {
    !value.is_empty()
        && !value.starts_with('-')
        && value.chars().all(|c| c.is_ascii_alphanumeric() || "@.-_:[]%".contains(c))
}

/// The way to the head, as `ProxyJump` takes it.
fn way(known: &Known) -> String {
    let variable = |name| std::env::var(name).ok();
    match variable("SSH_CONNECTION").and_then(|connection| came_by(&connection, &known.held)) {
        Some((address, port)) => jump(variable("LOGNAME").filter(|user| is_word(user)).as_deref(), Some(address), port),
        None => {
            let ports = host::ssh_ports(Path::new("/"));
            let other = ports.first().filter(|_| !ports.contains(&SSH));
            jump(None, known.head, other.copied().unwrap_or(SSH))
        }
    }
}

/// Address and port by which whoever asks is logged in (ssh(1), `SSH_CONNECTION`): what has just worked. Not where the head
/// holds no such address: the variable may be older than the login that it tells of.
fn came_by(connection: &str, held: &[IpAddr]) -> Option<(IpAddr, u16)> {
    let mut words = connection.split(' ').skip(2);
    let address = words.next()?.parse::<IpAddr>().ok()?.to_canonical();
    let port = words.next()?.parse().ok()?;
    (held.contains(&address) || (held.is_empty() && !address.is_loopback())).then_some((address, port))
}

/// Where the head answers: at an address, else by its name as the venue's network may find it.
fn jump(user: Option<&str>, address: Option<IpAddr>, port: u16) -> String {
    let host = match address {
        Some(IpAddr::V4(address)) => address.to_string(),
        Some(IpAddr::V6(address)) => format!("[{address}]"),
        None => {
            let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
            if name.contains('.') { name } else { format!("{name}.local") }
        }
    };
    let user = user.map(|user| format!("{user}@")).unwrap_or_default();
    let port = if port == SSH { String::new() } else { format!(":{port}") };
    format!("{user}{host}{port}")
}

fn text(known: &Known, domain: Option<&str>, jump: Option<&str>, user: Option<&str>) -> String {
    let mut text = "# The cluster's nodes, by `bramblegate ssh-config`.\n".to_owned();
    for node in &known.nodes {
        let Some(address) = node.address else { continue };
        let whole = domain.map(|domain| format!("{}.{domain}", node.name));
        let mut names: Vec<&str> = [Some(node.name.as_str()), whole.as_deref()].into_iter().flatten().collect();
        // To ssh, unlike DNS, a capital is another letter.
        let lower: Vec<String> = names.iter().map(|name| name.to_ascii_lowercase()).collect();
        if !lower.iter().eq(&names) {
            names.extend(lower.iter().map(String::as_str));
        }
        text += &format!("\nHost {}\n    HostName {address}\n", names.join(" "));
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
        let nodes = vec![node("rpi1", Some("192.168.50.11")), node("rpi2", None)];
        Known { nodes, ..Known::default() }
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
    fn names_with_capitals_are_found_in_both_spellings() {
        let mut known = known();
        known.nodes[0].name = "RPI1".into();
        assert!(text(&known, Some("bramble"), None, None).contains("\nHost RPI1 RPI1.bramble rpi1 rpi1.bramble\n"));
    }

    #[test]
    fn the_way_is_written_as_ssh_reads_it() {
        assert_eq!(jump(None, "2001:db8::7".parse().ok(), 22), "[2001:db8::7]");
        assert_eq!(jump(Some("pi"), "2001:db8::7".parse().ok(), 2222), "pi@[2001:db8::7]:2222");
        assert_eq!(jump(None, "10.99.0.126".parse().ok(), 22), "10.99.0.126");
    }

    #[test]
    fn whoever_is_logged_in_comes_back_the_same_way() {
        let held: Vec<IpAddr> = ["10.99.0.126", "2001:db8::7"].map(|address| address.parse().unwrap()).into();
        let way =
            |connection: &str, held: &[IpAddr]| came_by(connection, held).map(|(host, port)| format!("{host} {port}"));
        assert_eq!(way("10.99.0.20 45952 10.99.0.126 2222", &held).as_deref(), Some("10.99.0.126 2222"));
        assert_eq!(way("10.99.0.20 45952 ::ffff:10.99.0.126 22", &held).as_deref(), Some("10.99.0.126 22"));
        assert_eq!(way("2001:db8::20 45952 2001:db8::7 22", &held).as_deref(), Some("2001:db8::7 22"));
        assert_eq!(way("10.99.0.20 45952 10.99.0.99 22", &held), None, "of another machine, or of another time");
        assert_eq!(way("10.99.0.20 45952 10.99.0.99 22", &[]).as_deref(), Some("10.99.0.99 22"), "no daemon to ask");
        assert_eq!(way("127.0.0.1 45952 127.0.0.1 22", &[]), None);
        for odd in ["", "10.99.0.20", "fe80::1%eth1 4 fe80::2%eth1 22", "10.99.0.20 45952 10.99.0.126 x"] {
            assert_eq!(way(odd, &held), None, "{odd:?}");
        }
    }

    #[test]
    fn words_that_would_be_settings_are_refused() {
        assert!(is_word("pi@head.local") && is_word("pi@[2001:db8::7]:2222"));
        for bad in ["", "a b", "-oProxyCommand=x", "a\nProxyCommand x", "$(x)"] {
            assert!(!is_word(bad), "{bad:?}");
        }
    }
}
