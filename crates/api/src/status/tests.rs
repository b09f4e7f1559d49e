//! Lines stay the same on the wire, and parse whatever a newer daemon adds.

mod arbitrary;
mod schema;

use proptest::prelude::*;

use super::*;

/// Recorded lines of the daemon, from before the types existed.
const RECORDED: &str = include_str!("../../tests/lines.jsonl");

fn text_of(line: &Line) -> String {
    String::from_utf8(crate::line(line)).unwrap()
}

#[test]
fn recorded_lines_are_parsed_and_written_unchanged() {
    let mut seen = [0; 2];
    for text in RECORDED.lines() {
        let line = Line::parse(text.as_bytes()).unwrap();
        match &line {
            Line::Snapshot(_) => seen[0] += 1,
            Line::Change(_) => seen[1] += 1,
            other => panic!("{other:?}"),
        }
        assert_eq!(text_of(&line).trim_end(), text);
    }
    assert!(seen[0] > 10 && seen[1] > 4, "{seen:?}");
    let refused = r#"{"reason":"128 programs look on","schema":1,"type":"refused"}"#;
    assert_eq!(text_of(&Line::parse(refused.as_bytes()).unwrap()).trim_end(), refused);
}

#[test]
fn unknown_fields_are_ignored_and_unknown_words_kept() {
    for (text, wanted) in [
        (r#"{"schema":1,"type":"song","verse":1}"#, Line::Other),
        (
            r#"{"schema":1,"type":"change","seq":7,"mood":"good","severity":"doom"}"#,
            Line::Change(Box::new(Change {
                seq: 7,
                severity: Some(Word::Other("doom".into())),
                ..Change::default()
            })),
        ),
        (r#"{"schema":1,"type":"change","seq":7,"host":null}"#, {
            Line::Change(Box::new(Change { seq: 7, host: Some(None), ..Change::default() }))
        }),
    ] {
        assert_eq!(Line::parse(text.as_bytes()).unwrap(), wanted, "{text}");
    }
    let text = r#"{"type":"snapshot","uplink":{"state":"asleep","dream":[1]},"nodes":[{"name":"a","health":"bored"}]}"#;
    let Line::Snapshot(snapshot) = Line::parse(text.as_bytes()).unwrap() else {
        panic!("no snapshot")
    };
    assert_eq!(snapshot.uplink.state.to_string(), "asleep");
    assert_eq!((snapshot.uplink.state.known(), snapshot.nodes[0].health.known()), (None, None));
    assert!(
        crate::line(&*snapshot).windows(6).any(|bytes| bytes == b"bored\""),
        "and written as it came"
    );
}

#[test]
fn lines_that_are_not_a_status_are_refused() {
    for (text, wanted) in [
        ("SSH-2.0-OpenSSH_9.2", "expected"),
        ("{}", "type"),
        (r#"{"schema":2,"type":"snapshot"}"#, "schema is 2"),
        (r#"{"type":"snapshot","nodes":3}"#, "sequence"),
    ] {
        let error = Line::parse(text.as_bytes()).unwrap_err();
        assert!(error.contains(wanted), "{text}: {error}");
    }
}

#[test]
fn texts_have_no_control_characters() {
    let text = r#"{"type":"snapshot","nodes":[{"name":"\u001b[2J\n\u202e","health":"\u009b31m"}]}"#;
    let Line::Snapshot(snapshot) = Line::parse(text.as_bytes()).unwrap() else {
        panic!("no snapshot")
    };
    assert_eq!(snapshot.nodes[0].name, "\\u{1b}[2J\\u{a}\\u{202e}");
    assert_eq!(snapshot.nodes[0].health.to_string(), "\\u{9b}31m");
}

#[test]
fn a_change_is_empty_until_a_field_is_set() {
    assert!(Change { seq: 9, ..Change::default() }.is_empty());
    assert!(!Change { host: Some(None), ..Change::default() }.is_empty());
    assert!(!Change { nodes_removed: vec!["a".into()], ..Change::default() }.is_empty());
}

proptest! {
    #[test]
    fn any_line_is_parsed_and_written_to_the_same_bytes(line in arbitrary::line()) {
        let text = text_of(&line);
        prop_assert_eq!(text.matches('\n').count(), 1);
        let again = Line::parse(text.as_bytes()).unwrap();
        prop_assert_eq!(text_of(&again), text);
        prop_assert_eq!(again, line);
    }

    #[test]
    fn a_snapshot_in_parts_is_the_whole_snapshot(whole in arbitrary::snapshot()) {
        let (mut text, after) = Snapshot { nodes: Vec::new(), ..whole.clone() }.around_nodes();
        let nodes: Vec<_> = whole.nodes.iter().map(|node| serde_json::to_vec(node).unwrap()).collect();
        text.extend(nodes.join(&b','));
        text.extend(after);
        prop_assert_eq!(text, crate::line(&whole));
    }
}
