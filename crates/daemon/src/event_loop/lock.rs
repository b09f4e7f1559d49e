//! Ensures a single instance by flock(2) on a file in the run-time directory.
//!
//! Any user who can open a file can lock it, also read-only. So the file has mode 0600, and one
//! that other users could open (of an older version) or that is not ours is replaced, unless a
//! daemon holds its lock.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::Duration;

use rustix::fs::{FlockOperation, OFlags, Stat, flock, fstat};
use rustix::io::Errno;

use crate::files::folder::{self, Folder};

/// The lock, held until the process ends.
#[derive(Debug)]
pub struct InstanceLock {
    _file: File,
}

/// Why the lock was not acquired.
#[derive(Debug)]
pub enum LockError {
    /// Another instance holds it.
    Held {
        path: PathBuf,
        pid: Option<u32>,
    },
    Io {
        path: PathBuf,
        error: io::Error,
    },
}

/// How long to wait for a lock whose holder has died or has not written its PID yet, and the poll
/// interval.
const TIMEOUT: Duration = Duration::from_secs(1);
const POLL_INTERVAL: Duration = Duration::from_millis(10);
const NAME: &str = "lock";
/// Mode of the run-time directory if it has to be created.
const RUN_MODE: u32 = 0o755;
/// Limit on attempts while another program keeps replacing the file.
const ATTEMPTS: u32 = 8;
/// Limit on the bytes read as a PID.
const MAX_PID_LENGTH: u64 = 32;

/// Result of one attempt.
enum Attempt {
    Taken(File),
    /// A process holds it, with its PID if known.
    Held(Option<u32>),
    /// The file was removed, by us or by another process: retry.
    Gone,
}

impl InstanceLock {
    /// Returns the PID of the daemon that holds the lock of `run_directory`. Changes nothing there.
    /// The PID comes from the kernel: another user may have written the file, to have root signal
    /// another process.
    pub fn holder(run_directory: &Path) -> Option<u32> {
        let folder = Folder::open(run_directory).ok()?;
        let file = folder.existing(OsStr::new(NAME), OFlags::RDONLY).ok()?;
        if flock(&file, FlockOperation::NonBlockingLockShared).is_ok() {
            return None;
        }
        lockers(&fstat(&file).ok()?).into_iter().find(|pid| is_daemon(*pid, &folder))
    }

    /// Returns [`LockError::Held`] if a daemon holds the lock. Changes nothing.
    pub fn held(run_directory: &Path) -> Option<LockError> {
        let pid = Self::holder(run_directory)?;
        Some(LockError::Held { path: run_directory.join(NAME), pid: Some(pid) })
    }

    /// Acquires the lock of `run_directory`, which is created if it does not exist.
    ///
    /// # Errors
    /// Another process holds it, or the file cannot be created.
    pub fn take(run_directory: &Path) -> Result<Self, LockError> {
        let path = run_directory.join(NAME);
        let io_error = |error| LockError::Io { path: path.clone(), error };
        let folder = Folder::make(run_directory, RUN_MODE).map_err(io_error)?;
        let mut remaining = TIMEOUT;
        let mut attempts = ATTEMPTS;
        loop {
            match attempt(&folder).map_err(io_error)? {
                Attempt::Taken(mut file) => {
                    write_pid(&mut file).map_err(io_error)?;
                    return Ok(Self { _file: file });
                }
                // A child forked by a daemon that was just killed holds the lock until its exec,
                // and a daemon that has just acquired it may not have written its PID yet.
                Attempt::Held(pid) if pid.is_some() || remaining.is_zero() => {
                    let pid = pid.or_else(|| hidden_holder(&folder));
                    return Err(LockError::Held { path, pid });
                }
                Attempt::Held(_) => {
                    sleep(POLL_INTERVAL);
                    remaining = remaining.saturating_sub(POLL_INTERVAL);
                }
                Attempt::Gone => {
                    attempts -= 1;
                    if attempts == 0 {
                        let why = "another program keeps replacing it";
                        return Err(io_error(io::Error::other(why)));
                    }
                }
            }
        }
    }
}

/// Tries once to create the file, or to lock the existing one.
fn attempt(folder: &Folder) -> io::Result<Attempt> {
    let name = OsStr::new(NAME);
    let Ok(stat) = folder.look(name) else {
        return match folder.create(name, folder::OWN) {
            Ok(file) => Ok(if lock(&file)? { Attempt::Taken(file) } else { Attempt::Held(None) }),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(Attempt::Gone),
            Err(error) => Err(error),
        };
    };
    if folder.distrust(&stat).is_some() {
        folder.remove(name)?;
        return Ok(Attempt::Gone);
    }
    let mut file = match folder.existing(name, OFlags::RDWR) {
        Ok(file) => file,
        // It was removed or replaced meanwhile.
        Err(_) if folder.look(name).map_or(true, |now| now.st_ino != stat.st_ino) => {
            return Ok(Attempt::Gone);
        }
        Err(error) => return Err(error),
    };
    let stat = fstat(&file)?;
    let is_private = stat.st_mode & 0o077 == 0;
    let taken = lock(&file)?;
    if taken && is_private {
        // The locked file may have been replaced between open and lock.
        let same = folder.look(name).is_ok_and(|now| now.st_ino == stat.st_ino);
        return Ok(if same { Attempt::Taken(file) } else { Attempt::Gone });
    }
    let holder = lockers(&stat).into_iter().find(|pid| is_daemon(*pid, folder));
    if !taken && (is_private || holder.is_some()) {
        return Ok(Attempt::Held(holder.or_else(|| read_pid(&mut file))));
    }
    // Other users can open the file, and no daemon holds it: replace it.
    if folder.look(name).is_ok_and(|now| now.st_ino == stat.st_ino) {
        folder.remove(name)?;
    }
    Ok(Attempt::Gone)
}

/// Returns the holder's PID from the kernel even if `/proc` hides that process, as the service's
/// sandbox hides those of root. For messages only.
fn hidden_holder(folder: &Folder) -> Option<u32> {
    lockers(&folder.look(NAME).ok()?).first().copied()
}

fn lock(file: &File) -> io::Result<bool> {
    match flock(file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(true),
        Err(Errno::WOULDBLOCK) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

fn write_pid(file: &mut File) -> io::Result<()> {
    file.set_len(0)?;
    file.rewind()?;
    write!(file, "{}", std::process::id())
}

/// Reads the PID in the file, if that process is running. For messages only.
fn read_pid(file: &mut File) -> Option<u32> {
    let mut text = String::new();
    file.rewind().ok()?;
    file.take(MAX_PID_LENGTH).read_to_string(&mut text).ok()?;
    let pid = text.trim().parse::<u32>().ok()?;
    Path::new("/proc").join(pid.to_string()).exists().then_some(pid)
}

/// Returns the processes that hold a lock on the file (`/proc/locks`, proc_locks(5)). Compares only
/// inodes: on btrfs and overlayfs the device differs from that of stat(2).
fn lockers(stat: &Stat) -> Vec<u32> {
    let text = fs::read_to_string("/proc/locks").unwrap_or_default();
    let inode = format!(":{}", stat.st_ino);
    text.lines().filter_map(|line| locker(line, &inode)).collect()
}

/// Parses a line such as `1: FLOCK  ADVISORY  WRITE 595 00:19:1234 0 EOF`.
fn locker(line: &str, inode: &str) -> Option<u32> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let matches =
        words.get(1) == Some(&"FLOCK") && words.get(5).is_some_and(|file| file.ends_with(inode));
    words.get(4).filter(|_| matches)?.parse().ok()
}

/// Returns whether a process may be a daemon: it belongs to the owner of the directory, or is this
/// program run by root, as far as `/proc` shows it.
fn is_daemon(pid: u32, folder: &Folder) -> bool {
    let process = Path::new("/proc").join(pid.to_string());
    let Ok(user) = fs::metadata(&process).map(|data| data.uid()) else { return false };
    let name = fs::read_to_string(process.join("comm")).unwrap_or_default();
    let own = fs::read_to_string("/proc/self/comm").unwrap_or_default();
    user == folder.owner() || (user == 0 && (name == own || name.trim_end() == "bramblegate"))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn locked(path: &Path, text: &str, mode: u32) -> File {
        fs::write(path, text).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        let file = File::open(path).unwrap();
        flock(&file, FlockOperation::LockExclusive).unwrap();
        file
    }

    #[test]
    fn the_holder_comes_from_the_kernel_and_not_from_the_file() {
        let held = tempfile::tempdir().unwrap();
        let folder = held.path().to_owned();
        let own = std::process::id();
        for mode in [0o600, 0o644] {
            let first = locked(&folder.join(NAME), "1", mode);
            let refused = InstanceLock::take(&folder).unwrap_err();
            assert!(
                matches!(refused, LockError::Held { pid: Some(pid), .. } if pid == own),
                "{mode:o}: {refused:?}"
            );
            assert_eq!(InstanceLock::holder(&folder), Some(own));
            drop(first);
            assert_eq!(InstanceLock::holder(&folder), None);
        }
        drop(InstanceLock::take(&folder).unwrap());
        let mode = fs::metadata(folder.join(NAME)).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o600, "that of an older version was replaced");
        assert_eq!(fs::read_to_string(folder.join(NAME)).unwrap(), own.to_string());
    }

    #[test]
    fn lines_of_proc_locks_are_parsed() {
        let line = "2: FLOCK  ADVISORY  WRITE 595 00:19:1234 0 EOF";
        assert_eq!(locker(line, ":1234"), Some(595));
        assert_eq!(locker(line, ":234"), None);
        assert_eq!(locker("3: POSIX  ADVISORY  WRITE 595 00:19:1234 0 EOF", ":1234"), None);
        assert_eq!(locker("2: -> FLOCK  ADVISORY  WRITE 595 00:19:1234 0 EOF", ":1234"), None);
    }
}
