//! Board definitions: which bus, expander, LED and ports a board has. One file each in `boards/`.

mod parse;
#[cfg(test)]
mod tests;

use std::fmt;

use bramblegate_panel::{Charset, Geometry};

use crate::GpioPins;
use crate::fault::Fault;

/// The boards of the source tree's `boards/` folder: (name, TOML text), listed by `build.rs`.
static BUILT_IN: &[(&str, &str)] = include!(concat!(env!("OUT_DIR"), "/boards.rs"));

/// The board for machines that match no other.
pub const FALLBACK: &str = "generic-pc";

/// One kind of head node; every value is a default that the settings may override.
#[derive(Debug, Clone, PartialEq)]
pub struct Board {
    /// The file's name without `.toml`.
    pub name: String,
    /// For users: "Raspberry Pi 4 Model B".
    pub description: String,
    /// Device-tree `compatible` strings that choose this board for `board = "auto"`.
    pub compatible: Vec<String>,
    pub lcd: BoardLcd,
    pub gpio: Option<BoardGpio>,
    pub led: BoardLed,
    pub ports: BoardPorts,
}

/// `[lcd]` of a board.
#[derive(Debug, Clone, PartialEq)]
pub struct BoardLcd {
    /// As `lcd.bus` in the settings.
    pub bus: String,
    /// I²C address of the expander, 7 bits.
    pub address: u8,
    /// A name that [`bramblegate_panel::Wiring::named`] accepts.
    pub wiring: String,
    pub size: Geometry,
    pub charset: Charset,
}

/// `[gpio]` of a board: the pins of a display that is connected without an expander.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BoardGpio {
    /// Label of the GPIO chip. Its number may change with the kernel, its label does not.
    pub chip: String,
    pub pins: GpioPins,
}

/// `[led]` of a board.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BoardLed {
    /// As `led.device` in the settings.
    pub device: String,
    /// The kernel LED (`/sys/class/leds/NAME`) that `auto` falls back to.
    pub kernel: Option<String>,
}

/// `[ports]` of a board: name patterns in order of preference, which `detect` proposes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct BoardPorts {
    pub cluster: Vec<String>,
    pub uplinks: Vec<String>,
}

/// Why a board cannot be loaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BoardError {
    /// No board has this name; `known` is sorted by bytes. `faults`: folders of boards that cannot
    /// be read.
    Unknown { name: String, known: Vec<String>, faults: Vec<Fault> },
    /// The board's file has errors, or cannot be read.
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
    /// Returns the remedy.
    pub fn help(&self) -> String {
        match self {
            Self::Unknown { known, .. } => format!("known are \"auto\", {}", quoted(known)),
            Self::Invalid { .. } => "correct them".to_owned(),
        }
    }

    /// Returns the errors of the board's file, or of the folders in which it may be.
    pub fn faults(&self) -> &[Fault] {
        match self {
            Self::Unknown { faults, .. } | Self::Invalid { faults, .. } => faults,
        }
    }
}

fn quoted(names: &[String]) -> String {
    names.iter().map(|name| format!("{name:?}")).collect::<Vec<_>>().join(", ")
}

/// The available boards: the built-in ones and those of the machine's administrator.
#[derive(Debug, Clone, Default)]
pub struct Boards {
    /// (name, TOML text) from `/etc/bramblegate/boards` and `/usr/share/bramblegate/boards`. The
    /// first of a name wins, also over the built-in one, and also if it cannot be read.
    pub extra: Vec<(String, Result<String, Fault>)>,
    /// Those of the two folders that cannot be read.
    pub unreadable: Vec<Fault>,
}

impl Boards {
    fn texts(&self) -> impl Iterator<Item = (&str, Result<&str, &Fault>)> {
        let extra = self.extra.iter();
        let extra = extra.map(|(name, text)| (name.as_str(), text.as_deref()));
        extra.chain(BUILT_IN.iter().map(|(name, text)| (*name, Ok(*text))))
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
    /// The name is unknown, or the board's file has errors or cannot be read.
    pub fn named(&self, name: &str) -> Result<Board, BoardError> {
        match self.texts().find(|(known, _)| *known == name) {
            Some((_, Ok(text))) => Board::parse(name, text),
            Some((_, Err(fault))) => {
                Err(BoardError::Invalid { name: name.to_owned(), faults: vec![fault.clone()] })
            }
            None => Err(BoardError::Unknown {
                name: name.to_owned(),
                known: self.names(),
                faults: self.unreadable.clone(),
            }),
        }
    }

    /// Returns the name of the board that fits a device tree's `compatible` property (strings, each
    /// ended by NUL, the most specific first; `/proc/device-tree/compatible`). The most specific
    /// string that some board lists decides. Boards whose file has errors are skipped.
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

    /// Returns the board for `board = NAME` in the settings. "auto" is the board of the device
    /// tree, or [`FALLBACK`].
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
