//! The probes of the nodes: the cost of probing 40, 750 and 10,000 of them once a second, compared
//! with fping, Prometheus' blackbox exporter and a minimal C program; and the time to detect a dead
//! node.
//!
//! The nodes are addresses for which the kernel at the other end of a cable answers.

mod blackbox;

use std::fs;
use std::io::{BufRead, BufReader, ErrorKind};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use bramblegate_lab::inside::HOME;
use bramblegate_lab::shell::{Running, run, spawn, within};
use bramblegate_lab::{Error, Result};

use crate::lab::{Namespace, cable, fail, file, median, ms, program, pss, used, write};
use crate::table::Row;

/// (nodes, groups, nodes per group)
const SIZES: [(usize, u32, u32); 3] = [(40, 4, 10), (750, 5, 150), (10_000, 40, 250)];
/// The modes of fping: a packet each millisecond, the fastest allowed to ordinary users; or as fast
/// as possible.
const PACED: &str = "-i1";
const BURST: &str = "-i0";
const TURNS: usize = 3;
const WARM: Duration = Duration::from_millis(2500);
const WATCHED: Duration = Duration::from_secs(4);
/// The log of the gateway, and of the other programs, one after the other.
const LOG: &str = "sweep.log";
/// The number of deaths per size of cluster.
const DEATHS: u32 = 7;

pub fn measure() -> Result<Vec<Row>> {
    let room = Room::new()?;
    let floor = room.compile()?;
    let mut rows = Vec::new();
    for (count, groups, slots) in SIZES {
        rows.extend(room.compare(count, groups, slots, &floor)?);
    }
    for (count, groups, slots) in [(3, 1, 3), (40, 4, 10), (750, 5, 150)] {
        rows.push(room.deaths(count, groups, slots)?);
    }
    Ok(rows)
}

/// A head, and all nodes behind a router.
pub struct Room {
    pub head: Namespace,
    far: Namespace,
}

/// The measurements of one program over some seconds.
#[derive(Debug, Clone, Copy)]
struct Cost {
    /// Microseconds of processor time per packet sent.
    each: f64,
    /// The share of a core.
    core: f64,
    /// Memory in MiB.
    memory: f64,
}

impl Room {
    pub fn new() -> Result<Self> {
        let (head, far) = (Namespace::new("sweep")?, Namespace::new("sweep-nodes")?);
        cable(&head, "eth0", &far, "n0")?;
        head.ip("addr add 10.21.0.1/16 dev eth0\nroute add 10.21.0.2/32 dev eth0\nroute add 10.21.0.0/18 via 10.21.0.2 dev eth0")?;
        far.ip("addr add 10.21.0.2/16 dev n0")?;
        let local: Vec<String> =
            (1..=40).map(|group| format!("route add local 10.21.{group}.0/24 dev lo")).collect();
        far.ip(&local.join("\n"))?;
        far.nft(
            "table ip t {\nset dead { type ipv4_addr; }\n\
             chain c {\ntype filter hook prerouting priority -300\nip daddr @dead drop\n}\n}\n",
        )?;
        Ok(Self { head, far })
    }

    fn compile(&self) -> Result<PathBuf> {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/peers/sweep.c");
        let program = file("sweep");
        run("cc", &["-O2", "-o", &program.to_string_lossy(), &source.to_string_lossy()])?;
        Ok(program)
    }

    /// The gateway, fping and the minimal program take turns; one of a hundred nodes is dead.
    fn compare(&self, count: usize, groups: u32, slots: u32, floor: &Path) -> Result<Vec<Row>> {
        let addresses: Vec<String> = (1..=groups)
            .flat_map(|group| (1..=slots).map(move |slot| format!("10.21.{group}.{slot}")))
            .collect();
        let list = write("nodes.list", &(addresses.join("\n") + "\n"))?;
        let dead: Vec<&str> = addresses.iter().step_by(100).map(String::as_str).collect();
        self.far.nft(&format!(
            "flush set ip t dead\nadd element ip t dead {{ {} }}",
            dead.join(", ")
        ))?;
        let (list, most) = (list.to_string_lossy().into_owned(), count == 10_000);
        let exporter = !most && blackbox::is_here();
        let mut costs = [const { Vec::new() }; 5];
        for _ in 0..TURNS {
            costs[0].push(self.cost(&self.gateway(groups, slots, "interval = \"1s\"")?)?);
            costs[1].push(self.cost(&self.fping(&list, count, PACED)?)?);
            costs[2].push(self.cost(&self.other(&floor.to_string_lossy(), &[&list])?)?);
            if most {
                costs[3].push(self.cost(&self.fping(&list, count, BURST)?)?);
            }
            if exporter {
                let (program, _asker) = blackbox::start(self, &list)?;
                costs[4].push(self.cost(&program)?);
            }
        }
        let of = |who: usize, what: fn(&Cost) -> f64| {
            median(&costs[who].iter().map(what).collect::<Vec<_>>())
        };
        let each = |who| of(who, |cost| cost.each);
        let row = Row::new(format!("CPU a probe, {count} nodes every second"), each(0), "us")
            .against("fping -l -i1", each(1));
        let ratio = each(0) / each(2);
        let limit = format!("C, sendmmsg (ours {ratio:.2}x)");
        let row = row.limit(limit, each(2));
        let mut rows = vec![match most {
            true => row.target("<= fping / 4, <= 1.5x C", each(0) * 4.0 <= each(1) && ratio <= 1.5),
            false => row,
        }];
        if most {
            let row = Row::new("CPU a probe, against fping all at once", each(0), "us");
            rows.push(row.against("fping -l -i0, every 3 s", each(3)));
        }
        if exporter {
            let row = Row::new(
                format!("CPU a probe, {count} nodes, against the blackbox exporter"),
                each(0),
                "us",
            );
            rows.push(row.against("blackbox_exporter, asked by HTTP", each(4)));
        }
        let (core, memory) = (of(0, |cost| cost.core), of(0, |cost| cost.memory));
        let row = Row::new(format!("CPU, {count} nodes every second"), core, "% of a core");
        let row = row.limit("C, sendmmsg", of(2, |cost| cost.core));
        rows.push(if most { row.target("<= 12 %", core <= 12.0) } else { row });
        let row = Row::new(format!("memory (PSS), {count} nodes"), memory, "MiB");
        let row = row.against("fping -l", of(1, |cost| cost.memory));
        rows.push(if most { row.target("<= 30 MB", memory * 1.048_576 <= 30.0) } else { row });
        Ok(rows)
    }

    /// fping in its loop mode. It has 65,535 sequence numbers and does not reuse one for ten
    /// seconds; it ends if they do not suffice. Ten thousand each second are too many, and so are
    /// ten thousand every other second on a machine so busy that late rounds run into each other
    /// (fping 5.1).
    fn fping(&self, list: &str, count: usize, pace: &str) -> Result<Running> {
        let period = match pace {
            BURST => 3000,
            _ => (count * 11 / 10).max(1000),
        };
        self.other("fping", &["-l", "-q", "-r", "0", "-f", list, pace, "-p", &period.to_string()])
    }

    fn other(&self, program: &str, arguments: &[&str]) -> Result<Running> {
        let mut shell = within(&self.head.0, "sh");
        shell.args(["-c", "exec \"$0\" \"$@\" >/dev/null", program]).args(arguments);
        spawn(&mut shell, &file(LOG))
    }

    /// Starts the gateway with so many groups of so many nodes; its status socket is `sweep.sock`.
    pub fn gateway(&self, groups: u32, slots: u32, health: &str) -> Result<Running> {
        let settings = write("sweep.toml", &settings(groups, slots, health))?;
        let mut command = within(&self.head.0, &program().to_string_lossy());
        command.args(["run".as_ref(), "-c".as_ref(), settings.as_os_str()]);
        for (variable, folder) in
            [("STATE_DIRECTORY", "sweep-state"), ("RUNTIME_DIRECTORY", "sweep-run")]
        {
            fs::create_dir_all(file(folder)).map_err(fail(folder))?;
            command.env(variable, file(folder));
        }
        command.env_remove("NOTIFY_SOCKET").env_remove("JOURNAL_STREAM");
        spawn(&mut command, &file(LOG))
    }

    /// Returns the cost of a running program from now on, without its start.
    fn cost(&self, program: &Running) -> Result<Cost> {
        self.watch(program).map_err(|error| {
            let text = fs::read_to_string(file(LOG)).unwrap_or_default();
            let last = text.lines().last().unwrap_or_default();
            Error(format!("{error}; printed last: {last:?}"))
        })
    }

    fn watch(&self, program: &Running) -> Result<Cost> {
        std::thread::sleep(WARM);
        let (cpu, packets) = (used(program.id())?.cpu, self.sent()?);
        std::thread::sleep(WATCHED);
        let cpu = (used(program.id())?.cpu - cpu).as_secs_f64();
        let packets = (self.sent()? - packets) as f64;
        Ok(Cost {
            each: cpu * 1e6 / packets,
            core: cpu * 100.0 / WATCHED.as_secs_f64(),
            memory: pss(program.id())?,
        })
    }

    /// Returns the number of packets sent to the nodes.
    fn sent(&self) -> Result<u64> {
        let text = self.head.sh("cat /sys/class/net/eth0/statistics/tx_packets")?;
        text.trim().parse().map_err(fail("packets sent"))
    }

    /// Returns the time until a node's death is reported, with default settings.
    fn deaths(&self, count: usize, groups: u32, slots: u32) -> Result<Row> {
        self.far.nft("flush set ip t dead")?;
        // The same few nodes die repeatedly, which must not count as flapping.
        let _gateway = self.gateway(groups, slots, "flap_changes = 1000")?;
        let mut stream = Stream::open()?;
        stream
            .until(Duration::from_secs(20), |line| line.matches("\"health\":\"up\"").count() > 0)?;
        std::thread::sleep(Duration::from_secs(3));
        let mut times = Vec::new();
        for death in 0..DEATHS {
            let (group, slot) = (1 + death % groups, 1 + (death * 7) % slots);
            let name = format!("\"name\":\"rack{group}-{slot}\"");
            stream.drain()?;
            let begin = Instant::now();
            self.far.nft(&format!("add element ip t dead {{ 10.21.{group}.{slot} }}"))?;
            stream.until(Duration::from_secs(10), |line| reports(line, &name, "down"))?;
            times.push(ms(begin.elapsed()));
            self.far.nft("flush set ip t dead")?;
            stream.until(Duration::from_secs(10), |line| reports(line, &name, "up"))?;
            std::thread::sleep(Duration::from_millis(400 + 73 * u64::from(death)));
        }
        let worst = times.iter().copied().fold(0.0, f64::max);
        let row = Row::new(format!("death of one of {count} nodes noticed"), median(&times), "ms");
        Ok(row.target(format!("<= 1000 ms each time ({worst:.0})"), worst <= 1000.0))
    }
}

/// Returns whether a line of the status reports this health of a node.
fn reports(line: &str, name: &str, health: &str) -> bool {
    let node = line.split('{').find(|object| object.contains(name));
    node.is_some_and(|node| node.contains(&format!("\"health\":\"{health}\"")))
}

pub fn settings(groups: u32, slots: u32, health: &str) -> String {
    let numbers = (1..=groups).map(|number| {
        format!("[[group]]\nname = \"rack{number}\"\nslots = \"1-{slots}\"\naddress = \"10.21.{number}.{{slot}}\"\n")
    });
    format!(
        "board = \"emulated\"\n[uplink]\ninterfaces = [\"eth1\"]\ncheck = false\n\
         [cluster]\ninterface = \"eth0\"\naddress = \"10.21.0.1/16\"\n{}[lcd]\nbus = \"off\"\n[led]\ndevice = \"off\"\n\
         [sockets]\nstatus = \"{HOME}/sweep.sock\"\n[health]\n{health}\n",
        numbers.collect::<String>()
    )
}

/// The lines of the status socket.
struct Stream {
    reader: BufReader<UnixStream>,
    /// The received part of the next line.
    partial: String,
}

impl Stream {
    fn open() -> Result<Self> {
        let begin = Instant::now();
        loop {
            match UnixStream::connect(file("sweep.sock")) {
                Ok(stream) => {
                    return Ok(Self { reader: BufReader::new(stream), partial: String::new() });
                }
                Err(_) if begin.elapsed() < Duration::from_secs(10) => {
                    std::thread::sleep(Duration::from_millis(20))
                }
                Err(error) => return Err(Error(format!("sweep.sock: {error}"))),
            }
        }
    }

    /// Returns the next line; `None` after the timeout.
    fn line(&mut self, patience: Duration) -> Result<Option<String>> {
        let patience = patience.max(Duration::from_millis(1));
        self.reader.get_ref().set_read_timeout(Some(patience)).map_err(fail("sweep.sock"))?;
        match self.reader.read_line(&mut self.partial) {
            Ok(_) if self.partial.ends_with('\n') => Ok(Some(std::mem::take(&mut self.partial))),
            Ok(_) => {
                let rest = self.partial.len();
                Err(Error(format!("sweep.sock: closed by the gateway {rest} bytes into a line")))
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(Error(format!("sweep.sock: {error}"))),
        }
    }

    fn drain(&mut self) -> Result<()> {
        while self.line(Duration::from_millis(5))?.is_some() {}
        Ok(())
    }

    fn until(&mut self, patience: Duration, wanted: impl Fn(&str) -> bool) -> Result<()> {
        let begin = Instant::now();
        while begin.elapsed() < patience {
            let line = self.line(patience.saturating_sub(begin.elapsed()))?;
            if line.is_some_and(|line| wanted(&line)) {
                return Ok(());
            }
        }
        Err(Error(format!("not reported within {patience:?}")))
    }
}
