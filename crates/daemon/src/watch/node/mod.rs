//! Who is heard on the cluster port: the kernel's table of neighbours (`RTM_NEWNEIGH`,
//! `RTNLGRP_NEIGH`).
//!
//! The kernel announces each step of each entry's life, a few a minute for each node that is
//! probed. It drops itself what concerns another port or is no verdict ([`filter::neighbours`]); of
//! the rest only what changes an entry in our own copy becomes an event; and the socket is read at
//! most twenty times a second, in a storm four times, so that a storm of ten thousand nodes is a
//! few large readings.

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

/// The states that are verdicts: an entry in one of them is there, or has failed.
const VERDICTS: [NeighbourState; 4] = [
    NeighbourState::Reachable,
    NeighbourState::Stale,
    NeighbourState::Permanent,
    NeighbourState::Failed,
];

/// After the first message the rest of a storm is waited for.
const PAUSE: Duration = Duration::from_millis(50);
/// The same after a batch of more messages than this: the kernel's buffer takes some 19,000 a
/// second so long, and more cost a listing.
const LONG_PAUSE: Duration = Duration::from_millis(250);
const MANY: usize = 48;
/// A listing that changed in the middle is taken again after this.
const AGAIN: Duration = Duration::from_millis(500);

/// Returns what one message says of a neighbour on `port`. `None`: it is about another port, not
/// a step on the way to a verdict (incomplete, delay, probe), which is no news.
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
    if !gone && !VERDICTS.contains(&header.state) {
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

/// Returns the states of [`VERDICTS`] as the kernel numbers them, one bit each (`NUD_*`).
fn verdicts() -> u16 {
    VERDICTS.into_iter().map(u16::from).fold(0, |all, state| all | state)
}

/// Returns the message about the entry of this address.
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

/// Returns whether an entry names a board that the kernel found by itself.
fn is_remembered(message: &Message<'_>) -> bool {
    use NeighbourState::{Failed, Incomplete, Noarp, None, Permanent};
    let state = rtnetlink::neighbour(message).map(|read| read.header.state);
    state.is_some_and(|state| !matches!(state, Failed | Incomplete | Noarp | None | Permanent))
}

/// Deletes the kernel's memory of which board has this address, so that the next packet to it is
/// preceded by a broadcast question. The kernel itself asks the board that it remembers first, for
/// half a minute after it was last heard. What an administrator wrote stays; so does everything on
/// a kernel before 5.0, which answers no question about one entry.
///
/// # Errors
/// There is no such entry (`ENOENT`), the kernel refused, or the socket failed.
pub fn resolve_anew(
    requests: &mut Socket,
    port: LinkIndex,
    address: IpAddr,
) -> Result<(), NetlinkError> {
    let message = neighbour_message(port, address);
    let mut remembered = false;
    requests.request(&Request::new(kind::GET_NEIGHBOUR, &message), |answer| {
        remembered = is_remembered(answer)
    })?;
    if remembered {
        requests.request(&Request::new(kind::DEL_NEIGHBOUR, &message), |_| {})
    } else {
        Ok(())
    }
}

/// At an address at which a board was heard another one may be so many times in a row, …
const MOVES: u32 = 64;
/// … and once in each interval after that: a sender with ever other hardware addresses changes
/// each entry once a second.
const MOVE_INTERVAL: Duration = Duration::from_millis(50);
/// An address that has not moved for so long needs no place among those: a board that was replaced
/// is known at once, even in a flood.
const MOVED_LATELY: Duration = Duration::from_secs(60);
/// Bounds the addresses that are remembered; then those that have not moved lately are forgotten.
const MOVED: usize = 4096;

/// Holds what was reported last, so that only changes are reported.
#[derive(Debug)]
struct Table {
    port: Option<NeighbourPlan>,
    known: BTreeMap<IpAddr, Neighbour>,
    moves: Pace,
    /// when another board was last heard at an address
    moved: BTreeMap<IpAddr, Instant>,
}

impl Table {
    fn new(now: Instant) -> Self {
        Self {
            port: None,
            known: BTreeMap::new(),
            moves: Pace::new(MOVES, MOVE_INTERVAL, now),
            moved: BTreeMap::new(),
        }
    }

    /// Returns whether a message is to be passed over: another board is at its address, and that
    /// happens too often. It is listed when the flood is over.
    fn passes_over(&mut self, change: &Change<Neighbour>, now: Instant) -> bool {
        let Change::Present(reported) = change else { return false };
        let moved =
            self.known.get(&reported.address).is_some_and(|known| known.mac != reported.mac);
        moved && !self.is_first_move(reported.address, now) && !self.moves.try_take(now)
    }

    /// Notes a move. Returns whether the address has not moved lately.
    fn is_first_move(&mut self, address: IpAddr, now: Instant) -> bool {
        let is_lately = |at: &Instant| now.saturating_duration_since(*at) < MOVED_LATELY;
        if self.moved.len() >= MOVED {
            self.moved.retain(|_, at| is_lately(at));
        }
        if self.moved.len() >= MOVED && !self.moved.contains_key(&address) {
            return false;
        }
        !self.moved.insert(address, now).is_some_and(|at| is_lately(&at))
    }

    /// Takes one message's word in; whether it is news.
    fn take(&mut self, change: &Change<Neighbour>) -> bool {
        match change {
            Change::Present(now) => {
                self.known.insert(now.address, now.clone()).as_ref() != Some(now)
            }
            Change::Gone(gone) => self.known.remove(&gone.address).is_some(),
        }
    }

    /// Takes a whole listing in; what is news, what has gone first.
    fn replace(
        &mut self,
        port: Option<NeighbourPlan>,
        listed: BTreeMap<IpAddr, Neighbour>,
    ) -> Vec<Change<Neighbour>> {
        let before = std::mem::replace(&mut self.known, listed);
        let moved = std::mem::replace(&mut self.port, port) != port;
        let stays = |known: &Neighbour| !moved && self.known.contains_key(&known.address);
        let gone = before.values().filter(|known| !stays(known)).cloned().map(Change::Gone);
        let news = self.known.values().filter(|now| moved || before.get(&now.address) != Some(now));
        gone.chain(news.cloned().map(Change::Present)).collect()
    }
}

/// Emits the neighbours on the port that `port` names, and every change of them, until the receiver
/// is gone.
///
/// # Errors
/// The sockets cannot be made or read, or the receiver is gone (`Closed`).
pub async fn run(
    mut port: watch::Receiver<Option<NeighbourPlan>>,
    events: mpsc::Sender<Event>,
) -> io::Result<Infallible> {
    let socket = Socket::open(Protocol::Route, &[group::NEIGHBOUR])?;
    let first = *port.borrow_and_update();
    socket.attach(&verdicts_of(first))?;
    let mut listener = Listener::new(socket)?;
    let mut requests = Socket::open(Protocol::Route, &[])?;
    let mut table = Table::new(Instant::now());
    let mut roll_call = RollCall::default();
    roll_call.begin(first);
    let mut whole = list(&mut requests, &mut table, first, &events).await?;
    loop {
        let batch = tokio::select! {
            batch = listener.receive(), if table.port.is_some() => batch,
            changed = port.changed() => {
                changed.map_err(|_| Closed)?;
                let now = *port.borrow_and_update();
                listener.socket().attach(&verdicts_of(now))?;
                listener.discard();
                roll_call.begin(now);
                whole = list(&mut requests, &mut table, now, &events).await?;
                continue;
            }
            () = sleep(AGAIN), if !whole => {
                whole = again(&mut requests, &mut table, &events).await?;
                continue;
            }
            () = roll_call.due() => {
                roll_call.call(|address| table.known.contains_key(&address));
                continue;
            }
        };
        match batch {
            Ok(batch) => {
                let many = messages(batch).nth(MANY).is_some();
                if messages(batch).any(|message| is_newcomer(&message, table.port)) {
                    roll_call.soon();
                }
                whole &= take(batch, &mut table, &events).await?;
                listener.rest();
                sleep(if many { LONG_PAUSE } else { PAUSE }).await;
            }
            Err(NetlinkError::Overrun) => whole = again(&mut requests, &mut table, &events).await?,
            Err(error) => return Err(error.into()),
        }
    }
}

/// Takes a batch of messages in. `false`: not all of it was taken.
async fn take(
    batch: &[u8],
    table: &mut Table,
    events: &mpsc::Sender<Event>,
) -> Result<bool, Closed> {
    let Some(port) = table.port else { return Ok(true) };
    let (mut all, now) = (true, Instant::now());
    // What was known before the batch of those that it is about, and the last word on them.
    let mut news: BTreeMap<IpAddr, (Option<Neighbour>, Change<Neighbour>)> = BTreeMap::new();
    let heard = messages(batch).filter_map(|message| neighbour(&message, port.index));
    for change in heard.filter(|change| port.counts(address_of(change))) {
        if table.passes_over(&change, now) {
            all = false;
            continue;
        }
        let address = address_of(&change);
        let before = table.known.get(&address).cloned();
        if table.take(&change) {
            match news.entry(address) {
                Entry::Occupied(mut known) => known.get_mut().1 = change,
                Entry::Vacant(place) => {
                    place.insert((before, change));
                }
            }
        }
    }
    for (address, (before, last)) in news {
        if table.known.get(&address) != before.as_ref() {
            emit(events, Event::Neighbour(last)).await?;
        }
    }
    Ok(all)
}

/// Returns the filter for what concerns this port.
fn verdicts_of(plan: Option<NeighbourPlan>) -> Vec<SockFilter> {
    let port = plan.map(|plan| plan.index);
    filter::neighbours(port, verdicts(), plan.is_some_and(|plan| plan.ipv6.is_some()))
}

/// Returns whether a message is about an IPv6 neighbour by its link-local address, which each has
/// first.
fn is_newcomer(message: &Message<'_>, plan: Option<NeighbourPlan>) -> bool {
    let change = plan.and_then(|plan| neighbour(message, plan.index));
    matches!(change, Some(Change::Present(Neighbour { address: IpAddr::V6(address), .. }))
        if address.is_unicast_link_local())
}

fn address_of(change: &Change<Neighbour>) -> IpAddr {
    let (Change::Present(neighbour) | Change::Gone(neighbour)) = change;
    neighbour.address
}

/// Lists anew.
async fn again(
    requests: &mut Socket,
    table: &mut Table,
    events: &mpsc::Sender<Event>,
) -> io::Result<bool> {
    let port = table.port;
    list(requests, table, port, events).await
}

/// Lists the port's neighbours and emits how they differ from what was known. `false`: something
/// may be missing.
async fn list(
    requests: &mut Socket,
    table: &mut Table,
    port: Option<NeighbourPlan>,
    events: &mpsc::Sender<Event>,
) -> io::Result<bool> {
    let mut listed = BTreeMap::new();
    let mut whole = true;
    if let Some(port) = port {
        let ipv6 = port.ipv6.map(|_| AddressFamily::Inet6);
        for family in std::iter::once(AddressFamily::Inet).chain(ipv6) {
            let request = Listing::Neighbours(family, port.index).request();
            let dump = requests.dump(&request, |message| neighbour(message, port.index))?;
            whole &= dump.whole;
            listed.extend(
                dump.items
                    .into_iter()
                    .filter_map(there)
                    .filter(|neighbour| port.counts(neighbour.address))
                    .map(|neighbour| (neighbour.address, neighbour)),
            );
        }
    }
    for change in table.replace(port, listed) {
        emit(events, Event::Neighbour(change)).await?;
    }
    Ok(whole)
}

fn there(change: Change<Neighbour>) -> Option<Neighbour> {
    match change {
        Change::Present(neighbour) => Some(neighbour),
        Change::Gone(_) => None,
    }
}
