//! A thousand viewers of the status page of 750 nodes, ten of which change each second: the cost of
//! the page's server, and the delay until its viewers see a change.

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bramblegate::api::status::NodeHealth;
use bramblegate_lab::Result;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::common::daemon::{Daemon, cluster};
use crate::common::program::Program;
use crate::lab::{fail, file, pss, used};
use crate::table::Row;

const NODES: usize = 750;
const VIEWERS: usize = 1000;
/// Ten changes a second, one after the other.
const BETWEEN: Duration = Duration::from_millis(100);
const CHANGES: usize = 200;

/// The length of `["node-001`, in bytes.
const NAME: usize = 10;

/// When each change was sent, and when the viewers saw it.
#[derive(Debug)]
struct Seen {
    begun: Instant,
    /// Microseconds after `begun`, by change; zero before it is sent.
    sent: Vec<AtomicU64>,
    /// The number of viewers that have seen it, by change.
    seen: Vec<AtomicUsize>,
    /// The maximum delay of a viewer in microseconds, by change.
    longest: Vec<AtomicU64>,
    connected: AtomicUsize,
}

impl Seen {
    fn now(&self) -> u64 {
        u64::try_from(self.begun.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    /// Processes what a viewer received: names of nodes that have changed.
    fn take(&self, text: &[u8]) {
        let now = self.now();
        for after in 1..text.len() {
            let Some(name) = text[after..].strip_prefix(b"[\"node-") else { continue };
            let number = name.get(..3).and_then(|digits| std::str::from_utf8(digits).ok());
            let Some(number) = number.and_then(|digits| digits.parse::<usize>().ok()) else {
                continue;
            };
            let change = number - 1;
            let Some(sent) = self.sent.get(change).map(|sent| sent.load(Ordering::Relaxed)) else {
                continue;
            };
            if sent > 0 {
                self.seen[change].fetch_add(1, Ordering::Relaxed);
                self.longest[change].fetch_max(now - sent, Ordering::Relaxed);
            }
        }
    }
}

pub fn measure() -> Result<Vec<Row>> {
    let folder = file("web");
    std::fs::create_dir_all(&folder).map_err(fail("web"))?;
    let (seen, cpu, memory) = watch(&folder)?;
    let counts: Vec<usize> = seen.seen.iter().map(|seen| seen.load(Ordering::Relaxed)).collect();
    let missed = counts.iter().map(|count| VIEWERS.saturating_sub(*count)).sum::<usize>();
    let mut longest: Vec<f64> =
        seen.longest.iter().map(|longest| longest.load(Ordering::Relaxed) as f64 / 1e3).collect();
    longest.sort_by(f64::total_cmp);
    let last = longest.last().copied().unwrap_or(f64::NAN);
    let what = "1,000 viewers of 750 nodes, ten changes a second";
    Ok(vec![
        Row::new(format!("{what}: CPU"), cpu, "% of a core").target("<= 15 %", cpu <= 15.0),
        Row::new(format!("{what}: memory (PSS)"), memory, "MiB")
            .target("<= 24 MiB", memory <= 24.0),
        Row::new("the same: a change reaches the last viewer, median", longest[CHANGES / 2], "ms"),
        Row::new("the same, the longest", last, "ms").target("<= 250 ms", last <= 250.0),
        Row::new("the same: changes that a viewer has not seen", missed as f64, "")
            .target("none", missed == 0),
    ])
}

/// Returns the delays, the server's share of a core in percent, and its memory in MiB.
fn watch(folder: &Path) -> Result<(Arc<Seen>, f64, f64)> {
    let daemon = Daemon::start(folder, cluster(NODES));
    let program = Program::start(folder, "127.0.0.1", &[]);
    let counters = || (0..CHANGES).map(|_| AtomicU64::new(0)).collect();
    let seen = Arc::new(Seen {
        begun: Instant::now(),
        sent: counters(),
        seen: (0..CHANGES).map(|_| AtomicUsize::new(0)).collect(),
        longest: counters(),
        connected: AtomicUsize::new(0),
    });
    allow_connections()?;
    let (at, viewers) = (program.at, Arc::clone(&seen));
    std::thread::spawn(move || look_on(at, &viewers));
    let begin = Instant::now();
    while seen.connected.load(Ordering::Relaxed) < VIEWERS {
        if begin.elapsed() > Duration::from_secs(20) {
            let connected = seen.connected.load(Ordering::Relaxed);
            return Err(bramblegate_lab::Error(format!("{connected} viewers within 20 s")));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    std::thread::sleep(Duration::from_secs(3));
    let (before, begin) = (used(program.id())?.cpu, Instant::now());
    for change in 0..CHANGES {
        let next = begin + BETWEEN * u32::try_from(change).unwrap_or(0);
        std::thread::sleep(next.saturating_duration_since(Instant::now()));
        seen.sent[change].store(seen.now(), Ordering::Relaxed);
        daemon.health(&format!("node-{:03}", change + 1), NodeHealth::Down);
    }
    std::thread::sleep(BETWEEN);
    let cpu = used(program.id())?.cpu.saturating_sub(before);
    let share = cpu.as_secs_f64() / begin.elapsed().as_secs_f64() * 100.0;
    let memory = pss(program.id())?;
    std::thread::sleep(Duration::from_millis(500));
    Ok((seen, share, memory))
}

fn allow_connections() -> Result<()> {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    let current = Some(maximum.unwrap_or(4096).min(4096));
    setrlimit(Resource::Nofile, Rlimit { current, maximum }).map_err(fail("setrlimit"))
}

/// Runs all viewers, in one thread that ends with the benchmark.
fn look_on(at: SocketAddr, seen: &Arc<Seen>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let Ok(runtime) = runtime else { return };
    runtime.block_on(async {
        let mut viewers = Vec::new();
        for _ in 0..VIEWERS {
            viewers.push(tokio::spawn(view(at, Arc::clone(seen))));
        }
        for viewer in viewers {
            let _ = viewer.await;
        }
    });
}

async fn view(at: SocketAddr, seen: Arc<Seen>) -> io::Result<()> {
    let mut stream = TcpStream::connect(at).await?;
    let request = format!("GET /live HTTP/1.1\r\nHost: {at}\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut buffer = vec![0; 16 << 10];
    // The first bytes are the header section and the whole page.
    let mut come = stream.read(&mut buffer).await?;
    seen.connected.fetch_add(1, Ordering::Relaxed);
    while come > 0 {
        // An incomplete name stays in front of the next bytes.
        let end = come;
        seen.take(&buffer[..end]);
        let kept = end.min(NAME - 1);
        buffer.copy_within(end - kept..end, 0);
        come = match stream.read(&mut buffer[kept..]).await? {
            0 => 0,
            more => kept + more,
        };
    }
    Ok(())
}
