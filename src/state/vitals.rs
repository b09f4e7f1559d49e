//! What was told of the machine, and how often our work was undone.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use crate::event::LinkIndex;

/// How often each part of our work was undone by others: a new number makes its applier look again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Revisions {
    pub link: u64,
    pub firewall: u64,
    pub routing: u64,
}

/// What the vitals said last.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Vitals {
    /// connection tracking: (entries, size)
    pub conntrack: Option<(u32, u32)>,
    /// by interface; 0 = the machine's
    pub resolvers: BTreeMap<LinkIndex, Vec<IpAddr>>,
    /// `None`: not asked yet
    pub way_out: Option<Option<LinkIndex>>,
    pub host_name: String,
    pub ssh_ports: Vec<u16>,
    pub time: TimeFacts,
}

/// Who tells the time.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TimeFacts {
    /// a time server of the head listens where the nodes reach it
    pub served: bool,
    /// whom the head asks itself
    pub servers: Vec<Ipv4Addr>,
}
