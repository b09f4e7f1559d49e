//! Whatever happens in whatever order: who merges the lines into the snapshot knows what a newcomer
//! is reported.

use std::collections::BTreeMap;

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

/// The whole snapshot of a newcomer.
fn newcomer(board: &Board) -> Value {
    let mut cursor = Cursor::default();
    let mut text = Vec::new();
    loop {
        match board.piece(&mut cursor, Moment::default()) {
            Piece::Part(part) => text.extend(part),
            Piece::Last(part) => {
                text.extend(part);
                return serde_json::from_slice(&text).unwrap();
            }
            Piece::Broken => panic!("nobody removed a node"),
        }
    }
}

proptest! {
    #[test]
    fn snapshot_and_changes_report_the_same(deeds in prop::collection::vec(deed(), 0..60)) {
        let name = |number: u8| format!("n{number}");
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
            match deed {
                Deed::Node(number, health) => _ = board.set_node(node(&name(number), health)),
                Deed::Remove(number) => _ = board.remove_node(&name(number)),
                Deed::Nodes(numbers) => {
                    board.set_nodes(numbers.into_iter().map(|n| node(&name(n), NodeHealth::Up)).collect());
                }
                Deed::Repaired(times) => _ = board.publish(repaired(times)),
                Deed::RoundTrip(number) => board.set_round_trip(id(&name(number)), Some(Duration::from_millis(1)), None),
                Deed::Line => line(&mut board, &mut known, &mut sequence),
            }
        }
        line(&mut board, &mut known, &mut sequence);
        let mut wanted = Known::default();
        wanted.take(&newcomer(&board));
        prop_assert_eq!(known, wanted);
        prop_assert!(board.take_line(Moment::default()).0.is_none(), "all is told");
    }
}

#[test]
fn a_node_with_another_name_is_listed_under_it_and_the_former_one_is_gone() {
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
fn while_nobody_reads_nothing_is_remembered_and_who_reads_is_reported_each_name_once() {
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
