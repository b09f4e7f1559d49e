//! Counters that the page's server maintains itself, in `/metrics`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::net::SocketAddr;

use bramblegate_api::status::NodeHealth;
use common::client::get;
use common::daemon::{Daemon, cluster};
use common::program::{Program, until};

/// Returns the value of a series; `None` if it does not exist.
fn value(at: SocketAddr, series: &str) -> Option<f64> {
    let text = get(at, "/metrics").ok()?.text();
    let line = text.lines().find(|line| line.starts_with(series))?.to_owned();
    line.rsplit_once(' ')?.1.parse().ok()
}

#[test]
fn health_changes_are_counted_across_restarts_of_the_daemon() {
    let folder = tempfile::tempdir().unwrap();
    let daemon = Daemon::start(folder.path(), cluster(3));
    let page = Program::start(folder.path(), "127.0.0.1", &["--nodes-max", "3"]);
    let of = |name: &str| {
        value(page.at, &format!("bramblegate_node_health_changes_total{{node=\"{name}\"}}"))
    };
    assert_eq!((of("node-001"), of("node-002")), (Some(0.0), Some(0.0)));
    for health in [NodeHealth::Down, NodeHealth::Booting, NodeHealth::Up] {
        daemon.health("node-002", health);
    }
    until("three changes are counted", || of("node-002") == Some(3.0));
    assert_eq!(of("node-001"), Some(0.0));
    let groups = || value(page.at, "bramblegate_group_health_changes_total{group=\"\"}");
    assert_eq!(groups(), Some(3.0));
    // To the restarted daemon every node is unknown at first, which is not a change of its health.
    drop(daemon);
    until("it is gone", || value(page.at, "bramblegate_up") == Some(0.0));
    let mut fresh = cluster(3);
    fresh.nodes.iter_mut().for_each(|node| node.health = NodeHealth::Unknown.into());
    let daemon = Daemon::start(folder.path(), fresh);
    until("the next one answers", || value(page.at, "bramblegate_up") == Some(1.0));
    assert_eq!((of("node-001"), of("node-002")), (Some(0.0), Some(3.0)));
    daemon.health("node-001", NodeHealth::Up);
    until("it counts on", || of("node-001") == Some(1.0));
    assert_eq!(groups(), Some(4.0));
}

#[test]
fn above_nodes_max_only_groups_are_counted() {
    let folder = tempfile::tempdir().unwrap();
    let daemon = Daemon::start(folder.path(), cluster(4));
    let page = Program::start(folder.path(), "127.0.0.1", &["--nodes-max", "3"]);
    daemon.health("node-002", NodeHealth::Down);
    let groups = || value(page.at, "bramblegate_group_health_changes_total{group=\"\"}");
    until("the group's is there", || groups() == Some(1.0));
    assert!(!get(page.at, "/metrics").unwrap().text().contains("node=\""));
}
