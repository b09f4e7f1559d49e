//! Follows the daemon: a thread reads the status socket, keeps the state up to date and reconnects
//! when the daemon restarts.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant, SystemTime};

use super::status::{Error, StatusClient};
use super::view::View;
use crate::status::{Line, Snapshot};

/// How long the daemon may take to send a snapshot before it counts as hanging.
const TIMEOUT: Duration = Duration::from_secs(2);
/// The minimum interval of snapshots with more than [`MANY`] nodes, which are long.
const REFRESH_LONG: Duration = Duration::from_secs(10);
const MANY: usize = 1000;
/// The first pause before a reconnection; it doubles up to [`LONGEST_RETRY`].
const RETRY: Duration = Duration::from_millis(125);
const LONGEST_RETRY: Duration = Duration::from_secs(1);

/// The follower's state at one moment.
#[derive(Debug, Clone, Default)]
pub struct Known {
    /// Grows with every change.
    pub generation: u64,
    /// The daemon's last state; `None` before the first.
    pub snapshot: Option<Arc<Snapshot>>,
    /// The time to which the ages in `snapshot` refer.
    pub at: Option<SystemTime>,
    /// Why the daemon does not answer, and since when, while `snapshot` is stale.
    pub lost: Option<(String, SystemTime)>,
}

impl Known {
    /// Returns the state, unless it is stale.
    pub fn live(&self) -> Option<&Arc<Snapshot>> {
        self.snapshot.as_ref().filter(|_| self.lost.is_none())
    }
}

/// A change of [`Known`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Connected to a daemon, which numbers its changes from the start.
    Begun,
    /// Received a line.
    Line {
        /// The number of the change; 0 for a line of another type.
        seq: u64,
        /// JSON without a line break.
        text: String,
    },
    /// Received a snapshot, with values whose changes cause no line.
    Refreshed,
    /// The daemon has stopped answering, or the reason has changed.
    Lost,
}

/// The followed daemon's state, which clones share.
#[derive(Debug, Clone)]
pub struct Follower(Arc<Mutex<Known>>);

impl Follower {
    /// Begins to follow the status socket at `path`, in a thread that ends with the last clone of
    /// the follower, or with the process.
    ///
    /// Requests a snapshot every `refresh` (with over a thousand nodes, at most every 10 s): it has
    /// values whose changes cause no line, such as round trips, and shows that the daemon still
    /// answers. A hang is noticed 2 s later. Calls `report` at each change, after [`Self::known`]
    /// has been updated.
    ///
    /// # Errors
    /// The system refuses a thread.
    pub fn start(
        path: PathBuf,
        refresh: Duration,
        report: impl FnMut(&Known, Step) + Send + 'static,
    ) -> io::Result<Self> {
        let follower = Self(Arc::default());
        let known = Arc::downgrade(&follower.0);
        let reader = Reader { path, refresh, known, report };
        std::thread::Builder::new().name("status".to_owned()).spawn(move || reader.run())?;
        Ok(follower)
    }

    /// Returns the current state.
    pub fn known(&self) -> Known {
        lock(&self.0).clone()
    }
}

fn lock(known: &Mutex<Known>) -> MutexGuard<'_, Known> {
    // The state is replaced as a whole.
    known.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The thread's half of a follower.
struct Reader<R> {
    path: PathBuf,
    refresh: Duration,
    known: Weak<Mutex<Known>>,
    report: R,
}

impl<R: FnMut(&Known, Step)> Reader<R> {
    fn run(mut self) {
        let mut pause = RETRY;
        loop {
            let started = Instant::now();
            let Err(why) = self.follow() else { return };
            if !self.lose(why.to_string()) {
                return;
            }
            // The backoff goes on for a daemon that keeps ending soon after its start.
            if started.elapsed() > LONGEST_RETRY {
                pause = RETRY;
            }
            std::thread::sleep(pause);
            pause = (pause * 2).min(LONGEST_RETRY);
        }
    }

    /// Follows one connection while the daemon answers; ends without an error once the follower is
    /// dropped.
    fn follow(&mut self) -> Result<(), Error> {
        let mut client = StatusClient::connect(&self.path)?;
        client.set_timeout(Some(TIMEOUT));
        let first = client.next_line()?.ok_or_else(silent)?;
        let mut view = View::default();
        view.take(first.line);
        let mut step = Step::Begun;
        let mut due = Instant::now();
        loop {
            let refreshed = !matches!(step, Step::Line { .. });
            let Some(next) = self.set(&view, step) else { return Ok(()) };
            if refreshed {
                due = Instant::now() + next;
            }
            step = self.next(&mut client, &mut view, due)?;
        }
    }

    /// Waits for a line until a snapshot is `due`, and applies the line or the snapshot.
    fn next(
        &self,
        client: &mut StatusClient,
        view: &mut View,
        due: Instant,
    ) -> Result<Step, Error> {
        let left = due.saturating_duration_since(Instant::now());
        client.set_timeout(Some(left));
        if let Some(received) = client.next_line()? {
            let seq = match &received.line {
                Line::Change(change) => change.seq,
                _ => 0,
            };
            view.take(received.line);
            return Ok(Step::Line { seq, text: received.text });
        }
        view.refresh(fresh(&self.path)?);
        Ok(Step::Refreshed)
    }

    /// Sets the state and reports it. Returns the time to the next snapshot; `None` once the
    /// follower is dropped.
    fn set(&mut self, view: &View, step: Step) -> Option<Duration> {
        let shared = self.known.upgrade()?;
        let snapshot = view.now().map(Arc::new);
        let many = snapshot.as_ref().is_some_and(|snapshot| snapshot.nodes.len() > MANY);
        let known = {
            let mut known = lock(&shared);
            let generation = known.generation + 1;
            *known = Known { generation, snapshot, at: Some(SystemTime::now()), lost: None };
            known.clone()
        };
        (self.report)(&known, step);
        Some(if many { self.refresh.max(REFRESH_LONG) } else { self.refresh })
    }

    /// Sets why the daemon does not answer; returns whether the follower still exists.
    fn lose(&mut self, why: String) -> bool {
        let Some(shared) = self.known.upgrade() else { return false };
        let known = {
            let mut known = lock(&shared);
            match &mut known.lost {
                Some((reason, _)) if *reason == why => return true,
                Some((reason, _)) => *reason = why,
                none @ None => *none = Some((why, SystemTime::now())),
            }
            known.generation += 1;
            known.clone()
        };
        (self.report)(&known, Step::Lost);
        true
    }
}

/// Fetches a snapshot over a new connection.
fn fresh(path: &Path) -> Result<Snapshot, Error> {
    StatusClient::fetch(path, TIMEOUT).map(|(_, snapshot)| snapshot)
}

fn silent() -> Error {
    Error::NotStatus(format!("the daemon has not answered for {} s", TIMEOUT.as_secs()))
}
