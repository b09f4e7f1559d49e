//! Follows the daemon's status socket.

use std::io::{self, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
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
pub struct Follower(Arc<Mutex<Shared>>);

#[derive(Debug, Default)]
struct Shared {
    known: Known,
    /// has a byte for each change since it was last read
    bell: Option<UnixStream>,
}

impl Follower {
    /// Begins to follow the status socket at `path`, in a thread that ends with the process.
    ///
    /// # Errors
    /// There can be no thread.
    pub fn start(path: PathBuf) -> io::Result<Self> {
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
        self.lock().known.clone()
    }

    /// Returns a stream that is readable when something has changed; the one before gets no more.
    ///
    /// # Errors
    /// There can be no such stream.
    pub fn bell(&self) -> io::Result<UnixStream> {
        let (ours, theirs) = UnixStream::pair()?;
        ours.set_nonblocking(true)?;
        theirs.set_nonblocking(true)?;
        self.lock().bell = Some(ours);
        Ok(theirs)
    }

    /// Sets the state, as the status socket would bring it.
    pub fn set(&self, snapshot: Option<Arc<Snapshot>>) {
        let mut shared = self.lock();
        if shared.known.snapshot.is_none() && snapshot.is_none() {
            return;
        }
        shared.known = Known { generation: shared.known.generation + 1, snapshot };
        if let Some(bell) = &mut shared.bell {
            // Full: it rings already.
            let _ = bell.write(&[0]);
        }
    }

    /// Reads one connection until it is time for a fresh one.
    fn follow(&self, path: &Path) -> Result<(), Error> {
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

    fn lock(&self) -> MutexGuard<'_, Shared> {
        // The state is replaced as a whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
