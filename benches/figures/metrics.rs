//! `/metrics` of 1,000 nodes: processor time per sample and time of an answer, compared with
//! Prometheus' node exporter on the same machine, in turns. Both are scraped like by Prometheus,
//! over one connection, once uncompressed and once compressed if the server supports it.
//!
//! Each answer is a fresh one: before it, a node's health and round trip change, and each request
//! is in a second of its own, for which the page's server caches an answer. The state is that of a
//! gateway with 1,000 nodes that answer, recorded once; changes are sent in the gateway's format.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bramblegate::api::client::StatusClient;
use bramblegate::api::status::{Change, Node, NodeHealth, Snapshot};
use bramblegate_lab::shell::spawn;
use bramblegate_lab::{Error, Result};

use crate::common::daemon::Daemon;
use crate::common::program::Program;
use crate::lab::{fail, file, median, ms, used};
use crate::sweep::Room;
use crate::table::Row;

/// The program's name in Debian. Its package starts a service, so `scripts/unpacked.sh` only
/// unpacks it.
const EXPORTER: &str = "prometheus-node-exporter";
const PEER: &str = "127.0.0.1:9102";
/// The headers of Prometheus 2.42.
const ACCEPT: &str = "application/openmetrics-text;version=1.0.0,\
                      application/openmetrics-text;version=0.0.1;q=0.75,\
                      text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
/// The number of rounds, each one request to both servers.
const TURNS: usize = 15;
/// Scrapes of Bramblegate after the fresh one, within the same second.
const KEPT: usize = 8;
/// The number of nodes in the settings. The interface that all of them are behind is found as one
/// more: together they are the thousand up to which `/metrics` lists nodes one by one.
const NODES: (u32, u32) = (9, 111);
/// The pauses after a change, for the server to process it, and after an answer, for the server to
/// become idle.
const REST: Duration = Duration::from_millis(20);

/// The measurements of one answer.
#[derive(Debug, Clone, Copy)]
struct Cost {
    /// Microseconds of processor time.
    cpu: f64,
    /// Milliseconds until the last byte.
    answer: f64,
}

/// A server, and the connection to it.
struct Server {
    pid: u32,
    client: Client,
    /// The number of samples in an answer.
    samples: f64,
    costs: Vec<Cost>,
}

impl Server {
    fn new(pid: u32, address: &str) -> Result<Self> {
        let mut client = Client::new(address)?;
        let text = client.fetch("identity")?;
        let text = String::from_utf8_lossy(&text);
        let samples = text.lines().filter(|line| !line.starts_with('#')).count() as f64;
        Ok(Self { pid, client, samples, costs: Vec::new() })
    }

    fn cpu(&self) -> Result<Duration> {
        Ok(used(self.pid)?.cpu)
    }

    /// Scrapes once; `before` is the processor time that the server has used for this answer
    /// already.
    fn ask(&mut self, encoding: &str, before: Duration) -> Result<Vec<u8>> {
        let cpu = self.cpu()?;
        let begin = Instant::now();
        let body = self.client.fetch(encoding)?;
        let answer = ms(begin.elapsed());
        sleep(REST);
        let cpu = (self.cpu()? - cpu + before).as_secs_f64() * 1e6;
        self.costs.push(Cost { cpu, answer });
        Ok(body)
    }

    /// Returns the median microseconds per sample and milliseconds per answer, since the last call.
    fn take(&mut self) -> (f64, f64) {
        let costs = std::mem::take(&mut self.costs);
        let of = |what: fn(&Cost) -> f64| median(&costs.iter().map(what).collect::<Vec<_>>());
        (of(|cost| cost.cpu) / self.samples, of(|cost| cost.answer))
    }
}

pub fn measure() -> Result<Vec<Row>> {
    let folder = file("metrics");
    std::fs::create_dir_all(&folder).map_err(fail("metrics"))?;
    let snapshot = recorded()?;
    let mut changes = Changes { nodes: snapshot.nodes.clone(), made: 0 };
    let daemon = Daemon::start(&folder, snapshot);
    let page = Program::start(&folder, "127.0.0.1", &[]);
    let mut command = Command::new(EXPORTER);
    let log = file("metrics.log");
    let peer = spawn(command.arg(format!("--web.listen-address={PEER}")), &log)?;
    await_connections(PEER, &log)?;
    let mut ours = Server::new(page.id(), &page.at.to_string())?;
    let mut theirs = Server::new(peer.id(), PEER)?;
    let (mut rows, mut kept) = (Vec::new(), Vec::new());
    for (how, encoding) in [("plain", "identity"), ("as Prometheus asks", "gzip")] {
        for turn in 0..TURNS {
            let before = ours.cpu()?;
            let changed = changes.next(&daemon);
            sleep(REST);
            let taken_in = ours.cpu()? - before;
            until_next_second();
            if turn % 2 == 1 {
                theirs.ask(encoding, Duration::ZERO)?;
            }
            let body = ours.ask(encoding, taken_in)?;
            if !String::from_utf8_lossy(&body).contains(&changed) {
                return Err(Error(format!("an answer is not fresh: {changed} is not in it")));
            }
            kept.push(again(&mut ours, encoding)?);
            if turn % 2 == 0 {
                theirs.ask(encoding, Duration::ZERO)?;
            }
        }
        let ((mine, my_time), (other, other_time)) = (ours.take(), theirs.take());
        let samples = (ours.samples, theirs.samples);
        let figure =
            format!("/metrics of 1,000 nodes, {how}: CPU a sample ({} samples)", samples.0);
        rows.push(
            Row::new(figure, mine, "us")
                .against(format!("node_exporter ({} samples)", samples.1), other)
                .target("<= 1/10", mine * 10.0 <= other),
        );
        rows.push(
            Row::new(format!("the same: time of an answer, {how}"), my_time, "ms")
                .against("node_exporter", other_time)
                .target("<= 5 ms", my_time <= 5.0),
        );
    }
    let kept = median(&kept);
    rows.push(Row::new("the same: an answer again, within its second", kept, "ms"));
    Ok(rows)
}

/// Returns the median time of a cached answer, in ms.
fn again(server: &mut Server, encoding: &str) -> Result<f64> {
    let mut times = Vec::new();
    for _ in 0..KEPT {
        let begin = Instant::now();
        server.client.fetch(encoding)?;
        times.push(ms(begin.elapsed()));
    }
    Ok(median(&times))
}

/// Returns the state of a gateway whose nodes are all up, so that each has all its series.
fn recorded() -> Result<Snapshot> {
    let room = Room::new()?;
    let _gateway = room.gateway(NODES.0, NODES.1, "interval = \"1s\"")?;
    let (begin, all) = (Instant::now(), (NODES.0 * NODES.1) as usize);
    let mut last = String::new();
    while begin.elapsed() < Duration::from_secs(30) {
        sleep(Duration::from_millis(500));
        last = match StatusClient::fetch(&file("sweep.sock"), Duration::from_secs(2)) {
            // The first rounds are over, and the counters have been read.
            Ok((_, snapshot)) if snapshot.cluster.up >= all => {
                sleep(Duration::from_secs(3));
                let again = StatusClient::fetch(&file("sweep.sock"), Duration::from_secs(2));
                return again.map(|(_, snapshot)| snapshot).map_err(fail("status"));
            }
            Ok((_, snapshot)) => format!("{} are up", snapshot.cluster.up),
            Err(error) => error.to_string(),
        };
    }
    Err(Error(format!("not all nodes are up within 30 s: {last}")))
}

/// Changes one node after the other.
struct Changes {
    nodes: Vec<Node>,
    made: usize,
}

impl Changes {
    /// Sends the next change; returns the text that an answer made after it contains.
    fn next(&mut self, daemon: &Daemon) -> String {
        self.made += 1;
        let place = self.made % self.nodes.len();
        let node = &mut self.nodes[place];
        // 50.001 ms and more: no node of the recording has that.
        node.rtt_us = Some(50_000 + self.made as u64);
        node.health = NodeHealth::Degraded.into();
        node.since_s = 0;
        daemon.change(Change { nodes: vec![node.clone()], ..Change::default() });
        let seconds = node.rtt_us.unwrap_or(0) as f64 / 1e6;
        format!("bramblegate_node_rtt_seconds{{node=\"{}\"}} {seconds}\n", node.name)
    }
}

fn until_next_second() {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    // A little later, since clocks round.
    let left = Duration::from_secs(1) - Duration::from_nanos(now.subsec_nanos().into());
    sleep(left + Duration::from_millis(2));
}

/// Waits until a server accepts connections.
fn await_connections(address: &str, log: &Path) -> Result<()> {
    let begin = Instant::now();
    while TcpStream::connect(address).is_err() {
        if begin.elapsed() > Duration::from_secs(10) {
            let text = std::fs::read_to_string(log).unwrap_or_default();
            return Err(Error(format!("nothing answers at {address} within 10 s:\n{text}")));
        }
        sleep(Duration::from_millis(50));
    }
    Ok(())
}

/// One connection, kept alive like Prometheus does.
struct Client(BufReader<TcpStream>);

impl Client {
    fn new(address: &str) -> Result<Self> {
        let stream = TcpStream::connect(address).map_err(fail("connect"))?;
        stream.set_nodelay(true).map_err(fail("connect"))?;
        stream.set_read_timeout(Some(Duration::from_secs(10))).map_err(fail("connect"))?;
        Ok(Self(BufReader::new(stream)))
    }

    /// Returns the body of an answer, as received.
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
