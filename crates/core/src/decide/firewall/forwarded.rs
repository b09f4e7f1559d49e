//! Ports of the head that lead to nodes (`[[forward]]`): translated as they enter by an uplink, by
//! the cluster port or from the head itself, and let through for exactly that; refused while the
//! node is down.

use std::net::IpAddr;

use super::{
    Action, Chain, ChainKind, Family, ForwardedPort, Hook, Match, Rule, Ruleset, RulesetInput,
    Side, Transport, base, chain, rule,
};
use crate::decide::MARK_CLUSTER;

/// `dstnat` - 10: ahead of another's translation (Docker's published ports), for the settings name
/// this very port.
const DSTNAT: i32 = -100 - 10;
/// Behind the translation of destinations, and before the kernel forwards: what it sends back into
/// the cluster makes it think of a redirect, and that is counted as a refusal, of which it sends
/// one a second to each computer.
const REFUSAL: i32 = DSTNAT + 30;
/// The same of what the head itself sends.
const OWN_REFUSAL: i32 = -20;
/// Ahead of our other translation of sources, and of others'.
const SRCNAT: i32 = 100 - 20;

/// Returns the chains that translate; none where no port is forwarded.
pub fn chains(input: &RulesetInput) -> Vec<Chain> {
    let Some(port) = input.cluster_port.as_ref().filter(|_| !input.forwards.is_empty()) else {
        return Vec::new();
    };
    let uplinks = input.uplinks.iter();
    // What only passes through the head on its way to another network is not at this port of the
    // head.
    let to_dstnat =
        |matches: Vec<Match>| rule(matches, Action::Goto("dstnat"), "ports that lead to nodes");
    let mut entering: Vec<Rule> = uplinks
        .map(|name| to_dstnat(vec![Match::Input(name.clone()), Match::ToThisMachine]))
        .collect();
    entering.extend(own_addresses(input, Some(port)));
    entering.push(to_dstnat(vec![Match::Input(port.clone()), Match::ToThisMachine]));
    let mut own = vec![rule([Match::Loopback], Action::Accept, "the head to itself")];
    own.extend(own_addresses(input, None));
    own.push(to_dstnat(vec![Match::ToThisMachine]));
    let translated = input.forwards.iter().flat_map(|forward| {
        let matches = [Match::Family(Family::of(forward.to)), destination(forward, forward.listen)];
        let purpose = "the uplink that was asked is remembered";
        let marked = rule(matches.clone(), Action::Jump("entrances"), purpose);
        let led = rule(
            matches,
            Action::Redirect(forward.to, forward.port),
            "a port that leads to a node",
        );
        (!input.entrances.is_empty()).then_some(marked).into_iter().chain([led])
    });
    let mut chains = vec![
        base("prerouting", ChainKind::Nat, Hook::Prerouting, DSTNAT, entering),
        base("forwards_of_head", ChainKind::Nat, Hook::Output, DSTNAT, own),
        base("forwards_turned", ChainKind::Nat, Hook::Postrouting, SRCNAT, turned(port)),
        chain("dstnat", translated.collect()),
    ];
    if !input.entrances.is_empty() {
        chains.push(chain("entrances", entrances(input)));
    }
    if !input.dead.is_empty() {
        let mut entering: Vec<Rule> = unanswered(input).collect();
        entering.extend(refused(input));
        chains.push(base("forwards_down", ChainKind::Filter, Hook::Prerouting, REFUSAL, entering));
        chains.push(base(
            "forwards_of_head_down",
            ChainKind::Filter,
            Hook::Output,
            OWN_REFUSAL,
            refused(input),
        ));
    }
    chains
}

/// Marks a connection by the uplink that it enters by; see [`super::marks`].
fn entrances(input: &RulesetInput) -> Vec<Rule> {
    let marked = |(name, mark): &(String, u32)| {
        let purpose = "answers of the node leave by this uplink";
        rule([Match::Input(name.clone())], Action::Remember(*mark), purpose)
    };
    input.entrances.iter().map(marked).collect()
}

/// Returns the rules that leave the head's ports at its own addresses in the cluster alone.
fn own_addresses(input: &RulesetInput, port: Option<&String>) -> Vec<Rule> {
    input.cluster_addresses.iter().copied().map(|address| own(port, address)).collect()
}

/// Returns the rule for an address of the head's own in the cluster.
fn own(port: Option<&String>, address: IpAddr) -> Rule {
    let matches: Vec<Match> =
        port.cloned().map(Match::Input).into_iter().chain([Match::Destination(address)]).collect();
    rule(matches, Action::Accept, "the head's own ports in the cluster")
}

/// Returns the rules for what comes from the cluster or the head and goes back into the cluster: it
/// gets the head's address there, for the node would answer the other one directly, past the
/// translation.
fn turned(port: &str) -> Vec<Rule> {
    let turned = |condition| {
        // A refusal in the node's name is no first packet of the connection, though it comes here
        // first.
        let matches = [Match::Output(port.to_owned()), Match::Redirected, Match::Opener, condition];
        rule(matches, Action::Masquerade, "answers of the node come back through the head")
    };
    vec![turned(Match::Remembered(MARK_CLUSTER)), turned(Match::FromThisMachine)]
}

/// Returns the rules for what claims a node's address at an uplink: a refusal would go to that
/// node. It is dropped, counted and reported where it would be forwarded. None where the venue uses
/// the same subnet.
fn unanswered(input: &RulesetInput) -> impl Iterator<Item = Rule> {
    let networks = if input.overlap_routed { &[][..] } else { input.cluster_networks.as_slice() };
    networks.iter().flat_map(|net| {
        input.uplinks.iter().map(|uplink| {
            let matches = [Match::Input(uplink.clone()), Match::Source(net.trunc())];
            rule(matches, Action::Accept, "claims a node at the uplink: no answer")
        })
    })
}

/// Returns the rules that refuse what would open a connection to a node that is down. What is open
/// may live on: a node that is back in time knows of it.
fn refused(input: &RulesetInput) -> Vec<Rule> {
    input.dead.iter().map(refusal).collect()
}

/// Returns the rule that refuses connections to a node that is down.
fn refusal(forward: &ForwardedPort) -> Rule {
    let mut matches =
        vec![Match::Redirected, Match::Destination(forward.to), destination(forward, forward.port)];
    let action = match forward.transport {
        Transport::Tcp => Action::Reset,
        Transport::Udp => Action::Unreachable,
    };
    matches.extend((forward.transport == Transport::Tcp).then_some(Match::TcpOpening));
    rule(matches, action, "the node of this port is down")
}

/// Returns the rules that let them through from the uplink to the node, and nothing beside them.
pub fn accepted(input: &RulesetInput) -> impl Iterator<Item = Rule> {
    input.forwards.iter().map(|forward| {
        let matches =
            [Match::Redirected, Match::Destination(forward.to), destination(forward, forward.port)];
        rule(matches, Action::Accept, "by a port that leads to this node")
    })
}

impl Ruleset {
    /// Returns the ports that lead to nodes; those of nodes that are down only if `down`.
    pub fn forwarded(&self, down: bool) -> impl Iterator<Item = ForwardedPort> + '_ {
        let refused: Vec<&Rule> = self.rules_of("forwards_down").collect();
        let all = self.rules_of("dstnat").filter_map(|rule| {
            let Action::Redirect(to, port) = rule.action else { return None };
            rule.matches.iter().find_map(|condition| match *condition {
                Match::Port(transport, Side::Destination, listen, _) => {
                    Some(ForwardedPort { transport, listen, to, port })
                }
                _ => None,
            })
        });
        all.filter(move |forward| down || !refused.iter().any(|rule| is_about(rule, forward)))
    }
}

/// Returns whether a rule is about this port's translated connections.
fn is_about(rule: &Rule, forward: &ForwardedPort) -> bool {
    let conditions = [Match::Destination(forward.to), destination(forward, forward.port)];
    conditions.iter().all(|condition| rule.matches.contains(condition))
}

/// Matches one destination port of the forward's transport.
fn destination(forward: &ForwardedPort, port: u16) -> Match {
    Match::Port(forward.transport, Side::Destination, port, port)
}
