//! What the daemon knows, decides and shows, as functions of their arguments: the same events at
//! the same times give the same plans and the same pages. Knows settings (`bramblegate-config`),
//! the types of the status (`bramblegate-api`) and the panel's vocabulary (`bramblegate-panel`).
//!
//! # The floors, in the order of the flow
//!
//! * [`event`]: plain data, all that can wake the daemon.
//! * [`facts`]: what is known. Takes one event in at a time `now` and returns what changed; says
//!   when time alone will change something.
//! * [`decide`]: what should be true, from settings and facts. Complete each time, comparable, with
//!   no relative times and no list of nodes in it.
//! * [`view`]: what each output should hold: pages, lights, status, journal records, dnsmasq's
//!   files.
//!
//! A subject has the same name on each floor, so `find . -name 'dhcp*'` shows the way of DHCP
//! through the house; `docs/architecture.md` lists the subjects. Beside the floors stands [`dns`],
//! a name's addresses asked and answered, for probes and verbs.
//!
//! Begin with [`event::Event`], then [`decide::decide`]. The golden stories in `tests/cases` run
//! all of this crate by data: events in words, and what every output then holds.
//!
//! Nothing here knows a runtime, a file, a socket or a clock: Cargo keeps that wall for crates, a
//! lint for the standard library.

#![cfg_attr(not(test), deny(clippy::disallowed_methods))]

pub mod decide;
pub mod dns;
pub mod event;
pub mod facts;
pub mod view;

use bramblegate_api as api;
use bramblegate_config as config;
use bramblegate_panel as panel;
