//! Forwarded ports (`[[forward]]`): where each leads now.

use std::net::IpAddr;

use super::cluster::Placement;
use super::firewall::{self, ForwardedPort};
use crate::config::{Forward, ForwardTarget, Settings, Transport};
use crate::facts::Facts;
use crate::facts::node::NodeState;

/// Why a forwarded port leads nowhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoWay {
    /// The node has no address yet.
    NoAddress,
    /// The address is outside the cluster's current networks, or is the head's own.
    Outside(IpAddr),
}

/// Returns where a forwarded port leads.
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

/// Returns all forwarded ports that lead somewhere.
pub fn ways(settings: &Settings, facts: &Facts, placement: &Placement) -> Vec<ForwardedPort> {
    settings.forwards.iter().filter_map(|forward| way(forward, facts, placement).ok()).collect()
}

/// Returns those of `ways` whose node does not answer, also when it shows as in maintenance or
/// flapping.
pub fn dead(facts: &Facts, ways: &[ForwardedPort]) -> Vec<ForwardedPort> {
    let is_silent =
        |way: &&ForwardedPort| facts.nodes().by_address(way.to).is_some_and(NodeState::is_silent);
    ways.iter().filter(is_silent).copied().collect()
}

/// Returns the port's name in the settings: "tcp:2201".
pub fn name(forward: &Forward) -> String {
    let transport = match forward.transport {
        Transport::Tcp => "tcp",
        Transport::Udp => "udp",
    };
    format!("{transport}:{}", forward.listen)
}

/// Returns the port's target in the settings: "rpi1:22".
pub fn target(forward: &Forward) -> String {
    match &forward.to {
        ForwardTarget::Node(name) => format!("{name}:{}", forward.port),
        ForwardTarget::Address(address) => format!("{address}:{}", forward.port),
    }
}
