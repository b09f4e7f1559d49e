//! Follows the daemon: a thread reads the status socket and keeps the state up to date.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use bramblegate_api::client::{Error, StatusClient, View};
use bramblegate_api::status::Snapshot;
use tokio::sync::watch;

/// A connection is replaced after so long: its snapshot brings what causes no line of changes, such
/// as round trips, and shows that the daemon still answers.
const REFRESH: Duration = Duration::from_secs(3);
/// The same where a snapshot is long.
const REFRESH_MANY: Duration = Duration::from_secs(10);
/// So many nodes make it long.
const MANY: usize = 1000;
/// A daemon that does not send its state for so long hangs.
const HANGS: Duration = Duration::from_secs(2);
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
}

/// The state of the daemon, shared by all who show it.
#[derive(Debug, Clone)]
pub struct Follower {
    known: Arc<Mutex<Known>>,
    changed: watch::Receiver<u64>,
}

impl Follower {
    /// Begins to follow the status socket at `path`, in a thread that ends with the process.
    ///
    /// # Errors
    /// There can be no thread.
    pub fn start(path: PathBuf) -> std::io::Result<Self> {
        let known = Arc::new(Mutex::new(Known::default()));
        let (changes, changed) = watch::channel(0);
        let reader = Reader { path, known: Arc::clone(&known), changes };
        std::thread::Builder::new().name("status".to_owned()).spawn(move || reader.run())?;
        Ok(Self { known, changed })
    }

    /// Returns what is known now.
    pub fn known(&self) -> Known {
        lock(&self.known).clone()
    }

    /// Returns a receiver that wakes whenever something is known that was not.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changed.clone()
    }
}

fn lock(known: &Mutex<Known>) -> MutexGuard<'_, Known> {
    // A value that is replaced as a whole is whole, whoever panicked beside it.
    known.lock().unwrap_or_else(PoisonError::into_inner)
}

struct Reader {
    path: PathBuf,
    known: Arc<Mutex<Known>>,
    changes: watch::Sender<u64>,
}

impl Reader {
    fn run(self) {
        loop {
            match self.follow_once() {
                Ok(()) => {}
                Err(error) => {
                    self.set_lost(error.to_string());
                    std::thread::sleep(RETRY);
                }
            }
            if self.changes.is_closed() {
                return;
            }
        }
    }

    /// Reads one connection until it is time for a fresh one.
    fn follow_once(&self) -> Result<(), Error> {
        let mut client = StatusClient::connect(&self.path)?;
        client.set_timeout(Some(HANGS));
        let mut view = View::default();
        let first = client.next_line()?.ok_or_else(|| {
            Error::NotStatus(format!("the daemon has not answered for {} s", HANGS.as_secs()))
        })?;
        view.take(first.line);
        let many = self.set(&view);
        let end = Instant::now() + if many { REFRESH_MANY } else { REFRESH };
        loop {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(());
            }
            client.set_timeout(Some(left));
            if let Some(received) = client.next_line()? {
                view.take(received.line);
                self.set(&view);
            }
        }
    }

    /// Returns whether there are many nodes.
    fn set(&self, view: &View) -> bool {
        let Some(snapshot) = view.now() else { return false };
        let many = snapshot.nodes.len() > MANY;
        *lock(&self.known) =
            Known { snapshot: Some(Arc::new(snapshot)), at: Some(SystemTime::now()), lost: None };
        self.changes.send_modify(|generation| *generation += 1);
        many
    }

    fn set_lost(&self, why: String) {
        let mut known = lock(&self.known);
        match &mut known.lost {
            Some((reason, _)) if *reason == why => return,
            Some((reason, _)) => *reason = why,
            none @ None => *none = Some((why, SystemTime::now())),
        }
        drop(known);
        self.changes.send_modify(|generation| *generation += 1);
    }
}
