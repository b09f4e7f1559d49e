//! The netlink socket.

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

/// Capacity for one datagram. The kernel's are at most 32 KiB (`netlink_dump` in
/// `net/netlink/af_netlink.c`).
pub(crate) const DATAGRAM: usize = 64 * 1024;
/// Socket buffer size: holds a storm of several thousand messages, and the replies to a transaction
/// of thousands of rules.
const BUFFER: usize = 4 * 1024 * 1024;
/// Attempts at a dump that changes interrupt, before an incomplete one is returned.
const DUMP_TRIES: usize = 4;
/// How long to wait for a reply. Normally it is queued when the send returns.
const REPLY_TIMEOUT: Timespec = Timespec { tv_sec: 2, tv_nsec: 0 };
/// `linux/socket.h`.
const MSG_DONTWAIT: i32 = 0x40;

/// The netlink protocol of a socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// `NETLINK_ROUTE`: links, addresses, routes, rules, neighbours.
    Route,
    /// `NETLINK_NETFILTER`: the rule set, connection tracking.
    Netfilter,
    /// `NETLINK_KOBJECT_UEVENT`: devices added and removed.
    Uevent,
    /// `NETLINK_USERSOCK`: between programs, for tests.
    User,
}

/// The result of a dump.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dump<T> {
    /// The items, in the kernel's order.
    pub items: Vec<T>,
    /// `false` if changes interrupted each attempt (`NLM_F_DUMP_INTR`), so that items may be
    /// missing.
    pub whole: bool,
}

/// A netlink socket, for requests, one at a time, and for multicast messages.
///
/// Reading never blocks. Replies have the kernel's reason as text and omit the request
/// (`NETLINK_EXT_ACK`, `NETLINK_CAP_ACK`, kernel ≥ 4.12), and dump filters are checked strictly
/// (`NETLINK_GET_STRICT_CHK`, kernel ≥ 4.20), where the kernel supports it.
pub struct Socket {
    socket: netlink_sys::Socket,
    port: u32,
    sequence: u32,
    /// A request did not complete: the rest of its reply has to be drained before the next.
    is_incomplete: bool,
    /// The datagram that was read last; without capacity while the socket is idle.
    buffer: Vec<u8>,
}

impl fmt::Debug for Socket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Socket").field("port", &self.port).finish_non_exhaustive()
    }
}

impl Socket {
    /// Opens a socket with these multicast groups, `RTNLGRP_*` or `NFNLGRP_*` from 1 to 32; none
    /// for requests only. Groups that the kernel does not know are ignored.
    ///
    /// # Errors
    /// The kernel does not support the protocol, or a group requires a capability (netfilter's
    /// `CAP_NET_ADMIN`).
    pub fn open(protocol: Protocol, groups: &[u32]) -> Result<Self, NetlinkError> {
        let mut socket = netlink_sys::Socket::new(match protocol {
            Protocol::Route => NETLINK_ROUTE,
            Protocol::Netfilter => NETLINK_NETFILTER,
            Protocol::Uevent => NETLINK_KOBJECT_UEVENT,
            Protocol::User => NETLINK_USERSOCK,
        })?;
        enlarge_buffers(&socket);
        // Older kernels lack some of these options, and nothing depends on them.
        let _ = socket.set_ext_ack(true);
        let _ = socket.set_cap_ack(true);
        let _ = socket.set_netlink_get_strict_chk(true);
        let bits = groups.iter().filter_map(|group| 1_u32.checked_shl(group.checked_sub(1)?));
        socket.bind(&SocketAddr::new(0, bits.fold(0, |all, bit| all | bit)))?;
        let mut address = SocketAddr::new(0, 0);
        socket.get_address(&mut address)?;
        let port = address.port_number();
        Ok(Self { socket, port, sequence: 0, is_incomplete: false, buffer: Vec::new() })
    }

    /// Returns the socket for requests that `kept` holds, which the first call opens.
    ///
    /// # Errors
    /// As [`Socket::open`].
    pub fn keep(kept: &mut Option<Self>, protocol: Protocol) -> Result<&mut Self, NetlinkError> {
        match kept {
            Some(socket) => Ok(socket),
            none => Ok(none.insert(Self::open(protocol, &[])?)),
        }
    }

    /// Returns the port of this socket (`nl_pid`), which the messages about its changes carry.
    pub const fn port(&self) -> u32 {
        self.port
    }

    /// Attaches a filter that drops multicast messages before they are queued; see
    /// [`crate::filter`].
    ///
    /// # Errors
    /// The kernel rejected the filter.
    pub fn attach(&self, filter: &[SockFilter]) -> Result<(), NetlinkError> {
        Ok(SockRef::from(&self.socket).attach_filter(filter)?)
    }

    /// Sends all bytes in one system call.
    ///
    /// # Errors
    /// They exceed the send buffer (`EMSGSIZE`), or the socket failed.
    pub fn send(&self, bytes: &[u8]) -> Result<(), NetlinkError> {
        loop {
            match self.socket.send_to(bytes, &SocketAddr::new(0, 0), 0) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Ok(sent) if sent < bytes.len() => return Err(Errno::MSGSIZE.into()),
                other => return Ok(other.map(drop)?),
            }
        }
    }

    /// Returns the next datagram; `None` if none is queued.
    ///
    /// # Errors
    /// [`NetlinkError::Overrun`], once, after messages were dropped; or the socket failed.
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

    /// Appends the next datagram to `buffer`. Returns `false` if none is queued.
    pub(crate) fn receive_into(&self, buffer: &mut Vec<u8>) -> Result<bool, NetlinkError> {
        buffer.reserve(DATAGRAM);
        loop {
            match self.socket.recv(buffer, MSG_DONTWAIT) {
                Ok(_) => return Ok(true),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Discards all queued datagrams.
    pub fn drain(&mut self) {
        while matches!(self.receive(), Ok(Some(_)) | Err(NetlinkError::Overrun)) {}
    }

    /// Sends a request, passes the replies to `each`, and returns with the acknowledgement.
    ///
    /// # Errors
    /// The kernel rejected it, or it lacks an attribute ([`NetlinkError::Refused`]), or the socket
    /// failed.
    pub fn request(
        &mut self,
        request: &Request,
        mut each: impl FnMut(&Message<'_>),
    ) -> Result<(), NetlinkError> {
        request.check()?;
        if std::mem::replace(&mut self.is_incomplete, true) {
            self.drain();
        }
        self.sequence = self.sequence.wrapping_add(1).max(1);
        let sequence = self.sequence;
        self.send(&request.bytes(sequence))?;
        let outcome = loop {
            let mut messages = messages(self.receive_reply()?).filter(|m| m.sequence == sequence);
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
        self.is_incomplete = false;
        // A daemon has a dozen sockets, most of them idle.
        self.buffer = Vec::new();
        outcome
    }

    /// Executes a dump `request` (see [`Request::dump`]); `read` parses each message. A dump that a
    /// change interrupted is repeated, up to four attempts in total.
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

    /// Returns the next datagram of a reply.
    fn receive_reply(&mut self) -> Result<&[u8], NetlinkError> {
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
        // The next read shows whether it timed out or was interrupted.
        let _ = poll(&mut [PollFd::new(self, PollFlags::IN)], Some(&REPLY_TIMEOUT));
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

/// Enlarges both buffers. The forced forms need `CAP_NET_ADMIN` in the initial user namespace;
/// without it the system's limit applies, and an overrun costs a new dump.
fn enlarge_buffers(socket: &netlink_sys::Socket) {
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
    fn the_real_kernel_answers_a_dump_and_rejects_a_request() {
        let mut socket = Socket::open(Protocol::Route, &[]).unwrap();
        let read = |message: &Message<'_>| rtnetlink::link(message).map(|link| link.header.index);
        let links = socket.dump(&Listing::Links.request(), read).unwrap();
        assert!(links.whole && links.items.contains(&1), "{links:?}");
        let absent = rtnetlink::link_request(u32::MAX >> 1);
        let error = socket.request(&absent, |_| {}).unwrap_err();
        assert_eq!(error.errno(), Some(Errno::NODEV));
        let long = rtnetlink::link_request(1).attribute(3, &[b'x'; 70_000]);
        let error = socket.request(&long, |_| {}).unwrap_err();
        assert_eq!(error.errno(), Some(Errno::MSGSIZE), "never sent");
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
