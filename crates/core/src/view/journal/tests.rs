use std::collections::BTreeSet;
use std::sync::Arc;

use super::*;
use crate::config;
use crate::config::board::Board;
use crate::decide::alert::{AlertCode, Severity, Subject};
use crate::decide::decide;
use crate::event::Reachability;
use crate::event::{ApplyErrorKind, Instant};
use crate::facts::node::NodeHealth;
use crate::facts::uplink::UplinkState;

fn world() -> (Facts, Desired) {
    let text = r#"
        board = "emulated"
        [uplink]
        interfaces = ["eth1"]
        [cluster]
        interface = "eth0"
    "#;
    let settings =
        config::load(&[("settings", text)], &Board::built_in("emulated").unwrap()).unwrap();
    let facts = Facts::new(Arc::new(settings.clone()), Instant::default());
    let desired = decide(&settings, &facts);
    (facts, Desired { alerts: Vec::new(), severity: Severity::Ok, ..desired })
}

/// Returns the records of these transitions after startup.
fn reported(transitions: &[Transition]) -> Vec<Record> {
    let (facts, desired) = world();
    records(transitions, Some(&desired), &desired, &facts)
}

fn messages(records: &[Record]) -> Vec<&str> {
    records.iter().map(|record| record.message.as_str()).collect()
}

fn alert(severity: Severity, code: AlertCode, text: &str) -> Alert {
    Alert::new(code, Subject::Whole, text).graded(severity)
}

#[test]
fn an_evening_reads_like_a_logbook() {
    let port = || "eth1".to_owned();
    let address = "10.99.0.126/24".parse().unwrap();
    let transitions = [
        Transition::UplinkState {
            port: port(),
            from: UplinkState::NoCarrier,
            to: UplinkState::Searching,
        },
        Transition::UplinkAddress {
            port: port(),
            address,
            gateway: Some("10.99.0.1".parse().unwrap()),
        },
        Transition::UplinkState {
            port: port(),
            from: UplinkState::Searching,
            to: UplinkState::Addressed,
        },
        Transition::Reachability { port: port(), to: Reachability::Online },
        Transition::UplinkState {
            port: port(),
            from: UplinkState::Addressed,
            to: UplinkState::Online,
        },
        Transition::NodeHealth {
            name: "rpi1".to_owned(),
            from: NodeHealth::Unknown,
            to: NodeHealth::Up,
            why: None,
        },
        Transition::NodeHealth {
            name: "rpi1".to_owned(),
            from: NodeHealth::Up,
            to: NodeHealth::Down,
            why: None,
        },
        Transition::NodeHealth {
            name: "rpi1".to_owned(),
            from: NodeHealth::Down,
            to: NodeHealth::Up,
            why: None,
        },
        Transition::UplinkAddressLost { port: port(), address },
        Transition::UplinkState {
            port: port(),
            from: UplinkState::Online,
            to: UplinkState::NoCarrier,
        },
    ];
    let wanted = [
        "eth1 has a carrier and waits for an address",
        "eth1 has 10.99.0.126/24, gateway 10.99.0.1",
        "eth1: the internet answers",
        "rpi1 is up",
        "rpi1 is down",
        "rpi1 is up again",
        "eth1 has lost 10.99.0.126/24",
        "eth1 has no carrier",
    ];
    assert_eq!(messages(&reported(&transitions)), wanted);
}

#[test]
fn records_carry_their_fields() {
    let address = "10.99.0.126/24".parse().unwrap();
    let records = reported(&[
        Transition::UplinkAddress {
            port: "eth1".to_owned(),
            address,
            gateway: Some("10.99.0.1".parse().unwrap()),
        },
        Transition::NodeHealth {
            name: "rpi1".to_owned(),
            from: NodeHealth::Up,
            to: NodeHealth::Down,
            why: None,
        },
        Transition::RulesetApplied {
            generation: 7,
            adopted: false,
            flow_table: Some(false),
            rejects: Some(false),
            owned: true,
        },
    ]);
    let [uplink, node, rules] = records.as_slice() else { panic!("{records:?}") };
    assert_eq!(uplink.field("UPLINK"), Some("eth1"));
    assert_eq!(uplink.field("ADDRESS"), Some("10.99.0.126/24"));
    assert_eq!(uplink.field("GATEWAY"), Some("10.99.0.1"));
    assert_eq!(uplink.field("SEVERITY"), Some("ok"));
    assert_eq!(node.field("NODE"), Some("rpi1"));
    assert_eq!(node.field("HEALTH"), Some("down"));
    assert_eq!(node.priority, Priority::Warning);
    assert_eq!(rules.field("RULESET_GENERATION"), Some("7"));
    assert_eq!(
        rules.message,
        "rule set 7 is in the kernel, protected, without a flow table, which it refuses, dropping what it cannot reject (no module nft_reject_inet)"
    );
}

#[test]
fn the_program_that_changed_our_rules_is_named() {
    let what = "the rule set was changed or flushed".to_owned();
    let by = Some("nft (4711)".to_owned());
    let records = reported(&[Transition::Disturbed { output: Output::Firewall, what, by }]);
    assert_eq!(
        messages(&records),
        ["the rule set was changed or flushed by nft (4711); it is put back"]
    );
}

#[test]
fn an_alert_is_recorded_when_raised_and_cleared_only() {
    let (facts, calm) = world();
    let alerts = vec![
        alert(Severity::Fault, AlertCode::GatewayBlocked, "Docker drops"),
        alert(Severity::Warning, AlertCode::NodeDown, "x"),
    ];
    let blocked = Desired { severity: Severity::Fault, alerts, ..calm.clone() };
    let raised = records(&[], Some(&calm), &blocked, &facts);
    assert_eq!(
        messages(&raised),
        ["gateway-blocked: Docker drops"],
        "a node's health has a record of its own"
    );
    assert_eq!(raised[0].priority, Priority::Error);
    assert_eq!(raised[0].field("SEVERITY"), Some("fault"));
    let mut reworded = blocked.clone();
    reworded.alerts[0].text = "Docker drops still".to_owned();
    assert_eq!(records(&[], Some(&blocked), &reworded, &facts), []);
    assert_eq!(messages(&records(&[], Some(&blocked), &calm, &facts)), ["gateway-blocked: over"]);
}

#[test]
fn alerts_with_one_code_are_raised_and_cleared_separately() {
    let (facts, calm) = world();
    let enslaved = |port: &str| {
        let text = format!("{port} is a port of br0");
        Alert::new(AlertCode::UplinkEnslaved, Subject::Port(port.to_owned()), text)
    };
    let one = Desired { alerts: vec![enslaved("eth2")], ..calm.clone() };
    let two = Desired { alerts: vec![enslaved("eth2"), enslaved("eth3")], ..calm.clone() };
    assert_eq!(
        messages(&records(&[], Some(&one), &two, &facts)),
        ["uplink-enslaved: eth3 is a port of br0"]
    );
    assert_eq!(
        messages(&records(&[], Some(&two), &one, &facts)),
        ["uplink-enslaved: over: eth3 is a port of br0"]
    );
    assert_eq!(messages(&records(&[], Some(&one), &calm, &facts)), ["uplink-enslaved: over"]);
}

#[test]
fn the_start_and_each_new_rule_set_are_recorded_first() {
    let (facts, desired) = world();
    let first = records(&[], None, &desired, &facts);
    assert_eq!(first.len(), 2);
    assert!(first[0].message.contains("is the gateway of 192.168.50.0/24"), "{}", first[0].message);
    assert_eq!(first[1].priority, Priority::Debug);
    assert!(first[1].message.contains("table inet bramblegate"), "{}", first[1].message);
    assert_eq!(records(&[], Some(&desired), &desired, &facts), []);
}

#[test]
fn failures_of_essential_outputs_are_errors() {
    let records = reported(&[
        Transition::OutputFailed { output: Output::Firewall, message: "a".to_owned() },
        Transition::OutputFailed { output: Output::Display, message: "b".to_owned() },
        Transition::OutputHealed { output: Output::Display },
    ]);
    assert_eq!(messages(&records), ["firewall: a", "display: b", "display: works again"]);
    assert_eq!(
        records.iter().map(|r| r.priority).collect::<Vec<_>>(),
        [Priority::Error, Priority::Warning, Priority::Info]
    );
    let error = ApplyError { kind: ApplyErrorKind::Failed, message: "busy".to_owned() };
    assert_eq!(not_put_back(&error).message, "not put back: busy");
}

#[test]
fn message_ids_are_random_uuids_and_unique() {
    let ids: BTreeSet<&str> = Kind::ALL.iter().map(|kind| kind.id()).collect();
    assert_eq!(ids.len(), Kind::ALL.len());
    for id in ids {
        assert!(
            id.len() == 32 && id.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')),
            "{id}"
        );
        assert!(
            id.as_bytes()[12] == b'4' && matches!(id.as_bytes()[16], b'8' | b'9' | b'a' | b'b'),
            "{id}: version 4"
        );
    }
}

#[test]
fn the_shipped_catalog_explains_every_kind() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../systemd/bramblegate.catalog");
    let shipped = std::fs::read_to_string(path).unwrap_or_default();
    if shipped != catalog() {
        let fresh = std::env::temp_dir().join("bramblegate.catalog");
        std::fs::write(&fresh, catalog()).unwrap();
        panic!("{path} is not what the table of kinds gives: copy {} there", fresh.display());
    }
}
