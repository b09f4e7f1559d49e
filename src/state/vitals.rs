//! What was told of the machine and of the firewall, and how often our work was undone.

use std::collections::BTreeMap;
use std::net::IpAddr;

use crate::event::{Blocker, LinkIndex};

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
}

/// What was seen of the firewall.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FirewallFacts {
    /// another tool's chain that drops our traffic
    pub blocker: Option<Blocker>,
    /// what our forward chain accepts does not arrive at postrouting
    pub swallowed: bool,
    /// times the rules were put back
    pub repaired: u64,
    pub(super) counters: Option<(u64, u64)>,
}
