//! Probes: is the internet behind an uplink, and do the nodes live?
//!
//! A new kind of health probe is a file here with an `impl Probe`, and a line in [`PROBES`].

mod arp;
pub mod dns;
pub mod http;
mod icmp;
mod node;
mod tcp;
mod uplink;

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use futures_util::future::BoxFuture;

use crate::config::{NodeProbe, UplinkProbe};
use crate::event::LinkIndex;

/// What is to be asked of the uplinks. An equal plan disturbs nothing.
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

/// One uplink with an address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UplinkTarget {
    pub index: LinkIndex,
    /// the interface's name; everything is bound to it
    pub name: String,
    /// the uplink's address; its family decides whether IPv4 or IPv6 is tried
    pub source: IpAddr,
    /// asked for the host of the probe, bound to the uplink (but for those on the loopback)
    pub resolvers: Vec<IpAddr>,
    /// counts up with each change of address or route: asked again at once
    pub generation: u64,
}

/// Which nodes to ask, and how often. An equal plan disturbs nothing.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NodeProbePlan {
    pub nodes: Vec<NodeTarget>,
    /// from the beginning of one round to that of the next
    pub interval: Duration,
    /// the cluster port's name; everything is bound to it, so that an overlap with the venue does not matter
    pub port: Option<String>,
}

/// A node and what it is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeTarget {
    pub name: String,
    pub address: Ipv4Addr,
    /// all of them must be answered
    pub probes: Vec<NodeProbe>,
}

/// One question to one node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    pub address: Ipv4Addr,
    pub probe: NodeProbe,
}

/// One way to ask nodes whether they live: all at once, so that a round costs a wake-up or two.
pub trait Probe: Send {
    /// Asks, and waits for at most `within`. One answer for each question, in order: the round trip time, or `None`.
    fn ask<'a>(
        &'a mut self,
        questions: &'a [Question],
        port: Option<&'a str>,
        within: Duration,
    ) -> BoxFuture<'a, Vec<Option<Duration>>>;

    /// Nothing could be asked the last time: the right to is missing, so silence says nothing of the nodes.
    fn is_denied(&self) -> bool {
        false
    }
}

/// A kind of probe.
pub struct Kind {
    pub name: &'static str,
    /// does this setting ask for it?
    pub takes: fn(&NodeProbe) -> bool,
    pub make: fn() -> Box<dyn Probe>,
}

impl std::fmt::Debug for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Kind").field("name", &self.name).finish_non_exhaustive()
    }
}

/// All kinds of node probes.
pub const PROBES: [Kind; 4] = [
    Kind { name: "arp", takes: |probe| matches!(probe, NodeProbe::Arp), make: || Box::<arp::ArpProbe>::default() },
    Kind { name: "icmp", takes: |probe| matches!(probe, NodeProbe::Icmp), make: || Box::<icmp::IcmpProbe>::default() },
    Kind { name: "tcp", takes: |probe| matches!(probe, NodeProbe::Tcp(_)), make: || Box::new(tcp::TcpProbe) },
    Kind { name: "http", takes: |probe| matches!(probe, NodeProbe::Http { .. }), make: || Box::new(http::HttpProbe) },
];

pub use node::run as run_nodes;
pub use uplink::run as run_uplinks;

/// Reads any bytes as what nodes answer to ARP and ICMP: the door for fuzzing.
#[doc(hidden)]
pub fn read_any(bytes: &[u8]) {
    arp::reply(bytes, crate::event::Mac([2; 6]));
    icmp::reply(bytes, false, [7; 8]);
    icmp::reply(bytes, true, [7; 8]);
}

/// A number that others cannot guess, for query ids and cookies.
fn unguessable() -> u64 {
    use std::hash::{BuildHasher, Hasher, RandomState};
    RandomState::new().build_hasher().finish()
}
