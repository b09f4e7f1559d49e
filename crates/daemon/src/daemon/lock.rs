//! One instance at a time, by a lock on a file in the run-time directory.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::Duration;

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

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

/// How long a lock is waited for that belongs to a process that has died, or to one that has not written down yet who it is;
/// and in what steps.
const PATIENCE: Duration = Duration::from_secs(1);
const STEP: Duration = Duration::from_millis(10);

/// The living process that wrote itself into the lock.
fn holder(file: &mut File) -> Option<u32> {
    let mut text = String::new();
    file.rewind().ok()?;
    file.read_to_string(&mut text).ok()?;
    let pid = text.trim().parse::<u32>().ok()?;
    Path::new("/proc").join(pid.to_string()).exists().then_some(pid)
}

impl InstanceLock {
    /// The process that holds the lock of `run_directory`, if one does. Changes nothing there.
    pub fn holder(run_directory: &Path) -> Option<u32> {
        let mut file = File::open(run_directory.join("lock")).ok()?;
        if flock(&file, FlockOperation::NonBlockingLockShared).is_ok() {
            return None;
        }
        holder(&mut file)
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
        while let Err(errno) = flock(&file, FlockOperation::NonBlockingLockExclusive) {
            if errno != Errno::WOULDBLOCK {
                return Err(broken(errno.into()));
            }
            let pid = holder(&mut file);
            // A child that one who was killed had just begun to start holds it for a moment longer; and who has just taken it
            // needs a moment to write down who it is.
            if pid.is_some() || patience.is_zero() {
                return Err(LockError::Held { path, pid });
            }
            sleep(STEP);
            patience = patience.saturating_sub(STEP);
        }
        file.set_len(0).map_err(broken)?;
        file.rewind().map_err(broken)?;
        write!(file, "{}", std::process::id()).map_err(broken)?;
        Ok(Self { _file: file })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_holder_is_named_though_it_writes_itself_down_a_moment_later() {
        let folder = std::env::temp_dir().join(format!("bramblegate-lock-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let path = folder.join("lock");
        fs::write(&path, format!("{}", u32::MAX)).unwrap();
        let first = File::open(&path).unwrap();
        flock(&first, FlockOperation::LockExclusive).unwrap();
        let late = std::thread::spawn({
            let path = path.clone();
            move || {
                sleep(Duration::from_millis(20));
                fs::write(path, std::process::id().to_string()).unwrap();
            }
        });
        let refused = InstanceLock::take(&folder).unwrap_err();
        late.join().unwrap();
        let own = std::process::id();
        assert!(matches!(refused, LockError::Held { pid: Some(pid), .. } if pid == own), "{refused:?}");
        drop(first);
        InstanceLock::take(&folder).unwrap();
        fs::remove_dir_all(folder).unwrap();
    }
}
