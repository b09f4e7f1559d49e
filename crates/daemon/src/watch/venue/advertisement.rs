//! Hears router advertisements at one port, and asks for one when it begins (RFC 4861): a raw
//! socket gets them also where a DHCP client has the kernel ignore them (`accept_ra=0`).

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::io;
use std::net::{Ipv6Addr, SocketAddrV6};
use std::time::Duration;

use bramblegate_clat::{Advertisement, solicitation};
use rustix::io::Errno;
use rustix::net::{RecvFlags, recvfrom};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::io::unix::AsyncFd;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, sleep_until};
use tracing::debug;

use super::filter::{self, Known};
use crate::event::{
    Event, LinkIndex, Mac, PortalSource, PortalUrl, RouterOffer, UplinkNews, VenueNews, VenuePlan,
};
use crate::pace::Pace;
use crate::packet;
use crate::sync::{Closed, reached, readable};
use crate::watch::emit;

/// Who is asked: all routers of the link.
const ALL_ROUTERS: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 2);
/// `MAX_RTR_SOLICITATIONS`, `RTR_SOLICITATION_INTERVAL` (RFC 4861, section 10).
const SOLICITATIONS: u8 = 3;
const SOLICITATION_INTERVAL: Duration = Duration::from_secs(4);
/// Without a link-local address nothing can be sent; it is there when the kernel knows that no
/// other host has it.
const NO_ADDRESS_YET: Duration = Duration::from_millis(250);
/// So often: a port on which IPv6 is switched off never has one.
const FAILURES: u8 = 40;
/// A port that went away is reported by netlink too; until then.
const PAUSE: Duration = Duration::from_millis(500);
/// Any host on the link can send advertisements: so many are read at once, and then no more often
/// than this.
const AT_ONCE: u32 = 8;
const SPACING: Duration = Duration::from_secs(10);
/// What waits in the kernel is bounded too, in bytes.
const BUFFER: usize = 64 << 10;
/// So many are taken out of it in a row.
const BATCH: usize = 16;
/// Longer than any link's packet that is not a jumbogram, in bytes.
const LONGEST: usize = 9216;
/// Repetitions are left to the kernel for so long, unless a lifetime asks for less.
const QUIET: Duration = Duration::from_secs(600);
/// Of so many routers.
const MOST_KNOWN: usize = 4;

/// The port that is heard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Port {
    index: LinkIndex,
    name: String,
    mac: Option<Mac>,
}

impl Port {
    /// Returns the port of a plan.
    pub fn of(plan: &VenuePlan) -> Self {
        Self { index: plan.index, name: plan.name.clone(), mac: plan.mac }
    }
}

/// Hears one port for as long as it is there.
pub async fn hear(port: Port, events: mpsc::Sender<Event>) {
    loop {
        let Err(error) = listen(&port, &events).await;
        if Closed::is_cause_of(&error) {
            return;
        }
        // Without IPv6 in this kernel there is nothing to hear.
        if error.raw_os_error() == Some(Errno::AFNOSUPPORT.raw_os_error()) {
            return;
        }
        debug!(port = %port.name, %error, "router advertisements are not heard for now");
        let pause = if packet::is_port_gone(&error) { PAUSE } else { SPACING };
        sleep(pause).await;
    }
}

async fn listen(port: &Port, events: &mpsc::Sender<Event>) -> io::Result<Infallible> {
    let wire = readable(open(port)?)?;
    let mut heard = Heard::default();
    let mut pace = Pace::new(AT_ONCE, SPACING, Instant::now());
    let (mut asked, mut failed, mut ask_at) = (0, 0, Some(Instant::now()));
    let mut quiet_until: Option<Instant> = None;
    loop {
        tokio::select! {
            messages = next(&wire, port.index) => {
                for (source, message) in messages? {
                    for event in heard.take(port.index, source, message) {
                        emit(events, event).await?;
                    }
                }
                if !heard.known.is_empty() {
                    ask_at = None;
                }
                wire.get_ref().attach_filter(&filter::news(&heard.known))?;
                quiet_until = heard.shortest.map(|time| Instant::now() + time);
                sleep_until(pace.next(Instant::now())).await;
            }
            () = reached(ask_at) => {
                let sent = wire.get_ref().send_to(
                    &solicitation(port.mac.map(|Mac(mac)| mac)),
                    &SocketAddrV6::new(ALL_ROUTERS, 0, 0, port.index).into(),
                );
                let sent_is_ok = sent.is_ok();
                match sent {
                    Ok(_) => asked += 1,
                    Err(error) if packet::is_port_gone(&error) => return Err(error),
                    Err(_) => failed += 1,
                }
                let pause = if sent_is_ok { SOLICITATION_INTERVAL } else { NO_ADDRESS_YET };
                let again = asked < SOLICITATIONS && failed < FAILURES;
                ask_at = again.then(|| Instant::now() + pause);
            }
            // A lifetime that no router renews ends: the next repetition is to be heard.
            () = reached(quiet_until) => {
                quiet_until = None;
                heard.known.clear();
                wire.get_ref().attach_filter(&filter::news(&[]))?;
            }
        }
    }
}

/// Opens a socket that hears advertisements at one port alone.
fn open(port: &Port) -> io::Result<Socket> {
    let socket = Socket::new(Domain::IPV6, Type::RAW, Some(Protocol::ICMPV6))?;
    socket.attach_filter(&filter::news(&[]))?;
    socket.bind_device(Some(port.name.as_bytes()))?;
    socket.set_nonblocking(true)?;
    socket.set_recv_buffer_size(BUFFER)?;
    socket.set_multicast_hops_v6(255)?;
    socket.set_multicast_if_v6(port.index)?;
    Ok(socket)
}

/// Returns what waits, a batch at most.
async fn next(wire: &AsyncFd<Socket>, index: LinkIndex) -> io::Result<Vec<(Ipv6Addr, Vec<u8>)>> {
    let mut messages = Vec::new();
    let mut buffer = vec![0; LONGEST];
    loop {
        let mut guard = wire.readable().await?;
        while messages.len() < BATCH {
            match recvfrom(wire.get_ref(), &mut buffer[..], RecvFlags::DONTWAIT) {
                Ok((length, _, Some(from))) => {
                    // What came by another port waits here from before the socket was bound.
                    let from = SocketAddrV6::try_from(from).ok();
                    if let Some(from) = from.filter(|from| from.scope_id() == index) {
                        let message = buffer.get(..length).unwrap_or_default().to_vec();
                        messages.push((*from.ip(), message));
                    }
                }
                Ok(_) => {}
                Err(Errno::AGAIN) => {
                    guard.clear_ready();
                    break;
                }
                Err(error) => return Err(error.into()),
            }
        }
        if !messages.is_empty() {
            return Ok(messages);
        }
    }
}

/// What was heard so far. Pure.
#[derive(Debug, Default)]
struct Heard {
    /// messages whose repetitions say nothing new
    known: Vec<Known>,
    /// after this a repetition is to be heard again
    shortest: Option<Duration>,
    portals: BTreeMap<Ipv6Addr, PortalUrl>,
    portal: Option<PortalUrl>,
}

impl Heard {
    /// Takes a message in. Returns what is to be reported; nothing of what is no advertisement that
    /// a host may heed.
    fn take(&mut self, index: LinkIndex, router: Ipv6Addr, message: Vec<u8>) -> Vec<Event> {
        // The kernel has compared the hop limit with 255 (`filter`).
        let Ok(advertisement) = Advertisement::read(&message, router, 255) else {
            return Vec::new();
        };
        let offer = offer(&advertisement);
        self.known.retain(|(known, _)| *known != router.octets());
        if self.known.is_empty() {
            self.shortest = None;
        }
        let lifetimes = offer.nat64.iter().map(|(_, lifetime)| *lifetime).chain([offer.lifetime]);
        let least = lifetimes.filter(|lifetime| *lifetime > 0).min();
        let quiet = least.map_or(QUIET, |least| Duration::from_secs(least.into()) / 3).min(QUIET);
        self.shortest = Some(self.shortest.map_or(quiet, |known| known.min(quiet)));
        if self.known.len() >= MOST_KNOWN {
            self.known.remove(0);
        }
        self.known.push((router.octets(), message));
        let mut events = Vec::new();
        let portal = advertisement.captive_portal.as_deref().and_then(PortalUrl::read);
        if let Some(url) = self.portal_of(router, portal.filter(|_| offer.lifetime > 0)) {
            let by = PortalSource::Router;
            events.push(Event::Uplink(UplinkNews::Portal { index, by, url }));
        }
        events.push(Event::Venue(VenueNews::Advertised { index, router, offer }));
        events
    }

    /// Returns the portal of the venue, where it is another than before.
    fn portal_of(&mut self, router: Ipv6Addr, url: Option<PortalUrl>) -> Option<Option<PortalUrl>> {
        match url {
            Some(url) if self.portals.len() < MOST_KNOWN || self.portals.contains_key(&router) => {
                self.portals.insert(router, url);
            }
            Some(_) => {}
            None => {
                self.portals.remove(&router);
            }
        }
        let now = self.portals.values().next().cloned();
        (now != self.portal).then(|| {
            self.portal.clone_from(&now);
            now
        })
    }
}

/// Returns what counts of an advertisement.
fn offer(advertisement: &Advertisement) -> RouterOffer {
    let prefixes = advertisement.nat_prefixes.iter();
    RouterOffer {
        lifetime: advertisement.lifetime,
        managed: advertisement.managed,
        other: advertisement.other,
        autonomous: advertisement
            .prefixes
            .iter()
            .any(|prefix| prefix.autonomous && prefix.valid > 0),
        mtu: advertisement.mtu,
        nat64: prefixes.map(|nat| (nat.prefix, nat.lifetime)).collect(),
    }
}
