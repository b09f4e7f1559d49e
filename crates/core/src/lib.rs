//! What the daemon knows, decides and shows, as functions of their arguments: the same events at
//! the same times give the same plans and the same pages.
//!
//! [`event`] is what can happen, [`facts`] holds the facts, [`decide`] decides what should be true,
//! [`view`] says what each output should hold. Nothing here knows a runtime, a file, a socket or a
//! clock: Cargo keeps that wall for crates, a lint for the standard library.

#![cfg_attr(not(test), deny(clippy::disallowed_methods))]

pub mod decide;
pub mod dns;
pub mod event;
pub mod facts;
pub mod view;

use bramblegate_api as api;
use bramblegate_config as config;
use bramblegate_panel as panel;
