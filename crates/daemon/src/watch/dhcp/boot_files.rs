//! Finds boot files that the TFTP server may not read. The server does not log this; only the
//! booting node shows it.

use std::collections::BTreeSet;
use std::fmt;
use std::fs::{self, Metadata};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::{Access, access};

use crate::files::reading;

/// Limits of a scan: files and folders, time, and depth of folders.
const MAX_ENTRIES: usize = 10_000;
const MAX_TIME: Duration = Duration::from_millis(500);
const MAX_DEPTH: usize = 16;
/// The folder for files recovered by fsck, which only root may enter.
const LOST_AND_FOUND: &str = "lost+found";

/// Holds the inaccessible files and folders.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Closed {
    pub first: PathBuf,
    /// Number of further ones.
    pub more: usize,
}

impl fmt::Display for Closed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.first.display())?;
        if self.more > 0 { write!(f, " and {} more", self.more) } else { Ok(()) }
    }
}

/// Returns the files and folders below `folder` for which `may` returns false. Follows links, as
/// the server does. Skips a folder that this process cannot list.
pub fn closed(folder: &Path, may: impl Fn(&Path, &Metadata) -> bool) -> Option<Closed> {
    let deadline = Instant::now() + MAX_TIME;
    let (mut seen, mut count) = (BTreeSet::new(), 0);
    let mut found: Option<Closed> = None;
    let mut folders = vec![(folder.to_owned(), 0)];
    while let Some((folder, depth)) = folders.pop() {
        // Sorted, so that the same file is reported first each time.
        for path in reading::entries(&folder) {
            count += 1;
            if count > MAX_ENTRIES || Instant::now() >= deadline {
                return found;
            }
            let Ok(data) = fs::metadata(&path) else { continue };
            let is_new = seen.insert((data.dev(), data.ino()));
            if !is_new || !(data.is_dir() || data.is_file()) || path.ends_with(LOST_AND_FOUND) {
                continue;
            }
            if !may(&path, &data) {
                match &mut found {
                    Some(found) => found.more += 1,
                    None => found = Some(Closed { first: path, more: 0 }),
                }
            } else if data.is_dir() && depth < MAX_DEPTH {
                folders.push((path, depth + 1));
            }
        }
    }
    found
}

/// Returns whether our own server may read a file or enter a folder. As root, dnsmasq sends
/// world-readable files only (`tftp.c`).
pub fn may_ours(path: &Path, data: &Metadata) -> bool {
    let right = if data.is_dir() { Access::EXEC_OK } else { Access::READ_OK };
    let is_public = data.is_dir() || data.permissions().mode() & 0o004 != 0;
    access(path, right).is_ok() && (is_public || !rustix::process::geteuid().is_root())
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;

    use super::*;

    /// Returns whether any user has access, independent of the user that runs the test.
    fn is_public(_: &Path, data: &Metadata) -> bool {
        data.permissions().mode() & if data.is_dir() { 0o001 } else { 0o004 } != 0
    }

    #[test]
    fn inaccessible_files_are_found_below_links_without_loops() {
        let temporary = tempfile::tempdir().unwrap();
        // Not the temporary folder itself, which only its owner may enter.
        let root = temporary.path().join("srv");
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
        assert_eq!(closed(&root, is_public), None);
        mode("serial/config.txt", 0o600);
        let one = closed(&root, is_public).unwrap();
        mode("boot/overlays", 0o700);
        let two = closed(&root, is_public).unwrap();
        assert_eq!(one.to_string(), root.join("serial/config.txt").display().to_string());
        assert_eq!(two.more, 1);
        assert!(two.to_string().ends_with(" and 1 more"), "{two}");
    }

    #[test]
    fn the_scan_of_a_huge_folder_is_limited() {
        let temporary = tempfile::tempdir().unwrap();
        let root = temporary.path().to_owned();
        for number in 0..MAX_ENTRIES + 10 {
            fs::write(root.join(number.to_string()), "").unwrap();
        }
        let found = closed(&root, |_, _| false).unwrap();
        assert!(found.more < MAX_ENTRIES, "{found}");
    }
}
