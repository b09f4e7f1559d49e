//! Reload of the nodes in the settings.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::super::{Counts, Fresh, NodeState, Nodes, Origin};
use super::name;
use crate::config::{Node, Settings};
use crate::event::{Instant, Mac, NodeId};

impl Nodes {
    /// Applies the nodes of new settings. Existing nodes keep their health, including a found one
    /// that is now in the settings.
    pub fn reload(&mut self, settings: &Settings, now: Instant) {
        self.recount_groups(settings);
        let expected: BTreeMap<IpAddr, Option<Mac>> = self
            .iter()
            .filter_map(|node| Some((node.configured_address?, node.configured_mac)))
            .collect();
        let names =
            BTreeSet::from_iter(settings.nodes.iter().map(|node| node.name.to_ascii_lowercase()));
        let dropped = |node: &&NodeState| {
            node.origin == Origin::Settings && !names.contains(&node.name.to_ascii_lowercase())
        };
        let dropped: Vec<NodeId> = self.iter().filter(dropped).map(|node| node.id).collect();
        let macs = BTreeSet::from_iter(settings.nodes.iter().filter_map(|node| node.mac));
        let new = |known: &&Node| {
            self.by_name(&known.name).is_none_or(|node| node.origin == Origin::Found)
        };
        let fresh =
            settings.nodes.iter().filter(new).filter_map(|known| Some((home(known)?, known.mac)));
        let addresses = BTreeMap::from_iter(fresh);
        for id in dropped {
            // A renamed node is recognised by its board, or else by its address.
            let renamed = self.get(id).is_some_and(|node| {
                let there = node.configured_address.and_then(|home| addresses.get(&home));
                let same = there.is_some_and(|mac| mac.is_none() || *mac == node.mac);
                same || node.mac.is_some_and(|mac| macs.contains(&mac))
            });
            if renamed {
                self.identify(id, |node| {
                    (node.origin, node.configured_mac, node.configured_address) =
                        (Origin::Found, None, None);
                });
            } else if let Some(gone) = self.forget(id) {
                // A later node with the same name is another one.
                self.note_drained(&gone.name, false);
            }
        }
        let order: Vec<NodeId> =
            settings.nodes.iter().map(|known| self.adopt(known, now)).collect();
        let homes =
            settings.nodes.iter().zip(&order).filter_map(|(known, id)| Some((home(known)?, *id)));
        self.inventory.homes = BTreeMap::from_iter(homes);
        let found: Vec<NodeId> =
            self.iter().filter(|node| node.origin == Origin::Found).map(|node| node.id).collect();
        self.order = order.into_iter().chain(found.iter().copied()).collect();
        self.remove_boardless();
        for id in found {
            // Includes nodes without a current sighting, which `settle` does not reach.
            self.name_found(id, settings, now);
        }
        for board in self.inventory.sightings.boards() {
            self.settle(board, settings, now);
        }
        self.inventory.misplaced.clear();
        for known in &settings.nodes {
            // If the settings name another board now, the old one may be about to leave: the next
            // sighting decides.
            let earlier = |address| expected.get(&address).copied().flatten();
            let is_replaced = |address| earlier(address).is_some_and(|mac| Some(mac) != known.mac);
            if let Some(address) = home(known).filter(|address| !is_replaced(*address)) {
                self.check_owner(address);
            }
        }
        self.restore_maintenance(now);
        self.revision += 1;
        self.topology_version += 1;
    }

    /// Adds or updates one node of the settings; conflicting nodes give way.
    fn adopt(&mut self, known: &Node, now: Instant) -> NodeId {
        let owner = home(known).and_then(|address| self.get(*self.inventory.homes.get(&address)?));
        if let Some((home, before)) =
            owner.and_then(|owner| owner.configured_address.zip(owner.configured_mac))
        {
            if known.mac.is_some_and(|mac| mac != before) {
                self.inventory.sightings.end_contest(home);
            }
        }
        let found = |node: &&NodeState| node.origin == Origin::Found;
        let named = self.by_name(&known.name);
        let of_the_settings = named.filter(|node| node.origin == Origin::Settings);
        let by_mac = || known.mac.and_then(|mac| self.by_mac(mac)).filter(found);
        let by_address = || home(known).and_then(|address| self.by_address(address)).filter(found);
        let same_board = |node: &&NodeState| known.mac.is_none() || node.mac == known.mac;
        let before = of_the_settings
            .or_else(by_mac)
            .or_else(|| by_address().filter(same_board))
            .or_else(|| named.filter(found).filter(same_board));
        let id = before.map(|node| node.id);
        self.give_way(known, id);
        let address = home(known);
        let Some(id) = id else {
            let Node { name, mac, group, .. } = known.clone();
            let id =
                self.insert(Fresh { name, mac, address, origin: Origin::Settings, group }, now);
            self.identify(id, |node| {
                (node.configured_mac, node.configured_address) = (mac, address)
            });
            return id;
        };
        self.inventory.unnamed.remove(&id);
        self.identify(id, |node: &mut NodeState| {
            node.name.clone_from(&known.name);
            // A learned hardware address is kept.
            node.mac = known.mac.or(node.mac.filter(|_| node.configured_mac.is_none()));
            node.address = address.or(node.address);
            (node.configured_mac, node.configured_address) = (known.mac, address);
            (node.origin, node.group) = (Origin::Settings, known.group);
        });
        id
    }

    /// Takes name, hardware address and address from every other node that has them.
    fn give_way(&mut self, known: &Node, id: Option<NodeId>) {
        let other = |node: Option<&NodeState>| {
            node.map(|node| node.id).filter(|holder| Some(*holder) != id)
        };
        if let Some(holder) = other(self.by_name(&known.name)) {
            let mac = self.get(holder).and_then(|node| node.mac).unwrap_or(Mac([0; 6]));
            let name = name::generated(mac, |name| self.by_name(name).is_some());
            self.identify(holder, |node| node.name = name);
        }
        if let Some(holder) = other(known.mac.and_then(|mac| self.by_mac(mac))) {
            // Its board belongs to the node of the settings now, with orders about it.
            if let Some(board) = self
                .get(holder)
                .filter(|node| node.origin == Origin::Found)
                .map(NodeState::order_key)
            {
                self.pass_order(&board, known.name.to_ascii_lowercase());
            }
            self.identify(holder, |node| node.mac = None);
        }
        if let Some(holder) = other(home(known).and_then(|address| self.by_address(address))) {
            self.identify(holder, |node| node.address = None);
        }
    }

    /// Removes found nodes whose board turned out to be another node's.
    fn remove_boardless(&mut self) {
        let boardless = |node: &&NodeState| node.origin == Origin::Found && node.mac.is_none();
        let ids: Vec<NodeId> = self.iter().filter(boardless).map(|node| node.id).collect();
        for id in ids {
            self.forget(id);
        }
    }

    /// Sets maintenance for exactly the nodes for which [`Self::is_at_rest`] holds.
    pub(in super::super) fn restore_maintenance(&mut self, now: Instant) {
        let all: Vec<(NodeId, bool)> =
            self.iter().map(|node| (node.id, self.is_at_rest(node))).collect();
        for (id, at_rest) in all {
            self.set_maintenance(id, at_rest, now);
        }
    }

    /// Recomputes the counts of the groups.
    fn recount_groups(&mut self, settings: &Settings) {
        self.groups = vec![Counts::default(); settings.groups.len()];
        let members: Vec<_> = self.iter().map(|node| (node.group, node.health)).collect();
        for (group, health) in members {
            if let Some(counts) = group.and_then(|group| self.groups.get_mut(group)) {
                counts.add(health);
            }
        }
    }
}

/// Returns the address that the settings give a node.
fn home(known: &Node) -> Option<IpAddr> {
    known.address.map(IpAddr::V4)
}
