//! The status in a few words: with marks for the screen, as sentences for the plain demo.

use std::fmt::Display;

use bramblegate::cli::panel::lamp_words;
use bramblegate::cli::panel::view::View;
use bramblegate_api::status::{DhcpStatus, Overlap, Severity, Snapshot, UplinkState};

use crate::watch;

/// Returns what works (true) and what does not, in the order from the cable to the nodes.
pub fn marks(status: &Snapshot) -> Vec<(bool, String)> {
    let Snapshot { uplink, gateway, cluster, .. } = status;
    let state = uplink.state.known().unwrap_or(UplinkState::Absent);
    let port = or_dash(uplink.interface.as_ref());
    let mut marks = Vec::new();
    let plugged = !matches!(state, UplinkState::Absent | UplinkState::NoCarrier);
    marks.push((plugged, format!("{} in {port}", if plugged { "cable" } else { "no cable" })));
    marks.push(match uplink.address {
        Some(address) => (true, format!("address {}", address.addr())),
        None => (false, "no address".to_owned()),
    });
    marks.push(match state {
        UplinkState::Online => (true, "internet".to_owned()),
        UplinkState::Portal => (false, "internet: log in first".to_owned()),
        _ => (false, "no internet".to_owned()),
    });
    marks.push(switch(gateway.forwarding, "forwarding"));
    marks.push(switch(gateway.masquerade == Some(true), "NAT"));
    match gateway.overlap.known() {
        Some(Overlap::Routed) => marks.push((true, "same subnet, both work".to_owned())),
        Some(Overlap::Renumbered) => marks.push((true, "cluster moved away".to_owned())),
        Some(Overlap::None) | None => {}
    }
    if cluster.dhcp.known() != Some(DhcpStatus::Off) {
        marks.push((
            cluster.dhcp.known() == Some(DhcpStatus::Serving),
            "addresses for nodes".to_owned(),
        ));
    }
    let (up, total) = (cluster.up, cluster.total);
    marks.push((up == total, format!("{up} of {total} nodes up")));
    if gateway.repaired > 0 {
        marks.push((true, format!("repaired: {}", times(gateway.repaired))));
    }
    marks
}

fn switch(on: bool, what: &str) -> (bool, String) {
    (on, format!("{what} {}", if on { "on" } else { "off" }))
}

fn times(count: u64) -> String {
    if count == 1 { "once".to_owned() } else { format!("{count} times") }
}

/// Describes the overall severity.
pub fn severity(status: &Snapshot) -> String {
    match status.severity.known() {
        Some(Severity::Ok) => "all is well".to_owned(),
        _ => status.severity.to_string(),
    }
}

/// Returns the facts whose changes a plain demo prints, as (subject, words).
pub fn facts(status: &Snapshot) -> Vec<(String, String)> {
    let Snapshot { uplink, gateway, .. } = status;
    let row = watch::lcd(status).first().map(|row| row.trim_end().to_owned()).unwrap_or_default();
    let interface = or_dash(uplink.interface.as_ref());
    let address = uplink.address.map_or("no address".to_owned(), |address| address.to_string());
    let mut gate = vec![
        switch(gateway.forwarding, "forwarding").1,
        switch(gateway.masquerade == Some(true), "NAT").1,
    ];
    match gateway.overlap.known() {
        Some(Overlap::None) => {}
        _ => gate.push(format!("the venue uses the cluster's subnet: {}", gateway.overlap)),
    }
    if gateway.repaired > 0 {
        gate.push(format!("repaired {}", times(gateway.repaired)));
    }
    let mut facts = vec![
        ("lcd".to_owned(), format!("\"{row}\"")),
        ("uplink".to_owned(), format!("{interface} {}, {address}", uplink.state)),
        ("gateway".to_owned(), gate.join(", ")),
        ("led".to_owned(), lamp_words(View::of(status).led)),
        ("severity".to_owned(), severity(status)),
    ];
    for alert in &status.alerts {
        // Alerts with the same code are one fact, as the code is the key.
        match facts.iter_mut().find(|(known, _)| alert.code == **known) {
            Some((_, text)) => *text += &format!("; {}", alert.text),
            None => facts.push((alert.code.to_string(), alert.text.to_string())),
        }
    }
    facts.extend(status.nodes.iter().map(|node| (node.name.to_string(), node.health.to_string())));
    facts
}

fn or_dash(value: Option<impl Display>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| value.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status() -> Snapshot {
        let status = serde_json::json!({
            "severity": "warning",
            "alerts": [{"severity": "warning", "code": "node-down", "text": "rpi2 down"}],
            "uplink": {"state": "portal", "interface": "eth1", "address": "10.99.0.126/24"},
            "gateway": {"forwarding": true, "masquerade": true, "overlap": "routed", "repaired": 1},
            "cluster": {"dhcp": "serving", "up": 2, "total": 3},
            "nodes": [{"name": "rpi2", "health": "down"}],
            "panel": {"led": {"colour": "#ff0000", "pattern": "fast-blink"}}
        });
        serde_json::from_value(status).unwrap()
    }

    #[test]
    fn each_thing_has_its_mark_and_no_word_of_a_programmer() {
        let marks = marks(&status());
        let good: Vec<&str> =
            marks.iter().filter(|(good, _)| *good).map(|(_, words)| words.as_str()).collect();
        assert_eq!(
            good,
            [
                "cable in eth1",
                "address 10.99.0.126",
                "forwarding on",
                "NAT on",
                "same subnet, both work",
                "addresses for nodes",
                "repaired: once"
            ]
        );
        let bad: Vec<&str> =
            marks.iter().filter(|(good, _)| !good).map(|(_, words)| words.as_str()).collect();
        assert_eq!(bad, ["internet: log in first", "2 of 3 nodes up"]);
        let text = format!("{marks:?}{:?}", facts(&status()));
        assert!(!text.contains("\"true") && !text.contains(" true") && !text.contains("masq"));
        assert!(text.contains("red, fast-blink") && text.contains("warning"), "{text}");
    }

    #[test]
    fn a_change_of_one_fact_is_one_changed_line() {
        let (before, mut after) = (facts(&status()), status());
        after.uplink.state = UplinkState::Online.into();
        let after = facts(&after);
        assert_eq!(before.iter().zip(&after).filter(|(a, b)| a != b).count(), 1);
    }
}
