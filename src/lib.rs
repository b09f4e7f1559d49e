//! Bramblegate: network gateway and status panel for the head node of a travelling Raspberry Pi
//! cluster.
//!
//! This package is the program `bramblegate`: the verbs of the command line ([`cli`]), one module
//! each. The flow (watch → facts → decide → view → reconcile) is in the crates `bramblegate-core`
//! and `bramblegate-daemon`, which appear here under their short names, as do the other libraries:
//!
//! | crate | is |
//! |---|---|
//! | [`api`] | what the sockets speak, and a client of them |
//! | [`config`] | settings and boards |
//! | [`panel`] | what can be shown, and the hardware that shows it |
//! | [`netlink`] | how the kernel is asked and heard |
//! | core: [`event`], [`facts`], [`decide`], [`view`] | what is known, decided, shown: pure |
//! | daemon: [`watch`], [`reconcile`], [`event_loop`] | what touches the machine |
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
