//! The status page: what the display, the LED and the status socket show, for a browser, a terminal
//! (`curl`) and programs (`/status.json`, `/events`).
//!
//! An unprivileged process of its own, and a client of the daemon's status socket like any other: a
//! flood of requests, a slow reader or a fault in here changes nothing for the gateway, the display
//! or the LED. Begin with [`serve::routes`], which lists what is served. One way leads through it:
//!
//! * [`feed`] has the state of the daemon, and each line of the status socket for those who follow.
//! * [`page`] draws the state as HTML, [`plain`] as text for a terminal; pure functions.
//! * [`live`] compares what was drawn with what is shown and sends the difference to all viewers.
//! * [`history`] keeps the last hour and day for its plots.
//! * [`metrics`] and [`discovery`] write it for Prometheus; [`changes`] counts for them.
//! * [`heads`] asks other heads, [`logbook`] the journal.
//! * [`sight`] leaves out what somebody may not see who has not logged in.
//! * [`login`] decides who may give orders, [`orders`] hands them to the control socket.
//! * [`options`] and [`listen`] say what is wanted and where; [`serve`] takes connections, within
//!   bounds, and answers; [`ready`] keeps what many ask for, [`host`] knows the head's names.

pub mod changes;
pub mod discovery;
pub mod feed;
pub mod guests;
pub mod heads;
pub mod history;
pub mod host;
pub mod listen;
pub mod live;
pub mod log;
pub mod logbook;
pub mod login;
pub mod metrics;
pub mod options;
pub mod orders;
pub mod page;
pub mod plain;
mod process;
pub mod ready;
pub mod serve;
pub mod sight;
mod traffic;
