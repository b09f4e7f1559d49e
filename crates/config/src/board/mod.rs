//! Boards as data: which bus, expander, LED and ports a board has. One file each in `boards/`.

mod parse;
#[cfg(test)]
mod tests;

use std::fmt;

use bramblegate_panel::{Charset, Geometry};

use crate::fault::Fault;

/// The boards of the source tree's `boards/` folder: (name, TOML text), listed by `build.rs`.
static BUILT_IN: &[(&str, &str)] = include!(concat!(env!("OUT_DIR"), "/boards.rs"));

/// The board for machines that no other one fits.
pub const FALLBACK: &str = "generic-pc";

/// One kind of head node; every value is a default that the settings may override.
#[derive(Debug, Clone, PartialEq)]
pub struct Board {
    /// the file's name without `.toml`
    pub name: String,
    /// for users: "Raspberry Pi 4 Model B"
    pub description: String,
    /// device-tree `compatible` strings that choose this board for `board = "auto"`
    pub compatible: Vec<String>,
    pub lcd: BoardLcd,
    pub gpio: Option<BoardGpio>,
    pub led: BoardLed,
    pub ports: BoardPorts,
}

/// `[lcd]` of a board
#[derive(Debug, Clone, PartialEq)]
pub struct BoardLcd {
    /// as `lcd.bus` in the settings
    pub bus: String,
    /// of the expander, 7 bits
    pub address: u8,
    /// a name known to [`bramblegate_panel::Wiring::named`]
    pub wiring: String,
    pub size: Geometry,
    pub charset: Charset,
}

/// `[gpio]` of a board: the display's pins where no expander is between
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BoardGpio {
    /// label of the GPIO chip: numbers move between kernels, labels do not
    pub chip: String,
    pub pins: BoardPins,
}

/// Line offsets on the GPIO chip (BCM numbers on a Raspberry Pi).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BoardPins {
    pub rs: u32,
    pub e: u32,
    pub d4: u32,
    pub d5: u32,
    pub d6: u32,
    pub d7: u32,
    pub backlight: Option<u32>,
}

/// `[led]` of a board
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BoardLed {
    /// as `led.device` in the settings
    pub device: String,
    /// the kernel LED (`/sys/class/leds/NAME`) that `auto` falls back to
    pub kernel: Option<String>,
}

/// `[ports]` of a board: name patterns in order of preference, which `detect` proposes
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct BoardPorts {
    pub cluster: Vec<String>,
    pub uplinks: Vec<String>,
}

/// Why there is no such board.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BoardError {
    /// the name is not known; `known` is in byte order
    Unknown { name: String, known: Vec<String> },
    /// the file of that name is not right
    Invalid { name: String, faults: Vec<Fault> },
}

impl fmt::Display for BoardError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown { name, .. } => write!(f, "there is no board {name:?}"),
            Self::Invalid { name, .. } => write!(f, "the file of board {name:?} has errors"),
        }
    }
}

impl BoardError {
    /// Returns what would be right.
    pub fn help(&self) -> String {
        match self {
            Self::Unknown { known, .. } => format!("known are \"auto\", {}", quoted(known)),
            Self::Invalid { .. } => "correct them".to_owned(),
        }
    }

    /// Returns the errors of the board's file.
    pub fn faults(&self) -> &[Fault] {
        match self {
            Self::Unknown { .. } => &[],
            Self::Invalid { faults, .. } => faults,
        }
    }
}

fn quoted(names: &[String]) -> String {
    names.iter().map(|name| format!("{name:?}")).collect::<Vec<_>>().join(", ")
}

/// The boards that can be named: those built in and those of the machine's administrator.
#[derive(Debug, Clone, Default)]
pub struct Boards {
    /// (name, TOML text) read from `/etc/bramblegate/boards` and `/usr/share/bramblegate/boards`;
    /// the first of a name wins, and wins over the one built in
    pub extra: Vec<(String, String)>,
}

impl Boards {
    fn texts(&self) -> impl Iterator<Item = (&str, &str)> {
        let extra = self.extra.iter().map(|(name, text)| (name.as_str(), text.as_str()));
        extra.chain(BUILT_IN.iter().copied())
    }

    /// Returns all names, sorted.
    pub fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = self.texts().map(|(name, _)| name.to_owned()).collect();
        names.sort();
        names.dedup();
        names
    }

    /// Returns the board of that name.
    ///
    /// # Errors
    /// The name is unknown, or the board's file is not right.
    pub fn named(&self, name: &str) -> Result<Board, BoardError> {
        let (_, text) = self
            .texts()
            .find(|(known, _)| *known == name)
            .ok_or_else(|| BoardError::Unknown { name: name.to_owned(), known: self.names() })?;
        Board::parse(name, text)
    }

    /// Returns the name of the board that fits a device tree's `compatible` property (strings, each
    /// ended by NUL, the most specific first; `/proc/device-tree/compatible`). The most specific
    /// string that a board knows wins. Boards whose file is not right are passed over.
    pub fn detect(&self, compatible: &[u8]) -> Option<String> {
        let boards: Vec<Board> =
            self.names().iter().filter_map(|name| self.named(name).ok()).collect();
        let wanted =
            compatible.split(|byte| *byte == 0).filter_map(|raw| std::str::from_utf8(raw).ok());
        wanted
            .filter(|text| !text.is_empty())
            .find_map(|text| {
                boards.iter().find(|board| board.compatible.iter().any(|known| known == text))
            })
            .map(|board| board.name.clone())
    }

    /// Returns the board for `board = NAME` in the settings, where "auto" asks the device tree and
    /// falls back to [`FALLBACK`].
    ///
    /// # Errors
    /// As [`Boards::named`].
    pub fn resolve(&self, name: &str, compatible: Option<&[u8]>) -> Result<Board, BoardError> {
        if name != "auto" {
            return self.named(name);
        }
        let found = compatible.and_then(|compatible| self.detect(compatible));
        self.named(found.as_deref().unwrap_or(FALLBACK))
    }
}

impl Board {
    /// Returns the built-in board's name for a device tree's `compatible` property.
    pub fn detect(compatible: &[u8]) -> Option<String> {
        Boards::default().detect(compatible)
    }

    /// Returns a built-in board.
    ///
    /// # Errors
    /// As [`Boards::named`].
    pub fn built_in(name: &str) -> Result<Self, BoardError> {
        Boards::default().named(name)
    }
}

/// Returns line and column (in characters), both from 1, of a byte offset in `text`.
pub fn line_and_column(text: &str, offset: usize) -> (usize, usize) {
    let before = text.get(..offset).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    let start = before.rfind('\n').map_or(0, |end| end + 1);
    let column =
        before.get(start..).unwrap_or("").trim_start_matches('\u{feff}').chars().count() + 1;
    (line, column)
}
