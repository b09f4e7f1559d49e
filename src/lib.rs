//! Bramblegate: network gateway and status panel for the head node of a travelling Raspberry Pi cluster.
//!
//! The flow is one way, in one loop: source → state → policy → render → sink. See `docs/architecture.md`.

pub mod board;
pub mod cli;
pub mod config;
pub mod event;
pub mod hal;
pub mod panel;
pub mod policy;
pub mod render;
pub mod sink;
pub mod source;
pub mod state;
pub mod venue;
