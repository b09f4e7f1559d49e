//! The effect of a flood of requests to the status page on the gateway: how soon it reports a dead
//! node and shows a new address, with and without the flood, in turns.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bramblegate::api::client::{StatusClient, View};
use bramblegate::api::status::NodeHealth;
use bramblegate_lab::shell::{Running, spawn, within};
use bramblegate_lab::{Error, Result};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::address::replace;
use crate::common::program::beside;
use crate::lab::{Head, fail, file, median, ms};
use crate::table::Row;

const ROUNDS: usize = 4;
/// The number of tries of each kind in a round.
const TIMES: usize = 3;
const CONNECTIONS: usize = 64;
const PAGE: &str = "192.168.50.1:8080";
const NODE: &str = "192.168.50.12";
const PATIENCE: Duration = Duration::from_secs(20);

/// The milliseconds of every try.
#[derive(Debug, Default)]
struct Times {
    dead: Vec<f64>,
    glass: Vec<f64>,
}

pub fn measure() -> Result<Vec<Row>> {
    let head = Head::new("webflood")?;
    let bus = file("webflood.bus");
    let _gateway = head.start(&format!(
        "[lcd]\nbus = \"emulator:{}\"\nheartbeat = false\npage_time = \"3600s\"\n[led]\ndevice = \"off\"\n[health]\nflap_changes = 1000\n\
         [[node]]\nname = \"rpi2\"\naddress = \"{NODE}\"\n",
        bus.display()
    ))?;
    let _page = page(&head)?;
    wait(&head, NodeHealth::Up)?;
    let (mut quiet, mut flooded, mut last, mut answers) =
        (Times::default(), Times::default(), 126, 0);
    for _ in 0..ROUNDS {
        tries(&head, &bus, &mut last, &mut quiet)?;
        let flood = Flood::start(&head)?;
        std::thread::sleep(Duration::from_secs(1));
        tries(&head, &bus, &mut last, &mut flooded)?;
        answers += flood.stop()?;
    }
    let row = |what: &str, flooded: &[f64], quiet: &[f64]| {
        let (flooded, quiet) = (median(flooded), median(quiet));
        Row::new(format!("{what}, in a flood of requests"), flooded, "ms")
            .against("without it", quiet)
            .target("<= 10 % more", flooded <= quiet * 1.1)
    };
    Ok(vec![
        row("a dead node is reported", &flooded.dead, &quiet.dead),
        row("new address to the glass", &flooded.glass, &quiet.glass),
        Row::new("the flood: pages answered", answers as f64, ""),
    ])
}

/// The page's server, run like its unit does.
fn page(head: &Head) -> Result<Running> {
    let status = file("webflood.sock");
    let mut command = within(&head.namespace.0, "nice");
    command.args(["-n", "10"]).arg(beside("bramblegate-web")).args(["--listen", PAGE, "--status"]);
    spawn(command.arg(status), &file("webflood.log"))
}

fn tries(head: &Head, bus: &std::path::Path, last: &mut u8, times: &mut Times) -> Result<()> {
    for round in 0..TIMES {
        let begin = Instant::now();
        head.nodes.ip(&format!("addr del {NODE}/24 dev n0"))?;
        wait(head, NodeHealth::Down)?;
        times.dead.push(ms(begin.elapsed()));
        head.nodes.ip(&format!("addr add {NODE}/24 dev n0"))?;
        wait(head, NodeHealth::Up)?;
        let before = *last;
        *last = 120 + (*last + 7) % 80;
        times.glass.push(replace(head, before, *last, bus)?);
        std::thread::sleep(Duration::from_millis(180 + 97 * round as u64));
    }
    Ok(())
}

/// Waits until the status reports this health of the node.
fn wait(head: &Head, wanted: NodeHealth) -> Result<()> {
    let path = file(&format!("{}.sock", head.namespace.0));
    let mut client = StatusClient::connect(&path).map_err(fail("status"))?;
    let begin = Instant::now();
    let mut view = View::default();
    while begin.elapsed() < PATIENCE {
        client.set_timeout(Some(Duration::from_secs(1)));
        if let Some(received) = client.next_line().map_err(fail("status"))? {
            view.take(received.line);
        }
        let nodes = view.now().map(|now| now.nodes).unwrap_or_default();
        if nodes.iter().any(|node| node.name == "rpi2" && node.health == wanted) {
            return Ok(());
        }
    }
    Err(Error(format!("rpi2 is not {} within {PATIENCE:?}", wanted.name())))
}

/// Clients that request the page continuously.
struct Flood {
    over: Arc<AtomicBool>,
    answers: Arc<AtomicU64>,
    thread: std::thread::JoinHandle<()>,
}

impl Flood {
    fn start(head: &Head) -> Result<Self> {
        let (over, answers) = (Arc::<AtomicBool>::default(), Arc::<AtomicU64>::default());
        let (ends, counts) = (Arc::clone(&over), Arc::clone(&answers));
        let thread = head.nodes.thread(move || {
            // Real clients are other machines; here they compete with the gateway for the
            // processor.
            let _ = rustix::process::nice(15);
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let Ok(runtime) = runtime else { return };
            runtime.block_on(async {
                let asked: Vec<_> = (0..CONNECTIONS)
                    .map(|_| tokio::spawn(ask(Arc::clone(&ends), Arc::clone(&counts))))
                    .collect();
                for one in asked {
                    let _ = one.await;
                }
            });
        })?;
        Ok(Self { over, answers, thread })
    }

    /// Ends the flood; returns the number of answers.
    fn stop(self) -> Result<u64> {
        self.over.store(true, Ordering::Relaxed);
        self.thread.join().map_err(|_| Error("the flood has failed".into()))?;
        let answers = self.answers.load(Ordering::Relaxed);
        if answers < 1000 {
            return Err(Error(format!("this was no flood: {answers} answers")));
        }
        Ok(answers)
    }
}

async fn ask(over: Arc<AtomicBool>, answers: Arc<AtomicU64>) {
    let mut buffer = vec![0; 64 << 10];
    while !over.load(Ordering::Relaxed) {
        let Ok(mut stream) = TcpStream::connect(PAGE).await else { continue };
        let request = format!("GET / HTTP/1.1\r\nHost: {PAGE}\r\nConnection: close\r\n\r\n");
        if stream.write_all(request.as_bytes()).await.is_err() {
            continue;
        }
        let mut come = 0;
        while let Ok(more @ 1..) = stream.read(&mut buffer).await {
            come += more;
        }
        if come > 1000 {
            answers.fetch_add(1, Ordering::Relaxed);
        }
    }
}
