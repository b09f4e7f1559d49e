//! The nodes: their identity (`inventory`), their health, and counts.
//!
//! Frequent queries (a count, the nodes that are down, the node of an ID, name or address) use
//! indexes, so that they scale to ten thousand nodes; a property test compares the indexes with a
//! recount.

mod counts;
mod health;
mod intake;
mod inventory;
mod ipv6;
mod shut_down;
#[cfg(test)]
mod tests;
mod usual;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use crate::event::{Instant, Mac, NodeId};

pub use crate::api::status::{NodeHealth, Origin};
pub use counts::Counts;
use counts::Troubled;
use health::Watch;
pub use health::{BOOTING_TIME, HealthChange, Trouble};
use inventory::Inventory;
pub use inventory::{AddressConflict, FORGET_TIME, Flood, NameConflict, WrongDevice, most_claims};
use ipv6::Ipv6Addresses;
use shut_down::ShutDown;
use usual::Usual;

/// One node.
#[derive(Debug, Clone, PartialEq)]
pub struct NodeState {
    pub id: NodeId,
    /// Unique, ignoring case.
    pub name: String,
    pub mac: Option<Mac>,
    /// The current address.
    pub address: Option<IpAddr>,
    /// The hardware address in the settings; without it, `mac` was learned.
    pub configured_mac: Option<Mac>,
    /// The address in the settings.
    pub configured_address: Option<IpAddr>,
    pub origin: Origin,
    /// Index into the settings' groups.
    pub group: Option<usize>,
    pub health: NodeHealth,
    /// Smoothed round-trip time (RFC 6298), while it replies.
    pub rtt: Option<Duration>,
    /// When `health` last changed.
    pub since: Instant,
    /// When it was added.
    pub heard: Instant,
    watch: Watch,
}

impl NodeState {
    /// Returns whether it is in the settings, or a member of one of their groups.
    pub fn is_named(&self) -> bool {
        self.origin == Origin::Settings || self.group.is_some()
    }

    fn tally(&self) -> Tally {
        Tally { named: self.is_named(), group: self.group }
    }
}

/// Selects the counts that include a node, beside the count of all nodes.
#[derive(Debug, Clone, Copy)]
struct Tally {
    named: bool,
    group: Option<usize>,
}

/// All nodes.
#[derive(Debug, Clone, Default)]
pub struct Nodes {
    slots: Vec<Slot>,
    free: Vec<u32>,
    /// Nodes of the settings in their order, then found nodes, oldest first.
    order: Vec<NodeId>,
    names: BTreeMap<String, NodeId>,
    macs: BTreeMap<Mac, NodeId>,
    addresses: BTreeMap<IpAddr, NodeId>,
    counts: Counts,
    named: Counts,
    groups: Vec<Counts>,
    down: BTreeSet<NodeId>,
    troubled: Troubled,
    /// Nodes that have not replied since the start, and may still be booting.
    unanswered: BTreeSet<NodeId>,
    /// The cluster port has a carrier.
    carrier: bool,
    /// When the cluster port last got a carrier.
    carrier_since: Instant,
    /// Booting nodes, by timeout.
    booting: BTreeSet<(Instant, NodeId)>,
    inventory: Inventory,
    ipv6: Ipv6Addresses,
    shut_down: ShutDown,
    usual: Usual,
    /// Counts changes of health.
    pub revision: u64,
    /// Counts how often a node fell silent or replied again.
    silences: u64,
    /// Counts nodes that were added, removed or renamed, or changed their address or wanted name.
    pub topology_version: u64,
    /// Counts unknown boards on the cluster port, one of which may be a DHCP server.
    pub unknown_boards: u64,
}

#[derive(Debug, Clone, Default)]
struct Slot {
    generation: u32,
    node: Option<NodeState>,
}

impl Nodes {
    /// Iterates over the nodes of the settings in their order, then found nodes, oldest first.
    pub fn iter(&self) -> impl Iterator<Item = &NodeState> {
        self.order.iter().filter_map(|id| self.get(*id))
    }

    pub fn get(&self, id: NodeId) -> Option<&NodeState> {
        self.slots.get(id.slot as usize)?.node.as_ref().filter(|node| node.id == id)
    }

    pub fn by_name(&self, name: &str) -> Option<&NodeState> {
        self.get(*self.names.get(&name.to_ascii_lowercase())?)
    }

    pub fn by_mac(&self, mac: Mac) -> Option<&NodeState> {
        self.get(*self.macs.get(&mac)?)
    }

    pub fn by_address(&self, address: IpAddr) -> Option<&NodeState> {
        self.get(*self.addresses.get(&address)?)
    }

    /// Returns the IPv6 addresses that a board formed itself, the lasting ones first.
    pub fn ipv6_of(&self, mac: Mac) -> impl Iterator<Item = Ipv6Addr> + '_ {
        self.ipv6.of(mac)
    }

    /// Returns the nodes that are down, in the order of their IDs.
    pub fn down(&self) -> impl Iterator<Item = &NodeState> {
        self.down.iter().filter_map(|id| self.get(*id))
    }

    pub fn down_ids(&self) -> &BTreeSet<NodeId> {
        &self.down
    }

    /// Returns whether the node is degraded for this reason.
    pub fn is_troubled(&self, id: NodeId, trouble: Trouble) -> bool {
        self.troubled.of(trouble).is_some_and(|nodes| nodes.contains(&id))
    }

    /// Returns the nodes that are degraded for this reason, in the order of their IDs, and their
    /// number.
    pub fn troubled(&self, trouble: Trouble) -> (impl Iterator<Item = &NodeState>, usize) {
        let nodes = self.troubled.of(trouble);
        let count = nodes.map_or(0, BTreeSet::len);
        (nodes.into_iter().flatten().filter_map(|id| self.get(*id)), count)
    }

    pub fn count(&self, health: NodeHealth) -> usize {
        self.counts.of(health)
    }

    /// Returns the counts of the nodes for which [`NodeState::is_named`] holds, and which are
    /// therefore expected to be up.
    pub fn named(&self) -> &Counts {
        &self.named
    }

    /// Returns the counts of each group, in the order of the settings.
    pub fn groups(&self) -> &[Counts] {
        &self.groups
    }

    pub fn total(&self) -> usize {
        self.order.len()
    }

    /// Appends a node. No other node may have its name, hardware address or address.
    fn insert(&mut self, fresh: Fresh, now: Instant) -> NodeId {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot::default());
            u32::try_from(self.slots.len() - 1).unwrap_or(u32::MAX)
        });
        let Some(place) = self.slots.get_mut(slot as usize) else { return NodeId::default() };
        let id = NodeId { slot, generation: place.generation };
        let Fresh { name, mac, address, origin, group } = fresh;
        let (health, watch) = (NodeHealth::Unknown, Watch::default());
        let node = NodeState {
            id,
            name,
            mac,
            address,
            configured_mac: None,
            configured_address: None,
            origin,
            group,
            health,
            rtt: None,
            since: now,
            heard: now,
            watch,
        };
        let tally = node.tally();
        let key = node.name.to_ascii_lowercase();
        place.node = Some(node);
        self.index(key, mac, address, id);
        self.order.push(id);
        self.count_in(tally, health);
        self.topology_version += 1;
        id
    }

    fn remove(&mut self, id: NodeId) -> Option<NodeState> {
        let slot =
            self.slots.get_mut(id.slot as usize).filter(|slot| slot.generation == id.generation)?;
        let node = slot.node.take()?;
        slot.generation = slot.generation.wrapping_add(1);
        self.free.push(id.slot);
        self.names.remove(&node.name.to_ascii_lowercase());
        if let Some(mac) = node.mac {
            self.macs.remove(&mac);
        }
        if let Some(address) = node.address {
            self.addresses.remove(&address);
        }
        self.order.retain(|known| *known != id);
        self.down.remove(&id);
        self.unanswered.remove(&id);
        self.troubled.set(id, None);
        self.count_out(node.tally(), node.health);
        self.topology_version += 1;
        Some(node)
    }

    /// Adds a node to the indexes; `name` in lower case.
    fn index(&mut self, name: String, mac: Option<Mac>, address: Option<IpAddr>, id: NodeId) {
        self.names.insert(name, id);
        mac.map(|mac| self.macs.insert(mac, id));
        address.map(|address| self.addresses.insert(address, id));
    }

    /// Changes the identity of a node, with the indexes and orders about it. Returns whether
    /// anything changed.
    fn identify(&mut self, id: NodeId, change: impl FnOnce(&mut NodeState)) -> bool {
        let Some(node) = self.slots.get_mut(id.slot as usize).and_then(|slot| slot.node.as_mut())
        else {
            return false;
        };
        let before = node.clone();
        change(node);
        let after = node.clone();
        if before == after {
            return false;
        }
        self.names.remove(&before.name.to_ascii_lowercase());
        before.mac.filter(|mac| self.macs.get(mac) == Some(&id)).map(|mac| self.macs.remove(&mac));
        before
            .address
            .filter(|ip| self.addresses.get(ip) == Some(&id))
            .map(|ip| self.addresses.remove(&ip));
        self.index(after.name.to_ascii_lowercase(), after.mac, after.address, id);
        self.count_out(before.tally(), before.health);
        self.count_in(after.tally(), after.health);
        self.pass_order(&before.order_key(), after.order_key());
        self.topology_version += 1;
        true
    }

    /// Sets the health of a node, and updates the counts.
    fn set_health(&mut self, id: NodeId, health: NodeHealth, now: Instant) {
        let Some(node) = self.slots.get_mut(id.slot as usize).and_then(|slot| slot.node.as_mut())
        else {
            return;
        };
        let before = std::mem::replace(&mut node.health, health);
        node.since = now;
        let tally = node.tally();
        if node.origin == Origin::Found && before == NodeHealth::Unknown && health == NodeHealth::Up
        {
            self.inventory.crowd.confirm();
        }
        if health == NodeHealth::Down {
            self.down.insert(id);
        } else {
            self.down.remove(&id);
        }
        self.count_out(tally, before);
        self.count_in(tally, health);
        self.revision += 1;
    }

    fn count_in(&mut self, tally: Tally, health: NodeHealth) {
        self.counts_with(tally).for_each(|counts| counts.add(health));
    }

    fn count_out(&mut self, tally: Tally, health: NodeHealth) {
        self.counts_with(tally).for_each(|counts| counts.subtract(health));
    }

    /// Returns the counts that include a node.
    fn counts_with(&mut self, tally: Tally) -> impl Iterator<Item = &mut Counts> {
        let named = tally.named.then_some(&mut self.named);
        let group = tally.group.and_then(|group| self.groups.get_mut(group));
        std::iter::once(&mut self.counts).chain(named).chain(group)
    }
}

/// Describes a new node.
#[derive(Debug, Clone)]
struct Fresh {
    name: String,
    mac: Option<Mac>,
    address: Option<IpAddr>,
    origin: Origin,
    group: Option<usize>,
}
