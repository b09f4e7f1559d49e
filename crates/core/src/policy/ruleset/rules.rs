//! Which rules there are, and in which order.

use std::collections::BTreeSet;

use ipnet::Ipv4Net;

use super::{
    Action, Base, COMMENT_FORWARDED, COMMENT_MASQUERADE, Chain, ChainKind, Family, FlowTable, HIDING, Hook, Match,
    Rule, Ruleset, RulesetInput, Side, Transport, forwarded, marks,
};
use crate::config::Allow;
use crate::sort;

/// `filter`; others judge here (iptables, ufw, Docker at 0, firewalld at 10).
const FILTER: i32 = 0;
/// Ahead of the others, so that what they drop was counted by us before: that is how it is found.
const FORWARD: i32 = FILTER - 10;
/// `srcnat` - 10: ahead of another's masquerading, for the same reason.
const SRCNAT: i32 = 100 - 10;

const FLOW_TABLE: &str = "established";
const POSTROUTING: &str = "postrouting";
const IGMP: u8 = 2;
const ECHO_REQUEST: u8 = 8;
const ECHO_REQUEST_6: u8 = 128;
/// Multicast listener discovery (RFC 2710, RFC 3810) and neighbour discovery with router advertisements (RFC 4861).
const NEIGHBOURHOOD_6: [u8; 9] = [130, 131, 132, 133, 134, 135, 136, 137, 143];

/// The rule set for `input`. Established connections come first; what is not about the cluster port (forward) or
/// from an uplink (input) is past after a name comparison or two.
pub fn build(input: &RulesetInput) -> Ruleset {
    let mut input = input.clone();
    let mut seen = BTreeSet::new();
    input.uplinks.retain(|name| Some(name) != input.cluster_port.as_ref() && seen.insert(name.clone()));
    let flow_table = flow_table(&input);
    let mut chains = forwarded::chains(&input);
    chains.extend([
        forward(&input, flow_table.as_ref()),
        from_cluster(&input),
        to_cluster(&input),
        cluster_to_uplink(&input),
        uplink_to_cluster(&input),
        base("input", ChainKind::Filter, Hook::Input, FILTER, input_rules(&input)),
        from_uplink(&input),
        base(POSTROUTING, ChainKind::Nat, Hook::Postrouting, SRCNAT, postrouting_rules(&input)),
        hide_cluster(&input),
    ]);
    chains.extend(marks::chains(&input));
    Ruleset { flow_table, chains }
}

fn flow_table(input: &RulesetInput) -> Option<FlowTable> {
    let mut devices = input.flow_table_devices.clone();
    sort::ascending(&mut devices);
    devices.dedup();
    // With one port alone there is nothing to forward between.
    (devices.len() > 1 && input.cluster_port.is_some()).then_some(FlowTable { name: FLOW_TABLE, devices })
}

fn forward(input: &RulesetInput, flow_table: Option<&FlowTable>) -> Chain {
    let mut rules = Vec::new();
    if let Some(port) = &input.cluster_port {
        let ipv4 = Match::Family(Family::Ipv4);
        for match_port in [Match::Input(port.clone()), Match::Output(port.clone())] {
            if let Some(table) = flow_table {
                rules.push(rule(
                    [match_port, ipv4.clone(), Match::Assured],
                    Action::Offload(table.name),
                    "established connections take the short way",
                ));
            }
        }
        rules.push(rule([ipv4, Match::Assured], Action::Accept, "established connections, of whatever port"));
        rules.push(rule([Match::Input(port.clone())], Action::Goto("from_cluster"), "what enters by the cluster port"));
        rules.push(rule([Match::Output(port.clone())], Action::Goto("to_cluster"), "what leaves by the cluster port"));
    }
    base("forward", ChainKind::Filter, Hook::Forward, FORWARD, rules)
}

fn from_cluster(input: &RulesetInput) -> Chain {
    let mut rules = vec![rule([Match::Family(Family::Ipv6)], Action::Drop, "IPv6 is not forwarded from the cluster")];
    for uplink in &input.uplinks {
        rules.push(rule([Match::Output(uplink.clone())], Action::Goto("cluster_to_uplink"), "nodes to the uplink"));
    }
    rules.push(rule([], Action::Accept, "nodes to the head's other networks"));
    chain("from_cluster", rules)
}

fn to_cluster(input: &RulesetInput) -> Chain {
    let mut rules = vec![rule([Match::Family(Family::Ipv6)], Action::Drop, "IPv6 is not forwarded to the cluster")];
    for uplink in &input.uplinks {
        rules.push(rule([Match::Input(uplink.clone())], Action::Goto("uplink_to_cluster"), "the uplink to nodes"));
    }
    rules.push(rule([], Action::Accept, "the head's other networks to nodes"));
    chain("to_cluster", rules)
}

fn cluster_to_uplink(input: &RulesetInput) -> Chain {
    let mut rules = opening();
    for network in &input.cluster_networks {
        let source = Match::Source(network.trunc());
        rules.push(rule([source.clone(), Match::Unconfirmed], Action::Accept, COMMENT_FORWARDED));
        rules.push(rule([source], Action::Accept, "more packets before the first answer"));
    }
    rules.push(rule([], Action::Drop, "not from an address of the cluster"));
    chain("cluster_to_uplink", rules)
}

fn uplink_to_cluster(input: &RulesetInput) -> Chain {
    let mut rules = opening();
    rules.extend(strangers(input));
    rules.extend(forwarded::accepted(input));
    rules.push(rule([], Action::Drop, "nothing new from the uplink to the nodes"));
    chain("uplink_to_cluster", rules)
}

/// What both directions between cluster and uplink begin with.
fn opening() -> Vec<Rule> {
    vec![
        rule([Match::TcpOpening], Action::ClampMss, "no segment larger than the path takes"),
        rule([Match::Established], Action::Accept, "replies, and errors that belong to a connection"),
        rule([Match::Invalid], Action::Drop, "belongs to no connection"),
    ]
}

/// Cluster addresses do not live at the venue, unless the venue uses the same subnet.
fn strangers(input: &RulesetInput) -> impl Iterator<Item = Rule> {
    let networks = if input.overlap_routed { &[][..] } else { input.cluster_networks.as_slice() };
    networks
        .iter()
        .map(|net| rule([Match::Source(net.trunc())], Action::Drop, "an address of the cluster, at the uplink"))
}

fn input_rules(input: &RulesetInput) -> Vec<Rule> {
    let uplinks = input.uplinks.iter();
    uplinks
        .map(|name| rule([Match::Input(name.clone())], Action::Goto("from_uplink"), "the venue to the head"))
        .collect()
}

fn from_uplink(input: &RulesetInput) -> Chain {
    let mut rules: Vec<Rule> = strangers(input).collect();
    rules.push(rule([Match::Established], Action::Accept, "replies, and errors that belong to a connection"));
    rules.push(rule(
        [Match::Family(Family::Ipv4), udp(Side::Source, 67), udp(Side::Destination, 68)],
        Action::Accept,
        "DHCP answers",
    ));
    let mut dhcp6 = vec![udp(Side::Source, 547), udp(Side::Destination, 546)];
    if let Ok(link_local) = "fe80::/10".parse() {
        dhcp6.insert(0, Match::Source6(link_local));
    }
    rules.push(rule(dhcp6, Action::Accept, "DHCPv6 answers"));
    rules.push(rule(
        [Match::Icmp6(NEIGHBOURHOOD_6.to_vec())],
        Action::Accept,
        "neighbour and router discovery, multicast listeners (IPv6)",
    ));
    rules.push(rule([Match::Protocol4(IGMP)], Action::Accept, "multicast listeners (IPv4)"));
    rules.extend(allowed(input));
    rules.push(rule([Match::Invalid], Action::Drop, "belongs to no connection"));
    rules.push(rule(
        [Match::TcpOngoing, Match::SocketBound],
        Action::Accept,
        "sessions that were open before these rules",
    ));
    rules.push(rule([], Action::Drop, "the venue may not reach the rest of the head"));
    chain("from_uplink", rules)
}

/// `uplink.allow`, each thing once.
fn allowed(input: &RulesetInput) -> Vec<Rule> {
    let mut rules: Vec<Rule> = Vec::new();
    let mut add = |rule: Rule| {
        if !rules.iter().any(|known| known.matches == rule.matches) {
            rules.push(rule);
        }
    };
    let tcp = |first, last| Match::Port(Transport::Tcp, Side::Destination, first, last);
    for allow in &input.allow {
        match *allow {
            Allow::Ssh => {
                let mut ports = input.ssh_ports.clone();
                sort::ascending(&mut ports);
                for port in std::iter::once(22).chain(ports) {
                    add(rule([tcp(port, port)], Action::Accept, "uplink.allow: ssh"));
                }
            }
            Allow::Icmp => {
                add(rule([Match::Icmp(ECHO_REQUEST)], Action::Accept, "uplink.allow: icmp"));
                add(rule([Match::Icmp6(vec![ECHO_REQUEST_6])], Action::Accept, "uplink.allow: icmp"));
            }
            Allow::Mdns => add(rule([udp(Side::Destination, 5353)], Action::Accept, "uplink.allow: mdns")),
            Allow::Tcp(first, last) => add(rule([tcp(first, last)], Action::Accept, "uplink.allow")),
            Allow::Udp(first, last) => {
                add(rule([Match::Port(Transport::Udp, Side::Destination, first, last)], Action::Accept, "uplink.allow"))
            }
        }
    }
    rules
}

fn postrouting_rules(input: &RulesetInput) -> Vec<Rule> {
    let uplinks = input.uplinks.iter();
    uplinks.map(|name| rule([Match::Output(name.clone())], Action::Goto(HIDING), "leaves by an uplink")).collect()
}

impl Ruleset {
    /// Returns which networks are hidden, and by which ports.
    pub fn hidden(&self) -> (BTreeSet<Ipv4Net>, BTreeSet<&str>) {
        let rules = |name| self.chains.iter().filter(move |chain| chain.name == name).flat_map(|chain| &chain.rules);
        let matches = |name| rules(name).flat_map(|rule| &rule.matches);
        let network = |condition: &Match| if let Match::Source(net) = condition { Some(*net) } else { None };
        let ports = matches(POSTROUTING).filter_map(|condition| match condition {
            Match::Output(name) => Some(name.as_str()),
            _ => None,
        });
        (matches(HIDING).filter_map(network).collect(), ports.collect())
    }
}

fn hide_cluster(input: &RulesetInput) -> Chain {
    let networks = input.cluster_networks.iter();
    let rules = networks.map(|net| rule([Match::Source(net.trunc())], Action::Masquerade, COMMENT_MASQUERADE));
    chain(HIDING, rules.collect())
}

fn udp(side: Side, port: u16) -> Match {
    Match::Port(Transport::Udp, side, port, port)
}

pub(super) fn rule(matches: impl Into<Vec<Match>>, action: Action, purpose: &str) -> Rule {
    let comment = match purpose.starts_with("bramblegate: ") {
        true => purpose.to_owned(),
        false => format!("bramblegate: {purpose}"),
    };
    Rule { matches: matches.into(), action, comment }
}

pub(super) fn chain(name: &'static str, rules: Vec<Rule>) -> Chain {
    Chain { name, base: None, rules }
}

pub(super) fn base(name: &'static str, kind: ChainKind, hook: Hook, priority: i32, rules: Vec<Rule>) -> Chain {
    Chain { name, base: Some(Base { kind, hook, priority }), rules }
}
