//! Parsers for groups, forwards, shares and time: number ranges, rules for names and addresses,
//! ports.

use std::net::Ipv4Addr;
use std::path::PathBuf;

use super::fault::ValueError;
use super::grammar::{self, Parsed};
use super::tree::Scalar;
use super::{ForwardTarget, TimeServer, Transport};

/// Limit on the numbers of a range; more is taken for a typing error.
const MAX_NUMBERS: u32 = 16_384;

/// Parses `group.groups` and `group.nodes`: first and last.
pub(super) fn numbers(text: &str) -> Parsed<(u32, u32)> {
    let bad = || {
        ValueError::new(
            format!("{text:?} is not a range of numbers"),
            "write the first and the last number, such as \"1-5\"",
        )
    };
    let number = |text| grammar::number::<u32>(text).ok_or_else(bad);
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last) = (number(first)?, number(last)?);
    if first > last {
        return Err(ValueError::new(
            format!("{text:?} ends before it begins"),
            format!("write \"{last}-{first}\""),
        ));
    }
    if last - first >= MAX_NUMBERS {
        return Err(ValueError::new(
            format!("{text:?} is too many"),
            format!("write at most {MAX_NUMBERS} numbers"),
        ));
    }
    Ok((first, last))
}

/// A text with the placeholders `{group}` and `{slot}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Rule(String);

impl Rule {
    /// Returns the text for one slot of one group.
    pub fn fill(&self, group: u32, slot: u32) -> String {
        self.0.replace("{group}", &group.to_string()).replace("{slot}", &slot.to_string())
    }
}

/// Parses `group.node_address`.
pub(super) fn address_rule(text: &str) -> Parsed<Rule> {
    let rule = Rule(text.to_owned());
    // Tested with 1 only: other numbers are tested when the nodes are generated.
    match rule.fill(1, 1).parse::<Ipv4Addr>() {
        Ok(_) if text.contains("{slot}") => Ok(rule),
        Ok(_) => Err(ValueError::new(
            format!("{text:?} gives all nodes the same address"),
            "write {slot} where they differ, such as \"10.21.{group}.{slot}\"",
        )),
        Err(_) => Err(ValueError::new(
            format!("{text:?} is not a rule for IPv4 addresses"),
            "write an address with {group} and {slot} in it, such as \"10.21.{group}.{slot}\"",
        )),
    }
}

/// Parses `group.node_name`.
pub(super) fn name_rule(text: &str) -> Parsed<Rule> {
    let rule = Rule(text.to_owned());
    if !text.contains("{slot}") {
        return Err(ValueError::new(
            format!("{text:?} gives all nodes the same name"),
            "write {slot} where they differ, such as \"r{group}n{slot}\"",
        ));
    }
    let filled = rule.fill(1, 1);
    if grammar::host_name(&filled).is_err() {
        return Err(ValueError::new(
            format!("{text:?} is not a rule for host names"),
            "write letters, digits, '-', {group} and {slot}, such as \"r{group}n{slot}\"",
        ));
    }
    // If dnsmasq reads the name for 1 as a time, it does so for every number.
    grammar::node_name(&filled).map(|_| rule).map_err(|error| {
        ValueError::new(
            format!("{text:?}: {}", error.message),
            format!("put a letter before it, such as \"n{text}\""),
        )
    })
}

/// Parses one entry of `group.members`: a name, or a glob of names.
pub(super) fn member(text: &str) -> Parsed<String> {
    let clean = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-*?[]".contains(&byte));
    if clean && !text.is_empty() && glob::Pattern::new(text).is_ok() {
        return Ok(text.to_owned());
    }
    Err(ValueError::new(
        format!("{text:?} is not a name or a glob"),
        "write a name such as \"rpi1\", or a glob such as \"blade1-*\"",
    ))
}

/// Parses `forward.listen`.
pub(super) fn listen(value: Scalar<'_>) -> Parsed<(Transport, u16)> {
    let remedy = "write a TCP port such as 2201, or \"tcp:2201\" or \"udp:5000\"";
    match value {
        Scalar::Integer(number) => grammar::integer_port(number).map(|port| (Transport::Tcp, port)),
        Scalar::Text(text) => {
            let found = grammar::transport(text)
                .and_then(|(transport, number)| Some((transport, grammar::port(number)?)));
            match found {
                // A node would get the answers for the head's own DHCP client, and the uplink would
                // lose its address.
                Some((Transport::Udp, 67 | 68)) => Err(ValueError::new(
                    format!(
                        "{text:?} is a port of DHCP, from which the head node gets its own address"
                    ),
                    "write another port such as \"udp:5000\"",
                )),
                found => found.ok_or_else(|| {
                    ValueError::new(format!("{text:?} is not a port to listen on"), remedy)
                }),
            }
        }
    }
}

/// Parses `forward.to`.
pub(super) fn forward_target(text: &str) -> Parsed<(ForwardTarget, u16)> {
    let bad = || {
        ValueError::new(
            format!("{text:?} is not a port of a node"),
            "write a node and its port, such as \"rpi1:22\" or \"192.168.50.11:22\"",
        )
    };
    let (host, number) = text.rsplit_once(':').ok_or_else(bad)?;
    let number = grammar::port(number).ok_or_else(bad)?;
    let target = match host.parse() {
        Ok(address) => ForwardTarget::Address(address),
        Err(_) => ForwardTarget::Node(grammar::host_name(host).map_err(|_| bad())?),
    };
    Ok((target, number))
}

/// Parses `share.path`. Refuses folders of the system and of users; the service does not see what
/// is mounted below /home.
pub(super) fn mount_point(text: &str) -> Parsed<PathBuf> {
    const FORBIDDEN: [&str; 10] =
        ["/boot", "/dev", "/etc", "/home", "/proc", "/root", "/run", "/sys", "/tmp", "/usr"];
    const FORBIDDEN_ITSELF: [&str; 5] = ["/", "/media", "/mnt", "/srv", "/var"];
    let parts = text.strip_prefix('/').map(|rest| rest.split('/').collect::<Vec<_>>());
    let is_clean = parts.is_some_and(|parts| {
        text == "/" || parts.iter().all(|part| !matches!(*part, "" | "." | ".."))
    });
    let remedy = "write the mount point of a disk such as \"/mnt/usb\"";
    if !is_clean || text.chars().any(char::is_control) {
        let message = format!("{text:?} is not an absolute path in its shortest form");
        return Err(ValueError::new(message, remedy));
    }
    let is_below = |folder: &&str| {
        text.strip_prefix(*folder).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    if FORBIDDEN_ITSELF.contains(&text) || FORBIDDEN.iter().any(is_below) {
        let message = format!("{text:?} belongs to the system or its users");
        return Err(ValueError::new(message, remedy));
    }
    Ok(PathBuf::from(text))
}

/// Parses `share.name`: one word that fits on the display.
pub(super) fn share_name(text: &str) -> Parsed<String> {
    let is_clean = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    if is_clean && (1..=12).contains(&text.len()) {
        return Ok(text.to_owned());
    }
    Err(ValueError::new(
        format!("{text:?} is not a name of a share"),
        "write at most 12 letters, digits or '-', such as \"usb\"",
    ))
}

/// Parses `cluster.dhcp.ntp`.
pub(super) fn time_server(text: &str) -> Parsed<TimeServer> {
    match text {
        "auto" => Ok(TimeServer::Auto),
        "off" => Ok(TimeServer::Off),
        _ => text.parse().map(TimeServer::At).map_err(|_| {
            ValueError::new(
                format!("{text:?} is not a time server"),
                "write \"auto\", \"off\" or an IPv4 address such as \"192.168.50.1\"",
            )
        }),
    }
}

/// Parses a percentage, or "off".
pub(super) fn share_or_off(text: &str) -> Parsed<Option<u8>> {
    if text == "off" {
        return Ok(None);
    }
    let share = text.strip_suffix('%').and_then(grammar::number::<u8>);
    share.filter(|share| (1..=100).contains(share)).map(Some).ok_or_else(|| {
        ValueError::new(
            format!("{text:?} is not a share"),
            "write a share from \"1%\" to \"100%\", or \"off\"",
        )
    })
}
