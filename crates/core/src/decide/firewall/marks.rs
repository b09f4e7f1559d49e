//! Marks that make answers leave by the port where the connection came in: a bit in connection
//! tracking, set when a connection is opened to the head, and the same bit on the head's
//! answers, which routing rules look at.
//!
//! Only where the source address does not say it: an uplink's own address is enough for what
//! entered by that uplink. Of what is led to a node it is the node's answers that need a mark, an
//! uplink each, and what the head refuses in the node's name.

use super::sets::{Field, Key, Lookup};
use super::{
    Action, Chain, ChainKind, Family, Hook, Kind, Match, Rule, RulesetInput, SAMPLE_SECONDS, Set,
    Transport, base, chain, rule,
};
use crate::decide::{MARK_CLUSTER, MARK_ELSEWHERE};

/// `mangle`: after connection tracking, before any translation.
const MANGLE: i32 = -150;

/// In an overlap, the set of addresses from which the head was spoken to by the cluster port.
const HEARD: &str = "heard_in_cluster";
/// More addresses are not kept.
const HEARD_SIZE: u32 = 16_384;

/// Returns the set [`HEARD`]; `None` where no uplink uses the cluster's addresses.
pub fn heard(input: &RulesetInput) -> Option<Set> {
    let (timeout, size) = (Some(SAMPLE_SECONDS), Some(HEARD_SIZE));
    let key = vec![Kind::Ipv4];
    let set = || Set { name: HEARD.into(), key, dynamic: true, timeout, size, ..Set::default() };
    (input.overlap_routed && input.cluster_port.is_some()).then(set)
}

/// Returns the chains that set and use the marks.
pub fn chains(input: &RulesetInput) -> Vec<Chain> {
    let mut entering: Vec<Rule> = Vec::new();
    // Whether an address is the head's own is a search for a route by IPv6, for each new connection.
    entering.extend(input.ipv6.map(|_| {
        rule([Match::Family(Family::Ipv6)], Action::Accept, "marks lead by tables of IPv4 alone")
    }));
    let known =
        input.uplinks.iter().map(|name| (name.as_str(), "answers leave by their source address"));
    for (name, purpose) in known.chain([("lo", "the head to itself")]) {
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
    // At the head's own addresses there the answers' source says where they belong: NFS and TFTP
    // are not routed twice.
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
    // Most connections are marked as they open: a chain for translations sees no more of them. What
    // looks at each packet takes one that filters.
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

/// Returns what makes TCP connections of the head to the nodes leave by the cluster port also where
/// a program has bound them to an uplink's address, as Open MPI does. Not other packets: the venue's
/// servers of DHCP and DNS may have a node's address.
fn to_heard() -> Rule {
    let fields = vec![Field::Destination(Family::Ipv4)];
    let heard = Match::In(Lookup { key: Key::Fields(fields), set: HEARD.into() });
    let purpose = "connections to who is in the cluster, from any address";
    let matches = [Match::Protocol(Transport::Tcp), Match::Opener, heard];
    rule(matches, Action::Mark(MARK_CLUSTER), purpose)
}

/// Returns what marks packets to the opener of a connection to a forwarded port. An error that is
/// meant for the node, as that a packet is too large, is none.
fn entered<'a>(input: &'a RulesetInput, purpose: &'a str) -> impl Iterator<Item = Rule> + 'a {
    let marked = move |(_, mark): &(String, u32)| {
        rule([Match::Entered(*mark), Match::Answer], Action::Mark(*mark), purpose)
    };
    input.entrances.iter().map(marked)
}

/// Returns the rule that marks connections opened to the head, by their first packet: whether its
/// address is the head's own is a search for a route, which a flow without answers would cost each
/// time.
fn remember(bit: u32, purpose: &str) -> Rule {
    rule([Match::Unconfirmed, Match::ToThisMachine], Action::Remember(bit), purpose)
}
