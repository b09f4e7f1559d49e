//! The directory of dnsmasq's files.

use std::fs;
use std::io;
use std::path::Path;

use crate::files::folder::{self, Folder};
use crate::view::dhcp::Files;

/// Writes the files that differ: `hosts`, which includes the reservations of absent nodes, in place
/// of that in `files`, and the variant with or without DNS (`names`).
///
/// # Errors
/// A file cannot be written.
pub fn write(folder: &Path, files: &Files, hosts: &str, names: bool) -> io::Result<()> {
    let (main, options) = if names {
        (&files.config, &files.options)
    } else {
        (&files.config_without_names, &files.options_without_names)
    };
    let folder = Folder::open(folder)?;
    for (name, text) in [
        ("main", main.as_str()),
        ("options", options),
        ("servers", &files.servers),
        ("hosts", hosts),
        ("names", &files.nodes.names),
    ] {
        if folder.read(name, folder::LONGEST).ok().as_deref() != Some(text.as_bytes()) {
            // Atomically, since dnsmasq may be reading it.
            folder.replace(name, text.as_bytes(), folder::OWN)?;
        }
    }
    Ok(())
}

/// Removes all files except the leases, which stay valid while dnsmasq is stopped, for example with
/// the cable unplugged.
pub fn clear(folder: &Path) {
    let Ok(opened) = Folder::open(folder) else { return };
    for file in fs::read_dir(folder).into_iter().flatten().flatten() {
        if file.file_name() != "leases" {
            let _ = opened.remove(file.file_name());
        }
    }
}
