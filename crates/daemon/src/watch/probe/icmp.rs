//! `icmp`: all nodes are asked through one socket of each family, many by one call. A request carries
//! whom, in which round and at which try it asks, so that an answer needs no search, and a keyed hash
//! of that and of the node's address: no answer of an earlier run, of another program, or of another
//! node counts (RFC 792, RFC 4443).

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
use super::{Answer, Key, Probe, Question, unguessable};
use crate::event::NodeId;

/// For as many requests as wait for nodes that do not answer ARP (three seconds each), and for
/// bursts of replies.
const ROOM: usize = 16 << 20;
/// Header, tag, slot, generation, turn, probe, try, two bytes of nothing, time.
const LENGTH: usize = 8 + PAYLOAD;
const PAYLOAD: usize = TAG + 4 + 4 + 4 + 4 + 8;
/// Bytes of the keyed hash that precedes the rest.
const TAG: usize = 8;

/// Asks by ICMP echo (`icmp`).
#[derive(Debug, Default)]
pub struct IcmpProbe {
    /// of IPv4, and of IPv6 once a node has nothing else
    sockets: [Option<PingSocket>; 2],
    denied: bool,
    received: RecvBuffer,
    /// random, of this run
    seal: Seal,
}

/// Marks requests so that the answer to one counts for no other node. Holds the two random keys of
/// a SipHash.
#[derive(Debug, Clone, Default)]
pub(super) struct Seal(RandomState);

impl Seal {
    /// Returns the tag of what is sent to `node`. A node sees only what is sent to itself, so it
    /// cannot know another's.
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
        // Unbound: by the way that everybody's packets go.
        let socket = echo::socket(ipv6, None)?;
        prepare(&socket, ROOM);
        if !ipv6 {
            never_fragment(&socket);
        }
        let [high, low, ..] = unguessable().to_ne_bytes();
        let identifier = u16::from_ne_bytes([high, low]);
        if socket.r#type()? == socket2::Type::RAW {
            // A raw socket gets a copy of every ICMP message of this machine.
            if ipv6 {
                socket.attach_filter(&ipv6_replies_to(identifier))?;
            } else {
                socket.attach_filter(&replies_to(identifier))?;
            }
        }
        Ok(Self { inner: socket, identifier })
    }
}

/// Lets echo replies with this identifier through.
fn replies_to(identifier: u16) -> [SockFilter; 7] {
    [
        load_header_length(0),
        load_byte_from_x(0),
        // An echo reply is type 0; else to the last, which lets nothing through.
        jump_if_equal(TYPES_V4.1.into(), 0, 3),
        load_half_from_x(4),
        jump_if_equal(identifier.into(), 0, 1),
        accept(u32::MAX),
        reject(),
    ]
}

/// The same of IPv6, where a raw socket's messages begin behind the IP header.
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
    /// Returns the socket of a family; a new one where the old one was of no use.
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

    /// Asks nodes of one family, which come one after the other, and returns how many were taken;
    /// `false`: there was no room for the next.
    fn ask_family(&mut self, questions: &[Question<'_>], ipv6: bool) -> (usize, bool) {
        let seal = self.seal.clone();
        // Without a socket all of them go unanswered.
        let Some(socket) = self.socket(ipv6) else { return (questions.len(), true) };
        let types = if ipv6 { TYPES_V6 } else { TYPES_V4 };
        let (mut taken, mut went) = (0, 0);
        for chunk in questions.chunks(SENT_AT_ONCE) {
            let now = wall();
            let datagram = |question: &Question<'_>| {
                let (key, node) = (question.key, question.address);
                let content = payload(&seal, node, key, now);
                let content = content.as_flattened();
                let message = echo::request(types.0, socket.identifier, key.turn as u16, content);
                (message, SocketAddr::from((node, 0)).into())
            };
            let datagrams: Vec<([u8; LENGTH], _)> = chunk.iter().map(datagram).collect();
            let mut rest = datagrams.as_slice();
            while !rest.is_empty() {
                match send(&socket.inner, rest) {
                    Ok(sent) => {
                        (taken, went) = (taken + sent, went + sent);
                        rest = rest.get(sent.max(1)..).unwrap_or_default();
                    }
                    // No room: that says nothing of a node.
                    Err(error) if is_full(&error) => return (taken, false),
                    Err(_) => {
                        taken += 1;
                        rest = rest.get(1..).unwrap_or_default();
                    }
                }
            }
        }
        if let (true, Some(socket)) = (went == 0, self.sockets.get_mut(usize::from(ipv6))) {
            // Of no use now, whatever the reason.
            *socket = None;
        }
        (taken, true)
    }
}

impl Probe for IcmpProbe {
    fn ask(&mut self, questions: &[Question<'_>], _port: &str) -> usize {
        let mut taken = 0;
        for family in
            questions.chunk_by(|one, next| one.address.is_ipv6() == next.address.is_ipv6())
        {
            let ipv6 = family.first().is_some_and(|question| question.address.is_ipv6());
            let (asked, all) = self.ask_family(family, ipv6);
            taken += asked;
            if !all {
                break;
            }
        }
        taken
    }

    fn answers(&mut self, answered: &mut Vec<Answer>) {
        let seal = &self.seal;
        for (ipv6, socket) in [false, true].into_iter().zip(&self.sockets) {
            let Some(socket) = socket else { continue };
            self.received.read(&socket.inner, |datagram| {
                let node = sender(datagram.from, ipv6);
                let reply = echo::answer(datagram.bytes, ipv6)
                    .and_then(|(_, payload)| read(payload, seal, node));
                let Some((key, sent)) = reply else { return };
                let rtt = datagram.at.checked_sub(sent);
                answered.push(Answer { key, rtt, from: Some(node) });
            });
        }
    }

    fn is_denied(&self) -> bool {
        self.denied
    }
}

/// Returns the address of a `sockaddr_in` or a `sockaddr_in6`.
fn sender(from: &[u8; SENDER], ipv6: bool) -> IpAddr {
    let [_, _, _, _, a, b, c, d, rest @ ..] = *from;
    match rest.first_chunk::<16>() {
        Some(octets) if ipv6 => Ipv6Addr::from(*octets).into(),
        _ => Ipv4Addr::new(a, b, c, d).into(),
    }
}

/// Returns whether there was no room. `ENOBUFS` is the port's own queue.
pub(super) fn is_full(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::WouldBlock
        || error.raw_os_error() == Some(rustix::io::Errno::NOBUFS.raw_os_error())
}

/// Returns the payload of a request to `node`. `now` is [`wall`]'s.
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

/// Returns what was asked, and when, if it was us who asked it, and asked `node`.
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
    fn the_sender_is_read_of_either_family() {
        let read = |address: SocketAddr| {
            let address = socket2::SockAddr::from(address);
            let mut bytes = [0; SENDER];
            // SAFETY: an address lies there in so many initialised octets.
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
        fn what_is_asked_comes_back_and_counts_for_no_other_node(
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
            // A node that changes in its own request whom it is about.
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
