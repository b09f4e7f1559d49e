//! Live parts of the page: a viewer that reconnects, and the pages of other heads.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use bramblegate_api::status::NodeHealth;
use common::client::get;
use common::daemon::{Daemon, cluster};
use common::program::{Program, until};

/// Reads a stream of events until it contains `wanted`; returns everything received.
fn listen(at: SocketAddr, path: &str, last: Option<&str>, wanted: &str) -> String {
    let mut stream = TcpStream::connect(at).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    let last = last.map(|id| format!("Last-Event-ID: {id}\r\n")).unwrap_or_default();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {at}\r\n{last}\r\n").unwrap();
    let (mut come, mut buffer) = (Vec::new(), vec![0; 64 << 10]);
    let begin = Instant::now();
    loop {
        let text = String::from_utf8_lossy(&come);
        if text.contains(wanted) {
            return text.into_owned();
        }
        assert!(begin.elapsed() < Duration::from_secs(10), "no {wanted} in {text}");
        let length = stream.read(&mut buffer).unwrap();
        assert!(length > 0, "it ended: {text}");
        come.extend_from_slice(&buffer[..length]);
    }
}

/// Returns the id of the last event in a text.
fn last_id(text: &str) -> String {
    let mut ids = text.lines().filter_map(|line| line.strip_prefix("id:"));
    ids.next_back().unwrap().trim().to_owned()
}

const WHOLE: &str = "\"layout\":true";

#[test]
fn a_viewer_that_reconnects_gets_only_what_it_missed() {
    let folder = tempfile::tempdir().unwrap();
    let daemon = Daemon::start(folder.path(), cluster(40));
    let page = Program::start(folder.path(), "127.0.0.1", &[]);
    let first = listen(page.at, "/live", None, "\n\n");
    assert!(first.contains(WHOLE), "{first}");
    daemon.health("node-002", NodeHealth::Down);
    daemon.health("node-003", NodeHealth::Down);
    until("the change is known", || {
        get(page.at, "/status.json").unwrap().text().matches("\"down\"").count() == 2
    });
    let missed = listen(page.at, "/live", Some(&last_id(&first)), "[\"node-003\"");
    assert!(missed.contains("[\"node-002\""), "{missed}");
    assert!(!missed.contains(WHOLE) && !missed.contains("node-001"), "{missed}");
    // An up-to-date viewer gets only a heartbeat; the id of another process is unknown.
    let nothing = listen(page.at, "/live", Some(&last_id(&missed)), "event: beat");
    assert!(!nothing.contains("event: update"), "{nothing}");
    let other = listen(page.at, "/live", Some("1.0-1"), "node-040");
    assert!(other.contains(WHOLE), "{other}");
}

#[test]
fn a_reader_of_events_resumes_after_its_last_number() {
    let folder = tempfile::tempdir().unwrap();
    let daemon = Daemon::start(folder.path(), cluster(3));
    let page = Program::start(folder.path(), "127.0.0.1", &[]);
    let first = listen(page.at, "/events", None, "\n\n");
    assert!(first.contains("\"type\":\"snapshot\""), "{first}");
    for health in [NodeHealth::Down, NodeHealth::Up, NodeHealth::Booting] {
        daemon.health("node-002", health);
    }
    until("the changes are known", || {
        get(page.at, "/status.json").unwrap().text().contains("booting")
    });
    let missed = listen(page.at, "/events", Some("1"), "booting");
    assert!(!missed.contains("\"type\":\"snapshot\""), "{missed}");
    let numbers: Vec<&str> = missed.lines().filter_map(|line| line.strip_prefix("id:")).collect();
    assert_eq!(numbers.iter().map(|id| id.trim()).collect::<Vec<_>>(), ["2", "3"]);
}

#[test]
fn modules_of_a_large_cluster_are_on_one_page_and_a_dead_one_keeps_its_last_report() {
    let folders = [(), ()].map(|()| tempfile::tempdir().unwrap());
    let mut racks = folders.each_ref().map(|folder| {
        let daemon = Daemon::start(folder.path(), cluster(7));
        (Some(Program::start(folder.path(), "127.0.0.1", &[])), daemon)
    });
    let urls = racks.each_ref().map(|(page, _)| format!("http://{}", page.as_ref().unwrap().at));
    let folder = tempfile::tempdir().unwrap();
    let _daemon = Daemon::start(folder.path(), cluster(3));
    let page =
        Program::start(folder.path(), "127.0.0.1", &["--head", &urls[0], "--head", &urls[1]]);
    let card = |place: usize| {
        let text = get(page.at, "/").unwrap().text();
        let name = urls[place].trim_start_matches("http://");
        let (before, after) = text.split_once(&format!(" data-head=\"{name}\""))?;
        let class = before.rsplit_once("<li").unwrap().1;
        Some(format!("{class}{}", after.split_once("</li>").unwrap().0))
    };
    let is = |place, wanted: &str| card(place).is_some_and(|card| card.contains(wanted));
    until("both are on the page", || is(0, "7/7 up") && is(1, "7/7 up"));
    assert!(!is(0, "gone") && !is(1, "gone"));
    // The page is updated.
    racks[1].1.change(bramblegate_api::status::Change {
        severity: Some(bramblegate_api::status::Severity::Fault.into()),
        ..Default::default()
    });
    until("a fault of one is seen", || is(1, "severity fault") && is(0, "severity ok"));
    racks[1].0 = None;
    until("the dead one is grey, with its last word", || {
        is(1, "gone") && is(1, "severity fault") && is(1, "7/7 up")
    });
    assert!(!is(0, "gone"), "the other goes on");
}
