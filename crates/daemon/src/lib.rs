//! The daemon: the part of the flow that touches the machine. The pure part, facts, decisions and
//! views, is the crate `bramblegate-core`. This crate may use all libraries of the workspace, but
//! neither the verbs nor the lab.
//!
//! * [`watch`] turns input into events, a file or folder for each subject.
//! * [`reconcile`] brings each output to its plan: read, compare, write, read back.
//! * [`event_loop`] holds the only loop that decides, and connects all parts.
//! * Skills without a subject: [`supervise`] restarts tasks, threads and children, [`files`] and
//!   [`socket`] share files and sockets with other users, [`pace`] is a rate limit, [`clock`] reads
//!   the boot clock.
//!
//! Begin with [`event_loop`] (its `main_loop` is the whole flow in one screen), then follow one
//! subject: `watch/link` and `reconcile/link`, for example, or `watch/firewall` and
//! `reconcile/firewall`.

pub mod clock;
pub mod event_loop;
pub mod files;
pub(crate) mod oneshot;
pub mod pace;
pub(crate) mod packet;
pub mod reconcile;
pub mod socket;
pub mod supervise;
mod sync;
pub mod watch;

use bramblegate_api as api;
use bramblegate_config as config;
use bramblegate_core::{decide, dns, event, facts, view};
use bramblegate_panel as panel;
