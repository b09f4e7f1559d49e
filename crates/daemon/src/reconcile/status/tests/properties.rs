//! Property tests: for any sequence of changes, the snapshot merged with all lines equals a new
//! client's snapshot.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::super::change_log::{Cursor, Piece};
use super::*;

#[derive(Debug, Clone)]
enum Action {
    Node(u8, NodeHealth),
    Remove(u8),
    Nodes(Vec<u8>),
    Repaired(u64),
    RoundTrip(u8),
    Line,
}

fn action() -> impl Strategy<Value = Action> {
    let health =
        prop_oneof![Just(NodeHealth::Up), Just(NodeHealth::Down), Just(NodeHealth::Unknown)];
    prop_oneof![
        4 => (0..12u8, health).prop_map(|(name, health)| Action::Node(name, health)),
        1 => (0..12u8).prop_map(Action::Remove),
        1 => prop::sample::subsequence((0..12u8).collect::<Vec<_>>(), 0..12).prop_shuffle().prop_map(Action::Nodes),
        2 => (0..4u64).prop_map(Action::Repaired),
        1 => (0..12u8).prop_map(Action::RoundTrip),
        4 => Just(Action::Line),
    ]
}

/// A client's merged status: the gateway's repairs, and the nodes' health by name.
#[derive(Debug, Default, PartialEq)]
struct Known {
    repaired: u64,
    nodes: BTreeMap<String, String>,
}

impl Known {
    fn take(&mut self, line: &Value) {
        if let Some(repaired) = line.pointer("/gateway/repaired") {
            self.repaired = repaired.as_u64().unwrap();
        }
        for name in line["nodes_removed"].as_array().into_iter().flatten() {
            self.nodes.remove(name.as_str().unwrap());
        }
        for node in line["nodes"].as_array().into_iter().flatten() {
            let text = |key: &str| node[key].as_str().unwrap().to_owned();
            self.nodes.insert(text("name"), text("health"));
        }
    }
}

/// A client whose snapshot is being written.
#[derive(Debug, Default)]
struct Newcomer {
    cursor: Cursor,
    text: Vec<u8>,
    complete: bool,
}

impl Newcomer {
    fn write(&mut self, change_log: &ChangeLog, most: usize) {
        if self.complete {
            return;
        }
        let part = match change_log.piece(&mut self.cursor, most, Moment::default()).unwrap() {
            Piece::Part(part) => part,
            Piece::Last(part) => {
                self.complete = true;
                part
            }
        };
        self.text.extend(part);
    }

    fn snapshot(mut self, change_log: &ChangeLog) -> Value {
        while !self.complete {
            self.write(change_log, 100);
        }
        serde_json::from_slice(&self.text).unwrap()
    }
}

/// Returns the complete snapshot of a new client.
fn newcomer(change_log: &ChangeLog) -> Value {
    Newcomer::default().snapshot(change_log)
}

/// Applies a change to the log.
fn change(change_log: &mut ChangeLog, action: Action) {
    let name = |number: u8| format!("n{number}");
    match action {
        Action::Node(number, health) => _ = change_log.set_node(node(&name(number), health)),
        Action::Remove(number) => _ = change_log.remove_node(&name(number)),
        Action::Nodes(numbers) => {
            let nodes = numbers.into_iter().map(|number| node(&name(number), NodeHealth::Up));
            change_log.set_nodes(nodes.collect());
        }
        Action::Repaired(times) => _ = change_log.publish(repaired(times)),
        Action::RoundTrip(number) => {
            change_log.set_round_trip(id(&name(number)), Some(Duration::from_millis(1)), None);
        }
        Action::Line => {}
    }
}

proptest! {
    #[test]
    fn snapshot_and_changes_report_the_same(actions in prop::collection::vec(action(), 0..60)) {
        let mut change_log = ChangeLog::default();
        change_log.publish(snapshot());
        change_log.begin_reading();
        let mut known = Known::default();
        known.take(&newcomer(&change_log));
        let mut sequence = 0;
        let line = |change_log: &mut ChangeLog, known: &mut Known, sequence: &mut u64| {
            if let (Some(text), _) = change_log.take_line(Moment::default()) {
                let line: Value = serde_json::from_slice(&text).unwrap();
                *sequence += 1;
                assert_eq!(line["seq"], *sequence);
                known.take(&line);
            }
        };
        for action in actions {
            if matches!(action, Action::Line) {
                line(&mut change_log, &mut known, &mut sequence);
            }
            change(&mut change_log, action);
        }
        line(&mut change_log, &mut known, &mut sequence);
        let mut wanted = Known::default();
        wanted.take(&newcomer(&change_log));
        prop_assert_eq!(known, wanted);
        prop_assert!(change_log.take_line(Moment::default()).0.is_none(), "all is sent");
    }

    #[test]
    fn a_snapshot_is_completed_while_nodes_come_go_and_move(
        actions in prop::collection::vec((action(), 0..3_usize), 0..40),
    ) {
        let mut change_log = ChangeLog::default();
        change_log.publish(snapshot());
        change_log.set_nodes((0..12).map(|number| node(&format!("n{number}"), NodeHealth::Up)).collect());
        change_log.begin_reading();
        let (mut slow, mut lines) = (Newcomer::default(), Vec::new());
        slow.write(&change_log, 1);
        for (action, most) in actions {
            if matches!(action, Action::Line) {
                lines.extend(change_log.take_line(Moment::default()).0);
            }
            change(&mut change_log, action);
            if most > 0 {
                slow.write(&change_log, most);
            }
        }
        lines.extend(change_log.take_line(Moment::default()).0);
        let first = slow.snapshot(&change_log);
        let listed: Vec<&str> =
            first["nodes"].as_array().unwrap().iter().map(|node| node["name"].as_str().unwrap()).collect();
        let names = BTreeSet::from_iter(listed.iter().copied());
        prop_assert_eq!(names.len(), listed.len(), "each once: {:?}", listed);
        let (mut known, mut wanted) = (Known::default(), Known::default());
        known.take(&first);
        for line in lines {
            known.take(&serde_json::from_slice(&line).unwrap());
        }
        wanted.take(&newcomer(&change_log));
        prop_assert_eq!(known, wanted);
    }
}

#[test]
fn a_renamed_node_is_reported_with_its_new_name_and_the_old_one_as_removed() {
    let mut change_log = ChangeLog::default();
    change_log.publish(snapshot());
    change_log.set_nodes(vec![node("n1", NodeHealth::Up), node("n2", NodeHealth::Up)]);
    change_log.begin_reading();
    assert!(
        change_log.set_node(NodeStatus { name: "hugo".to_owned(), ..node("n1", NodeHealth::Up) })
    );
    change_log.set_round_trip(id("n1"), Some(Duration::from_micros(7)), None);
    let line: Value =
        serde_json::from_slice(&change_log.take_line(Moment::default()).0.unwrap()).unwrap();
    let reported = (&line["nodes"][0]["name"], &line["nodes"][0]["rtt_us"], &line["nodes_removed"]);
    assert_eq!(reported, (&"hugo".into(), &7.into(), &serde_json::json!(["n1"])));
}

#[test]
fn ten_thousand_nodes_are_split_into_lines_of_limited_length() {
    let mut change_log = ChangeLog::default();
    change_log.publish(snapshot());
    let nodes = |health| {
        (0..10_000).map(|n| node(&format!("a-node-with-a-long-name-{n}"), health)).collect()
    };
    change_log.set_nodes(nodes(NodeHealth::Up));
    change_log.begin_reading();
    assert_eq!(newcomer(&change_log)["nodes"].as_array().unwrap().len(), 10_000);
    change_log.set_nodes(nodes(NodeHealth::Down));
    let mut reported = 0;
    loop {
        let (line, more) = change_log.take_line(Moment::default());
        let line = line.unwrap();
        assert!(line.len() < super::super::client::MOST_BEHIND / 2);
        reported +=
            serde_json::from_slice::<Value>(&line).unwrap()["nodes"].as_array().unwrap().len();
        if !more {
            break;
        }
    }
    assert_eq!(reported, 10_000);
}

#[test]
fn without_clients_nothing_is_recorded_and_each_name_is_sent_once() {
    let mut change_log = ChangeLog::default();
    change_log.publish(snapshot());
    change_log.set_nodes(vec![node("n1", NodeHealth::Up), node("n2", NodeHealth::Up)]);
    let rename = |change_log: &mut ChangeLog, count: u32| {
        for number in 0..count {
            change_log.set_node(NodeStatus {
                name: format!("name-{number}"),
                ..node("n1", NodeHealth::Up)
            });
            let nodes = vec![
                NodeStatus { name: format!("name-{number}"), ..node("n1", NodeHealth::Up) },
                node(&format!("other-{number}"), NodeHealth::Up),
            ];
            change_log.set_nodes(nodes);
        }
    };
    rename(&mut change_log, 1000);
    assert_eq!(change_log.unsent(), 0);
    change_log.begin_reading();
    rename(&mut change_log, 10);
    assert!((1..=22).contains(&change_log.unsent()), "{}", change_log.unsent());
    change_log.end_reading();
    rename(&mut change_log, 10);
    assert_eq!(change_log.unsent(), 0);
}
