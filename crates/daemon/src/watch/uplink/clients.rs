//! Detects the DHCP clients on an interface of this machine from their files in `/proc` and `/run`,
//! below a given root.

use std::fs;
use std::path::Path;

use glob::Pattern;

use crate::event::LinkIndex;

/// Lists the network managers that include a DHCP client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Manager {
    NetworkManager,
    Networkd,
    Dhcpcd,
}

impl Manager {
    pub const ALL: [Self; 3] = [Self::NetworkManager, Self::Networkd, Self::Dhcpcd];

    /// Returns the name for users.
    pub const fn name(self) -> &'static str {
        match self {
            Self::NetworkManager => "NetworkManager",
            Self::Networkd => "systemd-networkd",
            Self::Dhcpcd => "dhcpcd",
        }
    }

    /// Returns the process name (`/proc/PID/comm` holds 15 bytes).
    pub const fn process(self) -> &'static str {
        match self {
            Self::NetworkManager => "NetworkManager",
            Self::Networkd => "systemd-network",
            Self::Dhcpcd => "dhcpcd",
        }
    }

    /// Returns whether its files say that it requests an IPv4 address on this interface. They may
    /// outlive the process.
    pub fn asks(self, root: &Path, index: LinkIndex, name: &str) -> bool {
        match self {
            Self::NetworkManager => {
                let device = read(root, &format!("run/NetworkManager/devices/{index}"));
                device.lines().any(|line| line.trim() == "managed=true")
            }
            Self::Networkd => networkd(root, index),
            Self::Dhcpcd => dhcpcd(root, name),
        }
    }
}

/// Describes a packet socket (packet(7)), which a DHCP client without an address uses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PacketSocket {
    pub index: LinkIndex,
    pub inode: String,
}

/// Protocols of DHCP clients' sockets: `ETH_P_IP` and `ETH_P_ALL`.
const CLIENT_PROTOCOLS: [&str; 2] = ["0800", "0003"];

/// Returns the packet sockets of this network namespace that may be a DHCP client's.
pub fn packet_sockets(root: &Path) -> Vec<PacketSocket> {
    let table = read(root, "proc/thread-self/net/packet");
    table.lines().skip(1).filter_map(packet_socket).collect()
}

/// Parses a line of `/proc/net/packet`: sk RefCnt Type Proto Iface R Rmem User Inode.
fn packet_socket(line: &str) -> Option<PacketSocket> {
    let fields: Vec<&str> = line.split_whitespace().collect();
    let is_client = CLIENT_PROTOCOLS.contains(fields.get(3)?);
    let index = fields.get(4)?.parse().ok().filter(|index| *index != 0 && is_client)?;
    Some(PacketSocket { index, inode: (*fields.get(8)?).to_owned() })
}

/// Returns whether systemd-networkd manages the interface and its `.network` file enables DHCPv4.
fn networkd(root: &Path, index: LinkIndex) -> bool {
    let link = read(root, &format!("run/systemd/netif/links/{index}"));
    let state = link.lines().find_map(|line| line.strip_prefix("ADMIN_STATE="));
    if !matches!(state, Some("configured" | "configuring" | "pending")) {
        return false;
    }
    let texts = networkd_files(root, index);
    let lines = texts.iter().flat_map(|text| text.lines());
    let mut dhcp = lines.filter_map(|line| {
        // Blanks around the equals sign are ignored (systemd.syntax(7)).
        let (key, value) = line.split_once('=')?;
        (key.trim() == "DHCP").then_some(value.trim())
    });
    dhcp.next_back().is_some_and(|value| is_true(value) || IPV4_FAMILIES.contains(&value))
}

/// Values of `DHCP=` that include IPv4, beside the booleans; the last two are former names
/// (systemd.network(5)).
const IPV4_FAMILIES: [&str; 3] = ["ipv4", "v4", "both"];

/// Returns whether a value is true for systemd, in upper or lower case (`parse_boolean` in
/// src/basic/parse-util.c).
fn is_true(value: &str) -> bool {
    ["1", "yes", "y", "true", "t", "on"].iter().any(|word| value.eq_ignore_ascii_case(word))
}

/// Returns the texts of the `.network` file of an interface and of its drop-ins, which
/// systemd-networkd lists in its state file.
pub fn networkd_files(root: &Path, index: LinkIndex) -> Vec<String> {
    let link = read(root, &format!("run/systemd/netif/links/{index}"));
    let value = |key: &str| link.lines().find_map(|line| line.strip_prefix(key));
    let files = value("NETWORK_FILE=").into_iter().chain(value("NETWORK_FILE_DROPINS="));
    let files = files.flat_map(|files| files.split([' ', ':'])).map(|file| file.trim_matches('"'));
    files.map(|file| read(root, file.trim_start_matches('/'))).collect()
}

/// Returns whether dhcpcd runs and its configuration neither excludes the interface nor gives it a
/// static address.
fn dhcpcd(root: &Path, name: &str) -> bool {
    let conf = read(root, "etc/dhcpcd.conf");
    let named = |patterns: &[String]| {
        patterns.iter().any(|p| Pattern::new(p).is_ok_and(|p| p.matches(name)))
    };
    let (denied, allowed) = (words(&conf, "denyinterfaces"), words(&conf, "allowinterfaces"));
    if named(&denied) || !allowed.is_empty() && !named(&allowed) || is_static(&conf, name) {
        return false;
    }
    let files = ["pid".to_owned(), format!("{name}.pid"), format!("{name}-4.pid")];
    files.iter().any(|file| root.join("run/dhcpcd").join(file).exists())
}

/// Returns the arguments of an option in dhcpcd.conf(5).
fn words(conf: &str, key: &str) -> Vec<String> {
    let lines = conf.lines().filter_map(|line| line.trim().strip_prefix(key)?.strip_prefix(' '));
    lines.flat_map(str::split_whitespace).map(str::to_owned).collect()
}

/// Returns whether `dhcpcd.conf` gives this interface a static IPv4 address, or no IPv4.
fn is_static(conf: &str, name: &str) -> bool {
    let mut applies = true;
    conf.lines().map(str::trim).any(|line| {
        if let Some(port) = line.strip_prefix("interface ") {
            applies = port.trim() == name;
        }
        let no_dhcp = line.starts_with("static ip_address=")
            || ["noipv4", "nodhcp", "ipv6only"].contains(&line);
        applies && no_dhcp
    })
}

/// Returns a file's text, or an empty string if it cannot be read.
fn read(root: &Path, path: &str) -> String {
    fs::read_to_string(root.join(path)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn root(files: &[(&str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        root
    }

    #[test]
    fn managers_are_detected_by_their_files() {
        let network = |dhcp: &str| format!("[Match]\nName=eth1\n[Network]\nDHCP={dhcp}\n");
        let link = "ADMIN_STATE=configuring\nNETWORK_FILE=/etc/systemd/network/20-wired.network\n";
        let nm = |managed: &str| format!("[device]\nmanaged={managed}\n");
        let asks =
            |manager: Manager, files: &[(&str, &str)]| manager.asks(root(files).path(), 7, "eth1");
        for (dhcp, expected) in [
            ("yes", true),
            ("ipv4", true),
            ("ipv6", false),
            ("no", false),
            ("y", true),
            ("T", true),
            ("On", true),
            ("1", true),
            ("n", false),
            ("0", false),
            ("no\nDHCP = yes ", true),
            ("yes\nDHCP=off", false),
        ] {
            let files = [
                ("run/systemd/netif/links/7", link),
                ("etc/systemd/network/20-wired.network", &network(dhcp)),
            ];
            assert_eq!(asks(Manager::Networkd, &files), expected, "{dhcp}");
        }
        assert!(!asks(
            Manager::Networkd,
            &[("run/systemd/netif/links/7", "ADMIN_STATE=unmanaged\n")]
        ));
        assert!(asks(Manager::NetworkManager, &[("run/NetworkManager/devices/7", &nm("true"))]));
        assert!(!asks(Manager::NetworkManager, &[("run/NetworkManager/devices/7", &nm("false"))]));
        let pid = ("run/dhcpcd/pid", "12\n");
        assert!(asks(Manager::Dhcpcd, &[pid]));
        for conf in [
            "denyinterfaces eth*\n",
            "allowinterfaces wlan0\n",
            "interface eth1\nstatic ip_address=10.0.0.2/24\n",
            "noipv4\n",
        ] {
            assert!(!asks(Manager::Dhcpcd, &[pid, ("etc/dhcpcd.conf", conf)]), "{conf}");
        }
        let other = "allowinterfaces eth1\ninterface wlan0\nstatic ip_address=10.0.0.2/24\n";
        assert!(asks(Manager::Dhcpcd, &[pid, ("etc/dhcpcd.conf", other)]));
        assert!(!asks(Manager::Dhcpcd, &[("etc/dhcpcd.conf", "")]));
    }

    #[test]
    fn packet_sockets_are_parsed() {
        let root = root(&[(
            "proc/thread-self/net/packet",
            "sk               RefCnt Type Proto  Iface R Rmem   User   Inode\n\
             00000000b2b7a0b1 3      3    0003   7     1 0      0      4711  \n\
             00000000b2b7a0b2 3      2    0800   3     1 0      0      4712  \n\
             00000000b2b7a0b3 3      3    888e   7     1 0      0      4713  \n\
             00000000b2b7a0b4 3      3    0003   0     1 0      0      4714  \n",
        )]);
        let found = packet_sockets(root.path());
        let socket = |index, inode: &str| PacketSocket { index, inode: inode.to_owned() };
        assert_eq!(found, [socket(7, "4711"), socket(3, "4712")]);
    }
}
