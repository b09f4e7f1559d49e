//! Makes the commands with which a user can unblock traffic, for the program that owns the blocking
//! chain. The rules accept all traffic between nodes and head, and from the venue only what the
//! settings allow.

use bramblegate_netlink::netfilter::{ARP, BRIDGE, INET, IPV4, IPV6, NETDEV};

use super::foreign::TableName;
use super::legacy::LEGACY_SUFFIX;
use super::packet::{ESTABLISHED, NEIGHBOUR_ADVERTISEMENT, NEIGHBOUR_SOLICITATION, Packet, Stage};
use super::simulate::{CONNTRACK, Found};
use crate::event::Traffic;
use crate::packet::{ICMP, ICMPV6, TCP};

/// Returns a table's family and name in nft syntax, such as `ip filter`.
pub fn table_name((family, name): &TableName) -> String {
    let family = match *family {
        INET => "inet",
        IPV4 => "ip",
        IPV6 => "ip6",
        ARP => "arp",
        NETDEV => "netdev",
        BRIDGE => "bridge",
        _ => "?",
    };
    format!("{family} {name}")
}

/// Returns a table's name for iptables.
fn plain_name<'a>(found: &Found<'a>) -> &'a str {
    found.name.1.strip_suffix(LEGACY_SUFFIX).unwrap_or(&found.name.1)
}

/// Describes a rule that accepts packets.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Clause {
    input: Option<String>,
    output: Option<String>,
    what: What,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum What {
    Everything,
    Answers,
    /// Protocol, `sport` or `dport`, and the number.
    Port(u8, &'static str, u16),
    /// An ICMP type.
    Echo(&'static str),
    /// An ICMPv6 type, named as in nft and as in ip6tables.
    Icmpv6(&'static str, &'static str),
    /// Connections redirected by our DNAT.
    Redirected,
}

/// Returns the commands that accept the traffic, joined by `; `.
pub fn remedy(found: &Found<'_>) -> String {
    let clauses = clauses(found);
    let has = |prefix: &str| found.table.chains.keys().any(|chain| chain.starts_with(prefix));
    let is_dropped_by = |prefix: &str| found.by_policy || found.culprit.starts_with(prefix);
    let built_in =
        ["PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING"].contains(&found.base_name);
    let tables = ["filter", "nat", "mangle", "raw", "security"].contains(&plain_name(found));
    let iptables = matches!(found.name.0, IPV4 | IPV6) && built_in && tables;
    let chains_of_ufw = if found.name.0 == IPV6 { "ufw6-" } else { "ufw-" };
    if found.name == &(INET, "firewalld".to_owned()) {
        return firewalld(found, &clauses);
    }
    if iptables && has(chains_of_ufw) && is_dropped_by(chains_of_ufw) {
        if let Some(commands) = ufw(found, &clauses) {
            return commands;
        }
    }
    let docker =
        iptables && found.base_name == "FORWARD" && has("DOCKER-USER") && is_dropped_by("DOCKER");
    let chain = if docker { "DOCKER-USER" } else { found.base_name };
    let commands = clauses.iter().map(|clause| {
        if iptables { clause.iptables(found, chain) } else { clause.insert_by_nft(found) }
    });
    commands.collect::<Vec<_>>().join("; ")
}

/// Returns the distinct clauses for the packets that pass the chain.
fn clauses(found: &Found<'_>) -> Vec<Clause> {
    let mut clauses: Vec<Clause> = Vec::new();
    for (stage, packet) in &found.passing {
        let clause = clause(found, *stage, packet);
        if !clauses.contains(&clause) {
            clauses.push(clause);
        }
    }
    clauses
}

/// Returns whether it is what the nodes send through the head.
const fn is_forwarded(traffic: Traffic) -> bool {
    matches!(traffic, Traffic::Forwarding | Traffic::Datagrams | Traffic::ForwardingIpv6)
}

fn clause(found: &Found<'_>, stage: Stage, packet: &Packet) -> Clause {
    use Stage::{Egress, Forward, Ingress, Output, Postrouting, Prerouting};
    let name = |port: &Option<super::packet::Port>| port.as_ref().map(|port| port.name.clone());
    let (input, output) = (name(&packet.input), name(&packet.output));
    let (enters, leaves) = (
        Clause { input, output: None, what: What::Everything },
        Clause { input: None, output, what: What::Everything },
    );
    // Before conntrack a reply cannot be recognised as such.
    let tracked = !matches!(stage, Ingress | Egress)
        && (found.base.priority > CONNTRACK || !matches!(stage, Prerouting | Output))
        && matches!(found.name.0, INET | IPV4 | IPV6);
    let answer = packet.state == ESTABLISHED;
    let forwarded = is_forwarded(found.traffic) && packet.protocol != ICMPV6;
    let port =
        |side: &'static str| What::Port(packet.protocol, side, found.traffic.port().unwrap_or(0));
    match (found.traffic, stage) {
        (_, Forward) if forwarded && answer => Clause { what: What::Answers, ..leaves },
        (_, Postrouting | Egress) if forwarded => leaves,
        (_, _) if forwarded && answer && tracked => Clause { what: What::Answers, ..enters },
        (_, _) if forwarded => enters,
        // Outgoing packets are accepted, and incoming replies where they can be recognised.
        (Traffic::Own, _) if answer && tracked => Clause { what: What::Answers, ..enters },
        (Traffic::Venue { protocol: ICMP, .. }, _) if answer => {
            Clause { what: What::Echo("echo-reply"), ..leaves }
        }
        (Traffic::Venue { protocol: ICMP, .. }, _) => {
            Clause { what: What::Echo("echo-request"), ..enters }
        }
        (Traffic::VenueIpv6 { .. }, _) if packet.protocol == ICMPV6 => {
            let side = if packet.input.is_some() { enters } else { leaves };
            Clause { what: icmpv6(packet), ..side }
        }
        (Traffic::Venue { .. } | Traffic::VenueIpv6 { .. }, _) if answer && tracked => {
            Clause { what: What::Answers, ..leaves }
        }
        (Traffic::Venue { .. } | Traffic::VenueIpv6 { .. }, _) if answer => {
            Clause { what: port("sport"), ..leaves }
        }
        // A multicast reply goes to the group's port.
        (Traffic::Venue { .. } | Traffic::VenueIpv6 { .. }, _) if packet.input.is_none() => {
            Clause { what: port("dport"), ..leaves }
        }
        (Traffic::Venue { .. } | Traffic::VenueIpv6 { .. }, _) => {
            Clause { what: port("dport"), ..enters }
        }
        (Traffic::Port { .. }, Forward) if !answer => Clause { what: What::Redirected, ..enters },
        (Traffic::Port { .. }, Postrouting | Egress) => leaves,
        (Traffic::Port { .. }, _) if !answer => Clause { what: port("dport"), ..enters },
        (Traffic::Port { .. }, _) => enters,
        _ if packet.input.is_some() => enters,
        _ => leaves,
    }
}

/// Returns the names of an ICMPv6 message type.
fn icmpv6(packet: &Packet) -> What {
    match packet.transport.value.first() {
        Some(&NEIGHBOUR_SOLICITATION) => {
            What::Icmpv6("nd-neighbor-solicit", "neighbour-solicitation")
        }
        Some(&NEIGHBOUR_ADVERTISEMENT) => {
            What::Icmpv6("nd-neighbor-advert", "neighbour-advertisement")
        }
        _ if packet.state == ESTABLISHED => What::Icmpv6("echo-reply", "echo-reply"),
        _ => What::Icmpv6("echo-request", "echo-request"),
    }
}

impl Clause {
    /// Returns the nft command that inserts the rule at the start of the base chain.
    fn insert_by_nft(&self, found: &Found<'_>) -> String {
        let (table, chain) = (table_name(found.name), found.base_name);
        format!("nft 'insert rule {table} {chain} {}accept'", self.nft(found))
    }

    /// Returns the matches of the rule in nft syntax, with a trailing space.
    fn nft(&self, found: &Found<'_>) -> String {
        let mut text = String::new();
        if found.name.0 == BRIDGE {
            // Bridge chains see the members, of which there may be many.
            let cluster = found.cluster.map_or_else(String::new, |net| net.to_string());
            return match self.input {
                Some(_) => format!("ip saddr {{ 0.0.0.0, {cluster} }} "),
                None => format!("ip daddr {{ 255.255.255.255, {cluster} }} "),
            };
        }
        for (word, port) in [("iifname", &self.input), ("oifname", &self.output)] {
            if let Some(port) = port {
                text += &format!("{word} \"{port}\" ");
            }
        }
        text += &match self.what {
            What::Everything => String::new(),
            What::Answers => "ct state established,related ".to_owned(),
            What::Port(protocol, side, port) => {
                format!("{} {side} {port} ", protocol_name(protocol))
            }
            What::Echo(kind) => format!("icmp type {kind} "),
            What::Icmpv6(kind, _) => format!("icmpv6 type {kind} "),
            What::Redirected => "ct status dnat ".to_owned(),
        };
        text
    }

    fn iptables(&self, found: &Found<'_>, chain: &str) -> String {
        let program = match (found.name.0, found.table.legacy) {
            (IPV6, true) => "ip6tables-legacy",
            (IPV6, false) => "ip6tables",
            (_, true) => "iptables-legacy",
            (_, false) => "iptables",
        };
        let table = match plain_name(found) {
            "filter" => String::new(),
            table => format!(" -t {table}"),
        };
        let mut text = format!("{program}{table} -I {chain}");
        for (word, port) in [("-i", &self.input), ("-o", &self.output)] {
            if let Some(port) = port {
                text += &format!(" {word} {port}");
            }
        }
        text += &match self.what {
            What::Everything => String::new(),
            What::Answers => " -m conntrack --ctstate RELATED,ESTABLISHED".to_owned(),
            What::Port(protocol, side, port) => {
                format!(" -p {} --{side} {port}", protocol_name(protocol))
            }
            What::Echo(kind) => format!(" -p icmp --icmp-type {kind}"),
            What::Icmpv6(_, kind) => format!(" -p icmpv6 --icmpv6-type {kind}"),
            What::Redirected => " -m conntrack --ctstate DNAT".to_owned(),
        };
        text + " -j ACCEPT"
    }
}

const fn protocol_name(protocol: u8) -> &'static str {
    if protocol == TCP { "tcp" } else { "udp" }
}

fn firewalld(found: &Found<'_>, clauses: &[Clause]) -> String {
    let reload = "firewall-cmd --reload";
    let cluster = |clause: &&Clause| matches!(clause.what, What::Everything);
    match (found.traffic, clauses.first().and_then(|clause| clause.input.as_ref())) {
        (
            Traffic::Venue { protocol, port } | Traffic::VenueIpv6 { protocol, port },
            Some(uplink),
        ) if !matches!(protocol, ICMP | ICMPV6) => format!(
            "firewall-cmd --permanent \
             --zone=$(firewall-cmd --get-zone-of-interface={uplink} \
             || firewall-cmd --get-default-zone) \
             --add-port={port}/{}; {reload}",
            protocol_name(protocol)
        ),
        _ => {
            let trusted = clauses.iter().find(cluster).or(clauses.first());
            let port = trusted.and_then(|clause| clause.input.as_ref().or(clause.output.as_ref()));
            let port = port.map_or("", String::as_str);
            format!("firewall-cmd --permanent --zone=trusted --add-interface={port}; {reload}")
        }
    }
}

/// Returns the commands of ufw, if it can express the clauses.
fn ufw(found: &Found<'_>, clauses: &[Clause]) -> Option<String> {
    if is_forwarded(found.traffic) && found.base_name == "FORWARD" {
        let (_, packet) = found.passing.first()?;
        // The first packet is the outgoing one.
        let (cluster, uplink) = (packet.input.as_ref()?, packet.output.as_ref()?);
        return Some(format!("ufw route allow in on {} out on {}", cluster.name, uplink.name));
    }
    // A user's own rule takes precedence over later ones.
    let verb = if found.culprit.starts_with("ufw-user") { "prepend allow" } else { "allow" };
    let usable = matches!(found.base_name, "INPUT" | "OUTPUT");
    let commands: Option<Vec<String>> =
        clauses.iter().filter(|_| usable).map(|clause| ufw_command(verb, clause)).collect();
    commands.filter(|commands| !commands.is_empty()).map(|commands| commands.join("; "))
}

/// Returns the ufw command for a clause, if ufw can express it.
fn ufw_command(verb: &str, clause: &Clause) -> Option<String> {
    match (&clause.input, &clause.output, &clause.what) {
        (Some(input), None, What::Everything) => Some(format!("ufw {verb} in on {input}")),
        (None, Some(output), What::Everything) => Some(format!("ufw {verb} out on {output}")),
        (Some(input), None, What::Port(protocol, "dport", port)) => Some(format!(
            "ufw {verb} in on {input} to any port {port} proto {}",
            protocol_name(*protocol)
        )),
        _ => None,
    }
}
