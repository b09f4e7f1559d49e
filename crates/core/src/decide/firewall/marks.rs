//! Marks that make replies leave by the port where the connection came in: a bit of the connection
//! mark, set when a connection to the head opens, and copied to the packet mark of the head's
//! replies, which routing rules match.
//!
//! Used only where the source address does not determine the port: an uplink's own address does.
//! For forwarded ports the nodes' replies carry a mark per uplink, and so do refusals that the head
//! sends for a node.

use super::sets::{Field, Key, Lookup};
use super::{
    Action, Chain, ChainKind, Family, Hook, Kind, Match, Rule, RulesetInput, SAMPLE_SECONDS, Set,
    Transport, base, chain, rule,
};
use crate::decide::{MARK_CLUSTER, MARK_ELSEWHERE};

/// `mangle`: after connection tracking, before NAT.
const MANGLE: i32 = -150;

/// In an overlap, the set of addresses that sent packets to the head by the cluster port.
const HEARD: &str = "heard_in_cluster";
/// Maximum number of addresses in the set.
const HEARD_SIZE: u32 = 16_384;

/// Returns the set [`HEARD`]; `None` if no uplink uses the cluster's addresses.
pub fn heard(input: &RulesetInput) -> Option<Set> {
    let (timeout, size) = (Some(SAMPLE_SECONDS), Some(HEARD_SIZE));
    let key = vec![Kind::Ipv4];
    let set = || Set { name: HEARD.into(), key, dynamic: true, timeout, size, ..Set::default() };
    (input.overlap_routed && input.cluster_port.is_some()).then(set)
}

/// Returns the chains that set and use the marks.
pub fn chains(input: &RulesetInput) -> Vec<Chain> {
    let mut entering: Vec<Rule> = Vec::new();
    // For IPv6 the check for a local address costs a route lookup, for each new connection.
    entering.extend(input.ipv6.map(|_| {
        rule([Match::Family(Family::Ipv6)], Action::Accept, "marks lead by tables of IPv4 alone")
    }));
    let exempt =
        input.uplinks.iter().map(|name| (name.as_str(), "answers leave by their source address"));
    for (name, purpose) in exempt.chain([("lo", "the head to itself")]) {
        entering.push(rule([Match::Input(name.to_owned())], Action::Accept, purpose));
    }
    let overlap = heard(input).is_some();
    if let Some(port) = &input.cluster_port {
        let from_cluster = [Match::Input(port.clone()), Match::ToThisMachine];
        let note = Action::Sample(Family::Ipv4, HEARD);
        entering.extend(overlap.then(|| rule(from_cluster, note, "who is in the cluster")));
        entering.push(rule(
            [Match::Input(port.clone())],
            Action::Goto("opened_by_cluster"),
            "the cluster to the head",
        ));
    }
    entering.push(remember(MARK_ELSEWHERE, "opened to the head by another port, as a tunnel"));
    let answering = [
        (MARK_CLUSTER, "answers to what came by the cluster port"),
        (MARK_ELSEWHERE, "answers to what came by another port"),
    ];
    let answers =
        answering.map(|(bit, purpose)| rule([Match::Remembered(bit)], Action::Mark(bit), purpose));
    let to_heard = overlap.then(to_heard);
    let refusals = entered(input, "refusals leave by the uplink that was asked");
    // Replies from the head's own cluster addresses are routed by source, so NFS and TFTP are not
    // routed twice.
    let own = input.cluster_addresses.iter().map(|address| {
        rule(
            [Match::Destination(*address)],
            Action::Accept,
            "answers leave by their source address",
        )
    });
    let of_nodes = entered(input, "answers of nodes leave by the uplink that was asked");
    let by_cluster = of_nodes
        .chain(own)
        .chain([remember(MARK_CLUSTER, "opened to the head by the cluster port")]);
    // Marking needs the first packet of a connection only, all that a NAT chain sees. Rules that
    // need every packet require a filter chain.
    let by_packet = overlap || !input.entrances.is_empty();
    let kind = if by_packet { ChainKind::Filter } else { ChainKind::Nat };
    vec![
        base("opened", kind, Hook::Prerouting, MANGLE, entering),
        chain("opened_by_cluster", by_cluster.collect()),
        base(
            "answers",
            ChainKind::Route,
            Hook::Output,
            MANGLE,
            to_heard.into_iter().chain(answers).chain(refusals).collect(),
        ),
    ]
}

/// Returns the rule that sends TCP connections from the head to the nodes out by the cluster port
/// even when a program has bound them to an uplink's address, as Open MPI does. Not other
/// protocols: the venue's DHCP and DNS servers may have a node's address.
fn to_heard() -> Rule {
    let fields = vec![Field::Destination(Family::Ipv4)];
    let heard = Match::In(Lookup { key: Key::Fields(fields), set: HEARD.into() });
    let purpose = "connections to who is in the cluster, from any address";
    let matches = [Match::Protocol(Transport::Tcp), Match::Opener, heard];
    rule(matches, Action::Mark(MARK_CLUSTER), purpose)
}

/// Returns the rules that mark packets to the opener of a connection to a forwarded port. ICMP
/// errors for the node, such as "packet too big", go the other way.
fn entered<'a>(input: &'a RulesetInput, purpose: &'a str) -> impl Iterator<Item = Rule> + 'a {
    let marked = move |(_, mark): &(String, u32)| {
        rule([Match::Entered(*mark), Match::Answer], Action::Mark(*mark), purpose)
    };
    input.entrances.iter().map(marked)
}

/// Returns the rule that marks connections to the head by their first packet: the check for a local
/// address is a route lookup, which a flow without replies would otherwise cost per packet.
fn remember(bit: u32, purpose: &str) -> Rule {
    rule([Match::Unconfirmed, Match::ToThisMachine], Action::Remember(bit), purpose)
}
