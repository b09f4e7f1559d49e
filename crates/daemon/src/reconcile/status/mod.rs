//! The status socket: JSON lines for all local users. Input from clients is discarded; no client
//! can block the daemon or make it grow. While nothing changes, no task wakes.

mod change_log;
mod client;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::api::status::Refused;
use tokio::net::UnixStream;
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, sleep_until};

use self::change_log::ChangeLog;
use self::client::Queue;
use crate::clock;
use crate::event::{Applied, ApplyError, ApplyReport, Event, NodeId, Output};
use crate::reconcile::error::{OutputError, into_apply_error};
use crate::socket::admission::{Limits, Peer, Place, Places};
use crate::socket::bind::Bound;
use crate::sync::lock;
use crate::view::status::{NodeStatus, Snapshot};
use crate::watch::control;
use tracing::debug;

/// All local users may connect: the status has no secrets, and accepts no commands.
const MODE: u32 = 0o666;
/// Limits on clients; further ones are refused. A quarter is reserved for root, the daemon's user
/// and the group.
const PLACES: Limits = Limits { all: 128, each: 32, kept: 32, kept_for_root: 8 };
/// Interval between two lines of changes: at most ten in any second.
const SPACING: Duration = Duration::from_millis(105);
/// Pause after a failed accept(2), for example without free descriptors.
const ACCEPT_RETRY: Duration = Duration::from_millis(500);

/// The state shared by handle, server and clients.
#[derive(Debug)]
struct Shared {
    change_log: Mutex<ChangeLog>,
    /// There are changes to send.
    news: Notify,
    clients: AtomicUsize,
}

impl Shared {
    /// Wakes the server if there are `news` and a client.
    fn wake_if(&self, news: bool) {
        if news && self.clients.load(Ordering::Relaxed) > 0 {
            self.news.notify_one();
        }
    }
}

/// Handle of the status socket. No method blocks. Dropping it closes the socket and removes its
/// file.
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

/// Creates the socket (mode 0666), and serves it from the first [`StatusHandle::publish`] on. A
/// stale socket is replaced.
///
/// # Errors
/// As [`Bound::at`].
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
        arrivals: 0,
        events,
        accept_failed: false,
        places: Places::new(PLACES),
        group: None,
    };
    Ok(StatusHandle { shared, server: tokio::spawn(server.run()), path, moves })
}

impl StatusHandle {
    /// Returns the path of the socket.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Moves the socket: creates the new one, then closes the old one and removes its file. Clients
    /// stay connected.
    ///
    /// # Errors
    /// As [`spawn`]; the old socket stays.
    pub fn relocate(&mut self, path: &Path) -> io::Result<()> {
        let bound = Bound::at(path, MODE)?;
        self.moves.send(bound).map_err(|_| io::Error::other("it is no longer served"))?;
        path.clone_into(&mut self.path);
        Ok(())
    }

    /// Publishes everything except the nodes.
    pub fn publish(&self, snapshot: Snapshot) {
        let (first, news) = lock(&self.shared.change_log).publish(snapshot);
        if first {
            self.shared.news.notify_one();
        }
        self.shared.wake_if(news);
    }

    /// Publishes the complete ordered list of nodes.
    pub fn nodes(&self, nodes: Vec<NodeStatus>) {
        let news = lock(&self.shared.change_log).set_nodes(nodes);
        self.shared.wake_if(news);
    }

    /// Publishes one node, appended if it is new. A change of only the round-trip time wakes no
    /// task.
    pub fn node(&self, node: NodeStatus) {
        let news = lock(&self.shared.change_log).set_node(node);
        self.shared.wake_if(news);
    }

    /// Publishes round-trip times and losses, which wake no client. The cost of each does not
    /// depend on the number of nodes.
    pub fn round_trips(&self, nodes: impl Iterator<Item = (NodeId, Option<Duration>, Option<u8>)>) {
        let mut change_log = lock(&self.shared.change_log);
        nodes.for_each(|(id, rtt, loss)| change_log.set_round_trip(id, rtt, loss));
    }

    pub fn remove_node(&self, name: &str) {
        let news = lock(&self.shared.change_log).remove_node(name);
        self.shared.wake_if(news);
    }
}

/// Accepts clients and distributes lines.
struct Server {
    bound: Bound,
    /// Replacements for `bound`.
    moved: mpsc::UnboundedReceiver<Bound>,
    shared: Arc<Shared>,
    queues: Vec<Arc<Queue>>,
    /// Admitted clients that wait for their turn, by time and order of arrival.
    waiting: BTreeMap<(Instant, u64), (UnixStream, Place)>,
    /// Number of clients that had to wait so far.
    arrivals: u64,
    events: mpsc::Sender<Event>,
    /// The last accept(2) failed.
    accept_failed: bool,
    places: Arc<Places>,
    /// The group of the control socket; unknown before the first publication.
    group: Option<u32>,
}

impl Server {
    async fn run(mut self) {
        // Until the first publication clients wait in the kernel's backlog.
        self.shared.news.notified().await;
        // Looked up only now, so that the user database does not delay the first rules.
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
                    if std::mem::take(&mut self.accept_failed) {
                        self.report(Ok(Applied::Done));
                    }
                    self.admit(stream);
                }
                Err(error) => self.on_accept_error(error).await,
            }
        }
    }

    /// Sends one line to each client. Returns whether there is more to send.
    fn publish(&mut self) -> bool {
        self.queues.retain(|queue| !queue.is_closed());
        let (line, more) = lock(&self.shared.change_log).take_line(clock::now());
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
            self.arrivals += 1;
            self.waiting.insert((place.turn(), self.arrivals), (stream, place));
        }
    }

    /// Spawns the task of a client.
    fn serve(&mut self, stream: UnixStream, place: Place) {
        // Clients that have left do not count as readers.
        self.queues.retain(|queue| !queue.is_closed());
        if self.queues.is_empty() {
            // Earlier changes are in the client's snapshot.
            lock(&self.shared.change_log).begin_reading();
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
                lock(&shared.change_log).end_reading();
            }
        });
    }

    async fn on_accept_error(&mut self, source: io::Error) {
        self.accept_failed = true;
        let path = self.bound.path().to_owned();
        self.report(Err(StatusError::NotAccepting { path, source }.into()));
        sleep(ACCEPT_RETRY).await;
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
    /// A reload could not move it. The text includes the cause, since the remedy, which depends on
    /// it, has to come last.
    #[error("{} cannot be made: {error}; {} stays: {remedy} and reload", wanted.display(), held.display())]
    NotMoved { wanted: PathBuf, held: PathBuf, error: io::Error, remedy: String },
}

impl OutputError for StatusError {}

into_apply_error!(StatusError);

impl Drop for Server {
    fn drop(&mut self) {
        for queue in &self.queues {
            queue.close();
        }
    }
}
