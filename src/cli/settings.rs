//! Reads the settings' files for the verbs. The daemon gets [`load`] handed in for its reloads.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use super::{exit, output};
use crate::board::Boards;
use crate::config::{self, Fault, Merged};
use crate::sort;

/// Where the settings are.
pub const DEFAULT_FILE: &str = "/etc/bramblegate/bramblegate.toml";
/// Where an administrator or a package puts boards of their own; the first wins.
const BOARD_FOLDERS: [&str; 2] = ["/etc/bramblegate/boards", "/usr/share/bramblegate/boards"];
/// The device tree's `compatible` property of the whole machine.
pub const COMPATIBLE: &str = "/proc/device-tree/compatible";

/// `-c FILE`, the same for every verb that reads settings.
#[derive(Debug, Clone, clap::Args)]
pub struct ConfigArg {
    /// Settings file; FILE.d/*.toml are read after it
    #[arg(short, long = "config", value_name = "FILE", default_value = DEFAULT_FILE)]
    pub config: PathBuf,
}

/// The settings in `main` and its drop-ins, for the board of this machine.
///
/// # Errors
/// Every fault found; a file that cannot be read is one too.
pub fn load(main: &Path) -> Result<Merged, Vec<Fault>> {
    let (files, mut unreadable) = read_files(main);
    if unreadable.is_empty() {
        return config::resolve(&files, &boards(), compatible().as_deref(), None);
    }
    unreadable.extend(config::faults(&files));
    Err(unreadable)
}

/// As [`load`]; tells the faults on standard error and gives the exit code.
///
/// # Errors
/// 78.
pub fn load_or_tell(main: &Path) -> Result<Merged, ExitCode> {
    load(main).map_err(|faults| {
        for fault in &faults {
            output::err(&format!("{fault}\n"));
        }
        ExitCode::from(exit::CONFIG)
    })
}

/// The main file and its drop-ins in byte order: (path, text); and a fault for each that cannot be read or is not UTF-8.
pub fn read_files(main: &Path) -> (Vec<(String, String)>, Vec<Fault>) {
    let mut faults = Vec::new();
    let mut files = Vec::new();
    let paths = std::iter::once(Ok(main.to_owned())).chain(drop_ins(main));
    for path in paths {
        match path.and_then(|path| read_file(&path)) {
            Ok(file) => files.push(file),
            Err(fault) => faults.push(fault),
        }
    }
    (files, faults)
}

fn read_file(path: &Path) -> Result<(String, String), Fault> {
    let name = path.display().to_string();
    let bytes = fs::read(path).map_err(|error| unreadable(path, &error))?;
    match String::from_utf8(bytes) {
        Ok(text) => Ok((name, text)),
        Err(error) => {
            let valid = error.utf8_error().valid_up_to();
            let before = String::from_utf8_lossy(error.as_bytes().get(..valid).unwrap_or_default()).into_owned();
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

fn unreadable(path: &Path, error: &io::Error) -> Fault {
    let remedy = match error.kind() {
        io::ErrorKind::NotFound => {
            format!("`bramblegate detect > {}` writes one for this machine", path.display())
        }
        io::ErrorKind::PermissionDenied => "make it readable for this user".to_owned(),
        _ => "give the path of a settings file".to_owned(),
    };
    Fault { file: path.display().to_string(), line: 1, column: 1, message: format!("cannot be read: {error}"), remedy }
}

/// `FILE.d/*.toml` in byte order; hidden files are not read, as a shell's `*` does not match them.
fn drop_ins(main: &Path) -> Vec<Result<PathBuf, Fault>> {
    let mut folder = OsString::from(main);
    folder.push(".d");
    let folder = PathBuf::from(folder);
    let entries = match fs::read_dir(&folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Vec::new(),
        Err(error) => return vec![Err(unreadable(&folder, &error))],
    };
    let mut paths: Vec<PathBuf> =
        entries.filter_map(|entry| Some(entry.ok()?.path())).filter(|path| is_drop_in(path)).collect();
    sort::ascending(&mut paths);
    paths.into_iter().map(Ok).collect()
}

fn is_drop_in(path: &Path) -> bool {
    let hidden = path.file_name().is_none_or(|name| name.as_encoded_bytes().starts_with(b"."));
    !hidden && path.extension().is_some_and(|extension| extension == "toml")
}

/// The boards that can be named on this machine.
pub fn boards() -> Boards {
    let mut extra = Vec::new();
    for folder in BOARD_FOLDERS {
        let Ok(entries) = fs::read_dir(folder) else { continue };
        let mut paths: Vec<PathBuf> =
            entries.filter_map(|entry| Some(entry.ok()?.path())).filter(|path| is_drop_in(path)).collect();
        sort::ascending(&mut paths);
        for path in paths {
            let name = path.file_stem().and_then(|stem| stem.to_str()).map(str::to_owned);
            if let (Some(name), Ok(text)) = (name, fs::read_to_string(&path)) {
                extra.push((name, text));
            }
        }
    }
    Boards { extra }
}

/// What the machine says it is, where it has a device tree.
pub fn compatible() -> Option<Vec<u8>> {
    fs::read(COMPATIBLE).ok()
}
