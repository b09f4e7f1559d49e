//! Bramblegate: network gateway and status panel for the head node of a travelling Raspberry Pi cluster.
//!
//! The flow is one way, in one loop: source → state → policy → render → sink. See `docs/architecture.md`.
//!
//! Rooms that deny `disallowed_methods` are pure: functions of their arguments (`clippy.toml`, `tests/layering.rs`).

pub mod cli;
pub mod daemon;
#[cfg_attr(not(test), deny(clippy::disallowed_methods))]
pub mod dns;
#[cfg_attr(not(test), deny(clippy::disallowed_methods))]
pub mod event;
#[cfg_attr(not(test), deny(clippy::disallowed_methods))]
pub mod policy;
#[cfg_attr(not(test), deny(clippy::disallowed_methods))]
pub mod render;
pub mod sink;
#[cfg_attr(not(test), deny(clippy::disallowed_methods))]
pub mod sort;
pub mod source;
#[cfg_attr(not(test), deny(clippy::disallowed_methods))]
pub mod state;

pub use bramblegate_config as config;
pub use bramblegate_config::board;
pub use bramblegate_panel as panel;
