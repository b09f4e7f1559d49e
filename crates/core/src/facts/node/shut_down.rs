//! Nodes that were shut down on purpose. Like nodes in maintenance they raise no alarm, until they
//! return, or are overdue after others have returned.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::{HealthChange, NodeState, Nodes};
use crate::event::{Instant, NodeId};
use crate::facts::transition::Transition;

/// Holds the nodes that were shut down and have not returned.
#[derive(Debug, Clone, Default)]
pub(super) struct ShutDown {
    /// By [`NodeState::order_key`], whether it has fallen silent: until then a reply is no return.
    keys: BTreeMap<String, bool>,
    /// When the first of them, or the head, returned.
    returning: Option<Instant>,
}

impl ShutDown {
    pub fn holds(&self, node: &NodeState) -> bool {
        !self.keys.is_empty() && self.keys.contains_key(&node.order_key())
    }

    pub fn remove(&mut self, key: &str) {
        self.keys.remove(key);
        if self.keys.is_empty() {
            self.returning = None;
        }
    }

    /// Replaces the key of a node.
    pub fn pass(&mut self, from: &str, to: &str) {
        if let Some(silent) = self.keys.remove(from) {
            self.keys.insert(to.to_owned(), silent);
        }
    }
}

impl Nodes {
    /// Returns the nodes that were shut down and have not returned: names in lower case, and
    /// hardware addresses of found nodes.
    pub fn shut_down(&self) -> BTreeSet<String> {
        self.shut_down.keys.keys().cloned().collect()
    }

    /// Processes that a node is requested to power off.
    pub(super) fn begin_shutdown(
        &mut self,
        name: &str,
        now: Instant,
    ) -> Option<(NodeId, HealthChange)> {
        let node = self.by_name(name)?;
        let (id, key) = (node.id, node.order_key());
        self.shut_down.keys.entry(key).or_insert(false);
        self.shut_down.returning = None;
        Some((id, self.set_maintenance(id, true, now)?))
    }

    /// Processes that a node does not power off. One that is silent was off already, and is kept.
    pub(super) fn cancel_shutdown(
        &mut self,
        name: &str,
        now: Instant,
    ) -> Option<(NodeId, HealthChange)> {
        let node = self.by_name(name)?;
        let (id, key) = (node.id, node.order_key());
        if self.shut_down.keys.get(&key) != Some(&false) {
            return None;
        }
        self.shut_down.remove(&key);
        let drained = self.get(id).is_some_and(|node| self.is_drained(node));
        Some((id, self.set_maintenance(id, drained, now)?))
    }

    /// Cancels an aborted shutdown for all nodes that have not fallen silent.
    pub(crate) fn cancel_all_shutdowns(&mut self, now: Instant) -> Vec<Transition> {
        let is_up = |node: &&NodeState| {
            self.shut_down.keys.get(&node.order_key()).is_some_and(|silent| !silent)
        };
        let up: Vec<String> = self.iter().filter(is_up).map(|node| node.name.clone()).collect();
        let changes: Vec<_> =
            up.iter().filter_map(|name| self.cancel_shutdown(name, now)).collect();
        changes.into_iter().filter_map(|(id, change)| self.health_changed(id, change)).collect()
    }

    /// Restores the nodes that an earlier run had shut down. `started`: the head was off since.
    pub(crate) fn restore_shut_down(
        &mut self,
        keys: BTreeSet<String>,
        started: bool,
        now: Instant,
    ) {
        self.shut_down.returning = (started && !keys.is_empty()).then_some(now);
        self.shut_down.keys = keys.into_iter().map(|key| (key, true)).collect();
        self.restore_maintenance(now);
    }

    /// Returns whether a reply of this node means that it has returned.
    pub(super) fn is_return(&self, id: NodeId) -> bool {
        let silent = |node: &NodeState| self.shut_down.keys.get(&node.order_key()).copied();
        !self.shut_down.keys.is_empty() && self.get(id).and_then(silent) == Some(true)
    }

    /// Processes the return of a node. Returns its change of health, if any.
    pub(super) fn end_shutdown(&mut self, id: NodeId, now: Instant) -> Option<HealthChange> {
        let key = self.get(id)?.order_key();
        self.shut_down.returning.get_or_insert(now);
        self.shut_down.remove(&key);
        let drained = self.get(id).is_some_and(|node| self.is_drained(node));
        self.set_maintenance(id, drained, now)
    }

    /// Notes that a node which is shutting down has fallen silent.
    pub(super) fn note_silence(&mut self, id: NodeId) {
        if self.shut_down.keys.is_empty() {
            return;
        }
        let Some(node) = self.get(id).filter(|node| node.is_silent()) else { return };
        let key = node.order_key();
        self.shut_down.keys.entry(key).and_modify(|silent| *silent = true);
    }

    /// Returns when the first missing node is overdue: by its usual time after the start of the
    /// machine, or else `grace` after the first return and after carrier-up of the cluster port.
    pub(super) fn return_deadline(&self, grace: Duration) -> Option<Instant> {
        let returning = self.shut_down.returning?;
        self.shut_down.keys.keys().map(|key| self.return_until(key, returning, grace)).min()
    }

    /// Takes the overdue nodes, with their names and changes of health: from now on the probes
    /// determine their health.
    pub(super) fn take_missing(
        &mut self,
        grace: Duration,
        now: Instant,
    ) -> (Vec<String>, Vec<(NodeId, HealthChange)>) {
        if self.return_deadline(grace).is_none_or(|at| at > now) {
            return (Vec::new(), Vec::new());
        }
        let is_due = |key: &String| {
            let returning = self.shut_down.returning;
            returning.is_none_or(|returning| self.return_until(key, returning, grace) <= now)
        };
        let due: BTreeSet<String> =
            self.shut_down.keys.keys().filter(|key| is_due(key)).cloned().collect();
        due.iter().for_each(|key| self.shut_down.remove(key));
        let is_missing = |node: &&NodeState| due.contains(&node.order_key());
        let missing: Vec<NodeId> = self.iter().filter(is_missing).map(|node| node.id).collect();
        let mut names = Vec::new();
        let mut changes = Vec::new();
        for id in missing {
            let drained = self.get(id).is_some_and(|node| self.is_drained(node));
            names.extend(self.get(id).map(|node| node.name.clone()));
            self.presume_down(id);
            changes.extend(self.set_maintenance(id, drained, now).map(|change| (id, change)));
        }
        (names, changes)
    }
}
