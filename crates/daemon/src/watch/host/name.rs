//! Reports the head's host name, whether multicast DNS announces it, and the TCP ports of sshd, so
//! that moving sshd to another port locks no user out. The configuration files are watched by
//! inotify.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};

use tokio::sync::mpsc;
use tokio::task::spawn_blocking;

use crate::event::{Event, Vital};
use crate::files::inotify::Files;
use crate::files::reading;
use crate::watch::emit;

const DEFAULT_PORT: u16 = 22;
/// Maximum nesting of `Include`, as in sshd.
const MAX_DEPTH: usize = 16;

/// The configuration folder of sshd, and its parent, in which it may appear.
const FOLDERS: [&str; 2] = ["etc", "etc/ssh"];
/// Socket units by which systemd may listen for sshd, and the folder that lists the enabled ones.
const UNITS: [&str; 2] = ["ssh.socket", "sshd.socket"];
const WANTS: &str = "etc/systemd/system/sockets.target.wants";
/// Folders of units, in order of increasing precedence.
const UNIT_FOLDERS: [&str; 4] =
    ["usr/lib/systemd/system", "run/systemd/generator", "run/systemd/system", "etc/systemd/system"];

/// Folder with the PID file of avahi-daemon(8), which exists while that announces the name, and its
/// parent.
const AVAHI: [&str; 2] = ["run", "run/avahi-daemon"];

/// Reports [`Vital::Host`] at the start, and each change.
///
/// # Errors
/// inotify is unavailable, or the receiver is gone (`Closed`).
pub async fn run(events: mpsc::Sender<Event>) -> io::Result<Infallible> {
    let root = Path::new("/");
    let files = Files::new()?;
    let mut reported = None;
    loop {
        let drop_ins = |folder: &str| UNITS.map(|unit| root.join(folder).join(format!("{unit}.d")));
        let folders = FOLDERS.iter().chain(&UNIT_FOLDERS).chain(&AVAHI).chain([&WANTS]);
        let folders = folders.map(|folder| root.join(folder));
        // An included file may be on a file system that hangs.
        let (now, included) = spawn_blocking(|| (read(), sshd(Path::new("/")).folders)).await?;
        for folder in folders.chain(UNIT_FOLDERS.into_iter().flat_map(drop_ins)).chain(included) {
            files.folder(&folder);
        }
        if reported.as_ref() != Some(&now) {
            emit(&events, Event::Vital(now.clone())).await?;
            reported = Some(now);
        }
        files.changed().await?;
    }
}

/// Returns [`Vital::Host`] as it is now.
pub fn read() -> Vital {
    let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let root = Path::new("/");
    Vital::Host { name, ssh_ports: ssh_ports(root), announced: is_announced(root) }
}

/// Returns whether avahi-daemon runs.
fn is_announced(root: &Path) -> bool {
    AVAHI.iter().any(|folder| root.join(folder).join("pid").is_file())
}

/// Holds the relevant parts of sshd's configuration.
#[derive(Default)]
struct Sshd {
    ports: BTreeSet<u16>,
    /// Folders named by `Include`, where further files may appear.
    folders: BTreeSet<PathBuf>,
}

fn sshd(root: &Path) -> Sshd {
    let mut found = Sshd::default();
    sshd_config(root, &root.join("etc/ssh/sshd_config"), &mut found, MAX_DEPTH);
    found
}

/// Returns the TCP ports of sshd's configuration (22 by default) and of an enabled `ssh.socket`.
pub fn ssh_ports(root: &Path) -> Vec<u16> {
    let mut ports = sshd(root).ports;
    if ports.is_empty() {
        ports.insert(DEFAULT_PORT);
    }
    for unit in UNITS {
        if root.join(WANTS).join(unit).symlink_metadata().is_ok() {
            ports.extend(socket_unit(root, unit));
        }
    }
    ports.into_iter().collect()
}

/// Adds the ports of `Port` and `ListenAddress`, including those in included files
/// (sshd_config(5)).
fn sshd_config(root: &Path, file: &Path, found: &mut Sshd, depth: usize) {
    let Ok(text) = reading::text(file) else { return };
    for (keyword, argument) in text.lines().filter_map(directive) {
        match keyword.as_str() {
            "port" => found.ports.extend(argument.parse::<u16>().ok()),
            "listenaddress" => found.ports.extend(port_of(argument)),
            "include" if depth > 0 => {
                for pattern in argument.split_whitespace() {
                    let Some((folder, name)) = included(root, pattern) else { continue };
                    for file in files_named(&folder, &name) {
                        sshd_config(root, &file, found, depth - 1);
                    }
                    found.folders.insert(folder);
                }
            }
            _ => {}
        }
    }
}

/// Splits a line into its keyword, in lower case, and argument; accepts `Keyword=value` as well.
fn directive(line: &str) -> Option<(String, &str)> {
    let line = line.split('#').next()?.trim();
    let (keyword, argument) = line.split_once(|c: char| c.is_whitespace() || c == '=')?;
    Some((
        keyword.to_ascii_lowercase(),
        argument.trim_matches(|c: char| c.is_whitespace() || c == '=' || c == '"'),
    ))
}

/// Returns the port of `HOST:PORT` or `[ADDRESS]:PORT`; a bare IPv6 address has none.
fn port_of(argument: &str) -> Option<u16> {
    let address = argument.split_whitespace().next()?;
    let (host, port) = address.rsplit_once(':')?;
    let is_port = host.starts_with('[') || !host.contains(':');
    port.parse().ok().filter(|_| is_port)
}

/// Splits an `Include` pattern into folder and file name; a relative one starts at `/etc/ssh`.
fn included(root: &Path, pattern: &str) -> Option<(PathBuf, String)> {
    let pattern = Path::new("/etc/ssh").join(pattern.trim_matches('"'));
    let (folder, name) = (pattern.parent()?, pattern.file_name()?.to_str()?);
    Some((root.join(folder.strip_prefix("/").unwrap_or(folder)), name.to_owned()))
}

/// Returns the files that match a name with at most one `*`.
fn files_named(folder: &Path, name: &str) -> Vec<PathBuf> {
    match name.split_once('*') {
        Some((before, after)) => files_in(folder, before, after),
        None => vec![folder.join(name)],
    }
}

/// Returns the files whose name begins with `before` and ends with `after`, sorted.
fn files_in(directory: &Path, before: &str, after: &str) -> Vec<PathBuf> {
    let fits = |name: &str| name.starts_with(before) && name.ends_with(after);
    let mut files = reading::entries(directory);
    files.retain(|file| file.file_name().and_then(OsStr::to_str).is_some_and(fits));
    files
}

/// Returns the ports in `ListenStream=` of a unit and its drop-ins; an empty assignment resets the
/// list (systemd.socket(5)). Drop-ins of all folders are sorted by file name together, and one
/// replaces that of the same name in a folder of lower precedence (systemd.unit(5)).
fn socket_unit(root: &Path, unit: &str) -> BTreeSet<u16> {
    let main = UNIT_FOLDERS
        .iter()
        .rev()
        .map(|place| root.join(place).join(unit))
        .find(|path| path.exists());
    let drop_ins: BTreeMap<_, _> = UNIT_FOLDERS
        .iter()
        .flat_map(|place| files_in(&root.join(place).join(format!("{unit}.d")), "", ".conf"))
        .map(|file| (file.file_name().map(ToOwned::to_owned), file))
        .collect();
    let mut ports = BTreeSet::new();
    for file in main.into_iter().chain(drop_ins.into_values()) {
        let text = reading::text(&file).unwrap_or_default();
        for value in text.lines().filter_map(|line| line.trim().strip_prefix("ListenStream=")) {
            if value.trim().is_empty() {
                ports.clear();
            }
            let port = value.rsplit(':').next().and_then(|port| port.trim().parse::<u16>().ok());
            ports.extend(port);
        }
    }
    ports
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    struct Root(PathBuf, #[expect(dead_code, reason = "removed when dropped")] tempfile::TempDir);

    impl Root {
        fn with(name: &str, files: &[(&str, &str)]) -> Self {
            let temporary = tempfile::Builder::new().prefix(name).tempdir().unwrap();
            let root = temporary.path().to_owned();
            for (path, text) in files {
                let path = root.join(path);
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::write(path, text).unwrap();
            }
            Self(root, temporary)
        }
    }

    #[test]
    fn the_default_port_is_22() {
        assert_eq!(
            ssh_ports(&Root::with("none", &[("etc/ssh/sshd_config", "#Port 22\n")]).0),
            [22]
        );
    }

    #[test]
    fn a_name_is_announced_while_avahi_runs() {
        assert!(is_announced(&Root::with("avahi", &[("run/avahi-daemon/pid", "412\n")]).0));
        assert!(!is_announced(&Root::with("no-avahi", &[("run/avahi-daemon/x", "")]).0));
    }

    #[test]
    fn ports_are_found_in_the_main_file_and_its_drop_ins() {
        let root = Root::with(
            "drop-ins",
            &[
                (
                    "etc/ssh/sshd_config",
                    "Include /etc/ssh/sshd_config.d/*.conf\nport = 2222\nListenAddress ::1\n",
                ),
                (
                    "etc/ssh/sshd_config.d/10-own.conf",
                    "ListenAddress [::]:2022\nListenAddress 0.0.0.0:2023\n",
                ),
                ("etc/ssh/sshd_config.d/10-own.conf.bak", "Port 1\n"),
            ],
        );
        assert_eq!(ssh_ports(&root.0), [2022, 2023, 2222]);
    }

    #[test]
    fn folders_of_includes_are_returned_even_if_empty() {
        let root =
            Root::with("folders", &[("etc/ssh/sshd_config", "Include /etc/own/*.conf more\n")]);
        let folders: Vec<_> = sshd(&root.0).folders.into_iter().collect();
        assert_eq!(folders, [root.0.join("etc/own"), root.0.join("etc/ssh")]);
    }

    #[test]
    fn a_file_that_includes_itself_ends() {
        let root =
            Root::with("loop", &[("etc/ssh/sshd_config", "Include sshd_config\nPort 2222\n")]);
        assert_eq!(ssh_ports(&root.0), [2222]);
    }

    #[test]
    fn a_socket_unit_counts_when_it_is_enabled_and_its_drop_in_replaces_its_port() {
        let unit = ("usr/lib/systemd/system/ssh.socket", "[Socket]\nListenStream=22\n");
        let drop_in = (
            "etc/systemd/system/ssh.socket.d/port.conf",
            "[Socket]\nListenStream=\nListenStream=0.0.0.0:2200\n",
        );
        let config = ("etc/ssh/sshd_config", "Port 2222\n");
        assert_eq!(ssh_ports(&Root::with("disabled", &[unit, drop_in, config]).0), [2222]);
        let enabled = ("etc/systemd/system/sockets.target.wants/ssh.socket", "");
        assert_eq!(
            ssh_ports(&Root::with("enabled", &[unit, drop_in, config, enabled]).0),
            [2200, 2222]
        );
    }

    #[test]
    fn drop_ins_are_sorted_by_name_over_all_folders_and_one_in_etc_replaces_its_namesake() {
        let enabled = ("etc/systemd/system/sockets.target.wants/ssh.socket", "");
        let config = ("etc/ssh/sshd_config", "Port 2222\n");
        let unit = ("usr/lib/systemd/system/ssh.socket", "[Socket]\nListenStream=22\n");
        let late = (
            "usr/lib/systemd/system/ssh.socket.d/90-late.conf",
            "[Socket]\nListenStream=\nListenStream=2290\n",
        );
        let early = ("etc/systemd/system/ssh.socket.d/10-early.conf", "ListenStream=2210\n");
        let root = Root::with("sorted", &[unit, late, early, config, enabled]);
        assert_eq!(ssh_ports(&root.0), [2222, 2290], "90 comes after 10, and resets the list");
        let replaced = ("etc/systemd/system/ssh.socket.d/90-late.conf", "[Socket]\n");
        let root = Root::with("replaced", &[unit, late, early, replaced, config, enabled]);
        assert_eq!(ssh_ports(&root.0), [22, 2210, 2222]);
    }
}
