//! `ssh-config --install`: writes the settings to a file of their own below `~/.ssh`, and a line
//! that includes it at the top of `~/.ssh/config` (ssh_config(5), Include).

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use glob::Pattern;

use crate::cli::nodes::resolve_links;
use crate::cli::{demo, exit, output};
use crate::files::folder::{self, Folder};

/// Below `~/.ssh`, to which ssh resolves relative paths.
const FILE: &str = "config.d/bramblegate";

/// Why nothing was installed, or only a part.
#[derive(Debug, thiserror::Error)]
enum InstallError {
    #[error("$HOME does not name a folder")]
    NoHome,
    #[error("this is the inside of the demo, whose nodes end with it: nothing was written")]
    InDemo,
    #[error("{}: {error}", .path.display())]
    File { path: PathBuf, error: io::Error },
}

impl InstallError {
    /// Returns the remedy.
    fn help(&self) -> &'static str {
        match self {
            Self::NoHome => "set HOME to your home folder",
            Self::InDemo => "leave out --install to see the settings",
            Self::File { .. } => {
                "make the file readable and writable for this user, or leave out --install and \
                 put the settings in by hand"
            }
        }
    }
}

/// Writes the settings, or shows what would be written. Exits with 0, or 71.
pub fn main(text: &str, is_dry: bool) -> ExitCode {
    let home = std::env::var_os("HOME").map(PathBuf::from).filter(|home| home.is_absolute());
    let home = home.ok_or(InstallError::NoHome);
    let home = if demo::is_inside() { Err(InstallError::InDemo) } else { home };
    match home.and_then(|home| install(&home, text, is_dry)) {
        Ok(report) => ExitCode::from(output::deliver(&report)),
        Err(error) => {
            output::error(&format!("ssh-config: {error}"), error.help());
            ExitCode::from(exit::CANNOT_CREATE)
        }
    }
}

/// Installs the settings and returns a report; if `is_dry`, only the plan.
fn install(home: &Path, text: &str, is_dry: bool) -> Result<String, InstallError> {
    let ssh = home.join(".ssh");
    let (own, main) = (ssh.join(FILE), ssh.join("config"));
    let old = existing(&main)?;
    let new = (!includes(&old, &ssh)).then(|| with_line(&old));
    let (own_name, main_name) = (own.display(), main.display());
    if is_dry {
        let line = format!("add to the top of {main_name}:\n    Include {FILE}\n");
        let line = new.map_or_else(String::new, |_| line);
        let text: String =
            text.lines().map(|line| format!("{}\n", format!("    {line}").trim_end())).collect();
        return Ok(format!("write {own_name}:\n{text}{line}Nothing was changed.\n"));
    }
    let mut report = String::new();
    // The included file must exist first.
    if existing(&own)? != text.as_bytes() {
        write(&own, text.as_bytes())?;
        report += &format!("{own_name} is written.\n");
    }
    if let Some(new) = new {
        write(&main, &new)?;
        report += &format!("{main_name} includes it; its other lines are as they were.\n");
    }
    Ok(if report.is_empty() { format!("{own_name} is up to date.\n") } else { report })
}

/// Returns the content of a file, empty if it does not exist. An unreadable file is an error, not
/// empty: it would be overwritten.
fn existing(path: &Path) -> Result<Vec<u8>, InstallError> {
    match fs::read(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        read => read.map_err(|error| InstallError::File { path: path.to_owned(), error }),
    }
}

/// Writes the file atomically, for its owner alone. A symbolic link stays: its target is written.
fn write(path: &Path, bytes: &[u8]) -> Result<(), InstallError> {
    let written = resolve_links(path).and_then(|target| {
        let parent = target.parent().unwrap_or(Path::new("."));
        Folder::make(parent, 0o700)?;
        folder::keep(&target, bytes)
    });
    written.map_err(|error| InstallError::File { path: path.to_owned(), error })
}

/// Returns the file with the line at its top: after the first `Host` it would apply to that host
/// alone.
fn with_line(old: &[u8]) -> Vec<u8> {
    let mut new = format!("Include {FILE}\n").into_bytes();
    if !old.is_empty() {
        new.push(b'\n');
    }
    new.extend_from_slice(old);
    new
}

/// Returns whether a line before the first `Host` or `Match` includes our file.
fn includes(config: &[u8], ssh: &Path) -> bool {
    let text = String::from_utf8_lossy(config);
    let lines = text.lines().map(str::trim).filter(|line| !line.starts_with('#'));
    let ssh = format!("{}/", ssh.display());
    for line in lines {
        let (key, values) = line.split_once([' ', '\t', '=']).unwrap_or((line, ""));
        match key.to_ascii_lowercase().as_str() {
            "host" | "match" => return false,
            "include" => {
                let names = values.split([' ', '\t', '=', '"']).filter(|name| !name.is_empty());
                let here = |name: &str| {
                    let name = name.strip_prefix("~/.ssh/").unwrap_or(name);
                    let name = name.strip_prefix(&ssh).unwrap_or(name);
                    Pattern::new(name).is_ok_and(|pattern| pattern.matches(FILE))
                };
                if names.into_iter().any(here) {
                    return true;
                }
            }
            _ => {}
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    const HOSTS: &str = "Host rpi1\n    HostName 192.168.50.11\n";

    #[test]
    fn other_lines_stay_and_a_second_run_changes_nothing() {
        let held = tempfile::tempdir().unwrap();
        let (home, ssh) = (held.path(), held.path().join(".ssh"));
        fs::create_dir(&ssh).unwrap();
        let old = b"# K\xfcche\nHost x\n  Include config.d/*\n\n".to_vec();
        fs::write(home.join("dotfile"), &old).unwrap();
        std::os::unix::fs::symlink("../dotfile", ssh.join("config")).unwrap();
        let dry = install(home, HOSTS, true).unwrap();
        assert!(dry.contains("Include config.d/bramblegate") && dry.contains("    Host rpi1\n"));
        assert!(!ssh.join("config.d").exists());
        let first = install(home, HOSTS, false).unwrap();
        assert_eq!(first.lines().count(), 2, "{first}");
        let read = || fs::read(home.join("dotfile")).unwrap();
        let wanted = [b"Include config.d/bramblegate\n\n".as_slice(), &old].concat();
        assert_eq!(read(), wanted, "byte by byte");
        assert!(ssh.join("config").is_symlink());
        let second = install(home, HOSTS, false).unwrap();
        assert!(second.ends_with("is up to date.\n") && read() == wanted, "{second}");
        let third = install(home, "Host rpi2\n", false).unwrap();
        assert!(third.lines().count() == 1 && read() == wanted, "{third}");
        assert_eq!(fs::read_to_string(ssh.join(FILE)).unwrap(), "Host rpi2\n");
        for file in [home.join("dotfile"), ssh.join(FILE)] {
            assert_eq!(fs::metadata(file).unwrap().permissions().mode() & 0o777, 0o600);
        }
    }

    #[test]
    fn an_existing_include_is_recognized() {
        let ssh = Path::new("/home/x/.ssh");
        for line in [
            "Include config.d/*",
            "include ~/.ssh/config.d/bramblegate",
            "Include=\"/home/x/.ssh/config.d/*\"",
            "User me\nInclude other config.d/bramble*\nHost a",
        ] {
            assert!(includes(line.as_bytes(), ssh), "{line}");
        }
        for line in ["", "# Include config.d/*", "Host a\nInclude config.d/*", "Include conf.d/*"] {
            assert!(!includes(line.as_bytes(), ssh), "{line}");
        }
    }

    #[test]
    fn an_unreadable_file_is_not_overwritten() {
        let held = tempfile::tempdir().unwrap();
        fs::create_dir_all(held.path().join(".ssh/config")).unwrap();
        let error = install(held.path(), HOSTS, false).unwrap_err();
        assert!(error.to_string().contains(".ssh/config: "), "{error}");
        assert!(!held.path().join(".ssh").join(FILE).exists());
    }
}
