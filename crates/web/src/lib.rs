//! The status page: what the display, the LED and the status socket show, for a browser, a terminal
//! (`curl`) and programs (`/status.json`, `/events`).
//!
//! It is an unprivileged process of its own, and an ordinary client of the daemon's status socket:
//! a flood of requests, a slow reader or a fault in here does not affect the gateway, the display
//! or the LED. Begin with [`serve::routes`], the list of routes:
//!
//! * [`feed`] follows the daemon's state, and relays each line of the status socket to clients.
//! * [`page`] renders the state as HTML, [`plain`] as text for a terminal; pure functions.
//! * [`live`] compares each rendering with the previous one and sends the difference to all
//!   viewers.
//! * [`history`] keeps the last hour and day for the plots.
//! * [`metrics`] and [`discovery`] export the state to Prometheus; [`changes`] counts for them.
//! * [`heads`] polls other heads, [`logbook`] follows the journal.
//! * [`sight`] removes what a viewer without a session may not see.
//! * [`login`] holds sessions, [`orders`] passes orders to the control socket.
//! * [`options`] and [`listen`] are configuration and sockets; [`serve`] takes connections, within
//!   limits, and answers; [`ready`] caches answers, [`host`] checks the head's names.

pub mod changes;
pub mod discovery;
pub mod feed;
pub mod guests;
pub mod heads;
pub mod history;
pub mod host;
pub mod listen;
pub mod live;
mod lock;
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
