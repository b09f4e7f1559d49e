//! An ARP request (RFC 826) in the form of an address probe (RFC 5227: no sender address), on the
//! cluster port: answered by a node whose firewall lets nothing else through, and before it has
//! services. Only IPv4, as ARP is; a node of another family goes unanswered.

use std::collections::HashMap;
use std::io;
use std::net::IpAddr;
use std::time::Duration;

use bramblegate_netlink::bpf::{accept, jump_if_equal, load_half, reject};
use socket2::{SockFilter, Socket, Type};
use tracing::debug;

use super::batch::{RecvBuffer, SENT_AT_ONCE, prepare, send, wall};
use super::icmp::is_full;
use super::{Answer, Key, Probe, Question};
use crate::event::{LinkIndex, Mac};
use crate::packet::{self, ARP_LENGTH, ARP_REPLY, ARP_REQUEST, ARP_TYPES, ETHERTYPE_ARP};

/// For bursts of replies.
const ROOM: usize = 4 << 20;

/// Asks by ARP (`arp`).
#[derive(Debug, Default)]
pub struct ArpProbe {
    socket: Option<ArpSocket>,
    denied: bool,
    received: RecvBuffer,
    /// of each address what was asked last, of which board, and when: a reply says no more than who
    /// sends it; forgotten when the port is opened anew, and so bounded by the addresses of its
    /// nodes
    asked: HashMap<[u8; 4], Asked>,
}

/// Holds one question that waits for its answer.
#[derive(Debug, Clone, Copy)]
struct Asked {
    key: Key,
    /// whose answer alone counts
    mac: Option<Mac>,
    at: Duration,
}

impl Asked {
    /// Returns the address that a question asks for, and what is remembered of it.
    fn of(question: &Question<'_>, at: Duration) -> Option<([u8; 4], Self)> {
        let IpAddr::V4(node) = question.address else { return None };
        Some((node.octets(), Self { key: question.key, mac: question.mac, at }))
    }
}

/// Holds a packet socket on one port.
#[derive(Debug)]
struct ArpSocket {
    inner: Socket,
    port: String,
    index: LinkIndex,
    /// as it was when a node was asked last: a port that changes it is still the same port
    mac: Mac,
}

impl ArpSocket {
    fn open(port: &str) -> io::Result<Self> {
        let (socket, index) = packet::open_at(port, Type::DGRAM, ETHERTYPE_ARP, &replies())?;
        let mac = packet::own_mac(&socket).ok_or(io::ErrorKind::NotFound)?;
        prepare(&socket, ROOM);
        Ok(Self { inner: socket, port: port.to_owned(), index, mac })
    }
}

/// Asks who has an address, without an own one (RFC 5227, 2.1.1).
pub fn request(Mac(ours): Mac, node: [u8; 4]) -> [u8; ARP_LENGTH] {
    let mut packet = [0; ARP_LENGTH];
    let fields = ARP_TYPES
        .into_iter()
        .chain([0, ARP_REQUEST])
        .chain(ours)
        .chain([0; 4])
        .chain([0; 6])
        .chain(node);
    packet.iter_mut().zip(fields).for_each(|(place, byte)| *place = byte);
    packet
}

/// Returns the address and the board of a reply to us.
pub(super) fn reply(packet: &[u8], Mac(ours): Mac) -> Option<([u8; 4], Mac)> {
    let packet = packet.first_chunk::<ARP_LENGTH>()?;
    let to_us = packet.starts_with(&ARP_TYPES)
        && packet.get(6..8) == Some(&[0, ARP_REPLY])
        && packet.get(18..24) == Some(&ours);
    if !to_us {
        return None;
    }
    Some((*packet.get(14..)?.first_chunk()?, Mac(*packet.get(8..)?.first_chunk()?)))
}

/// Lets replies through: of requests, which any board sends
/// as often as it likes, none wakes us.
fn replies() -> [SockFilter; 4] {
    [load_half(6), jump_if_equal(ARP_REPLY.into(), 0, 1), accept(u32::MAX), reject()]
}

impl ArpProbe {
    fn socket(&mut self, port: &str) -> Option<&ArpSocket> {
        let held = self.socket.take().filter(|socket| socket.port == port);
        self.socket = held
            .and_then(|socket| Some(ArpSocket { mac: packet::own_mac(&socket.inner)?, ..socket }));
        if self.socket.is_none() {
            let opened = ArpSocket::open(port);
            self.denied =
                opened.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::PermissionDenied);
            self.socket = opened.inspect_err(|error| debug!(%error, "no socket for ARP")).ok();
            self.asked.clear();
        }
        self.socket.as_ref()
    }
}

impl Probe for ArpProbe {
    fn ask(&mut self, questions: &[Question<'_>], port: &str) -> usize {
        let Some(socket) = self.socket(port) else { return questions.len() };
        let to = packet::address(socket.index, ETHERTYPE_ARP, Mac([0xff; 6]));
        let (mut taken, mut went) = (0, Vec::new());
        for chunk in questions.chunks(SENT_AT_ONCE) {
            let now = wall();
            let asked: Vec<([u8; 4], Asked)> =
                chunk.iter().filter_map(|question| Asked::of(question, now)).collect();
            taken += chunk.len() - asked.len();
            let packets: Vec<_> =
                asked.iter().map(|(node, _)| (request(socket.mac, *node), to.clone())).collect();
            match send(&socket.inner, &packets) {
                Ok(sent) => {
                    taken += sent;
                    went.extend(asked.into_iter().take(sent));
                    if sent < packets.len() {
                        break;
                    }
                }
                Err(error) if is_full(&error) => break,
                Err(_) => taken += packets.len(),
            }
        }
        if went.is_empty() && taken > 0 {
            // The interface went away under the socket.
            self.socket = None;
        }
        self.asked.extend(went);
        taken
    }

    fn answers(&mut self, answered: &mut Vec<Answer>) {
        let Self { socket: Some(socket), received, asked, .. } = self else { return };
        received.read(&socket.inner, |datagram| {
            let Some((node, mac)) = reply(datagram.bytes, socket.mac) else { return };
            // Another board at the node's address does not make the node live; that it is there is
            // an alert of its own.
            let is_its_own =
                asked.get(&node).is_some_and(|asked| asked.mac.is_none_or(|known| known == mac));
            if let Some(Asked { key, at, .. }) = is_its_own.then(|| asked.remove(&node)).flatten() {
                let rtt = datagram.at.checked_sub(at);
                answered.push(Answer { key, rtt, from: Some(node.into()) });
            }
        });
    }

    fn is_denied(&self) -> bool {
        self.denied
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const OURS: Mac = Mac([2, 0, 0, 0, 0, 1]);

    #[test]
    fn a_reply_counts_when_it_is_for_us() {
        let mut packet = request(Mac([2, 0, 0, 0, 0, 9]), [0; 4]);
        packet[7] = ARP_REPLY;
        packet[14..18].copy_from_slice(&[192, 168, 50, 11]);
        packet[18..24].copy_from_slice(&OURS.0);
        assert_eq!(reply(&packet, OURS), Some(([192, 168, 50, 11], Mac([2, 0, 0, 0, 0, 9]))));
        assert_eq!(reply(&packet, Mac([2, 0, 0, 0, 0, 2])), None);
        packet[7] = ARP_REQUEST;
        assert_eq!(reply(&packet, OURS), None);
    }

    proptest! {
        #[test]
        fn arbitrary_packets_never_panic(packet in proptest::collection::vec(any::<u8>(), 0..64)) {
            reply(&packet, OURS);
        }
    }
}
