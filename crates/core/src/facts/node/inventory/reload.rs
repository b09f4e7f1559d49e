//! The nodes of the settings, taken anew.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::super::{Counts, Fresh, NodeState, Nodes, Origin};
use super::name;
use crate::config::{Node, Settings};
use crate::event::{Instant, Mac, NodeId};

impl Nodes {
    /// Takes the nodes of new settings; those known before keep their health, also one that was
    /// found and is written down now.
    pub fn reload(&mut self, settings: &Settings, now: Instant) {
        self.regroup(settings);
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
            // One that has only another name now stays: its board says who it is, or else its
            // address.
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
                // Another that is called so one day is not the one that was worked on.
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
        self.drop_the_boardless();
        for id in found {
            // Also one of which nothing is heard now.
            self.name_found(id, settings, now);
        }
        for board in self.inventory.sightings.boards() {
            self.settle(board, settings, now);
        }
        self.inventory.misplaced.clear();
        for known in &settings.nodes {
            // Where the settings name another board now the earlier one may be about to go: who is
            // heard there next counts.
            let earlier = |address| expected.get(&address).copied().flatten();
            let is_replaced = |address| earlier(address).is_some_and(|mac| Some(mac) != known.mac);
            if let Some(address) = home(known).filter(|address| !is_replaced(*address)) {
                self.judge(address);
            }
        }
        self.drain_again(now);
        self.revision += 1;
        self.topology_version += 1;
    }

    /// Makes one node what the settings say; others that are in its way give way.
    fn adopt(&mut self, known: &Node, now: Instant) -> NodeId {
        let owner = home(known).and_then(|address| self.get(*self.inventory.homes.get(&address)?));
        if let Some((home, before)) =
            owner.and_then(|owner| owner.configured_address.zip(owner.configured_mac))
        {
            if known.mac.is_some_and(|mac| mac != before) {
                self.inventory.sightings.settled_anew(home);
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
            // What was learned of it goes on being true.
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
            // Its board is the known one's now.
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

    /// Drops found nodes without a board: one whose board turned out to be another's is no node.
    fn drop_the_boardless(&mut self) {
        let boardless = |node: &&NodeState| node.origin == Origin::Found && node.mac.is_none();
        let ids: Vec<NodeId> = self.iter().filter(boardless).map(|node| node.id).collect();
        for id in ids {
            self.forget(id);
        }
    }

    /// Restores maintenance under new settings: for those that were in it before, and only those.
    pub(in super::super) fn drain_again(&mut self, now: Instant) {
        let all: Vec<(NodeId, bool)> =
            self.iter().map(|node| (node.id, self.is_at_rest(node))).collect();
        for (id, at_rest) in all {
            self.set_maintenance(id, at_rest, now);
        }
    }

    /// Groups may be others now: count anew.
    fn regroup(&mut self, settings: &Settings) {
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
