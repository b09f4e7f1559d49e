//! Finds out whether the internet is behind an uplink (`uplink`), and whether the nodes live
//! (`node`). What an answer means, and how many lost rounds make a node dead, the facts decide.
//!
//! # How ten thousand nodes are asked each second
//!
//! There is no task, timer or socket for a node. One task ([`node::run`]) does all of it: it takes
//! in what was answered, ends rounds, begins others, sends, and sleeps until the next moment at
//! which anything is due. Three parts share the work:
//!
//! * The **scheduler** (`scheduler`) knows who is asked when. It has no socket and reads no
//!   clock, so its tests play hours in milliseconds. Up to sixteen nodes are asked together. More
//!   are spread evenly over the interval, and the work of ten milliseconds is put together: 100
//!   wake-ups a second, however many nodes there are. A round asks each of a node's probes up to
//!   three times; an answer to any of the tries counts until the round ends. How soon the second
//!   try follows is learned for each node (four smoothed round trips, RFC 6298), so a node on a
//!   quick wire is known to be silent long before the round's longest wait is over.
//! * The **probes** ([`Probe`]) know how one kind of question is asked: ARP, ICMP, TCP, HTTP. ARP
//!   and ICMP use one socket for all nodes, and carry in the question what finds its place again:
//!   node, round, probe and try ([`Key`]), for ICMP with a keyed hash, so that no answer needs a
//!   search or can be forged for another node. TCP and HTTP have a connection for each question.
//! * The **batches** (`batch`) bring many datagrams to the kernel by one call, and take many from
//!   it. The kernel notes when each one arrived, so the round trip does not grow with what waits
//!   before it, and a classic BPF filter lets only our own answers wake us.
//!
//! What a moment costs follows what is underway, not what there is: the scheduler holds a list of
//! open questions and a queue for each kind of probe, all by place, in vectors. An answer finds its
//! node by the slot in its number. The results of all rounds that end together are one event.
//!
//! What does not fit is not lost: a probe says how many questions it took, and the rest stays at
//! the head of the queue. After a delay the scheduler catches up at twice the pace, never all at
//! once, and rounds that were slept through are not made up for. A question that may not be sent
//! for want of a right says nothing of its node, and is reported as such.
//!
//! A node that has been silent for two rounds may have got another board at its address: the kernel
//! is asked to look for it anew (`resolution`).
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

/// Names the question that an answer belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Key {
    pub node: NodeId,
    /// counts up with every round that begins
    pub turn: u32,
    /// place in the node's probes
    pub probe: u8,
    /// 0 is the first try
    pub nth: u8,
}

/// Holds one question to one node.
#[derive(Debug, Clone, Copy)]
pub struct Question<'a> {
    pub key: Key,
    pub address: IpAddr,
    /// [`NodeTarget::mac`]
    pub mac: Option<Mac>,
    pub probe: &'a NodeProbe,
    /// what is answered later than this is not waited for
    pub within: Duration,
}

/// Holds an answer that shows that the node is well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Answer {
    pub key: Key,
    /// `None` when a clock that was set in between made it meaningless
    pub rtt: Option<Duration>,
    /// who answered, where that has to be compared with who was asked
    pub from: Option<IpAddr>,
}

/// Asks nodes in one way whether they live. Who is asked when, and again, is the business of
/// `scheduler`.
pub trait Probe: Send {
    /// Asks without waiting. Returns how many of the questions, from the first on, were taken; for
    /// the others there was no room, and they come again a moment later. `port`: the cluster's, for
    /// what is asked on the wire itself.
    fn ask(&mut self, questions: &[Question<'_>], port: &str) -> usize;

    /// Adds what was answered since it was called last, without waiting.
    fn answers(&mut self, answered: &mut Vec<Answer>);

    /// Returns whether nothing could be asked the last time for want of the right to: then silence
    /// says nothing of the nodes.
    fn is_denied(&self) -> bool {
        false
    }
}

/// Describes a kind of probe.
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

/// Reads any bytes as what nodes answer to ARP and ICMP: the door for fuzzing.
#[doc(hidden)]
pub fn read_any(bytes: &[u8]) {
    arp::reply(bytes, Mac([2; 6]));
    echo::reply(bytes, false, [7; 8]);
    echo::reply(bytes, true, [7; 8]);
    let seal = icmp::Seal::default();
    echo::answer(bytes, false)
        .and_then(|(_, payload)| icmp::read(payload, &seal, Ipv4Addr::LOCALHOST.into()));
}

/// Returns a number that others cannot guess, for query ids and cookies: the kernel's
/// (getrandom(2)). While the kernel has none yet, one that others can hardly guess: early in a boot
/// the call would hold up the whole loop, for more than a second where nothing seeds the kernel.
pub fn unguessable() -> u64 {
    use std::hash::{BuildHasher, RandomState};
    let mut bytes = [0; 8];
    match getrandom(&mut bytes, GetRandomFlags::NONBLOCK) {
        Ok(8) => u64::from_ne_bytes(bytes),
        _ => RandomState::new().hash_one(0),
    }
}
