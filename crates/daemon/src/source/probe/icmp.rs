//! `icmp`: all nodes are asked through one socket, many by one call. A request carries whom, in which round and at which try it
//! asks, so that an answer needs no search and none of an earlier run, or of another program, counts.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use socket2::{SockFilter, Socket};

use super::batch::{Inbox, SENT_AT_ONCE, never_fragment, prepare, send, wall};
use super::echo::{self, TYPES_V4};
use super::{Answer, Key, Probe, Question, unguessable};
use crate::event::NodeId;

/// For as many requests as wait for nodes that do not answer ARP (three seconds each), and for bursts of replies.
const ROOM: usize = 16 << 20;
/// Header, cookie, slot, generation, turn, probe, try, two bytes of nothing, time.
const LENGTH: usize = 8 + PAYLOAD;
const PAYLOAD: usize = 8 + 4 + 4 + 4 + 4 + 8;

/// `icmp`
#[derive(Debug)]
pub struct IcmpProbe {
    wire: Option<Wire>,
    denied: bool,
    inbox: Inbox,
    /// of this run
    cookie: [u8; 8],
}

#[derive(Debug)]
struct Wire {
    socket: Socket,
    identifier: u16,
}

impl Default for IcmpProbe {
    fn default() -> Self {
        Self { wire: None, denied: false, inbox: Inbox::default(), cookie: unguessable().to_ne_bytes() }
    }
}

impl Wire {
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
        Ok(Self { socket, identifier })
    }
}

/// Lets echo replies with this identifier through (classic BPF, as in `linux/filter.h`).
fn replies_to(identifier: u16) -> [SockFilter; 7] {
    // X = length of the IP header; A = type; A = identifier
    const LENGTH_TO_X: u16 = 0xb1;
    const LOAD_BYTE_AT_X: u16 = 0x50;
    const LOAD_HALF_AT_X: u16 = 0x48;
    const JUMP_IF_EQUAL: u16 = 0x15;
    const RETURN: u16 = 0x06;
    [
        SockFilter::new(LENGTH_TO_X, 0, 0, 0),
        SockFilter::new(LOAD_BYTE_AT_X, 0, 0, 0),
        // An echo reply is type 0; else to the last, which lets nothing through.
        SockFilter::new(JUMP_IF_EQUAL, 0, 3, TYPES_V4.1.into()),
        SockFilter::new(LOAD_HALF_AT_X, 0, 0, 4),
        SockFilter::new(JUMP_IF_EQUAL, 0, 1, identifier.into()),
        SockFilter::new(RETURN, 0, 0, u32::MAX),
        SockFilter::new(RETURN, 0, 0, 0),
    ]
}

impl IcmpProbe {
    /// The socket; a new one where the old one was of no use.
    fn wire(&mut self) -> Option<&Wire> {
        if self.wire.is_none() {
            let opened = Wire::open();
            self.denied = opened.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::PermissionDenied);
            self.wire = opened.ok();
        }
        self.wire.as_ref()
    }
}

impl Probe for IcmpProbe {
    fn ask(&mut self, questions: &[Question<'_>], _port: &str) -> usize {
        let cookie = self.cookie;
        // Without a socket all of them go unanswered.
        let Some(wire) = self.wire() else { return questions.len() };
        let (mut taken, mut went) = (0, 0);
        for chunk in questions.chunks(SENT_AT_ONCE) {
            let now = wall();
            let datagram = |question: &Question<'_>| {
                let (key, payload) = (question.key, payload(cookie, question.key, now));
                let message = echo::request(TYPES_V4.0, wire.identifier, key.turn as u16, payload.as_flattened());
                (message, SocketAddr::from((question.address, 0)).into())
            };
            let datagrams: Vec<([u8; LENGTH], _)> = chunk.iter().map(datagram).collect();
            let mut rest = datagrams.as_slice();
            while !rest.is_empty() {
                match send(&wire.socket, rest) {
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
            self.wire = None;
        }
        taken
    }

    fn answers(&mut self, told: &mut Vec<Answer>) {
        let Some(wire) = &self.wire else { return };
        let cookie = self.cookie;
        self.inbox.read(&wire.socket, |datagram| {
            let reply = echo::answer(datagram.bytes, false).and_then(|(_, payload)| read(payload, cookie));
            let Some((key, sent)) = reply else { return };
            let [_, _, _, _, a, b, c, d, ..] = *datagram.from;
            let rtt = datagram.at.checked_sub(sent);
            told.push(Answer { key, rtt, from: Some(Ipv4Addr::new(a, b, c, d)) });
        });
    }

    fn is_denied(&self) -> bool {
        self.denied
    }
}

/// `ENOBUFS` is the port's own queue.
pub(super) fn is_full(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::WouldBlock || error.raw_os_error() == Some(rustix::io::Errno::NOBUFS.raw_os_error())
}

/// `now` is [`wall`]'s.
fn payload(cookie: [u8; 8], key: Key, now: Duration) -> [[u8; 8]; PAYLOAD / 8] {
    let words = |high: u32, low: u32| (u64::from(high) << 32 | u64::from(low)).to_be_bytes();
    let nanos = u64::try_from(now.as_nanos()).unwrap_or(u64::MAX);
    let Key { node, turn, probe, nth } = key;
    let whom = words(node.slot, node.generation);
    [cookie, whom, words(turn, u32::from_be_bytes([probe, nth, 0, 0])), nanos.to_be_bytes()]
}

/// What was asked, and when, if it was us who asked.
pub(super) fn read(payload: &[u8], cookie: [u8; 8]) -> Option<(Key, Duration)> {
    if payload.len() != PAYLOAD || !payload.starts_with(&cookie) {
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

    const COOKIE: [u8; 8] = *b"bramble!";

    proptest! {
        #[test]
        fn what_is_asked_comes_back(slot: u32, generation: u32, turn: u32, probe: u8, nth: u8, nanos in 0..u64::MAX / 2) {
            let key = Key { node: NodeId { slot, generation }, turn, probe, nth };
            let now = Duration::from_nanos(nanos);
            let mut message = echo::request::<LENGTH>(TYPES_V4.0, 1, 2, payload(COOKIE, key, now).as_flattened());
            message[0] = TYPES_V4.1;
            let (_, payload) = echo::answer(&message, false).unwrap();
            prop_assert_eq!(read(payload, COOKIE), Some((key, now)));
            prop_assert_eq!(read(payload, *b"an older"), None, "an answer to an earlier run");
        }

        #[test]
        fn arbitrary_payloads_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            read(&bytes, COOKIE);
        }
    }
}
