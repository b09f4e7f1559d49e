//! Links, addresses, routes, rules and interface settings, as the kernel tells them by rtnetlink.
//!
//! Subscribed first, listed afterwards: what changes while the listing runs waits in the groups' socket and is told after
//! it, so the last word is always right. The socket is read and parsed here, one datagram at a time, straight into events.

mod neighbours;
mod nexthop;
mod parse;
mod socket;
mod wire;

use std::convert::Infallible;
use std::io;
use std::path::Path;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

use crate::event::{Change, Dump, Event, Netconf};
use crate::source::readable;

pub use neighbours::{entry as neighbour_entry, is_permanent, neighbour, resolve_anew, run as run_neighbours};
pub use parse::{INET_CONF_ATTRIBUTE, inet_conf, parse};
pub use socket::{Connection, LISTINGS, Listing, RequestError};
pub use wire::{Attributes, Message, Messages, push, u32_of};

use nexthop::NexthopRoutes;
use socket::Groups;

/// The kernel drops IPv4 routes without a word when their address, interface or nexthop object goes, and names only the new route
/// of a replacement: list again this long after.
const SETTLE: Duration = Duration::from_millis(20);
/// Shortest time between two listings, so that a storm cannot keep us listing.
const DUMP_SPACING: Duration = Duration::from_millis(100);

/// Tells every change until the receiver is gone.
///
/// # Errors
/// The sockets cannot be made or read, or the receiver is gone (`BrokenPipe`).
pub async fn run(events: mpsc::Sender<Event>) -> io::Result<Infallible> {
    let groups = Groups::subscribe(&socket::GROUPS)?;
    groups.subscribe_if_known(socket::NEXTHOPS);
    let groups = readable(groups)?;
    let mut requests = Connection::open()?;
    let mut nexthops = NexthopRoutes::default();
    let mut list_at = list(&mut requests, &mut nexthops, &events).await?;
    let mut listed = Instant::now();
    let mut buffer = Vec::with_capacity(socket::DATAGRAM);
    let mut parsed = Vec::new();
    loop {
        let mut guard = tokio::select! {
            guard = groups.readable() => guard?,
            () = due(list_at) => {
                list_at = list(&mut requests, &mut nexthops, &events).await?;
                listed = Instant::now();
                continue;
            }
        };
        match groups.get_ref().receive(&mut buffer) {
            Ok(()) => {
                for message in Messages::new(&buffer) {
                    let before = parsed.len();
                    let unsure = parse(&message, &mut parsed);
                    if nexthops.take(&message, parsed.get(before..).unwrap_or_default()) || unsure {
                        let _ = list_at.get_or_insert_with(|| (Instant::now() + SETTLE).max(listed + DUMP_SPACING));
                    }
                }
                for mut event in parsed.drain(..) {
                    look_for_radio(&mut event);
                    tell(&events, event).await?;
                }
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => guard.clear_ready(),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if socket::is_overrun(&error) => {
                tell(&events, Event::Overrun).await?;
                groups.get_ref().discard(&mut buffer);
                list_at = Some(Instant::now().max(listed + DUMP_SPACING));
            }
            Err(error) => return Err(error),
        }
    }
}

/// What there is now, once: for the verbs that only look.
///
/// # Errors
/// The kernel refused the socket or a listing.
pub fn snapshot() -> io::Result<Vec<Event>> {
    let mut requests = Connection::open()?;
    let mut events = Vec::new();
    for listing in socket::LISTINGS {
        requests.dump(listing, |message| {
            parse(message, &mut events);
        })?;
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

/// Tells everything there is; `Some` when it changed so much meanwhile that it is to be listed again then.
async fn list(
    requests: &mut Connection,
    nexthops: &mut NexthopRoutes,
    events: &mpsc::Sender<Event>,
) -> io::Result<Option<Instant>> {
    let mut whole = true;
    nexthops.clear();
    tell(events, Event::Dump(Dump::Begin)).await?;
    for listing in socket::LISTINGS {
        let mut parsed = Vec::new();
        whole &= requests.dump(listing, |message| {
            let before = parsed.len();
            parse(message, &mut parsed);
            nexthops.take(message, parsed.get(before..).unwrap_or_default());
        })?;
        for mut event in parsed {
            look_for_radio(&mut event);
            tell(events, event).await?;
        }
    }
    if let Some(event) = global_forwarding() {
        tell(events, event).await?;
    }
    tell(events, Event::Dump(Dump::End)).await?;
    Ok((!whole).then(|| Instant::now() + DUMP_SPACING))
}

async fn tell(events: &mpsc::Sender<Event>, event: Event) -> io::Result<()> {
    events.send(event).await.map_err(|_| io::ErrorKind::BrokenPipe.into())
}

/// A radio under a name that does not begin with `wl` still has its `phy80211`; only hardware is looked up.
fn look_for_radio(event: &mut Event) {
    if let Event::Link(Change::Present(link)) = event {
        if !link.wireless && !link.loopback && link.kind.is_none() {
            link.wireless = Path::new("/sys/class/net").join(&link.name).join("phy80211").exists();
        }
    }
}
