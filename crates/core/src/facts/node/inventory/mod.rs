//! The identity of the nodes, those of the settings and found ones. A node is identified by its
//! hardware address.
//!
//! Identities are derived per board, from neighbour entries and leases ([`sighting`]). Names,
//! hardware addresses and addresses are unique: if two nodes want the same, one goes without, and
//! the conflict is reported.

mod called;
mod crowd;
mod name;
mod naming;
mod range;
mod reload;
mod sighting;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use ipnet::IpNet;

use super::{Fresh, NodeHealth, NodeState, Nodes, Origin};
use crate::config::Settings;
use crate::event::{Instant, Lease, Mac, NodeId};
use called::AdvertisedNames;
use crowd::Crowd;
pub use crowd::Flood;
pub use naming::NameConflict;
pub use range::most_claims;
pub use sighting::AddressConflict;
use sighting::Sightings;

/// A found node without a lease is removed after this long without a reply.
pub const FORGET_TIME: Duration = Duration::from_secs(600);
/// Interval of [`Nodes::sweep`], while anything can expire.
const SWEEP: Duration = Duration::from_secs(60);

/// Holds the state from which identities are derived.
#[derive(Debug, Clone, Default)]
pub(super) struct Inventory {
    sightings: Sightings,
    called: AdvertisedNames,
    pub(super) crowd: Crowd,
    /// Evicted nodes that are not reported yet.
    evicted: Vec<NodeState>,
    /// The nodes to which the settings give an address.
    homes: BTreeMap<IpAddr, NodeId>,
    /// Boards at addresses that the settings give to another board.
    misplaced: BTreeMap<IpAddr, Mac>,
    /// Host names of nodes that another node has.
    unnamed: BTreeMap<NodeId, String>,
    /// Nodes in maintenance, even those that do not exist, by [`NodeState::order_key`].
    drained: BTreeSet<String>,
    sweep_at: Option<Instant>,
    /// The head's own host name, in lower case, without its domain.
    head: String,
}

/// A board at the address of another one.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct WrongDevice<'n> {
    pub address: IpAddr,
    /// The board at the address.
    pub mac: Mac,
    /// The node to which the settings give the address.
    pub owner: &'n NodeState,
    /// The node that the board is, if known.
    pub node: Option<&'n NodeState>,
}

impl Nodes {
    /// Returns whether the settings give this address to a node, whatever its current one is.
    pub fn is_configured(&self, address: IpAddr) -> bool {
        self.inventory.homes.contains_key(&address)
    }

    /// Returns whether this address of `home` is leased. Leases keep their host parts when the
    /// cluster moves, so that only these are compared. Iterates over all leases.
    pub fn is_leased(&self, address: IpAddr, home: IpNet) -> bool {
        let host = host_part(address, home);
        host.is_some() && self.inventory.sightings.leased().any(|it| host_part(it, home) == host)
    }

    /// Returns until when addresses of `net` are in use: now if a neighbour there is reachable, and
    /// until the end of the longest lease; `None` without either. Iterates over all leases.
    pub fn used_until(&self, net: IpNet, now: Instant) -> Option<Instant> {
        self.inventory.sightings.used_until(net, now)
    }

    /// Returns whether a node follows when the cluster moves: its address is leased, or will be, as
    /// the settings name its board and it is not seen at a self-assigned one.
    pub fn moves_along(&self, node: &NodeState) -> bool {
        let sightings = &self.inventory.sightings;
        let heard = |mac| sightings.places(mac).any(|place| Some(place) == node.address);
        node.mac.is_some_and(|mac| {
            sightings.is_client(mac) || node.configured_mac.is_some() && !heard(mac)
        })
    }

    /// Returns the boards at addresses that the settings give to others.
    pub fn misplaced(&self) -> impl Iterator<Item = WrongDevice<'_>> {
        self.inventory.misplaced.iter().filter_map(|(address, mac)| {
            let owner = self.get(*self.inventory.homes.get(address)?)?;
            Some(WrongDevice { address: *address, mac: *mac, owner, node: self.by_mac(*mac) })
        })
    }

    /// Returns whether the board at this node's address is another than the settings name, so that
    /// its replies do not count for the node.
    pub fn another_answers_for(&self, id: NodeId) -> bool {
        if self.inventory.misplaced.is_empty() {
            return false;
        }
        let address =
            self.get(id).filter(|node| node.configured_mac.is_some()).and_then(|node| node.address);
        address.is_some_and(|address| self.inventory.misplaced.contains_key(&address))
    }

    /// Returns the addresses that two boards use.
    pub fn contests(&self) -> impl Iterator<Item = (IpAddr, &AddressConflict)> {
        self.inventory.sightings.contests()
    }

    /// Returns the nodes in maintenance: names in lower case, hardware addresses of found nodes.
    pub fn drained(&self) -> &BTreeSet<String> {
        &self.inventory.drained
    }

    /// Notes that maintenance of a node begins or ends. A node that does not exist yet is named as
    /// [`Self::drained`] returned it.
    pub fn note_drained(&mut self, name: &str, drained: bool) {
        let key =
            self.by_name(name).map_or_else(|| name.to_ascii_lowercase(), NodeState::order_key);
        if drained {
            self.inventory.drained.insert(key)
        } else {
            self.shut_down.remove(&key);
            self.inventory.drained.remove(&key)
        };
    }

    pub(super) fn is_drained(&self, node: &NodeState) -> bool {
        self.inventory.drained.contains(&node.order_key())
    }

    /// Returns whether a node raises no alarm, as it is in maintenance or was shut down.
    pub(super) fn is_at_rest(&self, node: &NodeState) -> bool {
        self.is_drained(node) || self.shut_down.holds(node)
    }

    /// Transfers an order to the new key of the same board.
    pub(super) fn pass_order(&mut self, from: &str, to: String) {
        if from != to {
            self.shut_down.pass(from, &to);
        }
        if from != to && self.inventory.drained.remove(from) {
            self.inventory.drained.insert(to);
        }
    }

    /// Returns when [`Self::sweep`] is due.
    pub fn sweep_at(&self) -> Option<Instant> {
        self.inventory.sweep_at.into_iter().chain(self.inventory.called.next_at()).min()
    }

    /// Processes a neighbour entry of the cluster port. Returns the nodes found by it.
    pub fn seen(
        &mut self,
        (address, mac, reachable): (IpAddr, Mac, bool),
        settings: &Settings,
        now: Instant,
    ) -> Vec<NodeId> {
        // A host may claim any address: only those of the cluster make a node.
        if !in_cluster(address, settings) && !self.is_configured(address) {
            return Vec::new();
        }
        // dnsmasq adds a neighbour entry for each client to which it sends an offer, and offers the
        // same address to several clients at once: no board was seen there.
        let anothers = self.inventory.sightings.at(address).is_some_and(|board| board != mac);
        if anothers && !reachable && is_offered(address, settings) {
            return Vec::new();
        }
        let before = self.inventory.sightings.note_seen(address, mac, reachable, now);
        self.check_owner(address);
        let boards = before.into_iter().chain([mac]);
        boards.filter_map(|board| self.settle(board, settings, now)).collect()
    }

    /// Processes the removal of a neighbour entry.
    pub fn unseen(&mut self, address: IpAddr, settings: &Settings, now: Instant) {
        if let Some(mac) = self.inventory.sightings.note_gone(address) {
            self.check_owner(address);
            self.settle(mac, settings, now);
        }
    }

    /// Processes a lease. Returns the node if it was found by it.
    pub fn leased(&mut self, lease: &Lease, settings: &Settings, now: Instant) -> Option<NodeId> {
        self.inventory.sightings.add_lease(lease, now);
        self.settle(lease.mac, settings, now)
    }

    /// Processes the end of a lease. Returns the node if it was removed, as a found one that is
    /// absent.
    pub fn lease_ended(
        &mut self,
        lease: &Lease,
        settings: &Settings,
        now: Instant,
    ) -> Option<NodeState> {
        if !self.inventory.sightings.end_lease(lease) {
            return None;
        }
        self.without_lease(lease.mac, settings, now)
    }

    fn without_lease(&mut self, mac: Mac, settings: &Settings, now: Instant) -> Option<NodeState> {
        self.settle(mac, settings, now);
        let node = self.by_mac(mac)?;
        if node.is_absent() && !self.inventory.sightings.is_heard(mac) {
            self.forget(node.id)
        } else {
            None
        }
    }

    /// Removes what has expired. Returns the removed nodes.
    pub fn sweep(&mut self, settings: &Settings, now: Instant) -> Vec<NodeState> {
        let evicted = std::mem::take(&mut self.inventory.evicted);
        self.end_probing(now);
        for mac in self.inventory.called.take_due(now) {
            self.settle(mac, settings, now);
        }
        if self.inventory.sweep_at.is_none_or(|at| at > now) {
            return evicted;
        }
        let ended = self.inventory.sightings.expire(now);
        let mut gone: Vec<NodeState> =
            ended.into_iter().filter_map(|mac| self.without_lease(mac, settings, now)).collect();
        let expired = self.iter().filter(|node| self.is_expired(node, now));
        let expired: Vec<NodeId> = expired.map(|node| node.id).collect();
        gone.extend(expired.into_iter().filter_map(|id| self.forget(id)));
        gone.extend(evicted);
        self.admit_waiting(settings, now);
        self.probe_again(settings, now);
        let names = self.sweep_names(now);
        self.retry_names(settings, now);
        let quiet = !names
            && self.inventory.sightings.is_quiet()
            && !self.iter().any(|node| node.origin == Origin::Found);
        self.inventory.sweep_at = (!quiet).then(|| now + SWEEP);
        gone
    }

    /// Returns whether a found node without a lease has been absent for [`FORGET_TIME`].
    fn is_expired(&self, node: &NodeState, now: Instant) -> bool {
        let sightings = &self.inventory.sightings;
        let is_used = |mac| sightings.lease(mac).is_some() || sightings.is_heard(mac);
        node.is_absent()
            && !node.mac.is_some_and(is_used)
            && now.saturating_since(node.since) >= FORGET_TIME
    }

    fn forget(&mut self, id: NodeId) -> Option<NodeState> {
        self.inventory.unnamed.remove(&id);
        let gone = self.remove(id)?;
        gone.mac.into_iter().for_each(|mac| self.inventory.sightings.forget(mac));
        Some(gone)
    }

    /// Derives the identity of a board from its sightings, lease and name. Returns the node if it
    /// is a new one.
    fn settle(&mut self, mac: Mac, settings: &Settings, now: Instant) -> Option<NodeId> {
        let _ = self.inventory.sweep_at.get_or_insert(now + SWEEP);
        self.forget_learned_board(mac);
        if let Some(id) = self.node_of(mac, settings) {
            if let Some(found) = self.by_mac(mac).map(|node| node.id).filter(|found| *found != id) {
                self.merge(found, id, now);
            }
            self.identify(id, |node| node.mac = Some(mac));
            self.locate(id, mac, settings);
            self.name_found(id, settings, now);
            return None;
        }
        let known = self.by_mac(mac).is_some();
        let address =
            self.address_of(mac, settings).filter(|address| self.is_free(*address, mac))?;
        if !known && !self.has_lease(mac) && !self.admit(settings, now) {
            return None;
        }
        self.vacate(address);
        if self.by_address(address).is_some() {
            return None;
        }
        let name = name::generated(mac, |name| self.by_name(name).is_some());
        let fresh = Fresh {
            name,
            mac: Some(mac),
            address: Some(address),
            origin: Origin::Found,
            group: None,
        };
        let id = self.insert(fresh, now);
        self.name_found(id, settings, now);
        self.evict_surplus(id, settings, now);
        let _ = self.inventory.crowd.probing_until.get_or_insert(now + crowd::asked_for(settings));
        Some(id)
    }

    /// Merges a found node into the node of the settings that it turned out to be, with orders
    /// about it.
    fn merge(&mut self, found: NodeId, id: NodeId, now: Instant) {
        let key = |id| self.get(id).map(NodeState::order_key);
        if let (Some(from), Some(to)) = (key(found), key(id)) {
            self.pass_order(&from, to);
        }
        self.forget(found);
        if self.get(id).is_some_and(|node| self.is_at_rest(node)) {
            self.set_maintenance(id, true, now);
        }
    }

    /// Forgets the learned board of a node for which the settings give an address only, once
    /// another board is at that address.
    fn forget_learned_board(&mut self, mac: Mac) {
        let Some(node) = self.by_mac(mac).filter(|node| node.origin == Origin::Settings) else {
            return;
        };
        let Some(home) = node.configured_address.filter(|_| node.configured_mac.is_none()) else {
            return;
        };
        let sightings = &self.inventory.sightings;
        if sightings.lease(mac).is_none()
            && sightings.at(home).is_some_and(|answers| answers != mac)
        {
            self.identify(node.id, |node| node.mac = None);
        }
    }

    /// Returns the node that this board is: by its hardware address, or else one of the settings
    /// without a hardware address that matches its host name or its address.
    fn node_of(&self, mac: Mac, settings: &Settings) -> Option<NodeId> {
        let known = self.by_mac(mac);
        if let Some(known) = known.filter(|known| known.origin == Origin::Settings) {
            return Some(known.id);
        }
        let open =
            |node: &&NodeState| node.origin == Origin::Settings && node.configured_mac.is_none();
        let given = self.inventory.sightings.lease(mac);
        let named = given.and_then(|_| self.by_name(&self.host_name(mac)?));
        // This board may replace the one that had the name before.
        let is_gone = |board| self.inventory.sightings.is_gone(board);
        let named = named.filter(open).filter(|node| node.mac.is_none_or(is_gone));
        let places = given
            .map(|given| given.address)
            .into_iter()
            .chain(self.inventory.sightings.places(mac));
        // A known node keeps its identity while two boards use one address in turn.
        let clear = |place: &IpAddr| {
            known.is_none() || self.contests().all(|(contested, _)| contested != *place)
        };
        let places = places.filter(|place| in_cluster(*place, settings)).filter(clear);
        let mut there = places.filter_map(|place| self.by_address(place));
        named.or_else(|| there.find(open)).or(known).map(|node| node.id)
    }

    /// Returns the address of a board: its lease, or else where it is seen.
    fn address_of(&self, mac: Mac, settings: &Settings) -> Option<IpAddr> {
        let sightings = &self.inventory.sightings;
        let given = sightings.lease(mac).map(|given| given.address);
        let here = self.by_mac(mac).and_then(|node| node.address);
        let mut places = sightings.places(mac).filter(|place| in_cluster(*place, settings));
        let seen = here.filter(|here| sightings.at(*here) == Some(mac)).or_else(|| places.next());
        given.or(seen)
    }

    /// Sets the current address of a node. A lease has priority, then the address of the settings,
    /// then where it is seen. A lease is ignored if the board is seen only at the address of the
    /// settings: a network boot loader took it, and the system that it loaded did not.
    fn locate(&mut self, id: NodeId, mac: Mac, settings: &Settings) {
        let Some(node) = self.get(id) else { return };
        let given = self.inventory.sightings.lease(mac).map(|given| given.address);
        let free = |address: &IpAddr| {
            Some(*address) == node.configured_address || self.is_free(*address, mac)
        };
        let sightings = &self.inventory.sightings;
        let is_at = |place: IpAddr| sightings.at(place) == Some(mac);
        let is_left = |lease: &IpAddr| node.configured_address.is_some_and(is_at) && !is_at(*lease);
        let address = given
            .filter(|lease| free(lease) && !is_left(lease))
            .or(node.configured_address)
            .or_else(|| self.address_of(mac, settings).filter(free));
        // A board that is seen nowhere keeps its address.
        let Some(address) = address.filter(|address| node.address != Some(*address)) else {
            return;
        };
        self.vacate(address);
        // Another node may have returned to its configured address by that.
        if self.by_address(address).is_none_or(|holder| holder.id == id) {
            self.identify(id, |node| node.address = Some(address));
        }
    }

    /// Returns whether this board may have an address: no node has it configured, or leased unless
    /// this board has a lease of it too.
    fn is_free(&self, address: IpAddr, mac: Mac) -> bool {
        let given = |board: Mac| {
            self.inventory.sightings.lease(board).is_some_and(|given| given.address == address)
        };
        self.by_address(address).is_none_or(|holder| {
            let leased = holder.mac.filter(|board| *board != mac).is_some_and(given);
            holder.configured_address != Some(address) && (!leased || given(mac))
        })
    }

    /// Takes an address from the node that has it, which falls back to its configured address, if
    /// any.
    fn vacate(&mut self, address: IpAddr) {
        let Some(holder) = self.by_address(address) else { return };
        let (id, home) = (holder.id, holder.configured_address);
        self.identify(id, |node| node.address = None);
        if let Some(home) = home.filter(|home| *home != address) {
            self.vacate(home);
            self.identify(id, |node| node.address = Some(home));
        }
    }

    /// Updates whether another board than the settings name is at this address.
    fn check_owner(&mut self, address: IpAddr) {
        let owner = self.inventory.homes.get(&address).and_then(|id| self.get(*id));
        let expected = owner.and_then(|node| node.configured_mac);
        match (expected, self.inventory.sightings.at(address)) {
            (Some(expected), Some(mac)) if expected != mac => {
                self.inventory.misplaced.insert(address, mac)
            }
            _ => self.inventory.misplaced.remove(&address),
        };
    }
}

impl NodeState {
    /// Returns the key for orders about it: its name if it is in the settings, else its hardware
    /// address, since fresh systems all have the same host name.
    pub(super) fn order_key(&self) -> String {
        let board = self.mac.filter(|_| self.origin == Origin::Found);
        board.map_or_else(|| self.name.to_ascii_lowercase(), |mac| mac.to_string())
    }

    /// Returns whether it is a found node that does not reply.
    fn is_absent(&self) -> bool {
        self.origin == Origin::Found
            && matches!(self.health, NodeHealth::Down | NodeHealth::Unknown)
    }
}

/// Returns the host part of an address, which stays when the cluster moves; `None` if the family
/// differs from that of `net`.
fn host_part(address: IpAddr, net: IpNet) -> Option<u128> {
    match (address, net.hostmask()) {
        (IpAddr::V4(address), IpAddr::V4(mask)) => Some((address & mask).to_bits().into()),
        (IpAddr::V6(address), IpAddr::V6(mask)) => Some((address & mask).to_bits()),
        _ => None,
    }
}

/// Returns whether the address is in the range of our DHCPv4 server, or in that of a moved cluster.
fn is_offered(address: IpAddr, settings: &Settings) -> bool {
    let IpAddr::V4(offered) = address else { return false };
    let home = settings.cluster.address;
    let at_home = home.network() | (offered & home.hostmask());
    let dhcp = settings.cluster.dhcp.as_ref();
    dhcp.is_some_and(|dhcp| {
        in_cluster(address, settings) && (dhcp.first..=dhcp.last).contains(&at_home)
    })
}

/// Returns whether it is a host address of one of the cluster's subnets, other than the head's own.
fn in_cluster(address: IpAddr, settings: &Settings) -> bool {
    let cluster = &settings.cluster;
    let mut nets = std::iter::once(&cluster.address).chain(&cluster.fallback_addresses);
    nets.any(|net| {
        address != IpAddr::V4(net.addr())
            && address != IpAddr::V4(net.broadcast())
            && IpNet::V4(*net).contains(&address)
    })
}
