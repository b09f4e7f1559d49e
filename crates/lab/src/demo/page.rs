//! The demo's status page in the browser of the machine itself: a listening socket that is made
//! outside, at the machine's loopback, and served by the program inside the namespaces.

use std::net::{Ipv4Addr, TcpListener};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use rustix::io::{FdFlags, fcntl_setfd};

/// Names the socket's descriptor and its port to the processes that this one starts.
pub const VARIABLE: &str = "BRAMBLEGATE_DEMO_PAGE";
/// Ports that are tried; the first is the page's usual other one.
const PORTS: std::ops::Range<u16> = 8080..8100;

/// A listening socket for processes that this one starts.
#[derive(Debug)]
pub struct Offer {
    listener: TcpListener,
    port: u16,
}

impl Offer {
    /// Listens at the first free port of the machine's loopback; `None` where none is.
    pub fn make() -> Option<Self> {
        let listener = PORTS
            .into_iter()
            .find_map(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).ok())?;
        let port = listener.local_addr().ok()?.port();
        fcntl_setfd(&listener, FdFlags::empty()).ok()?;
        Some(Self { listener, port })
    }

    /// Returns what [`VARIABLE`] holds.
    pub fn value(&self) -> String {
        format!("{} {}", self.listener.as_raw_fd(), self.port)
    }
}

/// Returns the socket that was offered to this process, and the page's URL. Only to be called once.
pub fn take() -> Option<(OwnedFd, String)> {
    let value = std::env::var(VARIABLE).ok()?;
    let (number, port) = value.split_once(' ')?;
    // SAFETY: the process that set the variable left the descriptor open for this one, which has
    // opened none of that number itself.
    let socket = unsafe { OwnedFd::from_raw_fd(number.parse().ok()?) };
    // One that is something else would be another process' mistake; the page's program refuses it.
    fcntl_setfd(&socket, FdFlags::CLOEXEC).ok()?;
    Some((socket, format!("http://127.0.0.1:{port}/")))
}
