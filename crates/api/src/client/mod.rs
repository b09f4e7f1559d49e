//! Blocking clients of the daemon's sockets, whose waiting ends also where a daemon hangs:
//! [`StatusClient`] reads the status, [`View`] keeps it up to date, [`ControlClient`] sends orders.

mod control;
mod socket;
mod status;
#[cfg(test)]
mod tests;
mod view;

pub use control::ControlClient;
pub use socket::connect;
pub use status::{Error, Received, StatusClient};
pub use view::View;
