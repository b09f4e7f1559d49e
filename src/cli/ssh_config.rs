//! `bramblegate ssh-config`: prints or installs ssh settings for the nodes.

mod install;

use std::net::{IpAddr, Ipv6Addr};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use super::nodes::known::Inventory;
use super::nodes::{code, report};
use super::{exit, output, settings};
use crate::watch::host::name;

const EXAMPLES: &str = "\
Examples:
  ssh pi@HEAD bramblegate ssh-config --user pi > ~/.ssh/bramble
      on a laptop, back the way it came; then put `Include bramble` first in ~/.ssh/config
  bramblegate ssh-config --install --direct --user pi
      on the head node itself, included by ~/.ssh/config
  bramblegate ssh-config --via pi@rack.local --user pi
      through a head that has a name, which is the same in each venue
  bramblegate ssh-config --direct --user pi > ~/.ssh/bramble
      on the head node itself; Include as above";

/// Default port of ssh.
const SSH: u16 = 22;

/// Print or install ssh settings for the nodes
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub struct Args {
    /// The way to the head node
    ///
    /// Without it the jump host is taken from your current ssh session, else the address on the
    /// panel's first row, or this machine's name.
    #[arg(long, value_name = "[USER@]HEAD", conflicts_with = "direct")]
    pub via: Option<String>,
    /// For use on the head node itself: no jump host
    #[arg(long)]
    pub direct: bool,
    /// User name on the nodes
    #[arg(long)]
    pub user: Option<String>,
    /// Status socket, if not that of the settings
    #[arg(long, value_name = "PATH")]
    pub socket: Option<PathBuf>,
    /// Write them below ~/.ssh and include them there
    ///
    /// They go to ~/.ssh/config.d/bramblegate. A line at the top of ~/.ssh/config includes that
    /// file; the other lines stay. Run it again to update them.
    #[arg(long)]
    pub install: bool,
    /// With --install: print it, change nothing
    #[arg(short = 'n', long, requires = "install")]
    pub dry_run: bool,
    #[command(flatten)]
    pub config: settings::ConfigArg,
}

pub fn main(args: Args) -> ExitCode {
    for (option, value) in [("--via", &args.via), ("--user", &args.user)] {
        if value.as_deref().is_some_and(|value| !is_word(value)) {
            output::error(
                &format!("ssh-config: {option} takes one word"),
                "write a name such as pi, or for --via pi@head.local",
            );
            return ExitCode::from(exit::USAGE);
        }
    }
    let via = match args.via.as_deref().map(JumpHost::parse).transpose() {
        Ok(via) => via,
        Err(mistake) => {
            output::error(
                &format!("ssh-config: --via: {mistake}"),
                "write [USER@]HEAD or [USER@]HEAD:PORT, such as pi@head.local:2222",
            );
            return ExitCode::from(exit::USAGE);
        }
    };
    let inventory = match Inventory::load(args.socket, &args.config.config) {
        Ok(inventory) => inventory,
        Err(unknown) => return report("ssh-config", &unknown),
    };
    if inventory.nodes.iter().all(|node| node.address.is_none()) {
        output::error(
            "ssh-config: no node has an address yet",
            "switch the nodes on; `bramblegate nodes` lists them",
        );
        return ExitCode::from(code::REFUSED);
    }
    let domain =
        settings::load(&args.config.config).ok().map(|merged| merged.settings.cluster.domain);
    let jump_host = (!args.direct).then(|| via.unwrap_or_else(|| jump_host(&inventory)));
    let head = jump_host
        .map(|jump_host| Head { name: head_name(&settings::host_name(), &inventory), jump_host });
    let text = text(&inventory, domain.as_deref(), head.as_ref(), args.user.as_deref());
    if args.install {
        return install::main(&text, args.dry_run);
    }
    ExitCode::from(output::deliver(&text))
}

/// Returns whether the text is a single word in ssh's settings.
fn is_word(value: &str) -> bool {
    !value.is_empty()
        && !value.starts_with('-')
        && value.chars().all(|c| c.is_ascii_alphanumeric() || "@.-_:[]%".contains(c))
}

/// How ssh reaches the head.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct JumpHost {
    user: Option<String>,
    /// An address or a name, without brackets.
    host: String,
    /// `None`: 22.
    port: Option<u16>,
}

/// What is wrong with a way to the head.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
enum Mistake {
    #[error("the user is empty")]
    UserMissing,
    #[error("the name of the head is empty")]
    HostMissing,
    #[error("\"{0}\" is not an IPv6 address")]
    Address(String),
    #[error("\"{0}\" is not a port from 1 to 65535")]
    Port(String),
    #[error("\"{0}\" is not a name or an address")]
    Name(String),
}

impl JumpHost {
    /// Parses `[USER@]HOST[:PORT]`, an IPv6 address with a port in brackets, as `ProxyJump` takes
    /// it (ssh_config(5)).
    ///
    /// # Errors
    /// A part is empty, or is not what it stands for.
    fn parse(text: &str) -> Result<Self, Mistake> {
        let (user, rest) = text
            .rsplit_once('@')
            .map_or((None, text), |(user, rest)| (Some(user.to_owned()), rest));
        if user.as_deref() == Some("") {
            return Err(Mistake::UserMissing);
        }
        let bracketed = rest.strip_prefix('[').and_then(|rest| rest.split_once(']'));
        let (host, port) = match bracketed {
            Some((host, "")) => (host, None),
            Some((host, after)) => (host, Some(after.strip_prefix(':').unwrap_or(after))),
            None if rest.matches(':').count() > 1 => (rest, None),
            None => rest.split_once(':').map_or((rest, None), |(host, port)| (host, Some(port))),
        };
        if host.is_empty() {
            return Err(Mistake::HostMissing);
        }
        if host.contains(['[', ']']) {
            return Err(Mistake::Name(host.to_owned()));
        }
        let address = host.split('%').next().unwrap_or_default();
        if host.contains(':') && address.parse::<Ipv6Addr>().is_err() {
            return Err(Mistake::Address(host.to_owned()));
        }
        let number = |port: &str| {
            let number = port.parse().ok().filter(|number| *number > 0);
            number.ok_or_else(|| Mistake::Port(port.to_owned()))
        };
        let port = port.map(number).transpose()?.filter(|port| *port != SSH);
        Ok(Self { user, host: host.to_owned(), port })
    }
}

/// The head as a host of its own. Its key is stored by name: its address differs between venues.
struct Head {
    name: String,
    jump_host: JumpHost,
}

/// Returns a name for the head, in one word that no node has.
fn head_name(host_name: &str, inventory: &Inventory) -> String {
    let label = host_name.split('.').next().unwrap_or_default().to_ascii_lowercase();
    let fine = !label.is_empty() && label.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
    let taken =
        |name: &str| inventory.nodes.iter().any(|node| node.name.eq_ignore_ascii_case(name));
    let free = |name: &String| !taken(name);
    let own = Some(label).filter(|label| fine && label != "localhost").filter(free);
    own.unwrap_or_else(|| "bramblegate-head".to_owned())
}

/// Returns the jump host: as of the current ssh session, else at the address on the panel.
fn jump_host(inventory: &Inventory) -> JumpHost {
    let variable = |name| std::env::var(name).ok();
    match variable("SSH_CONNECTION")
        .and_then(|connection| session_server(&connection, &inventory.held))
    {
        Some((address, port)) => jump_host_at(
            variable("LOGNAME").filter(|user| is_word(user)).as_deref(),
            Some(address),
            port,
        ),
        None => {
            let ports = name::ssh_ports(Path::new("/"));
            let other = ports.first().filter(|_| !ports.contains(&SSH));
            jump_host_at(None, inventory.head, other.copied().unwrap_or(SSH))
        }
    }
}

/// Returns address and port of the server of the current ssh session (ssh(1), `SSH_CONNECTION`),
/// which are known to work. `None` if the head does not hold that address: the variable may be
/// older than the log-in.
fn session_server(connection: &str, held: &[IpAddr]) -> Option<(IpAddr, u16)> {
    let mut words = connection.split(' ').skip(2);
    let address = words.next()?.parse::<IpAddr>().ok()?.to_canonical();
    let port = words.next()?.parse().ok()?;
    (held.contains(&address) || (held.is_empty() && !address.is_loopback()))
        .then_some((address, port))
}

/// Returns a jump host at an address, else by its name as the venue's network may find it.
fn jump_host_at(user: Option<&str>, address: Option<IpAddr>, port: u16) -> JumpHost {
    let host = match address {
        Some(address) => address.to_string(),
        None => {
            let name = settings::host_name();
            if name.contains('.') { name } else { format!("{name}.local") }
        }
    };
    JumpHost { user: user.map(str::to_owned), host, port: Some(port).filter(|port| *port != SSH) }
}

fn text(
    inventory: &Inventory,
    domain: Option<&str>,
    head: Option<&Head>,
    user: Option<&str>,
) -> String {
    let mut text = "# The cluster's nodes, by `bramblegate ssh-config`.\n".to_owned();
    if let Some(Head { name, jump_host: JumpHost { user, host, port } }) = head {
        let whole = domain.map_or_else(|| name.clone(), |domain| format!("{name}.{domain}"));
        let names = if whole == *name { whole.clone() } else { format!("{name} {whole}") };
        text += &format!(
            "\n# The way to them. The address is the one of this venue, the key is the same at \
             all.\nHost {names}\n"
        );
        text += &format!("    HostName {host}\n    HostKeyAlias {whole}\n");
        for (key, value) in [("Port", port.map(|port| port.to_string())), ("User", user.clone())] {
            text += &value.map(|value| format!("    {key} {value}\n")).unwrap_or_default();
        }
    }
    let jump = head.map(|head| head.name.as_str());
    for node in &inventory.nodes {
        // A node without IPv4 is reached at its own IPv6 address.
        let Some(address) = node.address.or(node.ipv6.first().copied()) else { continue };
        let whole = domain.map(|domain| format!("{}.{domain}", node.name));
        let mut names: Vec<&str> =
            [Some(node.name.as_str()), whole.as_deref()].into_iter().flatten().collect();
        // Unlike DNS, ssh distinguishes upper and lower case.
        let lower: Vec<String> = names.iter().map(|name| name.to_ascii_lowercase()).collect();
        if !lower.iter().eq(&names) {
            names.extend(lower.iter().map(String::as_str));
        }
        text += &format!("\nHost {}\n    HostName {address}\n", names.join(" "));
        // Addresses change with the venue and recur in other clusters: keys are stored by name.
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

    fn inventory() -> Inventory {
        let node = |name: &str, address: Option<&str>| Node {
            name: name.to_owned(),
            mac: None,
            address: address.map(|address| address.parse().unwrap()),
            ipv6: Vec::new(),
            found: false,
            group: None,
            health: "unknown".to_owned(),
        };
        let nodes = vec![node("rpi1", Some("192.168.50.11")), node("rpi2", None)];
        Inventory { nodes, ..Inventory::default() }
    }

    #[test]
    fn each_node_with_an_address_is_a_host_behind_the_head() {
        let head = Head {
            name: "head".into(),
            jump_host: JumpHost::parse("pi@10.99.0.126:2222").unwrap(),
        };
        assert_eq!(
            text(&inventory(), Some("bramble"), Some(&head), Some("pi")),
            "# The cluster's nodes, by `bramblegate ssh-config`.\n\n\
             # The way to them. The address is the one of this venue, the key is the same at all.\n\
             Host head head.bramble\n    HostName 10.99.0.126\n    HostKeyAlias head.bramble\n    \
             Port 2222\n    User pi\n\n\
             Host rpi1 rpi1.bramble\n    HostName 192.168.50.11\n    HostKeyAlias \
             rpi1.bramble\n    User pi\n    \
             ProxyJump head\n"
        );
        assert!(!text(&inventory(), None, None, None).contains("ProxyJump"));
    }

    #[test]
    fn a_node_that_speaks_only_ipv6_is_a_host_too() {
        let mut inventory = inventory();
        inventory.nodes[1].ipv6 = vec!["fd12::2".parse().unwrap(), "fd12::3".parse().unwrap()];
        let text = text(&inventory, Some("bramble"), None, None);
        assert!(text.contains("Host rpi2 rpi2.bramble\n    HostName fd12::2\n"), "{text}");
    }

    #[test]
    fn the_head_has_a_name_that_no_node_has() {
        for (host_name, name) in [
            ("Rack.local", "rack"),
            ("rpi1", "bramblegate-head"),
            ("localhost", "bramblegate-head"),
            ("", "bramblegate-head"),
            ("a\nProxyCommand x", "bramblegate-head"),
        ] {
            assert_eq!(head_name(host_name, &inventory()), name, "{host_name:?}");
        }
    }

    #[test]
    fn names_with_capitals_are_found_in_both_spellings() {
        let mut inventory = inventory();
        inventory.nodes[0].name = "RPI1".into();
        assert!(
            text(&inventory, Some("bramble"), None, None)
                .contains("\nHost RPI1 RPI1.bramble rpi1 rpi1.bramble\n")
        );
    }

    #[test]
    fn the_way_is_read_as_ssh_reads_it() {
        let jump_host = |user: Option<&str>, host: &str, port| JumpHost {
            user: user.map(str::to_owned),
            host: host.into(),
            port,
        };
        for (text, expected) in [
            ("rack.local", jump_host(None, "rack.local", None)),
            ("pi@rack.local:22", jump_host(Some("pi"), "rack.local", None)),
            ("pi@10.99.0.126:2222", jump_host(Some("pi"), "10.99.0.126", Some(2222))),
            ("2001:db8::7", jump_host(None, "2001:db8::7", None)),
            ("pi@[2001:db8::7]:2222", jump_host(Some("pi"), "2001:db8::7", Some(2222))),
            ("[fe80::1%eth0]", jump_host(None, "fe80::1%eth0", None)),
        ] {
            assert_eq!(JumpHost::parse(text), Ok(expected), "{text}");
        }
        assert_eq!(
            jump_host_at(Some("pi"), "2001:db8::7".parse().ok(), 2222),
            jump_host(Some("pi"), "2001:db8::7", Some(2222))
        );
        assert_eq!(
            jump_host_at(None, "10.99.0.126".parse().ok(), 22),
            jump_host(None, "10.99.0.126", None)
        );
    }

    /// A part that is dropped would make settings with which ssh goes elsewhere.
    #[test]
    fn a_way_that_lacks_a_part_is_refused() {
        for (text, why) in [
            ("pi@", "head is empty"),
            ("@head", "user is empty"),
            ("", "head is empty"),
            (":22", "head is empty"),
            ("pi@[]:22", "head is empty"),
            ("head:", "is not a port"),
            ("head:abc", "\"abc\" is not a port"),
            ("head:0", "is not a port"),
            ("head:65536", "is not a port"),
            ("[2001:db8::7]22x", "is not a port"),
            ("head:22:33", "is not an IPv6 address"),
            ("[head:1]", "is not an IPv6 address"),
            ("[2001:db8::7", "is not a name"),
        ] {
            let mistake = JumpHost::parse(text).unwrap_err().to_string();
            assert!(mistake.contains(why), "{text}: {mistake}");
        }
    }

    #[test]
    fn a_user_who_is_logged_in_comes_back_the_same_way() {
        let held: Vec<IpAddr> =
            ["10.99.0.126", "2001:db8::7"].map(|address| address.parse().unwrap()).into();
        let way = |connection: &str, held: &[IpAddr]| {
            session_server(connection, held).map(|(host, port)| format!("{host} {port}"))
        };
        assert_eq!(
            way("10.99.0.20 45952 10.99.0.126 2222", &held).as_deref(),
            Some("10.99.0.126 2222")
        );
        assert_eq!(
            way("10.99.0.20 45952 ::ffff:10.99.0.126 22", &held).as_deref(),
            Some("10.99.0.126 22")
        );
        assert_eq!(
            way("2001:db8::20 45952 2001:db8::7 22", &held).as_deref(),
            Some("2001:db8::7 22")
        );
        assert_eq!(
            way("10.99.0.20 45952 10.99.0.99 22", &held),
            None,
            "of another machine, or of another time"
        );
        assert_eq!(
            way("10.99.0.20 45952 10.99.0.99 22", &[]).as_deref(),
            Some("10.99.0.99 22"),
            "no daemon to ask"
        );
        assert_eq!(way("127.0.0.1 45952 127.0.0.1 22", &[]), None);
        for odd in
            ["", "10.99.0.20", "fe80::1%eth1 4 fe80::2%eth1 22", "10.99.0.20 45952 10.99.0.126 x"]
        {
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
