//! The panel, live: follows the status socket and draws.

use std::path::Path;
use std::time::{Duration, Instant};

use super::glass::{self, MARGIN};
use super::style::{Depth, Style};
use super::view::View;
use crate::api::client::{Error, Follower, StatusClient};
use crate::cli::status::TIMEOUT;
use crate::cli::terminal::{self, Screen};
use crate::cli::{output, settings};

/// 20 frames per second.
const FRAME: Duration = Duration::from_millis(50);
/// Interval of requests for a snapshot, by which a daemon that hangs is detected.
const REFRESH: Duration = Duration::from_secs(10);
/// Interval of checks that standard output has a reader, while nothing changes.
const READER_CHECK: Duration = Duration::from_secs(1);

/// Draws until q, Esc, Ctrl-C or Ctrl-D.
///
/// # Errors
/// A thread cannot be started.
pub fn run(socket: &Path) -> std::io::Result<()> {
    let start = Instant::now();
    let follower = Follower::start(socket.to_owned(), REFRESH, |_, _| ())?;
    let keys = terminal::keys();
    let screen = Screen::open();
    let below = format!("{}   q quits", settings::host_name());
    let (mut view, mut generation): (Option<View>, u64) = (None, 0);
    let mut shown = (Vec::new(), Style::of_terminal());
    loop {
        let known = follower.known();
        if known.generation != generation {
            (view, generation) =
                (known.live().map(|snapshot| View::of(snapshot)), known.generation);
        }
        let style = Style::of_terminal();
        let picture = match &view {
            Some(view) => picture(view, &below, start.elapsed(), style),
            None if generation > 0 => {
                unlit_display("the daemon does not answer; waiting for it (q quits)", style)
            }
            None => Vec::new(),
        };
        // A larger window also needs a redraw: it is empty where the picture was cut.
        if (&picture, style) != (&shown.0, shown.1) {
            screen.show(&picture, style.rows);
            shown = (picture, style);
        }
        if let Ok('q' | terminal::INTERRUPT | terminal::END | terminal::ESCAPE) =
            keys.recv_timeout(FRAME)
        {
            return Ok(());
        }
    }
}

/// Prints one line of text for each change, for logs, until the daemon is gone or standard output
/// has no reader.
pub fn lines(socket: &Path) -> Result<u8, Error> {
    let mut client = StatusClient::connect(socket)?;
    client.set_timeout(Some(READER_CHECK));
    let (mut view, mut written) = (View::default(), Vec::new());
    while output::is_open() {
        let line = match client.next_line() {
            Ok(Some(received)) => received.line,
            Ok(None) => continue,
            Err(Error::Ended) if !written.is_empty() => break,
            Err(error) => return Err(error),
        };
        view.apply(&line);
        let words = view.words();
        for (place, line) in words.iter().enumerate() {
            if written.get(place) != Some(line) && !output::try_out(&format!("{line}\n")) {
                return Ok(0);
            }
        }
        written = words;
    }
    Ok(0)
}

/// Prints one picture, with the LED at its brightest; returns the exit code.
pub fn once(socket: &Path) -> Result<u8, Error> {
    let (_, snapshot) = StatusClient::fetch(socket, TIMEOUT)?;
    let view = View::of(&snapshot);
    let style = Style { rows: usize::MAX, ..Style::of_terminal() };
    let picture = picture(&view, &settings::host_name(), brightest(&view), style);
    Ok(output::deliver_drawn(&format!("{}\n", picture.join("\n"))))
}

/// Returns a time at which the heart is shown and the LED is brightest.
fn brightest(view: &View) -> Duration {
    let moments =
        (0..200).map(|step| Duration::from_millis(step * 20)).filter(|at| at.subsec_millis() < 500);
    let bright = |at: &Duration| crate::panel::signal::level(view.led.pattern, *at);
    moments.max_by(|a, b| bright(a).total_cmp(&bright(b))).unwrap_or_default()
}

/// Draws the display, the LED, a note on devices that fail, and the line `below`.
fn picture(view: &View, below: &str, elapsed: Duration, style: Style) -> Vec<String> {
    let mut lines = if view.lines.is_empty() {
        let mut lines = unlit_display("", style);
        lines.pop();
        lines.push(format!("{MARGIN}{}", glass::lamp(view.led, elapsed, style.depth)));
        lines
    } else {
        glass::draw(&view.lines, view.geometry(), view.charset(), view.led, elapsed, style)
    };
    if let Some(last) = lines.last_mut() {
        last.push_str(&format!("    {}", view.severity));
    }
    let note = view.note();
    if !note.is_empty() {
        lines.push(format!("{MARGIN}{note}"));
    }
    lines.push(format!("{MARGIN}{below}"));
    lines
}

/// Returns an unlit display, and a line of text.
fn unlit_display(words: &str, style: Style) -> Vec<String> {
    let view = View::default();
    let unlit = Style { depth: Depth::None, ..style };
    let mut lines = glass::glass(&[], view.geometry(), view.charset(), Duration::ZERO, unlit);
    lines.push(format!("{MARGIN}{words}"));
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_panel_shows_each_thing_once_and_how_to_leave_it() {
        let lines = vec!["10.99.0.126     ".to_owned(), "3/3 up  eth1   ♥".to_owned()];
        let view = View { lines, ..View::default() };
        for columns in [110, 80, 60, 40] {
            let style = Style { columns, rows: 24, depth: Depth::None, big: false };
            let drawn = picture(&view, "head   q quits", Duration::ZERO, style).join("\n");
            assert_eq!(drawn.matches("10.99.0.126").count(), usize::from(columns < 52), "{drawn}");
            assert!(drawn.ends_with(" head   q quits"), "{drawn}");
        }
    }
}
