//! A whole world on one machine, without hardware: a venue with a real DHCP server, an "internet",
//! the head with a real DHCP client and this same binary as its gateway, a cluster switch and
//! nodes. All of it lives in private namespaces; nothing of the machine's own network is touched,
//! and all of it dies with the process that built it.
//!
//! ```text
//!   internet ──── venue (router, DHCP, DNS) ──┬── laptop
//!   203.0.113.80                              └── eth1 head eth0 ── switch ──┬── rpi1 192.168.50.11
//!   DNS .53                                                                  └── rpi2 …
//! ```
//!
//! The `demo` command and the tests with the real kernel call it; nothing else does, and nothing of
//! it is in the program `bramblegate`: it knows the verbs and the types of the status, and nothing
//! depends on it.
//!
//! Begin with [`World`], which builds all that, and [`Venue`], a network as a file of
//! `tests/venues` describes it; [`play`] takes a world through the moments of such a file. [`demo`]
//! shows one to you. [`serve`] holds the small servers of the world, which are this same
//! program.

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

/// What went wrong, in a sentence that names the program, file or address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error(pub String);

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Error {}

/// A [`std::result::Result`] with this module's [`Error`].
pub type Result<T> = std::result::Result<T, Error>;

/// Wraps any error with what was being done.
pub(crate) fn while_doing<E: fmt::Display>(what: impl fmt::Display) -> impl FnOnce(E) -> Error {
    move |error| Error(format!("{what}: {error}"))
}
