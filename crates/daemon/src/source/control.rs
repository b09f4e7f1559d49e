//! The control socket: orders of people, one JSON object a line, one reply a line. The file's mode keeps strangers out
//! (0660); whoever comes in is looked at again by the kernel's word of who they are (`SO_PEERCRED`, `SO_PEERGROUPS`).

use std::convert::Infallible;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::timeout;

use super::bind::{self, Bound};
use super::places::{Limits, Peer, Places};
use super::reading;
use crate::event::Order;

/// Of replies and requests.
pub const SCHEMA: u32 = 1;
/// For the owner and the group: `root:bramblegate`, or the daemon's own user.
const MODE: u32 = 0o660;
/// Whose members may give orders.
const GROUP: &str = "bramblegate";
/// A longer line is no order.
pub const LONGEST: usize = 4096;
/// So many can be connected at once; strangers may give no orders and only get their refusal.
const PLACES: Limits = Limits { all: 16, each: 8, kept: 14, kept_for_root: 4 };
/// One that says nothing for so long is closed; a reply that nobody takes is given up.
const PATIENCE: Duration = Duration::from_secs(30);
/// One that is refused may write on so long.
const LAST_WORDS: Duration = Duration::from_secs(1);
/// After a failed `accept` (no file descriptors left, say).
const ACCEPT_AGAIN: Duration = Duration::from_millis(500);

/// An order, and where its answer goes: what is wrong with it, if anything is.
#[derive(Debug)]
pub struct Request {
    pub order: Order,
    pub reply: oneshot::Sender<Result<(), String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    schema: u32,
    order: String,
    node: Option<String>,
}

/// The order in one line; else what is wrong, for the one who wrote it.
///
/// # Errors
/// It is no order.
pub fn parse(line: &[u8]) -> Result<Order, String> {
    let line: Line = serde_json::from_slice(line).map_err(|error| {
        format!("this is no order: {error}; write {{\"schema\":{SCHEMA},\"order\":\"drain\",\"node\":\"rpi1\"}}")
    })?;
    if line.schema != SCHEMA {
        return Err(format!("schema {} is not known here: write {SCHEMA}", line.schema));
    }
    match (line.order.as_str(), line.node) {
        ("drain", Some(node)) => Ok(Order::Drain(node)),
        ("resume", Some(node)) => Ok(Order::Resume(node)),
        ("forget", Some(node)) => Ok(Order::Forget(node)),
        ("drain" | "resume" | "forget", None) => Err(format!("\"{}\" needs the name of a node", line.order)),
        ("acknowledge", None) => Ok(Order::Acknowledge),
        ("acknowledge", Some(_)) => Err("\"acknowledge\" is for all that stands, not for one node".to_owned()),
        _ => Err("the orders are \"drain\", \"resume\", \"forget\" and \"acknowledge\"".to_owned()),
    }
}

/// One line of reply.
pub fn reply(result: &Result<(), String>) -> String {
    let value = match result {
        Ok(()) => serde_json::json!({ "schema": SCHEMA, "ok": true }),
        Err(error) => serde_json::json!({ "schema": SCHEMA, "ok": false, "error": error }),
    };
    format!("{value}\n")
}

/// Makes the socket where it is to be, also when that changes, and takes orders until the receiver is gone.
///
/// # Errors
/// The socket cannot be made, or the receiver is gone (`BrokenPipe`).
pub async fn run(mut place: watch::Receiver<PathBuf>, requests: mpsc::Sender<Request>) -> io::Result<Infallible> {
    loop {
        let path = place.borrow_and_update().clone();
        listen(&path, &mut place, &requests).await?;
    }
}

/// Takes orders until the socket is to be elsewhere.
async fn listen(path: &Path, place: &mut watch::Receiver<PathBuf>, requests: &mpsc::Sender<Request>) -> io::Result<()> {
    let mut bound = Bound::at(path, MODE).map_err(|error| {
        let remedy = bind::remedy(&error, "control.socket");
        io::Error::new(error.kind(), format!("{} cannot be made: {error}; {remedy}", path.display()))
    })?;
    // Only root can; an ordinary user's own group does.
    if let Some(group) = group() {
        let _ = bound.give_to_group(group);
    }
    let (user, group) = bound.owner().map_err(|error| named(path, &error))?;
    let places = Places::new(PLACES);
    loop {
        let accepted = tokio::select! {
            accepted = bound.accept() => accepted,
            () = requests.closed() => return Err(io::ErrorKind::BrokenPipe.into()),
            changed = place.changed() => return changed.map_err(|_| io::ErrorKind::BrokenPipe.into()),
        };
        let Ok(mut stream) = accepted else {
            tokio::time::sleep(ACCEPT_AGAIN).await;
            continue;
        };
        let peer = Peer::of(&stream);
        let place = match places.take(peer.as_ref(), Some(group)) {
            Ok(place) => place,
            Err(full) => {
                bound.refuse(&stream, &reply(&Err(format!("too many are connected: {full}: try again"))));
                continue;
            }
        };
        let allowed = peer.is_some_and(|peer| is_allowed(&peer, user, group));
        let requests = requests.clone();
        tokio::spawn(async move {
            tokio::time::sleep_until(place.turn()).await;
            let _ = if allowed {
                serve(&mut stream, &requests).await
            } else {
                dismiss(&mut stream, format!("you may not: orders are for root and for members of the group {GROUP}"))
                    .await
            };
            drop(place);
        });
    }
}

fn named(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

/// Reads orders and writes replies until the client has gone, is silent, or writes what cannot be an order.
async fn serve(stream: &mut UnixStream, requests: &mpsc::Sender<Request>) -> io::Result<()> {
    let mut held: Vec<u8> = Vec::new();
    let mut chunk = [0; 512];
    loop {
        while let Some(end) = held.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = held.drain(..=end).collect();
            let result = match parse(&line) {
                Ok(order) => carry_out(order, requests).await,
                Err(error) => Err(error),
            };
            timeout(PATIENCE, stream.write_all(reply(&result).as_bytes())).await??;
        }
        if held.len() > LONGEST {
            return dismiss(stream, format!("no order is longer than {LONGEST} bytes")).await;
        }
        let count = timeout(PATIENCE, stream.read(&mut chunk)).await??;
        if count == 0 {
            return Ok(());
        }
        held.extend_from_slice(chunk.get(..count).unwrap_or_default());
    }
}

/// Says why nothing is done, and lets the client finish: one that still writes would find the connection closed, and
/// never read the refusal.
async fn dismiss(stream: &mut UnixStream, why: String) -> io::Result<()> {
    timeout(PATIENCE, stream.write_all(reply(&Err(why)).as_bytes())).await??;
    timeout(LAST_WORDS, drain(stream)).await.unwrap_or(Ok(()))
}

/// Reads on to the end, and forgets.
async fn drain(stream: &mut UnixStream) -> io::Result<()> {
    let mut chunk = [0; 512];
    while stream.read(&mut chunk).await? > 0 {}
    Ok(())
}

async fn carry_out(order: Order, requests: &mpsc::Sender<Request>) -> Result<(), String> {
    let (reply, answer) = oneshot::channel();
    let stopping = || "the daemon stops".to_owned();
    requests.send(Request { order, reply }).await.map_err(|_| stopping())?;
    answer.await.map_err(|_| stopping())?
}

/// Root, the daemon's own user, and members of the socket's group.
fn is_allowed(peer: &Peer, user: u32, group: u32) -> bool {
    peer.user == 0 || peer.user == user || peer.groups.contains(&group)
}

/// The number of the group whose members may give orders, where this machine has it.
pub fn group() -> Option<u32> {
    group_id(&reading::text(Path::new("/etc/group")).unwrap_or_default())
}

/// The number of our group in the text of `/etc/group`.
fn group_id(text: &str) -> Option<u32> {
    text.lines().find_map(|line| {
        let mut fields = line.split(':');
        (fields.next() == Some(GROUP)).then(|| fields.nth(1)?.parse().ok()).flatten()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_is_read_and_rubbish_is_explained() {
        assert_eq!(parse(br#"{"schema":1,"order":"drain","node":"rpi2"}"#), Ok(Order::Drain("rpi2".into())));
        assert_eq!(parse(br#"{"schema":1,"order":"acknowledge"}"#), Ok(Order::Acknowledge));
        for (line, word) in [
            (&b"drain rpi2"[..], "no order"),
            (br#"{"schema":2,"order":"drain","node":"rpi2"}"#, "schema 2"),
            (br#"{"schema":1,"order":"drain"}"#, "needs the name"),
            (br#"{"schema":1,"order":"explode"}"#, "the orders are"),
            (br#"{"schema":1,"order":"drain","node":"rpi2","force":true}"#, "unknown field"),
        ] {
            let error = parse(line).unwrap_err();
            assert!(error.contains(word), "{error}");
        }
    }

    #[test]
    fn the_group_is_found_by_its_whole_name() {
        let text = "root:x:0:\nbramblegate-old:x:7:\nbramblegate:x:990:anna,ben\n";
        assert_eq!(group_id(text), Some(990));
        assert_eq!(group_id("broken\n:::\n"), None);
    }
}
