//! Bramblegate: network gateway and status panel for the head node of a travelling Raspberry Pi
//! cluster.
//!
//! This package is the program `bramblegate`: the verbs of the command line ([`cli`]), one module
//! each. The flow (watch → facts → decide → view → reconcile) is in the crates `bramblegate-core`
//! and `bramblegate-daemon`, which appear here under their short names, as do the other libraries:
//!
//! | crate | is |
//! |---|---|
//! | [`api`] | the lines of the sockets, and a client of both |
//! | [`config`] | settings and boards |
//! | [`panel`] | content for display and LEDs, and their drivers |
//! | [`netlink`] | requests to the kernel, and its notifications |
//! | core: [`event`], [`facts`], [`decide`], [`view`] | the state, the decisions, the outputs' content: pure |
//! | daemon: [`watch`], [`reconcile`], [`event_loop`] | the parts that touch the machine |
//!
//! Begin with `docs/architecture.md`: it follows an address to the display, a rule to the kernel
//! and a lease to its name, file by file. `bramblegate run` begins in [`cli::run`].

pub mod cli;

pub use bramblegate_api as api;
pub use bramblegate_config as config;
pub use bramblegate_config::board;
pub use bramblegate_core::{decide, dns, event, facts, view};
pub use bramblegate_daemon::{clock, event_loop, files, pace, reconcile, socket, watch};
pub use bramblegate_netlink as netlink;
pub use bramblegate_panel as panel;
