//! The state as plain text, for a terminal (`curl`).

use std::fmt::Write;
use std::time::SystemTime;

use bramblegate_api::client::Known;
use bramblegate_api::status::{Host, Node, NodeHealth, Share, Snapshot};

use crate::page::{Language, spoken_led};

/// The limit of listed nodes; of more nodes, only those that are not up are listed.
const LISTED: usize = 60;
/// The width of a line, in characters.
const WIDTH: usize = 80;
/// The width of the label at the left, in characters.
const LABEL: usize = 7;

/// Returns the state in lines of at most 80 columns, except where a line has no space to break at.
pub fn page(known: &Known, now: SystemTime) -> String {
    let mut text = String::new();
    // Writing into memory does not fail.
    let _ = write(&mut text, known, now);
    text
}

fn write(text: &mut String, known: &Known, now: SystemTime) -> std::fmt::Result {
    if let Some((why, since)) = &known.lost {
        let seconds = now.duration_since(*since).map_or(0, |passed| passed.as_secs());
        fill(text, "", &format!("THE DAEMON DOES NOT ANSWER for {seconds} s: {why}"))?;
    }
    let Some(snapshot) = &known.snapshot else {
        return writeln!(text, "no status yet");
    };
    panel(text, snapshot)?;
    write!(text, "{}", snapshot.severity)?;
    match snapshot.uplink.address {
        Some(net) => writeln!(text, "   ssh {}", net.addr())?,
        None => writeln!(text, "   no address yet")?,
    }
    if let Some(shutdown) = &snapshot.shutdown {
        writeln!(text, "\nThe nodes are shutting down; still up: {}", shutdown.waiting_total)?;
    }
    for alert in &snapshot.alerts {
        writeln!(text)?;
        fill(text, "", &format!("{}: {}", alert.severity, alert.text))?;
    }
    writeln!(text)?;
    for uplink in &snapshot.uplinks {
        let name = uplink.interface.as_deref().unwrap_or("-");
        let mut line = format!("{name:<10} {}", uplink.state);
        for address in uplink.addresses.iter().flatten() {
            write!(line, " {address}")?;
        }
        fill(text, "uplink", &line)?;
    }
    let gateway = &snapshot.gateway;
    let on = |is: bool| if is { "on" } else { "off" };
    let nat = gateway.masquerade.map_or("unknown", on);
    fill(text, "NAT", &format!("{nat}, forwarding {}", on(gateway.forwarding)))?;
    if let Some(host) = &snapshot.host {
        fill(text, "head", &vitals(host))?;
    }
    for one in &snapshot.shares {
        fill(text, "share", &share(one))?;
    }
    nodes(text, snapshot)
}

/// Writes the display in a frame, and the LED in words.
fn panel(text: &mut String, snapshot: &Snapshot) -> std::fmt::Result {
    let panel = &snapshot.panel;
    if let Some(lines) = panel.lcd.lines.as_ref().filter(|lines| !lines.is_empty()) {
        let width = lines.iter().map(|line| line.chars().count()).max().unwrap_or(0);
        writeln!(text, "+{}+", "-".repeat(width))?;
        for line in lines {
            writeln!(text, "|{}|", &**line)?;
        }
        writeln!(text, "+{}+", "-".repeat(width))?;
    }
    match spoken_led(&panel.led, Language::English.words()) {
        Some(led) => writeln!(text, "{led}"),
        None => Ok(()),
    }
}

fn vitals(host: &Host) -> String {
    let percent =
        |what: &str, share: Option<u8>| share.map(|share| format!("{what} {share} % free"));
    let parts = [
        host.temperature_c.map(|degrees| format!("{degrees} °C")),
        host.load.map(|load| format!("load {load:.2}")),
        percent("memory", host.memory_available_percent),
        percent("disk", host.disk_free_percent),
        (host.under_voltage == Some(true)).then(|| "UNDER-VOLTAGE".to_owned()),
        (host.read_only == Some(true)).then(|| "READ-ONLY".to_owned()),
    ];
    parts.into_iter().flatten().collect::<Vec<_>>().join(", ")
}

fn share(share: &Share) -> String {
    let is = |yes: bool, word: &str, other: &str| if yes { word } else { other }.to_owned();
    let parts = [
        Some(format!("{:<10} {}", share.name, share.path)),
        Some(is(share.mounted, "mounted", "NOT MOUNTED")),
        Some(is(share.exported, "exported", "NOT EXPORTED")),
        (share.read_only == Some(true)).then(|| "read-only".to_owned()),
        share.free_percent.map(|free| format!("{free} % free")),
        share.errors.filter(|errors| *errors > 0).map(|errors| format!("{errors} errors")),
        (!share.clients.is_empty()).then(|| format!("used by {}", share.clients.join(" "))),
    ];
    parts.into_iter().flatten().collect::<Vec<_>>().join(", ")
}

fn nodes(text: &mut String, snapshot: &Snapshot) -> std::fmt::Result {
    writeln!(text, "{:<LABEL$}{}/{} up", "nodes", snapshot.cluster.up, snapshot.cluster.total)?;
    let all = snapshot.nodes.len() <= LISTED;
    let mut listed = snapshot.nodes.iter().filter(|node| all || node.health != NodeHealth::Up);
    for node in listed.by_ref().take(LISTED) {
        let Node { name, health, .. } = node;
        let address = node.reached_at().map(|address| address.to_string()).unwrap_or_default();
        writeln!(text, "  {name:<20} {address:<15} {health}")?;
    }
    match listed.count() {
        0 => Ok(()),
        more => writeln!(text, "  ... and {more} more that are not up"),
    }
}

/// Writes a label and a text, wrapped at spaces and indented.
fn fill(text: &mut String, label: &str, words: &str) -> std::fmt::Result {
    let indent = if label.is_empty() { 0 } else { LABEL };
    write!(text, "{label:<indent$}")?;
    let mut column = indent;
    // Runs of spaces stay, since they align columns.
    for word in words.split_inclusive(' ') {
        let length = word.trim_end().chars().count();
        if column + length > WIDTH && column > LABEL {
            let kept = text.trim_end_matches(' ').len();
            text.truncate(kept);
            write!(text, "\n{:LABEL$}", "")?;
            column = LABEL;
        }
        text.push_str(word);
        column += word.chars().count();
    }
    let kept = text.trim_end_matches(' ').len();
    text.truncate(kept);
    writeln!(text)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use bramblegate_api::status::{Alert, Uplink};

    use super::*;

    fn shown(snapshot: Snapshot) -> String {
        let known = Known { snapshot: Some(Arc::new(snapshot)), ..Known::default() };
        page(&known, SystemTime::UNIX_EPOCH)
    }

    #[test]
    fn lines_fit_into_eighty_columns_and_nothing_is_lost() {
        let alert = "the share usb is not there: no disk is mounted at /mnt/usb, so the nodes \
                     cannot use it. Plug it in, then: sudo mount /mnt/usb";
        let addresses = [
            "10.99.0.126/24",
            "2001:db8:1234:5678:ba27:ebff:fe00:1234/64",
            "fd00:1234:5678:9abc:ba27:ebff:fe00:1234/64",
        ];
        let text = shown(Snapshot {
            alerts: vec![Alert { text: alert.into(), ..Alert::default() }],
            uplinks: vec![Uplink {
                interface: Some("eth1".into()),
                addresses: Some(addresses.iter().filter_map(|net| net.parse().ok()).collect()),
                ..Uplink::default()
            }],
            shares: vec![Share {
                name: "usb".into(),
                path: "/mnt/usb".into(),
                clients: (0..40).map(|number| format!("rpi{number}").as_str().into()).collect(),
                free_percent: Some(42),
                ..Share::default()
            }],
            ..Snapshot::default()
        });
        for line in text.lines() {
            assert!(
                line.chars().count() <= WIDTH && line == line.trim_end(),
                "{line:?} in\n{text}"
            );
        }
        let words: Vec<&str> = text.split_whitespace().collect();
        let joined = words.join(" ");
        for wanted in [alert, "rpi38 rpi39", "42 % free", "NOT MOUNTED", "uplink eth1"] {
            assert!(joined.contains(wanted), "{wanted} in\n{text}");
        }
        assert!(addresses.iter().all(|address| joined.contains(address)), "{text}");
    }

    #[test]
    fn of_many_nodes_a_limited_number_that_is_not_up_is_listed() {
        let node = |number: usize, health: NodeHealth| Node {
            name: format!("node-{number}").as_str().into(),
            health: health.into(),
            ..Node::default()
        };
        let mut nodes: Vec<Node> = (0..10_000).map(|number| node(number, NodeHealth::Up)).collect();
        nodes[7] = node(7, NodeHealth::Down);
        let text = shown(Snapshot { nodes: nodes.clone(), ..Snapshot::default() });
        assert!(text.contains("  node-7 ") && !text.contains("node-8"), "{text}");
        assert!(!text.contains("more that"), "{text}");
        for node in &mut nodes {
            node.health = NodeHealth::Down.into();
        }
        let text = shown(Snapshot { nodes, ..Snapshot::default() });
        assert!(text.contains("... and 9940 more that are not up"), "{text}");
        assert!(text.lines().count() < 80, "{text}");
    }
}
