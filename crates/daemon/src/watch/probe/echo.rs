//! ICMP echo (RFC 792, RFC 4443): the messages, and a socket that pings one host at a time,
//! optionally bound to an interface.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::time::{Duration, SystemTime};

use rustix::ioctl;
use rustix::net::{RecvFlags, recvfrom};
use socket2::{Domain, Protocol, Socket, Type};

use super::unguessable;
use crate::packet::checksum;

/// `ICMP_ECHO`, `ICMP_ECHOREPLY`; `ICMPV6_ECHO_REQUEST`, `ICMPV6_ECHO_REPLY`.
pub(super) const TYPES_V4: (u8, u8) = (8, 0);
pub(super) const TYPES_V6: (u8, u8) = (128, 129);
const HEADER: usize = 8;

/// Holds a non-blocking socket for echo requests and replies.
#[derive(Debug)]
pub struct Echo {
    socket: Socket,
    ipv6: bool,
    identifier: u16,
    cookie: [u8; 8],
    sequence: u16,
}

/// Holds an echo reply to one of our requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reply {
    pub from: IpAddr,
    pub sequence: u16,
    /// Arrival time, by the wall clock.
    pub at: SystemTime,
}

impl Echo {
    /// Opens a socket, optionally bound to the interface `port` and the address `source`.
    ///
    /// # Errors
    /// The interface does not exist, or permission is missing (CAP_NET_RAW).
    pub fn open(ipv6: bool, port: Option<&str>, source: Option<IpAddr>) -> io::Result<Self> {
        let socket = socket(ipv6, port)?;
        if let Some(source) = source.filter(|source| source.is_ipv6() == ipv6) {
            socket.bind(&SocketAddr::new(source, 0).into())?;
        }
        let cookie = unguessable().to_ne_bytes();
        let identifier = unguessable() as u16;
        let echo = Self { socket, ipv6, identifier, cookie, sequence: 0 };
        // The first SIOCGSTAMPNS enables timestamps, and fails for lack of one.
        let _ = echo.arrival();
        Ok(echo)
    }

    /// Sends one request. Returns its sequence number.
    ///
    /// # Errors
    /// There is no route or interface, or the queue is full.
    pub fn send(&mut self, to: SocketAddr) -> io::Result<u16> {
        self.sequence = self.sequence.wrapping_add(1);
        let types = if self.ipv6 { TYPES_V6 } else { TYPES_V4 };
        let message = request::<16>(types.0, self.identifier, self.sequence, &self.cookie);
        self.socket.send_to(&message, &to.into())?;
        Ok(self.sequence)
    }

    /// Returns the next queued reply to one of our requests; skips other messages.
    pub fn receive(&self) -> Option<Reply> {
        let mut buffer = [0; 256];
        loop {
            let (length, _, from) =
                recvfrom(&self.socket, &mut buffer, RecvFlags::DONTWAIT).ok()?;
            let from = SocketAddr::try_from(from?).ok()?.ip();
            let sequence =
                buffer.get(..length).and_then(|bytes| reply(bytes, self.ipv6, self.cookie));
            if let Some(sequence) = sequence {
                return Some(Reply {
                    from,
                    sequence,
                    at: self.arrival().unwrap_or_else(SystemTime::now),
                });
            }
        }
    }

    /// Returns the arrival time of the last packet read (`SIOCGSTAMPNS_NEW`, kernel ≥ 5.1).
    fn arrival(&self) -> Option<SystemTime> {
        const SIOCGSTAMPNS_NEW: ioctl::Opcode = ioctl::opcode::read::<[i64; 2]>(0x89, 7);
        // SAFETY: the opcode writes one `__kernel_timespec`, two `i64`, into the memory that
        // `Getter` gives it.
        let [seconds, nanos] = unsafe {
            ioctl::ioctl(&self.socket, ioctl::Getter::<SIOCGSTAMPNS_NEW, [i64; 2]>::new())
        }
        .ok()?;
        let since = Duration::new(u64::try_from(seconds).ok()?, u32::try_from(nanos).ok()?);
        Some(SystemTime::UNIX_EPOCH + since)
    }
}

impl AsFd for Echo {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl AsRawFd for Echo {
    fn as_raw_fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}

/// Opens a socket for echo messages, optionally bound to an interface.
///
/// # Errors
/// The interface does not exist, or permission is missing (CAP_NET_RAW).
pub(super) fn socket(ipv6: bool, port: Option<&str>) -> io::Result<Socket> {
    let (domain, protocol) =
        if ipv6 { (Domain::IPV6, Protocol::ICMPV6) } else { (Domain::IPV4, Protocol::ICMPV4) };
    // A ping socket (`net.ipv4.ping_group_range`) gets only its own replies.
    let socket = Socket::new(domain, Type::DGRAM, Some(protocol))
        .or_else(|_| Socket::new(domain, Type::RAW, Some(protocol)))?;
    socket.set_nonblocking(true)?;
    socket.bind_device(port.map(str::as_bytes))?;
    Ok(socket)
}

/// Makes an echo request of `N` bytes with its checksum. On a ping socket the kernel replaces
/// identifier and checksum.
pub(super) fn request<const N: usize>(
    kind: u8,
    identifier: u16,
    sequence: u16,
    payload: &[u8],
) -> [u8; N] {
    let [i, j] = identifier.to_be_bytes();
    let [s, t] = sequence.to_be_bytes();
    let mut message = [0; N];
    if let Some((header, rest)) = message.split_first_chunk_mut() {
        *header = [kind, 0, 0, 0, i, j, s, t];
        rest.iter_mut().zip(payload).for_each(|(place, byte)| *place = *byte);
    }
    let [high, low] = checksum(&message).to_be_bytes();
    if let Some(header) = message.first_chunk_mut() {
        *header = [kind, 0, high, low, i, j, s, t];
    }
    message
}

/// Parses an echo reply into sequence number and payload. On raw IPv4 sockets the IP header
/// precedes it.
pub(super) fn answer(bytes: &[u8], ipv6: bool) -> Option<(u16, &[u8])> {
    let first = *bytes.first()?;
    let bytes =
        if !ipv6 && first >> 4 == 4 { bytes.get(usize::from(first & 0xf) * 4..)? } else { bytes };
    let wanted = if ipv6 { TYPES_V6.1 } else { TYPES_V4.1 };
    match *bytes.first_chunk::<HEADER>()? {
        [kind, 0, _, _, _, _, high, low] if kind == wanted => {
            Some((u16::from_be_bytes([high, low]), bytes.get(HEADER..)?))
        }
        _ => None,
    }
}

/// Returns the sequence number of a reply whose payload is our cookie.
pub(super) fn reply(bytes: &[u8], ipv6: bool, cookie: [u8; 8]) -> Option<u16> {
    answer(bytes, ipv6).filter(|(_, payload)| *payload == cookie).map(|(sequence, _)| sequence)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const COOKIE: [u8; 8] = *b"bramble!";

    fn answered(ipv6: bool) -> Vec<u8> {
        let mut bytes = request::<16>(if ipv6 { 128 } else { 8 }, 1, 513, &COOKIE).to_vec();
        bytes[0] = if ipv6 { 129 } else { 0 };
        bytes
    }

    #[test]
    fn the_checksum_of_a_whole_request_is_zero() {
        assert_eq!(checksum(&request::<16>(8, 0x1234, 7, &COOKIE)), 0);
        // The example of RFC 1071, section 3, and an odd length.
        assert_eq!(checksum(&[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7]), !0xddf2);
        assert_eq!(checksum(&[0xff, 0xff, 0x12]), !0x1200);
    }

    #[test]
    fn a_reply_is_recognised_by_its_cookie_with_and_without_ip_header() {
        assert_eq!(reply(&answered(false), false, COOKIE), Some(513));
        let mut with_header = vec![0x45];
        with_header.resize(20, 0);
        with_header.extend(answered(false));
        assert_eq!(reply(&with_header, false, COOKIE), Some(513));
        assert_eq!(reply(&answered(true), true, COOKIE), Some(513));
        assert_eq!(reply(&answered(false), false, *b"not ours"), None);
        assert_eq!(
            reply(&request::<16>(8, 1, 513, &COOKIE), false, COOKIE),
            None,
            "the request itself"
        );
    }

    proptest! {
        #[test]
        fn arbitrary_packets_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..80), ipv6: bool) {
            reply(&bytes, ipv6, COOKIE);
        }
    }
}
