//! `icmp`: all nodes are asked through one socket, many by one call. A request carries whom, in
//! which round and at which try it asks, so that an answer needs no search, and a keyed hash of
//! that and of the node's address: no answer of an earlier run, of another program, or of another
//! node counts. Only ICMP of IPv4 (RFC 792): a node of another family goes unanswered.

use std::hash::{BuildHasher, RandomState};
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use bramblegate_netlink::bpf::{
    accept, jump_if_equal, load_byte_from_x, load_half_from_x, load_header_length, reject,
};
use socket2::{SockFilter, Socket};
use tracing::debug;

use super::batch::{RecvBuffer, SENT_AT_ONCE, never_fragment, prepare, send, wall};
use super::echo::{self, TYPES_V4};
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
    socket: Option<PingSocket>,
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
    fn tag(&self, node: Ipv4Addr, content: &[u8]) -> [u8; TAG] {
        self.0.hash_one((node, content)).to_be_bytes()
    }
}

#[derive(Debug)]
struct PingSocket {
    inner: Socket,
    identifier: u16,
}

impl PingSocket {
    fn open() -> io::Result<Self> {
        // Unbound: by the way that everybody's packets go.
        let socket = echo::socket(false, None)?;
        prepare(&socket, ROOM);
        never_fragment(&socket);
        let [high, low, ..] = unguessable().to_ne_bytes();
        let identifier = u16::from_ne_bytes([high, low]);
        if socket.r#type()? == socket2::Type::RAW {
            // A raw socket gets a copy of every ICMP message of this machine.
            socket.attach_filter(&replies_to(identifier))?;
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

impl IcmpProbe {
    /// Returns the socket; a new one where the old one was of no use.
    fn socket(&mut self) -> Option<&PingSocket> {
        if self.socket.is_none() {
            let opened = PingSocket::open();
            self.denied =
                opened.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::PermissionDenied);
            self.socket = opened.inspect_err(|error| debug!(%error, "no socket for pings")).ok();
        }
        self.socket.as_ref()
    }
}

impl Probe for IcmpProbe {
    fn ask(&mut self, questions: &[Question<'_>], _port: &str) -> usize {
        let seal = self.seal.clone();
        // Without a socket all of them go unanswered.
        let Some(socket) = self.socket() else { return questions.len() };
        let (mut taken, mut went) = (0, 0);
        for chunk in questions.chunks(SENT_AT_ONCE) {
            let now = wall();
            let datagram = |question: &Question<'_>| {
                let IpAddr::V4(node) = question.address else { return None };
                let (key, payload) = (question.key, payload(&seal, node, question.key, now));
                let message = echo::request(
                    TYPES_V4.0,
                    socket.identifier,
                    key.turn as u16,
                    payload.as_flattened(),
                );
                Some((message, SocketAddr::from((node, 0)).into()))
            };
            let datagrams: Vec<([u8; LENGTH], _)> = chunk.iter().filter_map(datagram).collect();
            taken += chunk.len() - datagrams.len();
            let mut rest = datagrams.as_slice();
            while !rest.is_empty() {
                match send(&socket.inner, rest) {
                    Ok(sent) => {
                        (taken, went) = (taken + sent, went + sent);
                        rest = rest.get(sent.max(1)..).unwrap_or_default();
                    }
                    // No room: that says nothing of a node.
                    Err(error) if is_full(&error) => return taken,
                    Err(_) => {
                        taken += 1;
                        rest = rest.get(1..).unwrap_or_default();
                    }
                }
            }
        }
        if went == 0 && taken > 0 {
            // Of no use now, whatever the reason.
            self.socket = None;
        }
        taken
    }

    fn answers(&mut self, answered: &mut Vec<Answer>) {
        let Some(socket) = &self.socket else { return };
        let seal = &self.seal;
        self.received.read(&socket.inner, |datagram| {
            let [_, _, _, _, a, b, c, d, ..] = *datagram.from;
            let node = Ipv4Addr::new(a, b, c, d);
            let reply = echo::answer(datagram.bytes, false)
                .and_then(|(_, payload)| read(payload, seal, node));
            let Some((key, sent)) = reply else { return };
            let rtt = datagram.at.checked_sub(sent);
            answered.push(Answer { key, rtt, from: Some(node.into()) });
        });
    }

    fn is_denied(&self) -> bool {
        self.denied
    }
}

/// Returns whether there was no room. `ENOBUFS` is the port's own queue.
pub(super) fn is_full(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::WouldBlock
        || error.raw_os_error() == Some(rustix::io::Errno::NOBUFS.raw_os_error())
}

/// Returns the payload of a request to `node`. `now` is [`wall`]'s.
fn payload(seal: &Seal, node: Ipv4Addr, key: Key, now: Duration) -> [[u8; 8]; PAYLOAD / 8] {
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
pub(super) fn read(payload: &[u8], seal: &Seal, node: Ipv4Addr) -> Option<(Key, Duration)> {
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

    proptest! {
        #[test]
        fn what_is_asked_comes_back_and_counts_for_no_other_node(
            slot: u32, generation: u32, turn: u32, probe: u8, nth: u8, nanos in 0..u64::MAX / 2, others: [u8; 4]
        ) {
            let (seal, asked) = (Seal::default(), Ipv4Addr::new(192, 168, 50, 11));
            let key = Key { node: NodeId { slot, generation }, turn, probe, nth };
            let now = Duration::from_nanos(nanos);
            let content = payload(&seal, asked, key, now);
            let mut message = echo::request::<LENGTH>(TYPES_V4.0, 1, 2, content.as_flattened());
            message[0] = TYPES_V4.1;
            let (_, answered) = echo::answer(&message, false).unwrap();
            prop_assert_eq!(read(answered, &seal, asked), Some((key, now)));
            prop_assert_eq!(read(answered, &Seal::default(), asked), None, "an answer to an earlier run");
            let other = Ipv4Addr::from(others);
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
            read(&bytes, &Seal::default(), Ipv4Addr::LOCALHOST);
        }
    }
}
