//! Counts of nodes by health, and the degraded nodes by reason.

use std::collections::BTreeSet;

use super::{NodeHealth, Trouble};
use crate::event::NodeId;

/// A count for each health.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts([usize; NodeHealth::ALL.len()]);

impl Counts {
    pub fn of(&self, health: NodeHealth) -> usize {
        self.0.get(health as usize).copied().unwrap_or(0)
    }

    pub fn total(&self) -> usize {
        self.0.iter().sum()
    }

    /// Returns the number of nodes that should be up: all but those in maintenance.
    pub fn expected(&self) -> usize {
        self.total() - self.of(NodeHealth::Maintenance)
    }

    pub(super) fn add(&mut self, health: NodeHealth) {
        if let Some(count) = self.0.get_mut(health as usize) {
            *count += 1;
        }
    }

    pub(super) fn subtract(&mut self, health: NodeHealth) {
        if let Some(count) = self.0.get_mut(health as usize) {
            *count = count.saturating_sub(1);
        }
    }
}

/// The degraded nodes, by reason.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Troubled([BTreeSet<NodeId>; 3]);

impl Troubled {
    pub fn of(&self, trouble: Trouble) -> Option<&BTreeSet<NodeId>> {
        self.0.get(trouble as usize)
    }

    /// Sets why a node is degraded; `None`: it is not.
    pub fn set(&mut self, id: NodeId, trouble: Option<Trouble>) {
        for (kind, nodes) in self.0.iter_mut().enumerate() {
            match trouble {
                Some(trouble) if trouble as usize == kind => nodes.insert(id),
                _ => nodes.remove(&id),
            };
        }
    }
}
