//! Alerts of nodes: their health, and their places and names.

pub mod health;
pub mod inventory;

/// Limit on nodes, groups or conflicts of a kind that are named; the rest is counted, or left out.
const NAMED: usize = 8;
