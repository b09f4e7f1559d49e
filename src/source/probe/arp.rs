//! An ARP request (RFC 826) in the form of an address probe (RFC 5227: no sender address), on the cluster port: answered
//! by a node whose firewall lets nothing else through, and before it has services.

use std::io;
use std::time::Duration;

use futures_util::future::BoxFuture;
use rustix::net::netdevice::name_to_index;
use rustix::net::{RecvFlags, recv};
use socket2::{Domain, Protocol, SockAddr, SockAddrStorage, Socket, Type};
use tokio::time::{Instant, sleep};

use super::{Probe, Question};
use crate::event::{LinkIndex, Mac};

/// `AF_PACKET`, `ETH_P_ARP`
const AF_PACKET: u16 = 17;
const ETH_P_ARP: u16 = 0x0806;
/// Ethernet, IPv4, lengths 6 and 4
const TYPES: [u8; 6] = [0, 1, 8, 0, 6, 4];
const REQUEST: u8 = 1;
const REPLY: u8 = 2;
const LENGTH: usize = 28;
/// Bytes of a `sockaddr_ll`.
const SOCKADDR_LL: u8 = 20;

/// `arp`
#[derive(Debug, Default)]
pub struct ArpProbe {
    wire: Option<Wire>,
    denied: bool,
}

/// A packet socket on one port.
#[derive(Debug)]
struct Wire {
    socket: Socket,
    port: String,
    index: LinkIndex,
}

impl Wire {
    fn open(port: &str) -> io::Result<Self> {
        // Without a protocol until it is bound, so that nothing of another port comes in between.
        let socket = Socket::new(Domain::PACKET, Type::DGRAM, Some(Protocol::from(0)))?;
        let index = name_to_index(&socket, port)?;
        socket.set_nonblocking(true)?;
        socket.bind(&address(index, [0; 6]))?;
        Ok(Self { socket, port: port.to_owned(), index })
    }

    /// The port's hardware address as it is now: one that changes it is still the same port.
    fn mac(&self) -> Option<Mac> {
        let mut storage = self.socket.local_addr().ok()?.as_storage();
        // SAFETY: twenty bytes, the size of a `sockaddr_ll`, lie within the storage, and any bytes are valid there.
        let bytes: &mut [u8; SOCKADDR_LL as usize] = unsafe { storage.view_as() };
        match *bytes {
            // `sll_halen` and `sll_addr`; none for a port that has gone
            [.., 6, a, b, c, d, e, f, _, _] => Some(Mac([a, b, c, d, e, f])),
            _ => None,
        }
    }

    fn ask(&self, ours: Mac, node: [u8; 4]) -> io::Result<usize> {
        self.socket.send_to(&request(ours, node), &address(self.index, [0xff; 6]))
    }

    fn answered(&self, ours: Mac) -> Option<[u8; 4]> {
        let mut buffer = [0; 64];
        loop {
            let (length, _) = recv(&self.socket, &mut buffer, RecvFlags::DONTWAIT).ok()?;
            if let Some(node) = buffer.get(..length).and_then(|packet| reply(packet, ours)) {
                return Some(node);
            }
        }
    }
}

/// `struct sockaddr_ll` (packet(7)).
fn address(index: LinkIndex, mac: [u8; 6]) -> SockAddr {
    let mut storage = SockAddrStorage::zeroed();
    // SAFETY: twenty bytes, the size of a `sockaddr_ll`, lie within the storage, and any bytes are valid there.
    let bytes: &mut [u8; SOCKADDR_LL as usize] = unsafe { storage.view_as() };
    let family = AF_PACKET.to_ne_bytes();
    let protocol = ETH_P_ARP.to_be_bytes();
    let fields = family.into_iter().chain(protocol).chain(index.to_ne_bytes()).chain([0, 0, 0, 6]).chain(mac);
    bytes.iter_mut().zip(fields).for_each(|(byte, field)| *byte = field);
    // SAFETY: the storage holds an address of `AF_PACKET` of this size.
    unsafe { SockAddr::new(storage, SOCKADDR_LL.into()) }
}

fn request(Mac(ours): Mac, node: [u8; 4]) -> Vec<u8> {
    [&TYPES[..], &[0, REQUEST], &ours, &[0; 4], &[0; 6], &node].concat()
}

/// Whose reply to us this is.
pub(super) fn reply(packet: &[u8], Mac(ours): Mac) -> Option<[u8; 4]> {
    let packet = packet.first_chunk::<LENGTH>()?;
    let to_us =
        packet.starts_with(&TYPES) && packet.get(6..8) == Some(&[0, REPLY]) && packet.get(18..24) == Some(&ours);
    to_us.then(|| packet.get(14..)?.first_chunk().copied()).flatten()
}

impl ArpProbe {
    fn wire(&mut self, port: &str) -> Option<&Wire> {
        if self.wire.as_ref().is_none_or(|wire| wire.port != port) {
            let opened = Wire::open(port);
            self.denied = opened.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::PermissionDenied);
            self.wire = opened.ok();
        }
        self.wire.as_ref()
    }
}

impl Probe for ArpProbe {
    /// The time told is that until the answers were read: an upper bound.
    fn ask<'a>(
        &'a mut self,
        questions: &'a [Question],
        port: Option<&'a str>,
        within: Duration,
    ) -> BoxFuture<'a, Vec<Option<Duration>>> {
        Box::pin(async move {
            let begin = Instant::now();
            let mut answers = vec![None; questions.len()];
            let wire = port.and_then(|port| self.wire(port)).and_then(|wire| Some((wire, wire.mac()?)));
            let Some((wire, ours)) = wire else {
                // A round takes its time also where nothing can be asked, and the port may come back.
                sleep(within).await;
                self.wire = None;
                return answers;
            };
            let sent = questions.iter().filter(|question| wire.ask(ours, question.address.octets()).is_ok()).count();
            sleep(within).await;
            while let Some(node) = wire.answered(ours) {
                for (question, answer) in questions.iter().zip(&mut answers) {
                    if question.address.octets() == node {
                        *answer = Some(begin.elapsed());
                    }
                }
            }
            if sent == 0 {
                // The interface went away under the socket.
                self.wire = None;
            }
            answers
        })
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
        packet[7] = REPLY;
        packet[14..18].copy_from_slice(&[192, 168, 50, 11]);
        packet[18..24].copy_from_slice(&OURS.0);
        assert_eq!(reply(&packet, OURS), Some([192, 168, 50, 11]));
        assert_eq!(reply(&packet, Mac([2, 0, 0, 0, 0, 2])), None);
        packet[7] = REQUEST;
        assert_eq!(reply(&packet, OURS), None);
    }

    proptest! {
        #[test]
        fn arbitrary_packets_never_panic(packet in proptest::collection::vec(any::<u8>(), 0..64)) {
            reply(&packet, OURS);
        }
    }
}
