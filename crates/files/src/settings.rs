//! Reads the settings files.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bramblegate_config::board::{self, Boards};
use bramblegate_config::{self as config, Fault, Merged};

use crate::reading;

/// The default settings file.
pub const DEFAULT_FILE: &str = "/etc/bramblegate/bramblegate.toml";
/// Directories for additional boards, of the administrator or a package; the first one wins.
const BOARD_FOLDERS: [&str; 2] = ["/etc/bramblegate/boards", "/usr/share/bramblegate/boards"];
/// Size limit of a settings file, in bytes.
const MAX_SIZE: u64 = 16 << 20;
/// Timeout for reading: a busy SD card at boot is slow, and the service unit allows 30 s for a
/// start.
const READ_TIMEOUT: Duration = Duration::from_secs(20);
const UNREACHABLE_REMEDY: &str =
    "put the settings on a file system that answers (findmnt -T FILE names it)";
/// What belongs in the folder of drop-ins.
const DROP_INS: &str = "settings files";
const READABLE_REMEDY: &str = "make it readable for this user";
/// The `compatible` property of the device tree's root.
pub const COMPATIBLE: &str = "/proc/device-tree/compatible";

/// Environment variable that names the settings file when no option does.
const FILE_VARIABLE: &str = "BRAMBLEGATE_CONFIG";

/// Returns the file in `$BRAMBLEGATE_CONFIG`, else the default.
pub fn default_file() -> PathBuf {
    let named = std::env::var_os(FILE_VARIABLE).filter(|path| !path.is_empty());
    named.map_or_else(|| PathBuf::from(DEFAULT_FILE), PathBuf::from)
}

/// Returns the settings in `main` and its drop-ins, for the board of this machine.
///
/// # Errors
/// All faults found, including files that cannot be read.
pub fn load(main: &Path) -> Result<Merged, Vec<Fault>> {
    let path = main.to_owned();
    let read =
        reading::within(READ_TIMEOUT, move || (read_all_files(&path), boards(), compatible()));
    let ((files, mut unreadable), boards, compatible) =
        read.map_err(|error| vec![unreachable(main, &error)])?;
    if unreadable.is_empty() {
        return config::resolve(&files, &boards, compatible.as_deref(), None);
    }
    unreadable.extend(config::faults(&files));
    Err(unreadable)
}

/// Returns whether the file system of the settings did not respond: unlike other faults, that may
/// be temporary.
pub fn are_out_of_reach(faults: &[Fault]) -> bool {
    faults.iter().any(|fault| fault.remedy == UNREACHABLE_REMEDY)
}

fn unreachable(main: &Path, error: &io::Error) -> Fault {
    fault(main, error, UNREACHABLE_REMEDY.to_owned())
}

/// Returns the faults as text, two lines each.
pub fn lines(faults: &[Fault]) -> String {
    faults.iter().map(Fault::to_string).collect::<Vec<_>>().join("\n")
}

/// Returns the main file and its drop-ins in byte order as (path, text), and a fault for each that
/// cannot be read or is not UTF-8. If the file system does not respond, that is the only fault.
pub fn read_files(main: &Path) -> (Vec<(String, String)>, Vec<Fault>) {
    let path = main.to_owned();
    let read = reading::within(READ_TIMEOUT, move || read_all_files(&path));
    read.unwrap_or_else(|error| (Vec::new(), vec![unreachable(main, &error)]))
}

fn read_all_files(main: &Path) -> (Vec<(String, String)>, Vec<Fault>) {
    let mut faults = Vec::new();
    let mut files = Vec::new();
    let file = reading::bytes(main, MAX_SIZE)
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
            let (line, column) = board::line_and_column(&before, before.len());
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
        line: 1,
        column: 1,
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
        // For a file below /etc the shell's redirection would fail, even with sudo.
        io::ErrorKind::NotFound if path == Path::new(DEFAULT_FILE) => {
            "`sudo bramblegate setup` writes one for this machine".to_owned()
        }
        io::ErrorKind::NotFound => {
            format!("create one for this machine with `bramblegate detect > {}`", path.display())
        }
        io::ErrorKind::PermissionDenied => READABLE_REMEDY.to_owned(),
        io::ErrorKind::FileTooLarge | io::ErrorKind::Other => {
            "give the path of a settings file: an ordinary file, or a link to one".to_owned()
        }
        _ => "give the path of a settings file".to_owned(),
    }
}

/// Returns `FILE.d/*.toml` in byte order, without hidden files, which a shell's `*` does not match
/// either.
fn drop_ins(main: &Path) -> Vec<Result<(String, String), Fault>> {
    let mut folder = OsString::from(main);
    folder.push(".d");
    let folder = PathBuf::from(folder);
    match toml_files(&folder) {
        Ok(paths) => {
            paths.iter().map(|path| drop_in(path, reading::bytes(path, MAX_SIZE))).collect()
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        Err(error) => vec![Err(fault(&folder, &error, remedy(&error, DROP_INS)))],
    }
}

/// Returns `FOLDER/*.toml` in byte order, without hidden files.
fn toml_files(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = fs::read_dir(folder)?.filter_map(|entry| Some(entry.ok()?.path()));
    let mut paths: Vec<PathBuf> = entries.filter(|path| is_visible_toml(path)).collect();
    paths.sort();
    Ok(paths)
}

/// Returns the text of a drop-in, or an empty one if it does not exist.
///
/// # Errors
/// It cannot be read, or is not UTF-8.
pub fn drop_in_text(path: &Path) -> Result<String, Fault> {
    match reading::bytes(path, MAX_SIZE) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(String::new()),
        read => drop_in(path, read).map(|(_, text)| text),
    }
}

fn drop_in(path: &Path, read: io::Result<Vec<u8>>) -> Result<(String, String), Fault> {
    read.map_err(|error| fault(path, &error, remedy(&error, DROP_INS)))
        .and_then(|bytes| text(path, bytes))
}

/// Returns the remedy for a file of a folder to which only such files belong.
fn remedy(error: &io::Error, belongs: &str) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => {
            "the link leads nowhere: remove it, or create its target".to_owned()
        }
        io::ErrorKind::PermissionDenied => READABLE_REMEDY.to_owned(),
        _ => format!("move it away: only {belongs} belong there"),
    }
}

fn is_visible_toml(path: &Path) -> bool {
    let hidden = path.file_name().is_none_or(|name| name.as_encoded_bytes().starts_with(b"."));
    !hidden && path.extension().is_some_and(|extension| extension == "toml")
}

/// Returns the boards available on this machine.
pub fn boards() -> Boards {
    boards_in(&BOARD_FOLDERS.map(Path::new))
}

fn boards_in(folders: &[&Path]) -> Boards {
    let mut boards = Boards::default();
    for folder in folders {
        let paths = match toml_files(folder) {
            Ok(paths) => paths,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => {
                boards.unreadable.push(fault(folder, &error, remedy(&error, "boards")));
                continue;
            }
        };
        for path in paths {
            let name = path.file_stem().and_then(|stem| stem.to_str()).map(str::to_owned);
            // A board that cannot be read, or is not UTF-8, is kept, so that it is reported as
            // invalid instead of missing.
            let text = reading::bytes(&path, MAX_SIZE)
                .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
                .map_err(|error| fault(&path, &error, remedy(&error, "boards")));
            boards.extra.extend(name.map(|name| (name, text)));
        }
    }
    boards
}

/// Returns the machine's `compatible` property, if it has a device tree.
pub fn compatible() -> Option<Vec<u8>> {
    reading::bytes(Path::new(COMPATIBLE), MAX_SIZE).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Only root may write below /etc, and the shell opens a redirection before sudo runs.
    #[test]
    fn the_remedy_for_missing_settings_can_be_typed_as_printed() {
        let missing = io::Error::from(io::ErrorKind::NotFound);
        let own = main_remedy(Path::new(DEFAULT_FILE), &missing);
        assert_eq!(own, "`sudo bramblegate setup` writes one for this machine");
        let other = main_remedy(Path::new("own.toml"), &missing);
        assert!(other.ends_with("`bramblegate detect > own.toml`"), "{other}");
    }

    /// A file that cannot be read still hides the board of that name in a later folder, as it does
    /// when it can be.
    #[test]
    fn a_board_that_cannot_be_read_is_named_with_its_file_and_the_reason() {
        let folder = tempfile::tempdir().unwrap();
        let [own, packaged] = ["own", "packaged"].map(|name| folder.path().join(name));
        for folder in [&own, &packaged] {
            fs::create_dir(folder).unwrap();
        }
        std::os::unix::fs::symlink("nowhere", own.join("rack.toml")).unwrap();
        fs::create_dir(own.join("generic-pc.toml")).unwrap();
        fs::write(packaged.join("rack.toml"), "description = \"rack\"\n").unwrap();
        let boards = boards_in(&[&own, &packaged]);
        for (name, why) in [("rack", "no such file"), ("generic-pc", "cannot be read: ")] {
            let files = [("main.toml", format!("board = \"{name}\"\n"))];
            let faults = config::resolve(&files, &boards, None, None).unwrap_err();
            let [first, second, ..] = faults.as_slice() else { panic!("{faults:?}") };
            assert_eq!((first.file.as_str(), first.line), ("main.toml", 1), "{faults:?}");
            assert_eq!(Path::new(&second.file), own.join(format!("{name}.toml")), "{faults:?}");
            assert!(second.message.starts_with(why), "{faults:?}");
        }
    }

    #[test]
    fn a_folder_of_boards_that_cannot_be_read_is_named_with_an_unknown_board() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("boards");
        fs::write(&file, "").unwrap();
        let boards = boards_in(&[&file, &folder.path().join("missing")]);
        let error = boards.named("rack").unwrap_err();
        let [fault] = error.faults() else { panic!("{error:?}") };
        assert_eq!(Path::new(&fault.file), file);
        assert!(boards.named("generic-pc").is_ok());
    }
}
