//! What the demo draws: caption, panel, and what lies behind it.

use std::fmt::Display;
use std::time::Duration;

use bramblegate_api::status::Snapshot;

use crate::watch;
use bramblegate::cli::panel::view::View;
use bramblegate::cli::panel::{Style, draw};
use bramblegate::event::printable_line;

/// At most so many lines of the journal.
const JOURNAL: usize = 6;

/// Everything that goes into one picture.
#[derive(Debug)]
pub struct Picture<'p> {
    /// `None`: the daemon does not answer
    pub status: Option<&'p Snapshot>,
    /// the newest last
    pub captions: &'p [String],
    /// last lines of the journal
    pub journal: &'p [String],
    /// since the start
    pub elapsed: Duration,
    /// false: `NO_COLOR`
    pub colour: bool,
    /// the terminal's room and colours
    pub style: Style,
    /// the last line
    pub keys: &'p str,
}

impl Picture<'_> {
    /// Returns the lines of the screen. The panel gets the room it needs, the journal what is left.
    pub fn lines(&self) -> Vec<String> {
        let (mut lines, facts, keys) =
            (self.heading(), self.status.map(|s| self.facts(s)).unwrap_or_default(), self.keys());
        let taken = lines.len() + facts.len() + keys.len() + 3;
        let room = self.style.rows.saturating_sub(taken);
        let panel = self.panel(room);
        if panel.len() > room {
            return self.dense(facts, keys);
        }
        let journal = room.saturating_sub(panel.len()).min(JOURNAL);
        let newest = self.journal.len().saturating_sub(journal);
        let journal = self
            .journal
            .iter()
            .skip(newest)
            .map(|line| format!("   {}", self.dim(&self.cut(line))));
        for part in [panel, facts, journal.collect()] {
            lines.extend(part);
            lines.push(String::new());
        }
        lines.extend(keys);
        lines
    }

    /// On a small terminal: the caption and the panel above all, then the keys, then as many facts
    /// as there is room for.
    fn dense(&self, mut facts: Vec<String>, keys: Vec<String>) -> Vec<String> {
        let rows = self.style.rows;
        let mut lines = vec![self.newest()];
        lines.extend(self.panel(rows.saturating_sub(lines.len() + keys.len())));
        facts.truncate(rows.saturating_sub(lines.len() + keys.len()));
        lines.extend(facts);
        lines.extend(keys);
        lines
    }

    fn heading(&self) -> Vec<String> {
        let title = self.strong("Bramblegate: a venue, a head and three nodes");
        let mut lines = vec![format!(" {title} {:>5} s", self.elapsed.as_secs()), String::new()];
        let earlier = self.captions.len().saturating_sub(1);
        for caption in self.captions.get(earlier.saturating_sub(2)..earlier).unwrap_or_default() {
            lines.push(format!("   {}", self.dim(&self.cut(caption))));
        }
        lines.push(self.newest());
        lines.push(String::new());
        lines
    }

    /// Returns the newest caption.
    fn newest(&self) -> String {
        let caption = self.captions.last().map_or("", String::as_str);
        format!(" ▸ {}", self.strong(&self.cut(caption)))
    }

    /// Returns the keys, on as many lines as they need.
    fn keys(&self) -> Vec<String> {
        let mut lines: Vec<String> = Vec::new();
        for key in self.keys.split("  ") {
            match lines.last_mut() {
                Some(line)
                    if line.chars().count() + key.chars().count() + 2 < self.style.columns =>
                {
                    line.push_str("  ");
                    line.push_str(key);
                }
                _ => lines.push(format!(" {key}")),
            }
        }
        lines
    }

    /// Returns what fits on a line of the terminal beside a margin of three; a venue's file may
    /// hold anything.
    fn cut(&self, line: &str) -> String {
        printable_line(line).chars().take(self.style.columns.saturating_sub(3)).collect()
    }

    /// Display and LED as `bramblegate panel` draws them on so many rows, or on more where that
    /// cannot be; the severity in words.
    fn panel(&self, rows: usize) -> Vec<String> {
        let Some(status) = self.status else {
            return vec!["   (the daemon is not there yet)".to_owned()];
        };
        let view = View::of(status);
        let style = Style { rows, ..self.style };
        let mut lines =
            draw(&view.lines, view.geometry(), view.charset(), view.led, self.elapsed, style);
        if let Some(last) = lines.last_mut() {
            last.push_str(&format!("    {}", self.strong(&view.severity.to_string())));
        }
        lines
    }

    fn facts(&self, status: &Snapshot) -> Vec<String> {
        let Snapshot { uplink, gateway, cluster, .. } = status;
        let lease = uplink.lease_left_s.map(|left| format!("{left} s"));
        let mut lines = vec![
            format!(
                "   uplink   {} {}, {}, gateway {}, lease {}",
                or_dash(uplink.interface.as_ref()),
                uplink.state,
                or_dash(uplink.address),
                or_dash(uplink.gateway),
                or_dash(lease)
            ),
            format!(
                "   gateway  forwarding {}, NAT {}, overlap {}, applied {}, repaired {}",
                gateway.forwarding,
                or_dash(gateway.masquerade),
                gateway.overlap,
                gateway.applied,
                gateway.repaired
            ),
        ];
        let nodes = status.nodes.iter().map(|node| format!("{} {}", node.name, node.health));
        let nodes = nodes.collect::<Vec<_>>().join(", ");
        lines.push(format!("   cluster  {}: {nodes}", or_dash(cluster.address)));
        let mut lines: Vec<String> = lines.iter().map(|line| self.cut(line)).collect();
        for alert in &status.alerts {
            let severity = alert.severity.to_string();
            let words = self.cut(&format!("{severity}  {}", alert.text));
            let words = words.strip_prefix(&severity).unwrap_or_default();
            lines.push(format!("   {}{words}", self.strong(&severity)));
        }
        lines
    }

    fn strong(&self, words: &str) -> String {
        if self.colour { format!("\x1b[1m{words}\x1b[0m") } else { words.to_owned() }
    }

    fn dim(&self, words: &str) -> String {
        if self.colour { format!("\x1b[2m{words}\x1b[0m") } else { words.to_owned() }
    }
}

fn or_dash(value: Option<impl Display>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| value.to_string())
}

/// Returns what a plain demo prints when it changes, as (subject, words): one line each.
pub fn facts(status: &Snapshot) -> Vec<(String, String)> {
    let Snapshot { uplink, gateway, panel, .. } = status;
    let row = watch::lcd(status).first().map(|row| row.trim_end().to_owned()).unwrap_or_default();
    let interface = or_dash(uplink.interface.as_ref());
    let (colour, pattern) =
        (or_dash(panel.led.colour.as_ref()), or_dash(panel.led.pattern.as_ref()));
    let mut facts = vec![
        ("lcd".to_owned(), row),
        ("uplink".to_owned(), format!("{interface} {} {}", uplink.state, or_dash(uplink.address))),
        (
            "gateway".to_owned(),
            format!(
                "forwarding {}, NAT {}, overlap {}, repaired {}",
                gateway.forwarding,
                or_dash(gateway.masquerade),
                gateway.overlap,
                gateway.repaired
            ),
        ),
        ("led".to_owned(), format!("{colour} {pattern}")),
        ("severity".to_owned(), status.severity.to_string()),
    ];
    for alert in &status.alerts {
        // Several of one kind are one fact: apart they would take turns in being the news.
        match facts.iter_mut().find(|(known, _)| alert.code == **known) {
            Some((_, text)) => *text += &format!("; {}", alert.text),
            None => facts.push((alert.code.to_string(), alert.text.to_string())),
        }
    }
    facts.extend(status.nodes.iter().map(|node| (node.name.to_string(), node.health.to_string())));
    facts
}

#[cfg(test)]
mod tests {
    use super::*;
    use bramblegate::cli::panel::Depth;
    use bramblegate_api::status::UplinkState;

    fn status() -> Snapshot {
        let status = serde_json::json!({
            "severity": "warning",
            "alerts": [{"severity": "warning", "code": "node-down", "text": "rpi2 down"}],
            "uplink": {"state": "online", "interface": "eth1", "address": "10.99.0.126/24", "gateway": null},
            "gateway": {"forwarding": true, "masquerade": true, "overlap": "none", "repaired": 0},
            "nodes": [{"name": "rpi2", "health": "down"}],
            "panel": {"lcd": {"lines": ["10.99.0.126     ", "rpi2 down      ♥"]},
                      "led": {"colour": "#ffa000", "pattern": "double-blink"}}
        });
        serde_json::from_value(status).unwrap()
    }

    fn picture(status: &Snapshot, colour: bool) -> String {
        let captions = ["rpi2 dies".to_owned()];
        let elapsed = Duration::from_secs(3);
        let depth = if colour { Depth::True } else { Depth::None };
        let style = Style { columns: 80, rows: 40, depth };
        Picture {
            status: Some(status),
            captions: &captions,
            journal: &[],
            elapsed,
            colour,
            style,
            keys: "",
        }
        .lines()
        .join("\n")
    }

    #[test]
    fn without_colour_there_is_no_escape_sequence_and_everything_is_reported() {
        let text = picture(&status(), false);
        assert!(!text.contains('\x1b'), "{text:?}");
        for words in ["rpi2 dies", "10.99.0.126", "double-blink", "rpi2 down", "warning"] {
            assert!(text.contains(words), "{words} is missing in\n{text}");
        }
        assert!(picture(&status(), true).contains('\x1b'));
    }

    #[test]
    fn on_a_small_terminal_nothing_is_pushed_off_the_screen() {
        let (status, captions, journal) =
            (status(), vec!["a caption".to_owned(); 9], vec!["a line ".repeat(30); 9]);
        for (columns, rows) in [(80, 24), (100, 40), (130, 50)] {
            let style = Style { columns, rows, depth: Depth::None };
            let elapsed = Duration::from_secs(3);
            let keys = "[c]able  [n]ode  [v]enue  [o]verlap  [f]lush rules  [s]witch forwarding \
                        off  [p]ortal  [q]uit";
            let (captions, journal, status) = (&captions, &journal, Some(&status));
            let lines =
                Picture { status, captions, journal, elapsed, colour: false, style, keys }.lines();
            assert!(lines.len() <= rows, "{} lines on {rows}", lines.len());
            let widest = lines.iter().map(|line| line.chars().count()).max().unwrap();
            assert!(widest <= columns, "{widest} on {columns}:\n{}", lines.join("\n"));
            assert!(!lines.concat().contains("10.99.0.126     │"), "there is room for dots");
        }
    }

    #[test]
    fn a_terminal_that_is_too_small_still_shows_what_is_reported_and_the_panel() {
        let (status, captions) = (status(), vec!["rpi2 dies".to_owned(); 3]);
        let keys = "[c]able  [n]ode  [v]enue  [o]verlap  [f]lush rules  [s]witch forwarding off  \
                    [p]ortal  [q]uit";
        for (columns, rows) in [(60, 15), (40, 10), (40, 6)] {
            let style = Style { columns, rows, depth: Depth::None };
            let (status, captions) = (Some(&status), &captions);
            let elapsed = Duration::from_secs(3);
            let lines =
                Picture { status, captions, journal: &[], elapsed, colour: false, style, keys }
                    .lines();
            let seen = lines[..rows.min(lines.len())].join("\n");
            assert!(
                seen.contains("▸ rpi2 dies") && seen.contains("double-blink"),
                "{columns}x{rows}:\n{seen}"
            );
            assert!(
                rows < 10 || (lines.len() <= rows && seen.contains("[q]uit")),
                "{columns}x{rows}:\n{seen}"
            );
        }
    }

    #[test]
    fn a_change_of_one_fact_is_one_changed_line() {
        let (before, mut after) = (facts(&status()), status());
        after.uplink.state = UplinkState::Portal.into();
        let after = facts(&after);
        assert_eq!(before.iter().zip(&after).filter(|(a, b)| a != b).count(), 1);
    }
}
