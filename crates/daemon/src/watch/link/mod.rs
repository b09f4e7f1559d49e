//! Links, addresses, routes, rules and interface settings, as the kernel announces them by
//! rtnetlink.
//!
//! Subscribed first, listed afterwards: what changes while the listing runs waits in the groups'
//! socket and is heard after it, so the last word is always right. The kernel drops what is not
//! read ([`filter::forwarding`]); what waits is read at once and as a whole, and in a storm at
//! most a hundred times a second.

mod coalesce;
pub mod conflict;
mod nexthop;
mod parse;

use std::convert::Infallible;
use std::io;
use std::path::Path;
use std::time::Duration;

use bramblegate_netlink::rtnetlink::{Listing, group};
use bramblegate_netlink::{Listener, NetlinkError, Protocol, Socket, filter, messages};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

use crate::event::{Change, Dump, Event, Netconf};
use crate::pace::Pace;
use crate::watch::emit;

pub use parse::parse;

use nexthop::NexthopRoutes;

/// What is heard of. Neighbours have a socket of their own, because they are the busiest by far.
const GROUPS: [u32; 9] = [
    group::LINK,
    group::IPV4_ADDRESS,
    group::IPV4_ROUTE,
    group::IPV4_RULE,
    group::IPV6_ADDRESS,
    group::IPV6_ROUTE,
    group::IPV6_RULE,
    group::IPV4_NETCONF,
    group::NEXTHOP,
];
/// What is listed, in this order.
const LISTINGS: [Listing; 5] =
    [Listing::Links, Listing::Addresses, Listing::Routes, Listing::Rules, Listing::Netconf];

/// The kernel drops IPv4 routes without a word when their address, interface or nexthop object
/// goes, and names only the new route of a replacement: list again this long after.
const SETTLE: Duration = Duration::from_millis(20);
/// Shortest time between two listings, so that a storm cannot keep us listing.
const DUMP_SPACING: Duration = Duration::from_millis(100);
/// Bounds the readings that follow one another at once; a cable that is plugged in takes some ten,
/// …
const READINGS: u32 = 32;
/// … and in a storm there is one in each interval: what comes meanwhile waits and is read together.
const READING_INTERVAL: Duration = Duration::from_millis(10);

/// Emits every change until the receiver is gone.
///
/// # Errors
/// The sockets cannot be made or read, or the receiver is gone (`Closed`).
pub async fn run(events: mpsc::Sender<Event>) -> io::Result<Infallible> {
    let socket = Socket::open(Protocol::Route, &GROUPS)?;
    socket.attach(&filter::forwarding())?;
    let mut listener = Listener::new(socket)?;
    let mut requests = Socket::open(Protocol::Route, &[])?;
    let mut nexthops = NexthopRoutes::default();
    let mut list_at = list(&mut requests, &mut nexthops, &events).await?;
    let mut listed = Instant::now();
    let mut pace = Pace::new(READINGS, READING_INTERVAL, listed);
    let mut read_at = listed;
    let mut parsed = Vec::new();
    loop {
        let batch = tokio::select! {
            batch = read_from(&mut listener, read_at) => batch,
            () = due(list_at) => {
                list_at = list(&mut requests, &mut nexthops, &events).await?;
                listed = Instant::now();
                continue;
            }
        };
        let now = Instant::now();
        read_at = pace.next(now);
        match batch {
            Ok(batch) => {
                for message in messages(batch) {
                    let before = parsed.len();
                    let unsure = parse(&message, &mut parsed);
                    if nexthops.take(&message, parsed.get(before..).unwrap_or_default()) || unsure {
                        list_at = list_at.or(Some((now + SETTLE).max(listed + DUMP_SPACING)));
                    }
                }
                for mut event in coalesce::last_words(std::mem::take(&mut parsed)) {
                    look_for_radio(&mut event);
                    emit(&events, event).await?;
                }
            }
            Err(NetlinkError::Overrun) => {
                emit(&events, Event::Overrun).await?;
                list_at = Some(now.max(listed + DUMP_SPACING));
            }
            Err(error) => return Err(error.into()),
        }
    }
}

/// Reads what waits, not before `at`.
async fn read_from(listener: &mut Listener, at: Instant) -> Result<&[u8], NetlinkError> {
    if at > Instant::now() {
        listener.rest();
        sleep_until(at).await;
    }
    listener.receive().await
}

/// Returns what there is now, once: for the verbs that only look.
///
/// # Errors
/// The kernel refused the socket or a listing.
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
    events.iter_mut().for_each(look_for_radio);
    events.extend(global_forwarding());
    Ok(events)
}

/// Returns whether `net.ipv4.ip_forward` is on; what cannot be read is not.
pub fn is_forwarding_everywhere() -> bool {
    read_global_forwarding() == Some(true)
}

fn read_global_forwarding() -> Option<bool> {
    let text = std::fs::read_to_string("/proc/sys/net/ipv4/conf/all/forwarding").ok()?;
    Some(text.trim() != "0")
}

/// Returns the state of `net.ipv4.ip_forward`, which no listing of links holds.
fn global_forwarding() -> Option<Event> {
    let forwarding = Some(read_global_forwarding()?);
    Some(Event::Netconf(Netconf { index: Netconf::ALL, forwarding, ..Netconf::default() }))
}

async fn due(at: Option<Instant>) {
    match at {
        Some(at) => sleep_until(at).await,
        None => std::future::pending().await,
    }
}

/// Emits everything there is; `Some` when it changed so much meanwhile that it is to be listed
/// again then.
async fn list(
    requests: &mut Socket,
    nexthops: &mut NexthopRoutes,
    events: &mpsc::Sender<Event>,
) -> io::Result<Option<Instant>> {
    let mut whole = true;
    nexthops.clear();
    emit(events, Event::Dump(Dump::Begin)).await?;
    for listing in LISTINGS {
        let dump = requests.dump(&listing.request(), |message| {
            let mut parsed = Vec::new();
            parse(message, &mut parsed);
            nexthops.take(message, &parsed);
            parsed
        })?;
        whole &= dump.whole;
        for mut event in dump.items {
            look_for_radio(&mut event);
            emit(events, event).await?;
        }
    }
    if let Some(event) = global_forwarding() {
        emit(events, event).await?;
    }
    emit(events, Event::Dump(Dump::End)).await?;
    Ok((!whole).then(|| Instant::now() + DUMP_SPACING))
}

/// Marks a radio: one under a name that does not begin with `wl` still has its `phy80211`; only
/// hardware is looked up.
fn look_for_radio(event: &mut Event) {
    if let Event::Link(Change::Present(link)) = event {
        if !link.wireless && !link.loopback && link.kind.is_none() {
            link.wireless = Path::new("/sys/class/net").join(&link.name).join("phy80211").exists();
        }
    }
}
