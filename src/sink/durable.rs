//! Files that outlive a power cut.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// Puts `text` in the file's place: whole or not at all, whenever the power fails, and on the disk when this returns.
///
/// # Errors
/// The disk is full, or read-only; the file is as it was.
pub fn replace(path: &Path, text: &str) -> io::Result<()> {
    let beside = PathBuf::from(format!("{}.new", path.display()));
    let mut file = File::create(&beside)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&beside, path)?;
    // The new name stands in the folder.
    path.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all())
}
