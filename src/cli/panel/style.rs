//! What a terminal can show.

use std::io::IsTerminal;

use crossterm::style::{Color, SetBackgroundColor, SetForegroundColor};
use crossterm::terminal;

use crate::cli::output;
use crate::panel::Colour;

/// Colour depth of a terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Depth {
    /// No escape sequences.
    None,
    /// The 6 × 6 × 6 cube of 256 colours.
    Palette,
    /// 24 bits.
    True,
}

/// Room and colours for a drawing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Style {
    pub columns: usize,
    pub rows: usize,
    pub depth: Depth,
    /// Dots as large as possible, to be seen from afar.
    pub big: bool,
}

impl Style {
    /// Returns the style of standard output; without a terminal, a page of 130 × 40 without
    /// colours.
    pub fn of_terminal() -> Self {
        let size = std::io::stdout().is_terminal().then(terminal::size).and_then(Result::ok);
        let (columns, rows) =
            size.map_or((130, 40), |(columns, rows)| (usize::from(columns), usize::from(rows)));
        let variable = |name: &str| std::env::var(name).unwrap_or_default();
        let depth = match variable("COLORTERM").as_str() {
            _ if !output::colours() => Depth::None,
            "truecolor" | "24bit" => Depth::True,
            _ => Depth::Palette,
        };
        // A terminal of unknown size reports 0.
        Self {
            columns: if columns == 0 { 80 } else { columns },
            rows: if rows == 0 { 24 } else { rows },
            depth,
            big: false,
        }
    }
}

impl Depth {
    /// Returns the sequence that sets the foreground colour.
    pub fn foreground(self, colour: Colour) -> String {
        self.shown(colour).map(|colour| SetForegroundColor(colour).to_string()).unwrap_or_default()
    }

    /// Returns the sequence that sets the background colour.
    pub fn background(self, colour: Colour) -> String {
        self.shown(colour).map(|colour| SetBackgroundColor(colour).to_string()).unwrap_or_default()
    }

    /// Returns the sequence that resets colours.
    pub fn reset(self) -> &'static str {
        if self == Self::None { "" } else { "\x1b[0m" }
    }

    /// Returns the colour as the terminal shows it; `None` without colours.
    fn shown(self, Colour { red, green, blue }: Colour) -> Option<Color> {
        match self {
            Self::None => None,
            Self::True => Some(Color::Rgb { r: red, g: green, b: blue }),
            Self::Palette => {
                let [r, g, b] = [red, green, blue].map(cube);
                Some(Color::AnsiValue(16 + 36 * r + 6 * g + b))
            }
        }
    }
}

/// Returns the nearest step of xterm's colour cube: 0, 95, 135, 175, 215, 255.
fn cube(channel: u8) -> u8 {
    match channel {
        0..=47 => 0,
        48..=114 => 1,
        115..=154 => 2,
        155..=194 => 3,
        195..=234 => 4,
        235..=255 => 5,
    }
}
