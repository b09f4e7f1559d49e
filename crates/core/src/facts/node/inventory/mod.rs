//! Who the nodes are: those of the settings, and those that were found. A node is known by its
//! hardware address.
//!
//! Identities are derived from what was seen and leased ([`sighting`]), board by board. No two
//! nodes ever have one name, hardware address or address; where two want the same, one goes without
//! and the conflict is reported.

use std::collections::BTreeMap;
mod called;
mod crowd;
mod name;
mod naming;
mod range;
mod reload;
mod sighting;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
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

/// A found node without a lease is forgotten after so long a silence.
pub const FORGET_TIME: Duration = Duration::from_secs(600);
/// What ends by time alone is looked for so often, and only while there is something that could.
const SWEEP: Duration = Duration::from_secs(60);

/// What is known beside the nodes themselves.
#[derive(Debug, Clone, Default)]
pub(super) struct Inventory {
    sightings: Sightings,
    called: AdvertisedNames,
    pub(super) crowd: Crowd,
    /// Those that had to make room and have not been reported yet.
    pushed_out: Vec<NodeState>,
    /// The addresses that the settings give, and to whom.
    homes: BTreeMap<IpAddr, NodeId>,
    /// Another board than the settings say answers at these of them.
    misplaced: BTreeMap<IpAddr, Mac>,
    /// Names that nodes call themselves by and did not get, because another has them.
    unnamed: BTreeMap<NodeId, String>,
    /// Who is worked on, also of those that are not here: by [`NodeState::order_key`].
    drained: BTreeSet<String>,
    sweep_at: Option<Instant>,
    /// The head's own name, in lower case, without a domain.
    head: String,
}

/// A board at the address of another one.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct WrongDevice<'n> {
    pub address: IpAddr,
    /// Who answers.
    pub mac: Mac,
    /// To whom the settings give the address.
    pub owner: &'n NodeState,
    /// Whose board it is, as far as it is known.
    pub node: Option<&'n NodeState>,
}

impl Nodes {
    /// Returns whether the settings give this address to a node, wherever it is now.
    pub fn is_configured(&self, address: IpAddr) -> bool {
        self.inventory.homes.contains_key(&address)
    }

    /// Returns whether our server gave this address of `home` to a board: it is so also while the
    /// cluster has moved, for leases move along and keep their host parts. Looks at all leases.
    pub fn is_leased(&self, address: IpAddr, home: IpNet) -> bool {
        let host = host_part(address, home);
        host.is_some() && self.inventory.sightings.leased().any(|it| host_part(it, home) == host)
    }

    /// Returns until when a node uses an address of `net`, as far as it is known: now if the kernel
    /// hears one there, for as long as its lease lasts if one has one there; `None` if there is
    /// none. Looks at all of them.
    pub fn used_until(&self, net: IpNet, now: Instant) -> Option<Instant> {
        self.inventory.sightings.used_until(net, now)
    }

    /// Returns whether a node goes along when the cluster moves: our server gave it its address, or
    /// will, for the settings know its board and it is not heard where it is not permitted.
    pub fn moves_along(&self, node: &NodeState) -> bool {
        let sightings = &self.inventory.sightings;
        let heard = |mac| sightings.places(mac).any(|place| Some(place) == node.address);
        node.mac
            .is_some_and(|mac| sightings.asks(mac) || node.configured_mac.is_some() && !heard(mac))
    }

    /// Boards at addresses that the settings give to others.
    pub fn misplaced(&self) -> impl Iterator<Item = WrongDevice<'_>> {
        self.inventory.misplaced.iter().filter_map(|(address, mac)| {
            let owner = self.get(*self.inventory.homes.get(address)?)?;
            Some(WrongDevice { address: *address, mac: *mac, owner, node: self.by_mac(*mac) })
        })
    }

    /// Returns whether the board at this node's address is not the one that the settings name by
    /// its hardware address: who answers there says nothing of the node.
    pub fn another_answers_for(&self, id: NodeId) -> bool {
        if self.inventory.misplaced.is_empty() {
            return false;
        }
        let address =
            self.get(id).filter(|node| node.configured_mac.is_some()).and_then(|node| node.address);
        address.is_some_and(|address| self.inventory.misplaced.contains_key(&address))
    }

    /// Addresses that two boards want.
    pub fn contests(&self) -> impl Iterator<Item = (IpAddr, &AddressConflict)> {
        self.inventory.sightings.contests()
    }

    /// Returns which nodes are in maintenance: names in lower case; hardware addresses of nodes
    /// that were found.
    pub fn drained(&self) -> &BTreeSet<String> {
        &self.inventory.drained
    }

    /// Notes that a node is worked on, or no longer. One that is not here yet is meant by how
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

    /// Returns whether a node raises no alarm: it is worked on, or was shut down.
    pub(super) fn is_at_rest(&self, node: &NodeState) -> bool {
        self.is_drained(node) || self.shut_down.holds(node)
    }

    /// Passes an order about one node to another, which is the same board.
    pub(super) fn pass_order(&mut self, from: &str, to: String) {
        if from != to {
            self.shut_down.pass(from, &to);
        }
        if from != to && self.inventory.drained.remove(from) {
            self.inventory.drained.insert(to);
        }
    }

    /// Returns when time alone may change who is here.
    pub fn sweep_at(&self) -> Option<Instant> {
        self.inventory.sweep_at.into_iter().chain(self.inventory.called.next_at()).min()
    }

    /// Takes in that a board answers at an address of the cluster. Returns whom this made known.
    pub fn seen(
        &mut self,
        (address, mac, reachable): (IpAddr, Mac, bool),
        settings: &Settings,
        now: Instant,
    ) -> Vec<NodeId> {
        if !in_cluster(address, settings) && !self.is_configured(address) {
            // Anybody can claim any address: only those of the cluster make a node.
            return Vec::new();
        }
        let anothers = self.inventory.sightings.at(address).is_some_and(|board| board != mac);
        if anothers && !reachable && is_offered(address, settings) {
            // dnsmasq enters whom it makes an offer, and makes the same one to several who ask at
            // once: no board was heard.
            return Vec::new();
        }
        let before = self.inventory.sightings.see(address, mac, reachable, now);
        self.judge(address);
        let boards = before.into_iter().chain([mac]);
        boards.filter_map(|board| self.settle(board, settings, now)).collect()
    }

    /// Takes in that no board answers at an address any more.
    pub fn unseen(&mut self, address: IpAddr, settings: &Settings, now: Instant) {
        if let Some(mac) = self.inventory.sightings.lose(address) {
            self.judge(address);
            self.settle(mac, settings, now);
        }
    }

    /// Takes in that a node has an address of our server. Returns whom this made known.
    pub fn leased(&mut self, lease: &Lease, settings: &Settings, now: Instant) -> Option<NodeId> {
        self.inventory.sightings.give(lease, now);
        self.settle(lease.mac, settings, now)
    }

    /// Takes in that a lease has ended. A found node that is not there any more is forgotten with
    /// it.
    pub fn lease_ended(
        &mut self,
        lease: &Lease,
        settings: &Settings,
        now: Instant,
    ) -> Option<NodeState> {
        if !self.inventory.sightings.take_back(lease) {
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

    /// Forgets what time has ended. Returns who went.
    pub fn sweep(&mut self, settings: &Settings, now: Instant) -> Vec<NodeState> {
        let pushed_out = std::mem::take(&mut self.inventory.pushed_out);
        self.let_alone(now);
        for mac in self.inventory.called.take_due(now) {
            self.settle(mac, settings, now);
        }
        if self.inventory.sweep_at.is_none_or(|at| at > now) {
            return pushed_out;
        }
        let ended = self.inventory.sightings.expire(now);
        let mut gone: Vec<NodeState> =
            ended.into_iter().filter_map(|mac| self.without_lease(mac, settings, now)).collect();
        let silent = |node: &&NodeState| {
            let kept = node.mac.is_some_and(|mac| {
                let sightings = &self.inventory.sightings;
                sightings.lease(mac).is_some() || sightings.is_heard(mac)
            });
            node.is_absent() && !kept && now.saturating_since(node.since) >= FORGET_TIME
        };
        let silent: Vec<NodeId> = self.iter().filter(silent).map(|node| node.id).collect();
        gone.extend(silent.into_iter().filter_map(|id| self.forget(id)));
        gone.extend(pushed_out);
        self.admit_waiting(settings, now);
        self.ask_again(settings, now);
        let names = self.sweep_names(now);
        self.name_those_without(settings, now);
        let quiet = !names
            && self.inventory.sightings.is_quiet()
            && !self.iter().any(|node| node.origin == Origin::Found);
        self.inventory.sweep_at = (!quiet).then(|| now + SWEEP);
        gone
    }

    fn forget(&mut self, id: NodeId) -> Option<NodeState> {
        self.inventory.unnamed.remove(&id);
        let gone = self.remove(id)?;
        gone.mac.into_iter().for_each(|mac| self.inventory.sightings.forget(mac));
        Some(gone)
    }

    /// Brings who a board is in line with what is known of it. Returns the node if it is a new one.
    fn settle(&mut self, mac: Mac, settings: &Settings, now: Instant) -> Option<NodeId> {
        let _ = self.inventory.sweep_at.get_or_insert(now + SWEEP);
        self.unlearn(mac);
        if let Some(id) = self.whose(mac, settings) {
            // It was taken for a stranger as long as it had another address.
            if let Some(stranger) =
                self.by_mac(mac).map(|node| node.id).filter(|stranger| *stranger != id)
            {
                self.become_known(stranger, id, now);
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
        self.make_room(id, settings, now);
        let _ = self.inventory.crowd.rest_at.get_or_insert(now + crowd::asked_for(settings));
        Some(id)
    }

    /// Makes a board that was taken for a stranger a node of the settings; an order about it is one
    /// about that node.
    fn become_known(&mut self, stranger: NodeId, id: NodeId, now: Instant) {
        let key = |id| self.get(id).map(NodeState::order_key);
        if let (Some(from), Some(to)) = (key(stranger), key(id)) {
            self.pass_order(&from, to);
        }
        self.forget(stranger);
        if self.get(id).is_some_and(|node| self.is_at_rest(node)) {
            self.set_maintenance(id, true, now);
        }
    }

    /// Forgets the board of a node that the settings know by its address alone: that is whichever
    /// board answers there, not one that has left.
    fn unlearn(&mut self, mac: Mac) {
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

    /// Returns the node that this board is: by its hardware address; else one of the settings that
    /// has none written and is meant by the name that the board calls itself, or by the address
    /// where it is.
    fn whose(&self, mac: Mac, settings: &Settings) -> Option<NodeId> {
        let known = self.by_mac(mac);
        if let Some(known) = known.filter(|known| known.origin == Origin::Settings) {
            return Some(known.id);
        }
        let open =
            |node: &&NodeState| node.origin == Origin::Settings && node.configured_mac.is_none();
        let given = self.inventory.sightings.lease(mac);
        let named = given.and_then(|_| self.by_name(&self.host_name(mac)?));
        // A board that called itself so before may have been replaced by this one.
        let away = |board: Mac| {
            let sightings = &self.inventory.sightings;
            sightings.lease(board).is_none() && sightings.places(board).next().is_none()
        };
        let named = named.filter(open).filter(|node| node.mac.is_none_or(away));
        let places = given
            .map(|given| given.address)
            .into_iter()
            .chain(self.inventory.sightings.places(mac));
        // Who has been a node so far is not to become another each time that two take an address in
        // turn.
        let clear = |place: &IpAddr| {
            known.is_none() || self.contests().all(|(contested, _)| contested != *place)
        };
        let places = places.filter(|place| in_cluster(*place, settings)).filter(clear);
        let mut there = places.filter_map(|place| self.by_address(place));
        named.or_else(|| there.find(open)).or(known).map(|node| node.id)
    }

    /// Returns where a board is: where our server put it, else where it is seen.
    fn address_of(&self, mac: Mac, settings: &Settings) -> Option<IpAddr> {
        let sightings = &self.inventory.sightings;
        let given = sightings.lease(mac).map(|given| given.address);
        let here = self.by_mac(mac).and_then(|node| node.address);
        let mut places = sightings.places(mac).filter(|place| in_cluster(*place, settings));
        let seen = here.filter(|here| sightings.at(*here) == Some(mac)).or_else(|| places.next());
        given.or(seen)
    }

    /// Gives a node the address where it is now. That of the settings stands against what is merely
    /// seen, not against a lease, unless that is another system's: one that boots from the network
    /// takes a lease, and the next one has the address of the settings.
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
        // It is seen nowhere any more: it is where it was, unless another is there.
        let Some(address) = address.filter(|address| node.address != Some(*address)) else {
            return;
        };
        self.vacate(address);
        // A node that had to give way may have come home to it.
        if self.by_address(address).is_none_or(|holder| holder.id == id) {
            self.identify(id, |node| node.address = Some(address));
        }
    }

    /// Returns whether an address is not held by a node of the settings whose own it is, nor by one
    /// that has it by a lease, if this board has it by none.
    fn is_free(&self, address: IpAddr, mac: Mac) -> bool {
        let given = |board: Mac| {
            self.inventory.sightings.lease(board).is_some_and(|given| given.address == address)
        };
        self.by_address(address).is_none_or(|holder| {
            let leased = holder.mac.filter(|board| *board != mac).is_some_and(given);
            holder.configured_address != Some(address) && (!leased || given(mac))
        })
    }

    /// Takes an address from the node that is known to be there: a node of the settings is where
    /// they put it, a found one nowhere.
    fn vacate(&mut self, address: IpAddr) {
        let Some(holder) = self.by_address(address) else { return };
        let (id, home) = (holder.id, holder.configured_address);
        self.identify(id, |node| node.address = None);
        if let Some(home) = home.filter(|home| *home != address) {
            self.vacate(home);
            self.identify(id, |node| node.address = Some(home));
        }
    }

    /// Notes whether another board than that of the settings answers at this address.
    fn judge(&mut self, address: IpAddr) {
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
    /// Returns by what orders about it are kept: its name, if the settings give it; a found one by
    /// its board, for its name is what it calls itself, and fresh systems all call themselves the
    /// same.
    pub(super) fn order_key(&self) -> String {
        let board = self.mac.filter(|_| self.origin == Origin::Found);
        board.map_or_else(|| self.name.to_ascii_lowercase(), |mac| mac.to_string())
    }

    /// Returns whether it was found, and is not there now.
    fn is_absent(&self) -> bool {
        self.origin == Origin::Found
            && matches!(self.health, NodeHealth::Down | NodeHealth::Unknown)
    }
}

/// Returns the bits of an address behind the prefix of `net`: they stay when the cluster moves.
/// `None`: of the other family.
fn host_part(address: IpAddr, net: IpNet) -> Option<u128> {
    match (address, net.hostmask()) {
        (IpAddr::V4(address), IpAddr::V4(mask)) => Some((address & mask).to_bits().into()),
        (IpAddr::V6(address), IpAddr::V6(mask)) => Some((address & mask).to_bits()),
        _ => None,
    }
}

/// Returns whether our server gives the address to any client, here or where the cluster has moved:
/// by DHCPv4.
fn is_offered(address: IpAddr, settings: &Settings) -> bool {
    let IpAddr::V4(offered) = address else { return false };
    let home = settings.cluster.address;
    let at_home = home.network() | (offered & home.hostmask());
    let dhcp = settings.cluster.dhcp.as_ref();
    dhcp.is_some_and(|dhcp| {
        in_cluster(address, settings) && (dhcp.first..=dhcp.last).contains(&at_home)
    })
}

/// Returns whether it is an address of one of the cluster's subnets, and not the head's own.
fn in_cluster(address: IpAddr, settings: &Settings) -> bool {
    let cluster = &settings.cluster;
    let mut nets = std::iter::once(&cluster.address).chain(&cluster.fallback_addresses);
    nets.any(|net| {
        address != IpAddr::V4(net.addr())
            && address != IpAddr::V4(net.broadcast())
            && IpNet::V4(*net).contains(&address)
    })
}
