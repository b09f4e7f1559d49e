//! Probes of the nodes and of the internet.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use bramblegate_clat::Prefix;

use super::{LinkIndex, Mac, Path};
use crate::config::{NodeProbe, UplinkProbe};

/// Identifies a node for as long as the daemon runs: dense, so that ten thousand nodes are an
/// array, and never confused with that of an earlier node in the same slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct NodeId {
    pub slot: u32,
    /// Counts up each time the slot is used again.
    pub generation: u32,
}

/// Reports one round of probes of one node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Round {
    pub node: NodeId,
    /// `None`: neither the first try nor its retries were answered.
    pub rtt: Option<Duration>,
    /// The first try was not answered in time.
    pub first_lost: bool,
}

/// Says whether the internet is behind an uplink.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reachability {
    /// The expected answer came.
    Online,
    /// Some other answer came: a captive portal.
    Portal,
    /// No answer.
    Nothing,
}

/// Reports one finished probe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Probe {
    /// The internet through the uplink with this index.
    Uplink { index: LinkIndex, reachability: Reachability },
    /// Rounds of nodes that ended together.
    Nodes(Vec<Round>),
    /// Probes of this kind ("icmp") may not be sent: a capability is missing; or they may be again.
    Denied { probe: String, denied: bool },
}

/// Names what is to be asked of the uplinks. An equal plan disturbs nothing.
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

/// Names one uplink with an address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UplinkTarget {
    pub index: LinkIndex,
    /// The interface's name; everything is bound to it.
    pub name: String,
    /// The uplink's address; its family decides whether IPv4 or IPv6 is tried.
    pub source: IpAddr,
    /// Asked for the host of the probe, bound to the uplink (but for those on the loopback).
    pub resolvers: Vec<IpAddr>,
    /// Counts up with each change of address or route: asked again at once.
    pub generation: u64,
    /// The path that is tried by itself; `None`: what answers is the answer of the uplink.
    pub path: Option<Path>,
    /// The host's IPv4 addresses are tried by this NAT64.
    pub nat64: Option<Prefix>,
}

/// Names the nodes to ask, and how often. An equal plan disturbs nothing; comparing it with itself
/// costs nothing.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NodeProbePlan {
    pub nodes: Arc<Vec<NodeTarget>>,
    /// From the beginning of one round to that of the next.
    pub interval: Duration,
    /// A round's longest wait for an answer.
    pub timeout: Duration,
    /// The cluster port's name; without one no node is asked. Only ARP is bound to it: all else
    /// goes the way that everybody's packets go, so that what leads them elsewhere is seen.
    pub port: Option<String>,
}

/// Names a node and what it is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeTarget {
    pub node: NodeId,
    pub address: IpAddr,
    /// The board that the settings name: where a probe sees who answers, no other's answer counts.
    pub mac: Option<Mac>,
    /// All of them must be answered; shared by the nodes that are asked the same.
    pub probes: Arc<[NodeProbe]>,
    /// Its round's longest wait for an answer, in ms, in place of the plan's; may be longer than
    /// the interval. 0: the plan's.
    pub timeout: u32,
}
