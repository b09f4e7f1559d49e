//! Alerts of nodes: their health, and their places and names.

pub mod health;
mod inventory;

use super::Alert;
use crate::config::Settings;
use crate::facts::Facts;

/// How many nodes, groups or conflicts of a kind are named; more are counted, or left out.
const NAMED: usize = 8;

/// Raises what is wrong with the nodes.
pub fn alerts(settings: &Settings, facts: &Facts, raised: &mut Vec<Alert>) {
    health::alerts(settings, facts, raised);
    inventory::alerts(facts, raised);
}
