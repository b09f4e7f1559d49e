//! The daemon: [`source`] turns the outside into events, [`sink`] brings each output to what is planned for it, and
//! [`daemon`] holds the only loop, in which decisions are taken. [`supervise`] keeps going what may end.
//!
//! What is known, decided and shown is the crate `bramblegate-core`.

pub mod daemon;
pub mod sink;
pub mod source;
pub mod supervise;
mod sync;

use bramblegate_api as api;
use bramblegate_config as config;
use bramblegate_core::{dns, event, policy, render, state};
use bramblegate_panel as panel;
