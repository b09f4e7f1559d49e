//! Errors in settings: what is wrong, where, and how to correct it.

use std::fmt;

use crate::printable_line;

/// One error in a settings file.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Fault {
    /// Name given by the caller, usually a path.
    pub file: String,
    /// From 1; also 1 for an error of the whole file.
    pub line: u32,
    /// In characters, from 1.
    pub column: u32,
    /// What is wrong.
    pub message: String,
    /// How to correct it.
    pub remedy: String,
}

impl Fault {
    /// Returns position and message on one line: `FILE:LINE:COLUMN: MESSAGE`.
    pub fn headline(&self) -> String {
        printable_line(&self.with_position("")).into_owned()
    }

    /// Returns it as a note of two lines, for what is not an error.
    pub fn as_note(&self) -> String {
        self.two_lines("note: ")
    }

    /// Returns everything on one line, for the journal.
    pub fn on_one_line(&self) -> String {
        let whole = format!("{}; help: {}", self.with_position("error: "), self.remedy);
        printable_line(&whole).into_owned()
    }

    fn two_lines(&self, kind: &str) -> String {
        with_help(&self.with_position(kind), &self.remedy)
    }

    fn with_position(&self, kind: &str) -> String {
        let Self { file, line, column, message, .. } = self;
        format!("{file}:{line}:{column}: {kind}{message}")
    }
}

/// Returns a message and, on the next line, its remedy.
pub fn with_help(message: &str, help: &str) -> String {
    // Both may quote a file with any content, which must not break out of its line.
    format!("{}\n    help: {}", printable_line(message), printable_line(help))
}

impl fmt::Display for Fault {
    /// Writes `FILE:LINE:COLUMN: error: MESSAGE`, and below it `help: REMEDY`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.two_lines("error: "))
    }
}

/// What is wrong with one value, and how to correct it. The reader of the file adds the position.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ValueError {
    pub message: String,
    pub remedy: String,
}

impl ValueError {
    pub(super) fn new(message: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { message: message.into(), remedy: remedy.into() }
    }
}

/// Where a value was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Origin {
    /// Index into [`Sources`].
    pub source: usize,
    pub line: u32,
    pub column: u32,
    /// The former name that the file uses for the key; see [`Key::was`](super::keys::Key::was).
    pub was: Option<&'static str>,
}

/// Names of the sources of settings; the first two are not files.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Sources(pub Vec<String>);

impl Sources {
    pub const DEFAULT: usize = 0;
    pub const BOARD: usize = 1;
    /// Index of the main file.
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

    /// Returns "bramblegate.toml:3:9", or only the name of a source that is not a file.
    pub fn place(&self, at: Origin) -> String {
        match at.source {
            Self::DEFAULT | Self::BOARD => self.name(at.source).to_owned(),
            source => format!("{}:{}:{}", self.name(source), at.line, at.column),
        }
    }
}
