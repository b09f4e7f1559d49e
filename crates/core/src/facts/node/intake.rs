//! Who is heard on the cluster port, who has a lease, and what people order about nodes.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use super::NodeState;
use crate::event::{Change, Lease, Mac, Neighbour, NodeId, Order};
use crate::facts::{Facts, Transition};

impl Facts {
    pub(crate) fn apply_neighbour(&mut self, change: &Change<Neighbour>) -> Vec<Transition> {
        let settings = Arc::clone(&self.settings);
        let (Change::Present(transitions) | Change::Gone(transitions)) = change;
        let IpAddr::V4(address) = transitions.address else { return Vec::new() };
        match (change, transitions.mac) {
            (Change::Present(_), Some(mac)) => {
                // Not the address of many, nor of nobody.
                let unicast = mac.0.first().is_some_and(|first| first & 1 == 0) && mac.0 != [0; 6];
                if !unicast || self.roles.cluster != Some(transitions.index) {
                    return Vec::new();
                }
                if transitions.reachable {
                    self.retiring.heard(address, self.now);
                }
                if self.nodes.by_mac(mac).is_none() {
                    self.dhcp.unknown_clients += 1;
                }
                let found =
                    self.nodes.seen((address, mac, transitions.reachable), &settings, self.now);
                found.into_iter().filter_map(|id| self.found(id)).collect()
            }
            _ => {
                self.nodes.unseen(address, &settings, self.now);
                Vec::new()
            }
        }
    }

    pub(crate) fn apply_lease(&mut self, change: &Change<Lease>) -> Vec<Transition> {
        let settings = Arc::clone(&self.settings);
        match change {
            Change::Present(lease) => {
                let found = self.nodes.leased(lease, &settings, self.now);
                found.and_then(|id| self.found(id)).into_iter().collect()
            }
            Change::Gone(lease) => {
                let gone = self.nodes.lease_ended(lease, &settings, self.now);
                gone.map(forgotten).into_iter().collect()
            }
        }
    }

    pub(crate) fn calls_itself(&mut self, mac: Mac, name: &str) -> Vec<Transition> {
        let settings = Arc::clone(&self.settings);
        let found = self.nodes.calls_itself(mac, name, &settings, self.now);
        found.and_then(|id| self.found(id)).into_iter().collect()
    }

    /// Leases of an earlier run, in which the server wrote down who has which name.
    pub fn restore_names(&mut self, leases: &[Lease]) {
        let mut named: Vec<&Lease> =
            leases.iter().filter(|lease| lease.host_name.is_some()).collect();
        // In their order they go to the end of the map, and move nothing.
        named.sort_by(|a, b| a.host_name.cmp(&b.host_name));
        named.into_iter().for_each(|lease| self.nodes.restore_name(lease, self.now));
    }

    /// What a person wants. An acknowledgement is not about who is here.
    pub(crate) fn apply_order(&mut self, order: &Order) -> Vec<Transition> {
        let (name, drained) = match order {
            Order::Drain(name) => (name, true),
            Order::Resume(name) => (name, false),
            Order::Acknowledge | Order::Forget(_) => return Vec::new(),
        };
        self.nodes.note_drained(name, drained);
        let Some(node) = self.nodes.by_name(name) else { return Vec::new() };
        let id = node.id;
        let change = self.nodes.set_maintenance(id, drained, self.now);
        change.and_then(|change| self.health_changed(id, change)).into_iter().collect()
    }

    /// Orders of an earlier run: these nodes are worked on; as [`super::Nodes::drained`] told them.
    pub fn restore_drained(&mut self, keys: &BTreeSet<String>) {
        for key in keys {
            self.apply_order(&Order::Drain(key.clone()));
        }
    }

    /// Nodes that time has ended.
    pub(crate) fn sweep_nodes(&mut self) -> Vec<Transition> {
        let settings = Arc::clone(&self.settings);
        self.nodes.sweep(&settings, self.now).into_iter().map(forgotten).collect()
    }

    fn found(&self, id: NodeId) -> Option<Transition> {
        let node = self.nodes.get(id)?;
        Some(Transition::NodeFound {
            name: node.name.clone(),
            mac: node.mac,
            address: node.address,
        })
    }
}

fn forgotten(node: NodeState) -> Transition {
    Transition::NodeForgotten { name: node.name }
}
