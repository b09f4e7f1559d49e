//! Follows the daemon: a thread reads the status socket, keeps the state up to date and connects
//! again when the daemon has ended.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant, SystemTime};

use super::status::{Error, StatusClient};
use super::view::View;
use crate::status::{Line, Snapshot};

/// A daemon that does not send its state for so long hangs.
const HANGS: Duration = Duration::from_secs(2);
/// Snapshots are asked for no more often than this where they are long: …
const REFRESH_MANY: Duration = Duration::from_secs(10);
/// … with more nodes than this.
const MANY: usize = 1000;
/// Pause before another try to connect: it doubles with each try.
const RETRY: Duration = Duration::from_millis(125);
const LONGEST_RETRY: Duration = Duration::from_secs(1);

/// What is known of the daemon at one moment.
#[derive(Debug, Clone, Default)]
pub struct Known {
    /// counts up with every change
    pub generation: u64,
    /// the last state that it sent; none before the first
    pub snapshot: Option<Arc<Snapshot>>,
    /// when the ages in `snapshot` were true
    pub at: Option<SystemTime>,
    /// why it does not answer, and since when: `snapshot` is stale; none while it does
    pub lost: Option<(String, SystemTime)>,
}

impl Known {
    /// Returns the state of a daemon that answers.
    pub fn live(&self) -> Option<&Arc<Snapshot>> {
        self.snapshot.as_ref().filter(|_| self.lost.is_none())
    }
}

/// What is reported when [`Known`] has changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// a daemon was connected to: its changes are numbered anew
    Begun,
    /// a line came
    Line {
        /// number of the change; 0 for a line of another type
        seq: u64,
        /// JSON without a line break
        text: String,
    },
    /// a new snapshot brought what causes no line
    Refreshed,
    /// the daemon does not answer, or for another reason
    Lost,
}

/// The state of a daemon, shared by all who ask for it.
#[derive(Debug, Clone)]
pub struct Follower(Arc<Mutex<Known>>);

impl Follower {
    /// Begins to follow the status socket at `path`, in a thread that ends with the last clone of
    /// the follower, or with the process.
    ///
    /// A snapshot is asked for every `refresh` (for over a thousand nodes every 10 s at most): it
    /// brings what causes no line of changes, such as round trips, and shows that the daemon still
    /// answers. One that hangs is noticed 2 s later. Each change is passed to `report`, with
    /// what is known then, after [`Self::known`] has it.
    ///
    /// # Errors
    /// There can be no thread.
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

    /// Returns what is known now.
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
            let begun = Instant::now();
            let Err(why) = self.follow() else { return };
            if !self.lose(why.to_string()) {
                return;
            }
            // A daemon that ends soon after it has begun is not asked more often than an absent one.
            if begun.elapsed() > LONGEST_RETRY {
                pause = RETRY;
            }
            std::thread::sleep(pause);
            pause = (pause * 2).min(LONGEST_RETRY);
        }
    }

    /// Reads one connection for as long as the daemon answers and the follower is there.
    fn follow(&mut self) -> Result<(), Error> {
        let mut client = StatusClient::connect(&self.path)?;
        client.set_timeout(Some(HANGS));
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

    /// Waits for a line until a snapshot is `due`, and takes one of the two in.
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

    /// Sets what is known and reports it. Returns after how long the next snapshot is due; `None`
    /// where the follower is gone.
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
        Some(if many { self.refresh.max(REFRESH_MANY) } else { self.refresh })
    }

    /// Sets why the daemon does not answer; whether the follower is still there.
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

/// Returns a snapshot by a connection of its own.
fn fresh(path: &Path) -> Result<Snapshot, Error> {
    StatusClient::fetch(path, HANGS).map(|(_, snapshot)| snapshot)
}

fn silent() -> Error {
    Error::NotStatus(format!("the daemon has not answered for {} s", HANGS.as_secs()))
}
