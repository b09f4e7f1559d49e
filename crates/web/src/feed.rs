//! The daemon's state for the clients of the page's server: what is known now, and every line of the
//! status socket since a client's last one.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bramblegate_api::client::{Follower, Known, Step};
use futures_util::stream::{self, Stream, StreamExt};
use tokio::sync::{broadcast, watch};

use crate::changes::{HealthChanges, HealthCounter};
use crate::sight::{Sight, Summaries};

/// A snapshot is asked for so often.
///
/// With the 2 s after which a daemon counts as hanging that is noticed within 4.5 s.
const REFRESH: Duration = Duration::from_millis(2500);
/// Lines of changes that are kept for those who come back.
const KEPT: usize = 256;
/// Lines that a slow client may be behind before it is given a snapshot.
const BEHIND: usize = 64;
/// Between two summaries for one client.
const SUMMARIES: Duration = Duration::from_secs(1);

/// One line of the status socket, as it goes to a client of the page's server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sent {
    /// number of the last change that is in it
    pub seq: u64,
    /// JSON without a line break
    pub text: String,
}

/// The lines of changes since the daemon was connected to.
#[derive(Debug, Default)]
struct Lines {
    kept: VecDeque<Arc<Sent>>,
    /// number of the last change
    seq: u64,
}

/// The state of the daemon, shared by all who show it.
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
    /// There can be no thread.
    pub fn start(path: PathBuf) -> std::io::Result<Self> {
        let lines = Arc::new(Mutex::new(Lines::default()));
        let (changes, changed) = watch::channel(0);
        let sent = broadcast::channel(BEHIND).0;
        let (kept, clients) = (Arc::clone(&lines), sent.clone());
        let counter = HealthCounter::default();
        let mut counting = counter.clone();
        let follower = Follower::start(path, REFRESH, move |known, step| {
            counting.take(known, &step);
            hand_on(&kept, &clients, step);
            changes.send_modify(|generation| *generation += 1);
        })?;
        Ok(Self { follower, lines, counter, changed, sent })
    }

    /// Returns what is known now.
    pub fn known(&self) -> Known {
        self.follower.known()
    }

    /// Returns how often the health of nodes has changed since this process follows the daemon.
    pub fn health_changes(&self) -> Arc<HealthChanges> {
        self.counter.now()
    }

    /// Returns the lines of the status socket: those after the change `since`, or a snapshot where
    /// that is not known any more, then every line that comes.
    pub fn lines(&self, since: Option<u64>) -> impl Stream<Item = Arc<Sent>> + use<> {
        let receiver = self.sent.subscribe();
        let begin = self.begin(since);
        let last = begin.last().map(|sent| sent.seq).or(since).unwrap_or(0);
        let go_on = stream::unfold(
            (self.clone(), receiver, last),
            |(feed, mut receiver, last)| async move {
                loop {
                    let sent = match receiver.recv().await {
                        Ok(sent) if sent.seq == last + 1 => sent,
                        Ok(sent) if sent.seq > 0 && sent.seq <= last => continue,
                        // Lines were missed, or it is another daemon.
                        Ok(_) | Err(broadcast::error::RecvError::Lagged(_)) => feed.whole()?,
                        Err(broadcast::error::RecvError::Closed) => return None,
                    };
                    let last = sent.seq;
                    return Some((sent, (feed, receiver, last)));
                }
            },
        );
        stream::iter(begin).chain(go_on)
    }

    /// Returns a summary as a snapshot line, then another whenever something has changed, at most
    /// one in `SUMMARIES`: changes name nodes.
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
            // Before the first line of the daemon there is nothing to send.
            let sent = Arc::new(Sent { seq, text: text.unwrap_or_else(|| "{}".to_owned()) });
            Some((sent, (feed, changes, summaries, false)))
        })
    }

    /// Returns what a client that knows everything up to `since` is given first.
    fn begin(&self, since: Option<u64>) -> Vec<Arc<Sent>> {
        let lines = lock(&self.lines);
        let oldest = lines.kept.front().map_or(lines.seq + 1, |sent| sent.seq);
        match since {
            Some(since) if since > 0 && since <= lines.seq && since + 1 >= oldest => {
                lines.kept.iter().filter(|sent| sent.seq > since).cloned().collect()
            }
            _ => {
                drop(lines);
                self.whole().into_iter().collect()
            }
        }
    }

    /// Returns everything, as a snapshot of now.
    fn whole(&self) -> Option<Arc<Sent>> {
        let lines = lock(&self.lines);
        let snapshot = self.known().snapshot?;
        let line = bramblegate_api::line(&*snapshot);
        let text = String::from_utf8_lossy(line.trim_ascii_end()).into_owned();
        Some(Arc::new(Sent { seq: lines.seq, text }))
    }

    /// Returns a number that grows whenever something is known that was not.
    pub fn generation(&self) -> u64 {
        *self.changed.borrow()
    }

    /// Returns a receiver that wakes whenever something is known that was not.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changed.clone()
    }
}

/// Keeps a line for those who come back and sends it to those who are here.
fn hand_on(lines: &Mutex<Lines>, clients: &broadcast::Sender<Arc<Sent>>, step: Step) {
    let (seq, text) = match step {
        // A change without a number asks all clients to begin anew.
        Step::Begun => (0, String::new()),
        Step::Line { seq, text } if seq > 0 => (seq, text),
        Step::Line { .. } | Step::Refreshed | Step::Lost => return,
    };
    let sent = Arc::new(Sent { seq, text });
    let mut lines = lock(lines);
    if seq == 0 {
        *lines = Lines::default();
    } else {
        if lines.kept.len() == KEPT {
            lines.kept.pop_front();
        }
        lines.kept.push_back(Arc::clone(&sent));
        lines.seq = seq;
    }
    // No client is no failure.
    let _ = clients.send(sent);
}

fn lock(lines: &Mutex<Lines>) -> MutexGuard<'_, Lines> {
    // Nothing is done under the lock that could leave a value half made.
    lines.lock().unwrap_or_else(PoisonError::into_inner)
}
