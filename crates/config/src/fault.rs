//! What is wrong with the settings, where, and what would be right.

use std::fmt;

use crate::printable_line;

/// One fault in a settings file.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Fault {
    /// as it was named to the loader, mostly a path
    pub file: String,
    /// from 1
    pub line: u32,
    /// in characters, from 1
    pub column: u32,
    /// what is wrong
    pub message: String,
    /// what would be right
    pub remedy: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let line = format!(
            "{}:{}:{}: {}, {}",
            self.file, self.line, self.column, self.message, self.remedy
        );
        // What stands in the file may be anything, and a fault is one line.
        f.write_str(&printable_line(&line))
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

    /// "bramblegate.toml:3:9", or for what is no file its bare name
    pub fn place(&self, at: Origin) -> String {
        match at.source {
            Self::DEFAULT | Self::BOARD => self.name(at.source).to_owned(),
            source => format!("{}:{}:{}", self.name(source), at.line, at.column),
        }
    }
}
