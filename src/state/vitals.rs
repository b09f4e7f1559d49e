//! What was told of the machine, and how often our work was undone.

use std::collections::BTreeMap;
use std::net::IpAddr;

use ipnet::Ipv4Net;

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
    /// addresses that we gave to ports and have not taken away: (port, address)
    pub added: Vec<(String, Ipv4Net)>,
}
