//! The machine as the verbs inspect it: files below a root, and answers of other programs.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use ipnet::{IpNet, Ipv4Net};

use super::settings::NotWritten;
use crate::api::client::{Error, StatusClient};
use crate::api::status::Snapshot;
use crate::decide::firewall::TABLE;
use crate::event::{Astray, Blocker, Change, Event, INTERNET, LinkIndex, Way};
use crate::event_loop::InstanceLock;
use crate::files::folder;
use crate::files::reading;
use crate::netlink::{Protocol, Socket};
use crate::watch::firewall::{self, Blockers, FirewallWatch};
use crate::watch::host::ntp::{self, TimeAnswer};
use crate::watch::link;
use crate::watch::routing;

/// Timeout of the daemon's status.
const TIMEOUT: Duration = Duration::from_secs(2);
/// A daemon that sends no line for this long hangs.
const SILENCE: Duration = Duration::from_secs(5);
/// Longest file to read, bytes.
const MAX_FILE: u64 = 16 << 20;

/// Folders that may hold links of services to start at boot (systemd.unit(5)).
const UNIT_FOLDERS: [&str; 6] = [
    "/etc/systemd/system",
    "/run/systemd/system",
    "/run/systemd/generator",
    "/run/systemd/generator.late",
    "/usr/local/lib/systemd/system",
    "/usr/lib/systemd/system",
];

/// Access to the machine. Only [`Machine::write`] and [`Machine::act`] change anything.
#[derive(Debug, Clone)]
pub struct Machine {
    root: PathBuf,
    /// In tests: command line → standard output, in place of running programs.
    answers: Option<BTreeMap<String, String>>,
}

impl Machine {
    /// Returns this machine.
    pub fn real() -> Self {
        Self { root: PathBuf::from("/"), answers: None }
    }

    /// Returns a machine for tests, with files below `root` and these answers of programs.
    pub fn pretend(root: &Path, answers: &[(&str, &str)]) -> Self {
        let answers = answers
            .iter()
            .map(|(line, answer)| ((*line).to_owned(), (*answer).to_owned()))
            .collect();
        Self { root: root.to_owned(), answers: Some(answers) }
    }

    /// Maps an absolute path to one below the root.
    pub fn path(&self, path: &str) -> PathBuf {
        self.root.join(path.trim_start_matches('/'))
    }

    pub fn exists(&self, path: &str) -> bool {
        self.path(path).symlink_metadata().is_ok()
    }

    /// Returns whether systemd starts the service at boot, by a link of the owner, the distribution
    /// or a generator (netplan's for systemd-networkd). A Debian package that is removed and not
    /// purged leaves the link, and masks the service.
    pub fn is_enabled(&self, service: &str) -> bool {
        let own = self.path(&format!("/etc/systemd/system/{service}"));
        UNIT_FOLDERS
            .iter()
            .any(|folder| self.exists(&format!("{folder}/multi-user.target.wants/{service}")))
            && !fs::read_link(own).is_ok_and(|target| target == Path::new("/dev/null"))
    }

    pub fn is_file(&self, path: &str) -> bool {
        self.path(path).is_file()
    }

    /// Returns whether a program is installed.
    pub fn has_program(&self, name: &str) -> bool {
        let folders = ["/usr/sbin", "/sbin", "/usr/bin"];
        folders.iter().any(|folder| self.is_file(&format!("{folder}/{name}")))
    }

    /// Returns a file's text without its final line end; bytes that are no UTF-8 are replaced.
    pub fn read(&self, path: &str) -> Option<String> {
        let bytes = self.bytes(path)?;
        Some(String::from_utf8_lossy(&bytes).trim_end_matches('\n').to_owned())
    }

    pub fn bytes(&self, path: &str) -> Option<Vec<u8>> {
        reading::bytes(&self.path(path), MAX_FILE).ok()
    }

    /// Returns the names in a folder, sorted; none if there is no such folder.
    pub fn list(&self, path: &str) -> Vec<String> {
        let entries = fs::read_dir(self.path(path)).into_iter().flatten().flatten();
        let mut names: Vec<String> =
            entries.filter_map(|entry| entry.file_name().into_string().ok()).collect();
        names.sort();
        names
    }

    /// Returns the paths of what is in a folder, sorted; none if there is no such folder.
    pub fn paths(&self, folder: &str) -> Vec<String> {
        self.list(folder).into_iter().map(|name| format!("{folder}/{name}")).collect()
    }

    /// Returns the paths of drop-ins, sorted by name: of equal names, that in the first folder.
    pub fn drop_ins(&self, folders: &[&str], ending: &str) -> Vec<String> {
        let mut paths = BTreeMap::new();
        for folder in folders {
            for name in self.list(folder).into_iter().filter(|name| name.ends_with(ending)) {
                let path = format!("{folder}/{name}");
                paths.entry(name).or_insert(path);
            }
        }
        paths.into_values().collect()
    }

    /// Returns the kernel's index of a port.
    pub fn index(&self, port: &str) -> Option<LinkIndex> {
        self.read(&format!("/sys/class/net/{port}/ifindex"))?.trim().parse().ok()
    }

    /// Returns whether a port has a carrier.
    pub fn has_carrier(&self, port: &str) -> bool {
        self.read(&format!("/sys/class/net/{port}/carrier")).as_deref() == Some("1")
    }

    /// Returns the bridge or bond that a port belongs to.
    pub fn master(&self, port: &str) -> Option<String> {
        let link = self.link(&format!("/sys/class/net/{port}/master"))?;
        link.rsplit('/').next().map(str::to_owned)
    }

    /// Returns the ID of a group (group(5)).
    pub fn group(&self, name: &str) -> Option<u32> {
        let groups = self.read("/etc/group")?;
        let line = groups.lines().find(|line| line.split(':').next() == Some(name))?;
        line.split(':').nth(2)?.parse().ok()
    }

    /// Returns what a symbolic link points to.
    pub fn link(&self, path: &str) -> Option<String> {
        fs::read_link(self.path(path)).ok().map(|target| target.display().to_string())
    }

    /// Runs a program and returns its standard output, if it is installed and ended well.
    pub fn run(&self, program: &str, arguments: &[&str]) -> Option<String> {
        if let Some(answers) = &self.answers {
            let line = std::iter::once(program)
                .chain(arguments.iter().copied())
                .collect::<Vec<_>>()
                .join(" ");
            return answers.get(&line).cloned();
        }
        let output = Command::new(program)
            .args(arguments)
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .env("LC_ALL", "C")
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .output()
            .ok()?;
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Returns the alternative names of a port (`ip link property add`). In tests the answer to
    /// "altnames PORT".
    pub fn alternative_names(&self, port: &str) -> Vec<String> {
        if let Some(answers) = &self.answers {
            let names = answers.get(&format!("altnames {port}"));
            return names
                .into_iter()
                .flat_map(|names| names.split_whitespace())
                .map(str::to_owned)
                .collect();
        }
        let known = link::snapshot().unwrap_or_default();
        let named = known.into_iter().find_map(|event| match event {
            Event::Link(Change::Present(link)) if link.name == port => Some(link.alternative_names),
            _ => None,
        });
        named.unwrap_or_default()
    }

    /// Returns the addresses of a port but tentative ones. In tests the answer to "addresses PORT".
    pub fn addresses(&self, port: &str) -> Vec<IpNet> {
        if let Some(answers) = &self.answers {
            let addresses = answers.get(&format!("addresses {port}"));
            return addresses
                .into_iter()
                .flat_map(|texts| texts.split_whitespace())
                .filter_map(|text| text.parse().ok())
                .collect();
        }
        let index = self.index(port);
        let known = link::snapshot().unwrap_or_default();
        let held = known.into_iter().filter_map(|event| match event {
            Event::Address(Change::Present(held))
                if Some(held.index) == index && !held.tentative =>
            {
                Some(held.address)
            }
            _ => None,
        });
        held.collect()
    }

    /// Returns other programs' chains that drop forwarded traffic, if we may read them. In tests
    /// the answer to "blocker": table, chain and remedy, each on a line.
    pub fn blockers(&self, watch: &FirewallWatch) -> Blockers {
        let Some(answers) = &self.answers else {
            return firewall::blockers_now(watch).unwrap_or_default();
        };
        let egress = answers.get("blocker").map(|answer| {
            let mut lines = answer.lines().map(str::to_owned);
            Blocker {
                table: lines.next(),
                chain: lines.next(),
                remedy: lines.next().unwrap_or_default(),
            }
        });
        Blockers { egress, ..Blockers::default() }
    }

    /// Returns a dump of links, addresses, routes and rules. In tests it is empty.
    pub fn network(&self) -> Vec<Event> {
        if self.answers.is_some() {
            return Vec::new();
        }
        link::snapshot().unwrap_or_default()
    }

    /// Returns what our rules have dropped, by their comments, if we may read them. In tests each
    /// line of the answer to "drops" is a number and a comment.
    pub fn drops(&self) -> Vec<(String, u64)> {
        let Some(answers) = &self.answers else {
            return firewall::drops_now(TABLE).unwrap_or_default();
        };
        let lines = answers.get("drops").map(String::as_str).unwrap_or_default().lines();
        lines
            .filter_map(|line| line.split_once(' '))
            .filter_map(|(n, text)| Some((text.to_owned(), n.parse().ok()?)))
            .collect()
    }

    /// Returns the port through which the kernel would route a packet to the internet that comes
    /// from `source` through `port`, if we may ask it.
    pub fn egress(&self, port: &str, source: IpAddr) -> Option<String> {
        if self.answers.is_some() {
            return None;
        }
        let egress = routing::egress(
            &mut Socket::open(Protocol::Route, &[]).ok()?,
            self.index(port)?,
            source,
            INTERNET.into(),
        )?;
        self.list("/sys/class/net").into_iter().find(|name| self.index(name) == Some(egress))
    }

    /// Returns those of `ways` that the kernel would route differently, if we may ask it.
    pub fn astray(&self, ways: &[Way]) -> Vec<Astray> {
        let ask = |mut requests: Socket| routing::astray(&mut requests, ways);
        if self.answers.is_some() {
            Vec::new()
        } else {
            Socket::open(Protocol::Route, &[]).map(ask).unwrap_or_default()
        }
    }

    /// Returns how the head's time server answers at the address that nodes use. In tests the
    /// answer to "time".
    pub fn time_answer(&self, address: Ipv4Addr) -> TimeAnswer {
        if let Some(answers) = &self.answers {
            return match answers.get("time").map(String::as_str) {
                Some("silent") => TimeAnswer::Silent,
                Some("unsynchronised") => TimeAnswer::Unsynchronised,
                _ => TimeAnswer::Serves,
            };
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.map_or(TimeAnswer::NoAddress, |runtime| runtime.block_on(ntp::ask(address)))
    }

    /// Returns the status of a running daemon. In tests the answer to "status".
    pub fn status(&self, socket: &Path) -> Option<Snapshot> {
        if let Some(answers) = &self.answers {
            // From bytes, as the client of the socket does: this instantiates one parser, not two.
            return serde_json::from_slice(answers.get("status")?.as_bytes()).ok();
        }
        StatusClient::fetch(socket, TIMEOUT).ok().map(|(_, snapshot)| snapshot)
    }

    /// Returns the process that holds the lock of the daemon's run folder, if we may see it. The
    /// file alone proves nothing: it outlives a daemon that was killed. In tests the number in that
    /// file.
    pub fn daemon(&self, run_directory: &Path) -> Option<u32> {
        if self.answers.is_some() {
            return self.read(run_directory.join("lock").to_str()?)?.parse().ok();
        }
        InstanceLock::holder(run_directory)
    }

    /// Returns whether a process listens at a status socket and sends nothing. In tests the answer
    /// to "silent".
    pub fn is_silent(&self, socket: &Path) -> bool {
        if let Some(answers) = &self.answers {
            return answers.contains_key("silent");
        }
        match StatusClient::connect(socket) {
            Ok(mut client) => {
                client.set_timeout(Some(SILENCE));
                matches!(client.next_line(), Ok(None))
            }
            Err(Error::Io(error)) => error.kind() == ErrorKind::TimedOut,
            Err(_) => false,
        }
    }

    /// Returns whether an HTTP server answers there, with any status. In tests whether there is an
    /// answer to "page ADDRESS:PORT".
    pub fn page_answers(&self, at: SocketAddr) -> bool {
        if let Some(answers) = &self.answers {
            return answers.contains_key(&format!("page {at}"));
        }
        answer_start(at).is_ok_and(|start| start == *b"HTTP/")
    }

    /// Runs a program that changes something.
    ///
    /// # Errors
    /// It could not be started, or did not end well.
    pub fn act(&self, program: &str, arguments: &[&str]) -> Result<(), ActError> {
        if self.answers.is_some() {
            return self.run(program, arguments).map(drop).ok_or_else(|| {
                ActError::NotStarted(program.to_owned(), ErrorKind::NotFound.into())
            });
        }
        let output = Command::new(program).args(arguments).stdin(Stdio::null()).output();
        let output = output.map_err(|error| ActError::NotStarted(program.to_owned(), error))?;
        if output.status.success() {
            return Ok(());
        }
        Err(ActError::Failed {
            command: format!("{program} {}", arguments.join(" ")),
            errors: String::from_utf8_lossy(&output.stderr).trim().to_owned(),
        })
    }

    /// Writes a file atomically and durably, and creates its folder.
    ///
    /// # Errors
    /// The file system's error, with the path.
    pub fn write(&self, path: &str, bytes: &[u8]) -> Result<(), NotWritten> {
        let target = self.path(path);
        let folder = target.parent().map_or(Ok(()), fs::create_dir_all);
        folder
            .and_then(|()| folder::keep_public(&target, bytes))
            .map_err(|error| NotWritten { path: target, error })
    }

    /// Returns the IPv4 routes of the main table: (destination, port), by `/proc/net/route`.
    pub fn routes(&self) -> Vec<(Ipv4Net, String)> {
        let table = self.read("/proc/net/route").unwrap_or_default();
        table.lines().skip(1).filter_map(route).collect()
    }

    /// Returns the port of the first default route, which has the smallest metric.
    pub fn default_route(&self) -> Option<String> {
        self.routes().into_iter().find(|(net, _)| net.prefix_len() == 0).map(|(_, port)| port)
    }
}

/// Requests `/healthz`, and returns the first bytes of the answer.
fn answer_start(at: SocketAddr) -> io::Result<[u8; 5]> {
    let mut stream = TcpStream::connect_timeout(&at, TIMEOUT)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    write!(stream, "GET /healthz HTTP/1.1\r\nHost: {at}\r\nConnection: close\r\n\r\n")?;
    let mut start = [0; 5];
    stream.read_exact(&mut start).map(|()| start)
}

/// Why [`Machine::act`] failed.
#[derive(Debug, thiserror::Error)]
pub enum ActError {
    #[error("{0}: {1}")]
    NotStarted(String, io::Error),
    #[error("{command}: {errors}")]
    Failed { command: String, errors: String },
}

/// Parses a line of `/proc/net/route`: Iface Destination Gateway Flags RefCnt Use Metric Mask …,
/// addresses as the hexadecimal of a 32-bit word in the machine's byte order.
fn route(line: &str) -> Option<(Ipv4Net, String)> {
    let fields: Vec<&str> = line.split_whitespace().collect();
    let address = |index: usize| -> Option<Ipv4Addr> {
        let word = u32::from_str_radix(fields.get(index)?, 16).ok()?;
        Some(Ipv4Addr::from(word.to_ne_bytes()))
    };
    let net = Ipv4Net::with_netmask(address(1)?, address(7)?).ok()?;
    Some((net, (*fields.first()?).to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_that_is_not_held_names_no_daemon() {
        let held = tempfile::tempdir().unwrap();
        let folder = held.path().to_owned();
        let held = InstanceLock::take(&folder).unwrap();
        let daemon = Machine::real().daemon(&folder);
        drop(held);
        let left = fs::read_to_string(folder.join("lock")).unwrap();
        let dead = Machine::real().daemon(&folder);
        assert_eq!((daemon, dead), (Some(std::process::id()), None));
        assert_eq!(left, std::process::id().to_string(), "the number stays");
    }

    #[test]
    fn routes_are_read_as_the_kernel_writes_them() {
        let line = "eth0\t0032A8C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0";
        if cfg!(target_endian = "little") {
            assert_eq!(route(line), Some(("192.168.50.0/24".parse().unwrap(), "eth0".to_owned())));
        }
        assert_eq!(route("eth0 x y"), None);
    }

    /// A link planted beside the settings is not followed, and a failed write leaves nothing
    /// behind.
    #[test]
    fn settings_are_written_atomically() {
        let held = tempfile::tempdir().unwrap();
        let root = held.path().to_owned();
        let machine = Machine::pretend(&root, &[]);
        machine.write("/etc/settings.toml", b"old\n").unwrap();
        std::os::unix::fs::symlink("/dev/full", root.join("etc/settings.toml.new")).unwrap();
        machine.write("/etc/settings.toml", b"new\n").unwrap();
        assert_eq!(machine.read("/etc/settings.toml").as_deref(), Some("new"));
        fs::create_dir_all(root.join("etc/settings.toml.new/full")).unwrap();
        let error = machine.write("/etc/settings.toml", b"newer\n").unwrap_err();
        let kept = machine.read("/etc/settings.toml");
        assert!(
            error.to_string().contains("settings.toml.new: a folder is in its place"),
            "{error}"
        );
        assert_eq!(kept.as_deref(), Some("new"));
    }
}
