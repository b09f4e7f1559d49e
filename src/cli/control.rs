//! Orders to the daemon over its control socket.

use std::io;
use std::path::{Path, PathBuf};

use super::{exit, settings};
use crate::api::client::ControlClient;
use crate::api::control::Order;

/// The control socket if the settings cannot be read.
const DEFAULT_SOCKET: &str = "/run/bramblegate/control.sock";

/// Returns the control socket of these settings.
pub fn configured_socket(config: &Path) -> PathBuf {
    settings::load(config)
        .map_or_else(|_| PathBuf::from(DEFAULT_SOCKET), |merged| merged.settings.sockets.control)
}

/// Sends one order and returns the daemon's answer: success, or why it refuses.
///
/// # Errors
/// The socket cannot be reached, or is not a control socket.
pub fn send(socket: &Path, order: &Order) -> io::Result<Result<(), String>> {
    ControlClient::connect(socket)?.send(order)
}

/// Returns the remedy for a socket that cannot be reached.
pub fn remedy(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::PermissionDenied => {
            "only root and the group bramblegate may do this: try sudo, or `sudo usermod -aG \
             bramblegate $USER` and log in again"
        }
        io::ErrorKind::TimedOut => {
            "the daemon hangs, or another program listens there: `systemctl status bramblegate` \
             shows it, `sudo systemctl restart bramblegate` ends it"
        }
        _ => {
            "start the daemon with `sudo systemctl start bramblegate`, or name its socket \
             (--socket PATH)"
        }
    }
}

/// Returns the exit code of a missing permission, if that is the error.
pub fn code(error: &io::Error) -> Option<u8> {
    (error.kind() == io::ErrorKind::PermissionDenied).then_some(exit::NO_PERMISSION)
}
