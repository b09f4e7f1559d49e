//! Serves the control socket: orders of operators, one JSON object a line, one reply a line. The
//! file's mode keeps strangers out (0660); each connection is checked again by the kernel's word
//! of who they are (`SO_PEERCRED`, `SO_PEERGROUPS`).

use std::convert::Infallible;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::unistd::Group;

use crate::api::control::Answer;
use crate::sync::Closed;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::timeout;
use tracing::debug;

use crate::event::Order;
use crate::files::reading;
use crate::socket::admission::{Limits, Peer, Places};
use crate::socket::bind::{self, Bound};

/// For the owner and the group: `root:bramblegate`, or the daemon's own user.
const MODE: u32 = 0o660;
/// Whose members may give orders.
const GROUP: &str = "bramblegate";
/// A longer line is no order.
pub const LONGEST: usize = 4096;
/// Bounds the clients that are connected at once; strangers may give no orders and only get their
/// refusal.
const PLACES: Limits = Limits { all: 16, each: 8, kept: 14, kept_for_root: 4 };
/// One that is silent for so long is closed; a reply that is not read is given up.
const PATIENCE: Duration = Duration::from_secs(30);
/// One that is refused may write on so long.
const LAST_WORDS: Duration = Duration::from_secs(1);
/// The system's databases of names are waited for so long.
const NAMES: Duration = Duration::from_millis(500);
/// After a failed `accept` (no file descriptors left, say).
const ACCEPT_AGAIN: Duration = Duration::from_millis(500);

/// Holds an order, and where its answer goes: what is wrong with it, if anything is.
#[derive(Debug)]
pub struct Request {
    pub order: Order,
    pub reply: oneshot::Sender<Result<(), String>>,
}

/// Makes one line of reply.
fn reply(result: Result<(), String>) -> Vec<u8> {
    crate::api::line(&Answer::from(result))
}

/// Makes the socket where it is to be, also when that changes, and takes orders until the receiver
/// is gone.
///
/// # Errors
/// The socket cannot be made, or the receiver is gone (`Closed`).
pub async fn run(
    mut place: watch::Receiver<PathBuf>,
    requests: mpsc::Sender<Request>,
) -> io::Result<Infallible> {
    loop {
        let path = place.borrow_and_update().clone();
        listen(&path, &mut place, &requests).await?;
    }
}

/// Takes orders until the socket is to be elsewhere.
async fn listen(
    path: &Path,
    place: &mut watch::Receiver<PathBuf>,
    requests: &mpsc::Sender<Request>,
) -> io::Result<()> {
    let mut bound = Bound::at(path, MODE).map_err(|error| {
        let remedy = bind::remedy(&error, "sockets.control");
        io::Error::new(
            error.kind(),
            format!("{} cannot be made: {error}; {remedy}", path.display()),
        )
    })?;
    // Only root can; an ordinary user's own group does.
    if let Some(group) = group() {
        if let Err(error) = bound.give_to_group(group) {
            debug!(%error, "the control socket stays with the daemon's own group");
        }
    }
    let (user, group) = bound.owner().map_err(|error| named(path, &error))?;
    let places = Places::new(PLACES);
    loop {
        let accepted = tokio::select! {
            accepted = bound.accept() => accepted,
            () = requests.closed() => return Err(Closed.into()),
            changed = place.changed() => return changed.map_err(|_| Closed.into()),
        };
        let mut stream = match accepted {
            Ok(stream) => stream,
            Err(error) => {
                debug!(%error, "the control socket does not accept clients");
                tokio::time::sleep(ACCEPT_AGAIN).await;
                continue;
            }
        };
        let peer = Peer::of(&stream);
        let place = match places.take(peer.as_ref(), Some(group)) {
            Ok(place) => place,
            Err(full) => {
                debug!(%full, "a client of the control socket was refused");
                bound.refuse(
                    &stream,
                    &reply(Err(format!("too many are connected: {full}: try again"))),
                );
                continue;
            }
        };
        let allowed = peer.is_some_and(|peer| is_allowed(&peer, user, group));
        let requests = requests.clone();
        tokio::spawn(async move {
            tokio::time::sleep_until(place.turn()).await;
            let served = if allowed {
                serve(&mut stream, &requests).await
            } else {
                debug!("a client of the control socket may give no orders");
                dismiss(
                    &mut stream,
                    format!(
                        "you may not: orders are for root and for members of the group {GROUP}"
                    ),
                )
                .await
            };
            if let Err(error) = served {
                debug!(%error, "a client of the control socket has gone");
            }
            drop(place);
        });
    }
}

fn named(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

/// Reads orders and writes replies until the client has gone, is silent, or writes what cannot be
/// an order.
async fn serve(stream: &mut UnixStream, requests: &mpsc::Sender<Request>) -> io::Result<()> {
    let mut held: Vec<u8> = Vec::new();
    let mut chunk = [0; 512];
    loop {
        while let Some(end) = held.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = held.drain(..=end).collect();
            let result = match Order::parse(&line) {
                Ok(order) => carry_out(order, requests).await,
                Err(error) => Err(error),
            };
            timeout(PATIENCE, stream.write_all(&reply(result))).await??;
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

/// Says why nothing is done, and lets the client finish: one that still writes would find the
/// connection closed, and never read the refusal.
async fn dismiss(stream: &mut UnixStream, why: String) -> io::Result<()> {
    timeout(PATIENCE, stream.write_all(&reply(Err(why)))).await??;
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

/// Returns whether a client may give orders: root, the daemon's own user, and members of the
/// socket's group.
fn is_allowed(peer: &Peer, user: u32, group: u32) -> bool {
    peer.user == 0 || peer.user == user || peer.groups.contains(&group)
}

/// Returns the number of the group whose members may give orders, where this machine has it. The
/// system's databases are asked (getgrnam(3)), which may lie with a server that does not answer:
/// then there is none.
pub fn group() -> Option<u32> {
    group_named(GROUP)
}

fn group_named(name: &'static str) -> Option<u32> {
    let found = reading::within(NAMES, move || Group::from_name(name)).and_then(|found| Ok(found?));
    let found = found.inspect_err(|error| debug!(name, %error, "the group was not found out"));
    found.ok().flatten().map(|group| group.gid.as_raw())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_is_found_by_its_whole_name() {
        assert_eq!(group_named("root"), Some(0));
        assert_eq!(group_named("roo"), None);
    }
}
