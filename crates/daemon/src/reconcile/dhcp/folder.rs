//! The folder of dnsmasq's files.

use std::fs;
use std::io;
use std::path::Path;

use crate::files::folder::{self, Folder};
use crate::view::dhcp::Files;

/// Writes what differs; `hosts` with what is kept for those who are away, the main file and the
/// options as the port of DNS allows.
///
/// # Errors
/// The disk takes nothing.
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
            // In one step: dnsmasq may be reading.
            folder.replace(name, text.as_bytes(), folder::OWN)?;
        }
    }
    Ok(())
}

/// Removes the files, but not the leases: who has one has it also while nothing is served, be it
/// for a cable that is out.
pub fn clear(folder: &Path) {
    let Ok(opened) = Folder::open(folder) else { return };
    for file in fs::read_dir(folder).into_iter().flatten().flatten() {
        if file.file_name() != "leases" {
            let _ = opened.remove(file.file_name());
        }
    }
}
