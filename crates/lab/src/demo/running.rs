//! Records of running demos: a file for each, named by the PID of its supervisor, which holds a
//! lock on it.

use std::fs::{self, File};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use rustix::process::geteuid;

use crate::{Error, Result, while_doing};

/// Folder of root's records; those of ordinary users are in `$XDG_RUNTIME_DIR`, or in `/tmp`.
const ROOTS: &str = "/run/bramblegate-demo";

/// The record of one demo; removed when dropped.
#[derive(Debug)]
pub struct Record {
    path: PathBuf,
    _locked: File,
}

impl Record {
    /// Records that this process supervises a demo.
    ///
    /// # Errors
    /// The folder cannot be created, or belongs to another user.
    pub fn write() -> Result<Self> {
        Self::write_in(&own_folder())
    }

    fn write_in(folder: &Path) -> Result<Self> {
        let mode = if folder == Path::new(ROOTS) { 0o755 } else { 0o700 };
        let made = fs::DirBuilder::new().recursive(true).mode(mode).create(folder);
        made.map_err(while_doing(folder.display()))?;
        if !is_ours(folder) {
            return Err(Error(format!("{} belongs to another user", folder.display())));
        }
        let path = folder.join(std::process::id().to_string());
        let file = File::create(&path).map_err(while_doing(path.display()))?;
        flock(&file, FlockOperation::NonBlockingLockExclusive)
            .map_err(while_doing(path.display()))?;
        Ok(Self { path, _locked: file })
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

/// Returns the supervisors of this user's demos. Removes records of killed ones.
pub fn own() -> Vec<u32> {
    let folder = own_folder();
    if is_ours(&folder) { in_folder(&folder) } else { Vec::new() }
}

/// Returns the supervisors of root's demos.
pub fn of_root() -> Vec<u32> {
    in_folder(Path::new(ROOTS))
}

fn in_folder(folder: &Path) -> Vec<u32> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut running: Vec<u32> = entries
        .filter(|entry| is_locked(&entry.path()))
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .collect();
    running.sort_unstable();
    running
}

/// Returns whether the demo of a record still runs; removes the record of one that does not.
fn is_locked(path: &Path) -> bool {
    let Ok(file) = File::open(path) else { return false };
    match flock(&file, FlockOperation::NonBlockingLockShared) {
        Err(error) => error == Errno::WOULDBLOCK,
        Ok(()) => {
            let _ = fs::remove_file(path);
            false
        }
    }
}

fn own_folder() -> PathBuf {
    let user = geteuid();
    if user.is_root() {
        return PathBuf::from(ROOTS);
    }
    match std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from).filter(|path| path.is_absolute()) {
        Some(folder) => folder.join("bramblegate-demo"),
        None => PathBuf::from(format!("/tmp/bramblegate-demo-{}", user.as_raw())),
    }
}

/// Returns whether it is a folder of this user, rather than a link of another user in `/tmp`.
fn is_ours(folder: &Path) -> bool {
    fs::symlink_metadata(folder)
        .is_ok_and(|found| found.is_dir() && found.uid() == geteuid().as_raw())
}

/// Returns the first process of a demo's namespaces: a descendant of the supervisor that is PID 1
/// in its own PID namespace (`NSpid` of proc(5)).
pub fn first_process(supervisor: u32) -> Option<u32> {
    let processes: Vec<Process> = fs::read_dir("/proc")
        .ok()?
        .flatten()
        .filter_map(|entry| Process::read(entry.file_name().to_str()?.parse().ok()?))
        .collect();
    let parent = |id: u32| processes.iter().find(|process| process.id == id).map(|p| p.parent);
    let descends = |id: u32| {
        let ancestors = std::iter::successors(parent(id), |id| parent(*id));
        ancestors.take(processes.len()).any(|ancestor| ancestor == supervisor)
    };
    processes.iter().find(|process| process.is_first && descends(process.id)).map(|p| p.id)
}

struct Process {
    id: u32,
    parent: u32,
    is_first: bool,
}

impl Process {
    fn read(id: u32) -> Option<Self> {
        let text = fs::read_to_string(format!("/proc/{id}/status")).ok()?;
        let value = |name: &str| text.lines().find_map(|line| line.strip_prefix(name));
        let numbers: Vec<&str> = value("NSpid:")?.split_whitespace().collect();
        let is_first = numbers.len() > 1 && numbers.last() == Some(&"1");
        Some(Self { id, parent: value("PPid:")?.trim().parse().ok()?, is_first })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_exists_while_its_demo_runs_and_stale_ones_are_removed() {
        let folder = std::env::temp_dir().join(format!("demo-record-{}", std::process::id()));
        let record = Record::write_in(&folder).unwrap();
        let killed = folder.join("4194305");
        fs::write(&killed, "").unwrap();
        assert_eq!(in_folder(&folder), [std::process::id()]);
        assert!(!killed.exists());
        drop(record);
        assert_eq!(in_folder(&folder), [0; 0]);
        fs::remove_dir(&folder).unwrap();
    }

    #[test]
    fn a_folder_that_is_a_link_is_refused() {
        let link = std::env::temp_dir().join(format!("demo-link-{}", std::process::id()));
        std::os::unix::fs::symlink(std::env::temp_dir(), &link).unwrap();
        let written = Record::write_in(&link);
        fs::remove_file(&link).unwrap();
        assert!(written.unwrap_err().0.contains("belongs to another user"));
    }
}
