use std::io::{Error as IoError, ErrorKind};

use serde_json::{Value, json};

use super::*;

fn snapshot() -> Value {
    json!({
        "schema": 1, "type": "snapshot", "version": "0.1.0", "uptime_s": 4000, "severity": "fault",
        "alerts": [{ "severity": "fault", "code": "gateway-blocked", "text": "Docker drops" }],
        "uplink": { "state": "online", "interface": "eth1", "address": "10.99.0.126/24", "gateway": "10.99.0.1",
                    "since_s": 12, "lease_left_s": 118, "addresses": ["10.99.0.126/24", "2001:db8::7/64"] },
        "uplinks": [
            { "state": "online", "interface": "eth1", "address": "10.99.0.126/24", "gateway": "10.99.0.1",
              "since_s": 12, "lease_left_s": 118, "addresses": ["10.99.0.126/24", "2001:db8::7/64"] },
            { "state": "no-carrier", "interface": "wlan0", "address": null, "gateway": null, "since_s": 3,
              "lease_left_s": null, "addresses": [] },
        ],
        "gateway": { "forwarding": true, "masquerade": null, "applied": 1, "repaired": 2, "overlap": "routed",
                     "blocked_by": { "table": "ip filter", "chain": "FORWARD", "remedy": "sudo this" },
                     "ipv6_forwarding": false },
        "cluster": { "interface": "eth0", "address": "192.168.50.1/24", "dhcp": "off", "up": 1, "total": 2 },
        "nodes": [
            { "name": "rpi1", "mac": null, "address": "192.168.50.11", "health": "up", "rtt_us": 310, "since_s": 40 },
            { "name": "rpi2", "mac": null, "address": null, "health": "down", "rtt_us": 1234, "since_s": 90000 },
        ],
        "panel": { "lcd": { "state": "ok", "lines": ["10.99.0.126     ", "BLOCKED        \
             ♥"], "bytes": 140, "errors": 2 },
                   "led": { "state": "absent", "colour": null, "pattern": null, "leds": null } },
    })
}

fn page(status: Value, colours: bool) -> String {
    text::page(&serde_json::from_value(status).unwrap(), colours, None)
}

#[test]
fn the_page_reports_everything_in_a_few_rows() {
    let wanted = "\
status    fault  version 0.1.0  running 66 min
          fault: Docker drops
uplink    eth1  online  10.99.0.126/24  2001:db8::7/64  gateway 10.99.0.1  lease 118 s  for 12 s
          wlan0  no-carrier  for 3 s
gateway   forwarding yes  NAT unknown  rules written once  repaired 2 times
          the venue uses the cluster's subnet: both work
          blocked by ip filter FORWARD: sudo this
          IPv6 is not forwarded: cluster.ipv6 is off
cluster   eth0  192.168.50.1/24  1/2 up  dhcp off
          rpi1  192.168.50.11    up          310 µs  for 40 s
          rpi2                   down                for 25 h 0 min
lcd       ok  [10.99.0.126     ] [BLOCKED        ♥]  2 bus errors
led       absent
";
    assert_eq!(page(snapshot(), false), wanted);
}

/// No row is broken on a terminal of 80 columns, with any alert; the age is left out first.
#[test]
fn no_row_is_wider_than_the_terminal() {
    let mut status = snapshot();
    let text = "the chain forward of table inet other drops what the nodes send, policy drop, so no \
                node reaches the internet";
    status["alerts"][0]["text"] = text.into();
    let snapshot = serde_json::from_value(status).unwrap();
    for columns in [80, 60, 40] {
        for colours in [false, true] {
            let page = text::page(&snapshot, colours, Some(columns));
            let wide: Vec<&str> = page.lines().filter(|line| text::width(line) > columns).collect();
            assert!(wide.is_empty(), "{columns}: {wide:#?}");
            assert_eq!(
                text::plain(&page).split_whitespace().filter(|word| *word == "drops").count(),
                1
            );
        }
    }
    let page = text::page(&snapshot, false, Some(80));
    let uplink = page.lines().find(|line| line.starts_with("uplink")).unwrap();
    assert!(!uplink.contains("for 12 s") && uplink.contains("10.99.0.126/24"), "{page}");
    assert!(page.contains("wlan0  no-carrier  for 3 s"), "there is room: {page}");
    assert!(
        page.contains("\n          node reaches") || page.contains("no node reaches"),
        "{page}"
    );
}

#[test]
fn absent_facts_are_not_printed() {
    let mut status = snapshot();
    status["uplinks"][0]["addresses"] = json!(["10.99.0.126/24"]);
    status["panel"]["lcd"]["errors"] = 0.into();
    let shown = page(status.clone(), false);
    assert!(!shown.contains("IPv6") && !shown.contains("bus error"), "{shown}");
    status["uplinks"][0]["addresses"] = json!(["2001:db8::7/64"]);
    status["gateway"]["ipv6_forwarding"] = Value::Null;
    let shown = page(status, false);
    assert!(!shown.contains("IPv6"), "without our rules it is not known: {shown}");
}

#[test]
fn colours_are_only_where_they_are_wanted() {
    let shown = page(snapshot(), true);
    assert!(shown.contains("\x1b[31mfault\x1b[0m") && shown.contains("\x1b[32monline\x1b[0m"));
    assert!(!page(snapshot(), false).contains('\x1b'));
}

#[test]
fn escape_sequences_in_names_are_not_printed() {
    let mut hostile = snapshot();
    hostile["nodes"][0]["name"] = "evil\u{1b}[2J".into();
    assert!(!page(hostile, false).contains('\x1b'));
}

#[test]
fn the_exit_code_is_that_of_the_severity() {
    for (severity, code) in [("ok", 0), ("notice", 0), ("warning", 1), ("fault", 2), ("doom", 2)] {
        let mut status = snapshot();
        status["severity"] = severity.into();
        assert_eq!(severity_code(&serde_json::from_value(status).unwrap()), code, "{severity}");
    }
}

#[test]
fn each_error_has_its_remedy() {
    for (error, word) in [
        (Error::Io(ErrorKind::NotFound.into()), "systemctl start bramblegate"),
        (Error::Io(ErrorKind::PermissionDenied.into()), "sudo"),
        (Error::Io(IoError::new(ErrorKind::TimedOut, "it hangs")), "hangs"),
        (Error::Refused("full".to_owned()), "end some"),
        (Error::Ended, "has stopped"),
        (Error::NotStatus("SSH-2.0".to_owned()), "of this version"),
    ] {
        assert!(remedy(&error).contains(word), "{error}");
    }
}
