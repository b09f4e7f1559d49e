//! What is wrong with the settings, where, and what would be right.

use std::fmt;

use crate::printable_line;

/// One error in a settings file.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Fault {
    /// as it was named to the loader, mostly a path
    pub file: String,
    /// from 1; 1 for what is wrong with the file as a whole
    pub line: u32,
    /// in characters, from 1
    pub column: u32,
    /// what is wrong
    pub message: String,
    /// what would be right
    pub remedy: String,
}

impl Fault {
    /// Returns the place and what is wrong there, on one line: `FILE:LINE:COLUMN: WRONG`.
    pub fn headline(&self) -> String {
        printable_line(&self.placed("")).into_owned()
    }

    /// Returns the two lines of a note: nothing is wrong, but something is worth knowing.
    pub fn as_note(&self) -> String {
        self.two_lines("note: ")
    }

    /// Returns everything on one line, for the journal.
    pub fn on_one_line(&self) -> String {
        let whole = format!("{}; help: {}", self.placed("error: "), self.remedy);
        printable_line(&whole).into_owned()
    }

    fn two_lines(&self, kind: &str) -> String {
        with_help(&self.placed(kind), &self.remedy)
    }

    fn placed(&self, kind: &str) -> String {
        let Self { file, line, column, message, .. } = self;
        format!("{file}:{line}:{column}: {kind}{message}")
    }
}

/// Returns a message and, on a line below it, what to do.
pub fn with_help(message: &str, help: &str) -> String {
    // Either may quote a file, which may hold anything: neither breaks out of its line.
    format!("{}\n    help: {}", printable_line(message), printable_line(help))
}

impl fmt::Display for Fault {
    /// Writes `FILE:LINE:COLUMN: error: what is wrong`, and below it `help: what would be right`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.two_lines("error: "))
    }
}

/// What is wrong with one value and what would be right; the place is added by who reads the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Complaint {
    pub wrong: String,
    pub right: String,
}

impl Complaint {
    pub(super) fn new(wrong: impl Into<String>, right: impl Into<String>) -> Self {
        Self { wrong: wrong.into(), right: right.into() }
    }
}

/// Where a value was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Origin {
    /// index into [`Sources`]
    pub source: usize,
    pub line: u32,
    pub column: u32,
    /// the former name by which the file gives the key; see [`Key::was`](super::keys::Key::was)
    pub was: Option<&'static str>,
}

/// Names of what settings come from; the first two are not files.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Sources(pub Vec<String>);

impl Sources {
    pub const DEFAULT: usize = 0;
    pub const BOARD: usize = 1;
    /// index of the main file
    pub const MAIN: usize = 2;

    pub fn name(&self, source: usize) -> &str {
        self.0.get(source).map_or("", String::as_str)
    }

    pub fn fault(
        &self,
        at: Origin,
        message: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Fault {
        Fault {
            file: self.name(at.source).to_owned(),
            line: at.line.max(1),
            column: at.column.max(1),
            message: message.into(),
            remedy: remedy.into(),
        }
    }

    /// Returns "bramblegate.toml:3:9", or the bare name of what is not a file.
    pub fn place(&self, at: Origin) -> String {
        match at.source {
            Self::DEFAULT | Self::BOARD => self.name(at.source).to_owned(),
            source => format!("{}:{}:{}", self.name(source), at.line, at.column),
        }
    }
}
