//! The JSON of the status socket: lines of one object each.

use std::borrow::Cow;

use serde::Serialize;
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;

use super::{GatewayStatus, LcdStatus, LedStatus, NodeStatus, Snapshot, UplinkStatus};
use crate::event::{Acquisition, Head, Instant, PortalUrl, printable_line};
use crate::panel::Signal;
use crate::policy::alert::Alert;

/// Counts up when a reader of the former shape could misunderstand; new keys and values are no such change.
pub const SCHEMA: u32 = 1;

/// Names of the objects that a change line tells whole, in the order of a snapshot; `nodes` is told apart.
pub const PARTS: [&str; 8] = ["severity", "alerts", "uplink", "uplinks", "gateway", "cluster", "host", "panel"];

/// A whole snapshot line.
pub fn snapshot<'a>(snapshot: &Snapshot, nodes: impl IntoIterator<Item = &'a NodeStatus>, now: Instant) -> Vec<u8> {
    let mut line = head(snapshot, now);
    for (place, status) in nodes.into_iter().enumerate() {
        if place > 0 {
            line.push(b',');
        }
        line.extend(node(status, now));
    }
    line.extend(tail(snapshot, now));
    line
}

/// A snapshot line up to its first node.
pub fn head(snapshot: &Snapshot, now: Instant) -> Vec<u8> {
    #[derive(Serialize)]
    struct Head {
        schema: u32,
        #[serde(rename = "type")]
        kind: &'static str,
        version: &'static str,
        uptime_s: u64,
    }
    let uptime_s = now.saturating_since(snapshot.started).as_secs();
    let head = Head { schema: SCHEMA, kind: "snapshot", version: env!("CARGO_PKG_VERSION"), uptime_s };
    let mut line = bytes(&head);
    line.pop();
    for name in PARTS.iter().filter(|name| **name != "panel") {
        member(&mut line, name, &part(snapshot, name, now));
    }
    line.extend_from_slice(b",\"nodes\":[");
    line
}

/// What follows the last node.
pub fn tail(snapshot: &Snapshot, now: Instant) -> Vec<u8> {
    let mut line = vec![b']'];
    member(&mut line, "panel", &part(snapshot, "panel", now));
    line.extend_from_slice(b"}\n");
    line
}

/// One node's object.
pub fn node(node: &NodeStatus, now: Instant) -> Vec<u8> {
    #[derive(Serialize)]
    struct Node<'a> {
        name: &'a str,
        mac: Option<String>,
        address: Option<String>,
        health: &'static str,
        stage: Option<&'a str>,
        rtt_us: Option<u64>,
        since_s: u64,
        origin: &'static str,
        group: Option<&'a str>,
    }
    bytes(&Node {
        name: &node.name,
        mac: node.mac.map(|mac| mac.to_string()),
        address: node.address.map(|address| address.to_string()),
        health: node.health.name(),
        stage: node.stage.as_deref(),
        rtt_us: node.rtt.map(|rtt| u64::try_from(rtt.as_micros()).unwrap_or(u64::MAX)),
        since_s: now.saturating_since(node.since).as_secs(),
        origin: node.origin.name(),
        group: node.group.as_deref(),
    })
}

/// Names of those [`PARTS`] that differ in more than times and byte counts.
pub fn changed_parts(before: &Snapshot, after: &Snapshot) -> Vec<&'static str> {
    if before == after {
        return Vec::new();
    }
    let (before, after) = (before.without_times(), after.without_times());
    let differs = |name: &&str| match *name {
        "severity" => before.severity != after.severity,
        "alerts" => before.alerts != after.alerts,
        "uplink" => before.uplink != after.uplink,
        "uplinks" => before.uplinks != after.uplinks,
        "gateway" => before.gateway != after.gateway,
        "cluster" => before.cluster != after.cluster,
        "host" => before.host != after.host,
        _ => before.lcd != after.lcd || before.led != after.led,
    };
    PARTS.into_iter().filter(differs).collect()
}

/// A change line with these parts and nodes; `None` when there is nothing to tell.
pub fn change<'a>(
    sequence: u64,
    snapshot: &Snapshot,
    parts: &[&'static str],
    nodes: impl IntoIterator<Item = &'a NodeStatus>,
    removed: &BTreeSet<String>,
    now: Instant,
) -> Option<Vec<u8>> {
    let nodes: Vec<Vec<u8>> = nodes.into_iter().map(|status| node(status, now)).collect();
    if parts.is_empty() && nodes.is_empty() && removed.is_empty() {
        return None;
    }
    let mut line = format!("{{\"schema\":{SCHEMA},\"type\":\"change\",\"seq\":{sequence}").into_bytes();
    for name in parts {
        member(&mut line, name, &part(snapshot, name, now));
    }
    if !nodes.is_empty() {
        line.extend_from_slice(b",\"nodes\":[");
        line.extend(nodes.join(&b','));
        line.push(b']');
    }
    if !removed.is_empty() {
        member(&mut line, "nodes_removed", &json!(removed));
    }
    line.extend_from_slice(b"}\n");
    Some(line)
}

impl Snapshot {
    /// With everything gone whose change alone is not worth a line.
    fn without_times(&self) -> Self {
        let mut still = self.clone();
        for uplink in still.uplinks.iter_mut().chain([&mut still.uplink]) {
            uplink.since = None;
            uplink.valid_until = None;
            uplink.not_renewed_since = uplink.not_renewed_since.map(|_| Instant::default());
        }
        still.lcd.bytes = 0;
        still
    }
}

/// `"name":value` after what is there already.
fn member(line: &mut Vec<u8>, name: &str, value: &Value) {
    line.extend_from_slice(format!(",\"{name}\":").as_bytes());
    line.extend(bytes(value));
}

fn bytes(value: &impl Serialize) -> Vec<u8> {
    // Writing plain data into memory does not fail; `null` is the honest thing to say if it ever does.
    let text = serde_json::to_string(value).unwrap_or_else(|_| "null".to_owned());
    // Only what holds a backslash or a hidden character can hold a text that a terminal would obey.
    if !text.contains('\\') && matches!(printable_line(&text), Cow::Borrowed(_)) {
        return text.into_bytes();
    }
    serde_json::from_str(&text).map_or_else(|_| b"null".to_vec(), |value| shown(value).to_string().into_bytes())
}

/// Returns the value with every text in it as a terminal may show it: many a client prints them as they are.
pub fn shown(value: Value) -> Value {
    match value {
        Value::String(text) => Value::String(printable_line(&text).into_owned()),
        Value::Array(items) => items.into_iter().map(shown).collect(),
        Value::Object(members) => Value::Object(members.into_iter().map(|(key, value)| (key, shown(value))).collect()),
        other => other,
    }
}

fn part(snapshot: &Snapshot, name: &str, now: Instant) -> Value {
    match name {
        "severity" => snapshot.severity.name().into(),
        "alerts" => snapshot.alerts.iter().map(alert).collect(),
        "uplink" => uplink(&snapshot.uplink, now),
        "uplinks" => snapshot.uplinks.iter().map(|status| uplink(status, now)).collect(),
        "gateway" => gateway(&snapshot.gateway),
        "cluster" => json!({
            "interface": snapshot.cluster.interface,
            "address": snapshot.cluster.address.to_string(),
            "dhcp": snapshot.cluster.dhcp.name(),
            "up": snapshot.cluster.up,
            "total": snapshot.cluster.total,
        }),
        "host" => snapshot.host.as_ref().map_or(Value::Null, host),
        "panel" => json!({ "lcd": lcd(&snapshot.lcd), "led": led(&snapshot.led) }),
        _ => Value::Null,
    }
}

fn alert(alert: &Alert) -> Value {
    json!({
        "severity": alert.severity.name(),
        "code": alert.code,
        "text": alert.text,
        "acknowledged": alert.acknowledged,
    })
}

fn host(head: &Head) -> Value {
    json!({
        "temperature_c": head.temperature,
        "under_voltage": head.under_voltage,
        "throttled": head.throttled,
        "load": head.load.map(|load| f64::from(load) / 100.0),
        "memory_available_percent": head.memory,
        "disk_free_percent": head.disk,
        "inodes_free_percent": head.inodes,
        "pressure_percent": {
            "processor": head.pressure.processor,
            "memory": head.pressure.memory,
            "disk": head.pressure.disk,
        },
        "read_only": head.read_only,
        "clock_set": head.clock_set,
    })
}

fn uplink(uplink: &UplinkStatus, now: Instant) -> Value {
    let texts = |addresses: &Vec<ipnet::IpNet>| addresses.iter().map(ToString::to_string).collect::<Vec<_>>();
    json!({
        "state": uplink.state.name(),
        "interface": uplink.interface,
        "address": uplink.address.map(|address| address.to_string()),
        "gateway": uplink.gateway.map(|gateway| gateway.to_string()),
        "since_s": uplink.since.map(|since| now.saturating_since(since).as_secs()),
        "lease_left_s": uplink.valid_until.map(|until| until.saturating_since(now).as_secs()),
        "addresses": uplink.addresses.as_ref().map(texts),
        "not_renewed_s": uplink.not_renewed_since.map(|since| now.saturating_since(since).as_secs()),
        "dhcp": uplink.acquisition.map(Acquisition::name),
        "portal_url": uplink.portal_url.as_ref().map(PortalUrl::as_str),
    })
}

fn gateway(gateway: &GatewayStatus) -> Value {
    json!({
        "forwarding": gateway.forwarding,
        "masquerade": gateway.masquerade,
        "applied": gateway.applied,
        "repaired": gateway.repaired,
        "overlap": gateway.overlap.name(),
        "blocked_by": gateway.blocked_by.as_ref().map(|by| json!({
            "table": by.table,
            "chain": by.chain,
            "remedy": by.remedy,
        })),
        "ipv6_forwarding": gateway.ipv6_forwarding,
    })
}

fn lcd(lcd: &LcdStatus) -> Value {
    json!({ "state": lcd.state.name(), "lines": lcd.lines, "bytes": lcd.bytes, "errors": lcd.errors })
}

fn led(led: &LedStatus) -> Value {
    let first = led.signals.as_ref().and_then(|signals| signals.first());
    let mut object = Map::new();
    object.insert("state".to_owned(), led.state.name().into());
    object.insert("colour".to_owned(), first.map(|signal| signal.colour.to_string()).into());
    object.insert("pattern".to_owned(), first.map(|signal| signal.pattern.name()).into());
    object.insert("leds".to_owned(), led.signals.as_ref().map(|all| all.iter().map(signal).collect::<Value>()).into());
    Value::Object(object)
}

fn signal(signal: &Signal) -> Value {
    json!({ "colour": signal.colour.to_string(), "pattern": signal.pattern.name() })
}
