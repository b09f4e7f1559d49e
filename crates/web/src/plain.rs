//! The state as text for a terminal: what `curl` gets.

use std::fmt::Write;
use std::time::SystemTime;

use bramblegate_api::client::Known;
use bramblegate_api::status::NodeHealth;

/// Nodes are listed one by one up to so many; above, those alone that are not up.
const LISTED: usize = 60;

/// Returns the state in lines of at most 80 columns, where names are not longer.
pub fn page(known: &Known, now: SystemTime) -> String {
    let mut text = String::new();
    // Writing into memory does not fail.
    let _ = write(&mut text, known, now);
    text
}

fn write(text: &mut String, known: &Known, now: SystemTime) -> std::fmt::Result {
    if let Some((why, since)) = &known.lost {
        let seconds = now.duration_since(*since).map_or(0, |passed| passed.as_secs());
        writeln!(text, "THE DAEMON DOES NOT ANSWER for {seconds} s: {why}")?;
    }
    let Some(snapshot) = &known.snapshot else {
        return writeln!(text, "no status yet");
    };
    if let Some(lines) = &snapshot.panel.lcd.lines {
        let width = lines.iter().map(|line| line.chars().count()).max().unwrap_or(0);
        writeln!(text, "+{}+", "-".repeat(width))?;
        for line in lines {
            writeln!(text, "|{}|", &**line)?;
        }
        writeln!(text, "+{}+", "-".repeat(width))?;
    }
    write!(text, "{}", snapshot.severity)?;
    match snapshot.uplink.address {
        Some(net) => writeln!(text, "   ssh {}", net.addr())?,
        None => writeln!(text, "   no address yet")?,
    }
    for alert in &snapshot.alerts {
        writeln!(text, "\n{}: {}", alert.severity, alert.text)?;
    }
    writeln!(text)?;
    for uplink in &snapshot.uplinks {
        write!(text, "uplink {:<10} {}", uplink.interface.as_deref().unwrap_or("-"), uplink.state)?;
        for address in uplink.addresses.iter().flatten() {
            write!(text, " {address}")?;
        }
        writeln!(text)?;
    }
    writeln!(text, "nodes  {}/{} up", snapshot.cluster.up, snapshot.cluster.total)?;
    let all = snapshot.nodes.len() <= LISTED;
    for node in snapshot.nodes.iter().filter(|node| all || node.health != NodeHealth::Up) {
        let address = node.address.map(|address| address.to_string()).unwrap_or_default();
        writeln!(text, "  {:<20} {:<15} {}", node.name, address, node.health)?;
    }
    Ok(())
}
