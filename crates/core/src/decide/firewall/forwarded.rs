//! Rules for forwarded ports (`[[forward]]`): destination translation for connections from uplinks,
//! from the cluster and from the head, permission for exactly those, and refusal while the node is
//! down.

use std::net::IpAddr;

use super::{
    Action, Chain, ChainKind, Family, ForwardedPort, Hook, Match, Rule, Ruleset, RulesetInput,
    Side, Transport, base, chain, rule,
};
use crate::decide::MARK_CLUSTER;

/// `dstnat` - 10: ahead of other programs' translations (Docker's published ports), because the
/// settings name this very port.
const DSTNAT: i32 = -100 - 10;
/// After destination translation, and before forwarding: there the kernel considers a redirect for
/// packets sent back into the cluster, which uses up the ICMP rate limit (one per second and host)
/// that the refusal needs.
const REFUSAL: i32 = DSTNAT + 30;
/// The same for packets of the head.
const OWN_REFUSAL: i32 = -20;
/// Ahead of our other source translation, and of other programs'.
const SRCNAT: i32 = 100 - 20;

/// Returns the chains for forwarded ports; none if there are no such ports.
pub fn chains(input: &RulesetInput) -> Vec<Chain> {
    let Some(port) = input.cluster_port.as_ref().filter(|_| !input.forwards.is_empty()) else {
        return Vec::new();
    };
    let uplinks = input.uplinks.iter();
    // Only packets to the head's own addresses: transit traffic to the same port is not for the
    // forward.
    let to_dstnat =
        |matches: Vec<Match>| rule(matches, Action::Goto("dstnat"), "ports that lead to nodes");
    let mut entering: Vec<Rule> = uplinks
        .map(|name| to_dstnat(vec![Match::Input(name.clone()), Match::ToThisMachine]))
        .collect();
    entering.extend(exempt_addresses(input, Some(port)));
    entering.push(to_dstnat(vec![Match::Input(port.clone()), Match::ToThisMachine]));
    let mut own = vec![rule([Match::Loopback], Action::Accept, "the head to itself")];
    own.extend(exempt_addresses(input, None));
    own.push(to_dstnat(vec![Match::ToThisMachine]));
    let translated = input.forwards.iter().flat_map(|forward| {
        let matches = [Match::Family(Family::of(forward.to)), destination(forward, forward.listen)];
        let purpose = "the uplink that was asked is remembered";
        let marked = rule(matches.clone(), Action::Jump("entrances"), purpose);
        let redirected = rule(
            matches,
            Action::Redirect(forward.to, forward.port),
            "a port that leads to a node",
        );
        (!input.entrances.is_empty()).then_some(marked).into_iter().chain([redirected])
    });
    let mut chains = vec![
        base("prerouting", ChainKind::Nat, Hook::Prerouting, DSTNAT, entering),
        base("forwards_of_head", ChainKind::Nat, Hook::Output, DSTNAT, own),
        base("forwards_turned", ChainKind::Nat, Hook::Postrouting, SRCNAT, hairpin(port)),
        chain("dstnat", translated.collect()),
    ];
    if !input.entrances.is_empty() {
        chains.push(chain("entrances", entrances(input)));
    }
    if !input.dead.is_empty() {
        let mut entering: Vec<Rule> = exempt_spoofed(input).collect();
        entering.extend(refusals(input));
        chains.push(base("forwards_down", ChainKind::Filter, Hook::Prerouting, REFUSAL, entering));
        chains.push(base(
            "forwards_of_head_down",
            ChainKind::Filter,
            Hook::Output,
            OWN_REFUSAL,
            refusals(input),
        ));
    }
    chains
}

/// Returns the rules that mark a connection with its uplink; see [`super::marks`].
fn entrances(input: &RulesetInput) -> Vec<Rule> {
    let marked = |(name, mark): &(String, u32)| {
        let purpose = "answers of the node leave by this uplink";
        rule([Match::Input(name.clone())], Action::Remember(*mark), purpose)
    };
    input.entrances.iter().map(marked).collect()
}

/// Returns the rules that exempt the head's own addresses in the cluster.
fn exempt_addresses(input: &RulesetInput, port: Option<&String>) -> Vec<Rule> {
    let exempt = |address: &IpAddr| {
        let matches: Vec<Match> = port
            .cloned()
            .map(Match::Input)
            .into_iter()
            .chain([Match::Destination(*address)])
            .collect();
        rule(matches, Action::Accept, "the head's own ports in the cluster")
    };
    input.cluster_addresses.iter().map(exempt).collect()
}

/// Returns the hairpin rules, for connections from the cluster or the head back into the cluster:
/// they get the head's address there as source, or the node would reply directly, past the
/// translation.
fn hairpin(port: &str) -> Vec<Rule> {
    let masquerade = |condition| {
        // A refusal sent for the node passes here before the connection's first packet, but in
        // reply direction.
        let matches = [Match::Output(port.to_owned()), Match::Redirected, Match::Opener, condition];
        rule(matches, Action::Masquerade, "answers of the node come back through the head")
    };
    vec![masquerade(Match::Remembered(MARK_CLUSTER)), masquerade(Match::FromThisMachine)]
}

/// Returns the rules that exempt packets from an uplink with a source in the cluster: the refusal
/// would go to the node with that address. The forward chain drops, counts and reports them. Empty
/// if the venue uses the same subnet.
fn exempt_spoofed(input: &RulesetInput) -> impl Iterator<Item = Rule> {
    let networks = if input.overlap_routed { &[][..] } else { input.cluster_networks.as_slice() };
    networks.iter().flat_map(|net| {
        input.uplinks.iter().map(|uplink| {
            let matches = [Match::Input(uplink.clone()), Match::Source(net.trunc())];
            rule(matches, Action::Accept, "claims a node at the uplink: no answer")
        })
    })
}

/// Returns the rules that refuse new connections to nodes that are down. Established ones may
/// survive: a node that is back in time still knows them.
fn refusals(input: &RulesetInput) -> Vec<Rule> {
    input.dead.iter().map(refusal).collect()
}

/// Returns the rule that refuses connections to one node that is down.
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

/// Returns the rules that accept forwarded connections from the uplink to the node.
pub fn accepted(input: &RulesetInput) -> impl Iterator<Item = Rule> {
    input.forwards.iter().map(|forward| {
        let matches =
            [Match::Redirected, Match::Destination(forward.to), destination(forward, forward.port)];
        rule(matches, Action::Accept, "by a port that leads to this node")
    })
}

impl Ruleset {
    /// Returns the forwarded ports; those of nodes that are down only if `down`.
    pub fn forwarded(&self, down: bool) -> impl Iterator<Item = ForwardedPort> + '_ {
        let refusals: Vec<&Rule> = self.rules_of("forwards_down").collect();
        let all = self.rules_of("dstnat").filter_map(|rule| {
            let Action::Redirect(to, port) = rule.action else { return None };
            rule.matches.iter().find_map(|condition| match *condition {
                Match::Port(transport, Side::Destination, listen, _) => {
                    Some(ForwardedPort { transport, listen, to, port })
                }
                _ => None,
            })
        });
        all.filter(move |forward| down || !refusals.iter().any(|rule| is_about(rule, forward)))
    }
}

/// Returns whether a rule refers to this port's translated connections.
fn is_about(rule: &Rule, forward: &ForwardedPort) -> bool {
    let conditions = [Match::Destination(forward.to), destination(forward, forward.port)];
    conditions.iter().all(|condition| rule.matches.contains(condition))
}

/// Returns a match on one destination port of the forward's transport.
fn destination(forward: &ForwardedPort, port: u16) -> Match {
    Match::Port(forward.transport, Side::Destination, port, port)
}
