//! Ports of the head that lead to nodes (`[[forward]]`): translated as they enter by an uplink, and let through for exactly that.

use super::rules::{base, chain, rule};
use super::{Action, Chain, ChainKind, Family, ForwardedPort, Hook, Match, Rule, Ruleset, RulesetInput, Side};

/// `dstnat` - 10: ahead of another's translation (Docker's published ports), for the settings name this very port.
const DSTNAT: i32 = -100 - 10;

/// The chains that translate; none where no port is forwarded.
pub fn chains(input: &RulesetInput) -> Vec<Chain> {
    if input.forwards.is_empty() || input.cluster_port.is_none() {
        return Vec::new();
    }
    let uplinks = input.uplinks.iter();
    // What only passes through the head on its way to another network is not at this port of the head.
    let entering = uplinks.map(|name| {
        rule([Match::Input(name.clone()), Match::ToThisMachine], Action::Goto("dstnat"), "ports that lead to nodes")
    });
    let translated = input.forwards.iter().map(|forward| {
        let matches = [Match::Family(Family::Ipv4), destination(forward, forward.listen)];
        rule(matches, Action::Redirect(forward.to, forward.port), "a port that leads to a node")
    });
    vec![
        base("prerouting", ChainKind::Nat, Hook::Prerouting, DSTNAT, entering.collect()),
        chain("dstnat", translated.collect()),
    ]
}

/// What lets them through from the uplink to the node, and nothing beside them.
pub fn accepted(input: &RulesetInput) -> impl Iterator<Item = Rule> {
    input.forwards.iter().map(|forward| {
        let matches = [Match::Redirected, Match::Destination(forward.to), destination(forward, forward.port)];
        rule(matches, Action::Accept, "by a port that leads to this node")
    })
}

impl Ruleset {
    /// The ports that lead to nodes.
    pub fn forwarded(&self) -> impl Iterator<Item = ForwardedPort> + '_ {
        let rules = self.chains.iter().flat_map(|chain| &chain.rules);
        rules.filter_map(|rule| {
            let Action::Redirect(to, port) = rule.action else { return None };
            rule.matches.iter().find_map(|condition| match *condition {
                Match::Port(transport, Side::Destination, listen, _) => {
                    Some(ForwardedPort { transport, listen, to, port })
                }
                _ => None,
            })
        })
    }
}

fn destination(forward: &ForwardedPort, port: u16) -> Match {
    Match::Port(forward.transport, Side::Destination, port, port)
}
