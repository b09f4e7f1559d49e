//! The one table of settings: the reader checks by it, the man page and the list of known keys come
//! from it.

mod form;
mod network;
mod nodes;
mod panel;

use std::time::Duration;

use super::fault::Complaint;
use super::grammar;
use super::tree::Scalar;

/// Every key, in the order of the man page.
pub fn all() -> impl Iterator<Item = &'static Key> {
    network::NETWORK.iter().chain(nodes::NODES).chain(panel::PANEL)
}

/// One key that the settings may hold.
#[derive(Debug)]
pub struct Key {
    /// dotted: `uplink.probe`; keys of `[[node]]` begin with `node.`
    pub path: &'static str,
    pub kind: Kind,
    pub default: Preset,
    /// for the man page; one or two sentences
    pub doc: &'static str,
}

/// Where a key's value comes from when nobody sets it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Preset {
    /// must be set
    Required,
    /// this TOML value
    Toml(&'static str),
    /// the board's value
    Board,
    /// worked out from other settings, or nothing; in words
    Words(&'static str),
}

type Check = fn(Scalar<'_>) -> Result<(), Complaint>;

/// Type and bounds.
#[derive(Debug)]
pub enum Kind {
    Bool,
    /// both inclusive
    Integer(i64, i64),
    /// both inclusive
    Number(f64, f64),
    /// both inclusive
    Duration(Duration, Duration),
    Choice(&'static [&'static str]),
    /// a text in this form
    Text(&'static str, Check),
    /// a text or an integer in this form
    Scalar(&'static str, Check),
    /// a list of texts (and integers, if so); `lone`: one that stands alone is a list of one
    List {
        form: &'static str,
        integers: bool,
        lone: bool,
        empty: bool,
        check: Check,
    },
}

impl Kind {
    /// Type and bounds for people.
    pub fn words(&self) -> String {
        match self {
            Self::Bool => "true or false".to_owned(),
            Self::Integer(min, max) => format!("integer, {min} to {max}"),
            Self::Number(min, max) => format!("number, {min:?} to {max:?}"),
            Self::Duration(min, max) => {
                format!(
                    "duration, {} to {}",
                    grammar::show_duration(*min),
                    grammar::show_duration(*max)
                )
            }
            Self::Choice(choices) => {
                choices.iter().map(|choice| format!("{choice:?}")).collect::<Vec<_>>().join(" or ")
            }
            Self::Text(form, _) | Self::Scalar(form, _) => (*form).to_owned(),
            Self::List { form, lone: true, .. } => format!("{form}; one or a list"),
            Self::List { form, .. } => format!("list of: {form}"),
        }
    }
}

/// Tables that stand more than once, each with the key by which it is known.
pub(super) const ARRAYS: &[(&str, &str)] =
    &[("node", "name"), ("group", "name"), ("forward", "listen")];

/// The key by which a table of this array is known; `None`: there is no such array.
pub(super) fn known_by(array: &str) -> Option<&'static str> {
    ARRAYS.iter().find(|(name, _)| *name == array).map(|(_, key)| *key)
}

/// The key of that path.
pub(super) fn find(path: &str) -> Option<&'static Key> {
    all().find(|key| key.path == path)
}

/// Is there a table of that path?
pub(super) fn is_table(path: &str) -> bool {
    all().any(|key| key.path.strip_prefix(path).is_some_and(|rest| rest.starts_with('.')))
}

/// Names that may stand directly in a table (`""` is the whole file): keys and tables.
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
