//! The status socket: JSON lines for everybody on this machine. What clients send is thrown away;
//! none of them can hold the daemon up or make it grow. While nothing changes, nothing wakes.

mod change_log;
mod client;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::api::status::Refused;
use tokio::net::UnixStream;
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, sleep_until};

use self::change_log::ChangeLog;
use self::client::Queue;
use crate::clock;
use crate::event::{Applied, ApplyError, ApplyErrorKind, ApplyReport, Event, NodeId, Output};
use crate::reconcile::error::{OutputError, into_apply_error};
use crate::socket::admission::{Limits, Peer, Place, Places};
use crate::socket::bind::Bound;
use crate::view::status::{NodeStatus, Snapshot};
use crate::watch::control;
use tracing::debug;

/// Everybody on this machine may look: there is nothing secret in it, and nothing can be sent.
const MODE: u32 = 0o666;
/// Bounds the clients, in all and of one user; further ones are refused and closed. Strangers leave
/// a quarter to root, the daemon's own user and the group.
const PLACES: Limits = Limits { all: 128, each: 32, kept: 32, kept_for_root: 8 };
/// Between two lines of changes: at most ten in any second.
const SPACING: Duration = Duration::from_millis(105);
/// After a failed `accept` (no file descriptors left, say).
const ACCEPT_AGAIN: Duration = Duration::from_millis(500);

/// What handle, server and clients share.
#[derive(Debug)]
struct Shared {
    change_log: Mutex<ChangeLog>,
    /// something is to be reported
    news: Notify,
    clients: AtomicUsize,
}

impl Shared {
    fn change_log(&self) -> MutexGuard<'_, ChangeLog> {
        self.change_log.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Wakes the server, if there is a reader to send it to.
    fn wake_if(&self, news: bool) {
        if news && self.clients.load(Ordering::Relaxed) > 0 {
            self.news.notify_one();
        }
    }
}

/// The way to the status socket. Nothing here waits. When it is dropped the socket is closed and
/// its file removed.
#[derive(Debug)]
pub struct StatusHandle {
    shared: Arc<Shared>,
    server: JoinHandle<()>,
    path: PathBuf,
    moves: mpsc::UnboundedSender<Bound>,
}

impl Drop for StatusHandle {
    fn drop(&mut self) {
        self.server.abort();
    }
}

/// Makes the socket, for everybody to read (mode 0666), and serves it from the first
/// [`StatusHandle::publish`] on. A file left behind by a dead process is replaced.
///
/// # Errors
/// The socket cannot be made, or a process answers there ([`io::ErrorKind::AddrInUse`]).
pub fn spawn(path: PathBuf, events: mpsc::Sender<Event>) -> io::Result<StatusHandle> {
    let bound = Bound::at(&path, MODE)?;
    let shared = Arc::new(Shared {
        change_log: Mutex::new(ChangeLog::default()),
        news: Notify::new(),
        clients: AtomicUsize::new(0),
    });
    let (moves, moved) = mpsc::unbounded_channel();
    let server = Server {
        bound,
        moved,
        shared: Arc::clone(&shared),
        queues: Vec::new(),
        waiting: BTreeMap::new(),
        number: 0,
        events,
        refusing: false,
        places: Places::new(PLACES),
        group: None,
    };
    Ok(StatusHandle { shared, server: tokio::spawn(server.run()), path, moves })
}

impl StatusHandle {
    /// Returns where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Goes to another place: the socket there is made before this one is closed and its file
    /// removed. Clients stay connected.
    ///
    /// # Errors
    /// As [`spawn`]; then it stays where it is.
    pub fn relocate(&mut self, path: &Path) -> io::Result<()> {
        let bound = Bound::at(path, MODE)?;
        self.moves.send(bound).map_err(|_| io::Error::other("it is no longer served"))?;
        path.clone_into(&mut self.path);
        Ok(())
    }

    /// Publishes everything but the nodes, as it is now.
    pub fn publish(&self, snapshot: Snapshot) {
        let (first, news) = self.shared.change_log().publish(snapshot);
        if first {
            self.shared.news.notify_one();
        }
        self.shared.wake_if(news);
    }

    /// Publishes all nodes, in their order; those not among them are gone.
    pub fn nodes(&self, nodes: Vec<NodeStatus>) {
        let news = self.shared.change_log().set_nodes(nodes);
        self.shared.wake_if(news);
    }

    /// Publishes one node, in place, or behind the others if it is new. If only its round trip
    /// differs no task is woken.
    pub fn node(&self, node: NodeStatus) {
        let news = self.shared.change_log().set_node(node);
        self.shared.wake_if(news);
    }

    /// Publishes round trips and losses of nodes, which wake no client; each costs the same with
    /// ten thousand nodes.
    pub fn round_trips(&self, nodes: impl Iterator<Item = (NodeId, Option<Duration>, Option<u8>)>) {
        let mut change_log = self.shared.change_log();
        nodes.for_each(|(id, rtt, loss)| change_log.set_round_trip(id, rtt, loss));
    }

    pub fn remove_node(&self, name: &str) {
        let news = self.shared.change_log().remove_node(name);
        self.shared.wake_if(news);
    }
}

/// Accepts clients and hands out lines.
struct Server {
    bound: Bound,
    /// sockets to take the place of `bound`
    moved: mpsc::UnboundedReceiver<Bound>,
    shared: Arc<Shared>,
    queues: Vec<Arc<Queue>>,
    /// who has a place and is not served yet: by their turn, and in the order in which they came
    waiting: BTreeMap<(Instant, u64), (UnixStream, Place)>,
    /// counts who came
    number: u64,
    events: mpsc::Sender<Event>,
    /// the last `accept` failed
    refusing: bool,
    places: Arc<Places>,
    /// the group that may give orders; not known before the first publication
    group: Option<u32>,
}

impl Server {
    async fn run(mut self) {
        // Who connects before there is anything to send waits in the kernel's queue.
        self.shared.news.notified().await;
        // By now the first rules are on their way, which do not wait for the system's databases.
        self.group = control::group();
        let mut next = Instant::now();
        let mut pending = false;
        loop {
            let turn = self.waiting.keys().next().map(|(turn, _)| *turn);
            let accepted = tokio::select! {
                accepted = self.bound.accept() => accepted,
                () = sleep_until(turn.unwrap_or(next)), if turn.is_some() => {
                    if let Some((_, (stream, place))) = self.waiting.pop_first() {
                        self.serve(stream, place);
                    }
                    continue;
                }
                Some(bound) = self.moved.recv() => {
                    self.bound = bound;
                    continue;
                }
                () = self.shared.news.notified(), if !pending => {
                    pending = true;
                    continue;
                }
                () = sleep_until(next), if pending => {
                    pending = self.publish();
                    next = Instant::now() + SPACING;
                    continue;
                }
            };
            match accepted {
                Ok(stream) => {
                    if std::mem::take(&mut self.refusing) {
                        self.report(Ok(Applied::Done));
                    }
                    self.admit(stream);
                }
                Err(error) => self.accept_failed(error).await,
            }
        }
    }

    /// Sends one line to every reader; returns whether there is more to send.
    fn publish(&mut self) -> bool {
        self.queues.retain(|queue| !queue.is_closed());
        let (line, more) = self.shared.change_log().take_line(clock::now());
        if let Some(line) = line {
            let line: Arc<[u8]> = line.into();
            for queue in &self.queues {
                queue.push(&line);
            }
        }
        more
    }

    fn admit(&mut self, stream: UnixStream) {
        let place = self.places.take(Peer::of(&stream).as_ref(), self.group);
        let place = match place {
            Ok(place) => place,
            Err(full) => {
                let reason = full.to_string();
                debug!(%reason, "a client of the status socket was refused");
                let refused = Refused { reason: reason.into(), ..Refused::default() };
                return self.bound.refuse(&stream, &crate::api::line(&refused));
            }
        };
        if place.turn() <= Instant::now() {
            self.serve(stream, place);
        } else {
            self.number += 1;
            self.waiting.insert((place.turn(), self.number), (stream, place));
        }
    }

    /// Begins to serve a client whose turn it is.
    fn serve(&mut self, stream: UnixStream, place: Place) {
        // Those who left while this one waited for its turn do not read on for it.
        self.queues.retain(|queue| !queue.is_closed());
        if self.queues.is_empty() {
            // What changed while it was not read is in the snapshot.
            self.shared.change_log().begin_reading();
        }
        let queue = Arc::new(Queue::default());
        self.queues.push(Arc::clone(&queue));
        self.shared.clients.fetch_add(1, Ordering::Relaxed);
        let shared = Arc::clone(&self.shared);
        tokio::spawn(async move {
            client::serve(stream, &shared, &queue).await;
            queue.close();
            drop(place);
            if shared.clients.fetch_sub(1, Ordering::Relaxed) == 1 {
                shared.change_log().end_reading();
            }
        });
    }

    async fn accept_failed(&mut self, source: io::Error) {
        self.refusing = true;
        let path = self.bound.path().to_owned();
        self.report(Err(StatusError::NotAccepting { path, source }.into()));
        sleep(ACCEPT_AGAIN).await;
    }

    fn report(&self, result: Result<Applied, ApplyError>) {
        let report = Event::Applied(ApplyReport { output: Output::Status, result });
        if let Err(error) = self.events.try_send(report) {
            debug!(%error, "the loop has no room for a report");
        }
    }
}

/// An error of the status socket.
#[derive(Debug, thiserror::Error)]
pub enum StatusError {
    #[error("{} does not accept clients", path.display())]
    NotAccepting { path: PathBuf, source: io::Error },
    /// a reload wanted it elsewhere; the words hold the cause, for the remedy depends on it and
    /// comes last
    #[error("{} cannot be made: {error}; {} stays: {remedy} and reload", wanted.display(), held.display())]
    NotMoved { wanted: PathBuf, held: PathBuf, error: io::Error, remedy: String },
}

impl OutputError for StatusError {
    fn kind(&self) -> ApplyErrorKind {
        ApplyErrorKind::Failed
    }
}

into_apply_error!(StatusError);

impl Drop for Server {
    fn drop(&mut self) {
        for queue in &self.queues {
            queue.close();
        }
    }
}
