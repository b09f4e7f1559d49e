//! Queries an NTP server (RFC 5905) to find out whether it serves a valid time. A server with an
//! open socket may ignore clients (chrony without `allow`), or may not be synchronised itself.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

use tokio::net::UdpSocket;
use tokio::time::timeout;

use crate::watch::probe::unguessable;

const PORT: u16 = 123;
const LENGTH: usize = 48;
/// First byte of a request: version 4, mode 3 (client).
const CLIENT: u8 = 4 << 3 | 3;
/// Offsets of the transmit timestamp, and of the origin timestamp that echoes it.
const TRANSMIT: usize = 40;
const ORIGIN: usize = 24;
/// Mode of a server's reply.
const SERVER: u8 = 4;
/// Leap indicator of an unsynchronised clock.
const LEAP_UNKNOWN: u8 = 3;
/// Valid strata: 0 is a kiss-o'-death, 16 means unsynchronised.
const STRATA: std::ops::RangeInclusive<u8> = 1..=15;
const TRIES: u8 = 3;
const TIMEOUT: Duration = Duration::from_millis(500);

/// Lists the results of a query.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimeAnswer {
    Serves,
    /// The server is not synchronised.
    Unsynchronised,
    /// No server answers.
    Silent,
    /// The address does not belong to this machine.
    NoAddress,
}

/// Queries the server at one of our addresses, from that same address, as a node would.
pub async fn ask(address: Ipv4Addr) -> TimeAnswer {
    for _ in 0..TRIES {
        let Ok(socket) = UdpSocket::bind(SocketAddrV4::new(address, 0)).await else {
            return TimeAnswer::NoAddress;
        };
        if let Some(answer) = ask_once(&socket, address).await {
            return answer;
        }
    }
    TimeAnswer::Silent
}

async fn ask_once(socket: &UdpSocket, address: Ipv4Addr) -> Option<TimeAnswer> {
    socket.connect(SocketAddrV4::new(address, PORT)).await.ok()?;
    let nonce = unguessable().to_ne_bytes();
    socket.send(&request(nonce)).await.ok()?;
    let mut reply = [0; LENGTH];
    let received = async {
        loop {
            let length = socket.recv(&mut reply).await.ok()?;
            let answer = reply.get(..length).and_then(|reply| parse(reply, nonce));
            if answer.is_some() {
                return answer;
            }
        }
    };
    timeout(TIMEOUT, received).await.ok()?
}

/// Makes a request with a nonce as its transmit timestamp, which the server echoes.
fn request(nonce: [u8; 8]) -> [u8; LENGTH] {
    let mut request = [0; LENGTH];
    request.iter_mut().zip([CLIENT]).for_each(|(place, byte)| *place = byte);
    request.iter_mut().skip(TRANSMIT).zip(nonce).for_each(|(place, byte)| *place = byte);
    request
}

/// Parses a reply to the request with this nonce.
fn parse(reply: &[u8], nonce: [u8; 8]) -> Option<TimeAnswer> {
    let (first, stratum) = (*reply.first()?, *reply.get(1)?);
    let ours = reply.len() >= LENGTH
        && reply.get(ORIGIN..ORIGIN + 8) == Some(&nonce[..])
        && first & 7 == SERVER;
    let serves = first >> 6 != LEAP_UNKNOWN && STRATA.contains(&stratum);
    ours.then_some(if serves { TimeAnswer::Serves } else { TimeAnswer::Unsynchronised })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Checks replies of chronyd 4.3: with `local stratum 10`, without a source, and with one.
    #[test]
    fn a_synchronised_server_serves_the_time() {
        let nonce = *b"01234567";
        let answer = |first: u8, stratum: u8| {
            let mut bytes = request([0; 8]);
            (bytes[0], bytes[1]) = (first, stratum);
            bytes[ORIGIN..ORIGIN + 8].copy_from_slice(&nonce);
            bytes
        };
        for (first, stratum, expected) in [
            (0x24, 10, Some(TimeAnswer::Serves)),
            (0x24, 3, Some(TimeAnswer::Serves)),
            (0x64, 1, Some(TimeAnswer::Serves)),
            (0xe4, 0, Some(TimeAnswer::Unsynchronised)),
            (0xe4, 3, Some(TimeAnswer::Unsynchronised)),
            (0x24, 0, Some(TimeAnswer::Unsynchronised)),
            (0x24, 16, Some(TimeAnswer::Unsynchronised)),
            (0x23, 10, None),
            (0x25, 10, None),
        ] {
            assert_eq!(parse(&answer(first, stratum), nonce), expected, "{first:#x} {stratum}");
        }
        assert_eq!(parse(&answer(0x24, 10), *b"another?"), None);
        assert_eq!(parse(&answer(0x24, 10)[..47], nonce), None);
    }
}
