//! Sources turn the outside into events. A source knows nothing but [`crate::event::Event`].

pub mod button;
pub mod control;
pub mod dhcp;
pub mod firewall;
pub mod host;
pub mod link;
pub(crate) mod node;
pub mod panel;
pub mod probe;
pub mod routing;
pub mod service_manager;
pub mod uplink;

use std::io;
use std::os::fd::{AsFd, AsRawFd};

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Ends a source: nobody takes its events any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("nobody takes the events any more")]
pub struct ReceiverGone;

impl From<ReceiverGone> for io::Error {
    fn from(gone: ReceiverGone) -> Self {
        Self::new(io::ErrorKind::BrokenPipe, gone)
    }
}

/// Waits for `inner` to become readable in the runtime's own poll.
pub(crate) fn readable<T: AsFd + AsRawFd>(inner: T) -> io::Result<AsyncFd<T>> {
    // SAFETY: the descriptor belongs to `inner` (`AsFd` vouches for that), which the `AsyncFd`
    // keeps and only lends out.
    Ok(unsafe { AsyncFd::register_with_interest(inner, Interest::READABLE) }?)
}
