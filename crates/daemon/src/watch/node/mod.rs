//! Reports the neighbours on the cluster port, from the kernel's neighbour table (`RTM_NEWNEIGH`,
//! `RTNLGRP_NEIGH`).
//!
//! The kernel announces each state change of each entry, a few a minute for each probed node. A
//! socket filter drops those of other interfaces and transient states ([`filter::neighbours`]). Of
//! the rest only changes to our copy of the table become events. The socket is read at most twenty
//! times a second, under load four times, so that the changes of ten thousand nodes arrive in a few
//! large batches.

mod roll_call;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::convert::Infallible;
use std::io;
use std::net::IpAddr;
use std::time::Duration;

use bramblegate_netlink::packet::AddressFamily;
use bramblegate_netlink::packet::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourFlags, NeighbourHeader, NeighbourMessage,
    NeighbourState,
};
use bramblegate_netlink::rtnetlink::{self, Listing, group, kind};
use bramblegate_netlink::{
    Listener, Message, NetlinkError, Protocol, Request, Socket, filter, messages,
};
use socket2::SockFilter;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep};

use crate::event::{Change, Event, LinkIndex, Mac, Neighbour, NeighbourPlan};
use crate::pace::Pace;
use crate::sync::Closed;
use crate::watch::emit;
use roll_call::RollCall;

/// States that are not transient: the neighbour is present, or resolution has failed.
const STABLE_STATES: [NeighbourState; 4] = [
    NeighbourState::Reachable,
    NeighbourState::Stale,
    NeighbourState::Permanent,
    NeighbourState::Failed,
];

/// Pause between two reads.
const PAUSE: Duration = Duration::from_millis(50);
/// Pause after a batch of more than [`LARGE_BATCH`] messages. With it the socket's buffer suffices
/// for some 19,000 messages a second; an overrun costs a dump.
const LONG_PAUSE: Duration = Duration::from_millis(250);
const LARGE_BATCH: usize = 48;
/// Delay before an inconsistent dump is repeated.
const REDUMP_DELAY: Duration = Duration::from_millis(500);

/// Parses a message about a neighbour on `port`. Returns `None` for another interface and for a
/// transient state (incomplete, delay, probe).
pub fn neighbour(message: &Message<'_>, port: LinkIndex) -> Option<Change<Neighbour>> {
    if !matches!(message.kind, kind::NEW_NEIGHBOUR | kind::DEL_NEIGHBOUR) {
        return None;
    }
    let read = rtnetlink::neighbour(message)?;
    let header = &read.header;
    if header.ifindex != port || header.flags.contains(NeighbourFlags::Proxy) {
        return None;
    }
    let gone = message.kind == kind::DEL_NEIGHBOUR || header.state == NeighbourState::Failed;
    if !gone && !STABLE_STATES.contains(&header.state) {
        return None;
    }
    let (mut address, mut mac) = (None, None);
    for attribute in read.attributes() {
        match attribute {
            NeighbourAttribute::Destination(NeighbourAddress::Inet(v4)) => {
                address = Some(IpAddr::V4(v4))
            }
            NeighbourAttribute::Destination(NeighbourAddress::Inet6(v6)) => {
                address = Some(IpAddr::V6(v6))
            }
            NeighbourAttribute::LinkLayerAddress(bytes) => mac = bytes.try_into().ok().map(Mac),
            _ => {}
        }
    }
    let reachable = !gone && header.state != NeighbourState::Stale;
    let found = Neighbour { index: port, address: address?, mac: mac.filter(|_| !gone), reachable };
    if gone {
        return Some(Change::Gone(found));
    }
    found.mac.map(|_| Change::Present(found))
}

/// Returns the bit mask of [`STABLE_STATES`] (`NUD_*`).
fn stable_states() -> u16 {
    STABLE_STATES.into_iter().map(u16::from).fold(0, |all, state| all | state)
}

/// Returns a message that names the entry of this address.
pub fn neighbour_message(port: LinkIndex, address: IpAddr) -> NeighbourMessage {
    let mut message = NeighbourMessage::default();
    message.header = NeighbourHeader {
        family: if address.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 },
        ifindex: port,
        ..NeighbourHeader::default()
    };
    message.attributes.push(NeighbourAttribute::Destination(address.into()));
    message
}

/// Returns whether an entry has a hardware address that the kernel resolved itself.
fn is_resolved(message: &Message<'_>) -> bool {
    use NeighbourState::{Failed, Incomplete, Noarp, None, Permanent};
    let state = rtnetlink::neighbour(message).map(|read| read.header.state);
    state.is_some_and(|state| !matches!(state, Failed | Incomplete | Noarp | None | Permanent))
}

/// Deletes the kernel's neighbour entry of this address, so that the next packet triggers a
/// broadcast resolution. Otherwise the kernel would use or probe the known hardware address for
/// another half minute. Permanent entries stay, as do all entries on a kernel before 5.0, which
/// does not support queries for a single entry.
///
/// # Errors
/// The entry does not exist (`ENOENT`), the kernel refused, or the socket failed.
pub fn resolve_anew(
    requests: &mut Socket,
    port: LinkIndex,
    address: IpAddr,
) -> Result<(), NetlinkError> {
    let message = neighbour_message(port, address);
    let mut resolved = false;
    requests.request(&Request::new(kind::GET_NEIGHBOUR, &message), |reply| {
        resolved = is_resolved(reply)
    })?;
    if resolved {
        requests.request(&Request::new(kind::DEL_NEIGHBOUR, &message), |_| {})
    } else {
        Ok(())
    }
}

/// Number of changes of a hardware address that are reported without delay, over all addresses.
const MOVE_BURST: u32 = 64;
/// Interval between such changes after a burst: a spoofing host can change each entry once a
/// second.
const MOVE_INTERVAL: Duration = Duration::from_millis(50);
/// An address whose hardware address did not change for this long is exempt from the limit, so that
/// a replaced board is reported at once even during a flood.
const RECENT_MOVE: Duration = Duration::from_secs(60);
/// Maximum number of addresses for which the last change is recorded; older ones expire.
const MAX_MOVED: usize = 4096;

/// Holds our copy of the neighbour table, so that only changes are reported.
#[derive(Debug)]
struct Table {
    port: Option<NeighbourPlan>,
    known: BTreeMap<IpAddr, Neighbour>,
    move_limit: Pace,
    /// When the hardware address of an address last changed.
    moved: BTreeMap<IpAddr, Instant>,
}

impl Table {
    fn new(now: Instant) -> Self {
        Self {
            port: None,
            known: BTreeMap::new(),
            move_limit: Pace::new(MOVE_BURST, MOVE_INTERVAL, now),
            moved: BTreeMap::new(),
        }
    }

    /// Returns whether a change exceeds the rate limit for changed hardware addresses. A dump finds
    /// it after the flood.
    fn is_rate_limited(&mut self, change: &Change<Neighbour>, now: Instant) -> bool {
        let Change::Present(reported) = change else { return false };
        let moved =
            self.known.get(&reported.address).is_some_and(|known| known.mac != reported.mac);
        moved && !self.is_first_move(reported.address, now) && !self.move_limit.try_take(now)
    }

    /// Records a changed hardware address. Returns whether it is the first recent change there.
    fn is_first_move(&mut self, address: IpAddr, now: Instant) -> bool {
        let is_recent = |at: &Instant| now.saturating_duration_since(*at) < RECENT_MOVE;
        if self.moved.len() >= MAX_MOVED {
            self.moved.retain(|_, at| is_recent(at));
        }
        if self.moved.len() >= MAX_MOVED && !self.moved.contains_key(&address) {
            return false;
        }
        !self.moved.insert(address, now).is_some_and(|at| is_recent(&at))
    }

    /// Applies one change. Returns whether the table differs now.
    fn take(&mut self, change: &Change<Neighbour>) -> bool {
        match change {
            Change::Present(now) => {
                self.known.insert(now.address, now.clone()).as_ref() != Some(now)
            }
            Change::Gone(gone) => self.known.remove(&gone.address).is_some(),
        }
    }

    /// Replaces the table by a dump. Returns the differences, removals first.
    fn replace(
        &mut self,
        port: Option<NeighbourPlan>,
        dumped: BTreeMap<IpAddr, Neighbour>,
    ) -> Vec<Change<Neighbour>> {
        let before = std::mem::replace(&mut self.known, dumped);
        let index = |port: Option<NeighbourPlan>| port.map(|port| port.index);
        let moved = index(std::mem::replace(&mut self.port, port)) != index(port);
        let stays = |known: &Neighbour| !moved && self.known.contains_key(&known.address);
        let gone = before.values().filter(|known| !stays(known)).cloned().map(Change::Gone);
        let new = self.known.values().filter(|now| moved || before.get(&now.address) != Some(now));
        gone.chain(new.cloned().map(Change::Present)).collect()
    }
}

/// Emits the neighbours on the planned interface, and every change, until the receiver is gone.
///
/// # Errors
/// The sockets cannot be opened or read, or the receiver is gone (`Closed`).
pub async fn run(
    mut port: watch::Receiver<Option<NeighbourPlan>>,
    events: mpsc::Sender<Event>,
) -> io::Result<Infallible> {
    let socket = Socket::open(Protocol::Route, &[group::NEIGHBOUR])?;
    let first = *port.borrow_and_update();
    socket.attach(&filter_for(first))?;
    let mut listener = Listener::new(socket)?;
    let mut requests = Socket::open(Protocol::Route, &[])?;
    let mut table = Table::new(Instant::now());
    let mut roll_call = RollCall::default();
    roll_call.begin(first);
    let mut complete = dump(&mut requests, &mut table, first, &events).await?;
    loop {
        let batch = tokio::select! {
            batch = listener.receive(), if table.port.is_some() => batch,
            changed = port.changed() => {
                changed.map_err(|_| Closed)?;
                let now = *port.borrow_and_update();
                listener.socket().attach(&filter_for(now))?;
                listener.discard();
                roll_call.begin(now);
                complete = dump(&mut requests, &mut table, now, &events).await?;
                continue;
            }
            () = sleep(REDUMP_DELAY), if !complete => {
                let port = table.port;
                complete = dump(&mut requests, &mut table, port, &events).await?;
                continue;
            }
            () = roll_call.due() => {
                roll_call.call(|address| table.known.contains_key(&address));
                continue;
            }
        };
        match batch {
            Ok(batch) => {
                let is_large = messages(batch).nth(LARGE_BATCH).is_some();
                if messages(batch).any(|message| is_newcomer(&message, table.port)) {
                    roll_call.soon();
                }
                complete &= take(batch, &mut table, &events).await?;
                listener.rest();
                sleep(if is_large { LONG_PAUSE } else { PAUSE }).await;
            }
            Err(NetlinkError::Overrun) => {
                let port = table.port;
                complete = dump(&mut requests, &mut table, port, &events).await?;
            }
            Err(error) => return Err(error.into()),
        }
    }
}

/// Applies a batch of messages and emits the changes. Returns whether none was rate-limited.
async fn take(
    batch: &[u8],
    table: &mut Table,
    events: &mpsc::Sender<Event>,
) -> Result<bool, Closed> {
    let Some(port) = table.port else { return Ok(true) };
    let (mut complete, now) = (true, Instant::now());
    // By address: the entry before the batch, and the last change.
    let mut changed: BTreeMap<IpAddr, (Option<Neighbour>, Change<Neighbour>)> = BTreeMap::new();
    let parsed = messages(batch).filter_map(|message| neighbour(&message, port.index));
    for change in parsed.filter(|change| port.counts(address_of(change))) {
        if table.is_rate_limited(&change, now) {
            complete = false;
            continue;
        }
        let address = address_of(&change);
        let before = table.known.get(&address).cloned();
        if table.take(&change) {
            match changed.entry(address) {
                Entry::Occupied(mut known) => known.get_mut().1 = change,
                Entry::Vacant(place) => {
                    place.insert((before, change));
                }
            }
        }
    }
    for (address, (before, last)) in changed {
        if table.known.get(&address) != before.as_ref() {
            emit(events, Event::Neighbour(last)).await?;
        }
    }
    Ok(complete)
}

/// Returns the socket filter for the planned interface.
fn filter_for(plan: Option<NeighbourPlan>) -> Vec<SockFilter> {
    let port = plan.map(|plan| plan.index);
    filter::neighbours(port, stable_states(), plan.is_some_and(|plan| plan.ipv6.is_some()))
}

/// Returns whether a message announces a link-local IPv6 address, the first that a new host uses.
fn is_newcomer(message: &Message<'_>, plan: Option<NeighbourPlan>) -> bool {
    let change = plan.and_then(|plan| neighbour(message, plan.index));
    matches!(change, Some(Change::Present(Neighbour { address: IpAddr::V6(address), .. }))
        if address.is_unicast_link_local())
}

fn address_of(change: &Change<Neighbour>) -> IpAddr {
    let (Change::Present(neighbour) | Change::Gone(neighbour)) = change;
    neighbour.address
}

/// Dumps the neighbours on the interface and emits the differences. Returns whether the dump was
/// consistent.
async fn dump(
    requests: &mut Socket,
    table: &mut Table,
    port: Option<NeighbourPlan>,
    events: &mpsc::Sender<Event>,
) -> io::Result<bool> {
    let mut dumped = BTreeMap::new();
    let mut complete = true;
    if let Some(port) = port {
        let ipv6 = port.ipv6.map(|_| AddressFamily::Inet6);
        for family in std::iter::once(AddressFamily::Inet).chain(ipv6) {
            let request = Listing::Neighbours(family, port.index).request();
            let dump = requests.dump(&request, |message| neighbour(message, port.index))?;
            complete &= dump.whole;
            dumped.extend(
                dump.items
                    .into_iter()
                    .filter_map(present)
                    .filter(|neighbour| port.counts(neighbour.address))
                    .map(|neighbour| (neighbour.address, neighbour)),
            );
        }
    }
    for change in table.replace(port, dumped) {
        emit(events, Event::Neighbour(change)).await?;
    }
    Ok(complete)
}

fn present(change: Change<Neighbour>) -> Option<Neighbour> {
    match change {
        Change::Present(neighbour) => Some(neighbour),
        Change::Gone(_) => None,
    }
}
