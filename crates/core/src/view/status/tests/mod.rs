//! Snapshots and lines as clients read them.

mod schema;

use std::sync::Arc;

use serde_json::Value;

use super::*;
use crate::config;
use crate::config::board::Board;
use crate::decide::decide;
use crate::event::{
    Address, ApplyError, ApplyReport, Blocker, Change, Dump, Event, Firewall, Lease, Link, Netconf,
    Probe, Reachability, Round, Route, Vital,
};
use schema::Schema;

const SETTINGS: &str = r#"
    board = "emulated"
    [uplink]
    interfaces = ["eth1", "wlan0"]
    [cluster]
    interface = "eth0"
    address = "192.168.50.1/24"
    [[node]]
    name = "rpi1"
    mac = "b8:27:eb:00:00:01"
    address = "192.168.50.11"
    [[node]]
    name = "rpi2"
    address = "192.168.50.12"
"#;

/// Facts with a helper clock that counts seconds.
struct Stage {
    settings: Arc<Settings>,
    facts: Facts,
    second: u64,
}

impl Stage {
    fn new() -> Self {
        let settings =
            config::load(&[("settings", SETTINGS)], &Board::built_in("emulated").unwrap()).unwrap();
        let settings = Arc::new(settings);
        let facts = Facts::new(Arc::clone(&settings), Instant::from_boot(Duration::from_secs(100)));
        Self { settings, facts, second: 100 }
    }

    fn now(&self) -> Instant {
        Instant::from_boot(Duration::from_secs(self.second))
    }

    fn handle(&mut self, event: Event) -> &mut Self {
        let now = self.now();
        self.facts.apply(&event, now);
        self
    }

    fn pass(&mut self, seconds: u64) -> &mut Self {
        self.second += seconds;
        self.handle(Event::Tick)
    }

    /// Returns a head with a cluster port and a wired uplink, online.
    fn online() -> Self {
        let mut stage = Self::new();
        stage.handle(Event::Dump(Dump::Begin));
        stage.handle(link(2, "eth0")).handle(link(3, "eth1"));
        stage.handle(address(3, "10.99.0.126/24")).handle(Event::Route(Change::Present(Route {
            table: 254,
            destination: "0.0.0.0/0".parse().unwrap(),
            gateway: Some("10.99.0.1".parse().unwrap()),
            index: 3,
            metric: 100,
            protocol: 16,
            onlink: false,
            preferred_source: None,
            mtu: None,
        })));
        stage.handle(Event::Dump(Dump::End));
        stage.handle(Event::Probe(Probe::Uplink { index: 3, reachability: Reachability::Online }));
        for index in [2, 3] {
            stage.handle(Event::Netconf(Netconf {
                index,
                forwarding: Some(true),
                ..Netconf::default()
            }));
        }
        let firewall = Applied::Firewall {
            masquerade: true,
            owned: true,
            flow_table: None,
            rejects: None,
            adopted: false,
        };
        stage.report(Output::Firewall, Ok(firewall));
        stage
    }

    fn report(&mut self, output: Output, result: Result<Applied, ApplyError>) -> &mut Self {
        self.handle(Event::Applied(ApplyReport { output, result }))
    }

    fn node(&mut self, name: &str, answered: bool) -> &mut Self {
        let rtt = answered.then_some(Duration::from_micros(310));
        self.round(name, rtt)
    }

    fn round(&mut self, name: &str, rtt: Option<Duration>) -> &mut Self {
        let node = self.facts.nodes().by_name(name).unwrap().id;
        self.handle(Event::Probe(Probe::Nodes(vec![Round {
            node,
            rtt,
            first_lost: rtt.is_none(),
        }])))
    }

    fn snapshot(&self) -> Snapshot {
        snapshot(&self.settings, &self.facts, &decide(&self.settings, &self.facts))
    }

    /// Returns the snapshot line as a client reads it, checked against the schema.
    fn line(&self) -> Value {
        let nodes = nodes(&self.facts);
        parse(&whole(&self.snapshot(), &nodes, self.now()))
    }
}

/// Returns a snapshot line.
fn whole(snapshot: &Snapshot, nodes: &[NodeStatus], now: Instant) -> Vec<u8> {
    let nodes = nodes.iter().map(|node| node.at(now)).collect();
    crate::api::line(&api::Snapshot { nodes, ..snapshot.at(now) })
}

/// Returns the names of the parts that differ.
fn parts(change: &api::Change) -> Vec<String> {
    let value = serde_json::to_value(change).unwrap();
    keys(&value)
        .into_iter()
        .filter(|key| !["schema", "type", "seq"].contains(key))
        .map(str::to_owned)
        .collect()
}

fn parse(text: &[u8]) -> Value {
    assert_eq!(text.iter().filter(|byte| **byte == b'\n').count(), 1, "one line");
    let value = serde_json::from_slice(text).unwrap();
    if let Err(fault) = Schema::shipped().check(&value) {
        panic!("{fault} in {value:#}");
    }
    value
}

fn link(index: u32, name: &str) -> Event {
    Event::Link(Change::Present(Link::wired(index, name)))
}

fn address(index: u32, net: &str) -> Event {
    Event::Address(Change::Present(Address {
        valid_for: Some(Duration::from_secs(120)),
        ..Address::lasting(index, net.parse().unwrap())
    }))
}

fn error(kind: ApplyErrorKind) -> ApplyError {
    ApplyError { kind, message: "no such thing".to_owned() }
}

fn display() -> Applied {
    Applied::Display {
        lines: vec!["10.99.0.126     ".to_owned(), "2/2 up  eth1   ♥".to_owned()],
        bytes: 140,
        bus_time: Duration::from_micros(12_600),
        lit: true,
        blind: false,
    }
}

fn keys(value: &Value) -> Vec<&str> {
    value.as_object().unwrap().keys().map(String::as_str).collect()
}

#[test]
fn without_facts_no_key_is_missing() {
    let line = Stage::new().line();
    let mut documented = Schema::shipped().keys("snapshot");
    documented.sort();
    assert_eq!(keys(&line), documented);
    assert_eq!(line["type"], "snapshot");
    assert_eq!(line["schema"], 1);
    assert_eq!(line["uptime_s"], 0);
    assert_eq!(line["uplink"]["state"], "absent");
    for key in [
        "interface",
        "address",
        "gateway",
        "since_s",
        "lease_left_s",
        "addresses",
        "not_renewed_s",
        "dhcp",
        "portal_url",
        "venue",
        "nat64_prefix",
    ] {
        assert_eq!(line["uplink"][key], Value::Null, "{key}");
    }
    assert_eq!(line["uplinks"], serde_json::json!([]));
    assert_eq!(line["cluster"]["interface"], Value::Null);
    assert_eq!(line["gateway"]["masquerade"], false);
    assert_eq!(
        line["panel"]["lcd"],
        serde_json::json!({ "state": "absent", "lines": null, "bytes": 0, "errors": 0, "bus_time_us": 0, "backlight": null })
    );
    assert_eq!(
        line["panel"]["led"],
        serde_json::json!({ "state": "absent", "colour": null, "pattern": null, "leds": null })
    );
}

#[test]
fn an_evening_online() {
    let mut stage = Stage::online();
    stage.node("rpi1", true).node("rpi2", true).pass(12);
    stage.report(Output::Display, Ok(display()));
    stage
        .report(Output::Indicator, Ok(Applied::Indicator { leds: 1, name: "emulator".to_owned() }));
    let line = stage.line();
    assert_eq!(
        line["uplink"],
        serde_json::json!({
            "state": "online", "interface": "eth1", "address": "10.99.0.126/24", "gateway": "10.99.0.1",
            "since_s": 12, "lease_left_s": 108, "addresses": ["10.99.0.126/24"],
            "not_renewed_s": null, "dhcp": null, "portal_url": null,
            "venue": "v4", "venue_reasons": [], "nat64_prefix": null,
        })
    );
    assert_eq!(line["uplinks"], serde_json::json!([line["uplink"]]));
    assert_eq!(
        line["gateway"],
        serde_json::json!({
            "forwarding": true, "masquerade": true, "applied": 1, "repaired": 0, "overlap": "none", "blocked_by": null,
            "ipv6_forwarding": false,
        })
    );
    assert_eq!(
        line["cluster"],
        serde_json::json!({
            "interface": "eth0", "leases": 0, "range_size": null, "address": "192.168.50.1/24", "ipv6": null, "dhcp": "off", "up": 2, "total": 2,
        })
    );
    assert_eq!(
        line["nodes"][0],
        serde_json::json!({
            "name": "rpi1", "mac": "b8:27:eb:00:00:01", "address": "192.168.50.11", "addresses": ["192.168.50.11"],
            "health": "up", "stage": null, "rtt_us": 310, "loss_percent": 0, "since_s": 12, "origin": "settings", "group": null,
        })
    );
    assert_eq!(line["nodes"][1]["mac"], Value::Null);
    assert_eq!(line["panel"]["lcd"]["lines"][1], "2/2 up  eth1   ♥");
    assert_eq!(line["panel"]["led"]["colour"], "#00ff00");
    assert_eq!(line["panel"]["led"]["pattern"], "breathe");
    assert_eq!(
        line["panel"]["led"]["leds"],
        serde_json::json!([{ "colour": "#00ff00", "pattern": "breathe" }])
    );
}

#[test]
fn a_stick_reports_each_of_its_leds() {
    let mut stage = Stage::online();
    stage.node("rpi1", true);
    stage.report(
        Output::Indicator,
        Ok(Applied::Indicator { leds: 8, name: "blinkstick".to_owned() }),
    );
    let line = stage.line();
    assert_eq!(
        line["panel"]["led"]["leds"].as_array().unwrap().len(),
        3,
        "the cluster and two nodes"
    );
}

#[test]
fn devices_are_ok_absent_failed_or_off() {
    let mut stage = Stage::online();
    stage.report(Output::Display, Ok(display()));
    for (kind, word) in [
        (ApplyErrorKind::Absent, "absent"),
        (ApplyErrorKind::Failed, "error"),
        (ApplyErrorKind::Denied, "error"),
        (ApplyErrorKind::Off, "off"),
    ] {
        stage.report(Output::Display, Err(error(kind)));
        let line = stage.line();
        assert_eq!(line["panel"]["lcd"]["state"], word);
        assert_eq!(line["panel"]["lcd"]["lines"], Value::Null, "what stands there is not known");
        assert_eq!(line["panel"]["lcd"]["bytes"], 140);
    }
    stage.report(Output::Display, Ok(display()));
    assert_eq!(stage.line()["panel"]["lcd"]["state"], "ok");
}

/// The carrier is lost and the address stays, as a static one does.
#[test]
fn an_address_without_a_carrier_is_not_reported() {
    let mut stage = Stage::online();
    let Event::Link(Change::Present(plugged)) = link(3, "eth1") else { panic!("no link") };
    stage.handle(Event::Link(Change::Present(Link { carrier: false, ..plugged })));
    let line = stage.line();
    assert_eq!(line["uplink"]["state"], "no-carrier");
    assert_eq!(line["uplink"]["address"], Value::Null);
    assert_eq!(line["uplink"]["addresses"], serde_json::json!([]));
    stage.handle(link(3, "eth1"));
    assert_eq!(stage.line()["uplink"]["addresses"], serde_json::json!(["10.99.0.126/24"]));
}

#[test]
fn a_blocker_is_named_or_null() {
    let mut stage = Stage::online();
    let blocker = Blocker {
        table: Some("ip filter".to_owned()),
        chain: Some("FORWARD".to_owned()),
        remedy: "do this".to_owned(),
    };
    stage.handle(Event::Firewall(Firewall::Blocked(Some(blocker))));
    let wanted =
        serde_json::json!({ "table": "ip filter", "chain": "FORWARD", "remedy": "do this" });
    assert_eq!(stage.line()["gateway"]["blocked_by"], wanted);
    stage.handle(Event::Firewall(Firewall::Blocked(None)));
    assert_eq!(stage.line()["gateway"]["blocked_by"], Value::Null);
    for forwarded in [10, 20, 30] {
        stage.handle(Event::Firewall(Firewall::Counters { forwarded, postrouted: 5 }));
    }
    let line = stage.line();
    assert_eq!(line["gateway"]["blocked_by"]["chain"], Value::Null);
    assert_eq!(line["gateway"]["blocked_by"]["table"], Value::Null);
    assert!(line["gateway"]["blocked_by"]["remedy"].is_string());
}

#[test]
fn rule_counters_alone_cause_no_line() {
    let mut stage = Stage::online();
    let count = |purpose: &str, packets| RuleCount {
        chain: "forward".into(),
        purpose: purpose.into(),
        packets,
        bytes: 84 * packets,
    };
    stage.handle(Event::Firewall(Firewall::Rules([count("a", 1), count("b", 0)].into())));
    let before = stage.snapshot();
    stage.handle(Event::Firewall(Firewall::Rules([count("a", 9), count("b", 3)].into())));
    assert!(!stage.snapshot().is_news_after(&before));
    let wanted = serde_json::json!([{ "bytes": 756, "chain": "forward", "packets": 9, "rule": "a" },
                           { "bytes": 252, "chain": "forward", "packets": 3, "rule": "b" }]);
    assert_eq!(stage.line()["rules"], wanted);
    stage.handle(Event::Firewall(Firewall::Rules([count("a", 9)].into())));
    let change = stage.snapshot().change_after(&before, Instant::default());
    assert_eq!(change.rules.map(|rules| rules.len()), Some(1), "another rule set is");
}

#[test]
fn a_rule_set_that_failed_leaves_the_masquerade_unknown() {
    let mut stage = Stage::online();
    stage.report(Output::Firewall, Err(error(ApplyErrorKind::Failed)));
    let gateway = &stage.line()["gateway"];
    assert_eq!((&gateway["masquerade"], &gateway["ipv6_forwarding"]), (&Value::Null, &Value::Null));
}

#[test]
fn loaded_rules_report_ipv6_as_blocked() {
    assert_eq!(Stage::online().line()["gateway"]["ipv6_forwarding"], false);
    assert_eq!(
        Stage::new().line()["gateway"]["ipv6_forwarding"],
        Value::Null,
        "before they are it is not known"
    );
}

#[test]
fn a_change_of_the_backlight_causes_a_line() {
    let mut stage = Stage::online();
    stage.report(Output::Display, Ok(display()));
    assert_eq!(stage.line()["panel"]["lcd"]["backlight"], true);
    assert_eq!(stage.line()["panel"]["lcd"]["bus_time_us"], 12_600);
    let before = stage.snapshot();
    let Applied::Display { lines, bytes, bus_time, .. } = display() else { unreachable!() };
    let dark = Applied::Display { lines, bytes, bus_time, lit: false, blind: false };
    stage.report(Output::Display, Ok(dark));
    assert_eq!(stage.line()["panel"]["lcd"]["backlight"], false);
    assert_eq!(parts(&stage.snapshot().change_after(&before, stage.now())), ["panel"]);
    stage.report(Output::Display, Err(error(ApplyErrorKind::Absent)));
    assert_eq!(stage.line()["panel"]["lcd"]["backlight"], Value::Null);
}

#[test]
fn bus_errors_of_the_display_cause_a_line() {
    let mut stage = Stage::online();
    let before = stage.snapshot();
    stage.handle(Event::Vital(Vital::DisplayErrors(3)));
    assert_eq!(stage.line()["panel"]["lcd"]["errors"], 3);
    assert_eq!(parts(&stage.snapshot().change_after(&before, stage.now())), ["panel"]);
}

#[test]
fn losses_cover_the_last_64_rounds_of_a_node_that_is_up() {
    let mut stage = Stage::online();
    assert_eq!(stage.line()["nodes"][0]["loss_percent"], Value::Null);
    for _ in 0..100 {
        stage.node("rpi1", true);
    }
    stage.node("rpi1", false).node("rpi1", true);
    assert_eq!(stage.line()["nodes"][0]["loss_percent"], 1);
    for _ in 0..64 {
        stage.node("rpi1", true);
    }
    assert_eq!(stage.line()["nodes"][0]["loss_percent"], 0);
    for _ in 0..20 {
        stage.node("rpi1", false);
    }
    assert_eq!(stage.line()["nodes"][0]["loss_percent"], Value::Null, "it is down");
}

#[test]
fn leases_are_counted_and_the_range_has_a_size() {
    let mut stage = Stage::online();
    let cluster = &stage.line()["cluster"];
    assert_eq!((&cluster["leases"], &cluster["range_size"]), (&0.into(), &Value::Null));
    let lease = Lease {
        mac: Mac([2, 0, 0, 0, 0, 9]),
        address: [192, 168, 50, 100].into(),
        host_name: None,
        valid_for: Some(Duration::from_secs(3600)),
    };
    stage.handle(Event::Lease(Change::Present(lease.clone())));
    assert_eq!(stage.line()["cluster"]["leases"], 1);
    stage.handle(Event::Lease(Change::Gone(lease)));
    assert_eq!(stage.line()["cluster"]["leases"], 0);
    let range = "[cluster.dhcp]\nrange = \"192.168.50.100-192.168.50.199\"\n";
    let text = format!("{SETTINGS}{range}");
    stage.settings = Arc::new(
        config::load(&[("settings", &text)], &Board::built_in("emulated").unwrap()).unwrap(),
    );
    assert_eq!(stage.line()["cluster"]["range_size"], 100);
}

#[test]
fn an_infinite_lease_has_no_end() {
    let mut stage = Stage::online();
    let Event::Address(Change::Present(lease)) = address(3, "10.99.0.126/24") else {
        unreachable!()
    };
    stage.handle(Event::Address(Change::Present(Address { valid_for: None, ..lease })));
    let line = stage.line();
    assert_eq!(line["uplink"]["lease_left_s"], Value::Null);
    assert_eq!(line["uplink"]["address"], "10.99.0.126/24");
}

#[test]
fn time_alone_causes_no_line() {
    let mut stage = Stage::online();
    stage.node("rpi1", true);
    stage.report(Output::Display, Ok(display()));
    let before = stage.snapshot();
    stage.pass(30);
    assert_eq!(before, stage.snapshot(), "moments, not ages");
    // The lease is renewed, the display has sent more bytes, the round trip took longer.
    stage.handle(address(3, "10.99.0.126/24"));
    let Applied::Display { lines, .. } = display() else { unreachable!() };
    stage.report(
        Output::Display,
        Ok(Applied::Display {
            lines,
            bytes: 9999,
            bus_time: Duration::from_secs(1),
            lit: true,
            blind: false,
        }),
    );
    let after = stage.snapshot();
    assert_ne!(before, after, "a snapshot has to show it");
    assert!(!after.is_news_after(&before));
    let first = node(&stage.facts, "rpi1").unwrap();
    stage.round("rpi1", Some(Duration::from_millis(7)));
    let second = node(&stage.facts, "rpi1").unwrap();
    assert_ne!(first, second);
    assert!(first.is_reported_by(&second));
}

#[test]
fn a_change_has_only_the_changed_parts() {
    let mut stage = Stage::online();
    stage.node("rpi1", true).node("rpi2", true);
    let before = stage.snapshot();
    for _ in 0..3 {
        stage.node("rpi2", false);
    }
    let after = stage.snapshot();
    assert!(after.is_news_after(&before));
    let change = after.change_after(&before, stage.now());
    assert_eq!(parts(&change), ["alerts", "cluster", "severity"]);
    let down = node(&stage.facts, "rpi2").unwrap();
    let change = api::Change {
        seq: 7,
        nodes: vec![down.at(stage.now())],
        nodes_removed: vec!["rpi9".into()],
        ..change
    };
    let line = parse(&crate::api::line(&change));
    assert_eq!(
        keys(&line),
        ["alerts", "cluster", "nodes", "nodes_removed", "schema", "seq", "severity", "type"]
    );
    assert_eq!(line["seq"], 7);
    assert_eq!(line["nodes"].as_array().unwrap().len(), 1);
    assert_eq!(line["nodes"][0]["health"], "down");
    assert_eq!(line["cluster"]["up"], 1);
    assert_eq!(line["nodes_removed"], serde_json::json!(["rpi9"]));
}

#[test]
fn an_empty_change_is_no_line() {
    let stage = Stage::online();
    let snapshot = stage.snapshot();
    assert!(!snapshot.is_news_after(&snapshot.clone()));
    assert!(snapshot.change_after(&snapshot, stage.now()).is_empty());
}

/// Names of ports, tables and programs are untrusted, and clients may print texts unfiltered.
#[test]
fn texts_contain_no_terminal_controls() {
    const RAW: &str = "\u{1b}[2J\n\u{7f}\u{9b}31m\u{202e}x";
    let mut stage = Stage::online();
    stage.handle(link(4, RAW)).handle(address(4, "172.20.5.7/24"));
    let broken = ApplyError { kind: ApplyErrorKind::Failed, message: RAW.to_owned() };
    stage.report(Output::Routing, Err(broken.clone())).report(Output::Display, Err(broken));
    let blocked = Firewall::Blocked(Some(Blocker {
        table: Some(RAW.into()),
        chain: Some(RAW.into()),
        remedy: RAW.into(),
    }));
    stage.handle(Event::Firewall(blocked));
    let (nodes, mut snapshot) = (nodes(&stage.facts), stage.snapshot());
    snapshot.uplink.facts.interface = Some(RAW.into());
    let text = whole(&snapshot, &nodes, stage.now());
    let value = parse(&text);
    Schema::shipped().check(&value).unwrap();
    let shown = "\\u{1b}[2J\\u{a}\\u{7f}\\u{9b}31m\\u{202e}x";
    assert_eq!(value["uplink"]["interface"], shown);
    assert_eq!(value["gateway"]["blocked_by"]["table"], shown);
    assert!(
        value["alerts"].to_string().contains(&shown.replace('\\', "\\\\")),
        "{}",
        value["alerts"]
    );
    let raw = |c: char| c.is_control() || c == '\u{202e}';
    assert!(!String::from_utf8(text).unwrap().trim_end().contains(raw));
}
