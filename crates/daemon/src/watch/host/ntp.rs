//! One question to a time server (NTP, RFC 5905): whether it serves the time, and has one. A server
//! that listens may answer no one (chrony without `allow`), or know no time itself.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

use tokio::net::UdpSocket;
use tokio::time::timeout;

use crate::watch::probe::unguessable;

const PORT: u16 = 123;
const LENGTH: usize = 48;
/// A client's question of version 4, and where its time stands in it and comes back.
const CLIENT: u8 = 4 << 3 | 3;
const TRANSMITTED: usize = 40;
const ORIGIN: usize = 24;
const SERVER: u8 = 4;
/// "The clock is not synchronised."
const LEAP_UNKNOWN: u8 = 3;
/// Of 16 on a server has no time itself; 0 says no, in words.
const STRATA: std::ops::RangeInclusive<u8> = 1..=15;
const TRIES: u8 = 3;
const TIMEOUT: Duration = Duration::from_millis(500);

/// Names how a server answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimeAnswer {
    Serves,
    /// it has no time itself
    Unsynchronised,
    /// no server answers
    Silent,
    /// the address is not this machine's
    NoAddress,
}

/// Asks the server at this address of ours, as a node of that network: from the address itself.
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
    let mark = unguessable().to_ne_bytes();
    socket.send(&question(mark)).await.ok()?;
    let mut answer = [0; LENGTH];
    let heard = async {
        loop {
            let length = socket.recv(&mut answer).await.ok()?;
            let answer = answer.get(..length).and_then(|answer| read(answer, mark));
            if answer.is_some() {
                return answer;
            }
        }
    };
    timeout(TIMEOUT, heard).await.ok()?
}

fn question(mark: [u8; 8]) -> [u8; LENGTH] {
    let mut question = [0; LENGTH];
    question.iter_mut().zip([CLIENT]).for_each(|(place, byte)| *place = byte);
    // Any time will do: the server gives it back.
    question.iter_mut().skip(TRANSMITTED).zip(mark).for_each(|(place, byte)| *place = byte);
    question
}

/// Reads an answer to the question with this mark.
fn read(answer: &[u8], mark: [u8; 8]) -> Option<TimeAnswer> {
    let (first, stratum) = (*answer.first()?, *answer.get(1)?);
    let ours = answer.len() >= LENGTH
        && answer.get(ORIGIN..ORIGIN + 8) == Some(&mark[..])
        && first & 7 == SERVER;
    let serves = first >> 6 != LEAP_UNKNOWN && STRATA.contains(&stratum);
    ours.then_some(if serves { TimeAnswer::Serves } else { TimeAnswer::Unsynchronised })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Answers of chronyd 4.3: with `local stratum 10`, without a source, and with one.
    #[test]
    fn a_server_serves_when_it_has_a_time() {
        let mark = *b"01234567";
        let answer = |first: u8, stratum: u8| {
            let mut bytes = question([0; 8]);
            (bytes[0], bytes[1]) = (first, stratum);
            bytes[ORIGIN..ORIGIN + 8].copy_from_slice(&mark);
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
            assert_eq!(read(&answer(first, stratum), mark), expected, "{first:#x} {stratum}");
        }
        assert_eq!(read(&answer(0x24, 10), *b"another?"), None);
        assert_eq!(read(&answer(0x24, 10)[..47], mark), None);
    }
}
