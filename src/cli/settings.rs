//! Settings for the verbs. The daemon gets [`load`] passed for its reloads.

use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use super::{exit, output};
use crate::board::BoardError;
use crate::config::Merged;
use crate::files::reading;
use crate::watch::share::unescaped;

pub use crate::files::settings::{
    COMPATIBLE, DEFAULT_FILE, are_out_of_reach, boards, compatible, default_file, drop_in_text,
    lines, load, read_files,
};

/// `-c FILE`, the same for every verb that reads settings.
#[derive(Debug, Clone, clap::Args)]
pub struct ConfigArg {
    /// Settings file; FILE.d/*.toml are read after it
    ///
    /// Without it $BRAMBLEGATE_CONFIG, else /etc/bramblegate/bramblegate.toml.
    #[arg(short, long = "config", value_name = "FILE", default_value_os_t = default_file())]
    #[arg(hide_default_value = true)]
    pub config: PathBuf,
}

/// Reports a board that cannot be loaded.
pub fn report_board(verb: &str, error: &BoardError) {
    output::error(&format!("{verb}: {error}"), &error.help());
    error.faults().iter().for_each(|fault| output::err(&format!("{fault}\n")));
}

/// Reads the settings as [`load`] does, and reports their faults.
///
/// # Errors
/// The exit code, 78.
pub fn load_or_report(main: &Path) -> Result<Merged, ExitCode> {
    load(main).map_err(|faults| {
        output::err(&format!("{}\n", lines(&faults)));
        ExitCode::from(exit::CONFIG)
    })
}

/// A file of the settings that could not be written. Its former content is kept.
#[derive(Debug, thiserror::Error)]
#[error("{} cannot be written: {error}", .path.display())]
pub struct NotWritten {
    pub path: PathBuf,
    pub error: io::Error,
}

impl NotWritten {
    /// Returns the remedy.
    pub fn help(&self) -> String {
        match self.error.kind() {
            io::ErrorKind::PermissionDenied => "run it as root, with sudo".to_owned(),
            io::ErrorKind::ReadOnlyFilesystem => {
                let mounts = reading::text(Path::new(MOUNTS)).unwrap_or_default();
                format!(
                    "nothing was changed: make it writable first (sudo mount -o remount,rw {}), \
                     and look at dmesg for why it is not",
                    mount_of(&self.path, &mounts)
                )
            }
            io::ErrorKind::StorageFull => "nothing was changed: make room first (df -h)".to_owned(),
            _ => "nothing was changed: look at dmesg for what is wrong with that disk".to_owned(),
        }
    }

    pub fn exit(&self) -> u8 {
        match self.error.kind() {
            io::ErrorKind::PermissionDenied => exit::NO_PERMISSION,
            _ => exit::CANNOT_CREATE,
        }
    }
}

/// The mounts (proc_pid_mountinfo(5)).
const MOUNTS: &str = "/proc/self/mountinfo";

/// Returns the mount point of a path, as a word for the shell: the longest that matches, of equal
/// ones the last, which is on top.
fn mount_of(path: &Path, mounts: &str) -> String {
    let real = path.ancestors().skip(1).find_map(|folder| {
        let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
        folder.canonicalize().ok()
    });
    let real = real.unwrap_or_default();
    let points = mounts.lines().filter_map(|line| line.split(' ').nth(4)).map(unescaped);
    let over = points.filter(|point| real.starts_with(point));
    let point = over.max_by_key(|point| point.components().count());
    let point = point.unwrap_or_else(|| PathBuf::from("/")).display().to_string();
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-".contains(c);
    if point.chars().all(plain) { point } else { format!("'{}'", point.replace('\'', r"'\''")) }
}

/// Returns this machine's host name.
pub fn host_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn the_mount_point_of_a_file_is_found() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().canonicalize().unwrap();
        let etc = root.join("my etc");
        fs::create_dir_all(etc.join("bramblegate")).unwrap();
        fs::create_dir(root.join("my")).unwrap();
        let (shown, escaped) = (etc.display().to_string(), r"my\040etc");
        let mounts = format!(
            "24 1 179:2 / / rw,noatime shared:1 - ext4 /dev/root rw\n\
             31 24 179:2 / {root}/{escaped} ro,noatime - ext4 /dev/root rw\n\
             32 24 0:41 / {root}/my rw - tmpfs tmpfs rw\n",
            root = root.display()
        );
        let named = |path: &Path| mount_of(path, &mounts);
        assert_eq!(named(&etc.join("bramblegate/b.toml")), format!("'{shown}'"));
        // Its folder is not there yet.
        assert_eq!(named(&etc.join("bramblegate/b.toml.d/nodes.toml")), format!("'{shown}'"));
        assert_eq!(named(&root.join("my/b.toml")), format!("{}/my", root.display()));
        assert_eq!(named(&root.join("b.toml")), "/");
        assert_eq!(mount_of(&root.join("b.toml"), ""), "/", "where it cannot be found out");
    }

    #[test]
    fn each_write_error_has_its_remedy() {
        let logged = |errno: rustix::io::Errno| {
            NotWritten { path: "/etc/nodes.toml".into(), error: errno.into() }.help()
        };
        assert_eq!(logged(rustix::io::Errno::ACCESS), "run it as root, with sudo");
        assert!(logged(rustix::io::Errno::ROFS).contains("remount,rw /"));
        assert!(logged(rustix::io::Errno::NOSPC).contains("df -h"));
        assert!(logged(rustix::io::Errno::IO).contains("dmesg"));
    }
}
