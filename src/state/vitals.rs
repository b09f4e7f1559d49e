//! What was told of the machine, and how often our work was undone.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::{State, Transition};
use crate::event::{LinkIndex, Vital};

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
    /// kinds of probes that we have no right to send
    pub denied_probes: BTreeSet<String>,
    pub host_name: String,
    pub ssh_ports: Vec<u16>,
}

impl State {
    pub(super) fn apply_vital(&mut self, vital: &Vital) -> Vec<Transition> {
        match vital {
            Vital::Conntrack { count, max } => self.vitals.conntrack = Some((*count, *max)),
            Vital::Resolvers { index, servers } => {
                self.vitals.resolvers.insert(*index, servers.clone());
            }
            Vital::WayOut { index } => self.vitals.way_out = Some(*index),
            Vital::Host { name, ssh_ports } => {
                self.vitals.host_name.clone_from(name);
                self.vitals.ssh_ports.clone_from(ssh_ports);
            }
        }
        Vec::new()
    }
}
