//! Receives router advertisements (RFC 4861) on one interface, and solicits one at the start. A raw
//! socket gets them even if a DHCP client has made the kernel ignore them (`accept_ra=0`).

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

/// All routers on the link (RFC 4291, 2.7.1).
const ALL_ROUTERS: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 2);
/// `MAX_RTR_SOLICITATIONS`, `RTR_SOLICITATION_INTERVAL` (RFC 4861, section 10).
const SOLICITATIONS: u8 = 3;
const SOLICITATION_INTERVAL: Duration = Duration::from_secs(4);
/// Pause after a solicitation that could not be sent: until duplicate address detection has
/// finished the interface has no usable link-local address.
const SEND_RETRY: Duration = Duration::from_millis(250);
/// Maximum number of such retries: an interface without IPv6 never gets an address.
const MAX_SEND_RETRIES: u8 = 40;
/// Pause before a vanished interface is tried again; netlink reports its end as well.
const REOPEN_PAUSE: Duration = Duration::from_millis(500);
/// Number of messages of one router read without delay, then one per `SPACING`: any host on the
/// link can send advertisements. The kernel drops those in between.
const BURST: u32 = 8;
const SPACING: Duration = Duration::from_secs(10);
/// The same limit for all source addresses together.
const TOTAL_BURST: u32 = 32;
/// Size of the socket's receive buffer, in bytes.
const RECEIVE_BUFFER: usize = 64 << 10;
/// Maximum number of messages read in a row.
const BATCH: usize = 16;
/// Size of the read buffer, in bytes: a jumbo frame.
const MAX_MESSAGE: usize = 9216;
/// Maximum time for which the kernel drops repetitions; less if a lifetime is shorter.
const QUIET: Duration = Duration::from_secs(600);
/// Maximum number of routers that are tracked.
const MAX_ROUTERS: usize = 4;

/// Identifies the interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Port {
    index: LinkIndex,
    name: String,
    mac: Option<Mac>,
    /// See [`VenuePlan::generation`].
    generation: u64,
}

impl Port {
    /// Returns the interface of a plan.
    pub fn of(plan: &VenuePlan) -> Self {
        let generation = plan.generation;
        Self { index: plan.index, name: plan.name.clone(), mac: plan.mac, generation }
    }
}

/// Receives on one interface until the receiver is gone; resumes when the interface reappears.
pub async fn listen(port: Port, events: mpsc::Sender<Event>) {
    loop {
        let Err(error) = receive(&port, &events).await;
        if Closed::is_cause_of(&error) {
            return;
        }
        // This kernel has no IPv6.
        if error.raw_os_error() == Some(Errno::AFNOSUPPORT.raw_os_error()) {
            return;
        }
        debug!(port = %port.name, %error, "router advertisements are not heard for now");
        let pause = if packet::is_port_gone(&error) { REOPEN_PAUSE } else { SPACING };
        sleep(pause).await;
    }
}

async fn receive(port: &Port, events: &mpsc::Sender<Event>) -> io::Result<Infallible> {
    let wire = readable(open(port)?)?;
    let mut routers = Routers::default();
    let mut pace = Pace::new(TOTAL_BURST, SPACING, Instant::now());
    let (mut sent, mut failed, mut solicit_at) = (0, 0, Some(Instant::now()));
    let mut read_at = Instant::now();
    loop {
        let portal_end = routers.portals.iter().map(|portal| portal.until).min();
        let unmute_at = routers.muted.iter().map(|(_, until)| *until).min();
        tokio::select! {
            messages = next(&wire, port.index, read_at) => {
                for (source, message) in messages? {
                    for event in routers.take(port.index, source, message, Instant::now()) {
                        emit(events, event).await?;
                    }
                }
                if !routers.known.is_empty() {
                    solicit_at = None;
                }
                routers.attach_filter(wire.get_ref())?;
                read_at = pace.next(Instant::now());
            }
            () = reached(solicit_at) => {
                let result = wire.get_ref().send_to(
                    &solicitation(port.mac.map(|Mac(mac)| mac)),
                    &SocketAddrV6::new(ALL_ROUTERS, 0, 0, port.index).into(),
                );
                let pause = match result {
                    Ok(_) => {
                        sent += 1;
                        SOLICITATION_INTERVAL
                    }
                    Err(error) if packet::is_port_gone(&error) => return Err(error),
                    Err(_) => {
                        failed += 1;
                        SEND_RETRY
                    }
                };
                let retry = sent < SOLICITATIONS && failed < MAX_SEND_RETRIES;
                solicit_at = retry.then(|| Instant::now() + pause);
            }
            () = reached(portal_end) => {
                routers.expire_portals(Instant::now());
                if let Some(event) = routers.portal_change(port.index) {
                    emit(events, event).await?;
                }
            }
            () = reached(unmute_at) => {
                routers.muted.retain(|(_, until)| *until > Instant::now());
                routers.attach_filter(wire.get_ref())?;
            }
            // A repetition renews lifetimes, so it must pass again before one ends.
            () = reached(routers.quiet_until) => {
                routers.hear_repetitions();
                routers.attach_filter(wire.get_ref())?;
            }
        }
    }
}

/// Opens a raw ICMPv6 socket for advertisements on one interface.
fn open(port: &Port) -> io::Result<Socket> {
    let socket = Socket::new(Domain::IPV6, Type::RAW, Some(Protocol::ICMPV6))?;
    socket.attach_filter(&filter::unless_known(&[], &[]))?;
    socket.bind_device(Some(port.name.as_bytes()))?;
    socket.set_nonblocking(true)?;
    socket.set_recv_buffer_size(RECEIVE_BUFFER)?;
    socket.set_multicast_hops_v6(255)?;
    socket.set_multicast_if_v6(port.index)?;
    Ok(socket)
}

/// Waits for messages and returns the queued ones, at most [`BATCH`], with their sources; not before
/// `read_at`.
async fn next(
    wire: &AsyncFd<Socket>,
    index: LinkIndex,
    read_at: Instant,
) -> io::Result<Vec<(Ipv6Addr, Vec<u8>)>> {
    sleep_until(read_at).await;
    let mut messages = Vec::new();
    let mut buffer = vec![0; MAX_MESSAGE];
    loop {
        let mut guard = wire.readable().await?;
        while messages.len() < BATCH {
            match recvfrom(wire.get_ref(), &mut buffer[..], RecvFlags::DONTWAIT) {
                Ok((length, _, Some(from))) => {
                    // The queue may hold packets of other interfaces from before the bind.
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

/// Holds the state of the routers heard so far. Pure.
#[derive(Debug, Default)]
struct Routers {
    /// Messages whose exact repetitions the filter drops.
    known: Vec<Known>,
    /// Until when the filter may drop repetitions: no later than for the first of the routers, so
    /// that the messages of another cannot postpone it.
    quiet_until: Option<Instant>,
    /// Rate limit of each router.
    paces: Vec<(Ipv6Addr, Pace)>,
    /// Routers above their limit, and until when all their messages are dropped.
    muted: Vec<(Ipv6Addr, Instant)>,
    /// Captive portals, oldest router first. The first is reported, so that an impostor that comes
    /// later cannot redirect users.
    portals: Vec<Portal>,
    /// The portal that was last reported.
    portal: Option<PortalUrl>,
}

/// Holds the captive portal of a router, valid for the router lifetime.
#[derive(Debug)]
struct Portal {
    router: Ipv6Addr,
    url: PortalUrl,
    until: Instant,
}

impl Routers {
    /// Attaches a filter that drops repetitions and the messages of muted routers.
    fn attach_filter(&self, wire: &Socket) -> io::Result<()> {
        let muted: Vec<_> = self.muted.iter().map(|(router, _)| router.octets()).collect();
        wire.attach_filter(&filter::unless_known(&self.known, &muted))
    }

    /// Counts a message against its router's limit. Returns whether to process it; mutes the router
    /// if the limit is now exhausted.
    fn admits(&mut self, router: Ipv6Addr, now: Instant) -> bool {
        if self.muted.iter().any(|(muted, until)| *muted == router && *until > now) {
            return false;
        }
        let position = self.paces.iter().position(|(known, _)| *known == router);
        let (_, mut pace) = position
            .map(|position| self.paces.remove(position))
            .unwrap_or_else(|| (router, Pace::new(BURST, SPACING, now)));
        let _ = pace.try_take(now);
        // On a copy: only the time of the next slot is needed.
        let next = { pace }.next(now);
        push_bounded(&mut self.paces, (router, pace));
        self.muted.retain(|(muted, _)| *muted != router);
        if next > now {
            push_bounded(&mut self.muted, (router, next));
        }
        true
    }

    /// Processes a message. Returns the events to report; none for an invalid advertisement
    /// (RFC 4861, section 6.1.2).
    fn take(
        &mut self,
        index: LinkIndex,
        router: Ipv6Addr,
        message: Vec<u8>,
        now: Instant,
    ) -> Vec<Event> {
        // The queue may hold messages from before the router was muted in the filter.
        if !self.admits(router, now) {
            return Vec::new();
        }
        // The filter has checked the hop limit of 255.
        let Ok(advertisement) = Advertisement::read(&message, router, 255) else {
            return Vec::new();
        };
        let offer = offer(&advertisement);
        self.known.retain(|(known, _)| *known != router.octets());
        if self.known.is_empty() {
            self.quiet_until = None;
        }
        let lifetimes = offer.nat64.iter().map(|(_, lifetime)| *lifetime).chain([offer.lifetime]);
        let least = lifetimes.filter(|lifetime| *lifetime > 0).min();
        let quiet = least.map_or(QUIET, |least| Duration::from_secs(least.into()) / 3).min(QUIET);
        let quiet_until = now + quiet;
        self.quiet_until =
            Some(self.quiet_until.map_or(quiet_until, |known| known.min(quiet_until)));
        push_bounded(&mut self.known, (router.octets(), message));
        self.expire_portals(now);
        let url = advertisement.captive_portal.as_deref().and_then(PortalUrl::read);
        self.take_portal(router, url, now + Duration::from_secs(offer.lifetime.into()), now);
        let portal = self.portal_change(index);
        let advertised = Event::Venue(VenueNews::Advertised { index, router, offer });
        portal.into_iter().chain([advertised]).collect()
    }

    /// Lets repetitions pass the filter again.
    fn hear_repetitions(&mut self) {
        self.known.clear();
        self.quiet_until = None;
    }

    /// Records a router's portal, valid until `until`; `None` removes it.
    fn take_portal(
        &mut self,
        router: Ipv6Addr,
        url: Option<PortalUrl>,
        until: Instant,
        now: Instant,
    ) {
        let Some(url) = url.filter(|_| until > now) else {
            self.portals.retain(|portal| portal.router != router);
            return;
        };
        let has_room = self.portals.len() < MAX_ROUTERS;
        match self.portals.iter_mut().find(|portal| portal.router == router) {
            Some(portal) => (portal.url, portal.until) = (url, until),
            None if has_room => self.portals.push(Portal { router, url, until }),
            None => {}
        }
    }

    fn expire_portals(&mut self, now: Instant) {
        self.portals.retain(|portal| portal.until > now);
    }

    /// Returns an event if the portal to report has changed.
    fn portal_change(&mut self, index: LinkIndex) -> Option<Event> {
        let url = self.portals.first().map(|portal| portal.url.clone());
        (url != self.portal).then(|| {
            self.portal.clone_from(&url);
            Event::Uplink(UplinkNews::Portal { index, by: PortalSource::Router, url })
        })
    }
}

/// Appends an item; drops the oldest one at [`MAX_ROUTERS`].
fn push_bounded<T>(items: &mut Vec<T>, item: T) {
    if items.len() >= MAX_ROUTERS {
        items.remove(0);
    }
    items.push(item);
}

/// Returns the relevant parts of an advertisement.
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

    /// Returns the reported portal, if any, after a router advertises this one.
    fn reported(
        routers: &mut Routers,
        from: u16,
        lifetime: u16,
        url: &str,
        now: Instant,
    ) -> Option<Option<String>> {
        // The rate limit is not tested here.
        routers.paces.clear();
        routers.muted.clear();
        let mut message = vec![134, 0, 0, 0, 64, 0];
        message.extend(lifetime.to_be_bytes());
        message.extend([0; 8]);
        let units = (url.len() + 2).div_ceil(8);
        message.extend([37, u8::try_from(units).unwrap()]);
        message.extend(url.as_bytes());
        message.resize(16 + units * 8, 0);
        portal(routers.take(2, router(from), message, now))
    }

    fn portal(events: impl IntoIterator<Item = Event>) -> Option<Option<String>> {
        events.into_iter().find_map(|event| match event {
            Event::Uplink(UplinkNews::Portal { url, .. }) => Some(url.map(|url| url.to_string())),
            _ => None,
        })
    }

    #[test]
    fn a_router_that_floods_is_muted_for_a_while_and_no_other_is() {
        let (mut routers, now) = (Routers::default(), Instant::now());
        let mut read =
            |from: u16, at: u64| routers.admits(router(from), now + Duration::from_secs(at));
        assert_eq!((0..100).filter(|_| read(1, 0)).count(), BURST as usize);
        assert!(read(2, 0), "another router");
        assert!(!read(1, 9) && read(1, 10) && !read(1, 10));
        for number in 100..200 {
            assert!(read(number, 11));
        }
        assert!(routers.paces.len() <= MAX_ROUTERS && routers.muted.len() <= MAX_ROUTERS);
    }

    /// A repetition renews the offer of a router, so it must pass before that ends.
    #[test]
    fn a_router_whose_advertisements_change_does_not_keep_those_of_another_out() {
        let (mut routers, now) = (Routers::default(), Instant::now());
        let at = |seconds| now + Duration::from_secs(seconds);
        reported(&mut routers, 1, 90, "https://venue.example/", at(0));
        assert_eq!(routers.quiet_until, Some(at(30)), "a third of its lifetime");
        for second in 1..30 {
            reported(&mut routers, 2, 600, &format!("https://venue.example/{second}"), at(second));
            assert_eq!(routers.quiet_until, Some(at(30)), "after {second} s");
        }
        assert_eq!(routers.known.len(), 2);
        routers.hear_repetitions();
        assert!(routers.known.is_empty() && routers.quiet_until.is_none());
        reported(&mut routers, 2, 600, "https://venue.example/", at(30));
        assert_eq!(routers.quiet_until, Some(at(230)), "alone");
    }

    #[test]
    fn a_later_router_does_not_replace_the_portal_and_none_outlives_its_router() {
        let (mut routers, now) = (Routers::default(), Instant::now());
        let at = |seconds| now + Duration::from_secs(seconds);
        let (own, others) = ("https://venue.example/", "https://other.example/");
        let is = |url: &str| Some(Some(url.to_owned()));
        assert_eq!(reported(&mut routers, 9, 60, own, at(0)), is(own));
        assert_eq!(reported(&mut routers, 1, 90, others, at(1)), None, "a lower address");
        for number in 100..120 {
            assert_eq!(reported(&mut routers, number, 20, others, at(2)), None);
        }
        assert!(routers.portals.len() <= MAX_ROUTERS);
        assert_eq!(reported(&mut routers, 1, 90, "javascript://x/%0a", at(3)), None);
        assert_eq!(reported(&mut routers, 1, 90, others, at(4)), None);
        routers.expire_portals(at(60));
        assert_eq!(portal(routers.portal_change(2)), is(others), "the first one has ended");
        routers.expire_portals(at(94));
        assert_eq!(portal(routers.portal_change(2)), Some(None));
    }
}
