//! The files that nodes boot from: those that their server may not read, which it does not log
//! but the node.

use std::collections::BTreeSet;
use std::fmt;
use std::fs::{self, Metadata};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::{Access, access};

/// Bounds the files and folders that are looked at, the time for it, and the depth of folders.
const MOST: usize = 10_000;
const LONGEST: Duration = Duration::from_millis(500);
const DEEPEST: usize = 16;
/// The folder in which fsck puts what it found, closed to all but root by its makers.
const OF_FSCK: &str = "lost+found";

/// Names files or folders that may not be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Closed {
    pub first: PathBuf,
    /// how many more were found
    pub more: usize,
}

impl fmt::Display for Closed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.first.display())?;
        if self.more > 0 { write!(f, " and {} more", self.more) } else { Ok(()) }
    }
}

/// Returns what is closed below `folder` to whom `may` speaks for: a file that it may not read, a
/// folder that it may not enter. Links are followed, as the server does. A folder that cannot be
/// listed here is not looked into.
pub fn closed(folder: &Path, may: impl Fn(&Path, &Metadata) -> bool) -> Option<Closed> {
    let deadline = Instant::now() + LONGEST;
    let (mut seen, mut looked) = (BTreeSet::new(), 0);
    let mut found: Option<Closed> = None;
    let mut folders = vec![(folder.to_owned(), 0)];
    while let Some((folder, depth)) = folders.pop() {
        for path in entries(&folder) {
            looked += 1;
            if looked > MOST || Instant::now() >= deadline {
                return found;
            }
            let Ok(data) = fs::metadata(&path) else { continue };
            let once = seen.insert((data.dev(), data.ino()));
            if !once || !(data.is_dir() || data.is_file()) || path.ends_with(OF_FSCK) {
                continue;
            }
            if !may(&path, &data) {
                match &mut found {
                    Some(found) => found.more += 1,
                    None => found = Some(Closed { first: path, more: 0 }),
                }
            } else if data.is_dir() && depth < DEEPEST {
                folders.push((path, depth + 1));
            }
        }
    }
    found
}

/// Lists a folder in order, so that the same one is named each time.
fn entries(folder: &Path) -> BTreeSet<PathBuf> {
    fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()).collect()
}

/// Returns whether the server that we start may read a file, or enter a folder. As root it sends
/// only what all may read (dnsmasq's `tftp.c`).
pub fn may_ours(path: &Path, data: &Metadata) -> bool {
    let right = if data.is_dir() { Access::EXEC_OK } else { Access::READ_OK };
    let open_to_all = data.is_dir() || data.permissions().mode() & 0o004 != 0;
    access(path, right).is_ok() && (open_to_all || !rustix::process::geteuid().is_root())
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;

    use super::*;

    /// Closed to another user, as whichever user the test runs.
    fn to_others(_: &Path, data: &Metadata) -> bool {
        data.permissions().mode() & if data.is_dir() { 0o001 } else { 0o004 } != 0
    }

    #[test]
    fn what_is_closed_is_found_below_links_too_and_no_circle_is_walked() {
        let held = tempfile::tempdir().unwrap();
        // Another mode than the one of a temporary folder, which only its owner may enter.
        let root = held.path().join("srv");
        for file in
            ["boot/overlays/a.dtbo", "boot/kernel8.img", "serial/config.txt", "lost+found/x"]
        {
            let path = root.join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, "").unwrap();
            fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
        }
        let mode = |path: &str, mode| {
            fs::set_permissions(root.join(path), Permissions::from_mode(mode)).unwrap()
        };
        std::os::unix::fs::symlink("..", root.join("boot/up")).unwrap();
        std::os::unix::fs::symlink("nowhere", root.join("boot/dangling")).unwrap();
        mode("lost+found", 0o700);
        assert_eq!(closed(&root, to_others), None);
        mode("serial/config.txt", 0o600);
        let one = closed(&root, to_others).unwrap();
        mode("boot/overlays", 0o700);
        let two = closed(&root, to_others).unwrap();
        assert_eq!(one.to_string(), root.join("serial/config.txt").display().to_string());
        assert_eq!(two.more, 1);
        assert!(two.to_string().ends_with(" and 1 more"), "{two}");
    }

    #[test]
    fn a_huge_folder_is_looked_at_no_longer_than_it_may() {
        let held = tempfile::tempdir().unwrap();
        let root = held.path().to_owned();
        for number in 0..MOST + 10 {
            fs::write(root.join(number.to_string()), "").unwrap();
        }
        let found = closed(&root, |_, _| false).unwrap();
        assert!(found.more < MOST, "{found}");
    }
}
