//! ARP requests (RFC 826) in the form of address probes (RFC 5227: no sender address), on the
//! cluster port. Nodes answer them even with a firewall that drops everything else, and before any
//! service runs. IPv4 only; an IPv6 node never answers this probe.

use std::collections::HashMap;
use std::io;
use std::net::IpAddr;
use std::time::Duration;

use bramblegate_netlink::bpf::{accept, jump_if_equal, load_half, reject};
use socket2::{SockFilter, Socket, Type};
use tracing::debug;

use super::batch::{RecvBuffer, SENT_AT_ONCE, prepare, send, wall};
use super::icmp::is_full;
use super::{Key, Probe, Reply, Request};
use crate::event::{LinkIndex, Mac};
use crate::packet::{self, ARP_LENGTH, ARP_REPLY, ARP_REQUEST, ARP_TYPES, ETHERTYPE_ARP};

/// Socket buffer for bursts of replies, in bytes.
const SOCKET_BUFFER: usize = 4 << 20;

/// Implements the probe `arp`.
#[derive(Debug, Default)]
pub struct ArpProbe {
    socket: Option<ArpSocket>,
    denied: bool,
    received: RecvBuffer,
    /// Last request for each address, since a reply carries no more than its sender. Cleared when
    /// the socket is reopened, and so bounded by the number of nodes.
    pending: HashMap<[u8; 4], Pending>,
}

/// Holds a request that awaits its reply.
#[derive(Debug, Clone, Copy)]
struct Pending {
    key: Key,
    /// The only hardware address whose reply counts.
    mac: Option<Mac>,
    /// When it was sent, by the wall clock.
    at: Duration,
}

impl Pending {
    /// Returns the requested address and the pending request.
    fn of(request: &Request<'_>, at: Duration) -> Option<([u8; 4], Self)> {
        let IpAddr::V4(node) = request.address else { return None };
        Some((node.octets(), Self { key: request.key, mac: request.mac, at }))
    }
}

/// Holds a packet socket on one interface.
#[derive(Debug)]
struct ArpSocket {
    inner: Socket,
    port: String,
    index: LinkIndex,
    /// Read again before each use, since it may change without the interface being replaced.
    mac: Mac,
}

impl ArpSocket {
    fn open(port: &str) -> io::Result<Self> {
        let (socket, index) = packet::open_at(port, Type::DGRAM, ETHERTYPE_ARP, &replies())?;
        let mac = packet::own_mac(&socket).ok_or(io::ErrorKind::NotFound)?;
        prepare(&socket, SOCKET_BUFFER);
        Ok(Self { inner: socket, port: port.to_owned(), index, mac })
    }
}

/// Makes an ARP probe: a request without a sender address (RFC 5227, 2.1.1).
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

/// Parses a reply to us into its sender's protocol and hardware address.
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

/// Returns a filter that passes replies only, so that no flood of requests wakes the task.
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
            self.pending.clear();
        }
        self.socket.as_ref()
    }
}

impl Probe for ArpProbe {
    fn send(&mut self, requests: &[Request<'_>], port: &str) -> usize {
        let Some(socket) = self.socket(port) else { return requests.len() };
        let to = packet::address(socket.index, ETHERTYPE_ARP, Mac([0xff; 6]));
        let (mut accepted, mut sent) = (0, Vec::new());
        for chunk in requests.chunks(SENT_AT_ONCE) {
            let now = wall();
            let pending: Vec<([u8; 4], Pending)> =
                chunk.iter().filter_map(|request| Pending::of(request, now)).collect();
            accepted += chunk.len() - pending.len();
            let packets: Vec<_> =
                pending.iter().map(|(node, _)| (request(socket.mac, *node), to.clone())).collect();
            match send(&socket.inner, &packets) {
                Ok(count) => {
                    accepted += count;
                    sent.extend(pending.into_iter().take(count));
                    if count < packets.len() {
                        break;
                    }
                }
                Err(error) if is_full(&error) => break,
                Err(_) => accepted += packets.len(),
            }
        }
        if sent.is_empty() && accepted > 0 {
            // Every send failed: the interface of the socket is gone.
            self.socket = None;
        }
        self.pending.extend(sent);
        accepted
    }

    fn receive(&mut self, replies: &mut Vec<Reply>) {
        let Self { socket: Some(socket), received, pending, .. } = self else { return };
        received.read(&socket.inner, |datagram| {
            let Some((node, mac)) = reply(datagram.bytes, socket.mac) else { return };
            // Another board at the node's address does not count; that has an alert of its own.
            let is_of_node = |request: &Pending| request.mac.is_none_or(|expected| expected == mac);
            let request = pending.get(&node).copied().filter(is_of_node);
            if let Some(Pending { key, at, .. }) = request {
                pending.remove(&node);
                let rtt = datagram.at.checked_sub(at);
                replies.push(Reply { key, rtt, from: Some(node.into()) });
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
    fn only_a_reply_to_us_counts() {
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
