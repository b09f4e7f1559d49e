//! An ARP request (RFC 826) in the form of an address probe (RFC 5227: no sender address), on the cluster port: answered
//! by a node whose firewall lets nothing else through, and before it has services.

use std::io;
use std::time::Duration;

use futures_util::future::BoxFuture;
use rustix::net::{RecvFlags, recv};
use socket2::{Socket, Type};
use tokio::time::{Instant, sleep};

use super::{Probe, Question};
use crate::event::{LinkIndex, Mac};
use crate::source::packet::{self, ETHERTYPE_ARP};

/// Ethernet, IPv4, lengths 6 and 4
const TYPES: [u8; 6] = [0, 1, 8, 0, 6, 4];
const REQUEST: u8 = 1;
const REPLY: u8 = 2;
const LENGTH: usize = 28;

/// `arp`
#[derive(Debug, Default)]
pub struct ArpProbe {
    wire: Option<Wire>,
}

/// A packet socket on one port.
#[derive(Debug)]
struct Wire {
    socket: Socket,
    port: String,
    index: LinkIndex,
    mac: Mac,
}

impl Wire {
    fn open(port: &str) -> io::Result<Self> {
        let packet::Port { index, mac, .. } = packet::find(port)?;
        let socket = packet::open(Type::DGRAM, ETHERTYPE_ARP, index, &[])?;
        Ok(Self { socket, port: port.to_owned(), index, mac })
    }

    fn ask(&self, node: [u8; 4]) -> io::Result<usize> {
        self.socket.send_to(&request(self.mac, node), &packet::address(self.index, ETHERTYPE_ARP, Mac([0xff; 6])))
    }

    fn answered(&self) -> Option<[u8; 4]> {
        let mut buffer = [0; 64];
        loop {
            let (length, _) = recv(&self.socket, &mut buffer, RecvFlags::DONTWAIT).ok()?;
            if let Some(node) = buffer.get(..length).and_then(|packet| reply(packet, self.mac)) {
                return Some(node);
            }
        }
    }
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
            self.wire = Wire::open(port).ok();
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
            let Some(wire) = port.and_then(|port| self.wire(port)) else { return answers };
            let sent = questions.iter().filter(|question| wire.ask(question.address.octets()).is_ok()).count();
            sleep(within).await;
            while let Some(node) = wire.answered() {
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
