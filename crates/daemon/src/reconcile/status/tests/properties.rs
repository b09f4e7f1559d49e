//! Whatever happens in whatever order: who merges the lines into the snapshot knows what a newcomer
//! is reported.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::super::board::{Cursor, Piece};
use super::*;

#[derive(Debug, Clone)]
enum Deed {
    Node(u8, NodeHealth),
    Remove(u8),
    Nodes(Vec<u8>),
    Repaired(u64),
    RoundTrip(u8),
    Line,
}

fn deed() -> impl Strategy<Value = Deed> {
    let health =
        prop_oneof![Just(NodeHealth::Up), Just(NodeHealth::Down), Just(NodeHealth::Unknown)];
    prop_oneof![
        4 => (0..12u8, health).prop_map(|(name, health)| Deed::Node(name, health)),
        1 => (0..12u8).prop_map(Deed::Remove),
        1 => prop::sample::subsequence((0..12u8).collect::<Vec<_>>(), 0..12).prop_shuffle().prop_map(Deed::Nodes),
        2 => (0..4u64).prop_map(Deed::Repaired),
        1 => (0..12u8).prop_map(Deed::RoundTrip),
        4 => Just(Deed::Line),
    ]
}

/// What a client knows: the gateway's repairs, and the nodes' health by name.
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

/// A client whose snapshot is being written; lines wait until it is complete.
#[derive(Debug, Default)]
struct Newcomer {
    cursor: Cursor,
    text: Vec<u8>,
    complete: bool,
}

impl Newcomer {
    fn write(&mut self, board: &Board, most: usize) {
        if self.complete {
            return;
        }
        let part = match board.piece(&mut self.cursor, most, Moment::default()).unwrap() {
            Piece::Part(part) => part,
            Piece::Last(part) => {
                self.complete = true;
                part
            }
        };
        self.text.extend(part);
    }

    fn snapshot(mut self, board: &Board) -> Value {
        while !self.complete {
            self.write(board, 100);
        }
        serde_json::from_slice(&self.text).unwrap()
    }
}

/// The whole snapshot of a newcomer.
fn newcomer(board: &Board) -> Value {
    Newcomer::default().snapshot(board)
}

/// Does what changes the board.
fn change(board: &mut Board, deed: Deed) {
    let name = |number: u8| format!("n{number}");
    match deed {
        Deed::Node(number, health) => _ = board.set_node(node(&name(number), health)),
        Deed::Remove(number) => _ = board.remove_node(&name(number)),
        Deed::Nodes(numbers) => {
            let nodes = numbers.into_iter().map(|number| node(&name(number), NodeHealth::Up));
            board.set_nodes(nodes.collect());
        }
        Deed::Repaired(times) => _ = board.publish(repaired(times)),
        Deed::RoundTrip(number) => {
            board.set_round_trip(id(&name(number)), Some(Duration::from_millis(1)), None);
        }
        Deed::Line => {}
    }
}

proptest! {
    #[test]
    fn snapshot_and_changes_report_the_same(deeds in prop::collection::vec(deed(), 0..60)) {
        let mut board = Board::default();
        board.publish(snapshot());
        board.begin_reading();
        let mut known = Known::default();
        known.take(&newcomer(&board));
        let mut sequence = 0;
        let line = |board: &mut Board, known: &mut Known, sequence: &mut u64| {
            if let (Some(text), _) = board.take_line(Moment::default()) {
                let line: Value = serde_json::from_slice(&text).unwrap();
                *sequence += 1;
                assert_eq!(line["seq"], *sequence);
                known.take(&line);
            }
        };
        for deed in deeds {
            if matches!(deed, Deed::Line) {
                line(&mut board, &mut known, &mut sequence);
            }
            change(&mut board, deed);
        }
        line(&mut board, &mut known, &mut sequence);
        let mut wanted = Known::default();
        wanted.take(&newcomer(&board));
        prop_assert_eq!(known, wanted);
        prop_assert!(board.take_line(Moment::default()).0.is_none(), "all is sent");
    }

    #[test]
    fn a_snapshot_is_completed_while_nodes_come_go_and_move(
        deeds in prop::collection::vec((deed(), 0..3_usize), 0..40),
    ) {
        let mut board = Board::default();
        board.publish(snapshot());
        board.set_nodes((0..12).map(|number| node(&format!("n{number}"), NodeHealth::Up)).collect());
        board.begin_reading();
        let (mut slow, mut lines) = (Newcomer::default(), Vec::new());
        slow.write(&board, 1);
        for (deed, most) in deeds {
            if matches!(deed, Deed::Line) {
                lines.extend(board.take_line(Moment::default()).0);
            }
            change(&mut board, deed);
            if most > 0 {
                slow.write(&board, most);
            }
        }
        lines.extend(board.take_line(Moment::default()).0);
        let first = slow.snapshot(&board);
        let listed: Vec<&str> =
            first["nodes"].as_array().unwrap().iter().map(|node| node["name"].as_str().unwrap()).collect();
        let names = BTreeSet::from_iter(listed.iter().copied());
        prop_assert_eq!(names.len(), listed.len(), "each once: {:?}", listed);
        let (mut known, mut wanted) = (Known::default(), Known::default());
        known.take(&first);
        for line in lines {
            known.take(&serde_json::from_slice(&line).unwrap());
        }
        wanted.take(&newcomer(&board));
        prop_assert_eq!(known, wanted);
    }
}

#[test]
fn a_node_with_another_name_is_listed_under_it_and_the_earlier_one_is_gone() {
    let mut board = Board::default();
    board.publish(snapshot());
    board.set_nodes(vec![node("n1", NodeHealth::Up), node("n2", NodeHealth::Up)]);
    board.begin_reading();
    assert!(board.set_node(NodeStatus { name: "hugo".to_owned(), ..node("n1", NodeHealth::Up) }));
    board.set_round_trip(id("n1"), Some(Duration::from_micros(7)), None);
    let line: Value =
        serde_json::from_slice(&board.take_line(Moment::default()).0.unwrap()).unwrap();
    let reported = (&line["nodes"][0]["name"], &line["nodes"][0]["rtt_us"], &line["nodes_removed"]);
    assert_eq!(reported, (&"hugo".into(), &7.into(), &serde_json::json!(["n1"])));
}

#[test]
fn ten_thousand_nodes_are_reported_in_lines_of_bearable_length() {
    let mut board = Board::default();
    board.publish(snapshot());
    let nodes = |health| {
        (0..10_000).map(|n| node(&format!("a-node-with-a-long-name-{n}"), health)).collect()
    };
    board.set_nodes(nodes(NodeHealth::Up));
    board.begin_reading();
    assert_eq!(newcomer(&board)["nodes"].as_array().unwrap().len(), 10_000);
    board.set_nodes(nodes(NodeHealth::Down));
    let mut reported = 0;
    loop {
        let (line, more) = board.take_line(Moment::default());
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
fn without_clients_nothing_is_remembered_and_each_client_is_sent_each_name_once() {
    let mut board = Board::default();
    board.publish(snapshot());
    board.set_nodes(vec![node("n1", NodeHealth::Up), node("n2", NodeHealth::Up)]);
    let rename = |board: &mut Board, count: u32| {
        for number in 0..count {
            board.set_node(NodeStatus {
                name: format!("name-{number}"),
                ..node("n1", NodeHealth::Up)
            });
            let nodes = vec![
                NodeStatus { name: format!("name-{number}"), ..node("n1", NodeHealth::Up) },
                node(&format!("other-{number}"), NodeHealth::Up),
            ];
            board.set_nodes(nodes);
        }
    };
    rename(&mut board, 1000);
    assert_eq!(board.untold(), 0);
    board.begin_reading();
    rename(&mut board, 10);
    assert!((1..=22).contains(&board.untold()), "{}", board.untold());
    board.end_reading();
    rename(&mut board, 10);
    assert_eq!(board.untold(), 0);
}
