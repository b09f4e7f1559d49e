//! The key table: it declares each setting once, with path, type, bounds, default and text. Files
//! are checked against it, validation reads its values through it, and the man page and the
//! suggestions are made from it.

mod form;
mod network;
mod nodes;
mod panel;
mod shutdown;
mod web;

use std::time::Duration;

use super::fault::{Origin, ValueError};
use super::grammar;
use super::tree::{Item, Scalar, Table};
use form::Form;

pub(crate) use network::*;
pub(crate) use nodes::*;
pub(crate) use panel::*;
pub(crate) use shutdown::*;
pub(crate) use web::*;

/// Returns every key, in the order of the man page.
pub fn all() -> impl Iterator<Item = &'static Key> {
    network::NETWORK
        .iter()
        .chain(nodes::NODES)
        .chain(panel::PANEL)
        .chain(web::WEB)
        .chain(shutdown::SHUTDOWN)
        .copied()
}

/// One key that the settings may hold.
#[derive(Debug)]
pub struct Key {
    /// Dotted path such as `uplink.allow`; keys of `[[node]]` begin with `node.`.
    pub path: &'static str,
    pub kind: Kind,
    pub default: Preset,
    /// Dotted paths of former names, which stay valid.
    pub was: &'static [&'static str],
    /// Text for the man page.
    pub doc: &'static str,
}

impl Key {
    /// Returns the last part of the path: the name in its table.
    pub(super) fn name(&self) -> &'static str {
        self.path.rsplit('.').next().unwrap_or(self.path)
    }

    /// Returns the position of the value in one table of an array, or of the table if it has none.
    pub(super) fn place(&self, table: &Table) -> Origin {
        table.get(self.name()).map_or(table.at, |item| item.at)
    }
}

/// A key with the type of its value.
pub(crate) struct Typed<T> {
    pub key: Key,
    read: fn(&Item) -> Option<T>,
}

impl<T> Typed<T> {
    /// Declares a key; `doc` is the lines of a doc comment as `concat!` joins them, each with a
    /// leading blank.
    const fn new(
        path: &'static str,
        form: Form<T>,
        default: Preset,
        was: &'static [&'static str],
        doc: &'static str,
    ) -> Self {
        let doc = match doc.as_bytes() {
            [b' ', text @ ..] => match std::str::from_utf8(text) {
                Ok(text) => text,
                Err(_) => doc,
            },
            _ => doc,
        };
        Self { key: Key { path, kind: form.kind, default, was, doc }, read: form.read }
    }

    /// Returns the value from the whole tree; `None` if it is missing or was wrong.
    pub(super) fn get(&self, tree: &Table) -> Option<T> {
        (self.read)(tree.get(self.key.path)?)
    }

    /// Returns the value from one table of an array such as `[[node]]`.
    pub(super) fn of(&self, table: &Table) -> Option<T> {
        (self.read)(table.get(self.key.name())?)
    }
}

impl<T> std::ops::Deref for Typed<T> {
    type Target = Key;

    fn deref(&self) -> &Key {
        &self.key
    }
}

/// Where a key's value comes from when it is not set.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Preset {
    /// Must be set.
    Required,
    /// This TOML value.
    Toml(&'static str),
    /// The board's value.
    Board,
    /// This text, if the key's table is present.
    WithTable(&'static str),
    /// Derived from other settings, or none; in words.
    Words(&'static str),
}

/// Checks one value when its file is read.
#[derive(Debug, Clone, Copy)]
pub enum Check {
    /// A text.
    Text(fn(&str) -> Result<(), ValueError>),
    /// A text or an integer.
    Scalar(fn(Scalar<'_>) -> Result<(), ValueError>),
}

impl Check {
    pub(super) fn text(&self, text: &str) -> Result<(), ValueError> {
        match self {
            Self::Text(check) => check(text),
            Self::Scalar(check) => check(Scalar::Text(text)),
        }
    }
}

/// Type and bounds.
#[derive(Debug, Clone, Copy)]
pub enum Kind {
    Bool,
    /// Inclusive bounds; `of` is the unit, as in "number of °C".
    Integer {
        min: i64,
        max: i64,
        of: &'static str,
    },
    /// Inclusive bounds.
    Number(f64, f64),
    /// Inclusive bounds.
    Duration(Duration, Duration),
    Choice(&'static [&'static str]),
    /// A single value in this form.
    Value(&'static str, Check),
    /// "FIRST-LAST" in this form, or an array of the two.
    Pair(&'static str, Check),
    /// An array of values in this form; a single value is an array of one.
    List {
        form: &'static str,
        empty: bool,
        /// "off" is the empty array.
        off: bool,
        check: Check,
    },
}

impl Kind {
    /// Returns type and bounds for users.
    pub fn words(&self) -> String {
        match self {
            Self::Bool => "true or false".to_owned(),
            Self::Integer { min, max, of: "" } => format!("an integer from {min} to {max}"),
            Self::Integer { min, max, of } => format!("a number of {of} from {min} to {max}"),
            Self::Number(min, max) => format!("a number from {min:?} to {max:?}"),
            Self::Duration(min, max) => {
                format!(
                    "a duration from {} to {}",
                    grammar::show_duration(*min),
                    grammar::show_duration(*max)
                )
            }
            Self::Choice([choices @ .., last]) if !choices.is_empty() => {
                let choices: Vec<_> = choices.iter().map(|choice| format!("{choice:?}")).collect();
                format!("{} or {last:?}", choices.join(", "))
            }
            Self::Choice(choices) => format!("{:?}", choices.concat()),
            Self::Value(form, _) => (*form).to_owned(),
            Self::Pair(form, _) => format!("{form}, or an array of the two"),
            Self::List { form, .. } => format!("{form}; one, or an array of them"),
        }
    }
}

/// Arrays of tables, each with the key that identifies an element.
pub(super) const ARRAYS: &[(&str, &str)] =
    &[("node", "name"), ("group", "name"), ("forward", "listen"), ("share", "name")];

/// Returns the key that identifies an element of this array of tables; `None` if there is no such
/// array.
pub(super) fn identity_key(array: &str) -> Option<&'static str> {
    ARRAYS.iter().find(|(name, _)| *name == array).map(|(_, key)| *key)
}

/// Returns the key of that path.
pub(super) fn find(path: &str) -> Option<&'static Key> {
    all().find(|key| key.path == path)
}

/// Returns the key with this former path, and the path as the table has it.
pub(super) fn find_former(path: &str) -> Option<(&'static Key, &'static str)> {
    all().find_map(|key| key.was.iter().find(|was| **was == path).map(|was| (key, *was)))
}

/// Returns whether a table has, or had, this path.
pub(super) fn is_table(path: &str) -> bool {
    let within = |key: &str| key.strip_prefix(path).is_some_and(|rest| rest.starts_with('.'));
    all().any(|key| within(key.path) || key.was.iter().any(|was| within(was)))
}

/// Returns the key that switches a table on and off.
pub(super) fn enabled_key(table: &str) -> Option<&'static Key> {
    find(&format!("{table}.enabled"))
}

/// Returns the key that a text in place of the table sets.
pub(super) fn mode_key(table: &str) -> Option<&'static Key> {
    find(&format!("{table}.mode"))
}

/// Returns the names of keys and tables directly in a table (`""` is the whole file).
pub(super) fn names_in(table: &str) -> Vec<&'static str> {
    let mut names = Vec::new();
    for key in all() {
        let rest = if table.is_empty() {
            Some(key.path)
        } else {
            key.path.strip_prefix(table).and_then(|r| r.strip_prefix('.'))
        };
        if let Some(name) = rest.and_then(|rest| rest.split('.').next()) {
            if !names.contains(&name) {
                names.push(name);
            }
        }
    }
    names
}
