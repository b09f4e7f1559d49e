//! The daemon: [`watch`] turns the outside into events, [`reconcile`] brings each output to what is
//! planned for it, and [`event_loop`] holds the only loop, in which decisions are taken.
//! [`supervise`] keeps going what may end.
//!
//! What is known, decided and shown is the crate `bramblegate-core`.

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
