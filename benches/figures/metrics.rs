//! `/metrics` of 1,000 nodes: processor time for each sample and time of an answer, against
//! Prometheus' node exporter on the same machine, taking turns. Both are asked as Prometheus asks,
//! over one connection, once as plain text and once compressed where the server can.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::time::{Duration, Instant};

use bramblegate_lab::shell::{Running, spawn, within};
use bramblegate_lab::{Error, Result};

use crate::lab::{fail, file, median, ms, program, used};
use crate::sweep::Room;
use crate::table::Row;

/// Debian's name of the program. Its package starts a service: `scripts/unpacked.sh` takes the
/// program out of it.
const EXPORTER: &str = "prometheus-node-exporter";
const PAGE: &str = "127.0.0.1:9101";
const PEER: &str = "127.0.0.1:9102";
/// What Prometheus 2.42 asks with.
const ACCEPT: &str = "application/openmetrics-text;version=1.0.0,\
                      application/openmetrics-text;version=0.0.1;q=0.75,\
                      text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
const TURNS: usize = 7;
/// Scrapes of a turn.
const SCRAPES: u32 = 40;
/// Nodes in the settings. The port behind which all of them are is found as one more: with it they
/// are the thousand up to which `/metrics` shows nodes one by one.
const NODES: (u32, u32) = (9, 111);

/// A server's cost in one turn.
#[derive(Debug, Clone, Copy)]
struct Cost {
    /// microseconds of processor time for each sample
    sample: f64,
    /// milliseconds until the last byte of an answer, the middle one
    answer: f64,
    samples: f64,
}

pub fn measure() -> Result<Vec<Row>> {
    let room = Room::new()?;
    let _gateway = room.gateway(NODES.0, NODES.1, "interval = \"1s\"")?;
    let page = program().with_file_name("bramblegate-web");
    if !page.is_file() {
        return Err(Error(format!(
            "{} is missing; build it: cargo build --release --workspace",
            page.display()
        )));
    }
    let log = file("metrics.log");
    let mut command = within(&room.head.0, &page.to_string_lossy());
    command.args(["--listen", PAGE, "--status"]).arg(file("sweep.sock"));
    let page = spawn(&mut command, &log)?;
    let mut command = within(&room.head.0, EXPORTER);
    let peer = spawn(command.arg(format!("--web.listen-address={PEER}")), &log)?;
    all_up(&room)?;
    let mut rows = Vec::new();
    for (how, encoding) in [("plain", "identity"), ("as Prometheus asks", "gzip")] {
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        for _ in 0..TURNS {
            ours.push(turn(&room, &page, PAGE, encoding, &log)?);
            theirs.push(turn(&room, &peer, PEER, encoding, &log)?);
        }
        let of = |costs: &[Cost], what: fn(&Cost) -> f64| {
            median(&costs.iter().map(what).collect::<Vec<_>>())
        };
        let (mine, other) = (of(&ours, |cost| cost.sample), of(&theirs, |cost| cost.sample));
        let samples = (of(&ours, |cost| cost.samples), of(&theirs, |cost| cost.samples));
        let figure =
            format!("/metrics of 1,000 nodes, {how}: CPU a sample ({} samples)", samples.0);
        rows.push(
            Row::new(figure, mine, "us")
                .against(format!("node_exporter ({} samples)", samples.1), other)
                .target("<= 1/10", mine * 10.0 <= other),
        );
        let (mine, other) = (of(&ours, |cost| cost.answer), of(&theirs, |cost| cost.answer));
        rows.push(
            Row::new(format!("the same: time of an answer, {how}"), mine, "ms")
                .against("node_exporter", other)
                .target("<= 5 ms", mine <= 5.0),
        );
    }
    Ok(rows)
}

/// Waits until every node is up: each has all its series then.
fn all_up(room: &Room) -> Result<()> {
    let begin = Instant::now();
    let mut last = String::new();
    while begin.elapsed() < Duration::from_secs(30) {
        std::thread::sleep(Duration::from_millis(500));
        last = match room.head.on(|| Client::new(PAGE)?.fetch("identity"))? {
            Ok(answer) => String::from_utf8_lossy(&answer).into_owned(),
            Err(error) => error.0,
        };
        if nodes_up(&last) >= NODES.0 * NODES.1 {
            // The first rounds are over.
            std::thread::sleep(Duration::from_secs(3));
            return Ok(());
        }
    }
    let counts: Vec<&str> =
        last.lines().filter(|line| line.starts_with("bramblegate_nodes{")).collect();
    Err(Error(format!("not all nodes are up within 30 s: {counts:?}")))
}

/// Returns how many nodes are up by a page of metrics.
fn nodes_up(page: &str) -> u32 {
    let count =
        page.lines().find_map(|line| line.strip_prefix("bramblegate_nodes{health=\"up\"} "));
    count.and_then(|count| count.parse().ok()).unwrap_or(0)
}

/// So many scrapes, one after the other.
fn turn(
    room: &Room,
    server: &Running,
    address: &'static str,
    encoding: &'static str,
    log: &Path,
) -> Result<Cost> {
    let pid = server.id();
    let measured = room.head.on(move || -> Result<Cost> {
        let mut client = Client::new(address)?;
        let plain = client.fetch("identity")?;
        let text = String::from_utf8_lossy(&plain);
        let samples = text.lines().filter(|line| !line.starts_with('#')).count() as f64;
        let mut times = Vec::new();
        let before = used(pid)?.cpu;
        for _ in 0..SCRAPES {
            let begin = Instant::now();
            client.fetch(encoding)?;
            times.push(ms(begin.elapsed()));
        }
        let cpu = (used(pid)?.cpu - before).as_secs_f64() * 1e6;
        Ok(Cost { sample: cpu / f64::from(SCRAPES) / samples, answer: median(&times), samples })
    })?;
    measured.map_err(|error| {
        let text = std::fs::read_to_string(log).unwrap_or_default();
        Error(format!("{address}: {error}\n{text}"))
    })
}

/// One connection, kept open as Prometheus keeps it.
struct Client(BufReader<TcpStream>);

impl Client {
    fn new(address: &str) -> Result<Self> {
        let stream = TcpStream::connect(address).map_err(fail("connect"))?;
        stream.set_nodelay(true).map_err(fail("connect"))?;
        stream.set_read_timeout(Some(Duration::from_secs(10))).map_err(fail("connect"))?;
        Ok(Self(BufReader::new(stream)))
    }

    /// Returns the body of an answer, as it is on the wire.
    fn fetch(&mut self, encoding: &str) -> Result<Vec<u8>> {
        let request = format!(
            "GET /metrics HTTP/1.1\r\nHost: head\r\nUser-Agent: Prometheus/2.42.0\r\n\
             Accept: {ACCEPT}\r\nAccept-Encoding: {encoding}\r\n\r\n"
        );
        self.0.get_mut().write_all(request.as_bytes()).map_err(fail("request"))?;
        let (mut length, mut chunked) = (0, false);
        let status = self.line()?;
        if !status.starts_with("HTTP/1.1 200") {
            return Err(Error(status));
        }
        loop {
            let line = self.line()?.to_ascii_lowercase();
            if line.is_empty() {
                break;
            }
            if let Some(number) = line.strip_prefix("content-length:") {
                length = number.trim().parse().map_err(fail("content-length"))?;
            }
            chunked |= line == "transfer-encoding: chunked";
        }
        let mut body = Vec::new();
        while chunked {
            let size = self.line()?;
            let size = usize::from_str_radix(size.trim(), 16).map_err(fail("chunk"))?;
            self.take(size, &mut body)?;
            self.line()?;
            chunked = size > 0;
        }
        self.take(length, &mut body)?;
        Ok(body)
    }

    fn take(&mut self, length: usize, body: &mut Vec<u8>) -> Result<()> {
        let start = body.len();
        body.resize(start + length, 0);
        self.0.read_exact(&mut body[start..]).map_err(fail("answer"))
    }

    fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        self.0.read_line(&mut line).map_err(fail("answer"))?;
        Ok(line.trim_end().to_owned())
    }
}
