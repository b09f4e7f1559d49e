//! An emulated network ("world") on one machine, without hardware: a venue with a real DHCP server,
//! an "internet", the head with a real DHCP client and the real gateway, a cluster switch and
//! nodes. It consists of private namespaces, never changes the machine's own network, and ends with
//! the process that built it.
//!
//! ```text
//!   internet ──── venue (router, DHCP, DNS) ──┬── laptop
//!   203.0.113.80                              └── eth1 head eth0 ── switch ──┬── rpi1 192.168.50.11
//!   DNS .53                                                                  └── rpi2 …
//! ```
//!
//! Only the `demo` command and the tests with the real kernel use it. It depends on the commands
//! and on the types of the status; nothing depends on it, and none of it is in the program
//! `bramblegate`.
//!
//! Begin with [`World`], which builds the network, and [`Venue`], which a file of `tests/venues`
//! describes; [`play`] takes a world through the moments of such a file, and [`demo`] shows one.
//! [`serve`] contains the world's small servers, which this same program runs.

pub mod client;
pub mod demo;
pub mod file;
pub mod glass;
pub mod inside;
pub mod play;
pub mod router;
pub mod serve;
pub mod server;
pub mod shell;
pub mod watch;
pub mod wiring;
pub mod world;

pub use file::Venue;
pub use world::World;

use std::fmt;

/// Describes an error in a sentence that names the program, file or address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Error(pub String);

/// A [`std::result::Result`] with this module's [`Error`].
pub type Result<T> = std::result::Result<T, Error>;

/// Prefixes an error with the operation that failed.
pub(crate) fn while_doing<E: fmt::Display>(what: impl fmt::Display) -> impl FnOnce(E) -> Error {
    move |error| Error(format!("{what}: {error}"))
}
