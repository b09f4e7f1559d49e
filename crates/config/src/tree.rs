//! A TOML document as the loader keeps it: every value with its position.

use super::fault::Origin;
use std::collections::BTreeMap;

/// A value and its position.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Item {
    pub value: Value,
    pub at: Origin,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value {
    Text(String),
    Integer(i64),
    Number(f64),
    Bool(bool),
    List(Vec<Item>),
    Table(Table),
    /// `[[node]]`, `[[group]]`, `[[forward]]`.
    Tables(Vec<Table>),
    /// A wrong value that was reported; kept so that the key is not reported as missing too.
    Faulty,
}

#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Table {
    /// Position of its header or brace.
    pub at: Origin,
    pub entries: BTreeMap<String, Item>,
    /// A table of this name was faulty as a whole, so entries may be missing.
    pub is_incomplete: bool,
}

impl Table {
    /// Returns the item at a dotted path.
    pub fn get(&self, path: &str) -> Option<&Item> {
        match path.split_once('.') {
            None => self.entries.get(path),
            Some((table, rest)) => match &self.entries.get(table)?.value {
                Value::Table(table) => table.get(rest),
                _ => None,
            },
        }
    }

    /// Returns whether a dotted path is set, to a valid or a faulty value. Everything in a table
    /// that was faulty as a whole counts as set.
    pub fn is_written(&self, path: &str) -> bool {
        let (name, rest) =
            path.split_once('.').map_or((path, None), |(name, rest)| (name, Some(rest)));
        match (self.entries.get(name).map(|item| &item.value), rest) {
            (None, _) => self.is_incomplete,
            (Some(Value::Table(table)), Some(rest)) => table.is_written(rest),
            (Some(value), rest) => rest.is_none() || *value == Value::Faulty,
        }
    }

    /// Sets an item at a dotted path, creating the tables on the way.
    pub fn set(&mut self, path: &str, item: Item) {
        let Some((name, rest)) = path.split_once('.') else {
            self.entries.insert(path.to_owned(), item);
            return;
        };
        let at = item.at;
        let empty = || Item { value: Value::Table(Table { at, ..Self::default() }), at };
        if let Value::Table(table) =
            &mut self.entries.entry(name.to_owned()).or_insert_with(empty).value
        {
            table.set(rest, item);
        }
    }

    /// Returns the tables of an array of tables.
    pub fn tables(&self, name: &str) -> &[Self] {
        match self.entries.get(name).map(|item| &item.value) {
            Some(Value::Tables(tables)) => tables,
            _ => &[],
        }
    }

    pub fn text(&self, path: &str) -> Option<&str> {
        self.get(path).and_then(Item::text)
    }

    /// Returns the identity of an element of an array of tables: the value of this key in lower
    /// case, as host names ignore case.
    pub fn identity(&self, key: &str) -> Option<String> {
        Some(match self.get(key)?.scalar()? {
            Scalar::Text(text) => text.to_ascii_lowercase(),
            Scalar::Integer(number) => number.to_string(),
        })
    }
}

impl Item {
    pub fn text(&self) -> Option<&str> {
        if let Value::Text(text) = &self.value { Some(text) } else { None }
    }

    pub fn list(&self) -> Option<&[Item]> {
        if let Value::List(items) = &self.value { Some(items) } else { None }
    }

    pub fn scalar(&self) -> Option<Scalar<'_>> {
        match &self.value {
            Value::Text(text) => Some(Scalar::Text(text)),
            Value::Integer(integer) => Some(Scalar::Integer(*integer)),
            _ => None,
        }
    }
}

/// A text or an integer, as most parsers accept.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Scalar<'a> {
    Text(&'a str),
    Integer(i64),
}
