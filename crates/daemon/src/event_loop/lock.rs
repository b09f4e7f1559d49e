//! One instance at a time, by a lock on a file in the run-time directory.
//!
//! A user who can open a file can lock it, for reading too: so the file is its owner's alone (0600),
//! and one that others could open (of an older version) or that is none of ours is not waited for
//! but replaced, unless a daemon holds it.

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

/// How long a lock is waited for that belongs to a process that has died, or to one that has not
/// written down yet who it is; and in what steps.
const PATIENCE: Duration = Duration::from_secs(1);
const STEP: Duration = Duration::from_millis(10);
const NAME: &str = "lock";
/// Of the run folder where it does not exist yet.
const RUN_MODE: u32 = 0o755;
/// Somebody who puts something in the way again and again is given up on after so many tries.
const TRIES: u32 = 8;
/// A process id is not longer, bytes.
const LONGEST: u64 = 32;

/// What a try came to.
enum Try {
    Taken(File),
    Held(Option<u32>),
    /// it was none of ours, or went meanwhile: another try
    Gone,
}

impl InstanceLock {
    /// Returns the process that holds the lock of `run_directory`, if one does. Changes nothing
    /// there. Asks the kernel and not the file: the file may be written by a user who would have
    /// root send a signal to another process.
    pub fn holder(run_directory: &Path) -> Option<u32> {
        let folder = Folder::open(run_directory).ok()?;
        let file = folder.existing(OsStr::new(NAME), OFlags::RDONLY).ok()?;
        if flock(&file, FlockOperation::NonBlockingLockShared).is_ok() {
            return None;
        }
        lockers(&fstat(&file).ok()?).into_iter().find(|pid| is_ours(*pid, &folder))
    }

    /// Returns the error of a lock that a process holds; as [`Self::holder`] it changes nothing.
    pub fn held(run_directory: &Path) -> Option<LockError> {
        let pid = Self::holder(run_directory)?;
        Some(LockError::Held { path: run_directory.join(NAME), pid: Some(pid) })
    }

    /// Takes the lock of `run_directory`, which is made if it is not there.
    ///
    /// # Errors
    /// It is held by another process, or cannot be made.
    pub fn take(run_directory: &Path) -> Result<Self, LockError> {
        let path = run_directory.join(NAME);
        let broken = |error| LockError::Io { path: path.clone(), error };
        let folder = Folder::make(run_directory, RUN_MODE).map_err(broken)?;
        let mut patience = PATIENCE;
        let mut tries = TRIES;
        loop {
            match attempt(&folder).map_err(broken)? {
                Try::Taken(mut file) => {
                    write_down(&mut file).map_err(broken)?;
                    return Ok(Self { _file: file });
                }
                // A child that one who was killed had just begun to start holds it for a moment
                // longer; and who has just taken it needs a moment to write down who it is.
                Try::Held(pid) if pid.is_some() || patience.is_zero() => {
                    let pid = pid.or_else(|| hidden_holder(&folder));
                    return Err(LockError::Held { path, pid });
                }
                Try::Held(_) => {
                    sleep(STEP);
                    patience = patience.saturating_sub(STEP);
                }
                Try::Gone => {
                    tries -= 1;
                    if tries == 0 {
                        let why = "another program keeps replacing it";
                        return Err(broken(io::Error::other(why)));
                    }
                }
            }
        }
    }
}

/// Tries once: makes the file, or locks the one that is there.
fn attempt(folder: &Folder) -> io::Result<Try> {
    let name = OsStr::new(NAME);
    let Ok(stat) = folder.look(name) else {
        return match folder.create(name, folder::OWN) {
            Ok(file) => Ok(if lock(&file)? { Try::Taken(file) } else { Try::Held(None) }),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(Try::Gone),
            Err(error) => Err(error),
        };
    };
    if folder.distrust(&stat).is_some() {
        folder.remove(name)?;
        return Ok(Try::Gone);
    }
    let mut file = match folder.existing(name, OFlags::RDWR) {
        Ok(file) => file,
        // It went, or became something else, meanwhile.
        Err(_) if folder.look(name).map_or(true, |now| now.st_ino != stat.st_ino) => {
            return Ok(Try::Gone);
        }
        Err(error) => return Err(error),
    };
    let stat = fstat(&file)?;
    let is_private = stat.st_mode & 0o077 == 0;
    let taken = lock(&file)?;
    if taken && is_private {
        // Held is the file that stands there, and not one that another has just replaced.
        let same = folder.look(name).is_ok_and(|now| now.st_ino == stat.st_ino);
        return Ok(if same { Try::Taken(file) } else { Try::Gone });
    }
    let holder = lockers(&stat).into_iter().find(|pid| is_ours(*pid, folder));
    if !taken && (is_private || holder.is_some()) {
        return Ok(Try::Held(holder.or_else(|| written_down(&mut file))));
    }
    // Others could open it: a process that holds it now, or will later, is no daemon.
    if folder.look(name).is_ok_and(|now| now.st_ino == stat.st_ino) {
        folder.remove(name)?;
    }
    Ok(Try::Gone)
}

/// Returns who holds the lock according to the kernel, though `/proc` does not show that process to
/// this one, as the service's sandbox does not show root's; for messages only.
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

fn write_down(file: &mut File) -> io::Result<()> {
    file.set_len(0)?;
    file.rewind()?;
    write!(file, "{}", std::process::id())
}

/// Returns the living process that wrote itself into the lock; for messages only.
fn written_down(file: &mut File) -> Option<u32> {
    let mut text = String::new();
    file.rewind().ok()?;
    file.take(LONGEST).read_to_string(&mut text).ok()?;
    let pid = text.trim().parse::<u32>().ok()?;
    Path::new("/proc").join(pid.to_string()).exists().then_some(pid)
}

/// Returns the processes that have locked the file (`/proc/locks`, proc_locks(5)). The device is
/// not compared: that of a file on btrfs or an overlay is another there than in stat(2).
fn lockers(stat: &Stat) -> Vec<u32> {
    let text = fs::read_to_string("/proc/locks").unwrap_or_default();
    let inode = format!(":{}", stat.st_ino);
    text.lines().filter_map(|line| locker(line, &inode)).collect()
}

/// Reads a line as `1: FLOCK  ADVISORY  WRITE 595 00:19:1234 0 EOF`.
fn locker(line: &str, inode: &str) -> Option<u32> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let is_it =
        words.get(1) == Some(&"FLOCK") && words.get(5).is_some_and(|place| place.ends_with(inode));
    words.get(4).filter(|_| is_it)?.parse().ok()
}

/// Returns whether a process may hold our lock: it is this program, run by root or by the user
/// whose folder it is, as far as `/proc` shows it.
fn is_ours(pid: u32, folder: &Folder) -> bool {
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
    fn the_holder_is_named_by_the_kernel_whatever_stands_in_the_file() {
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
    fn a_line_of_the_kernels_list_is_read() {
        let line = "2: FLOCK  ADVISORY  WRITE 595 00:19:1234 0 EOF";
        assert_eq!(locker(line, ":1234"), Some(595));
        assert_eq!(locker(line, ":234"), None);
        assert_eq!(locker("3: POSIX  ADVISORY  WRITE 595 00:19:1234 0 EOF", ":1234"), None);
        assert_eq!(locker("2: -> FLOCK  ADVISORY  WRITE 595 00:19:1234 0 EOF", ":1234"), None);
    }
}
