//! What the daemon knows, decides and shows, as pure functions: the same events at the same times
//! give the same plans and the same pages. It uses the settings (`bramblegate-config`), the types
//! of the status (`bramblegate-api`) and the panel's vocabulary (`bramblegate-panel`).
//!
//! # The floors, in the order of the flow
//!
//! * [`event`]: plain data, everything that can wake the daemon.
//! * [`facts`]: the current state. Takes one event in at a time `now` and returns what changed;
//!   reports the next deadline at which time alone changes something.
//! * [`decide`]: the desired state, from settings and facts. Complete each time, comparable,
//!   without relative times and without a list of nodes.
//! * [`view`]: what each output should hold: pages, lights, status, journal records, dnsmasq's
//!   files.
//!
//! A subject has the same name on each floor, so `find . -name 'dhcp*'` lists the DHCP code of all
//! floors; `docs/architecture.md` lists the subjects. [`dns`], beside the floors, builds and parses
//! address queries for probes and verbs.
//!
//! Begin with [`event::Event`], then [`decide::decide`]. The golden stories in `tests/cases` run
//! this whole crate from data: events as text, and what every output then holds.
//!
//! This crate uses no runtime, file, socket or clock. Cargo enforces that for crates, a lint for
//! the standard library.

#![cfg_attr(not(test), deny(clippy::disallowed_methods))]

pub mod decide;
pub mod dns;
pub mod event;
pub mod facts;
pub mod view;

use bramblegate_api as api;
use bramblegate_config as config;
use bramblegate_panel as panel;
