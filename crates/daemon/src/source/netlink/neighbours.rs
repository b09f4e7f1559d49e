//! Who is heard on the cluster port: the kernel's table of neighbours (`RTM_NEWNEIGH`, `RTNLGRP_NEIGH`).
//!
//! The kernel tells each step of each entry's life, a few a minute for each node that is probed. What concerns another port is
//! put aside by the message's fixed header; of the rest only what changes an entry in our own copy becomes an event; and the
//! socket is read at most twenty times a second, in a storm four times, so that a storm of ten thousand nodes is a few large readings.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep};

use super::socket::{self, Connection, Groups, Listing, RequestError};
use super::tell;
use super::wire::{Attributes, Message, Messages, push, u8_at, u16_at, u32_at};
use crate::event::{Change, Event, LinkIndex, Mac, Neighbour};
use crate::source::oneshot::OneShot;
use crate::source::pace::Pace;

/// `RTM_NEWNEIGH`, `RTM_DELNEIGH`, `RTM_GETNEIGH`
const NEW: u16 = 28;
const GONE: u16 = 29;
const GET: u16 = 30;
/// `NDA_DST`, `NDA_LLADDR`
const ADDRESS: u16 = 1;
const LINK_ADDRESS: u16 = 2;
/// `sizeof(struct ndmsg)`
const HEADER: usize = 12;
const AF_INET: u8 = 2;
/// `NUD_*` of `linux/neighbour.h`
const INCOMPLETE: u16 = 0x01;
const REACHABLE: u16 = 0x02;
const STALE: u16 = 0x04;
const FAILED: u16 = 0x20;
const NOARP: u16 = 0x40;
const PERMANENT: u16 = 0x80;
/// `NTF_PROXY`: an entry that we answer for
const PROXY: u8 = 0x08;

/// After the first message the rest of a storm is waited for.
const PAUSE: Duration = Duration::from_millis(50);
/// The same after a reading of more messages than this: the kernel's buffer takes some 19,000 a second so long, and more cost a listing.
const LONG_PAUSE: Duration = Duration::from_millis(250);
const MANY: usize = 48;
/// A listing that changed in the middle is taken again after this.
const AGAIN: Duration = Duration::from_millis(500);

/// What one message says of a neighbour on `port`. `None`: it is about another port, not IPv4, or a step on the way to a
/// verdict (incomplete, delay, probe), which is no news.
pub fn neighbour(message: &Message<'_>, port: LinkIndex) -> Option<Change<Neighbour>> {
    let payload = message.payload;
    if !matches!(message.kind, NEW | GONE) || u32_at(payload, 4)? != port || u8_at(payload, 0)? != AF_INET {
        return None;
    }
    let state = u16_at(payload, 8)?;
    let gone = message.kind == GONE || state & FAILED != 0;
    let settled = state & (REACHABLE | STALE | PERMANENT) != 0;
    if u8_at(payload, 10)? & PROXY != 0 || !(gone || settled) || state & INCOMPLETE != 0 && !gone {
        return None;
    }
    let octets: [u8; 4] = Attributes::after(payload, HEADER).find(ADDRESS)?.try_into().ok()?;
    let mac = Attributes::after(payload, HEADER).find(LINK_ADDRESS).and_then(|bytes| bytes.try_into().ok()).map(Mac);
    let told = Neighbour {
        index: port,
        address: IpAddr::V4(Ipv4Addr::from(octets)),
        mac: mac.filter(|_| !gone),
        reachable: !gone && state & (REACHABLE | PERMANENT) != 0,
    };
    if gone { Some(Change::Gone(told)) } else { told.mac.map(|_| Change::Present(told)) }
}

/// Returns the message about the entry of this address (`struct ndmsg` and `NDA_DST`).
pub fn entry(port: LinkIndex, address: Ipv4Addr) -> Vec<u8> {
    let mut body = vec![AF_INET, 0, 0, 0];
    body.extend(port.to_ne_bytes());
    body.resize(HEADER, 0);
    push(&mut body, ADDRESS, &address.octets());
    body
}

/// Returns whether the entry in a message was made by an administrator, and is not asked for.
pub fn is_permanent(payload: &[u8]) -> bool {
    u16_at(payload, 8).is_some_and(|state| state & (PERMANENT | NOARP) != 0)
}

/// Deletes the kernel's memory of which board has this address, so that the next packet to it is preceded by a broadcast
/// question. The kernel itself asks the board that it remembers first, for half a minute after it was last heard. What an
/// administrator wrote stays; so does everything on a kernel before 5.0, which answers no question about one entry.
///
/// # Errors
/// There is no such entry (`ENOENT`), the kernel refused, or the socket failed.
pub fn resolve_anew(connection: &mut Connection, port: LinkIndex, address: Ipv4Addr) -> Result<(), RequestError> {
    let body = entry(port, address);
    let mut is_remembered = false;
    connection.request(GET, 0, &body, |message| {
        let state = u16_at(message.payload, 8).unwrap_or(FAILED);
        is_remembered = state & (INCOMPLETE | FAILED) == 0 && !is_permanent(message.payload);
    })?;
    if is_remembered { connection.request(GONE, 0, &body, |_| {}) } else { Ok(()) }
}

/// At an address at which a board was heard another one may be so many times in a row, …
const MOVES: u32 = 64;
/// … and once in each interval after that: whoever sends from ever other hardware addresses changes each entry once a second.
const MOVE_INTERVAL: Duration = Duration::from_millis(50);

/// What was told last, so that only changes are told.
#[derive(Debug)]
struct Table {
    port: Option<LinkIndex>,
    known: BTreeMap<IpAddr, Neighbour>,
    moves: Pace,
}

impl Table {
    fn new(now: Instant) -> Self {
        Self { port: None, known: BTreeMap::new(), moves: Pace::new(MOVES, MOVE_INTERVAL, now) }
    }

    /// Returns whether a message is to be passed over: another board is at its address, and that happens too often. It is listed
    /// when the flood is over.
    fn passes_over(&mut self, change: &Change<Neighbour>, now: Instant) -> bool {
        let Change::Present(told) = change else { return false };
        let moved = self.known.get(&told.address).is_some_and(|known| known.mac != told.mac);
        moved && !self.moves.try_take(now)
    }

    /// Takes one message's word in; whether it is news.
    fn take(&mut self, change: &Change<Neighbour>) -> bool {
        match change {
            Change::Present(now) => self.known.insert(now.address, now.clone()).as_ref() != Some(now),
            Change::Gone(gone) => self.known.remove(&gone.address).is_some(),
        }
    }

    /// Takes a whole listing in; what is news, what has gone first.
    fn replace(&mut self, port: Option<LinkIndex>, listed: BTreeMap<IpAddr, Neighbour>) -> Vec<Change<Neighbour>> {
        let before = std::mem::replace(&mut self.known, listed);
        let moved = std::mem::replace(&mut self.port, port) != port;
        let stays = |known: &Neighbour| !moved && self.known.contains_key(&known.address);
        let gone = before.values().filter(|known| !stays(known)).cloned().map(Change::Gone);
        let news = self.known.values().filter(|now| moved || before.get(&now.address) != Some(now));
        gone.chain(news.cloned().map(Change::Present)).collect()
    }
}

/// Tells the neighbours on the port that `port` names, and every change of them, until the receiver is gone.
///
/// # Errors
/// The sockets cannot be made or read, or the receiver is gone (`BrokenPipe`).
pub async fn run(mut port: watch::Receiver<Option<LinkIndex>>, events: mpsc::Sender<Event>) -> io::Result<Infallible> {
    let mut groups = OneShot::new(Groups::subscribe(&socket::NEIGHBOURS)?);
    let mut requests = Connection::open()?;
    let mut table = Table::new(Instant::now());
    let mut buffer = Vec::with_capacity(socket::DATAGRAM);
    let first = *port.borrow_and_update();
    let mut whole = list(&mut requests, &mut table, first, &events).await?;
    loop {
        tokio::select! {
            readable = groups.readable(), if table.port.is_some() => readable?,
            changed = port.changed() => {
                changed.map_err(|_| io::Error::from(io::ErrorKind::BrokenPipe))?;
                groups.get_ref().discard(&mut buffer);
                let now = *port.borrow_and_update();
                whole = list(&mut requests, &mut table, now, &events).await?;
                continue;
            }
            () = sleep(AGAIN), if !whole => {
                whole = again(&mut requests, &mut table, &events).await?;
                continue;
            }
        }
        match read(groups.get_ref(), &mut table, &mut buffer, &events).await {
            Ok((count, all)) => {
                whole &= all;
                tokio::time::sleep_until(Instant::now() + if count > MANY { LONG_PAUSE } else { PAUSE }).await;
            }
            Err(error) if socket::is_overrun(&error) => {
                groups.get_ref().discard(&mut buffer);
                whole = again(&mut requests, &mut table, &events).await?;
            }
            Err(error) => return Err(error),
        }
    }
}

/// Reads until nothing waits. Returns how many messages there were; `false`: not all of it was told.
async fn read(
    groups: &Groups,
    table: &mut Table,
    buffer: &mut Vec<u8>,
    events: &mpsc::Sender<Event>,
) -> io::Result<(usize, bool)> {
    let Some(port) = table.port else { return Ok((0, true)) };
    let (mut count, mut all, now) = (0, true, Instant::now());
    loop {
        match groups.receive(buffer) {
            Ok(()) => count += 1,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok((count, all)),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        }
        for change in Messages::new(buffer).filter_map(|message| neighbour(&message, port)) {
            if table.passes_over(&change, now) {
                all = false;
            } else if table.take(&change) {
                tell(events, Event::Neighbour(change)).await?;
            }
        }
    }
}

/// Lists anew.
async fn again(requests: &mut Connection, table: &mut Table, events: &mpsc::Sender<Event>) -> io::Result<bool> {
    let port = table.port;
    list(requests, table, port, events).await
}

/// Lists the port's neighbours and tells how they differ from what was known. `false`: something may be missing.
async fn list(
    requests: &mut Connection,
    table: &mut Table,
    port: Option<LinkIndex>,
    events: &mpsc::Sender<Event>,
) -> io::Result<bool> {
    let mut listed = BTreeMap::new();
    let mut whole = true;
    if let Some(port) = port {
        whole = requests.dump(Listing::NEIGHBOURS, |message| {
            if let Some(Change::Present(told)) = neighbour(message, port) {
                listed.insert(told.address, told);
            }
        })?;
    }
    for change in table.replace(port, listed) {
        tell(events, Event::Neighbour(change)).await?;
    }
    Ok(whole)
}
