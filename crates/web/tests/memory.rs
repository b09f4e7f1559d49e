//! The memory of the plots, measured in a process of its own.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use bramblegate_api::status::{Node, NodeHealth, Snapshot};
use bramblegate_web::history::{History, STEP, Span};

/// Returns the anonymous memory of this process, in bytes (`proc_pid_status(5)`).
fn anonymous() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("RssAnon:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() * 1024
}

/// Returns a cluster in which each node has a round trip.
fn cluster(names: std::ops::Range<usize>) -> Snapshot {
    let node = |number| Node {
        name: format!("node-{number:05}").into(),
        health: NodeHealth::Up.into(),
        rtt_us: Some(300),
        ..Node::default()
    };
    Snapshot { nodes: names.map(node).collect(), ..Snapshot::default() }
}

#[test]
fn a_day_of_the_maximum_number_of_series_takes_at_most_four_megabytes() {
    let history = History::default();
    // Twice as many names as the limit of series.
    let clusters = [cluster(0..800), cluster(800..1600), cluster(1600..2400)];
    let before = anonymous();
    for cluster in &clusters {
        history.sample(Some(cluster), Vec::new());
    }
    let day = 24 * 3600 / STEP.as_secs();
    for _ in 3..day {
        history.sample(None, Vec::new());
    }
    let grown = anonymous().saturating_sub(before);
    let kept = history.read(Span::Day, |_| true);
    println!("{} plots of a day: {grown} bytes", kept.len());
    assert_eq!((kept.len(), kept[0].1.len()), (1200, 288));
    drop(kept);
    assert!((3_000_000..=4_000_000).contains(&grown), "{grown} bytes");
}
