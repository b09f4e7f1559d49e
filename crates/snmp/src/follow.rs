//! Follows the daemon's status socket.

use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bramblegate_api::client::{Error, StatusClient, View};
use bramblegate_api::status::Snapshot;

/// A daemon that does not send its state for so long hangs.
const HANGS: Duration = Duration::from_secs(2);
/// A connection is replaced after so long: its snapshot brings what causes no line, such as round
/// trips, and shows that the daemon still answers.
const REFRESH: Duration = Duration::from_secs(10);
/// Pause before another try to connect.
const RETRY: Duration = Duration::from_secs(1);

/// The state of the daemon at one moment.
#[derive(Debug, Clone, Default)]
pub struct Known {
    /// counts up with every change
    pub generation: u64,
    /// none before the first, and while the daemon does not answer
    pub snapshot: Option<Arc<Snapshot>>,
}

/// The state of the daemon, shared.
#[derive(Debug, Clone, Default)]
pub struct Follower(Arc<(Mutex<Known>, Condvar)>);

impl Follower {
    /// Begins to follow the status socket at `path`, in a thread that ends with the process.
    ///
    /// # Errors
    /// There can be no thread.
    pub fn start(path: PathBuf) -> std::io::Result<Self> {
        let follower = Self::default();
        let shared = follower.clone();
        std::thread::Builder::new().name("status".to_owned()).spawn(move || {
            loop {
                if shared.follow(&path).is_err() {
                    shared.set(None);
                    std::thread::sleep(RETRY);
                }
            }
        })?;
        Ok(follower)
    }

    /// Returns what is known now.
    pub fn known(&self) -> Known {
        self.lock().clone()
    }

    /// Waits until something is known that was not at `generation`, for `timeout` at most.
    pub fn wait(&self, generation: u64, timeout: Duration) -> Known {
        let (_, changed) = &*self.0;
        let waited = changed
            .wait_timeout_while(self.lock(), timeout, |known| known.generation == generation);
        let (known, _) = waited.unwrap_or_else(PoisonError::into_inner);
        known.clone()
    }

    /// Sets the state, as the status socket would bring it.
    pub fn set(&self, snapshot: Option<Arc<Snapshot>>) {
        let mut known = self.lock();
        if known.snapshot.is_none() && snapshot.is_none() {
            return;
        }
        *known = Known { generation: known.generation + 1, snapshot };
        self.0.1.notify_all();
    }

    /// Reads one connection until it is time for a fresh one.
    fn follow(&self, path: &std::path::Path) -> Result<(), Error> {
        let mut client = StatusClient::connect(path)?;
        let mut view = View::default();
        let end = Instant::now() + REFRESH;
        client.set_timeout(Some(HANGS));
        let first = client.next_line()?.ok_or(Error::Ended)?;
        view.take(first.line);
        self.set(view.now().map(Arc::new));
        loop {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(());
            }
            client.set_timeout(Some(left));
            if let Some(received) = client.next_line()? {
                view.take(received.line);
                self.set(view.now().map(Arc::new));
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        // The value is replaced as a whole.
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
