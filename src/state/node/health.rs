//! From rounds of probes to health, with thresholds counted in rounds.

use std::time::Duration;

use super::{NodeHealth, Nodes};
use crate::config::Health;
use crate::event::{Instant, NodeId, Round};

/// What is remembered of a node between rounds.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Watch {
    /// rounds in a row that contradict the health
    streak: u32,
}

impl Nodes {
    /// Takes one round in; returns (from, to) when the health changed.
    pub fn round(&mut self, round: &Round, health: &Health, now: Instant) -> Option<(NodeHealth, NodeHealth)> {
        let node = self.get_mut(round.node)?;
        node.rtt = round.rtt.map(|rtt| smooth(node.rtt, rtt)).or(node.rtt);
        let target = if round.rtt.is_some() { NodeHealth::Up } else { NodeHealth::Down };
        if node.health == target || node.health == NodeHealth::Maintenance {
            node.watch.streak = 0;
            return None;
        }
        node.watch.streak += 1;
        // A node that was never seen is up with its first answer: nobody wants to wait at the start.
        let needed = match (node.health, target) {
            (NodeHealth::Unknown, NodeHealth::Up) => 1,
            (_, NodeHealth::Up) => health.success_threshold,
            _ => health.failure_threshold,
        };
        if node.watch.streak < needed {
            return None;
        }
        node.watch.streak = 0;
        let from = node.health;
        self.set_health(round.node, target, now);
        Some((from, target))
    }

    /// The node is worked on, or no longer: its health is then to be found out anew.
    pub fn set_maintenance(&mut self, id: NodeId, on: bool, now: Instant) -> Option<(NodeHealth, NodeHealth)> {
        let from = self.get(id)?.health;
        if on == (from == NodeHealth::Maintenance) {
            return None;
        }
        let to = if on { NodeHealth::Maintenance } else { NodeHealth::Unknown };
        self.set_health(id, to, now);
        Some((from, to))
    }

    fn get_mut(&mut self, id: NodeId) -> Option<&mut super::NodeState> {
        self.slots.get_mut(id.slot as usize)?.node.as_mut().filter(|node| node.id == id)
    }
}

/// RFC 6298, 2.3, with alpha = 1/8.
fn smooth(known: Option<Duration>, rtt: Duration) -> Duration {
    known.map_or(rtt, |known| (known * 7 + rtt) / 8)
}
