//! Reads the settings' files for the verbs. The daemon gets [`load`] handed in for its reloads.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use super::{exit, output};
use crate::board::Boards;
use crate::config::{self, Fault, Merged};
use crate::files::reading;

/// Where the settings are.
pub const DEFAULT_FILE: &str = "/etc/bramblegate/bramblegate.toml";
/// Where an administrator or a package puts boards of their own; the first wins.
const BOARD_FOLDERS: [&str; 2] = ["/etc/bramblegate/boards", "/usr/share/bramblegate/boards"];
/// No settings are longer, bytes.
const LONGEST: u64 = 16 << 20;
/// A card that is busy while the machine boots takes its time; the service gives a start 30 s.
const PATIENCE: Duration = Duration::from_secs(20);
const UNREACHABLE: &str =
    "put the settings on a file system that answers (findmnt -T FILE names it)";
const READABLE: &str = "make it readable for this user";
/// The device tree's `compatible` property of the whole machine.
pub const COMPATIBLE: &str = "/proc/device-tree/compatible";

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

/// Names a settings file for every verb, where no option does.
const VARIABLE: &str = "BRAMBLEGATE_CONFIG";

/// Returns the file that `$BRAMBLEGATE_CONFIG` names, or the machine's own.
pub fn default_file() -> PathBuf {
    let named = std::env::var_os(VARIABLE).filter(|path| !path.is_empty());
    named.map_or_else(|| PathBuf::from(DEFAULT_FILE), PathBuf::from)
}

/// Returns the settings in `main` and its drop-ins, for the board of this machine.
///
/// # Errors
/// Every fault found; a file that cannot be read is one too.
pub fn load(main: &Path) -> Result<Merged, Vec<Fault>> {
    let path = main.to_owned();
    let read = reading::within(PATIENCE, move || (read_all_files(&path), boards(), compatible()));
    let ((files, mut unreadable), boards, compatible) =
        read.map_err(|error| vec![unreachable(main, &error)])?;
    if unreadable.is_empty() {
        return config::resolve(&files, &boards, compatible.as_deref(), None);
    }
    unreadable.extend(config::faults(&files));
    Err(unreadable)
}

/// Returns whether the file system of the settings did not answer: that may be otherwise soon,
/// unlike a fault in them.
pub fn are_out_of_reach(faults: &[Fault]) -> bool {
    faults.iter().any(|fault| fault.remedy == UNREACHABLE)
}

fn unreachable(main: &Path, error: &io::Error) -> Fault {
    fault(main, error, UNREACHABLE.to_owned())
}

/// Returns two lines for each error.
pub fn lines(faults: &[Fault]) -> String {
    faults.iter().map(Fault::to_string).collect::<Vec<_>>().join("\n")
}

/// As [`load`]; writes the faults to standard error and returns the exit code.
///
/// # Errors
/// 78.
pub fn load_or_report(main: &Path) -> Result<Merged, ExitCode> {
    load(main).map_err(|faults| {
        output::err(&format!("{}\n", lines(&faults)));
        ExitCode::from(exit::CONFIG)
    })
}

/// Returns the main file and its drop-ins in byte order: (path, text); and a fault for each that
/// cannot be read or is not UTF-8. Where their file system does not answer that is the fault.
pub fn read_files(main: &Path) -> (Vec<(String, String)>, Vec<Fault>) {
    let path = main.to_owned();
    let read = reading::within(PATIENCE, move || read_all_files(&path));
    read.unwrap_or_else(|error| (Vec::new(), vec![unreachable(main, &error)]))
}

fn read_all_files(main: &Path) -> (Vec<(String, String)>, Vec<Fault>) {
    let mut faults = Vec::new();
    let mut files = Vec::new();
    let file = reading::bytes(main, LONGEST)
        .map_err(|error| fault(main, &error, main_remedy(main, &error)));
    for file in std::iter::once(file.and_then(|bytes| text(main, bytes))).chain(drop_ins(main)) {
        match file {
            Ok(file) => files.push(file),
            Err(fault) => faults.push(fault),
        }
    }
    (files, faults)
}

fn text(path: &Path, bytes: Vec<u8>) -> Result<(String, String), Fault> {
    let name = path.display().to_string();
    match String::from_utf8(bytes) {
        Ok(text) => Ok((name, text)),
        Err(error) => {
            let valid = error.utf8_error().valid_up_to();
            let before = String::from_utf8_lossy(error.as_bytes().get(..valid).unwrap_or_default())
                .into_owned();
            let (line, column) = crate::board::line_and_column(&before, before.len());
            let number = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
            Err(Fault {
                file: name,
                line: number(line),
                column: number(column),
                message: "this is not UTF-8".to_owned(),
                remedy: "save the file as UTF-8".to_owned(),
            })
        }
    }
}

fn fault(path: &Path, error: &io::Error, remedy: String) -> Fault {
    let missing = error.kind() == io::ErrorKind::NotFound;
    Fault {
        file: path.display().to_string(),
        line: u32::from(!missing),
        column: u32::from(!missing),
        message: if missing {
            "no such file".to_owned()
        } else {
            format!("cannot be read: {error}")
        },
        remedy,
    }
}

fn main_remedy(path: &Path, error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => {
            format!("create one for this machine with `bramblegate detect > {}`", path.display())
        }
        io::ErrorKind::PermissionDenied => READABLE.to_owned(),
        io::ErrorKind::FileTooLarge | io::ErrorKind::Other => {
            "give the path of a settings file: an ordinary file, or a link to one".to_owned()
        }
        _ => "give the path of a settings file".to_owned(),
    }
}

/// A file of the settings that could not be written. What was there before still is.
#[derive(Debug, thiserror::Error)]
#[error("{}: {error}{}", .path.display(), self.remedy())]
pub struct NotWritten {
    pub path: PathBuf,
    pub error: io::Error,
}

impl NotWritten {
    /// Returns what helps, to be put behind the error; empty where nothing is known.
    fn remedy(&self) -> String {
        match self.error.kind() {
            io::ErrorKind::PermissionDenied => "; run it as root, with sudo".to_owned(),
            io::ErrorKind::ReadOnlyFilesystem => {
                let mounts = reading::text(Path::new(MOUNTS)).unwrap_or_default();
                format!(
                    "; nothing was changed: make it writable first (sudo mount -o remount,rw {}), \
                     and look at dmesg for why it is not",
                    mount_of(&self.path, &mounts)
                )
            }
            io::ErrorKind::StorageFull => {
                "; nothing was changed: make room first (df -h)".to_owned()
            }
            _ => String::new(),
        }
    }

    pub fn exit(&self) -> u8 {
        match self.error.kind() {
            io::ErrorKind::PermissionDenied => exit::NO_PERMISSION,
            _ => exit::CANNOT_CREATE,
        }
    }
}

/// What is mounted where (proc_pid_mountinfo(5)).
const MOUNTS: &str = "/proc/self/mountinfo";

/// Returns the mount point that a path is on, as a word for the shell: the longest that the path
/// begins with, of equal ones the last, which is on top.
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

/// Returns a path as mountinfo has it, where blanks, tabs, line feeds and backslashes are octal.
fn unescaped(text: &str) -> PathBuf {
    let codes = [(r"\040", " "), (r"\011", "\t"), (r"\012", "\n"), (r"\134", "\\")];
    let plain = codes.iter().fold(text.to_owned(), |text, (code, c)| text.replace(code, c));
    PathBuf::from(plain)
}

/// `FILE.d/*.toml` in byte order; hidden files are not read, as a shell's `*` does not match them.
fn drop_ins(main: &Path) -> Vec<Result<(String, String), Fault>> {
    let mut folder = OsString::from(main);
    folder.push(".d");
    let folder = PathBuf::from(folder);
    let entries = match fs::read_dir(&folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Vec::new(),
        Err(error) => return vec![Err(fault(&folder, &error, drop_in_remedy(&error)))],
    };
    let mut paths: Vec<PathBuf> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| is_drop_in(path))
        .collect();
    paths.sort();
    paths.iter().map(|path| drop_in(path)).collect()
}

fn drop_in(path: &Path) -> Result<(String, String), Fault> {
    drop_in_of(path, reading::bytes(path, LONGEST))
}

/// Returns the text of a drop-in, which is empty where there is none.
///
/// # Errors
/// It is there and cannot be read, or is not UTF-8.
pub fn drop_in_text(path: &Path) -> Result<String, Fault> {
    match reading::bytes(path, LONGEST) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(String::new()),
        read => drop_in_of(path, read).map(|(_, text)| text),
    }
}

fn drop_in_of(path: &Path, read: io::Result<Vec<u8>>) -> Result<(String, String), Fault> {
    read.map_err(|error| fault(path, &error, drop_in_remedy(&error)))
        .and_then(|bytes| text(path, bytes))
}

fn drop_in_remedy(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => {
            "the link leads nowhere: remove it, or create its target".to_owned()
        }
        io::ErrorKind::PermissionDenied => READABLE.to_owned(),
        _ => "move it away: only settings files belong there".to_owned(),
    }
}

fn is_drop_in(path: &Path) -> bool {
    let hidden = path.file_name().is_none_or(|name| name.as_encoded_bytes().starts_with(b"."));
    !hidden && path.extension().is_some_and(|extension| extension == "toml")
}

/// This machine's own host name.
pub fn host_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

/// Returns the boards that can be named on this machine.
pub fn boards() -> Boards {
    let mut extra = Vec::new();
    for folder in BOARD_FOLDERS {
        let Ok(entries) = fs::read_dir(folder) else { continue };
        let mut paths: Vec<PathBuf> = entries
            .filter_map(|entry| Some(entry.ok()?.path()))
            .filter(|path| is_drop_in(path))
            .collect();
        paths.sort();
        for path in paths {
            let name = path.file_stem().and_then(|stem| stem.to_str()).map(str::to_owned);
            // One that is not UTF-8 is named as wrong, not as missing.
            if let (Some(name), Ok(bytes)) = (name, reading::bytes(&path, LONGEST)) {
                extra.push((name, String::from_utf8_lossy(&bytes).into_owned()));
            }
        }
    }
    Boards { extra }
}

/// Returns what the machine says it is, where it has a device tree.
pub fn compatible() -> Option<Vec<u8>> {
    reading::bytes(Path::new(COMPATIBLE), LONGEST).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mount_that_a_file_is_on_is_named() {
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
    fn who_cannot_write_the_settings_learns_what_helps() {
        let logged = |errno: rustix::io::Errno| {
            NotWritten { path: "/etc/nodes.toml".into(), error: errno.into() }.to_string()
        };
        assert!(logged(rustix::io::Errno::ACCESS).ends_with("run it as root, with sudo"));
        assert!(logged(rustix::io::Errno::ROFS).contains("remount,rw /"));
        assert!(logged(rustix::io::Errno::NOSPC).contains("df -h"));
        assert_eq!(
            logged(rustix::io::Errno::IO),
            "/etc/nodes.toml: Input/output error (os error 5)"
        );
    }
}
