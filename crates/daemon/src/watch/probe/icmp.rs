//! The probe `icmp` (RFC 792, RFC 4443): pings all nodes through one socket per address family,
//! many per system call. A request carries node, round and try, so that a reply needs no look-up,
//! and a keyed hash of these and the node's address, so that replies of an earlier run, to another
//! program or from another node do not count.

use std::hash::{BuildHasher, RandomState};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use bramblegate_netlink::bpf::{
    accept, jump_if_equal, load_byte, load_byte_from_x, load_half, load_half_from_x,
    load_header_length, reject,
};
use socket2::{SockFilter, Socket};
use tracing::debug;

use super::batch::{RecvBuffer, SENDER, SENT_AT_ONCE, never_fragment, prepare, send, wall};
use super::echo::{self, TYPES_V4, TYPES_V6};
use super::{Key, Probe, Reply, Request, unguessable};
use crate::event::NodeId;

/// Socket buffer in bytes, for requests queued during ARP resolution of silent nodes (three seconds
/// each), and for bursts of replies.
const SOCKET_BUFFER: usize = 16 << 20;
/// Header, tag, slot, generation, turn, probe, try, two bytes of padding, time.
const LENGTH: usize = 8 + PAYLOAD;
const PAYLOAD: usize = TAG + 4 + 4 + 4 + 4 + 8;
/// Length of the keyed hash at the start of the payload, in bytes.
const TAG: usize = 8;

/// Implements the probe `icmp`.
#[derive(Debug, Default)]
pub struct IcmpProbe {
    /// For IPv4 and IPv6, opened on first use.
    sockets: [Option<PingSocket>; 2],
    denied: bool,
    received: RecvBuffer,
    seal: Seal,
}

/// Authenticates requests, so that a reply counts for its own node only. Holds the two random keys
/// of a SipHash, chosen anew at each start.
#[derive(Debug, Clone, Default)]
pub(super) struct Seal(RandomState);

impl Seal {
    /// Returns the tag for `content` sent to `node`. A node sees only its own requests, so it
    /// cannot know the tag of another.
    fn tag(&self, node: IpAddr, content: &[u8]) -> [u8; TAG] {
        self.0.hash_one((node, content)).to_be_bytes()
    }
}

#[derive(Debug)]
struct PingSocket {
    inner: Socket,
    identifier: u16,
}

impl PingSocket {
    fn open(ipv6: bool) -> io::Result<Self> {
        // Not bound to an interface: pings follow the routes of ordinary packets.
        let socket = echo::socket(ipv6, None)?;
        prepare(&socket, SOCKET_BUFFER);
        if !ipv6 {
            never_fragment(&socket);
        }
        let identifier = unguessable() as u16;
        if socket.r#type()? == socket2::Type::RAW {
            // A raw socket gets a copy of every ICMP message that this machine receives.
            if ipv6 {
                socket.attach_filter(&ipv6_replies_to(identifier))?;
            } else {
                socket.attach_filter(&replies_to(identifier))?;
            }
        }
        Ok(Self { inner: socket, identifier })
    }
}

/// Returns a filter that passes echo replies with this identifier.
fn replies_to(identifier: u16) -> [SockFilter; 7] {
    [
        load_header_length(0),
        load_byte_from_x(0),
        // Other types jump to the last instruction, which rejects.
        jump_if_equal(TYPES_V4.1.into(), 0, 3),
        load_half_from_x(4),
        jump_if_equal(identifier.into(), 0, 1),
        accept(u32::MAX),
        reject(),
    ]
}

/// Returns the same filter for IPv6, where raw sockets deliver messages without the IP header.
fn ipv6_replies_to(identifier: u16) -> [SockFilter; 6] {
    [
        load_byte(0),
        jump_if_equal(TYPES_V6.1.into(), 0, 3),
        load_half(4),
        jump_if_equal(identifier.into(), 0, 1),
        accept(u32::MAX),
        reject(),
    ]
}

impl IcmpProbe {
    /// Returns the socket of an address family; opens it if necessary.
    fn socket(&mut self, ipv6: bool) -> Option<&PingSocket> {
        let socket = self.sockets.get_mut(usize::from(ipv6))?;
        if socket.is_none() {
            let opened = PingSocket::open(ipv6);
            self.denied =
                opened.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::PermissionDenied);
            *socket = opened.inspect_err(|error| debug!(%error, "no socket for pings")).ok();
        }
        socket.as_ref()
    }

    /// Sends requests to nodes of one address family. Returns how many were accepted, and `false`
    /// if the queue was full.
    fn send_family(&mut self, requests: &[Request<'_>], ipv6: bool) -> (usize, bool) {
        let seal = self.seal.clone();
        // Without a socket none is sent, and so none answered.
        let Some(socket) = self.socket(ipv6) else { return (requests.len(), true) };
        let types = if ipv6 { TYPES_V6 } else { TYPES_V4 };
        let (mut accepted, mut sent) = (0, 0);
        for chunk in requests.chunks(SENT_AT_ONCE) {
            let now = wall();
            let datagram = |request: &Request<'_>| {
                let (key, node) = (request.key, request.address);
                let content = payload(&seal, node, key, now);
                let content = content.as_flattened();
                let message = echo::request(types.0, socket.identifier, key.turn as u16, content);
                (message, SocketAddr::from((node, 0)).into())
            };
            let datagrams: Vec<([u8; LENGTH], _)> = chunk.iter().map(datagram).collect();
            let mut rest = datagrams.as_slice();
            while !rest.is_empty() {
                match send(&socket.inner, rest) {
                    Ok(count) => {
                        (accepted, sent) = (accepted + count, sent + count);
                        rest = rest.get(count.max(1)..).unwrap_or_default();
                    }
                    // A full queue says nothing about a node.
                    Err(error) if is_full(&error) => return (accepted, false),
                    Err(_) => {
                        accepted += 1;
                        rest = rest.get(1..).unwrap_or_default();
                    }
                }
            }
        }
        if let (true, Some(socket)) = (sent == 0, self.sockets.get_mut(usize::from(ipv6))) {
            // Every send failed: open a new socket next time.
            *socket = None;
        }
        (accepted, true)
    }
}

impl Probe for IcmpProbe {
    fn send(&mut self, requests: &[Request<'_>], _port: &str) -> usize {
        let mut accepted = 0;
        for family in requests.chunk_by(|one, next| one.address.is_ipv6() == next.address.is_ipv6())
        {
            let ipv6 = family.first().is_some_and(|request| request.address.is_ipv6());
            let (count, has_room) = self.send_family(family, ipv6);
            accepted += count;
            if !has_room {
                break;
            }
        }
        accepted
    }

    fn receive(&mut self, replies: &mut Vec<Reply>) {
        let seal = &self.seal;
        for (ipv6, socket) in [false, true].into_iter().zip(&self.sockets) {
            let Some(socket) = socket else { continue };
            self.received.read(&socket.inner, |datagram| {
                let node = sender(datagram.from, ipv6);
                let reply = echo::answer(datagram.bytes, ipv6)
                    .and_then(|(_, payload)| read(payload, seal, node));
                let Some((key, sent)) = reply else { return };
                let rtt = datagram.at.checked_sub(sent);
                replies.push(Reply { key, rtt, from: Some(node) });
            });
        }
    }

    fn is_denied(&self) -> bool {
        self.denied
    }
}

/// Parses the address of a `sockaddr_in` or `sockaddr_in6`.
fn sender(from: &[u8; SENDER], ipv6: bool) -> IpAddr {
    let [_, _, _, _, a, b, c, d, rest @ ..] = *from;
    match rest.first_chunk::<16>() {
        Some(octets) if ipv6 => Ipv6Addr::from(*octets).into(),
        _ => Ipv4Addr::new(a, b, c, d).into(),
    }
}

/// Returns whether a queue was full: the socket's (`EAGAIN`) or the interface's (`ENOBUFS`).
pub(super) fn is_full(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::WouldBlock
        || error.raw_os_error() == Some(rustix::io::Errno::NOBUFS.raw_os_error())
}

/// Makes the payload of a request to `node`; `now` is the [`wall`] clock.
fn payload(seal: &Seal, node: IpAddr, key: Key, now: Duration) -> [[u8; 8]; PAYLOAD / 8] {
    let words = |high: u32, low: u32| (u64::from(high) << 32 | u64::from(low)).to_be_bytes();
    let nanos = u64::try_from(now.as_nanos()).unwrap_or(u64::MAX);
    let Key { node: id, turn, probe, nth } = key;
    let content = [
        words(id.slot, id.generation),
        words(turn, u32::from_be_bytes([probe, nth, 0, 0])),
        nanos.to_be_bytes(),
    ];
    let [whom, round, sent] = content;
    [seal.tag(node, content.as_flattened()), whom, round, sent]
}

/// Parses a payload into the request's key and send time, if we sent that request to `node`.
pub(super) fn read(payload: &[u8], seal: &Seal, node: IpAddr) -> Option<(Key, Duration)> {
    let (tag, content) = payload.split_at_checked(TAG).filter(|_| payload.len() == PAYLOAD)?;
    if tag != seal.tag(node, content) {
        return None;
    }
    let word = |at: usize| payload.get(at..)?.first_chunk().copied().map(u32::from_be_bytes);
    let nanos = u64::from_be_bytes(*payload.last_chunk()?);
    let key = Key {
        node: NodeId { slot: word(8)?, generation: word(12)? },
        turn: word(16)?,
        probe: *payload.get(20)?,
        nth: *payload.get(21)?,
    };
    Some((key, Duration::from_nanos(nanos)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn senders_of_both_families_are_parsed() {
        let read = |address: SocketAddr| {
            let address = socket2::SockAddr::from(address);
            let mut bytes = [0; SENDER];
            // SAFETY: `as_ptr` points to `len` initialised bytes.
            let from = unsafe {
                std::slice::from_raw_parts(address.as_ptr().cast::<u8>(), address.len() as usize)
            };
            bytes[..from.len()].copy_from_slice(from);
            sender(&bytes, address.is_ipv6())
        };
        for text in ["192.168.50.11:7", "[fd12::7]:7"] {
            let address: SocketAddr = text.parse().unwrap();
            assert_eq!(read(address), address.ip());
        }
    }

    proptest! {
        #[test]
        fn a_reply_counts_for_its_own_node_only(
            slot: u32, generation: u32, turn: u32, probe: u8, nth: u8, nanos in 0..u64::MAX / 2, others: [u8; 4]
        ) {
            let (seal, asked) = (Seal::default(), IpAddr::from([192, 168, 50, 11]));
            let key = Key { node: NodeId { slot, generation }, turn, probe, nth };
            let now = Duration::from_nanos(nanos);
            let content = payload(&seal, asked, key, now);
            let mut message = echo::request::<LENGTH>(TYPES_V4.0, 1, 2, content.as_flattened());
            message[0] = TYPES_V4.1;
            let (_, answered) = echo::answer(&message, false).unwrap();
            prop_assert_eq!(read(answered, &seal, asked), Some((key, now)));
            prop_assert_eq!(read(answered, &Seal::default(), asked), None, "an answer to an earlier run");
            let other = IpAddr::from(others);
            if other != asked {
                prop_assert_eq!(read(answered, &seal, other), None, "an answer of another node's address");
            }
            // A node that alters its own request.
            for at in TAG..PAYLOAD {
                let mut forged = answered.to_vec();
                forged[at] ^= 1 + (others[0] & 0x7f);
                prop_assert_eq!(read(&forged, &seal, asked), None, "byte {} is another", at);
            }
        }

        #[test]
        fn arbitrary_payloads_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            read(&bytes, &Seal::default(), Ipv4Addr::LOCALHOST.into());
        }
    }
}
