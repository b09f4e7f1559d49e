//! Probes internet access through the uplinks (`uplink`) and the health of the nodes (`node`). The
//! facts decide what a result means, and how many failed rounds make a node dead.
//!
//! # How ten thousand nodes are probed each second
//!
//! No node has a task, timer or socket of its own. A single task ([`node::run`]) receives replies,
//! ends and starts rounds, sends requests, and sleeps until the next deadline. Three parts share
//! the work:
//!
//! * The **scheduler** (`scheduler`) decides which node is probed when. It has no socket and reads
//!   no clock, so its tests simulate hours in milliseconds. Up to sixteen nodes are probed
//!   together. More are spread evenly over the interval in ticks of ten milliseconds: 100 wake-ups
//!   a second, whatever their number. A round tries each of a node's probes up to three times; a
//!   reply to any try counts until the round ends. The timeout before the second try adapts to each
//!   node (four smoothed round trips, RFC 6298), so a nearby node is found silent long before the
//!   maximum timeout.
//! * The **probes** ([`Probe`]) implement one kind of request each: ARP, ICMP, TCP, HTTP. ARP and
//!   ICMP use one socket for all nodes. An ICMP request carries node, round, probe and try
//!   ([`Key`]) with a keyed hash, so that a reply needs no look-up and cannot be forged for another
//!   node. TCP and HTTP open a connection for each request.
//! * The **batches** (`batch`) send and receive many datagrams per system call. The kernel
//!   timestamps each arrival, so queueing does not inflate round trips, and a classic BPF filter
//!   passes replies to our own requests only.
//!
//! The cost of a wake-up depends on the requests in flight, not on the number of nodes: the
//! scheduler holds a list of open requests and a queue for each kind of probe, as indices into
//! vectors. A reply finds its node by the slot in its ID. The results of all rounds that end
//! together form one event.
//!
//! Backpressure: a probe returns how many requests it accepted, and the rest stays at the head of
//! the queue. After a delay the scheduler catches up at twice the rate, never all at once, and does
//! not make up for rounds missed while suspended. A request that lacks permission says nothing
//! about its node, and is reported as denied.
//!
//! After two failed rounds another board may have the node's address, so the kernel's neighbour
//! entry is deleted (`resolution`).
//!
//! A new kind of health probe is a file here with an `impl Probe`, and a line in [`PROBES`].

mod arp;
mod batch;
pub(super) mod dns;
mod echo;
pub mod http;
mod icmp;
mod node;
mod resolution;
mod scheduler;
mod stream;
mod tcp;
mod uplink;

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use rustix::rand::{GetRandomFlags, getrandom};

use crate::config::NodeProbe;
use crate::event::{Mac, NodeId};
pub use crate::event::{NodeProbePlan, NodeTarget, UplinkProbePlan, UplinkTarget};

/// Identifies the request that a reply belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Key {
    pub node: NodeId,
    /// Number of the round, incremented for each round of any node.
    pub turn: u32,
    /// Index into the node's probes.
    pub probe: u8,
    /// Number of the try, from 0.
    pub nth: u8,
}

/// Holds one request to one node.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    pub key: Key,
    pub address: IpAddr,
    /// [`NodeTarget::mac`]
    pub mac: Option<Mac>,
    pub probe: &'a NodeProbe,
    /// Timeout of the reply.
    pub within: Duration,
}

/// Holds a reply that shows that the node is healthy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reply {
    pub key: Key,
    /// `None` if the wall clock was set back in between.
    pub rtt: Option<Duration>,
    /// Source address, where it must match the node's.
    pub from: Option<IpAddr>,
}

/// Implements one kind of health probe. `scheduler` decides on times and retries.
pub trait Probe: Send {
    /// Sends requests without blocking. Returns how many, from the first on, were accepted; the
    /// others are passed again later. `port` is the cluster interface, for link-layer probes.
    fn send(&mut self, requests: &[Request<'_>], port: &str) -> usize;

    /// Appends the replies received since the last call, without blocking.
    fn receive(&mut self, replies: &mut Vec<Reply>);

    /// Returns whether the last requests could not be sent for lack of permission, so that missing
    /// replies say nothing about the nodes.
    fn is_denied(&self) -> bool {
        false
    }
}

/// Describes a kind of probe.
#[derive(Debug)]
pub struct Kind {
    pub name: &'static str,
    /// Returns whether a setting selects this kind.
    pub takes: fn(&NodeProbe) -> bool,
    pub make: fn() -> Box<dyn Probe>,
}

/// Lists all kinds of node probes.
pub static PROBES: [Kind; 4] = [
    Kind {
        name: "arp",
        takes: |probe| matches!(probe, NodeProbe::Arp),
        make: || Box::<arp::ArpProbe>::default(),
    },
    Kind {
        name: "icmp",
        takes: |probe| matches!(probe, NodeProbe::Icmp),
        make: || Box::<icmp::IcmpProbe>::default(),
    },
    Kind {
        name: "tcp",
        takes: |probe| matches!(probe, NodeProbe::Tcp(_)),
        make: || Box::new(stream::Streams::new(tcp::is_well)),
    },
    Kind {
        name: "http",
        takes: |probe| matches!(probe, NodeProbe::Http { .. }),
        make: || Box::new(stream::Streams::new(http::is_well)),
    },
];

pub(crate) use arp::request as arp_request;
pub use node::run as run_nodes;
pub use uplink::run as run_uplinks;

/// Parses arbitrary bytes as replies to ARP and ICMP, for fuzzing.
#[doc(hidden)]
pub fn read_any(bytes: &[u8]) {
    arp::reply(bytes, Mac([2; 6]));
    echo::reply(bytes, false, [7; 8]);
    echo::reply(bytes, true, [7; 8]);
    let seal = icmp::Seal::default();
    echo::answer(bytes, false)
        .and_then(|(_, payload)| icmp::read(payload, &seal, Ipv4Addr::LOCALHOST.into()));
}

/// Returns an unpredictable number for query IDs and cookies, from getrandom(2). While the kernel's
/// generator is not initialised, early in a boot, that call could block the whole loop for more
/// than a second; the number then comes from `RandomState`, which is hard to guess.
pub fn unguessable() -> u64 {
    use std::hash::{BuildHasher, RandomState};
    let mut bytes = [0; 8];
    match getrandom(&mut bytes, GetRandomFlags::NONBLOCK) {
        Ok(8) => u64::from_ne_bytes(bytes),
        _ => RandomState::new().hash_one(0),
    }
}
