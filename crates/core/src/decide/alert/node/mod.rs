//! Alerts of nodes: their health, and their places and names.

pub mod health;
pub mod inventory;

/// How many nodes, groups or conflicts of a kind are named; more are counted, or left out.
const NAMED: usize = 8;
