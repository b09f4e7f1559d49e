//! The nodes' health, with thresholds counted in rounds.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::config::{Health, Settings};
use crate::event::Instant;

/// How a node is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum NodeHealth {
    /// not probed, or not yet
    Unknown,
    Up,
    Degraded,
    Down,
}

impl NodeHealth {
    /// The word in status and journal.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Up => "up",
            Self::Degraded => "degraded",
            Self::Down => "down",
        }
    }
}

/// One node.
#[derive(Debug, Clone, PartialEq)]
pub struct NodeState {
    pub health: NodeHealth,
    /// of the last answered round
    pub rtt: Option<Duration>,
    /// when `health` last changed
    pub since: Instant,
    /// rounds in a row that contradict `health`
    streak: u32,
}

/// All nodes by name, with counts kept beside them.
#[derive(Debug, Clone, Default)]
pub struct Nodes {
    by_name: BTreeMap<String, NodeState>,
    order: Vec<String>,
    counts: BTreeMap<NodeHealth, usize>,
    /// counts up when a health changed: cheap to compare
    pub revision: u64,
}

impl Nodes {
    /// The nodes of the settings; those known before keep their health.
    pub fn reload(&mut self, settings: &Settings, now: Instant) {
        let mut before = std::mem::take(&mut self.by_name);
        self.order = settings.nodes.iter().map(|n| n.name.clone()).collect();
        self.counts.clear();
        for name in &self.order {
            let fresh = NodeState { health: NodeHealth::Unknown, rtt: None, since: now, streak: 0 };
            let node = before.remove(name).unwrap_or(fresh);
            *self.counts.entry(node.health).or_default() += 1;
            self.by_name.insert(name.clone(), node);
        }
        self.revision += 1;
    }

    /// Takes one round in; returns (from, to) when the health changed.
    pub fn round(
        &mut self,
        name: &str,
        rtt: Option<Duration>,
        health: &Health,
        now: Instant,
    ) -> Option<(NodeHealth, NodeHealth)> {
        let node = self.by_name.get_mut(name)?;
        node.rtt = rtt.or(node.rtt);
        let target = if rtt.is_some() { NodeHealth::Up } else { NodeHealth::Down };
        if node.health == target {
            node.streak = 0;
            return None;
        }
        node.streak += 1;
        // A node that was never seen is up with its first answer: nobody wants to wait at the start.
        let needed = match (node.health, target) {
            (NodeHealth::Unknown, NodeHealth::Up) => 1,
            (_, NodeHealth::Up) => health.success_threshold,
            _ => health.failure_threshold,
        };
        if node.streak < needed {
            return None;
        }
        let from = std::mem::replace(&mut node.health, target);
        node.since = now;
        node.streak = 0;
        if let Some(count) = self.counts.get_mut(&from) {
            *count = count.saturating_sub(1);
        }
        *self.counts.entry(target).or_default() += 1;
        self.revision += 1;
        Some((from, target))
    }

    /// In the order of the settings.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &NodeState)> {
        self.order.iter().filter_map(|name| self.by_name.get(name).map(|node| (name.as_str(), node)))
    }

    pub fn get(&self, name: &str) -> Option<&NodeState> {
        self.by_name.get(name)
    }

    pub fn count(&self, health: NodeHealth) -> usize {
        self.counts.get(&health).copied().unwrap_or(0)
    }

    pub fn total(&self) -> usize {
        self.order.len()
    }
}
