//! Follows the daemon: a thread reads the status socket, keeps the state up to date and hands on
//! every line.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use bramblegate_api::client::{Error, StatusClient, View};
use bramblegate_api::status::{Change, Line, Node, Rule, Snapshot};
use futures_util::stream::{self, Stream, StreamExt};
use tokio::sync::{broadcast, watch};

use crate::changes::HealthChanges;
use crate::sight::{Sight, Summaries};

/// A snapshot is asked for so often: it brings what causes no line of changes, such as round trips,
/// and shows that the daemon still answers.
///
/// With [`HANGS`] after it a daemon that hangs is noticed within 4.5 s.
const REFRESH: Duration = Duration::from_millis(2500);
/// The same where a snapshot is long.
const REFRESH_MANY: Duration = Duration::from_secs(10);
/// So many nodes make it long.
const MANY: usize = 1000;
/// A daemon that does not send its state for so long hangs.
const HANGS: Duration = Duration::from_secs(2);
/// Lines of changes that are kept for those who come back.
const KEPT: usize = 256;
/// Lines that a slow client may be behind before it is given a snapshot.
const BEHIND: usize = 64;
/// Between two summaries for one client.
const SUMMARIES: Duration = Duration::from_secs(1);
/// Pause before another try to connect.
const RETRY: Duration = Duration::from_millis(500);

/// What is known of the daemon at one moment.
#[derive(Debug, Clone, Default)]
pub struct Known {
    /// the last state that it sent; none before the first
    pub snapshot: Option<Arc<Snapshot>>,
    /// when the ages in `snapshot` were true
    pub at: Option<SystemTime>,
    /// why it does not answer, and since when; none while it does
    pub lost: Option<(String, SystemTime)>,
    /// what was counted of the states since this process started
    pub changes: Arc<HealthChanges>,
}

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
pub struct Follower {
    known: Arc<Mutex<Known>>,
    lines: Arc<Mutex<Lines>>,
    changed: watch::Receiver<u64>,
    sent: broadcast::Sender<Arc<Sent>>,
}

impl Follower {
    /// Begins to follow the status socket at `path`, in a thread that ends with the process.
    ///
    /// # Errors
    /// There can be no thread.
    pub fn start(path: PathBuf) -> std::io::Result<Self> {
        let known = Arc::new(Mutex::new(Known::default()));
        let lines = Arc::new(Mutex::new(Lines::default()));
        let (changes, changed) = watch::channel(0);
        let sent = broadcast::channel(BEHIND).0;
        let follower = Self { known, lines, changed, sent };
        let reader = Reader { path, shared: follower.clone(), changes };
        std::thread::Builder::new().name("status".to_owned()).spawn(move || reader.run())?;
        Ok(follower)
    }

    /// Returns what is known now.
    pub fn known(&self) -> Known {
        lock(&self.known).clone()
    }

    /// Returns the lines of the status socket: those after the change `since`, or a snapshot where
    /// that is not known any more, then every line that comes.
    pub fn lines(&self, since: Option<u64>) -> impl Stream<Item = Arc<Sent>> + use<> {
        let receiver = self.sent.subscribe();
        let begin = self.begin(since);
        let last = begin.last().map(|sent| sent.seq).or(since).unwrap_or(0);
        let go_on = stream::unfold(
            (self.clone(), receiver, last),
            |(follower, mut receiver, last)| async move {
                loop {
                    let sent = match receiver.recv().await {
                        Ok(sent) if sent.seq == last + 1 => sent,
                        Ok(sent) if sent.seq > 0 && sent.seq <= last => continue,
                        // Lines were missed, or it is another daemon.
                        Ok(_) | Err(broadcast::error::RecvError::Lagged(_)) => follower.whole()?,
                        Err(broadcast::error::RecvError::Closed) => return None,
                    };
                    let last = sent.seq;
                    return Some((sent, (follower, receiver, last)));
                }
            },
        );
        stream::iter(begin).chain(go_on)
    }

    /// Returns a summary as a snapshot line, then another whenever something has changed, at most
    /// one in `SUMMARIES`: changes name nodes.
    pub fn snapshots(&self, summaries: Arc<Summaries>) -> impl Stream<Item = Arc<Sent>> + use<> {
        let state = (self.clone(), self.changes(), summaries, true);
        stream::unfold(state, |(follower, mut changes, summaries, first)| async move {
            if !first {
                tokio::time::sleep(SUMMARIES).await;
                changes.changed().await.ok()?;
            }
            changes.borrow_and_update();
            let seq = lock(&follower.lines).seq;
            let known = summaries.seen(follower.known(), Sight::Summary);
            let text = known.snapshot.map(|snapshot| {
                let line = bramblegate_api::line(&*snapshot);
                String::from_utf8_lossy(line.trim_ascii_end()).into_owned()
            });
            // Before the first line of the daemon there is nothing to send.
            let sent = Arc::new(Sent { seq, text: text.unwrap_or_else(|| "{}".to_owned()) });
            Some((sent, (follower, changes, summaries, false)))
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
        let snapshot = lock(&self.known).snapshot.clone()?;
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

fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing is done under the lock that could leave a value half made.
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

struct Reader {
    path: PathBuf,
    shared: Follower,
    changes: watch::Sender<u64>,
}

impl Reader {
    fn run(self) {
        while !self.changes.is_closed() {
            if let Err(error) = self.follow() {
                self.set_lost(error.to_string());
            }
            std::thread::sleep(RETRY);
        }
    }

    /// Reads one connection for as long as the daemon answers.
    fn follow(&self) -> Result<(), Error> {
        let mut client = StatusClient::connect(&self.path)?;
        client.set_timeout(Some(HANGS));
        let first = client.next_line()?.ok_or_else(|| {
            Error::NotStatus(format!("the daemon has not answered for {} s", HANGS.as_secs()))
        })?;
        let mut view = View::default();
        view.take(first.line);
        let mut refresh = Instant::now() + self.begin(&view);
        loop {
            let left = refresh.saturating_duration_since(Instant::now());
            if left.is_zero() {
                let (_, now) = StatusClient::fetch(&self.path, HANGS)?;
                view.take(Line::Change(Box::new(quiet_changes(&view, now))));
                refresh = Instant::now() + self.set(&view);
                continue;
            }
            client.set_timeout(Some(left));
            if let Some(received) = client.next_line()? {
                let seq = match &received.line {
                    Line::Change(change) => change.seq,
                    _ => 0,
                };
                view.take(received.line);
                self.set(&view);
                self.hand_on(seq, received.text);
            }
        }
    }

    /// Begins with another daemon: its changes are numbered anew. Returns what `set` does.
    fn begin(&self, view: &View) -> Duration {
        *lock(&self.shared.lines) = Lines::default();
        // To a daemon that has just started every node is unknown: no node has changed.
        let due = self.put(view, false);
        // A change without a number asks everybody to begin anew. No client is no failure.
        let _ = self.shared.sent.send(Arc::new(Sent { seq: 0, text: String::new() }));
        due
    }

    fn hand_on(&self, seq: u64, text: String) {
        if seq == 0 {
            return;
        }
        let sent = Arc::new(Sent { seq, text });
        let mut lines = lock(&self.shared.lines);
        if lines.kept.len() == KEPT {
            lines.kept.pop_front();
        }
        lines.kept.push_back(Arc::clone(&sent));
        lines.seq = seq;
        // No client is no failure.
        let _ = self.shared.sent.send(sent);
    }

    /// Returns after how long the next snapshot is due.
    fn set(&self, view: &View) -> Duration {
        self.put(view, true)
    }

    /// The same; `counts`: what differs from the state before has changed.
    fn put(&self, view: &View, counts: bool) -> Duration {
        let Some(snapshot) = view.now() else { return REFRESH };
        let due = if snapshot.nodes.len() > MANY { REFRESH_MANY } else { REFRESH };
        let mut known = lock(&self.shared.known);
        if let Some(before) = known.snapshot.clone().filter(|_| counts) {
            if HealthChanges::differ(&before, &snapshot) {
                Arc::make_mut(&mut known.changes).count(&before, &snapshot);
            }
        }
        known.snapshot = Some(Arc::new(snapshot));
        (known.at, known.lost) = (Some(SystemTime::now()), None);
        drop(known);
        self.changes.send_modify(|generation| *generation += 1);
        due
    }

    fn set_lost(&self, why: String) {
        let mut known = lock(&self.shared.known);
        match &mut known.lost {
            Some((reason, _)) if *reason == why => return,
            Some((reason, _)) => *reason = why,
            none @ None => *none = Some((why, SystemTime::now())),
        }
        drop(known);
        self.changes.send_modify(|generation| *generation += 1);
    }
}

/// Returns what `now` has of things that cause no line: round trips, losses, leases, counts of rules
/// and of the display.
/// What a line reports is left to the line, which may still be on its way.
fn quiet_changes(view: &View, now: Snapshot) -> Change {
    let Some(known) = view.snapshot() else { return Change::default() };
    let mut change = Change::default();
    let without_lines =
        |node: &Node| Node { rtt_us: None, loss_percent: None, since_s: 0, ..node.clone() };
    let alike = known.nodes.len() == now.nodes.len()
        && known.nodes.iter().zip(&now.nodes).all(|(old, new)| old.name == new.name);
    if alike {
        let pairs = known.nodes.iter().zip(now.nodes);
        change.nodes = pairs
            .filter(|(old, new)| {
                (old.rtt_us, old.loss_percent) != (new.rtt_us, new.loss_percent)
                    && without_lines(old) == without_lines(new)
            })
            .map(|(_, new)| new)
            .collect();
    }
    let same_uplinks = known.uplinks.len() == now.uplinks.len()
        && known
            .uplinks
            .iter()
            .zip(&now.uplinks)
            .all(|(old, new)| (&old.state, &old.addresses) == (&new.state, &new.addresses));
    if same_uplinks {
        change.uplinks = Some(now.uplinks);
        change.uplink = Some(now.uplink);
    }
    let names = |rules: &[Rule]| -> Vec<_> {
        rules.iter().map(|rule| (rule.chain.clone(), rule.rule.clone())).collect()
    };
    if names(&known.rules) == names(&now.rules) {
        change.rules = Some(now.rules);
    }
    if known.panel.lcd.lines == now.panel.lcd.lines {
        change.panel = Some(now.panel);
    }
    change
}
