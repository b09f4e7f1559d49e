//! One instance at a time, by a lock on a file in the run-time directory.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{FlockOperation, flock};

/// Held as long as the daemon runs; the kernel lets go of it whatever happens.
#[derive(Debug)]
pub struct InstanceLock {
    _file: File,
}

/// Why there is no lock.
#[derive(Debug)]
pub enum LockError {
    /// another instance holds it; its process id where it is known
    Held {
        path: PathBuf,
        pid: Option<u32>,
    },
    Io {
        path: PathBuf,
        error: io::Error,
    },
}

/// How long the lock of a process that has died is waited for, and in what steps.
const PATIENCE: Duration = Duration::from_secs(1);
const STEP: Duration = Duration::from_millis(10);

/// The process that wrote itself into the lock.
fn holder(file: &mut File) -> Option<u32> {
    let mut text = String::new();
    file.rewind().ok()?;
    file.read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

impl InstanceLock {
    /// The process that holds the lock of `run_directory`, if one does. Changes nothing there.
    pub fn holder(run_directory: &Path) -> Option<u32> {
        let mut file = File::open(run_directory.join("lock")).ok()?;
        if flock(&file, FlockOperation::NonBlockingLockShared).is_ok() {
            return None;
        }
        let mut text = String::new();
        file.read_to_string(&mut text).ok()?;
        text.trim().parse().ok()
    }

    /// Takes the lock of `run_directory`, which is made if it is not there.
    ///
    /// # Errors
    /// It is held by another process, or cannot be made.
    pub fn take(run_directory: &Path) -> Result<Self, LockError> {
        let path = run_directory.join("lock");
        let broken = |error| LockError::Io { path: path.clone(), error };
        fs::create_dir_all(run_directory).map_err(broken)?;
        let options = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path);
        let mut file = options.map_err(broken)?;
        let mut patience = PATIENCE;
        while flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
            let pid = holder(&mut file);
            // A child that one who was killed had just begun to start holds it for a moment longer.
            let dead = pid.is_some_and(|pid| !Path::new("/proc").join(pid.to_string()).exists());
            if !dead || patience.is_zero() {
                return Err(LockError::Held { path, pid });
            }
            std::thread::sleep(STEP);
            patience = patience.saturating_sub(STEP);
        }
        file.set_len(0).map_err(broken)?;
        file.rewind().map_err(broken)?;
        write!(file, "{}", std::process::id()).map_err(broken)?;
        Ok(Self { _file: file })
    }
}
