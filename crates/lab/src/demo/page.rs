//! The demo's status page for the machine's own browser: a listening socket that is opened outside,
//! on the machine's loopback, and served by the program inside the namespaces.

use std::net::{Ipv4Addr, TcpListener};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use rustix::io::{FdFlags, fcntl_setfd};

/// Environment variable with the socket's descriptor and port, for child processes.
pub const VARIABLE: &str = "BRAMBLEGATE_DEMO_PAGE";
/// Ports that are tried; the first is the page's usual alternative port.
const PORTS: std::ops::Range<u16> = 8080..8100;

/// A listening socket for child processes.
#[derive(Debug)]
pub struct Offer {
    listener: TcpListener,
    port: u16,
}

impl Offer {
    /// Listens on the first free port of the machine's loopback; `None` if none is free.
    pub fn make() -> Option<Self> {
        let listener = PORTS
            .into_iter()
            .find_map(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).ok())?;
        let port = listener.local_addr().ok()?.port();
        fcntl_setfd(&listener, FdFlags::empty()).ok()?;
        Some(Self { listener, port })
    }

    /// Returns the value of [`VARIABLE`].
    pub fn value(&self) -> String {
        format!("{} {}", self.listener.as_raw_fd(), self.port)
    }
}

/// Takes the socket that was passed to this process, with the page's URL. Must be called only once.
pub fn take() -> Option<(OwnedFd, String)> {
    let value = std::env::var(VARIABLE).ok()?;
    let (number, port) = value.split_once(' ')?;
    // SAFETY: the process that set the variable left the descriptor open for this one, which owns
    // no other descriptor of that number.
    let socket = unsafe { OwnedFd::from_raw_fd(number.parse().ok()?) };
    // The page's program rejects anything but a listening socket.
    fcntl_setfd(&socket, FdFlags::CLOEXEC).ok()?;
    Some((socket, format!("http://127.0.0.1:{port}/")))
}
