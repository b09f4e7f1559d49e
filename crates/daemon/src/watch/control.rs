//! Serves the control socket: orders from operators, one JSON object a line, one reply a line.
//! The file mode (0660) restricts access, and each connection's credentials are checked as well
//! (`SO_PEERCRED`, `SO_PEERGROUPS`).

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
use crate::socket::admission::{Limits, Peer, Place, Places};
use crate::socket::bind::{self, Bound};

/// Mode of the socket file, owned by `root:bramblegate` or by the daemon's own user.
const SOCKET_MODE: u32 = 0o660;
/// Group whose members may give orders.
const GROUP: &str = "bramblegate";
/// Maximum length of an order, in bytes.
const MAX_ORDER: usize = 4096;
/// Limits on concurrent clients. Unauthorised ones count too until they have read their refusal.
const CLIENT_LIMITS: Limits = Limits { all: 16, each: 8, kept: 14, kept_for_root: 4 };
/// Timeout for a client that sends nothing, or does not read its reply.
const CLIENT_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a rejected client may go on writing.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(1);
/// Timeout for the group look-up in the system's databases.
const GROUP_TIMEOUT: Duration = Duration::from_millis(500);
/// Pause after a failed `accept`, for example without free file descriptors.
const ACCEPT_RETRY: Duration = Duration::from_millis(500);

/// Holds an order and the channel for its result; `Err` is the text for the operator.
#[derive(Debug)]
pub struct Request {
    pub order: Order,
    pub reply: oneshot::Sender<Result<(), String>>,
}

/// Encodes one reply line.
fn reply(result: Result<(), String>) -> Vec<u8> {
    crate::api::line(&Answer::from(result))
}

/// Serves the socket at the planned path until the receiver is gone; moves it when the path
/// changes.
///
/// # Errors
/// The socket cannot be made, or the receiver is gone (`Closed`).
pub async fn run(
    mut plan: watch::Receiver<PathBuf>,
    requests: mpsc::Sender<Request>,
) -> io::Result<Infallible> {
    loop {
        let path = plan.borrow_and_update().clone();
        listen(&path, &mut plan, &requests).await?;
    }
}

/// Serves the socket at `path` until the planned path changes.
async fn listen(
    path: &Path,
    plan: &mut watch::Receiver<PathBuf>,
    requests: &mpsc::Sender<Request>,
) -> io::Result<()> {
    let mut bound = Bound::at(path, SOCKET_MODE).map_err(|error| {
        let remedy = bind::remedy(&error, "sockets.control");
        io::Error::new(
            error.kind(),
            format!("{} cannot be made: {error}; {remedy}", path.display()),
        )
    })?;
    // Only root may change the group; otherwise the socket keeps the daemon's own.
    if let Some(group) = group() {
        if let Err(error) = bound.give_to_group(group) {
            debug!(%error, "the control socket stays with the daemon's own group");
        }
    }
    let (user, group) = bound.owner().map_err(|error| with_path(path, &error))?;
    let places = Places::new(CLIENT_LIMITS);
    loop {
        let accepted = tokio::select! {
            accepted = bound.accept() => accepted,
            () = requests.closed() => return Err(Closed.into()),
            changed = plan.changed() => return changed.map_err(|_| Closed.into()),
        };
        let stream = match accepted {
            Ok(stream) => stream,
            Err(error) => {
                debug!(%error, "the control socket does not accept clients");
                tokio::time::sleep(ACCEPT_RETRY).await;
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
        tokio::spawn(handle(stream, place, allowed, requests.clone()));
    }
}

/// Serves one client, or rejects it if it is not allowed to give orders.
async fn handle(
    mut stream: UnixStream,
    place: Place,
    allowed: bool,
    requests: mpsc::Sender<Request>,
) {
    tokio::time::sleep_until(place.turn()).await;
    let result = if allowed {
        serve(&mut stream, &requests).await
    } else {
        debug!("a client of the control socket may give no orders");
        let why = "you may not: orders are for root and for members of the group";
        reject(&mut stream, format!("{why} {GROUP}")).await
    };
    if let Err(error) = result {
        debug!(%error, "a client of the control socket has gone");
    }
}

fn with_path(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

/// Reads orders and writes replies until the client disconnects, times out or sends a line that
/// is too long.
async fn serve(stream: &mut UnixStream, requests: &mpsc::Sender<Request>) -> io::Result<()> {
    let mut buffer: Vec<u8> = Vec::new();
    let mut chunk = [0; 512];
    loop {
        while let Some(end) = buffer.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = buffer.drain(..=end).collect();
            let result = match Order::parse(&line) {
                Ok(order) => submit(order, requests).await,
                Err(error) => Err(error),
            };
            timeout(CLIENT_TIMEOUT, stream.write_all(&reply(result))).await??;
        }
        if buffer.len() > MAX_ORDER {
            return reject(stream, format!("no order is longer than {MAX_ORDER} bytes")).await;
        }
        let count = timeout(CLIENT_TIMEOUT, stream.read(&mut chunk)).await??;
        if count == 0 {
            return Ok(());
        }
        buffer.extend_from_slice(chunk.get(..count).unwrap_or_default());
    }
}

/// Sends an error reply, then discards input until the client closes: a client that is still
/// writing would get a reset instead of the reply.
async fn reject(stream: &mut UnixStream, why: String) -> io::Result<()> {
    timeout(CLIENT_TIMEOUT, stream.write_all(&reply(Err(why)))).await??;
    timeout(DRAIN_TIMEOUT, drain(stream)).await.unwrap_or(Ok(()))
}

/// Reads and discards input up to its end.
async fn drain(stream: &mut UnixStream) -> io::Result<()> {
    let mut chunk = [0; 512];
    while stream.read(&mut chunk).await? > 0 {}
    Ok(())
}

async fn submit(order: Order, requests: &mpsc::Sender<Request>) -> Result<(), String> {
    let (reply, answer) = oneshot::channel();
    let stopping = || "the daemon stops".to_owned();
    requests.send(Request { order, reply }).await.map_err(|_| stopping())?;
    answer.await.map_err(|_| stopping())?
}

/// Returns whether a client may give orders: root, the daemon's own user and members of the
/// socket's group may.
fn is_allowed(peer: &Peer, user: u32, group: u32) -> bool {
    peer.user == 0 || peer.user == user || peer.groups.contains(&group)
}

/// Returns the ID of the group whose members may give orders, if it exists. The look-up
/// (getgrnam(3)) may involve a remote directory; after a timeout the result is `None`.
pub fn group() -> Option<u32> {
    group_named(GROUP)
}

fn group_named(name: &'static str) -> Option<u32> {
    let found =
        reading::within(GROUP_TIMEOUT, move || Group::from_name(name)).and_then(|found| Ok(found?));
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
