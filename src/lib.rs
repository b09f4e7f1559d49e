//! Bramblegate: network gateway and status panel for the head node of a travelling Raspberry Pi cluster.
//!
//! The flow is one way, in one loop: source → state → policy → render → sink. See `docs/architecture.md`.
//!
//! Rooms that deny `disallowed_methods` are pure: functions of their arguments (`clippy.toml`, `tests/layering.rs`).

pub mod cli;
pub mod daemon;
pub mod sink;
pub mod source;

pub use bramblegate_config as config;
pub use bramblegate_config::board;
pub use bramblegate_core::{dns, event, policy, render, sort, state};
pub use bramblegate_panel as panel;
