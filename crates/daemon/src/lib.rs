//! The daemon: everything of the flow that touches the machine. What is known, decided and shown is
//! the crate `bramblegate-core`; this one feeds it and carries out what it says. Knows all
//! libraries of this workspace, and neither the verbs nor the lab.
//!
//! * [`watch`] turns the outside into events, a file or folder for each subject.
//! * [`reconcile`] brings each output to what is planned for it: read, compare, write, read back.
//! * [`event_loop`] holds the only loop in which decisions are taken, and ties all together.
//! * Skills that know no subject: [`supervise`] keeps going what may end, [`files`] and [`socket`]
//!   deal with files and sockets that others share, [`pace`] bounds how often something is done
//!   that others can cause, [`clock`] reads the boot clock.
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
