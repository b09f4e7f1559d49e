//! Ports of the head that lead to nodes: where each leads now.

use std::net::IpAddr;

use super::cluster::Placement;
use super::firewall::{self, ForwardedPort};
use crate::config::{Forward, ForwardTarget, Settings, Transport};
use crate::facts::Facts;
use crate::facts::node::NodeState;

/// Why a port leads nowhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoWay {
    /// the node has no address yet
    NoAddress,
    /// the address is in no network of the cluster as it is now, or the head's own
    Outside(IpAddr),
}

/// Returns where a port leads.
///
/// # Errors
/// It leads nowhere now.
pub fn way(
    forward: &Forward,
    facts: &Facts,
    placement: &Placement,
) -> Result<ForwardedPort, NoWay> {
    let to = match &forward.to {
        ForwardTarget::Node(name) => {
            facts.nodes().by_name(name).and_then(|node| node.address).ok_or(NoWay::NoAddress)?
        }
        ForwardTarget::Address(address) => (*address).into(),
    };
    let own =
        std::iter::once(&placement.address).chain(&placement.retained).any(|net| net.addr() == to);
    if own || !placement.networks().iter().any(|net| net.contains(&to)) {
        return Err(NoWay::Outside(to));
    }
    let transport = match forward.transport {
        Transport::Tcp => firewall::Transport::Tcp,
        Transport::Udp => firewall::Transport::Udp,
    };
    Ok(ForwardedPort { transport, listen: forward.listen, to, port: forward.port })
}

/// Returns all that lead somewhere.
pub fn ways(settings: &Settings, facts: &Facts, placement: &Placement) -> Vec<ForwardedPort> {
    settings.forwards.iter().filter_map(|forward| way(forward, facts, placement).ok()).collect()
}

/// Returns those of `ways` whose node does not answer, whatever it shows: it may be worked on, or
/// flap, as well.
pub fn dead(facts: &Facts, ways: &[ForwardedPort]) -> Vec<ForwardedPort> {
    let is_silent =
        |way: &&ForwardedPort| facts.nodes().by_address(way.to).is_some_and(NodeState::is_silent);
    ways.iter().filter(is_silent).copied().collect()
}

/// Returns what a port is called in the settings: "tcp:2201".
pub fn name(forward: &Forward) -> String {
    let transport = match forward.transport {
        Transport::Tcp => "tcp",
        Transport::Udp => "udp",
    };
    format!("{transport}:{}", forward.listen)
}

/// Returns what a port is to lead to, as in the settings: "rpi1:22".
pub fn target(forward: &Forward) -> String {
    match &forward.to {
        ForwardTarget::Node(name) => format!("{name}:{}", forward.port),
        ForwardTarget::Address(address) => format!("{address}:{}", forward.port),
    }
}
