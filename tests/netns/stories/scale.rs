//! Clusters of 4, 40, 750 and 10,000 nodes, some of them dead, slow or flapping: every health is
//! right. In a long form, with nodes that come and go all the time (`make soak`), memory stays flat
//! and no change is lost.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use bramblegate::api::status::{Line, Node};
use bramblegate_lab::inside::{self, HOME};
use bramblegate_lab::shell::{Running, ip, spawn, within};
use bramblegate_lab::watch::{self, Watch};
use bramblegate_lab::{Error, Result};

use super::scene::ensure;
use crate::responder::{Cluster, Nature, STAY, clock};

/// The seconds of the long form; set by `make soak`.
pub const SOAK: &str = "BRAMBLEGATE_SOAK";

pub fn four() -> Result<()> {
    short(Cluster { groups: 2, slots: 2, flap: (1500, 1200), wandering: false }, "")
}

pub fn forty() -> Result<()> {
    short(Cluster { groups: 4, slots: 10, flap: (1500, 1200), wandering: false }, "")
}

pub fn seven_hundred_and_fifty() -> Result<()> {
    short(Cluster { groups: 5, slots: 150, flap: (1500, 1200), wandering: false }, "")
}

pub fn ten_thousand() -> Result<()> {
    let cluster = Cluster { groups: 40, slots: 250, flap: (4500, 3500), wandering: false };
    short(cluster, "interval = \"1s\"\nflap_changes = 2\n")
}

/// Ten thousand nodes, for the duration from the environment.
pub fn soak() -> Result<()> {
    let seconds = std::env::var(SOAK).ok().and_then(|text| text.parse().ok()).unwrap_or(600);
    let cluster = Cluster { groups: 40, slots: 250, flap: (5000, 4000), wandering: true };
    // A slow node's answer to a second try has to arrive within the round too: with a fiftieth of
    // all pings lost, one of a hundred slow nodes would lose three rounds in a row by chance.
    let room = Room::new(cluster, "interval = \"1s\"\ntimeout = \"400ms\"\n")?;
    room.settle(Duration::from_secs(75))?;
    let mut stream = Stream::open(&room.socket())?;
    let before = room.memory()?;
    let cpu = room.cpu()?;
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(seconds) {
        stream.read(Duration::from_secs(20))?;
        let wrong = room.wrong(&stream.health);
        println!(
            "{:4} s: {} KiB, {} verdicts wrong",
            start.elapsed().as_secs(),
            room.memory()?,
            wrong.len()
        );
        ensure(&format!("every verdict right: {wrong:?}"), wrong.is_empty())?;
    }
    let used = (room.cpu()? - cpu) / start.elapsed().as_secs_f64() * 100.0;
    let after = room.memory()?;
    println!(
        "{used:.1} % of a core; {before} KiB at the beginning, {after} KiB at the end; {} changes",
        stream.changes
    );
    ensure("no healthy node was ever said to be down", stream.false_alarms(cluster).is_empty())?;
    ensure("memory is flat", after <= before + before / 20)?;
    stream.read(Duration::from_millis(300))?;
    let snapshot = health(&watch::snapshot(&room.socket())?.nodes);
    stream.read(Duration::from_millis(500))?;
    let differing =
        snapshot.iter().filter(|(name, health)| stream.health.get(*name) != Some(health)).count();
    // A change between the snapshot and the last line that was read.
    ensure(&format!("the changes lead to the snapshot ({differing} differ)"), differing < 100)
}

fn short(cluster: Cluster, more: &str) -> Result<()> {
    Room::new(cluster, more)?.settle(Duration::from_secs(25))
}

/// A head, and all nodes in one process at the other end of its cable.
struct Room {
    cluster: Cluster,
    gateway: Running,
    _nodes: Running,
}

impl Room {
    fn new(cluster: Cluster, more: &str) -> Result<Self> {
        inside::furnish()?;
        ip(
            "",
            "netns add head\nnetns add far\n\
             link add eth0 netns head type veth peer name n0 netns far",
        )?;
        ip("far", "link set lo up\naddr add 10.21.0.2/16 dev n0\nlink set n0 up")?;
        // Routed, like a room of ten thousand: the kernel's neighbour table has a thousand entries.
        let head = "link set lo up\nlink set eth0 up\naddr add 10.21.0.1/16 dev eth0\n\
                    route add 10.21.0.2/32 dev eth0\nroute add 10.21.0.0/18 via 10.21.0.2 dev eth0";
        ip("head", head)?;
        let program = std::env::current_exe().map_err(|error| Error(error.to_string()))?;
        let mut nodes = within("far", &program.to_string_lossy());
        let nodes = spawn(
            nodes.args(cluster.arguments("n0")),
            &PathBuf::from(format!("{HOME}/nodes.log")),
        )?;
        fs::write(format!("{HOME}/head.toml"), settings(cluster, more))
            .map_err(|error| Error(error.to_string()))?;
        let mut gateway = within("head", &crate::program().to_string_lossy());
        gateway
            .args(["run", "-c", &format!("{HOME}/head.toml")])
            .env_remove("NOTIFY_SOCKET")
            .env_remove("JOURNAL_STREAM");
        for (variable, folder) in [("STATE_DIRECTORY", "state"), ("RUNTIME_DIRECTORY", "run")] {
            let folder = format!("{HOME}/{folder}");
            fs::create_dir_all(&folder).map_err(|error| Error(error.to_string()))?;
            gateway.env(variable, folder);
        }
        let gateway = spawn(&mut gateway, Path::new(&format!("{HOME}/journal.log")))?;
        Ok(Self { cluster, gateway, _nodes: nodes })
    }

    fn socket(&self) -> PathBuf {
        PathBuf::from(format!("{HOME}/status.sock"))
    }

    /// Waits until the health of every node is right, and stays so for a while.
    fn settle(&self, patience: Duration) -> Result<()> {
        let start = Instant::now();
        let (mut right, mut wrong) = (0, vec!["nothing was reported".to_owned()]);
        while right < 3 {
            if start.elapsed() > patience {
                println!(
                    "{}",
                    fs::read_to_string(format!("{HOME}/journal.log")).unwrap_or_default()
                );
                let some: Vec<_> = wrong.iter().take(20).collect();
                return Err(Error(format!(
                    "{} verdicts wrong after {patience:?}: {some:?}",
                    wrong.len()
                )));
            }
            std::thread::sleep(Duration::from_millis(700));
            let Ok(snapshot) = watch::snapshot(&self.socket()) else { continue };
            wrong = self.wrong(&health(&snapshot.nodes));
            right = if wrong.is_empty() { right + 1 } else { 0 };
        }
        println!("every verdict right after {:?}, {} KiB", start.elapsed(), self.memory()?);
        Ok(())
    }

    /// Returns the nodes with a wrong health.
    fn wrong(&self, reported: &HashMap<String, String>) -> Vec<String> {
        let (cluster, now) = (self.cluster, clock());
        let mut wrong = Vec::new();
        for group in 1..=cluster.groups {
            for slot in 1..=cluster.slots {
                let right = match cluster.nature(group, slot) {
                    Nature::Healthy => "up",
                    Nature::Dead => "down",
                    Nature::Slow | Nature::Flapping => "degraded",
                    // It may have changed a moment ago.
                    Nature::Wandering if now % STAY < 12_000 => continue,
                    Nature::Wandering if cluster.answers(group, slot, now) => "up",
                    Nature::Wandering => "down",
                };
                let name = format!("rack{group}-{slot}");
                let health = reported.get(&name).map_or("not reported", String::as_str);
                if health != right {
                    wrong.push(format!("{name} is {health}, not {right}"));
                }
            }
        }
        wrong
    }

    /// Returns the resident memory of the gateway, in KiB.
    fn memory(&self) -> Result<u64> {
        let text =
            fs::read_to_string(format!("/proc/{}/status", self.gateway.id())).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
        kib.ok_or_else(|| Error("the gateway has ended".into()))
    }

    /// Returns the seconds of processor time that it has used.
    fn cpu(&self) -> Result<f64> {
        let text = fs::read_to_string(format!("/proc/{}/schedstat", self.gateway.id()))
            .unwrap_or_default();
        let nanos: Option<f64> = text.split_whitespace().next().and_then(|text| text.parse().ok());
        nanos.map(|nanos| nanos / 1e9).ok_or_else(|| Error("the gateway has ended".into()))
    }
}

fn settings(cluster: Cluster, more: &str) -> String {
    format!(
        "board = \"emulated\"\n[uplink]\ninterfaces = [\"eth1\"]\ncheck = false\n\
         [cluster]\ninterface = \"eth0\"\naddress = \"10.21.0.1/16\"\n\
         [[group]]\nname = \"rack\"\ngroups = \"1-{}\"\nnodes = \"1-{}\"\n\
         node_address = \"10.21.{{group}}.{{slot}}\"\n\
         [lcd]\nbus = \"off\"\n[led]\ndevice = \"off\"\n[sockets]\nstatus = \"{HOME}/status.sock\"\n\
         [health]\nboot_grace = \"2s\"\n{more}",
        cluster.groups, cluster.slots
    )
}

/// Returns name and health of each of these.
fn health(nodes: &[Node]) -> HashMap<String, String> {
    nodes.iter().map(|node| (node.name.to_string(), node.health.to_string())).collect()
}

/// The stream of changes of the status socket.
struct Stream {
    lines: Watch,
    health: HashMap<String, String>,
    sequence: Option<u64>,
    changes: usize,
    /// Nodes that were ever reported to be down.
    down: Vec<String>,
}

impl Stream {
    fn open(socket: &Path) -> Result<Self> {
        let lines = Watch::open(socket)?;
        Ok(Self { lines, health: HashMap::new(), sequence: None, changes: 0, down: Vec::new() })
    }

    /// Reads for this duration; checks that the changes are numbered consecutively.
    fn read(&mut self, time: Duration) -> Result<()> {
        let end = Instant::now() + time;
        while let Some(left) =
            end.checked_duration_since(Instant::now()).filter(|left| !left.is_zero())
        {
            self.lines.patience(left);
            match self.lines.next_line()? {
                Some(Line::Snapshot(snapshot)) => self.take(&snapshot.nodes),
                Some(Line::Change(change)) => {
                    let (number, before) = (change.seq, self.sequence);
                    let follows = before.is_none_or(|before| number == before + 1);
                    ensure(&format!("line {number} follows {before:?}"), follows)?;
                    self.sequence = Some(number);
                    self.take(&change.nodes);
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn take(&mut self, nodes: &[Node]) {
        for (name, health) in health(nodes) {
            self.changes += 1;
            if health == "down" {
                self.down.push(name.clone());
            }
            self.health.insert(name, health);
        }
    }

    /// Returns the healthy nodes among those that were reported to be down.
    fn false_alarms(&self, cluster: Cluster) -> Vec<&String> {
        let healthy = |name: &&String| {
            let (group, slot) = name.trim_start_matches("rack").split_once('-').unwrap_or_default();
            let (group, slot) = (group.parse().unwrap_or(1), slot.parse().unwrap_or(1));
            matches!(cluster.nature(group, slot), Nature::Healthy | Nature::Slow)
        };
        self.down.iter().filter(healthy).collect()
    }
}
