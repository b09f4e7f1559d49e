//! Hears router advertisements at one port, and asks for one when it begins (RFC 4861): a raw
//! socket gets them also where a DHCP client has the kernel ignore them (`accept_ra=0`).

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

/// The address that is asked: all routers of the link (RFC 4291 2.7.1).
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
/// Any host on the link can send advertisements: so many of one router are read at once, and then no
/// more often than this; in between the kernel drops what it sends.
const AT_ONCE: u32 = 8;
const SPACING: Duration = Duration::from_secs(10);
/// … and so many of all, from ever other addresses.
const AT_ONCE_OF_ALL: u32 = 32;
/// What waits in the kernel is bounded too, in bytes.
const BUFFER: usize = 64 << 10;
/// Bounds the messages that are taken out of it in a row.
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
    let mut pace = Pace::new(AT_ONCE_OF_ALL, SPACING, Instant::now());
    let (mut asked, mut failed, mut ask_at) = (0, 0, Some(Instant::now()));
    let mut quiet_until: Option<Instant> = None;
    loop {
        let portal_end = heard.portals.iter().map(|portal| portal.until).min();
        let unmuted_at = heard.muted.iter().map(|(_, until)| *until).min();
        tokio::select! {
            messages = next(&wire, port.index) => {
                for (source, message) in messages? {
                    for event in heard.take(port.index, source, message, Instant::now()) {
                        emit(events, event).await?;
                    }
                }
                if !heard.known.is_empty() {
                    ask_at = None;
                }
                heard.attach(wire.get_ref())?;
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
            () = reached(portal_end) => {
                heard.end_portals(Instant::now());
                if let Some(event) = heard.portal_news(port.index) {
                    emit(events, event).await?;
                }
            }
            () = reached(unmuted_at) => {
                heard.muted.retain(|(_, until)| *until > Instant::now());
                heard.attach(wire.get_ref())?;
            }
            // A lifetime that no router renews ends: the next repetition is to be heard.
            () = reached(quiet_until) => {
                quiet_until = None;
                heard.known.clear();
                heard.attach(wire.get_ref())?;
            }
        }
    }
}

/// Opens a socket that hears advertisements at one port alone.
fn open(port: &Port) -> io::Result<Socket> {
    let socket = Socket::new(Domain::IPV6, Type::RAW, Some(Protocol::ICMPV6))?;
    socket.attach_filter(&filter::news(&[], &[]))?;
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
    /// how often each of them may say something new
    paces: Vec<(Ipv6Addr, Pace)>,
    /// those that did so too often, and until when nothing is heard of them: they hide no other
    muted: Vec<(Ipv6Addr, Instant)>,
    /// that of the router that was heard first is the venue's: who poses as another one later
    /// leads no user elsewhere
    portals: Vec<Portal>,
    portal: Option<PortalUrl>,
}

/// A portal that a router advertises, for as long as it is a router.
#[derive(Debug)]
struct Portal {
    router: Ipv6Addr,
    url: PortalUrl,
    until: Instant,
}

impl Heard {
    /// Has the kernel drop what says nothing new, and all of routers that flood.
    fn attach(&self, wire: &Socket) -> io::Result<()> {
        let muted: Vec<_> = self.muted.iter().map(|(router, _)| router.octets()).collect();
        wire.attach_filter(&filter::news(&self.known, &muted))
    }

    /// Counts a message of a router; whether it is read.
    fn admits(&mut self, router: Ipv6Addr, now: Instant) -> bool {
        if self.muted.iter().any(|(muted, until)| *muted == router && *until > now) {
            return false;
        }
        let known = self.paces.iter().position(|(known, _)| *known == router);
        let (_, mut pace) = known
            .map(|place| self.paces.remove(place))
            .unwrap_or_else(|| (router, Pace::new(AT_ONCE, SPACING, now)));
        let _ = pace.try_take(now);
        let next = { pace }.next(now);
        if self.paces.len() >= MOST_KNOWN {
            self.paces.remove(0);
        }
        self.paces.push((router, pace));
        self.muted.retain(|(muted, _)| *muted != router);
        if next > now {
            if self.muted.len() >= MOST_KNOWN {
                self.muted.remove(0);
            }
            self.muted.push((router, next));
        }
        true
    }

    /// Takes a message in. Returns what is to be reported; nothing of what is no advertisement that
    /// a host may heed.
    fn take(
        &mut self,
        index: LinkIndex,
        router: Ipv6Addr,
        message: Vec<u8>,
        now: Instant,
    ) -> Vec<Event> {
        // What waited before the kernel dropped them.
        if !self.admits(router, now) {
            return Vec::new();
        }
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
        self.end_portals(now);
        let url = advertisement.captive_portal.as_deref().and_then(PortalUrl::read);
        self.take_portal(router, url, now + Duration::from_secs(offer.lifetime.into()), now);
        let portal = self.portal_news(index);
        let advertised = Event::Venue(VenueNews::Advertised { index, router, offer });
        portal.into_iter().chain([advertised]).collect()
    }

    /// Takes in which portal a router advertises until when.
    fn take_portal(
        &mut self,
        router: Ipv6Addr,
        url: Option<PortalUrl>,
        until: Instant,
        now: Instant,
    ) {
        let place = self.portals.iter().position(|portal| portal.router == router);
        match (url.filter(|_| until > now), place) {
            (Some(url), Some(place)) => {
                if let Some(portal) = self.portals.get_mut(place) {
                    (portal.url, portal.until) = (url, until);
                }
            }
            (Some(url), None) if self.portals.len() < MOST_KNOWN => {
                self.portals.push(Portal { router, url, until });
            }
            (Some(_), None) => {}
            (None, _) => self.portals.retain(|portal| portal.router != router),
        }
    }

    fn end_portals(&mut self, now: Instant) {
        self.portals.retain(|portal| portal.until > now);
    }

    /// Returns the portal of the venue, where it is another than before.
    fn portal_news(&mut self, index: LinkIndex) -> Option<Event> {
        let url = self.portals.first().map(|portal| portal.url.clone());
        (url != self.portal).then(|| {
            self.portal.clone_from(&url);
            Event::Uplink(UplinkNews::Portal { index, by: PortalSource::Router, url })
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

#[cfg(test)]
mod tests {
    use super::*;

    fn router(number: u16) -> Ipv6Addr {
        Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, number)
    }

    /// What is reported of the portal when a router advertises this one.
    fn reported(
        heard: &mut Heard,
        from: u16,
        lifetime: u16,
        url: &str,
        now: Instant,
    ) -> Option<Option<String>> {
        // Not of its pace.
        heard.paces.clear();
        heard.muted.clear();
        let mut message = vec![134, 0, 0, 0, 64, 0];
        message.extend(lifetime.to_be_bytes());
        message.extend([0; 8]);
        let units = (url.len() + 2).div_ceil(8);
        message.extend([37, u8::try_from(units).unwrap()]);
        message.extend(url.as_bytes());
        message.resize(16 + units * 8, 0);
        portal(heard.take(2, router(from), message, now))
    }

    fn portal(events: impl IntoIterator<Item = Event>) -> Option<Option<String>> {
        events.into_iter().find_map(|event| match event {
            Event::Uplink(UplinkNews::Portal { url, .. }) => Some(url.map(|url| url.to_string())),
            _ => None,
        })
    }

    #[test]
    fn a_router_that_floods_is_muted_for_a_while_and_no_other_is() {
        let (mut heard, now) = (Heard::default(), Instant::now());
        let mut read =
            |from: u16, at: u64| heard.admits(router(from), now + Duration::from_secs(at));
        assert_eq!((0..100).filter(|_| read(1, 0)).count(), AT_ONCE as usize);
        assert!(read(2, 0), "another router");
        assert!(!read(1, 9) && read(1, 10) && !read(1, 10));
        for number in 100..200 {
            assert!(read(number, 11));
        }
        assert!(heard.paces.len() <= MOST_KNOWN && heard.muted.len() <= MOST_KNOWN);
    }

    #[test]
    fn a_later_router_does_not_take_the_log_in_page_over_and_none_outlives_its_router() {
        let (mut heard, now) = (Heard::default(), Instant::now());
        let at = |seconds| now + Duration::from_secs(seconds);
        let (own, others) = ("https://venue.example/", "https://other.example/");
        let is = |url: &str| Some(Some(url.to_owned()));
        assert_eq!(reported(&mut heard, 9, 60, own, at(0)), is(own));
        assert_eq!(reported(&mut heard, 1, 90, others, at(1)), None, "a lower address");
        for number in 100..120 {
            assert_eq!(reported(&mut heard, number, 20, others, at(2)), None);
        }
        assert!(heard.portals.len() <= MOST_KNOWN);
        assert_eq!(reported(&mut heard, 1, 90, "javascript://x/%0a", at(3)), None);
        assert_eq!(reported(&mut heard, 1, 90, others, at(4)), None);
        heard.end_portals(at(60));
        assert_eq!(portal(heard.portal_news(2)), is(others), "the first one has ended");
        heard.end_portals(at(94));
        assert_eq!(portal(heard.portal_news(2)), Some(None));
    }
}
