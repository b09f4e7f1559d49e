//! `bramblegate share-apply`: updates the NFS server's settings, as root. For
//! `bramblegate-share.service`: hidden from help.
//!
//! All input is the settings, which are root's, and the kernel's state. The daemon, which has no
//! such rights, can only have this verb run again: what a compromised daemon writes is never
//! exported. The verb writes only two files of its own, which the NFS server reads through the
//! service manager, so it needs no right to export.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::sync::Arc;

use super::settings::{self, ConfigArg};
use super::{exit, output};
use crate::clock;
use crate::config::{Settings, Share};
use crate::decide::share::networks;
use crate::facts::Facts;
use crate::files::folder::{Folder, PUBLIC};
use crate::files::reading;
use crate::view::share::{exports, server};
use crate::watch::link;
use crate::watch::share::is_mounted;

const EXAMPLES: &str = "\
Examples:
  sudo systemctl start bramblegate-share    does it in its sandbox";

/// Folders that the NFS server reads beside the administrator's own files, and our file in each
/// (exports(5), nfs.conf(5)).
const EXPORTS: (&str, &str) = ("etc/exports.d", "bramblegate.exports");
const SERVER: (&str, &str) = ("etc/nfs.conf.d", "bramblegate.conf");
const MOUNTS: &str = "proc/self/mountinfo";
const UNIT: &str = "nfs-server.service";

/// Bring the NFS server's settings up to date
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub struct Args {
    #[command(flatten)]
    pub config: ConfigArg,
    /// Write below this folder, and leave the NFS server alone
    #[arg(long, value_name = "DIR")]
    pub root: Option<PathBuf>,
}

/// Writes the exports of the settings. Exits with 0; with 71 if a file cannot be written or the NFS
/// server not be notified, 77 without root, 78 if the settings have errors: the exports then stay.
pub fn main(args: Args) -> ExitCode {
    if !rustix::process::geteuid().is_root() {
        let help = "it is done by: sudo systemctl start bramblegate-share";
        output::error("share-apply: only root may do that", help);
        return ExitCode::from(exit::NO_PERMISSION);
    }
    let merged = match settings::load_or_report(&args.config.config) {
        Ok(merged) => merged,
        Err(code) => return code,
    };
    let below = args.root.as_deref().unwrap_or_else(|| Path::new("/"));
    let done = apply(&merged.settings, below).and_then(|change| match args.root {
        Some(_) => Ok(()),
        None => notify_server(change),
    });
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let help = "look for nfs-server in the journal";
            output::error(&format!("share-apply: {error}"), help);
            ExitCode::from(exit::CANNOT_CREATE)
        }
    }
}

/// What changed for the NFS server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Change {
    /// A disk is exported.
    exports: bool,
    /// The exports differ from those before.
    exports_differ: bool,
    /// The server's settings differ from those before.
    server_differs: bool,
}

/// Writes or removes both files below `root`.
fn apply(settings: &Settings, root: &Path) -> io::Result<Change> {
    let mounts = reading::text(&Path::new("/").join(MOUNTS))?;
    let is_there = |share: &&Share| {
        is_canonical(&share.path) && is_mounted(Path::new("/"), &mounts, &share.path)
    };
    let shares: Vec<&Share> = settings.shares.iter().filter(is_there).collect();
    let networks = if shares.is_empty() { Vec::new() } else { networks(&kernel_facts(settings)?) };
    let exports = exports(&shares, &networks);
    let server = (!settings.shares.is_empty()).then(server);
    Ok(Change {
        exports: exports.is_some(),
        // Before the exports, so that a server that starts in between has its settings.
        server_differs: sync_file(root, SERVER, server.as_deref())?,
        exports_differ: sync_file(root, EXPORTS, exports.as_deref())?,
    })
}

/// Returns whether no part of a path is a link, so that the exported folder is the checked one.
fn is_canonical(path: &Path) -> bool {
    path.canonicalize().is_ok_and(|real| real == path)
}

/// Returns the facts of the kernel's current state.
fn kernel_facts(settings: &Settings) -> io::Result<Facts> {
    let mut facts = Facts::new(Arc::new(settings.clone()), clock::now());
    for event in link::snapshot()? {
        facts.apply(&event, clock::now());
    }
    Ok(facts)
}

/// Writes or removes a file; returns whether it differed.
fn sync_file(root: &Path, (folder, name): (&str, &str), text: Option<&str>) -> io::Result<bool> {
    let folder = root.join(folder);
    let held = match reading::text(&folder.join(name)) {
        Ok(held) => Some(held),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(error),
    };
    if held.as_deref() == text {
        return Ok(false);
    }
    match text {
        Some(text) => {
            fs::create_dir_all(&folder)?;
            Folder::open(&folder)?.keep(name, text.as_bytes(), PUBLIC)?;
        }
        None => fs::remove_file(folder.join(name))?,
    }
    Ok(true)
}

/// Removes both files, and notifies a running server.
///
/// # Errors
/// A file cannot be removed, or the server not be notified.
pub fn remove() -> io::Result<()> {
    let root = Path::new("/");
    let server_differs = sync_file(root, SERVER, None)?;
    let exports_differ = sync_file(root, EXPORTS, None)?;
    notify_server(Change { exports: false, exports_differ, server_differs })
}

/// Makes the service manager reload or restart the server, without waiting. A server that was
/// stopped, as for unmounting a disk, stays stopped unless something changed.
fn notify_server(change: Change) -> io::Result<()> {
    let verb = match change {
        Change { exports: true, server_differs: true, .. } => "restart",
        Change { exports: true, exports_differ: true, .. } => "reload-or-restart",
        Change { exports_differ: true, .. } => "try-reload-or-restart",
        _ => return Ok(()),
    };
    let status = Command::new("systemctl").args(["--no-block", verb, UNIT]).status()?;
    if status.success() {
        return Ok(());
    }
    let what = format!("systemd does not {verb} {UNIT}; is nfs-kernel-server installed?");
    Err(io::Error::other(what))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_written_if_it_differs_and_removed() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path();
        let file = root.join("etc/exports.d/bramblegate.exports");
        assert!(!sync_file(root, EXPORTS, None).unwrap());
        assert!(sync_file(root, EXPORTS, Some("a")).unwrap());
        assert!(!sync_file(root, EXPORTS, Some("a")).unwrap());
        assert_eq!(fs::read_to_string(&file).unwrap(), "a");
        assert!(sync_file(root, EXPORTS, Some("b")).unwrap());
        assert!(sync_file(root, EXPORTS, None).unwrap());
        assert!(!file.exists());
    }
}
