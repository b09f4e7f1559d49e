//! Names of found nodes: first come, first served. A board keeps its host name as long as it is
//! known; a later one with the same host name gets a name derived from its hardware address, and
//! the conflict is reported.

use super::super::{NodeState, Nodes, Origin};
use super::called::Heard;
use super::{FORGET_TIME, Inventory, SWEEP, name};
use crate::config::Settings;
use crate::event::{Instant, Lease, Mac, NodeId};

/// A node that did not get its host name as its name.
#[derive(Debug, Clone, Copy)]
pub struct NameConflict<'n> {
    pub node: &'n NodeState,
    pub wanted: &'n str,
    /// The node that has the name; `None`: the head, or a board that had it in an earlier run and
    /// may return.
    pub holder: Option<&'n NodeState>,
    /// The head has it.
    pub is_heads: bool,
}

impl Nodes {
    /// Returns the nodes whose host name belongs to another node, to a board of an earlier run that
    /// may return, or to the head.
    pub fn name_conflict(&self) -> impl Iterator<Item = NameConflict<'_>> {
        self.inventory.unnamed.iter().filter_map(|(id, wanted)| {
            let (node, holder) = (self.get(*id)?, self.by_name(wanted));
            let is_heads = *wanted == self.inventory.head;
            let kept =
                || node.mac.is_some_and(|mac| self.inventory.called.is_anothers(wanted, mac));
            let lacks = holder.map_or_else(|| is_heads || kept(), |holder| holder.id != node.id);
            lacks.then_some(NameConflict { node, wanted, holder, is_heads })
        })
    }

    /// Sets the head's own name, which no found node may have.
    pub fn set_head(&mut self, host_name: &str, settings: &Settings, now: Instant) {
        let label = host_name.split('.').next().unwrap_or_default().to_ascii_lowercase();
        if label == self.inventory.head {
            return;
        }
        self.inventory.head = label;
        let found: Vec<NodeId> =
            self.iter().filter(|node| node.origin == Origin::Found).map(|node| node.id).collect();
        for id in found {
            self.name_found(id, settings, now);
        }
    }

    /// Processes the host name that a board sent. Returns the node if it was found by it.
    pub fn advertises_name(
        &mut self,
        mac: Mac,
        name: &str,
        settings: &Settings,
        now: Instant,
    ) -> Option<NodeId> {
        let known = (self.macs.contains_key(&mac) || self.has_lease(mac), self.macs.len());
        match self.inventory.called.advertise(mac, name, known, now) {
            Heard::News => self.settle(mac, settings, now),
            Heard::Known => None,
            Heard::TooOften => {
                self.inventory.crowd.renames(mac, now);
                None
            }
            Heard::NoRoom => {
                self.inventory.crowd.reject(now);
                None
            }
        }
    }

    /// Restores the name that a board had in an earlier run: reserved until the board sends another
    /// one, or its lease ends, but at least for [`FORGET_TIME`].
    pub fn restore_name(&mut self, lease: &Lease, now: Instant) {
        let until = lease.valid_for.map(|left| now + left.max(FORGET_TIME));
        lease
            .host_name
            .iter()
            .for_each(|name| self.inventory.called.reserve(lease.mac, name, until));
        let _ = self.inventory.sweep_at.get_or_insert(now + SWEEP);
    }

    /// Returns the host name of a board: as it sent, as reserved from an earlier run, or else as in
    /// the server's lease file.
    pub(super) fn host_name(&self, mac: Mac) -> Option<String> {
        let inventory = &self.inventory;
        inventory.called.of(mac).map(str::to_owned).or_else(|| {
            let lease = inventory.sightings.lease(mac)?;
            name::legal(lease.host_name.as_deref()?)
        })
    }

    /// Removes expired names, see [`super::called::AdvertisedNames::sweep`].
    pub(super) fn sweep_names(&mut self, now: Instant) -> bool {
        let (macs, Inventory { sightings, called, .. }) = (&self.macs, &mut self.inventory);
        called.sweep(|mac| macs.contains_key(&mac) || sightings.lease(mac).is_some(), now)
    }

    /// Assigns names that have become free to the nodes that want them.
    pub(super) fn retry_names(&mut self, settings: &Settings, now: Instant) {
        let without: Vec<NodeId> = self.inventory.unnamed.keys().copied().collect();
        without.into_iter().for_each(|id| self.name_found(id, settings, now));
    }

    /// Names a found node by its host name, unless another has that name.
    pub(super) fn name_found(&mut self, id: NodeId, settings: &Settings, now: Instant) {
        let Some(node) = self.get(id).filter(|node| node.origin == Origin::Found) else { return };
        let Some(mac) = node.mac else { return };
        let own = |name: &str| {
            let anothers =
                name == self.inventory.head || self.inventory.called.is_anothers(name, mac);
            !anothers && self.by_name(name).is_none_or(|holder| holder.id == id)
        };
        let wanted = self.host_name(mac);
        let name = match wanted.as_ref().filter(|wanted| own(wanted)) {
            Some(name) => name.clone(),
            // Without a host name it keeps its name.
            None if wanted.is_none() => node.name.clone(),
            None => name::generated(mac, |name| !own(name)),
        };
        let lacking = wanted.filter(|wanted| *wanted != name);
        let group = settings.groups.iter().position(|group| group.takes(&name));
        let lacked = self.inventory.unnamed.get(&id) != lacking.as_ref();
        match lacking {
            Some(wanted) => self.inventory.unnamed.insert(id, wanted),
            None => self.inventory.unnamed.remove(&id),
        };
        self.topology_version += u64::from(lacked);
        self.identify(id, |node| (node.name, node.group) = (name, group));
        if self.get(id).is_some_and(|node| self.is_at_rest(node)) {
            self.set_maintenance(id, true, now);
        }
    }
}
