//! Queries the DHCP servers on an interface once, for `doctor --try`. Sends a DHCPDISCOVER and
//! collects offers, but no DHCPREQUEST, so no lease is taken.

use std::io;
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::net::{RecvFlags, recv};
use socket2::Type;

use super::message::{self, Answer};
use super::{FRAME, filter};
use crate::event::Mac;
use crate::packet::{self, ETHERTYPE_IPV4};
use crate::watch::probe::unguessable;

/// Timeout of the first offer; some servers check for three seconds whether an address is free.
const TIMEOUT: Duration = Duration::from_secs(5);
/// Interval of retransmissions.
const RETRY: Duration = Duration::from_secs(2);
/// How long to wait for further offers after the first.
const GRACE: Duration = Duration::from_millis(500);
const POLL_INTERVAL: Duration = Duration::from_millis(20);
/// Requested options: mask, router, resolvers, lease time and server (RFC 2132), IPv6-only
/// preferred (RFC 8925) and captive portal (RFC 8910).
const WANTED: [u8; 7] = [1, 3, 6, 51, 54, 108, 114];

/// Queries on the named interface and returns the offers, one per server. Blocks for at most
/// `TIMEOUT`.
///
/// # Errors
/// `CAP_NET_RAW` is missing, or the interface is missing or down.
pub fn offers(port: &str) -> io::Result<Vec<Answer>> {
    let port = packet::find(port)?;
    let wire = packet::open(Type::RAW, ETHERTYPE_IPV4, port.index, &filter::both())?;
    let transaction = unguessable() as u32;
    let broadcast = packet::address(port.index, ETHERTYPE_IPV4, Mac([0xff; 6]));
    let begin = Instant::now();
    let (mut sent, mut end) = (None::<Instant>, begin + TIMEOUT);
    let mut found: Vec<Answer> = Vec::new();
    let mut frame = [0; FRAME];
    while Instant::now() < end {
        if sent.is_none_or(|sent| sent.elapsed() >= RETRY) {
            let seconds = u16::try_from(begin.elapsed().as_secs()).unwrap_or(u16::MAX);
            let discover = message::discover_asking(port.mac, transaction, seconds, &WANTED);
            wire.send_to(&discover, &broadcast)?;
            sent = Some(Instant::now());
        }
        match recv(&wire, &mut frame[..], RecvFlags::DONTWAIT) {
            Ok((length, _)) => {
                let answer = frame.get(..length).and_then(|frame| message::answer(frame, port.mac));
                let ours = |answer: &Answer| {
                    answer.kind == message::OFFER && answer.transaction == transaction
                };
                let Some(answer) = answer.filter(ours) else { continue };
                if found.is_empty() {
                    end = end.min(Instant::now() + GRACE);
                }
                if !found.iter().any(|known| known.server == answer.server) {
                    found.push(answer);
                }
            }
            Err(Errno::AGAIN) => sleep(POLL_INTERVAL),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(found)
}
