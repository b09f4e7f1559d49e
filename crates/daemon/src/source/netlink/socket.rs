//! The two rtnetlink sockets: one that listens to groups, one for requests.
//!
//! A request is carried out within `sendmsg` and its answer is there at once, so [`Connection`] is plain and blocking:
//! nothing is waited for but the kernel's own work.

use std::fmt;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};

use netlink_sys::protocols::NETLINK_ROUTE;
use netlink_sys::{Socket, SocketAddr};
use rustix::io::Errno;
use rustix::net::sockopt;

use super::wire::{Attributes, Message, Messages, text_of, u32_at};

/// The kernel's datagrams hold at most 32 KiB.
pub const DATAGRAM: usize = 65_536;
/// Took a storm of 4,800 events where the default lost most.
const RECEIVE_BUFFER: usize = 4 << 20;
/// `MSG_DONTWAIT`
const DO_NOT_WAIT: i32 = 0x40;

/// `RTNLGRP_*` of `linux/rtnetlink.h`: link, IPv4 address, route, rule; IPv6 address, route, rule; IPv4 netconf.
pub const GROUPS: [u32; 8] = [1, 5, 7, 8, 9, 11, 19, 24];
/// `RTNLGRP_NEXTHOP`, since kernel 5.3
pub const NEXTHOPS: u32 = 32;
/// `RTNLGRP_NEIGH`: has a socket of its own, because it is the busiest by far
pub const NEIGHBOURS: [u32; 1] = [3];

/// `NLM_F_REQUEST`, `NLM_F_ACK`, `NLM_F_DUMP`, `NLM_F_DUMP_INTR`, `NLM_F_CAPPED`, `NLM_F_ACK_TLVS`
const REQUEST: u16 = 0x1;
const ACK: u16 = 0x4;
const DUMP: u16 = 0x300;
const DUMP_INTERRUPTED: u16 = 0x10;
const CAPPED: u16 = 0x100;
const ACK_ATTRIBUTES: u16 = 0x200;
/// `NLMSG_ERROR`, `NLMSG_DONE`
const ERROR: u16 = 2;
const DONE: u16 = 3;
/// `NLMSGERR_ATTR_MSG`
const ERROR_TEXT: u16 = 1;

/// How often an interrupted listing is tried before what came is taken.
const DUMP_TRIES: usize = 4;

/// What is listed, in this order.
pub const LISTINGS: [Listing; 5] =
    [Listing::LINKS, Listing::ADDRESSES, Listing::ROUTES, Listing::RULES, Listing { kind: 82, family: 2, header: 4 }];

/// One `RTM_GET*` with `NLM_F_DUMP`.
#[derive(Debug, Clone, Copy)]
pub struct Listing {
    /// `RTM_GETLINK` …
    pub kind: u16,
    /// `AF_UNSPEC` or `AF_INET`
    pub family: u8,
    /// bytes of `ifinfomsg`, `ifaddrmsg`, …; the family is the first
    pub header: usize,
}

impl Listing {
    pub const LINKS: Self = Self { kind: 18, family: 0, header: 16 };
    pub const ADDRESSES: Self = Self { kind: 22, family: 0, header: 8 };
    pub const ROUTES: Self = Self { kind: 26, family: 0, header: 12 };
    pub const RULES: Self = Self { kind: 34, family: 0, header: 12 };
    /// IPv4 only
    pub const NEIGHBOURS: Self = Self { kind: 30, family: 2, header: 12 };
}

/// The socket that hears of changes. Never blocks.
pub struct Groups(Socket);

impl Groups {
    pub fn subscribe(groups: &[u32]) -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_ROUTE)?;
        enlarge(&socket)?;
        socket.bind(&SocketAddr::new(0, 0))?;
        for group in groups {
            socket.add_membership(*group)?;
        }
        Ok(Self(socket))
    }

    /// Joins a group that older kernels do not have.
    pub fn subscribe_if_known(&self, group: u32) {
        let _ = self.0.add_membership(group);
    }

    /// One datagram into `buffer`.
    pub fn receive(&self, buffer: &mut Vec<u8>) -> io::Result<()> {
        buffer.clear();
        self.0.recv(buffer, DO_NOT_WAIT).map(|_| ())
    }

    /// Throws away what waits: a listing will tell it better.
    pub fn discard(&self, buffer: &mut Vec<u8>) {
        while match self.receive(buffer) {
            Ok(()) => true,
            Err(error) => is_overrun(&error),
        } {}
    }
}

impl AsFd for Groups {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl AsRawFd for Groups {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

/// The kernel had to drop messages.
pub fn is_overrun(error: &io::Error) -> bool {
    error.raw_os_error() == Some(Errno::NOBUFS.raw_os_error())
}

fn enlarge(socket: &Socket) -> io::Result<()> {
    if sockopt::set_socket_recv_buffer_size_force(socket, RECEIVE_BUFFER).is_err() {
        sockopt::set_socket_recv_buffer_size(socket, RECEIVE_BUFFER)?;
    }
    Ok(())
}

/// What the kernel answered to a request.
#[derive(Debug)]
pub enum RequestError {
    /// it refused: the error number and, where it gave one, its reason
    Refused { errno: Errno, reason: Option<String> },
    /// the socket itself failed
    Socket(io::Error),
}

impl RequestError {
    /// The error number, where the kernel answered with one.
    pub const fn errno(&self) -> Option<Errno> {
        match self {
            Self::Refused { errno, .. } => Some(*errno),
            Self::Socket(_) => None,
        }
    }
}

impl fmt::Display for RequestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused { errno, reason: None } => write!(f, "{}", io::Error::from(*errno)),
            Self::Refused { errno, reason: Some(reason) } => write!(f, "{} ({reason})", io::Error::from(*errno)),
            Self::Socket(error) => write!(f, "{error}"),
        }
    }
}

impl std::error::Error for RequestError {}

impl From<RequestError> for io::Error {
    fn from(error: RequestError) -> Self {
        match error {
            RequestError::Refused { errno, .. } => errno.into(),
            RequestError::Socket(error) => error,
        }
    }
}

/// A socket for requests, one at a time.
pub struct Connection {
    socket: Socket,
    sequence: u32,
    buffer: Vec<u8>,
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").field("sequence", &self.sequence).finish_non_exhaustive()
    }
}

impl Connection {
    /// # Errors
    /// No socket to be had.
    pub fn open() -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_ROUTE)?;
        socket.bind(&SocketAddr::new(0, 0))?;
        // Reasons in words and short answers; kernels before 4.12 do without.
        let _ = socket.set_ext_ack(true);
        let _ = socket.set_cap_ack(true);
        Ok(Self { socket, sequence: 0, buffer: Vec::with_capacity(DATAGRAM) })
    }

    /// Hands every message of a listing to `each`; asks again when it changed in the middle. `false`: it changed in each
    /// try, and something may be missing.
    ///
    /// # Errors
    /// The kernel refused, or the socket failed.
    pub fn dump(&mut self, listing: Listing, mut each: impl FnMut(&Message<'_>)) -> Result<bool, RequestError> {
        let mut body = vec![0; listing.header];
        if let Some(family) = body.first_mut() {
            *family = listing.family;
        }
        let mut held: Vec<(u16, u16, Vec<u8>)> = Vec::new();
        let mut interrupted = true;
        for _ in 0..DUMP_TRIES {
            held.clear();
            interrupted = false;
            self.exchange(listing.kind, DUMP, &body, |message| {
                interrupted |= message.flags & DUMP_INTERRUPTED != 0;
                held.push((message.kind, message.flags, message.payload.to_vec()));
            })?;
            if !interrupted {
                break;
            }
        }
        for (kind, flags, payload) in &held {
            each(&Message { kind: *kind, flags: *flags, sequence: self.sequence, payload });
        }
        Ok(!interrupted)
    }

    /// Sends one request and waits for its acknowledgement; other answers go to `each`.
    ///
    /// # Errors
    /// The kernel refused, or the socket failed.
    pub fn request(
        &mut self,
        kind: u16,
        flags: u16,
        body: &[u8],
        each: impl FnMut(&Message<'_>),
    ) -> Result<(), RequestError> {
        self.exchange(kind, flags | ACK, body, each)
    }

    fn exchange(
        &mut self,
        kind: u16,
        flags: u16,
        body: &[u8],
        mut each: impl FnMut(&Message<'_>),
    ) -> Result<(), RequestError> {
        self.sequence = self.sequence.wrapping_add(1);
        let length = u32::try_from(body.len() + 16).unwrap_or(u32::MAX);
        let mut bytes = Vec::with_capacity(body.len() + 16);
        bytes.extend(length.to_ne_bytes());
        bytes.extend(kind.to_ne_bytes());
        bytes.extend((flags | REQUEST).to_ne_bytes());
        bytes.extend(self.sequence.to_ne_bytes());
        bytes.extend(0_u32.to_ne_bytes());
        bytes.extend(body);
        self.socket.send_to(&bytes, &SocketAddr::new(0, 0), 0).map_err(RequestError::Socket)?;
        loop {
            self.buffer.clear();
            match self.socket.recv(&mut self.buffer, 0) {
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(RequestError::Socket(error)),
            }
            for message in Messages::new(&self.buffer).filter(|m| m.sequence == self.sequence) {
                match message.kind {
                    ERROR => return outcome(&message),
                    DONE => return Ok(()),
                    _ => each(&message),
                }
            }
        }
    }
}

/// `struct nlmsgerr`: the error number, the request's header, perhaps its body, then attributes.
fn outcome(message: &Message<'_>) -> Result<(), RequestError> {
    let code = message.payload.first_chunk().map_or(0, |bytes| i32::from_ne_bytes(*bytes));
    if code == 0 {
        return Ok(());
    }
    let reason = (message.flags & ACK_ATTRIBUTES != 0).then(|| {
        let request = u32_at(message.payload, 4).and_then(|n| usize::try_from(n).ok()).unwrap_or(16);
        let skip = if message.flags & CAPPED != 0 { 20 } else { 4 + request.next_multiple_of(4) };
        Attributes::after(message.payload, skip).find(ERROR_TEXT).map(text_of)
    });
    Err(RequestError::Refused { errno: Errno::from_raw_os_error(code.wrapping_neg()), reason: reason.flatten() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_reason_is_read_from_a_short_answer() {
        let mut payload = (-22_i32).to_ne_bytes().to_vec();
        payload.extend([0; 16]);
        payload.extend(8_u16.to_ne_bytes());
        payload.extend(ERROR_TEXT.to_ne_bytes());
        payload.extend(b"bad\0");
        let message = Message { kind: ERROR, flags: CAPPED | ACK_ATTRIBUTES, sequence: 1, payload: &payload };
        let error = outcome(&message).unwrap_err();
        assert_eq!(error.errno(), Some(Errno::INVAL));
        assert!(error.to_string().ends_with("(bad)"), "{error}");
    }

    #[test]
    fn an_acknowledgement_is_no_error() {
        let message = Message { kind: ERROR, flags: CAPPED, sequence: 1, payload: &[0; 20] };
        assert!(outcome(&message).is_ok());
    }
}
