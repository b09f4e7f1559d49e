//! The one type of socket.

use std::fmt;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};

use netlink_sys::SocketAddr;
use netlink_sys::protocols::{
    NETLINK_KOBJECT_UEVENT, NETLINK_NETFILTER, NETLINK_ROUTE, NETLINK_USERSOCK,
};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::sockopt;
use socket2::{SockFilter, SockRef};

use crate::{Message, NetlinkError, Request, messages};

/// Room for one datagram. The kernel's hold at most 32 KiB (`netlink_dump` of
/// `net/netlink/af_netlink.c`).
pub(crate) const DATAGRAM: usize = 64 * 1024;
/// Room for a storm of some thousand messages, and for the answers to a transaction of thousands of
/// rules.
const BUFFER: usize = 4 * 1024 * 1024;
/// How often a dump that a change disturbed is tried before what came is taken.
const DUMP_TRIES: usize = 4;
/// An answer is there when the request has been sent; this bounds the wait where it is not.
const PATIENCE: Timespec = Timespec { tv_sec: 2, tv_nsec: 0 };
/// `MSG_DONTWAIT`
const DO_NOT_WAIT: i32 = 0x40;

/// Names what is spoken on a socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// `NETLINK_ROUTE`: links, addresses, routes, rules, neighbours.
    Route,
    /// `NETLINK_NETFILTER`: the rule set, connection tracking.
    Netfilter,
    /// `NETLINK_KOBJECT_UEVENT`: devices that come and go.
    Uevent,
    /// `NETLINK_USERSOCK`: between programs, for tests.
    User,
}

/// Holds what a listing gave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dump<T> {
    /// What was read, in the kernel's order.
    pub items: Vec<T>,
    /// `false`: it changed during each try (`NLM_F_DUMP_INTR`), and something may be missing.
    pub whole: bool,
}

/// Talks with the kernel: requests one at a time, and messages of the groups that it joined.
///
/// Reading never blocks. Answers of the kernel come with its reasons in words and without the
/// request (`NETLINK_EXT_ACK`, `NETLINK_CAP_ACK`, kernel ≥ 4.12), and what a listing is to be
/// restricted to is checked strictly (`NETLINK_GET_STRICT_CHK`, kernel ≥ 4.20); older kernels do
/// without.
pub struct Socket {
    socket: netlink_sys::Socket,
    port: u32,
    sequence: u32,
    /// a request did not come to its end: what was left of its answer is thrown away before the
    /// next
    unsettled: bool,
    /// The datagram that was read last; without capacity while the socket is idle.
    buffer: Vec<u8>,
}

impl fmt::Debug for Socket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Socket").field("port", &self.port).finish_non_exhaustive()
    }
}

impl Socket {
    /// Opens a socket that listens to these groups, numbers of `RTNLGRP_*` or `NFNLGRP_*` from 1 to
    /// 32; none for requests only. A group that the kernel does not know is passed over.
    ///
    /// # Errors
    /// The kernel does not speak the protocol, or a group needs a capability (`CAP_NET_ADMIN` for
    /// netfilter's).
    pub fn open(protocol: Protocol, groups: &[u32]) -> Result<Self, NetlinkError> {
        let mut socket = netlink_sys::Socket::new(match protocol {
            Protocol::Route => NETLINK_ROUTE,
            Protocol::Netfilter => NETLINK_NETFILTER,
            Protocol::Uevent => NETLINK_KOBJECT_UEVENT,
            Protocol::User => NETLINK_USERSOCK,
        })?;
        enlarge(&socket);
        // Older kernels lack some of these, and what they do is no condition for anything.
        let _ = socket.set_ext_ack(true);
        let _ = socket.set_cap_ack(true);
        let _ = socket.set_netlink_get_strict_chk(true);
        let bits = groups.iter().filter_map(|group| 1_u32.checked_shl(group.checked_sub(1)?));
        socket.bind(&SocketAddr::new(0, bits.fold(0, |all, bit| all | bit)))?;
        let mut address = SocketAddr::new(0, 0);
        socket.get_address(&mut address)?;
        let port = address.port_number();
        Ok(Self { socket, port, sequence: 0, unsettled: false, buffer: Vec::new() })
    }

    /// Returns the kernel's name of this socket (`nl_pid`); messages that it causes carry it.
    pub const fn port(&self) -> u32 {
        self.port
    }

    /// Lets the kernel drop messages of groups before they are queued; see [`crate::filter`].
    ///
    /// # Errors
    /// The kernel refused the program.
    pub fn attach(&self, filter: &[SockFilter]) -> Result<(), NetlinkError> {
        Ok(SockRef::from(&self.socket).attach_filter(filter)?)
    }

    /// Sends all of it in one system call.
    ///
    /// # Errors
    /// It does not fit into the send buffer (`EMSGSIZE`), or the socket failed.
    pub fn send(&self, bytes: &[u8]) -> Result<(), NetlinkError> {
        loop {
            match self.socket.send_to(bytes, &SocketAddr::new(0, 0), 0) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Ok(sent) if sent < bytes.len() => return Err(Errno::MSGSIZE.into()),
                other => return Ok(other.map(drop)?),
            }
        }
    }

    /// Returns the next datagram; `None`: there is none now.
    ///
    /// # Errors
    /// [`NetlinkError::Overrun`] once after messages were dropped; the socket failed.
    pub fn receive(&mut self) -> Result<Option<&[u8]>, NetlinkError> {
        let mut buffer = std::mem::take(&mut self.buffer);
        buffer.clear();
        let received = self.receive_into(&mut buffer);
        if received? {
            self.buffer = buffer;
            return Ok(Some(&self.buffer));
        }
        Ok(None)
    }

    /// Appends the next datagram to `buffer`. `false`: there is none now.
    pub(crate) fn receive_into(&self, buffer: &mut Vec<u8>) -> Result<bool, NetlinkError> {
        buffer.reserve(DATAGRAM);
        loop {
            match self.socket.recv(buffer, DO_NOT_WAIT) {
                Ok(_) => return Ok(true),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Throws away what waits.
    pub fn drain(&mut self) {
        while matches!(self.receive(), Ok(Some(_)) | Err(NetlinkError::Overrun)) {}
    }

    /// Sends a request and hands its answers to `each`; returns with the acknowledgement.
    ///
    /// # Errors
    /// The kernel refused ([`NetlinkError::Refused`]) or the socket failed.
    pub fn request(
        &mut self,
        request: &Request,
        mut each: impl FnMut(&Message<'_>),
    ) -> Result<(), NetlinkError> {
        if std::mem::replace(&mut self.unsettled, true) {
            self.drain();
        }
        self.sequence = self.sequence.wrapping_add(1).max(1);
        let sequence = self.sequence;
        self.send(&request.bytes(sequence))?;
        let outcome = loop {
            let mut messages = messages(self.answer()?).filter(|m| m.sequence == sequence);
            let last = messages.find_map(|message| {
                let outcome = message.outcome();
                if outcome.is_none() {
                    each(&message);
                }
                outcome
            });
            if let Some(outcome) = last {
                break outcome;
            }
        };
        self.unsettled = false;
        // A daemon has a dozen sockets, most of them idle.
        self.buffer = Vec::new();
        outcome
    }

    /// Lists all that `request` (with [`Request::dump`]) asks for; `read` makes items of each
    /// message. A listing that a change disturbed is thrown away and asked for again, four times at
    /// most.
    ///
    /// # Errors
    /// As [`Self::request`].
    pub fn dump<T, Items: IntoIterator<Item = T>>(
        &mut self,
        request: &Request,
        mut read: impl FnMut(&Message<'_>) -> Items,
    ) -> Result<Dump<T>, NetlinkError> {
        let mut dump = Dump { items: Vec::new(), whole: false };
        for _ in 0..DUMP_TRIES {
            dump.items.clear();
            dump.whole = true;
            self.request(request, |message| {
                dump.whole &= !message.is_interrupted();
                dump.items.extend(read(message));
            })?;
            if dump.whole {
                break;
            }
        }
        Ok(dump)
    }

    /// Returns the next datagram of an answer.
    fn answer(&mut self) -> Result<&[u8], NetlinkError> {
        let mut buffer = std::mem::take(&mut self.buffer);
        buffer.clear();
        let received = self.receive_or_wait(&mut buffer);
        self.buffer = buffer;
        if received? { Ok(&self.buffer) } else { Err(NetlinkError::NoAnswer) }
    }

    fn receive_or_wait(&self, buffer: &mut Vec<u8>) -> Result<bool, NetlinkError> {
        if self.receive_into(buffer)? {
            return Ok(true);
        }
        // Whether it waited in vain, or was interrupted, the next reading says.
        let _ = poll(&mut [PollFd::new(self, PollFlags::IN)], Some(&PATIENCE));
        self.receive_into(buffer)
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl AsRawFd for Socket {
    fn as_raw_fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}

/// Makes both buffers large. The forced forms need `CAP_NET_ADMIN` in the first user namespace;
/// without, what the system allows has to do, or has already done: an overrun costs a listing.
fn enlarge(socket: &netlink_sys::Socket) {
    if sockopt::set_socket_recv_buffer_size_force(socket, BUFFER).is_err() {
        let _ = sockopt::set_socket_recv_buffer_size(socket, BUFFER);
    }
    if sockopt::set_socket_send_buffer_size_force(socket, BUFFER).is_err() {
        let _ = sockopt::set_socket_send_buffer_size(socket, BUFFER);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rtnetlink::{self, Listing};

    #[test]
    fn a_listing_and_a_refusal_come_from_the_real_kernel() {
        let mut socket = Socket::open(Protocol::Route, &[]).unwrap();
        let read = |message: &Message<'_>| rtnetlink::link(message).map(|link| link.header.index);
        let links = socket.dump(&Listing::Links.request(), read).unwrap();
        assert!(links.whole && links.items.contains(&1), "{links:?}");
        let absent = rtnetlink::link_request(u32::MAX >> 1);
        let error = socket.request(&absent, |_| {}).unwrap_err();
        assert_eq!(error.errno(), Some(Errno::NODEV));
        assert!(socket.dump(&Listing::Addresses.request(), |_| Some(())).unwrap().whole);
    }

    #[test]
    fn an_idle_socket_holds_no_memory_for_datagrams() {
        let mut socket = Socket::open(Protocol::Route, &[]).unwrap();
        assert!(socket.dump(&Listing::Links.request(), |_| Some(())).unwrap().whole);
        assert_eq!(socket.buffer.capacity(), 0, "after a dump");
        socket.drain();
        assert_eq!(socket.buffer.capacity(), 0, "with nothing queued");
    }

    #[test]
    fn each_socket_has_a_port_of_its_own() {
        let [one, other] = [(); 2].map(|()| Socket::open(Protocol::Route, &[1]).unwrap());
        assert!(one.port() != 0 && one.port() != other.port());
    }
}
