//! Bramblegate: network gateway and status panel for the head node of a travelling Raspberry Pi
//! cluster.
//!
//! This package holds the verbs of the command line; the flow (watch → facts → decide → view →
//! reconcile) is in the crates `bramblegate-core` and `bramblegate-daemon`, which appear here under
//! their short names. See `docs/architecture.md`.

pub mod cli;

pub use bramblegate_api as api;
pub use bramblegate_config as config;
pub use bramblegate_config::board;
pub use bramblegate_core::{decide, dns, event, facts, view};
pub use bramblegate_daemon::{clock, event_loop, files, pace, reconcile, socket, watch};
pub use bramblegate_netlink as netlink;
pub use bramblegate_panel as panel;
