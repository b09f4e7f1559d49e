//! The demo's screen: a title, a diagram of the cluster, the panel, what works, captions, keys.

use std::time::Duration;

use bramblegate_api::status::Snapshot;

use super::{diagram, words};
use bramblegate::cli::output::filled;
use bramblegate::cli::panel::view::View;
use bramblegate::cli::panel::{Style, glass, lamp};
use bramblegate::event::printable_line;
use bramblegate::panel::Colour;

/// Maximum number of lines of the journal.
const JOURNAL: usize = 6;
/// Rows of a small terminal …
const SMALL: usize = 24;
/// … on which this number of lines below the captions leaves room for all captions.
const BELOW: usize = 3;
/// Columns that the list of what works needs beside the display.
const SIDE: usize = 28;
const TITLE: &str = "This is the LCD of a Pi cluster that has just been carried into a new network";

/// The contents of one screen.
#[derive(Debug)]
pub struct Picture<'p> {
    /// `None`: the daemon does not reply.
    pub status: Option<&'p Snapshot>,
    /// The newest last.
    pub captions: &'p [String],
    /// Last lines of the journal.
    pub journal: &'p [String],
    /// Since the start.
    pub elapsed: Duration,
    /// False: `NO_COLOR`.
    pub colour: bool,
    /// The terminal's size and colours.
    pub style: Style,
    /// The line of keys.
    pub keys: &'p str,
    /// The last lines: how to attach.
    pub attach: &'p [String],
}

impl Picture<'_> {
    /// Returns the lines of the screen: the largest display that leaves room for all else, or
    /// otherwise the most important parts.
    pub fn lines(&self) -> Vec<String> {
        let Style { columns, rows, big, .. } = self.style;
        let (heading, mut below) = (self.heading(), self.keys());
        below.extend(self.attach());
        // The keys must be complete; an older caption is left out for them.
        let captions = self.captions(if rows > SMALL || below.len() <= BELOW { 3 } else { 2 });
        let around = heading.len() + captions.len() + below.len() + 2;
        let room = rows.saturating_sub(around);
        let layouts = [(columns, false), (columns.saturating_sub(SIDE), true)];
        for (width, _) in layouts.into_iter().filter(|(_, beside)| !(big && *beside)) {
            let display = self.display(width, room);
            let wide = display.first().map_or(0, |line| line.chars().count());
            let panel = if columns.saturating_sub(wide) >= SIDE && !big {
                self.beside(display, wide)
            } else {
                self.stacked(display, room)
            };
            if panel.len() > room || wide < 50.min(columns) {
                continue;
            }
            let journal = if big { 0 } else { room.saturating_sub(panel.len() + 1).min(JOURNAL) };
            let mut lines = heading;
            lines.extend(panel);
            lines.push(String::new());
            lines.extend(captions);
            lines.push(String::new());
            lines.extend(self.journal(journal));
            lines.extend(below);
            return lines;
        }
        self.dense()
    }

    /// Draws for a small terminal: the caption, the panel and the keys, then as much else as fits.
    fn dense(&self) -> Vec<String> {
        let rows = self.style.rows;
        let (mut lines, keys) = (self.captions(1), self.keys());
        let taken = lines.len() + keys.len() + 1;
        let mut panel = self.display(self.style.columns, rows.saturating_sub(taken));
        panel.push(self.lamp());
        let taken = lines.len() + panel.len();
        if taken < rows {
            lines.insert(0, self.diagram());
        }
        lines.extend(panel);
        let mut marks = self.status.map(words::marks).unwrap_or_default();
        // Sorted, so that what does not work is cut last.
        marks.sort_by_key(|(good, _)| *good);
        let mut marks = self.in_lines(marks);
        marks.truncate(rows.saturating_sub(lines.len() + keys.len()));
        lines.extend(marks);
        lines.extend(keys);
        lines
    }

    fn heading(&self) -> Vec<String> {
        let mut lines: Vec<String> = self.wrapped(TITLE).iter().map(|l| self.strong(l)).collect();
        lines.push(self.diagram());
        lines.push(String::new());
        lines
            .iter()
            .map(|line| if line.starts_with(' ') { line.clone() } else { indent(line) })
            .collect()
    }

    fn diagram(&self) -> String {
        diagram::draw(self.status, self.style.columns, self.style.depth)
    }

    /// Returns the newest captions on at least `count` lines; the newest is never cut.
    fn captions(&self, count: usize) -> Vec<String> {
        let (earlier, newest) = match self.captions.split_last() {
            Some((newest, earlier)) => (earlier, newest.as_str()),
            None => (self.captions, ""),
        };
        let newest = self.wrapped(newest);
        let left = count.saturating_sub(newest.len().max(1));
        let mut lines = vec![String::new(); left.saturating_sub(earlier.len())];
        for caption in earlier.get(earlier.len().saturating_sub(left)..).unwrap_or_default() {
            lines.push(format!("   {}", self.dim(&self.cut(caption))));
        }
        for (number, line) in newest.iter().enumerate() {
            let mark = if number == 0 { "▸" } else { " " };
            lines.push(format!(" {mark} {}", self.strong(line)));
        }
        lines
    }

    /// Returns the lines of keys.
    fn keys(&self) -> Vec<String> {
        let keys = if self.style.big { "[q]uit, or any key of the demo" } else { self.keys };
        self.flowed(keys.split("  ").map(|key| (key.to_owned(), key.to_owned())), "  ")
    }

    /// Returns the lines about how to attach.
    fn attach(&self) -> Vec<String> {
        let piece = |piece: &String| {
            let plain = self.cut(piece);
            (plain.clone(), self.dim(&plain))
        };
        self.flowed(self.attach.iter().map(piece), "   ")
    }

    /// Wraps pieces (plain text, and the same with colours) to as many lines as they need.
    fn flowed(&self, pieces: impl Iterator<Item = (String, String)>, between: &str) -> Vec<String> {
        let (mut lines, mut width): (Vec<String>, usize) = (Vec::new(), 0);
        for (plain, drawn) in pieces {
            let wide = plain.chars().count() + between.len();
            match lines.last_mut() {
                Some(line) if width + wide < self.style.columns => {
                    line.push_str(between);
                    line.push_str(&drawn);
                    width += wide;
                }
                _ => {
                    lines.push(format!(" {drawn}"));
                    width = plain.chars().count() + 1;
                }
            }
        }
        lines
    }

    /// Wraps words at spaces, with a margin of three columns.
    fn wrapped(&self, words: &str) -> Vec<String> {
        let lines = filled(&printable_line(words), self.style.columns.saturating_sub(3));
        lines.iter().map(|line| self.cut(line)).collect()
    }

    /// Truncates a text to a line of the terminal, with a margin of three columns, and escapes
    /// control characters, which a venue file may contain.
    fn cut(&self, line: &str) -> String {
        printable_line(line).chars().take(self.style.columns.saturating_sub(3)).collect()
    }

    /// Draws the display as `bramblegate panel` does on this many columns and rows, or on more if
    /// it does not fit.
    fn display(&self, columns: usize, rows: usize) -> Vec<String> {
        let view = self.status.map(View::of).unwrap_or_default();
        // The caller accounts for what is beside or below.
        let style = Style { columns, rows: rows + 2, ..self.style };
        glass(&view.lines, view.geometry(), view.charset(), self.elapsed, style)
    }

    fn lamp(&self) -> String {
        match self.status {
            None => " (the daemon is not there yet)".to_owned(),
            Some(status) => {
                let lamp = lamp(View::of(status).led, self.elapsed, self.style.depth);
                format!(" {lamp}   {}", self.strong(&words::severity(status)))
            }
        }
    }

    /// Draws the display, and to the right of it the LED and what works; alerts below.
    fn beside(&self, display: Vec<String>, wide: usize) -> Vec<String> {
        let mut side = Vec::new();
        if let Some(status) = self.status {
            side.push(lamp(View::of(status).led, self.elapsed, self.style.depth));
            side.push(self.strong(&words::severity(status)));
            side.extend(words::marks(status).into_iter().map(|mark| self.mark(mark)));
        } else {
            side.push("(the daemon is not there yet)".to_owned());
        }
        let height = display.len().max(side.len());
        let mut lines = Vec::new();
        for row in 0..height {
            let left = display.get(row).cloned().unwrap_or_else(|| " ".repeat(wide));
            let right = side.get(row).map_or("", String::as_str);
            lines.push(format!("{left}  {right}").trim_end().to_owned());
        }
        lines.push(self.alerts().into_iter().next().unwrap_or_default());
        lines
    }

    /// Draws the display, and below it the LED, what works, and alerts for which there is room.
    fn stacked(&self, display: Vec<String>, room: usize) -> Vec<String> {
        let mut lines = display;
        lines.push(self.lamp());
        if !self.style.big {
            lines.extend(self.in_lines(self.status.map(words::marks).unwrap_or_default()));
            let alerts = self.alerts();
            lines.extend(alerts.into_iter().take(room.saturating_sub(lines.len())));
        }
        lines
    }

    fn in_lines(&self, marks: Vec<(bool, String)>) -> Vec<String> {
        let pieces =
            marks.into_iter().map(|(good, words)| (format!("✓ {words}"), self.mark((good, words))));
        self.flowed(pieces, "   ")
    }

    fn mark(&self, (good, words): (bool, String)) -> String {
        let depth = self.style.depth;
        let (mark, colour) = if good { ("✓", Colour::GREEN) } else { ("✗", Colour::RED) };
        format!("{}{mark}{} {words}", depth.foreground(colour), depth.reset())
    }

    fn alerts(&self) -> Vec<String> {
        let alerts = self.status.map(|status| status.alerts.as_slice()).unwrap_or_default();
        let line = |alert: &bramblegate_api::status::Alert| {
            format!(" {}", self.cut(&format!("{}: {}", alert.severity, alert.text)))
        };
        alerts.iter().map(line).collect()
    }

    /// Draws the last lines of the journal, and an empty one.
    fn journal(&self, count: usize) -> Vec<String> {
        let newest = self.journal.len().saturating_sub(count);
        let lines = self.journal.iter().skip(newest).map(|line| {
            let words = line.strip_prefix("bramblegate: ").unwrap_or(line);
            format!("   {}", self.dim(&self.cut(words)))
        });
        let mut lines: Vec<String> = lines.collect();
        if !lines.is_empty() {
            lines.push(String::new());
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

fn indent(line: &str) -> String {
    if line.is_empty() { String::new() } else { format!(" {line}") }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::keys::key_line;
    use super::*;
    use bramblegate::cli::panel::Depth;

    /// As of a demo that was built, and not installed.
    fn attach() -> Vec<String> {
        [
            "Status page: http://127.0.0.1:8080/",
            "(demo 12345)",
            "In a second terminal: target/debug/bramblegate demo attach [VERB]",
        ]
        .map(str::to_owned)
        .to_vec()
    }

    fn status(state: &str, rpi2: &str) -> Snapshot {
        let online = state == "online";
        let row = match state {
            "no-carrier" => "NO CABLE        ",
            _ => "10.99.0.126     ",
        };
        let (alerts, severity) = match (state, rpi2) {
            ("no-carrier", _) => (
                serde_json::json!([{"severity": "notice", "code": "uplink-none", "text": "no cable in eth1"}]),
                "notice",
            ),
            (_, "down") => (
                serde_json::json!([{"severity": "warning", "code": "node-down", "text": "rpi2 down"}]),
                "warning",
            ),
            _ => (serde_json::json!([]), "ok"),
        };
        let (colour, pattern) = match severity {
            "ok" => ("#00ff00", "breathe"),
            "notice" => ("#0000ff", "quick-breathe"),
            _ => ("#ffa000", "double-blink"),
        };
        let second = if rpi2 == "down" { "rpi2 down      ♥" } else { "3/3 up  eth1   ♥" };
        let address = (state != "no-carrier").then_some("10.99.0.126/24");
        let node = |name: &str, health: &str| serde_json::json!({"name": name, "health": health});
        let status = serde_json::json!({
            "severity": severity,
            "alerts": alerts,
            "uplink": {"state": state, "interface": "eth1", "address": address},
            "gateway": {"forwarding": true, "masquerade": true, "overlap": "none",
                        "repaired": u8::from(online)},
            "cluster": {"dhcp": "serving", "up": if rpi2 == "up" { 3 } else { 2 }, "total": 3},
            "nodes": [node("rpi1", "up"), node("rpi2", rpi2), node("rpi3", "up")],
            "panel": {"lcd": {"lines": [row, second]},
                      "led": {"colour": colour, "pattern": pattern}}
        });
        serde_json::from_value(status).unwrap()
    }

    fn captions() -> Vec<String> {
        ["At home: a router with a DHCP server, one /24", "rpi2 dies"].map(str::to_owned).to_vec()
    }

    fn drawn(status: &Snapshot, columns: usize, rows: usize, depth: Depth) -> Vec<String> {
        let journal = vec!["bramblegate: a line ".repeat(9); 9];
        Picture {
            status: Some(status),
            captions: &captions(),
            journal: &journal,
            elapsed: Duration::from_secs(3),
            colour: depth != Depth::None,
            style: Style { columns, rows, depth, big: false },
            keys: &key_line(),
            attach: &attach(),
        }
        .lines()
    }

    #[test]
    fn without_colour_there_is_no_escape_sequence_and_everything_is_reported() {
        let text = drawn(&status("online", "down"), 80, 40, Depth::None).join("\n");
        assert!(!text.contains('\x1b'), "{text:?}");
        for words in ["rpi2 dies", "10.99.0.126", "double-blink", "rpi2 down", "warning"] {
            assert!(text.contains(words), "{words} is missing in\n{text}");
        }
        assert!(drawn(&status("online", "up"), 80, 40, Depth::True).concat().contains('\x1b'));
    }

    /// The golden screens of `screens/`: what a person sees at 80x24. `UPDATE=1` writes them.
    #[test]
    fn the_screen_of_80_by_24_is_as_it_was_looked_at() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/demo/screens");
        let update = std::env::var_os("UPDATE").is_some();
        for (name, state, rpi2) in [
            ("no-cable", "no-carrier", "up"),
            ("online", "online", "up"),
            ("node-down", "online", "down"),
            ("portal", "portal", "up"),
        ] {
            let screen = drawn(&status(state, rpi2), 80, 24, Depth::None).join("\n") + "\n";
            let file = folder.join(format!("{name}.txt"));
            if update {
                std::fs::create_dir_all(&folder).unwrap();
                std::fs::write(&file, &screen).unwrap();
            }
            let golden = std::fs::read_to_string(&file)
                .unwrap_or_else(|error| panic!("{}: {error}; UPDATE=1 writes it", file.display()));
            assert!(screen == golden, "{}: UPDATE=1 writes it\n{screen}", file.display());
        }
    }

    #[test]
    fn nothing_is_pushed_off_the_screen_and_there_are_dots_where_there_is_room() {
        let status = status("online", "down");
        for (columns, rows) in [(80, 24), (100, 40), (110, 30), (130, 50), (60, 24), (200, 60)] {
            let lines = drawn(&status, columns, rows, Depth::None);
            let text = lines.join("\n");
            assert!(lines.len() <= rows, "{} lines on {rows}:\n{text}", lines.len());
            let widest = lines.iter().map(|line| line.chars().count()).max().unwrap();
            assert!(widest <= columns, "{widest} on {columns}:\n{text}");
            assert!(!text.contains("10.99.0.126     │"), "there is room for dots:\n{text}");
            let solid = "▖▗▘▝▚▞▙▛▜▟▀▄█";
            assert!(text.chars().any(|scalar| solid.contains(scalar)), "solid blocks:\n{text}");
            let typed = ["8080/", "target/debug/bramblegate demo attach [VERB]", "(demo 12345)"];
            let typed = typed.into_iter().filter(|_| columns >= 80);
            let always = ["rpi2 dies", "✓ NAT on", "✗ 2 of 3 nodes up", "[q]uit"];
            for words in always.into_iter().chain(typed) {
                assert!(text.contains(words), "{words} is missing at {columns}x{rows}:\n{text}");
            }
        }
    }

    #[test]
    fn a_terminal_that_is_too_small_still_shows_what_is_reported_and_the_panel() {
        let status = status("online", "down");
        for (columns, rows) in [(60, 20), (60, 15), (40, 15), (40, 6)] {
            let lines = drawn(&status, columns, rows, Depth::None);
            let seen = lines[..rows.min(lines.len())].join("\n");
            assert!(
                seen.contains("▸ rpi2 dies") && seen.contains("double-blink"),
                "{columns}x{rows}:\n{seen}"
            );
            assert!(rows < 15 || seen.contains("✗ 2 of 3 nodes up"), "{columns}x{rows}:\n{seen}");
            assert!(
                rows < 10 || (lines.len() <= rows && seen.contains("[q]uit")),
                "{columns}x{rows}:\n{seen}"
            );
        }
    }

    #[test]
    fn big_is_the_display_and_little_else() {
        let status = status("online", "up");
        for (columns, rows, wide) in [(210, 50, 198), (110, 24, 100), (80, 24, 52)] {
            let style = Style { columns, rows, depth: Depth::None, big: true };
            let (status, captions) = (Some(&status), &captions());
            let elapsed = Duration::from_secs(3);
            let lines = Picture {
                status,
                captions,
                journal: &[],
                elapsed,
                colour: false,
                style,
                keys: "",
                attach: &attach(),
            }
            .lines();
            let text = lines.join("\n");
            let frame = lines.iter().find(|line| line.contains('┌')).unwrap().chars().count();
            assert_eq!(frame, wide - 1 + usize::from(wide != 198), "{text}");
            assert!(lines.len() <= rows && !text.contains("NAT"), "{text}");
        }
    }
}
