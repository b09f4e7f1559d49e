//! Blocking clients of the daemon's sockets, with timeouts in case the daemon hangs:
//! [`StatusClient`] reads the status, [`View`] keeps it up to date, [`Follower`] does both in a
//! thread for as long as a program runs, [`ControlClient`] sends orders.

mod control;
mod follow;
mod socket;
mod status;
#[cfg(test)]
mod tests;
mod view;

pub use control::ControlClient;
pub use follow::{Follower, Known, Step};
pub use socket::connect;
pub use status::{Error, Received, StatusClient};
pub use view::View;
