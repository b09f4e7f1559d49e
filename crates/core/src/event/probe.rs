//! Probes of the nodes and of the internet.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use bramblegate_clat::Prefix;

use super::{LinkIndex, Mac, Path};
use crate::config::{NodeProbe, UplinkProbe};

/// Identifies a node while the daemon runs. Slots are dense, so that ten thousand nodes fit an
/// array; the generation distinguishes a node from an earlier one in the same slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct NodeId {
    pub slot: u32,
    /// Counts the reuses of the slot.
    pub generation: u32,
}

/// Reports one round of probes of one node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Round {
    pub node: NodeId,
    /// `None`: neither the first attempt nor its retries were answered.
    pub rtt: Option<Duration>,
    /// The first attempt was not answered in time.
    pub first_lost: bool,
}

/// Describes whether the internet is reachable through an uplink.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reachability {
    /// The expected reply arrived.
    Online,
    /// Another reply arrived: a captive portal.
    Portal,
    /// No reply.
    Nothing,
}

/// Reports finished probes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Probe {
    /// A probe of the internet through the uplink with this index.
    Uplink { index: LinkIndex, reachability: Reachability },
    /// Rounds of nodes that ended together.
    Nodes(Vec<Round>),
    /// Whether probes of this kind ("icmp") cannot be sent because a capability is missing.
    Denied { probe: String, denied: bool },
}

/// Configures the probes through the uplinks. An equal plan changes nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UplinkProbePlan {
    pub targets: Vec<UplinkTarget>,
    pub probe: UplinkProbe,
}

impl Default for UplinkProbePlan {
    fn default() -> Self {
        Self { targets: Vec::new(), probe: UplinkProbe::Off }
    }
}

/// Describes one probe target: an uplink with an address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UplinkTarget {
    pub index: LinkIndex,
    /// The interface's name; all sockets are bound to it.
    pub name: String,
    /// The uplink's address; its family selects IPv4 or IPv6.
    pub source: IpAddr,
    /// Resolvers for the probe's host; queries are bound to the uplink, except to a loopback
    /// address.
    pub resolvers: Vec<IpAddr>,
    /// Counts changes of address or route, each of which triggers a new probe at once.
    pub generation: u64,
    /// The path that is probed separately; `None`: the result is that of the uplink.
    pub path: Option<Path>,
    /// NAT64 prefix through which the host's IPv4 addresses are probed.
    pub nat64: Option<Prefix>,
}

/// Configures the probes of the nodes. An equal plan changes nothing; comparing it with itself is
/// cheap.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NodeProbePlan {
    pub nodes: Arc<Vec<NodeTarget>>,
    /// From the start of one round to the start of the next.
    pub interval: Duration,
    /// Timeout of a round.
    pub timeout: Duration,
    /// The cluster port's name; without one no node is probed. Only ARP is bound to it: all other
    /// probes are routed as ordinary packets, so that a wrong route is detected.
    pub port: Option<String>,
}

/// Describes a node and its probes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeTarget {
    pub node: NodeId,
    pub address: IpAddr,
    /// The board that the settings assign; a probe that sees the hardware address of a reply
    /// accepts only this one.
    pub mac: Option<Mac>,
    /// All of them must succeed; shared among nodes with the same probes.
    pub probes: Arc<[NodeProbe]>,
    /// Timeout of its rounds in ms, which may exceed the interval; 0: the plan's.
    pub timeout: u32,
}
