//! Tests of the socket with real clients, in temporary directories.

mod moved;
mod properties;

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::Shutdown;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;

use crate::api::status as api;
use serde_json::Value;
use tokio::task::spawn_blocking;

use super::*;
use crate::decide::alert::Severity;
use crate::event::{Instant as Moment, RuleCount};
use crate::facts::node::{NodeHealth, Origin};
use crate::view::status::UplinkStatus;

/// A temporary directory.
struct Folder(PathBuf, #[expect(dead_code, reason = "removed when dropped")] tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        let held = tempfile::tempdir().unwrap();
        Self(held.path().to_owned(), held)
    }

    fn socket(&self) -> PathBuf {
        self.0.join("status.sock")
    }

    fn serve(&self) -> StatusHandle {
        let (events, _) = mpsc::channel(8);
        spawn(self.socket(), events).unwrap()
    }
}

pub(super) fn snapshot() -> Snapshot {
    Snapshot {
        started: Moment::default(),
        severity: Severity::Ok,
        alerts: Vec::new(),
        uplink: UplinkStatus::default(),
        uplinks: Vec::new(),
        gateway: api::Gateway::default(),
        rules: [].into(),
        cluster: api::Cluster::default(),
        host: None,
        panel: api::Panel::default(),
        shutdown: None,
        shares: Vec::new(),
        web: None,
        venue: None,
        clat: None,
    }
}

/// Returns a snapshot with this number of repairs.
fn repaired(times: u64) -> Snapshot {
    let mut changed = snapshot();
    changed.gateway.repaired = times;
    changed
}

/// Returns the counters of a rule.
fn counted(packets: u64) -> RuleCount {
    RuleCount { chain: "forward".into(), purpose: "a rule".into(), packets, bytes: 84 * packets }
}

/// Returns the ID of a node, from the digits of its name.
pub(super) fn id(name: &str) -> NodeId {
    let digits: String = name.chars().filter(char::is_ascii_digit).collect();
    NodeId { slot: digits.parse().unwrap_or_default(), generation: 0 }
}

pub(super) fn node(name: &str, health: NodeHealth) -> NodeStatus {
    NodeStatus {
        id: id(name),
        name: name.to_owned(),
        mac: None,
        address: None,
        ipv6: Vec::new(),
        health,
        rtt: None,
        loss_percent: None,
        since: Moment::default(),
        origin: Origin::Settings,
        group: None,
        stage: None,
    }
}

/// A client that reads lines with a timeout of five seconds.
struct Reader(BufReader<UnixStream>);

impl Reader {
    fn connect(folder: &Folder) -> Self {
        let stream = UnixStream::connect(folder.socket()).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        Self(BufReader::new(stream))
    }

    fn line(&mut self) -> Option<Value> {
        let mut text = String::new();
        match self.0.read_line(&mut text) {
            Ok(0) => None,
            Ok(_) => Some(serde_json::from_str(&text).unwrap()),
            Err(error) => panic!("no line: {error}"),
        }
    }

    fn is_silent(&mut self, patience: Duration) -> bool {
        self.0.get_ref().set_read_timeout(Some(patience)).unwrap();
        let silent =
            matches!(self.0.fill_buf(), Err(error) if error.kind() == ErrorKind::WouldBlock);
        self.0.get_ref().set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        silent
    }
}

/// Runs a blocking client in parallel with the server.
async fn beside<T: Send + 'static>(part: impl FnOnce() -> T + Send + 'static) -> T {
    spawn_blocking(part).await.unwrap()
}

#[tokio::test]
async fn a_client_gets_the_snapshot_and_then_changes() {
    let folder = Folder::new();
    let handle = folder.serve();
    handle.nodes(vec![node("rpi1", NodeHealth::Up), node("rpi2", NodeHealth::Up)]);
    handle.publish(snapshot());
    let mut reader = Reader::connect(&folder);
    let (mut reader, first) = beside(move || {
        let first = reader.line().unwrap();
        (reader, first)
    })
    .await;
    assert_eq!(first["type"], "snapshot");
    assert_eq!(first["nodes"].as_array().unwrap().len(), 2);
    assert_eq!(first["nodes"][1]["name"], "rpi2");
    handle.publish(repaired(1));
    handle.node(node("rpi2", NodeHealth::Down));
    let (mut reader, change) = beside(move || {
        let change = reader.line().unwrap();
        (reader, change)
    })
    .await;
    assert_eq!(change["type"], "change");
    assert_eq!(change["seq"], 1);
    assert_eq!(change["gateway"]["repaired"], 1);
    assert_eq!(
        change["nodes"].as_array().unwrap().len(),
        1,
        "both in one line, and just what changed"
    );
    assert_eq!(change["nodes"][0]["health"], "down");
    assert!(change.get("severity").is_none() && change.get("nodes_removed").is_none());
    handle.remove_node("rpi1");
    let change = beside(move || reader.line().unwrap()).await;
    assert_eq!(change["seq"], 2);
    assert_eq!(change["nodes_removed"], serde_json::json!(["rpi1"]));
}

/// Sixty-four clients are served immediately and further ones every 20 ms, so that the last one
/// waits until the others have left.
#[tokio::test]
async fn a_client_that_waited_while_all_others_left_gets_changes_of_nodes() {
    let folder = Folder::new();
    let handle = folder.serve();
    handle.nodes(vec![node("rpi1", NodeHealth::Up)]);
    handle.publish(snapshot());
    let others: Vec<Reader> = (0..74).map(|_| Reader::connect(&folder)).collect();
    let mut last = Reader::connect(&folder);
    sleep(Duration::from_millis(20)).await;
    drop(others);
    let mut last = beside(move || {
        last.line();
        last
    })
    .await;
    handle.node(node("rpi1", NodeHealth::Down));
    let change = beside(move || last.line().unwrap()).await;
    assert_eq!(change["nodes"][0]["health"], "down");
}

/// The snapshot exceeds the socket's buffer, so most of it is written after the change.
#[tokio::test]
async fn a_snapshot_is_not_cut_off_by_nodes_that_come_and_go() {
    let folder = Folder::new();
    let handle = folder.serve();
    let nodes = |numbers: std::ops::Range<u32>| {
        numbers.map(|number| node(&format!("node-{number}"), NodeHealth::Up)).collect::<Vec<_>>()
    };
    handle.nodes(nodes(0..9000));
    handle.publish(snapshot());
    let mut reader = Reader::connect(&folder);
    sleep(Duration::from_millis(50)).await;
    handle.nodes(nodes(10..9010));
    let [first, change] = beside(move || [(); 2].map(|()| reader.line().unwrap())).await;
    assert_eq!(first["nodes"].as_array().unwrap().len(), 9010, "and each once");
    assert_eq!(change["nodes_removed"].as_array().unwrap().len(), 10);
    assert_eq!(change["nodes"].as_array().unwrap().len(), 10);
}

#[tokio::test]
async fn all_users_may_connect() {
    let folder = Folder::new();
    let _handle = folder.serve();
    let mode = std::fs::metadata(folder.socket()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o666);
}

#[tokio::test]
async fn changes_that_are_not_reported_wake_no_client() {
    let folder = Folder::new();
    let handle = folder.serve();
    handle.nodes(vec![node("rpi1", NodeHealth::Up)]);
    let mut before = snapshot();
    before.rules = [counted(2)].into();
    handle.publish(before);
    let mut reader = Reader::connect(&folder);
    let mut reader = beside(move || {
        reader.line();
        reader
    })
    .await;
    let mut slower = node("rpi1", NodeHealth::Up);
    slower.rtt = Some(Duration::from_millis(9));
    handle.node(slower);
    handle.round_trips([(id("rpi1"), Some(Duration::from_millis(8)), Some(3))].into_iter());
    let mut later = snapshot();
    later.panel.lcd.bytes = 1000;
    later.rules = [counted(7)].into();
    handle.publish(later);
    assert!(beside(move || reader.is_silent(Duration::from_millis(300))).await);
    let mut second = Reader::connect(&folder);
    let line = beside(move || second.line().unwrap()).await;
    assert_eq!(line["nodes"][0]["rtt_us"], 8000, "but who asks gets the newest");
    assert_eq!(line["nodes"][0]["loss_percent"], 3);
    assert_eq!(line["panel"]["lcd"]["bytes"], 1000);
    assert_eq!(line["rules"][0]["packets"], 7);
}

#[tokio::test]
async fn a_flood_of_changes_is_ten_lines_a_second_and_ends_with_the_last_value() {
    let folder = Folder::new();
    let handle = folder.serve();
    handle.publish(snapshot());
    let mut reader = Reader::connect(&folder);
    let counting = spawn_blocking(move || {
        let (mut arrivals, mut last) = (Vec::new(), 0);
        while last < 1200 {
            let line = reader.line().unwrap();
            if line["type"] == "change" {
                arrivals.push(std::time::Instant::now());
                last = line["gateway"]["repaired"].as_u64().unwrap();
            }
        }
        arrivals
    });
    for times in 1..=1200 {
        handle.publish(repaired(times));
        sleep(Duration::from_millis(1)).await;
    }
    let arrivals = counting.await.unwrap();
    let most = arrivals.iter().map(|start| {
        arrivals
            .iter()
            .filter(|at| *at >= start && at.duration_since(*start) < Duration::from_millis(980))
            .count()
    });
    assert!(most.max().unwrap() <= 10);
    assert!(arrivals.len() > 5, "and not only at the end");
}

#[tokio::test]
async fn the_first_change_after_a_pause_is_sent_immediately() {
    let folder = Folder::new();
    let handle = folder.serve();
    handle.publish(snapshot());
    let mut reader = Reader::connect(&folder);
    let mut reader = beside(move || {
        reader.line();
        reader
    })
    .await;
    sleep(Duration::from_millis(150)).await;
    let start = std::time::Instant::now();
    handle.publish(repaired(1));
    let arrived = beside(move || {
        reader.line().unwrap();
        std::time::Instant::now()
    })
    .await;
    assert!(
        arrived.duration_since(start) < Duration::from_millis(60),
        "{:?}",
        arrived.duration_since(start)
    );
}

/// With lines of 100 kB, the limit of the queue is reached after a few.
#[tokio::test]
async fn a_slow_client_is_disconnected_and_a_fast_one_gets_all_lines() {
    let folder = Folder::new();
    let handle = folder.serve();
    handle.publish(snapshot());
    let mut slow = UnixStream::connect(folder.socket()).unwrap();
    let mut fast = Reader::connect(&folder);
    let reading = spawn_blocking(move || {
        let mut sequence = 0;
        while sequence < 12 {
            let line = fast.line().expect("a client that reads is not closed");
            if line["type"] == "change" {
                sequence += 1;
                assert_eq!(line["seq"], sequence);
            }
        }
    });
    sleep(Duration::from_millis(50)).await;
    for round in 0..12 {
        let mut large = snapshot();
        let text = format!("{round}{}", "x".repeat(100_000));
        large.alerts.push(api::Alert { text: text.into(), ..api::Alert::default() });
        handle.publish(large);
        sleep(SPACING + Duration::from_millis(5)).await;
    }
    reading.await.unwrap();
    assert_eq!(
        handle.shared.clients.load(Ordering::Relaxed),
        0,
        "the fast one has gone, the slow one was closed"
    );
    let read = beside(move || {
        let mut text = Vec::new();
        let ended = slow.read_to_end(&mut text);
        (ended.is_ok(), text.len())
    })
    .await;
    assert!(read.1 < 1_000_000, "{read:?}");
}

#[tokio::test]
async fn input_from_clients_is_discarded() {
    let folder = Folder::new();
    let handle = folder.serve();
    handle.publish(snapshot());
    let mut talkative = UnixStream::connect(folder.socket()).unwrap();
    talkative.set_nonblocking(true).unwrap();
    let mut sent = 0;
    while let Ok(count) = talkative.write(&[b'x'; 65536]) {
        sent += count;
    }
    assert!(sent > 65536);
    let mut other = Reader::connect(&folder);
    let line = beside(move || other.line().unwrap()).await;
    assert_eq!(line["type"], "snapshot");
    handle.publish(repaired(1));
    sleep(Duration::from_millis(50)).await;
    talkative.set_nonblocking(false).unwrap();
    talkative.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    let mut reader = Reader(BufReader::new(talkative));
    let lines = beside(move || [reader.line().unwrap(), reader.line().unwrap()]).await;
    assert_eq!(lines[1]["gateway"]["repaired"], 1, "it is served all the same");
}

#[tokio::test]
async fn a_client_that_shuts_down_its_sending_half_gets_only_the_snapshot() {
    let folder = Folder::new();
    let handle = folder.serve();
    let names = (0..5000).map(|number| node(&format!("node-{number}"), NodeHealth::Up)).collect();
    handle.nodes(names);
    handle.publish(snapshot());
    let mut stream = UnixStream::connect(folder.socket()).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    let text = beside(move || {
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        text
    })
    .await;
    let line: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(line["nodes"].as_array().unwrap().len(), 5000);
}

#[tokio::test]
async fn a_client_above_the_limit_is_refused_until_another_leaves() {
    let folder = Folder::new();
    let handle = folder.serve();
    handle.publish(snapshot());
    let mut clients: Vec<Reader> = (0..PLACES.all).map(|_| Reader::connect(&folder)).collect();
    let mut extra = Reader::connect(&folder);
    let (mut extra, refused) = beside(move || {
        let line = extra.line().unwrap();
        (extra, line)
    })
    .await;
    assert_eq!(refused["type"], "refused");
    assert!(refused["reason"].as_str().unwrap().contains("128"));
    assert!(beside(move || extra.line().is_none()).await, "and closed");
    clients.truncate(10);
    sleep(Duration::from_millis(50)).await;
    let mut next = Reader::connect(&folder);
    let line = beside(move || next.line().unwrap()).await;
    assert_eq!(line["type"], "snapshot");
}

#[tokio::test]
async fn a_stale_socket_is_replaced_and_a_live_one_is_not() {
    let folder = Folder::new();
    drop(std::os::unix::net::UnixListener::bind(folder.socket()).unwrap());
    assert!(folder.socket().exists(), "no process answers there");
    let first = folder.serve();
    let (events, _receiver) = mpsc::channel(8);
    let second = spawn(folder.socket(), events.clone());
    assert_eq!(second.unwrap_err().kind(), ErrorKind::AddrInUse);
    drop(first);
    sleep(Duration::from_millis(20)).await;
    assert!(!folder.socket().exists(), "removed at the end");
    std::fs::write(folder.socket(), "precious").unwrap();
    let third = spawn(folder.socket(), events);
    assert_eq!(third.unwrap_err().kind(), ErrorKind::AlreadyExists);
    assert_eq!(std::fs::read_to_string(folder.socket()).unwrap(), "precious");
}

#[tokio::test]
async fn the_connection_ends_with_the_daemon() {
    let folder = Folder::new();
    let handle = folder.serve();
    handle.publish(snapshot());
    let mut reader = Reader::connect(&folder);
    let mut reader = beside(move || {
        reader.line();
        reader
    })
    .await;
    drop(handle);
    assert!(beside(move || reader.line().is_none()).await);
}

/// Connects, reads the first line and disconnects, for a while. Returns how often it was served.
fn storm(socket: &std::path::Path, time: Duration) -> usize {
    let (begin, mut served) = (std::time::Instant::now(), 0);
    while begin.elapsed() < time {
        let stream = UnixStream::connect(socket).unwrap();
        let mut line = String::new();
        let _ = BufReader::new(stream).read_line(&mut line);
        served += usize::from(line.contains("\"snapshot\""));
    }
    served
}

/// Connects and disconnects immediately, for a while.
fn knock(socket: &std::path::Path, time: Duration) -> usize {
    let (begin, mut count) = (std::time::Instant::now(), 0);
    while begin.elapsed() < time {
        drop(UnixStream::connect(socket).unwrap());
        count += 1;
    }
    count
}

#[tokio::test]
async fn a_client_that_reconnects_all_the_time_is_rate_limited() {
    let folder = Folder::new();
    let handle = folder.serve();
    handle.publish(snapshot());
    let socket = folder.socket();
    let served = beside(move || storm(&socket, Duration::from_millis(500))).await;
    // 64 at once, then 50 a second
    assert!((64..=64 + 25 + 5).contains(&served), "{served} were served in half a second");
    let socket = folder.socket();
    let count = beside(move || knock(&socket, Duration::from_millis(500))).await;
    assert!(count > 0);
    let (mut reader, begin) = (Reader::connect(&folder), std::time::Instant::now());
    let line = beside(move || reader.line().unwrap()).await;
    let kind = line["type"].as_str().unwrap().to_owned();
    assert!(["snapshot", "refused"].contains(&kind.as_str()), "{kind}");
    assert!(begin.elapsed() < Duration::from_secs(4), "an answer after {:?}", begin.elapsed());
}
