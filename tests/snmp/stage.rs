//! A folder with an snmpd, a subagent and a daemon's status socket.

use std::cell::RefCell;
use std::io::Write;
use std::net::{IpAddr, Ipv4Addr};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use bramblegate::api::line;
use bramblegate::api::status::{Change, Node, NodeHealth, Severity, Snapshot};
use tempfile::TempDir;

use crate::{program, source};

/// The addresses of snmpd and snmptrapd, in a network namespace of their own.
const AGENT: &str = "udp:127.0.0.1:161";
const TRAPS: &str = "udp:127.0.0.1:162";

pub fn node(name: &str, number: u16, health: NodeHealth) -> Node {
    let [high, low] = number.to_be_bytes();
    Node {
        name: name.into(),
        address: Some(IpAddr::V4(Ipv4Addr::new(10, 1, high, low))),
        mac: Some(format!("02:00:00:00:{high:02x}:{low:02x}").into()),
        health: health.into(),
        rtt_us: Some(400 + u64::from(number)),
        since_s: 100,
        group: Some(format!("rack{high}").into()),
        ..Node::default()
    }
}

/// Returns a cluster without problems.
pub fn cluster(count: u16) -> Snapshot {
    let nodes = (0..count).map(|number| node(&format!("node{number}"), number, NodeHealth::Up));
    Snapshot { severity: Severity::Ok.into(), nodes: nodes.collect(), ..Snapshot::default() }
}

/// Waits until a condition holds.
pub fn eventually(patience: Duration, so: impl Fn() -> bool) {
    let deadline = Instant::now() + patience;
    while !so() {
        assert!(Instant::now() < deadline, "not within {patience:?}");
        thread::sleep(Duration::from_millis(20));
    }
}

/// The daemon's end of its status socket: a snapshot for each client, then changes.
pub struct Daemon {
    path: PathBuf,
    shared: Arc<Mutex<(Snapshot, Vec<UnixStream>)>>,
}

impl Daemon {
    pub fn new(path: &Path, status: &Snapshot) -> Self {
        let _ = std::fs::remove_file(path);
        let listener = UnixListener::bind(path).unwrap();
        let shared = Arc::new(Mutex::new((status.clone(), Vec::new())));
        let clients = Arc::clone(&shared);
        thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                let mut shared = clients.lock().unwrap();
                let _ = stream.write_all(&line(&shared.0));
                shared.1.push(stream);
            }
        });
        Self { path: path.to_owned(), shared }
    }

    /// Sends a change.
    pub fn change(&self, status: &Snapshot) {
        let mut shared = self.shared.lock().unwrap();
        let nodes = status.nodes.iter().filter(|node| !shared.0.nodes.contains(node)).cloned();
        let change = Change {
            severity: Some(status.severity.clone()),
            nodes: nodes.collect(),
            ..Change::default()
        };
        let bytes = line(&change);
        shared.1.retain_mut(|stream| stream.write_all(&bytes).is_ok());
        shared.0 = status.clone();
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
        for stream in self.shared.lock().unwrap().1.drain(..) {
            let _ = stream.shutdown(std::net::Shutdown::Both);
        }
    }
}

/// Everything of one case. The PID namespace ends what it starts, at the latest.
pub struct Stage {
    folder: TempDir,
    pub daemon: Option<Daemon>,
    snmpd: RefCell<Option<Child>>,
    agent: RefCell<Option<Child>>,
    trapd: RefCell<Option<Child>>,
}

impl Stage {
    pub fn new(status: Snapshot) -> Self {
        let folder = tempfile::tempdir().unwrap();
        for name in ["persistent", "empty", "mibs", "agentx"] {
            std::fs::create_dir(folder.path().join(name)).unwrap();
        }
        let mib = "BRAMBLEGATE-MIB.txt";
        std::fs::copy(source("docs/observability").join(mib), folder.path().join("mibs").join(mib))
            .unwrap();
        let stage = Self {
            daemon: None,
            snmpd: RefCell::default(),
            agent: RefCell::default(),
            trapd: RefCell::default(),
            folder,
        };
        let daemon = Daemon::new(&stage.beside("status"), &status);
        Self { daemon: Some(daemon), ..stage }
    }

    pub fn beside(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// snmpd's socket for subagents.
    pub fn socket(&self) -> PathBuf {
        self.beside("agentx/master")
    }

    pub fn daemon(&self) -> &Daemon {
        self.daemon.as_ref().unwrap()
    }

    /// Starts snmpd and the agent, and waits until it answers.
    pub fn start(&self) {
        self.snmpd();
        self.agent();
        let first = ".1.3.6.1.4.1.8072.9999.9999.7654.1.1.8.0";
        eventually(Duration::from_secs(10), || {
            self.ask_whatever(&format!("snmpget -Oqv @ {first}")).trim() == "1"
        });
    }

    fn spawn(&self, log: &str, command: &mut Command) -> Child {
        let log =
            std::fs::File::options().create(true).append(true).open(self.beside(log)).unwrap();
        command
            .env("SNMP_PERSISTENT_DIR", self.beside("persistent"))
            .env("SNMPCONFPATH", self.beside("empty"))
            .env("MIBS", "")
            .env("MIBDIRS", self.beside("mibs"))
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap_or_else(|error| panic!("{command:?}: {error}"))
    }

    pub fn snmpd(&self) {
        self.snmpd_at(&self.socket());
    }

    pub fn snmpd_at(&self, socket: &Path) {
        let settings = self.beside("snmpd.conf");
        let text = format!(
            "agentaddress {AGENT}\nmaster agentx\nagentXSocket unix:{}\nrocommunity public\n\
             rwcommunity private\ntrap2sink {TRAPS} public\n",
            socket.display()
        );
        std::fs::write(&settings, text).unwrap();
        let mut command = Command::new("snmpd");
        command.args(["-f", "-Lo", "-C", "-c"]).arg(settings);
        *self.snmpd.borrow_mut() = Some(self.spawn("snmpd.log", &mut command));
    }

    /// Ends it like a service manager.
    pub fn stop_snmpd(&mut self) {
        self.signal_snmpd("TERM");
        self.snmpd.borrow_mut().take().unwrap().wait().unwrap();
    }

    pub fn signal_snmpd(&self, signal: &str) {
        let id = self.snmpd.borrow().as_ref().unwrap().id().to_string();
        let sent = Command::new("kill").args(["-s", signal, &id]).status().unwrap();
        assert!(sent.success());
    }

    pub fn agent(&self) {
        let mut command = Command::new(program("bramblegate-snmp"));
        command.arg("--agentx").arg(self.socket()).arg("--status").arg(self.beside("status"));
        *self.agent.borrow_mut() = Some(self.spawn("agent.log", &mut command));
    }

    pub fn agent_lives(&self) -> bool {
        self.agent.borrow_mut().as_mut().unwrap().try_wait().unwrap().is_none()
    }

    pub fn agent_log(&self) -> String {
        std::fs::read_to_string(self.beside("agent.log")).unwrap()
    }

    pub fn trapd(&self) {
        let settings = self.beside("snmptrapd.conf");
        std::fs::write(&settings, "disableAuthorization yes\n").unwrap();
        let mut command = Command::new("snmptrapd");
        command.args(["-f", "-n", "-Lo", "-C", "-m", "BRAMBLEGATE-MIB", "-c"]).arg(settings);
        *self.trapd.borrow_mut() = Some(self.spawn("trapd.log", command.arg(TRAPS)));
        eventually(Duration::from_secs(5), || {
            std::fs::read_to_string("/proc/net/udp").unwrap().contains(":00A2 ")
        });
    }

    /// Waits until snmptrapd has logged this text; returns its whole log.
    pub fn notified(&self, text: &str) -> String {
        let log = || std::fs::read_to_string(self.beside("trapd.log")).unwrap();
        let deadline = Instant::now() + Duration::from_secs(20);
        while !log().contains(text) {
            assert!(Instant::now() < deadline, "no {text} in:\n{}", log());
            thread::sleep(Duration::from_millis(20));
        }
        log()
    }

    /// Runs a tool that has to succeed; `@` stands for the agent's address.
    pub fn ask(&self, line: &str) -> String {
        let output = self.tool(line);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && errors.is_empty(), "{line}: {errors}");
        String::from_utf8(output.stdout).expect("UTF-8")
    }

    /// Does the same, whether it succeeds or not.
    pub fn ask_whatever(&self, line: &str) -> String {
        let output = self.tool(line);
        String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
    }

    fn tool(&self, line: &str) -> std::process::Output {
        let community = if line.contains("-c ") { "" } else { "-v2c -c public " };
        let patience = if line.contains("-t ") { "" } else { "-t 5 " };
        let whom = format!("{community}{patience}-r 0 {AGENT}");
        let line = line.replace('@', &whom);
        let (tool, rest) = line.split_once(' ').unwrap();
        let mut command = Command::new(tool);
        command
            .args(rest.split(' ').filter(|word| !word.is_empty()))
            .env("SNMPCONFPATH", self.beside("empty"))
            .env("MIBS", "")
            .env("MIBDIRS", self.beside("mibs"))
            .env("SNMP_PERSISTENT_DIR", self.beside("persistent"));
        command.output().unwrap_or_else(|error| panic!("{tool}: {error}"))
    }

    /// Returns a node's health as snmpget prints it, or the error.
    pub fn health(&self, name: &str) -> String {
        let index: String = name.bytes().map(|byte| format!(".{byte}")).collect();
        let object = ".1.3.6.1.4.1.8072.9999.9999.7654.1.3.1.4";
        let line = format!("snmpget -Ov -t 0.3 @ {object}.{}{index}", name.len());
        self.ask_whatever(&line).trim().to_owned()
    }

    /// Sets up a machine with Debian's settings in a private mount namespace, where `systemctl`
    /// handles snmpd and the agent like their units.
    pub fn debian(&self) {
        let etc = self.beside("etc");
        std::fs::create_dir_all(etc.join("snmpd.conf.d")).unwrap();
        std::fs::write(etc.join("snmpd.conf"), debian_settings()).unwrap();
        must("mount", &["--bind", &etc.display().to_string(), "/etc/snmp"]);
        for place in ["/run", "/var/lib/snmp", "/etc/systemd/system"] {
            must("mount", &["-t", "tmpfs", "-o", "mode=755", "tmpfs", place]);
        }
        let groups = std::fs::read_to_string("/etc/group").unwrap();
        let groups: Vec<&str> =
            groups.lines().filter(|line| !line.starts_with("bramblegate:")).collect();
        let own = self.beside("group");
        std::fs::write(&own, format!("{}\nbramblegate:x:64999:\n", groups.join("\n"))).unwrap();
        must("mount", &["--bind", &own.display().to_string(), "/etc/group"]);
        must("chown", &["Debian-snmp:Debian-snmp", "/var/lib/snmp"]);
        let folder = self.beside("bin");
        std::fs::create_dir(&folder).unwrap();
        let agent = self.beside("bramblegate-snmp");
        std::fs::copy(program("bramblegate-snmp"), &agent).unwrap();
        std::os::unix::fs::symlink(program("bramblegate"), folder.join("bramblegate")).unwrap();
        let systemctl = SYSTEMCTL
            .replace("AGENT", &agent.display().to_string())
            .replace("LOG", &self.beside("agent.log").display().to_string())
            .replace("STATUS", &self.beside("status").display().to_string());
        self.script("systemctl", &systemctl);
        self.script("sudo", "exec \"$@\"");
        self.script("apt", "[ \"$*\" = 'install snmpd' ] && umount /usr/sbin/snmpd");
        // DynamicUser: the agent has no user of its own.
        must("chmod", &["755", &self.folder.path().display().to_string()]);
        must("chmod", &["666", &self.beside("status").display().to_string()]);
    }

    fn script(&self, name: &str, text: &str) {
        let path = self.beside("bin").join(name);
        std::fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
        must("chmod", &["755", &path.display().to_string()]);
    }

    /// Runs a line of shell on that machine; returns its output.
    pub fn sh(&self, line: &str) -> String {
        let path = format!("{}:/usr/sbin:/usr/bin:/sbin:/bin", self.beside("bin").display());
        let mut command = Command::new("sh");
        let output = command.args(["-c", line]).env("PATH", path).stdin(Stdio::null()).output();
        let output = output.unwrap();
        String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
    }

    /// Returns doctor's findings about SNMP: code and command.
    pub fn findings(&self) -> Vec<(String, String)> {
        let settings = self.beside("bramblegate.toml");
        let text = "uplink.interfaces = [\"up0\"]\ncluster.interface = \"down0\"\n";
        std::fs::write(&settings, text).unwrap();
        let report = self.sh(&format!("bramblegate doctor -j -c {}", settings.display()));
        let report: serde_json::Value =
            serde_json::from_str(report.lines().last().unwrap_or_default())
                .or_else(|_| serde_json::from_str(&report))
                .unwrap_or_else(|error| panic!("{error}: {report}"));
        let checks = report["checks"].as_array().unwrap();
        let findings = checks.iter().filter_map(|check| check["findings"].as_array()).flatten();
        findings
            .filter(|finding| finding["code"].as_str().unwrap().starts_with("host-snmp"))
            .map(|finding| {
                let remedy = finding["remedy"].as_str().unwrap();
                let command = remedy.split('`').nth(1).unwrap_or_else(|| panic!("{finding}"));
                (finding["code"].as_str().unwrap().to_owned(), command.to_owned())
            })
            .collect()
    }

    /// Expects only this finding, and runs its command.
    pub fn put_right(&self, code: &str) {
        let findings = self.findings();
        assert_eq!(findings.len(), 1, "{code}: {findings:?}");
        assert_eq!(findings[0].0, code, "{findings:?}");
        let printed = self.sh(&format!("set -e; {} >/dev/null; echo done", findings[0].1));
        assert!(printed.ends_with("done\n"), "{code}: {}: {printed}", findings[0].1);
    }
}

/// As in Debian's snmpd.service and the agent's unit.
const SYSTEMCTL: &str = r#"
stop() { [ ! -e /run/$1.pid ] || { kill $(cat /run/$1.pid); while grep -qs '^State:.[^Z]' /proc/$(cat /run/$1.pid)/status; do sleep 0.05; done; rm -f /run/$1.pid; }; }
case "$*" in
"restart snmpd" | "enable --now snmpd")
    stop snmpd; mkdir -p /run/agentx
    setsid snmpd -LOw -u Debian-snmp -g Debian-snmp -I -smux,mteTrigger,mteTriggerConf -f >/dev/null 2>&1 </dev/null &
    echo $! >/run/snmpd.pid; sleep 1 ;;
"stop snmpd") stop snmpd ;;
"enable --now bramblegate-snmp" | "enable --now bramblegate-snmp.service")
    stop bramblegate-snmp
    setsid setpriv --reuid 65500 --regid 65500 --groups bramblegate --no-new-privs --bounding-set=-all AGENT --status STATUS >>LOG 2>&1 </dev/null &
    echo $! >/run/bramblegate-snmp.pid; sleep 0.5 ;;
*) echo "systemctl $*: not here" >&2; exit 1 ;;
esac"#;

/// The content of the file in Debian's package, without comments.
fn debian_settings() -> String {
    let text = std::fs::read_to_string("/etc/snmp/snmpd.conf").unwrap();
    assert!(text.contains("includeDir /etc/snmp/snmpd.conf.d"), "not Debian's settings:\n{text}");
    text
}

fn must(program: &str, arguments: &[&str]) {
    let done = Command::new(program).args(arguments).status().unwrap();
    assert!(done.success(), "{program} {arguments:?}");
}
