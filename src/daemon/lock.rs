//! One instance at a time, by a lock on a file in the run-time directory.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::Duration;

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

/// Who has just taken the lock needs a moment to write down who it is.
const TRIES: u32 = 20;
const MOMENT: Duration = Duration::from_millis(5);

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

impl InstanceLock {
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
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => return Err(LockError::Held { pid: holder(&mut file), path }),
            Err(errno) => return Err(broken(errno.into())),
        }
        file.set_len(0).map_err(broken)?;
        file.rewind().map_err(broken)?;
        write!(file, "{}", std::process::id()).map_err(broken)?;
        Ok(Self { _file: file })
    }
}

/// The process that holds the lock: not one that held it before and is dead.
fn holder(file: &mut File) -> Option<u32> {
    for _ in 0..TRIES {
        let mut text = String::new();
        let read = file.rewind().and_then(|()| file.read_to_string(&mut text));
        let pid = read.ok().and_then(|_| text.trim().parse::<u32>().ok());
        if let Some(pid) = pid.filter(|pid| Path::new(&format!("/proc/{pid}")).exists()) {
            return Some(pid);
        }
        sleep(MOMENT);
    }
    None
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
