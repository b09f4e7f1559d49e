//! The part of the status that the panel shows.

use serde_json::Value;

use crate::panel::{Charset, Colour, Geometry, Pattern, Signal};

/// Display and LED as the daemon told them last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct View {
    pub severity: String,
    /// empty: nothing is known of the display's contents
    pub lines: Vec<String>,
    /// "ok", "absent", "error", "off"
    pub lcd: String,
    pub led: Signal,
    pub led_state: String,
}

impl Default for View {
    fn default() -> Self {
        Self {
            severity: String::new(),
            lines: Vec::new(),
            lcd: String::new(),
            led: Signal::DARK,
            led_state: String::new(),
        }
    }
}

impl View {
    /// Takes a line of the status socket in, snapshot or change: each object in it is whole.
    pub fn take(&mut self, line: &Value) {
        if let Some(severity) = line.get("severity") {
            self.severity = word(Some(severity));
        }
        let Some(panel) = line.get("panel") else { return };
        if let Some(lcd) = panel.get("lcd") {
            self.lcd = word(lcd.get("state"));
            let rows = lcd.get("lines").and_then(Value::as_array);
            self.lines = rows.into_iter().flatten().map(|row| word(Some(row))).collect();
        }
        if let Some(led) = panel.get("led") {
            self.led_state = word(led.get("state"));
            self.led = signal(&word(led.get("colour")), &word(led.get("pattern")));
        }
    }

    /// The display's size, from what it shows; 16x2 as long as it shows nothing.
    pub fn geometry(&self) -> Geometry {
        let columns = self.lines.iter().map(|line| line.chars().count()).max().unwrap_or(0);
        let number = |n: usize| u8::try_from(n).unwrap_or(u8::MAX);
        if columns == 0 {
            return Geometry { columns: 16, rows: 2 };
        }
        Geometry { columns: number(columns), rows: number(self.lines.len()) }
    }

    /// The character ROM that has what is shown.
    pub fn charset(&self) -> Charset {
        let unknown =
            |scalar: char| crate::panel::charset::glyph_of(scalar).is_none() && Charset::A00.code(scalar).is_none();
        let foreign =
            self.lines.iter().flat_map(|line| line.chars()).any(|s| unknown(s) && Charset::A02.code(s).is_some());
        if foreign { Charset::A02 } else { Charset::A00 }
    }

    /// Words on what is not well.
    pub fn note(&self) -> String {
        let note = |name: &str, state: &str| match state {
            "ok" | "" => None,
            "off" => Some(format!("{name} is switched off")),
            "absent" => Some(format!("no {name} found")),
            other => Some(format!("{name}: {other}")),
        };
        let notes = [note("LCD", &self.lcd), note("LED", &self.led_state)];
        notes.into_iter().flatten().collect::<Vec<_>>().join(", ")
    }

    /// One line of text for each part, for logs.
    pub fn words(&self) -> Vec<String> {
        let rows: Vec<&str> = self.lines.iter().map(|line| line.trim_end()).collect();
        let lcd = if self.lines.is_empty() { self.lcd.clone() } else { rows.join(" | ") };
        let led = format!("{} {}", self.led.colour, self.led.pattern.name());
        vec![format!("lcd  {lcd}"), format!("led  {led}")]
    }
}

/// A signal by the words of the status.
pub fn signal(colour: &str, pattern: &str) -> Signal {
    let patterns = [Pattern::Steady, Pattern::Breathe, Pattern::QuickBreathe, Pattern::DoubleBlink, Pattern::FastBlink];
    let pattern = patterns.into_iter().find(|known| known.name() == pattern).unwrap_or(Pattern::Off);
    let number = colour.strip_prefix('#').and_then(|digits| u32::from_str_radix(digits, 16).ok()).unwrap_or(0);
    let [_, red, green, blue] = number.to_be_bytes();
    Signal { colour: Colour { red, green, blue }, pattern }
}

fn word(value: Option<&Value>) -> String {
    value.and_then(Value::as_str).unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_replaces_what_it_names_and_leaves_the_rest() {
        let mut view = View::default();
        view.take(&serde_json::json!({"type": "snapshot", "severity": "ok", "panel": {
            "lcd": {"state": "ok", "lines": ["10.0.0.1        ", "3/3 up  eth1   ♥"]},
            "led": {"state": "ok", "colour": "#ffa000", "pattern": "double-blink"}}}));
        assert_eq!(view.geometry(), Geometry { columns: 16, rows: 2 });
        assert_eq!(view.led, Signal { colour: Colour::AMBER, pattern: Pattern::DoubleBlink });
        let before = view.clone();
        view.take(&serde_json::json!({"type": "change", "seq": 1, "severity": "warning"}));
        assert_eq!(view, View { severity: "warning".into(), ..before });
        view.take(&serde_json::json!({"panel": {"lcd": {"state": "absent", "lines": null},
            "led": {"state": "off", "colour": null, "pattern": null}}}));
        assert_eq!(view.note(), "no LCD found, LED is switched off");
        assert_eq!(view.led, Signal::DARK);
    }

    #[test]
    fn the_rom_is_the_one_that_has_the_letters() {
        let view = |line: &str| View { lines: vec![line.to_owned()], ..View::default() };
        assert_eq!(view("bücherei ♥").charset(), Charset::A00);
        assert_eq!(view("école").charset(), Charset::A02);
    }
}
