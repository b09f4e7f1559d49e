//! The daemon's state: the current snapshot, and a stream of the status socket's lines that a
//! client can resume.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bramblegate_api::client::{Follower, Known, Step};
use futures_util::stream::{self, Stream, StreamExt};
use tokio::sync::{broadcast, watch};

use crate::changes::{HealthChanges, HealthCounter};
use crate::lock::lock;
use crate::sight::{Sight, Summaries};

/// The interval of snapshots. With the 2 s after which the daemon counts as hanging, a hang is
/// noticed within 4.5 s.
const REFRESH: Duration = Duration::from_millis(2500);
/// How many recent lines are kept for clients that reconnect.
const RECENT: usize = 256;
/// How many lines a slow client may lag before it gets a snapshot instead.
const LAG: usize = 64;
/// The minimum interval of summaries for one client.
const SUMMARIES: Duration = Duration::from_secs(1);

/// One line of the status socket, as sent to clients.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sent {
    /// The number of the last change that it includes.
    pub seq: u64,
    /// JSON without a line break.
    pub text: String,
}

/// The changes since the connection to the daemon.
#[derive(Debug, Default)]
struct Lines {
    recent: VecDeque<Arc<Sent>>,
    /// The number of the last change.
    seq: u64,
}

/// The daemon's state, which clones share.
#[derive(Debug, Clone)]
pub struct Feed {
    follower: Follower,
    lines: Arc<Mutex<Lines>>,
    counter: HealthCounter,
    changed: watch::Receiver<u64>,
    sent: broadcast::Sender<Arc<Sent>>,
}

impl Feed {
    /// Begins to follow the status socket at `path`, in a thread that ends with the process.
    ///
    /// # Errors
    /// The system refuses a thread.
    pub fn start(path: PathBuf) -> std::io::Result<Self> {
        let lines = Arc::new(Mutex::new(Lines::default()));
        let (changes, changed) = watch::channel(0);
        let sent = broadcast::channel(LAG).0;
        let (published, clients) = (Arc::clone(&lines), sent.clone());
        let counter = HealthCounter::default();
        let mut counting = counter.clone();
        let follower = Follower::start(path, REFRESH, move |known, step| {
            counting.take(known, &step);
            publish(&published, &clients, step);
            changes.send_modify(|generation| *generation += 1);
        })?;
        Ok(Self { follower, lines, counter, changed, sent })
    }

    /// Returns the current state.
    pub fn known(&self) -> Known {
        self.follower.known()
    }

    /// Returns the counts of health changes.
    pub fn health_changes(&self) -> Arc<HealthChanges> {
        self.counter.now()
    }

    /// Returns the lines of the status socket: those after the change `since`, or a snapshot if
    /// that is too old, then new lines as they come.
    pub fn lines(&self, since: Option<u64>) -> impl Stream<Item = Arc<Sent>> + use<> {
        let receiver = self.sent.subscribe();
        let catch_up = self.catch_up(since);
        let last = catch_up.last().map(|sent| sent.seq).or(since).unwrap_or(0);
        let following = stream::unfold(
            (self.clone(), receiver, last),
            |(feed, mut receiver, last)| async move {
                loop {
                    let sent = match receiver.recv().await {
                        Ok(sent) if sent.seq == last + 1 => sent,
                        Ok(sent) if sent.seq > 0 && sent.seq <= last => continue,
                        // Lines were missed, or the daemon has restarted.
                        Ok(_) | Err(broadcast::error::RecvError::Lagged(_)) => feed.whole()?,
                        Err(broadcast::error::RecvError::Closed) => return None,
                    };
                    let last = sent.seq;
                    return Some((sent, (feed, receiver, last)));
                }
            },
        );
        stream::iter(catch_up).chain(following)
    }

    /// Returns a summary as a snapshot line, then another one after changes, at most one per
    /// `SUMMARIES`. Lines of changes would name nodes.
    pub fn snapshots(&self, summaries: Arc<Summaries>) -> impl Stream<Item = Arc<Sent>> + use<> {
        let state = (self.clone(), self.changes(), summaries, true);
        stream::unfold(state, |(feed, mut changes, summaries, first)| async move {
            if !first {
                tokio::time::sleep(SUMMARIES).await;
                changes.changed().await.ok()?;
            }
            changes.borrow_and_update();
            let seq = lock(&feed.lines).seq;
            let known = summaries.seen(feed.known(), Sight::Summary);
            let text = known.snapshot.map(|snapshot| {
                let line = bramblegate_api::line(&*snapshot);
                String::from_utf8_lossy(line.trim_ascii_end()).into_owned()
            });
            // "{}" before the first snapshot of the daemon.
            let sent = Arc::new(Sent { seq, text: text.unwrap_or_else(|| "{}".to_owned()) });
            Some((sent, (feed, changes, summaries, false)))
        })
    }

    /// Returns the changes after `since`, or a snapshot.
    fn catch_up(&self, since: Option<u64>) -> Vec<Arc<Sent>> {
        let lines = lock(&self.lines);
        let oldest = lines.recent.front().map_or(lines.seq + 1, |sent| sent.seq);
        match since {
            Some(since) if since > 0 && since <= lines.seq && since + 1 >= oldest => {
                lines.recent.iter().filter(|sent| sent.seq > since).cloned().collect()
            }
            _ => {
                drop(lines);
                self.whole().into_iter().collect()
            }
        }
    }

    /// Returns a snapshot.
    fn whole(&self) -> Option<Arc<Sent>> {
        let lines = lock(&self.lines);
        let snapshot = self.known().snapshot?;
        let line = bramblegate_api::line(&*snapshot);
        let text = String::from_utf8_lossy(line.trim_ascii_end()).into_owned();
        Some(Arc::new(Sent { seq: lines.seq, text }))
    }

    /// Returns a number that grows with every change of the state.
    pub fn generation(&self) -> u64 {
        *self.changed.borrow()
    }

    /// Returns a receiver that wakes at every change of the state.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changed.clone()
    }
}

/// Records a line for clients that reconnect and sends it to connected ones.
fn publish(lines: &Mutex<Lines>, clients: &broadcast::Sender<Arc<Sent>>, step: Step) {
    let (seq, text) = match step {
        // The number 0 makes all clients start over with a snapshot.
        Step::Begun => (0, String::new()),
        Step::Line { seq, text } if seq > 0 => (seq, text),
        Step::Line { .. } | Step::Refreshed | Step::Lost => return,
    };
    let sent = Arc::new(Sent { seq, text });
    let mut lines = lock(lines);
    if seq == 0 {
        *lines = Lines::default();
    } else {
        if lines.recent.len() == RECENT {
            lines.recent.pop_front();
        }
        lines.recent.push_back(Arc::clone(&sent));
        lines.seq = seq;
    }
    // Fails, harmlessly, without clients.
    let _ = clients.send(sent);
}
