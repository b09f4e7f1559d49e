//! A diagram of the cluster in one line, with the state of each link and node.

use bramblegate::cli::panel::Depth;
use bramblegate::panel::Colour;
use bramblegate_api::status::{Node, NodeHealth, Snapshot, UplinkState};

const GREY: Colour = Colour { red: 150, green: 150, blue: 150 };

/// A line of coloured and plain pieces, with its visible width.
#[derive(Debug, Default)]
struct Line {
    text: String,
    width: usize,
}

impl Line {
    fn plain(&mut self, words: &str) {
        self.text.push_str(words);
        self.width += words.chars().count();
    }

    fn coloured(&mut self, words: &str, colour: Colour, depth: Depth) {
        self.text.push_str(&depth.foreground(colour));
        self.plain(words);
        self.text.push_str(depth.reset());
    }
}

/// Draws the line, with shorter cables and fewer names on a narrow terminal.
pub fn draw(status: Option<&Snapshot>, columns: usize, depth: Depth) -> String {
    let unknown = Snapshot::default();
    let status = status.unwrap_or(&unknown);
    let forms =
        [(true, true, true), (false, true, true), (false, false, true), (false, false, false)];
    let mut lines = forms.map(|form| line(status, form, depth)).into_iter();
    let fitting = lines.find(|line| line.width < columns);
    fitting.map(|line| line.text).unwrap_or_default()
}

/// Draws the line with or without the internet, with long or short cables, and with or without the
/// nodes' names.
fn line(status: &Snapshot, (internet, long, names): (bool, bool, bool), depth: Depth) -> Line {
    let mut line = Line::default();
    let cable =
        |middle: &str| if long { format!(" ──{middle}── ") } else { format!(" {middle} ") };
    line.plain(" ");
    let state = status.uplink.state.known();
    if internet {
        let (middle, colour) = behind(state);
        line.plain("internet");
        line.coloured(&cable(middle), colour, depth);
    }
    let (middle, colour) = uplink(state);
    line.plain("venue");
    line.coloured(&cable(middle), colour, depth);
    line.plain("head");
    if long {
        line.coloured(" ── ", Colour::GREEN, depth);
        line.plain("switch");
    }
    line.coloured(if long { " ──" } else { " ─" }, Colour::GREEN, depth);
    line.plain(if names { "" } else { " " });
    for node in &status.nodes {
        let (mark, colour) = health(node);
        if names {
            line.plain(&format!(" {} ", node.name));
        }
        line.coloured(mark, colour, depth);
    }
    line
}

/// Draws the link from the venue to the internet.
fn behind(state: Option<UplinkState>) -> (&'static str, Colour) {
    match state {
        Some(UplinkState::Online) => ("─", Colour::GREEN),
        Some(UplinkState::Portal) => ("?", Colour::AMBER),
        _ => ("·", GREY),
    }
}

/// Draws the cable from the head to the venue.
fn uplink(state: Option<UplinkState>) -> (&'static str, Colour) {
    match state {
        Some(state) if state.is_addressed() => ("─", Colour::GREEN),
        Some(UplinkState::NoCarrier | UplinkState::Absent) => ("╳", Colour::RED),
        _ => ("·", Colour::AMBER),
    }
}

fn health(node: &Node) -> (&'static str, Colour) {
    match node.health.known() {
        Some(NodeHealth::Up) => ("●", Colour::GREEN),
        Some(NodeHealth::Down) => ("╳", Colour::RED),
        Some(NodeHealth::Degraded) => ("●", Colour::AMBER),
        Some(NodeHealth::Booting | NodeHealth::Unknown | NodeHealth::Maintenance) | None => {
            ("○", GREY)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drawn(state: &str, rpi2: &str, columns: usize, depth: Depth) -> String {
        let status = serde_json::json!({"uplink": {"state": state}, "nodes": [
            {"name": "rpi1", "health": "up"}, {"name": "rpi2", "health": rpi2}]});
        draw(Some(&serde_json::from_value(status).unwrap()), columns, depth)
    }

    #[test]
    fn the_line_shows_links_and_nodes_without_any_colour() {
        for (state, rpi2, wanted) in [
            ("no-carrier", "unknown", "internet ──·── venue ──╳── head ── switch ── rpi1 ● rpi2 ○"),
            ("searching", "up", "internet ──·── venue ──·── head ── switch ── rpi1 ● rpi2 ●"),
            ("portal", "up", "internet ──?── venue ───── head ── switch ── rpi1 ● rpi2 ●"),
            ("online", "down", "internet ───── venue ───── head ── switch ── rpi1 ● rpi2 ╳"),
        ] {
            assert_eq!(drawn(state, rpi2, 80, Depth::None), format!(" {wanted}"));
        }
        let narrow = [50, 40, 20].map(|columns| drawn("no-carrier", "up", columns, Depth::None));
        assert_eq!(
            narrow,
            [
                " venue ──╳── head ── switch ── rpi1 ● rpi2 ●",
                " venue ╳ head ─ rpi1 ● rpi2 ●",
                " venue ╳ head ─ ●●",
            ]
        );
    }

    #[test]
    fn a_cable_that_is_pulled_changes_its_colour() {
        let red = Depth::True.foreground(Colour::RED);
        assert!(drawn("no-carrier", "up", 80, Depth::True).contains(&format!("{red} ──╳── ")));
        assert!(!drawn("online", "up", 80, Depth::True).contains(&red));
    }
}
