//! The part of the status that the panel shows.

use crate::api::Word;
use crate::api::status::{self, DeviceState, Line, Severity, Snapshot};
use crate::panel::{Charset, Colour, Geometry, Pattern, Signal};

/// Display and LED as the daemon last sent them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct View {
    pub severity: Word<Severity>,
    /// Empty: the contents are unknown.
    pub lines: Vec<String>,
    pub lcd: Word<DeviceState>,
    pub led: Signal,
    pub led_state: Word<DeviceState>,
}

impl Default for View {
    fn default() -> Self {
        Self {
            severity: Word::default(),
            lines: Vec::new(),
            lcd: Word::default(),
            led: Signal::DARK,
            led_state: Word::default(),
        }
    }
}

impl View {
    /// Returns the view of a snapshot.
    pub fn of(snapshot: &Snapshot) -> Self {
        let mut view = Self::default();
        view.set(Some(&snapshot.severity), Some(&snapshot.panel));
        view
    }

    /// Applies a line of the status socket, snapshot or change. A change has whole objects.
    pub fn apply(&mut self, line: &Line) {
        match line {
            Line::Snapshot(snapshot) => self.set(Some(&snapshot.severity), Some(&snapshot.panel)),
            Line::Change(change) => self.set(change.severity.as_ref(), change.panel.as_ref()),
            Line::Refused(_) | Line::Other => {}
        }
    }

    fn set(&mut self, severity: Option<&Word<Severity>>, panel: Option<&status::Panel>) {
        if let Some(severity) = severity {
            self.severity = severity.clone();
        }
        if let Some(status::Panel { lcd, led }) = panel {
            self.lcd = lcd.state.clone();
            self.lines = lcd.lines.iter().flatten().map(ToString::to_string).collect();
            self.led_state = led.state.clone();
            self.led = signal(led);
        }
    }

    /// Returns the display's size, from its lines; 16x2 without lines.
    pub fn geometry(&self) -> Geometry {
        let columns = self.lines.iter().map(|line| line.chars().count()).max().unwrap_or(0);
        let number = |n: usize| u8::try_from(n).unwrap_or(u8::MAX);
        if columns == 0 {
            return Geometry { columns: 16, rows: 2 };
        }
        Geometry { columns: number(columns), rows: number(self.lines.len()) }
    }

    /// Returns the character ROM that has the displayed characters.
    pub fn charset(&self) -> Charset {
        let foreign = self
            .lines
            .iter()
            .flat_map(|line| line.chars())
            .any(|s| is_outside_a00(s) && Charset::A02.code(s).is_some());
        if foreign { Charset::A02 } else { Charset::A00 }
    }

    /// Returns a note on devices that fail; empty if none does.
    pub fn note(&self) -> String {
        let notes = [device_note("LCD", &self.lcd), device_note("LED", &self.led_state)];
        notes.into_iter().flatten().collect::<Vec<_>>().join(", ")
    }

    /// Returns a line of text for the display and one for the LED, for logs.
    pub fn words(&self) -> Vec<String> {
        let rows: Vec<&str> = self.lines.iter().map(|line| line.trim_end()).collect();
        let lcd = if self.lines.is_empty() { self.lcd.to_string() } else { rows.join(" | ") };
        let led = format!("{} {}", self.led.colour, self.led.pattern.name());
        vec![format!("lcd  {lcd}"), format!("led  {led}")]
    }
}

/// Returns whether a display with the character ROM A00 cannot show a character.
fn is_outside_a00(scalar: char) -> bool {
    crate::panel::charset::glyph_of(scalar).is_none() && Charset::A00.code(scalar).is_none()
}

/// Returns a note on a device that fails.
fn device_note(name: &str, state: &Word<DeviceState>) -> Option<String> {
    match state {
        Word::Known(DeviceState::Ok) => None,
        Word::Known(DeviceState::Off) => Some(format!("{name} is switched off")),
        Word::Known(DeviceState::Absent) => Some(format!("no {name} found")),
        Word::Other(nothing) if nothing.is_empty() => None,
        other => Some(format!("{name}: {other}")),
    }
}

/// Returns the signal of the LED, or of a stick's first LED; dark if unknown.
fn signal(led: &status::Led) -> Signal {
    let pattern = match led.pattern.as_ref().and_then(Word::known) {
        Some(status::Pattern::Steady) => Pattern::Steady,
        Some(status::Pattern::Breathe) => Pattern::Breathe,
        Some(status::Pattern::QuickBreathe) => Pattern::QuickBreathe,
        Some(status::Pattern::DoubleBlink) => Pattern::DoubleBlink,
        Some(status::Pattern::FastBlink) => Pattern::FastBlink,
        Some(status::Pattern::Off) | None => Pattern::Off,
    };
    let digits = led.colour.as_deref().and_then(|colour| colour.strip_prefix('#'));
    let number = digits.and_then(|digits| u32::from_str_radix(digits, 16).ok()).unwrap_or(0);
    let [_, red, green, blue] = number.to_be_bytes();
    Signal { colour: Colour { red, green, blue }, pattern }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_replaces_what_it_names_and_leaves_the_rest() {
        let mut view = View::default();
        let apply =
            |view: &mut View, line: &str| view.apply(&Line::parse(line.as_bytes()).unwrap());
        apply(
            &mut view,
            r##"{"type": "snapshot", "severity": "ok", "panel": {
            "lcd": {"state": "ok", "lines": ["10.0.0.1        ", "3/3 up  eth1   ♥"]},
            "led": {"state": "ok", "colour": "#ffa000", "pattern": "double-blink"}}}"##,
        );
        assert_eq!(view.geometry(), Geometry { columns: 16, rows: 2 });
        assert_eq!(view.led, Signal { colour: Colour::AMBER, pattern: Pattern::DoubleBlink });
        let before = view.clone();
        apply(&mut view, r#"{"type": "change", "seq": 1, "severity": "warning"}"#);
        assert_eq!(view, View { severity: Severity::Warning.into(), ..before });
        apply(
            &mut view,
            r#"{"type": "change", "panel": {"lcd": {"state": "absent", "lines": null},
            "led": {"state": "off", "colour": null, "pattern": null}}}"#,
        );
        assert_eq!(view.note(), "no LCD found, LED is switched off");
        assert_eq!(view.led, Signal::DARK);
    }

    #[test]
    fn the_rom_has_the_displayed_letters() {
        let view = |line: &str| View { lines: vec![line.to_owned()], ..View::default() };
        assert_eq!(view("bücherei ♥").charset(), Charset::A00);
        assert_eq!(view("école").charset(), Charset::A02);
    }
}
