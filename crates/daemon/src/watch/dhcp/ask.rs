//! Asks once on a port whether a server answers, for `doctor --try`. A DHCPDISCOVER and
//! what is offered; nothing is requested, so nothing is taken.

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

/// Some servers look for three seconds whether an address is free before they offer it.
const WAIT: Duration = Duration::from_secs(5);
/// The question is put again after this.
const AGAIN: Duration = Duration::from_secs(2);
/// Once one has answered, others are waited for so long.
const OTHERS: Duration = Duration::from_millis(500);
const LOOK: Duration = Duration::from_millis(20);
/// mask, router, resolvers, lease time, server (RFC 2132); IPv6 only (RFC 8925) and portal (RFC
/// 8910)
const WANTED: [u8; 7] = [1, 3, 6, 51, 54, 108, 114];

/// Asks on the port of this name and returns the offers, one of each server. Blocks for at most
/// `WAIT`.
///
/// # Errors
/// `CAP_NET_RAW` is missing, or the port is not there or switched off.
pub fn offers(port: &str) -> io::Result<Vec<Answer>> {
    let port = packet::find(port)?;
    let wire = packet::open(Type::RAW, ETHERTYPE_IPV4, port.index, &filter::both())?;
    let transaction = unguessable() as u32;
    let everybody = packet::address(port.index, ETHERTYPE_IPV4, Mac([0xff; 6]));
    let begin = Instant::now();
    let (mut asked, mut end) = (None::<Instant>, begin + WAIT);
    let mut found: Vec<Answer> = Vec::new();
    let mut frame = [0; FRAME];
    while Instant::now() < end {
        if asked.is_none_or(|asked| asked.elapsed() >= AGAIN) {
            let seconds = u16::try_from(begin.elapsed().as_secs()).unwrap_or(u16::MAX);
            wire.send_to(
                &message::discover_asking(port.mac, transaction, seconds, &WANTED),
                &everybody,
            )?;
            asked = Some(Instant::now());
        }
        match recv(&wire, &mut frame[..], RecvFlags::DONTWAIT) {
            Ok((length, _)) => {
                let answer = frame.get(..length).and_then(|frame| message::answer(frame, port.mac));
                let ours = |answer: &Answer| {
                    answer.kind == message::OFFER && answer.transaction == transaction
                };
                let Some(answer) = answer.filter(ours) else { continue };
                if found.is_empty() {
                    end = end.min(Instant::now() + OTHERS);
                }
                if !found.iter().any(|known| known.server == answer.server) {
                    found.push(answer);
                }
            }
            Err(Errno::AGAIN) => sleep(LOOK),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(found)
}
