//! Reports links, addresses, routes, rules and interface settings from rtnetlink.
//!
//! Subscribes first and dumps afterwards: notifications of changes during the dump are queued and
//! processed after it, so the final state is always right. A socket filter drops irrelevant
//! messages ([`filter::forwarding`]). The queue is read in batches, under load at most a hundred
//! times a second.

mod coalesce;
pub mod conflict;
mod nexthop;
mod parse;

use std::convert::Infallible;
use std::io;
use std::path::Path;
use std::time::Duration;

use bramblegate_netlink::rtnetlink::{Listing, group, kind};
use bramblegate_netlink::{Listener, Message, NetlinkError, Protocol, Socket, filter, messages};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

use crate::event::{Change, Dump, Event, Netconf};
use crate::pace::Pace;
use crate::sync::reached;
use crate::watch::emit;

pub use parse::parse;

use nexthop::NexthopRoutes;

/// Multicast groups of the subscription. Neighbours, by far the busiest, have their own socket.
const GROUPS: [u32; 10] = [
    group::LINK,
    group::IPV4_ADDRESS,
    group::IPV4_ROUTE,
    group::IPV4_RULE,
    group::IPV6_ADDRESS,
    group::IPV6_ROUTE,
    group::IPV6_RULE,
    group::IPV4_NETCONF,
    group::IPV6_NETCONF,
    group::NEXTHOP,
];
/// The dumps, in this order.
const LISTINGS: [Listing; 5] =
    [Listing::Links, Listing::Addresses, Listing::Routes, Listing::Rules, Listing::Netconf];

/// Delay before a new dump. The kernel does not announce IPv4 routes that it removes along with
/// their address, interface or nexthop object, nor the old route of a replacement.
const SETTLE: Duration = Duration::from_millis(20);
/// Minimum time between two dumps, so that a flood of changes cannot cause one after another.
const DUMP_SPACING: Duration = Duration::from_millis(100);
/// Time between the end of a route's lifetime and the new dump, and between dumps while the kernel
/// lists the expired route, which an advertisement may revive.
const EXPIRY_PAUSE: Duration = Duration::from_secs(1);
/// Number of reads without delay; plugging in a cable takes about ten.
const READ_BURST: u32 = 32;
/// Interval between reads after such a burst; meanwhile messages queue up in the socket.
const READ_INTERVAL: Duration = Duration::from_millis(10);

/// Emits every change until the receiver is gone.
///
/// # Errors
/// The sockets cannot be opened or read, or the receiver is gone (`Closed`).
pub async fn run(events: mpsc::Sender<Event>) -> io::Result<Infallible> {
    let socket = Socket::open(Protocol::Route, &GROUPS)?;
    socket.attach(&filter::forwarding())?;
    let mut listener = Listener::new(socket)?;
    let mut requests = Socket::open(Protocol::Route, &[])?;
    let mut nexthops = NexthopRoutes::default();
    let mut expiry = None;
    let mut dump_at = dump(&mut requests, &mut nexthops, &mut expiry, &events).await?;
    let mut dumped = Instant::now();
    let mut pace = Pace::new(READ_BURST, READ_INTERVAL, dumped);
    let mut read_at = dumped;
    let mut parsed = Vec::new();
    loop {
        let batch = tokio::select! {
            batch = receive(&mut listener, read_at) => batch,
            () = reached(dump_at.into_iter().chain(expiry).min()) => {
                dump_at = dump(&mut requests, &mut nexthops, &mut expiry, &events).await?;
                dumped = Instant::now();
                continue;
            }
        };
        let now = Instant::now();
        read_at = pace.next(now);
        match batch {
            Ok(batch) => {
                for message in messages(batch) {
                    let before = parsed.len();
                    note_expiry(&mut expiry, &message, now);
                    let stale = parse(&message, &mut parsed);
                    if nexthops.take(&message, parsed.get(before..).unwrap_or_default()) || stale {
                        dump_at = dump_at.or(Some((now + SETTLE).max(dumped + DUMP_SPACING)));
                    }
                }
                for mut event in coalesce::coalesce(std::mem::take(&mut parsed)) {
                    detect_radio(&mut event);
                    emit(&events, event).await?;
                }
            }
            Err(NetlinkError::Overrun) => {
                emit(&events, Event::Overrun).await?;
                dump_at = Some(now.max(dumped + DUMP_SPACING));
            }
            Err(error) => return Err(error.into()),
        }
    }
}

/// Receives the queued messages, not before `at`.
async fn receive(listener: &mut Listener, at: Instant) -> Result<&[u8], NetlinkError> {
    if at > Instant::now() {
        listener.rest();
        sleep_until(at).await;
    }
    listener.receive().await
}

/// Returns the current state as events, for commands that read it once.
///
/// # Errors
/// The kernel refused the socket or a dump.
pub fn snapshot() -> io::Result<Vec<Event>> {
    let mut requests = Socket::open(Protocol::Route, &[])?;
    let mut events = Vec::new();
    for listing in LISTINGS {
        let dump = requests.dump(&listing.request(), |message| {
            let mut parsed = Vec::new();
            parse(message, &mut parsed);
            parsed
        })?;
        events.extend(dump.items);
    }
    events.iter_mut().for_each(detect_radio);
    events.extend(global_forwarding());
    Ok(events)
}

/// Returns whether `net.ipv4.ip_forward` is on; false if it cannot be read.
pub fn is_forwarding_everywhere() -> bool {
    read_global_forwarding() == Some(true)
}

fn read_global_forwarding() -> Option<bool> {
    let text = std::fs::read_to_string("/proc/sys/net/ipv4/conf/all/forwarding").ok()?;
    Some(text.trim() != "0")
}

/// Returns the state of `net.ipv4.ip_forward`, which no dump contains.
fn global_forwarding() -> Option<Event> {
    let forwarding = Some(read_global_forwarding()?);
    Some(Event::Netconf(Netconf { index: Netconf::ALL, forwarding, ..Netconf::default() }))
}

/// Notes when the lifetime of a route ends. The kernel does not announce that, nor that an
/// advertisement has renewed it, so a dump at that time finds out.
fn note_expiry(expiry: &mut Option<Instant>, message: &Message<'_>, now: Instant) {
    if message.kind != kind::NEW_ROUTE {
        return;
    }
    let end = parse::lifetime(message).map(|rest| now + rest + EXPIRY_PAUSE);
    *expiry = (*expiry).into_iter().chain(end).min();
}

/// Emits a complete dump, and notes in `expiry` when the first route expires. Returns when to
/// repeat the dump, if changes during it made it inconsistent.
async fn dump(
    requests: &mut Socket,
    nexthops: &mut NexthopRoutes,
    expiry: &mut Option<Instant>,
    events: &mpsc::Sender<Event>,
) -> io::Result<Option<Instant>> {
    let mut complete = true;
    nexthops.clear();
    *expiry = None;
    emit(events, Event::Dump(Dump::Begin)).await?;
    for listing in LISTINGS {
        let dump = requests.dump(&listing.request(), |message| {
            let mut parsed = Vec::new();
            parse(message, &mut parsed);
            note_expiry(expiry, message, Instant::now());
            nexthops.take(message, &parsed);
            parsed
        })?;
        complete &= dump.whole;
        for mut event in dump.items {
            detect_radio(&mut event);
            emit(events, event).await?;
        }
    }
    if let Some(event) = global_forwarding() {
        emit(events, event).await?;
    }
    emit(events, Event::Dump(Dump::End)).await?;
    Ok((!complete).then(|| Instant::now() + DUMP_SPACING))
}

/// Marks a Wi-Fi interface whose name does not begin with `wl`: it has a `phy80211` in sysfs.
/// Virtual interfaces are not looked up.
fn detect_radio(event: &mut Event) {
    if let Event::Link(Change::Present(link)) = event {
        if !link.wireless && !link.loopback && link.kind.is_none() {
            link.wireless = Path::new("/sys/class/net").join(&link.name).join("phy80211").exists();
        }
    }
}
