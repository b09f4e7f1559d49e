//! nfnetlink (`linux/netfilter/nfnetlink.h`): a socket that never blocks, and the reading of messages.
//!
//! The kernel answers a request before `send` returns, so nothing here ever waits.

mod message;
mod request;

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

use rustix::buffer::spare_capacity;
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, bind, getsockname, netlink, recv, send, socket_with,
    sockopt,
};

pub use message::{Attribute, Attributes, Message, Nested, attributes, messages};
pub use request::Request;

/// `NFNL_SUBSYS_CTNETLINK`
pub const CTNETLINK: u16 = 1;
/// `NFNL_SUBSYS_NFTABLES`
pub const NFTABLES: u16 = 10;
/// Bit of `NFNLGRP_NFTABLES` (7) in a bind mask.
pub const GROUP_NFTABLES: u32 = 1 << 6;

/// The kernel sends at most this much in one datagram of a dump (`NLMSG_GOODSIZE` and more; 32 KiB since 3.16).
const DATAGRAM: usize = 64 * 1024;
/// Room for the answers to a transaction of thousands of rules, and for a storm of events.
const BUFFER: usize = 4 * 1024 * 1024;
/// How often a dump that was disturbed by a change is tried again.
const DUMP_TRIES: usize = 5;

/// A netlink socket of the netfilter protocol.
#[derive(Debug)]
pub struct Socket {
    fd: OwnedFd,
    port: u32,
    sequence: u32,
}

impl Socket {
    /// Opens one that listens to these groups (bits; 0 for requests only).
    ///
    /// # Errors
    /// `EPROTONOSUPPORT`: the kernel has no nfnetlink. `EPERM` where listening needs a capability.
    pub fn open(groups: u32) -> Result<Self, Errno> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let fd = socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, Some(netlink::NETFILTER))?;
        // The forced forms need CAP_NET_ADMIN in the first user namespace; without, what the system allows will do.
        if sockopt::set_socket_recv_buffer_size_force(&fd, BUFFER).is_err() {
            let _ = sockopt::set_socket_recv_buffer_size(&fd, BUFFER);
        }
        if sockopt::set_socket_send_buffer_size_force(&fd, BUFFER).is_err() {
            let _ = sockopt::set_socket_send_buffer_size(&fd, BUFFER);
        }
        bind(&fd, &netlink::SocketAddrNetlink::new(0, groups))?;
        let address = netlink::SocketAddrNetlink::try_from(getsockname(&fd)?)?;
        Ok(Self { fd, port: address.pid(), sequence: 0 })
    }

    /// The kernel's name of this socket (`nl_pid`); messages that it causes carry it.
    pub fn port(&self) -> u32 {
        self.port
    }

    /// A sequence number that was not used before on this socket.
    pub fn next_sequence(&mut self) -> u32 {
        self.sequence = self.sequence.wrapping_add(1).max(1);
        self.sequence
    }

    /// Sends all of it in one system call.
    pub fn send(&self, bytes: &[u8]) -> Result<(), Errno> {
        loop {
            match send(&self.fd, bytes, SendFlags::empty()) {
                Err(Errno::INTR) => {}
                Ok(sent) if sent < bytes.len() => return Err(Errno::MSGSIZE),
                other => return other.map(drop),
            }
        }
    }

    /// The next datagram, or `None` if there is none now. `ENOBUFS`: some were lost.
    pub fn receive(&self) -> Result<Option<Vec<u8>>, Errno> {
        let mut buffer = Vec::with_capacity(DATAGRAM);
        loop {
            match recv(&self.fd, spare_capacity(&mut buffer), RecvFlags::empty()) {
                Ok(_) => return Ok(Some(buffer)),
                Err(Errno::AGAIN) => return Ok(None),
                Err(Errno::INTR) => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Takes what may still lie in the queue from an earlier request.
    pub fn drain(&self) {
        while matches!(self.receive(), Ok(Some(_)) | Err(Errno::NOBUFS)) {}
    }

    /// Sends a request and passes every answering message to `each`; ends with the acknowledgement.
    ///
    /// # Errors
    /// What the kernel answered (`ENOENT` if the thing is not there, `EPERM`, …).
    pub fn ask(&mut self, request: &Request, mut each: impl FnMut(&Message<'_>)) -> Result<(), Errno> {
        let sequence = self.next_sequence();
        self.drain();
        self.send(&request.bytes(sequence))?;
        while let Some(datagram) = self.receive()? {
            for message in messages(&datagram).filter(|message| message.sequence == sequence) {
                match message.outcome() {
                    Some(Ok(())) => return Ok(()),
                    Some(Err(error)) => return Err(error),
                    None => each(&message),
                }
            }
        }
        Err(Errno::TIMEDOUT)
    }

    /// Lists everything that `request` (with `NLM_F_DUMP`) asks for. A listing that was disturbed by a change is
    /// thrown away and asked for again.
    pub fn dump<T>(
        &mut self,
        request: &Request,
        mut read: impl FnMut(&Message<'_>) -> Option<T>,
    ) -> Result<Vec<T>, Errno> {
        let mut list = Vec::new();
        for _ in 0..DUMP_TRIES {
            list.clear();
            let mut disturbed = false;
            self.ask(request, |message| {
                disturbed |= message.disturbed();
                list.extend(read(message));
            })?;
            if !disturbed {
                break;
            }
        }
        Ok(list)
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl AsRawFd for Socket {
    fn as_raw_fd(&self) -> RawFd {
        self.fd.as_raw_fd()
    }
}
