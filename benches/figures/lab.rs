//! Namespaces, programs and clocks of the benchmarks.

use std::fs;
use std::net::{IpAddr, Ipv6Addr};
use std::os::fd::AsFd;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bramblegate::decide::firewall::TABLE;
use bramblegate::netlink::netfilter::GROUP_NFTABLES;
use bramblegate::netlink::{Protocol, Socket, messages};
use bramblegate_lab::inside::HOME;
use bramblegate_lab::shell::{Running, feed, run, spawn, within};
use bramblegate_lab::{Error, Result, inside};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::thread::LinkNameSpaceType;

/// The program under test: the one just built, or the one in `BRAMBLEGATE_PROGRAM`.
pub fn program() -> PathBuf {
    std::env::var_os("BRAMBLEGATE_PROGRAM")
        .map_or_else(|| env!("CARGO_BIN_EXE_bramblegate").into(), PathBuf::from)
}

/// Prepares the private mount namespace, with the group that the package makes
/// (`systemd/bramblegate.sysusers`): to look up a missing one, getgrnam(3) would load the libraries
/// of further databases into the daemon.
pub fn furnish() -> Result<()> {
    inside::furnish()?;
    let groups = fs::read_to_string("/etc/group").map_err(fail("/etc/group"))?;
    if !groups.lines().any(|line| line.starts_with("bramblegate:")) {
        let own = write("group", &format!("{groups}bramblegate:x:64321:\n"))?;
        run("mount", &["--bind", &own.to_string_lossy(), "/etc/group"])?;
    }
    run("ip", &["link", "set", "lo", "up"]).map(drop)
}

/// Any error as ours.
pub fn fail<E: std::fmt::Display>(what: &str) -> impl FnOnce(E) -> Error {
    move |error| Error(format!("{what}: {error}"))
}

/// Returns the median.
pub fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    match sorted.len() {
        0 => f64::NAN,
        count if count % 2 == 1 => sorted[count / 2],
        count => f64::midpoint(sorted[count / 2 - 1], sorted[count / 2]),
    }
}

/// Returns the median of the ratios round by round, in which slow drifts of the machine cancel out.
pub fn paired(ours: &[f64], theirs: &[f64]) -> f64 {
    median(&ours.iter().zip(theirs).map(|(ours, theirs)| ours / theirs).collect::<Vec<_>>())
}

/// Returns milliseconds.
pub fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// Returns nanoseconds of CLOCK_REALTIME, as in the emulators' logs.
pub fn stamp() -> u128 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos()
}

/// A file of the private mount namespace.
pub fn file(name: &str) -> PathBuf {
    PathBuf::from(format!("{HOME}/{name}"))
}

/// Writes such a file.
pub fn write(name: &str, text: &str) -> Result<PathBuf> {
    let path = file(name);
    fs::write(&path, text).map_err(fail(name))?;
    Ok(path)
}

/// A named network namespace with `lo` up; dropping this deletes it.
#[derive(Debug)]
pub struct Namespace(pub String);

impl Namespace {
    pub fn new(name: &str) -> Result<Self> {
        run("ip", &["netns", "add", name])?;
        let namespace = Self(name.to_owned());
        namespace.ip("link set lo up")?;
        Ok(namespace)
    }

    /// Runs lines of `ip` commands.
    pub fn ip(&self, lines: &str) -> Result<()> {
        bramblegate_lab::shell::ip(&self.0, lines)
    }

    /// Runs a line of shell that must succeed.
    pub fn sh(&self, line: &str) -> Result<String> {
        bramblegate_lab::shell::must(&self.0, line)
    }

    /// Loads rules with nft.
    pub fn nft(&self, rules: &str) -> Result<()> {
        feed("ip", &["netns", "exec", &self.0, "nft", "-f", "-"], rules).map(drop)
    }

    /// Runs a function on a thread in the namespace; sockets and processes made there stay there.
    pub fn on<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
        self.thread(work)?.join().map_err(|_| Error("a thread of the bench panicked".into()))
    }

    /// Like [`Namespace::on`], without waiting.
    pub fn thread<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<std::thread::JoinHandle<T>> {
        let path = format!("/run/netns/{}", self.0);
        let namespace = fs::File::open(&path).map_err(fail(&path))?;
        let (report, reported) = std::sync::mpsc::channel();
        let handle = std::thread::spawn(move || {
            let kind = Some(LinkNameSpaceType::Network);
            let _ = report.send(rustix::thread::move_into_link_name_space(namespace.as_fd(), kind));
            work()
        });
        reported.recv().map_err(fail("setns"))?.map_err(fail("setns"))?;
        Ok(handle)
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let _ = run("ip", &["netns", "del", &self.0]);
    }
}

/// Connects two namespaces by a veth pair.
pub fn cable(left: &Namespace, left_port: &str, right: &Namespace, right_port: &str) -> Result<()> {
    let (a, b) = (&left.0, &right.0);
    let line = format!("link add {left_port} netns {a} type veth peer name {right_port} netns {b}");
    bramblegate_lab::shell::ip("", &line)?;
    left.ip(&format!("link set {left_port} up"))?;
    right.ip(&format!("link set {right_port} up"))
}

/// Makes the `index`th chain of node, head and venue: the node's `e0` leads to the head's `eth0`,
/// the head's `eth1` to the venue's `v0`. They have IPv4, and the head forwards it.
pub fn way(index: usize) -> Result<[Namespace; 3]> {
    let [node, head, venue] =
        ["node", "head", "venue"].map(|place| Namespace::new(&format!("{place}{index}")));
    let (node, head, venue) = (node?, head?, venue?);
    cable(&node, "e0", &head, "eth0")?;
    cable(&head, "eth1", &venue, "v0")?;
    node.ip("addr add 192.168.50.11/24 dev e0\nroute add default via 192.168.50.1")?;
    head.ip("addr add 192.168.50.1/24 dev eth0")?;
    head.sh("sysctl -qw net.ipv4.ip_forward=1")?;
    Ok([node, head, venue])
}

/// The venue's IPv6 address in such a chain, as a node sees it.
pub const VENUE_6: IpAddr = IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 7, 0, 0, 0, 0, 1));

/// Adds IPv6, which the head forwards: a unique local network for the node, a global one for the
/// venue.
pub fn add_ipv6(node: &Namespace, head: &Namespace, venue: &Namespace) -> Result<()> {
    node.ip("addr add fd12::11/64 dev e0 nodad\nroute add default via fd12::1")?;
    head.ip("addr add fd12::1/64 dev eth0 nodad\naddr add 2001:db8:7::2/64 dev eth1 nodad")?;
    venue.ip("addr add 2001:db8:7::1/64 dev v0 nodad")?;
    head.sh("sysctl -qw net.ipv6.conf.all.forwarding=1").map(drop)
}

/// A head with a venue on eth1 and the three nodes of a cluster on eth0.
#[derive(Debug)]
pub struct Head {
    pub namespace: Namespace,
    pub venue: Namespace,
    pub nodes: Namespace,
}

/// The head's first address in the venue.
pub const FIRST: &str = "10.99.0.126";

impl Head {
    pub fn new(name: &str) -> Result<Self> {
        let namespace = Namespace::new(name)?;
        let venue = Namespace::new(&format!("{name}-venue"))?;
        let nodes = Namespace::new(&format!("{name}-nodes"))?;
        cable(&namespace, "eth1", &venue, "v0")?;
        cable(&namespace, "eth0", &nodes, "n0")?;
        venue.ip("addr add 10.99.0.1/24 dev v0")?;
        nodes.ip(
            "addr add 192.168.50.11/24 dev n0\naddr add 192.168.50.12/24 dev n0\naddr add 192.168.50.13/24 dev n0",
        )?;
        namespace.ip(&format!("addr add {FIRST}/24 dev eth1\nroute add default via 10.99.0.1"))?;
        Ok(Self { namespace, venue, nodes })
    }

    /// Returns the settings of a minimal gateway, with `more` at the end (in any table). The keys
    /// have their former names, which older builds read too.
    pub fn settings(&self, more: &str) -> Result<PathBuf> {
        let name = &self.namespace.0;
        let text = format!(
            "board = \"emulated\"\n[uplink]\ninterfaces = [\"eth1\"]\nprobe = \"off\"\n[cluster]\ninterface = \"eth0\"\n\
             [status]\nsocket = \"{HOME}/{name}.sock\"\n"
        );
        write(&format!("{name}.toml"), &text)?;
        fs::create_dir_all(file(&format!("{name}.toml.d"))).map_err(fail("settings"))?;
        write(&format!("{name}.toml.d/50-more.toml"), more)?;
        Ok(file(&format!("{name}.toml")))
    }

    /// Returns `bramblegate run` with these settings, to be spawned on a thread of the head's.
    pub fn command(&self, settings: &Path) -> Command {
        let mut command = Command::new(program());
        self.prepare(&mut command, settings);
        command
    }

    fn prepare(&self, command: &mut Command, settings: &Path) {
        for folder in ["state", "run"] {
            let path = file(&format!("{}-{folder}", self.namespace.0));
            let _ = fs::create_dir_all(&path);
            command
                .env(if folder == "state" { "STATE_DIRECTORY" } else { "RUNTIME_DIRECTORY" }, path);
        }
        command
            .args(["run".as_ref(), "-c".as_ref(), settings.as_os_str()])
            .env_remove("NOTIFY_SOCKET");
        command.env_remove("JOURNAL_STREAM").stdin(std::process::Stdio::null());
    }

    /// Starts the gateway and waits until it is ready.
    pub fn start(&self, more: &str) -> Result<Running> {
        self.start_in(more, &[])
    }

    /// Starts the gateway with more environment variables.
    pub fn start_in(&self, more: &str, more_environment: &[(&str, &str)]) -> Result<Running> {
        self.start_program(&program(), more, more_environment)
    }

    /// Starts another build of the gateway.
    pub fn start_program(
        &self,
        program: &Path,
        more: &str,
        more_environment: &[(&str, &str)],
    ) -> Result<Running> {
        let settings = self.settings(more)?;
        let name = &self.namespace.0;
        let path = file(&format!("{name}.notify"));
        let _ = fs::remove_file(&path);
        let socket = UnixDatagram::bind(&path).map_err(fail("notify socket"))?;
        socket.set_read_timeout(Some(Duration::from_secs(10))).map_err(fail("notify socket"))?;
        let mut command = within(name, &program.to_string_lossy());
        self.prepare(&mut command, &settings);
        let log = file(&format!("{name}.journal"));
        let running = spawn(
            command.env("NOTIFY_SOCKET", &path).envs(more_environment.iter().copied()),
            &log,
        )?;
        let mut buffer = [0; 4096];
        loop {
            let Ok(length) = socket.recv(&mut buffer) else {
                let logged = fs::read_to_string(&log).unwrap_or_default();
                return Err(Error(format!(
                    "the gateway did not become ready in 10 s; it said:\n{}",
                    logged.trim()
                )));
            };
            if buffer[..length].windows(7).any(|window| window == b"READY=1") {
                return Ok(running);
            }
        }
    }
}

/// Listens to changes of the gateway's table in a namespace.
#[derive(Debug)]
pub struct Ear(Socket);

/// A change of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Heard {
    Made,
    Deleted,
}

impl Ear {
    /// Starts to listen.
    pub fn new(namespace: &Namespace) -> Result<Self> {
        namespace
            .on(|| Socket::open(Protocol::Netfilter, &[GROUP_NFTABLES]))?
            .map(Self)
            .map_err(fail("nfnetlink"))
    }

    /// Waits for the next of these changes; returns when it was received.
    pub fn hear(&mut self, wanted: Heard, patience: Duration) -> Option<Instant> {
        let deadline = Instant::now() + patience;
        loop {
            let left = deadline.checked_duration_since(Instant::now())?;
            let mut fds = [PollFd::new(&self.0, PollFlags::IN)];
            let timeout = rustix::event::Timespec {
                tv_sec: 0,
                tv_nsec: left.as_nanos().min(100_000_000) as i64,
            };
            poll(&mut fds, Some(&timeout)).ok()?;
            let now = Instant::now();
            while let Ok(Some(datagram)) = self.0.receive() {
                let found = messages(datagram).any(|message| {
                    // NFT_MSG_NEWTABLE and NFT_MSG_DELTABLE of NFNL_SUBSYS_NFTABLES.
                    let kind = if wanted == Heard::Made { 10 << 8 } else { 10 << 8 | 2 };
                    message.kind == kind
                        && message.attributes().text(1).is_some_and(|name| name == TABLE)
                });
                if found {
                    return Some(now);
                }
            }
        }
    }
}

/// The resources that a process has used so far, all threads together.
#[derive(Debug, Clone, Copy)]
pub struct Used {
    pub wakeups: u64,
    pub cpu: Duration,
}

/// Reads it from `/proc`.
pub fn used(pid: u32) -> Result<Used> {
    let mut used = Used { wakeups: 0, cpu: Duration::ZERO };
    for task in
        fs::read_dir(format!("/proc/{pid}/task")).map_err(fail("the process has ended"))?.flatten()
    {
        let status = fs::read_to_string(task.path().join("status")).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
        used.wakeups += line.and_then(|count| count.trim().parse::<u64>().ok()).unwrap_or(0);
        let schedstat = fs::read_to_string(task.path().join("schedstat")).unwrap_or_default();
        let nanos = schedstat.split_whitespace().next().and_then(|nanos| nanos.parse().ok());
        used.cpu += Duration::from_nanos(nanos.unwrap_or(0));
    }
    Ok(used)
}

/// Returns the proportional set size in MiB.
pub fn pss(pid: u32) -> Result<f64> {
    let path = format!("/proc/{pid}/smaps_rollup");
    let text = fs::read_to_string(&path).map_err(fail(&path))?;
    let line = text.lines().find_map(|line| line.strip_prefix("Pss:"));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<f64>().ok());
    kib.map(|kib| kib / 1024.0).ok_or_else(|| Error(format!("{path} has no Pss")))
}
