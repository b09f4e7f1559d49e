//! Files that outlive a power cut.

use std::fs::{self, File, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// Puts `text` in the file's place: whole or not at all, whenever the power fails, and on the disk when this returns.
///
/// # Errors
/// The disk is full, or read-only; the file is as it was, and nothing lies beside it.
pub fn replace(path: &Path, text: impl AsRef<[u8]>) -> io::Result<()> {
    put(path, text.as_ref(), None)
}

/// As [`replace`], readable by everybody: the daemon's user among them, whatever the umask of who writes.
///
/// # Errors
/// As [`replace`].
pub fn replace_public(path: &Path, text: impl AsRef<[u8]>) -> io::Result<()> {
    put(path, text.as_ref(), Some(0o644))
}

fn put(path: &Path, text: &[u8], mode: Option<u32>) -> io::Result<()> {
    let beside = PathBuf::from(format!("{}.new", path.display()));
    let written = fill(&beside, text, mode).and_then(|()| fs::rename(&beside, path));
    if written.is_err() {
        // Half a file is nobody's.
        let _ = fs::remove_file(&beside);
    }
    written?;
    // The new name stands in the folder.
    path.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all())
}

fn fill(path: &Path, text: &[u8], mode: Option<u32>) -> io::Result<()> {
    let mut file = File::create(path)?;
    file.write_all(text)?;
    if let Some(mode) = mode {
        file.set_permissions(Permissions::from_mode(mode))?;
    }
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_take_its_place_leaves_nothing_beside_it() {
        let folder = std::env::temp_dir().join(format!("bramblegate-durable-{}", std::process::id()));
        let (place, taken) = (folder.join("list"), folder.join("folder"));
        fs::create_dir_all(taken.join("full")).unwrap();
        replace_public(&place, "rpi1\n").unwrap();
        let mode = fs::metadata(&place).unwrap().permissions().mode() & 0o777;
        let error = replace(&taken, "rpi1\n").unwrap_err();
        let mut names: Vec<_> = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        let text = fs::read_to_string(&place).unwrap();
        fs::remove_dir_all(&folder).unwrap();
        assert_eq!((text.as_str(), mode), ("rpi1\n", 0o644));
        assert_eq!(names, ["folder", "list"], "{error}");
    }
}
