//! The owner's names in the text of settings files: hosts, nodes, groups, users.

use std::collections::BTreeSet;
use std::net::IpAddr;

use crate::config::keys::{self, Key};

/// Host of the default of `uplink.check.url`, which is in the manual.
const DEFAULT_HOST: &str = "connectivitycheck.gstatic.com";

/// The part of a value that is a name of the owner's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    /// All of it.
    Whole,
    /// The host of a URL, and a user in front of it.
    Host,
    /// The same; a text that is not a URL is a file, and has none.
    HostOrFile,
    /// What stands before the port.
    BeforePort,
    /// The fixed pieces of a glob or a rule.
    Pieces,
    /// The last part of a path.
    FileName,
    /// The serial number of a BlinkStick.
    Serial,
    /// A user other than root.
    User,
}

/// The keys whose values hold such names. A test compares them with the table of keys.
const PRIVATE: &[(&str, Part)] = &[
    ("uplink.check.url", Part::Host),
    ("cluster.domain", Part::Whole),
    ("cluster.netboot.uefi_x86", Part::HostOrFile),
    ("cluster.netboot.uefi_arm64", Part::HostOrFile),
    ("cluster.netboot.ipxe", Part::HostOrFile),
    ("node.name", Part::Whole),
    ("node.group", Part::Whole),
    ("group.name", Part::Whole),
    ("group.node_name", Part::Pieces),
    ("group.members", Part::Pieces),
    ("forward.to", Part::BeforePort),
    ("share.path", Part::FileName),
    ("share.name", Part::Whole),
    ("led.device", Part::Serial),
    ("web.heads", Part::Host),
    ("web.names", Part::Whole),
    ("shutdown.user", Part::User),
    ("shutdown.except", Part::Pieces),
];

/// Returns the names in the text of a settings file, also under former names of keys. Does not
/// parse the text as TOML, which may have errors.
pub fn of_settings(text: &str) -> BTreeSet<String> {
    let private = PRIVATE.iter().filter_map(|(path, part)| Some((find(path)?, *part)));
    let paths = private.flat_map(|(key, part)| {
        std::iter::once(&key.path).chain(key.was).map(move |path| (*path, part))
    });
    let values = paths.flat_map(|(path, part)| {
        let name = path.rsplit('.').next().unwrap_or(path);
        values(text, name).flat_map(strings).map(move |value| (part, value))
    });
    values.flat_map(|(part, value)| private_parts(part, value)).collect()
}

fn find(path: &str) -> Option<&'static Key> {
    keys::all().find(|key| key.path == path)
}

/// Returns what stands behind the equals sign of each key of this name.
fn values<'t>(text: &'t str, name: &'t str) -> impl Iterator<Item = &'t str> {
    text.match_indices(name).filter_map(move |(at, _)| {
        let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let is_key = !text.get(..at)?.ends_with(is_part);
        let after = text.get(at + name.len()..)?;
        let after = after.strip_prefix(['"', '\'']).unwrap_or(after);
        after.trim_start().strip_prefix('=').filter(|_| is_key)
    })
}

/// Returns the text at the beginning of a value, or the texts of an array.
fn strings(value: &str) -> Vec<&str> {
    let mut found = Vec::new();
    let mut rest = value.trim_start();
    let is_array = rest.starts_with('[');
    loop {
        if let Some((string, after)) = quoted(rest) {
            found.push(string);
            rest = after;
        } else if rest.starts_with('#') {
            rest = rest.split_once('\n').map_or("", |(_, after)| after);
        } else if let Some(after) = rest.strip_prefix(['[', ',']) {
            rest = after;
        } else {
            return found;
        }
        rest = rest.trim_start();
        if !is_array {
            return found;
        }
    }
}

/// Splits a text in quotation marks from what follows it. Where it is not closed, it ends with its
/// line.
fn quoted(text: &str) -> Option<(&str, &str)> {
    let marks = ["\"\"\"", "'''", "\"", "'"];
    let mark = marks.into_iter().find(|mark| text.starts_with(mark))?;
    let rest = text.strip_prefix(mark)?;
    let whole = if mark.len() == 1 { rest.lines().next().unwrap_or_default() } else { rest };
    let string = whole.split_once(mark).map_or(whole, |(string, _)| string);
    let after = rest.strip_prefix(string)?;
    Some((string, after.strip_prefix(mark).unwrap_or(after)))
}

fn private_parts(part: Part, value: &str) -> Vec<String> {
    let one = |part: Option<&str>| part.map(str::to_owned).into_iter().collect();
    match part {
        Part::Whole => one(Some(value)),
        Part::Host => of_url(value),
        Part::HostOrFile if value.contains("://") => of_url(value),
        Part::HostOrFile => Vec::new(),
        Part::BeforePort => one(value.split(':').next()),
        Part::Pieces => pieces(value),
        Part::FileName => one(value.trim_end_matches('/').rsplit('/').next()),
        Part::Serial => one(value.split_once("blinkstick:").map(|(_, serial)| serial)),
        Part::User => one(Some(value).filter(|user| *user != "root")),
    }
}

/// Returns the host of a URL, if it is neither an address, which is masked as such, nor the default
/// one; and the user in front of it.
pub fn of_url(url: &str) -> Vec<String> {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let (user, host) = authority.rsplit_once('@').unwrap_or(("", authority));
    let host = if host.starts_with('[') { "" } else { host.split(':').next().unwrap_or_default() };
    let is_name = host != DEFAULT_HOST && host.parse::<IpAddr>().is_err();
    let host = Some(host).filter(|_| is_name);
    user.split(':').chain(host).filter(|part| !part.is_empty()).map(str::to_owned).collect()
}

/// Returns the fixed pieces of a glob or a rule that can be names: a single letter is none.
fn pieces(value: &str) -> Vec<String> {
    let value = value.replace("{group}", "*").replace("{slot}", "*");
    let parts = value.split(|c: char| !c.is_ascii_alphanumeric() && c != '-');
    let names = parts.map(|part| part.trim_matches('-'));
    names.filter(|name| name.len() > 1).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::keys::Kind;

    /// Keys with free text that holds no name: interfaces, addresses (masked as such), times,
    /// amounts, ports, probes, devices, and paths of the system, in which a user's name is masked.
    const PUBLIC: &[&str] = &[
        "board",
        "uplink.interfaces",
        "uplink.allow",
        "uplink.check.expect",
        "uplink.check.host",
        "gateway.trust",
        "cluster.interface",
        "cluster.address",
        "cluster.fallback_addresses",
        "cluster.dhcp.range",
        "cluster.dhcp.ntp",
        "cluster.dns.fallback_servers",
        "cluster.ipv6.prefix",
        "cluster.netboot.root",
        "cluster.netboot.bios",
        "node.mac",
        "node.address",
        "node.probe",
        "group.groups",
        "group.nodes",
        "group.node_address",
        "group.probe",
        "group.red_below",
        "forward.listen",
        "health.red_below",
        "health.degraded_rtt",
        "health.degraded_loss",
        "vitals.memory_free_below",
        "vitals.disk_free_below",
        "vitals.pressure",
        "gpio.chip",
        "lcd.bus",
        "lcd.address",
        "lcd.wiring",
        "lcd.size",
        "lcd.backlight",
        "lcd.emulator_script",
        "led.kernel",
        "led.dim_after",
        "led.quiet_hours",
        "led.emulator_script",
        "sockets.status",
        "sockets.control",
        "web.listen",
        "web.admin_from",
        "web.port_file",
        "shutdown.key",
    ];

    fn found(text: &str) -> Vec<String> {
        of_settings(text).into_iter().collect()
    }

    /// A key that is new has to be put on one of the two lists.
    #[test]
    fn each_key_with_free_text_is_known_to_be_private_or_public() {
        let is_free =
            |key: &&Key| matches!(key.kind, Kind::Value(..) | Kind::Pair(..) | Kind::List { .. });
        let is_private = |path: &str| PRIVATE.iter().any(|(private, _)| *private == path);
        let unknown = |key: &&Key| is_private(key.path) == PUBLIC.contains(&key.path);
        let wrong: Vec<&str> =
            keys::all().filter(is_free).filter(unknown).map(|key| key.path).collect();
        assert_eq!(wrong, [""; 0], "in both lists, or in none");
        let listed = PRIVATE.iter().map(|(path, _)| *path).chain(PUBLIC.iter().copied());
        let gone: Vec<&str> = listed.filter(|path| find(path).is_none()).collect();
        assert_eq!(gone, [""; 0], "not keys");
    }

    /// Under its path, in its table, as an array, and under former names.
    #[test]
    fn the_name_of_each_private_key_is_found() {
        for (path, part) in PRIVATE {
            let value = match part {
                Part::Whole | Part::User => "attic",
                Part::Host | Part::HostOrFile => "http://attic:8080/x",
                Part::BeforePort => "attic:22",
                Part::Pieces => "attic*",
                Part::FileName => "/mnt/attic",
                Part::Serial => "blinkstick:attic",
            };
            let key = find(path).unwrap();
            for path in std::iter::once(&key.path).chain(key.was) {
                let name = path.rsplit('.').next().unwrap();
                for text in [
                    format!("{path} = \"{value}\""),
                    format!("{name}='{value}'\n"),
                    format!("\"{name}\" = \"\"\"{value}\"\"\""),
                    format!("{path} = [\n  # don't\n  \"{value}\",\n]"),
                    format!("{path} = \"{value}"),
                ] {
                    assert!(of_settings(&text).contains("attic"), "{text}");
                }
            }
        }
    }

    #[test]
    fn names_are_found_in_invalid_settings_too() {
        let text = "cluster.domain = \"home\"\n[[node]\nname = 'Kitchen'\nnode = [{ name = \"nas\", \
                    mac = \"b8:27:eb:00:00:01\" }]\nmembers = [\"shelf*\", \"nas\"]\n\
                    device = \"blinkstick:BS012345-3.0\"\nto = \"desk:22\"\n\
                    probe_url = \"http://probe.example/x\"\nlease = \"1h\"\n\
                    heads = \"http://rack2.local\"\nexcept = [\"printer-[a-b]\", \"x*\"]\n";
        let wanted = [
            "BS012345-3.0",
            "Kitchen",
            "a-b",
            "desk",
            "home",
            "nas",
            "printer",
            "probe.example",
            "rack2.local",
            "shelf",
        ];
        assert_eq!(found(text), wanted);
    }

    /// Addresses have masks of their own, by which their subnets stay recognizable.
    #[test]
    fn what_names_no_host_is_not_masked() {
        let text = "url = \"http://connectivitycheck.gstatic.com/generate_204\"\n\
                    heads = [\"http://10.0.0.1\", \"http://[fd12::7]:8080\"]\n\
                    ipxe = \"boot.ipxe\"\nuser = \"root\"\nnode_name = \"r{group}n{slot}\"\n\
                    device = \"auto\"\nkeyname = \"x\"\n";
        assert_eq!(found(text), [""; 0]);
        assert_eq!(of_url("http://anna:pw@[fd12::7]/"), ["anna", "pw"]);
        assert_eq!(of_url("https://anna@login.hotel:8443?x=1"), ["anna", "login.hotel"]);
    }
}
