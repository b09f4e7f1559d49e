//! Probes of the nodes and of the internet.

use std::time::Duration;

use super::LinkIndex;

/// Identifies a node for as long as the daemon runs: dense, so that ten thousand nodes are an
/// array, and never confused with that of an earlier node in the same slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct NodeId {
    pub slot: u32,
    /// counts up each time the slot is used again
    pub generation: u32,
}

/// Reports one round of probes of one node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Round {
    pub node: NodeId,
    /// `None`: neither the first try nor its retries were answered
    pub rtt: Option<Duration>,
    /// the first try was not answered in time
    pub first_lost: bool,
}

/// Says whether the internet is behind an uplink.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reachability {
    /// the expected answer came
    Online,
    /// some other answer came: a captive portal
    Portal,
    /// no answer
    Nothing,
}

/// Reports one finished probe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Probe {
    /// the internet through the uplink with this index
    Uplink { index: LinkIndex, reachability: Reachability },
    /// rounds of nodes that ended together
    Nodes(Vec<Round>),
    /// probes of this kind ("icmp") may not be sent: a capability is missing; or they may be again
    Denied { probe: String, denied: bool },
}
