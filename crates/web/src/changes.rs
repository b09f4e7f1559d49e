//! Counts of health changes since this process began to follow the daemon.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex};

use bramblegate_api::Text;
use bramblegate_api::client::{Known, Step};
use bramblegate_api::status::{Node, Snapshot};

use crate::lock::lock;

/// Counts of health changes by node and group; those without a change are not listed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HealthChanges {
    nodes: HashMap<Text, u64>,
    /// By the name of the group; "" is for nodes without one.
    groups: BTreeMap<Text, u64>,
}

impl HealthChanges {
    /// Returns how often the health of a node has changed.
    pub fn of_node(&self, name: &str) -> u64 {
        self.nodes.get(name).copied().unwrap_or(0)
    }

    /// Returns how often the health of nodes of a group has changed.
    pub fn of_group(&self, name: &str) -> u64 {
        self.groups.get(name).copied().unwrap_or(0)
    }

    /// Returns whether two states differ in the list of nodes or the health of one.
    pub fn differ(before: &Snapshot, after: &Snapshot) -> bool {
        let alike = |(old, new): (&Node, &Node)| old.name == new.name && old.health == new.health;
        before.nodes.len() != after.nodes.len() || !before.nodes.iter().zip(&after.nodes).all(alike)
    }

    /// Counts the nodes whose health differs. Drops counts of removed nodes and groups, so that
    /// changing names do not take memory.
    pub fn count(&mut self, before: &Snapshot, after: &Snapshot) {
        let known: HashMap<&Text, _> =
            before.nodes.iter().map(|node| (&node.name, &node.health)).collect();
        for node in &after.nodes {
            if known.get(&node.name).is_some_and(|health| **health != node.health) {
                *self.nodes.entry(node.name.clone()).or_default() += 1;
                *self.groups.entry(node.group.clone().unwrap_or_default()).or_default() += 1;
            }
        }
        let names: HashSet<&Text> = after.nodes.iter().map(|node| &node.name).collect();
        self.nodes.retain(|name, _| names.contains(name));
        let groups: HashSet<&str> =
            after.nodes.iter().map(|node| node.group.as_deref().unwrap_or_default()).collect();
        self.groups.retain(|name, _| groups.contains(&**name));
    }
}

/// Counts health changes of the followed daemon; clones share the counts.
#[derive(Debug, Clone, Default)]
pub struct HealthCounter {
    before: Option<Arc<Snapshot>>,
    counts: Arc<Mutex<Arc<HealthChanges>>>,
}

impl HealthCounter {
    /// Processes the state after a step of the follower.
    pub fn take(&mut self, known: &Known, step: &Step) {
        let Some(snapshot) = &known.snapshot else { return };
        // After a start of the daemon every node is unknown, which is not a change of its health.
        let counts = matches!(step, Step::Line { .. } | Step::Refreshed);
        if let Some(before) = self.before.as_ref().filter(|_| counts) {
            if HealthChanges::differ(before, snapshot) {
                Arc::make_mut(&mut lock(&self.counts)).count(before, snapshot);
            }
        }
        self.before = Some(Arc::clone(snapshot));
    }

    /// Returns the current counts.
    pub fn now(&self) -> Arc<HealthChanges> {
        Arc::clone(&lock(&self.counts))
    }
}

#[cfg(test)]
mod tests {
    use bramblegate_api::status::NodeHealth;

    use super::*;

    fn snapshot(nodes: &[(&str, NodeHealth, Option<&str>)]) -> Snapshot {
        let node = |(name, health, group): &(&str, NodeHealth, Option<&str>)| Node {
            name: (*name).into(),
            health: (*health).into(),
            group: group.map(Text::from),
            ..Node::default()
        };
        Snapshot { nodes: nodes.iter().map(node).collect(), ..Snapshot::default() }
    }

    #[test]
    fn only_a_different_health_of_the_same_node_counts() {
        use NodeHealth::{Down, Up};
        let states = [
            snapshot(&[("a", Up, Some("rack")), ("b", Up, None)]),
            snapshot(&[("a", Down, Some("rack")), ("b", Up, None)]),
            snapshot(&[("b", Up, None), ("a", Up, Some("rack")), ("c", Down, Some("rack"))]),
            snapshot(&[("c", Up, Some("rack"))]),
        ];
        let mut changes = HealthChanges::default();
        let counts = |changes: &HealthChanges| {
            let nodes = ["a", "b", "c"].map(|name| changes.of_node(name));
            (nodes, changes.of_group("rack"), changes.of_group(""))
        };
        let seen = states.windows(2).map(|pair| {
            assert!(HealthChanges::differ(&pair[0], &pair[1]));
            changes.count(&pair[0], &pair[1]);
            counts(&changes)
        });
        let wanted = [([1, 0, 0], 1, 0), ([2, 0, 0], 2, 0), ([0, 0, 1], 3, 0)];
        assert_eq!(seen.collect::<Vec<_>>(), wanted);
        assert!(!HealthChanges::differ(&states[0], &states[0].clone()));
    }

    #[test]
    fn counts_of_removed_nodes_are_dropped() {
        let mut changes = HealthChanges::default();
        for number in 0..100 {
            let name = format!("node-{number}");
            let state = |health| snapshot(&[(&name, health, Some(&name))]);
            changes.count(&state(NodeHealth::Up), &state(NodeHealth::Down));
        }
        assert_eq!((changes.nodes.len(), changes.groups.len()), (1, 1));
    }
}
