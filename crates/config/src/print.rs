//! Prints merged settings as TOML, each value with its source in a comment. The output parses to
//! the same settings.

use std::fmt::Write as _;

use super::Merged;
use super::fault::{Fault, Origin};
use super::keys;
use super::tree::{Item, Table, Value};

impl Merged {
    /// Returns the effective settings as a TOML file.
    pub fn to_toml(&self) -> String {
        let mut text = String::new();
        let mut section = "";
        for key in keys::all() {
            let (table, name) = key.path.rsplit_once('.').unwrap_or(("", key.path));
            if keys::identity_key(table).is_some() {
                if section != table {
                    self.array(&mut text, table);
                }
                section = table;
                continue;
            }
            let Some(item) = self.tree.get(key.path) else { continue };
            if section != table {
                let _ = write!(text, "\n[{table}]\n");
                section = table;
            }
            self.line(&mut text, table, name, item);
        }
        text
    }

    /// Returns the effective value of a key, as TOML.
    pub fn value(&self, path: &str) -> Option<String> {
        let name = path.rsplit('.').next().unwrap_or(path);
        self.tree.get(path).map(|item| show(&item.value, name))
    }

    fn array(&self, text: &mut String, name: &str) {
        for table in self.tree.tables(name) {
            let _ = write!(text, "\n[[{name}]]\n");
            self.entries(text, name, table);
        }
    }

    fn entries(&self, text: &mut String, path: &str, table: &Table) {
        for key in keys::all() {
            let name = key.path.strip_prefix(path).and_then(|rest| rest.strip_prefix('.'));
            if let Some((name, item)) = name.and_then(|name| Some((name, table.get(name)?))) {
                self.line(text, path, name, item);
            }
        }
    }

    fn line(&self, text: &mut String, table: &str, name: &str, item: &Item) {
        let assignment = format!("{name} = {}", show(&item.value, name));
        let _ = writeln!(text, "{assignment:<40} # {}", self.origin(table, item.at));
    }

    /// Returns the source of a value, and the former name if the file uses one.
    fn origin(&self, table: &str, at: Origin) -> String {
        let place = self.sources.place(at);
        let place = place.chars().map(|c| if c.is_control() { '?' } else { c }).collect();
        let Some(was) = at.was else { return place };
        let short = was.strip_prefix(table).and_then(|rest| rest.strip_prefix('.'));
        format!("{place} (written as {})", short.unwrap_or(was))
    }

    /// Returns a note for each effective value that a file gives by a former name.
    pub fn notes(&self) -> Vec<Fault> {
        let mut notes = Vec::new();
        for key in keys::all().filter(|key| !key.was.is_empty()) {
            let item = match key.path.split_once('.') {
                Some((table, name)) if keys::identity_key(table).is_some() => {
                    self.tree.tables(table).iter().filter_map(|table| table.get(name)).collect()
                }
                _ => Vec::from_iter(self.tree.get(key.path)),
            };
            for (at, was) in item.iter().filter_map(|item| Some((item.at, item.at.was?))) {
                let (table, name) = key.path.rsplit_once('.').unwrap_or(("", key.path));
                let remedy = format!("write {name} in [{table}]; the former name stays valid");
                let message = format!("{was} is now called {}", key.path);
                notes.push(self.sources.fault(at, message, remedy));
            }
        }
        notes.sort();
        notes
    }
}

fn show(value: &Value, name: &str) -> String {
    match value {
        Value::Text(text) => quote(text),
        Value::Integer(number) if name == "address" => format!("{number:#04x}"),
        Value::Integer(number) => number.to_string(),
        Value::Number(number) => format!("{number:?}"),
        Value::Bool(truth) => truth.to_string(),
        Value::List(items) => {
            let items: Vec<String> = items.iter().map(|item| show(&item.value, "")).collect();
            format!("[{}]", items.join(", "))
        }
        Value::Table(_) | Value::Tables(_) | Value::Faulty => "{}".to_owned(),
    }
}

/// Returns a TOML basic string.
pub fn quote(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            c if c.is_control() => {
                let _ = write!(quoted, "\\u{:04X}", u32::from(c));
            }
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}
