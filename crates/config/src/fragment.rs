//! Parses one file: TOML to a tree, with every key and value checked against the key table. All
//! faults are reported, not only the first.

use std::collections::HashMap;

use toml_span::value::{Key as TomlKey, Table as TomlTable, Value as TomlValue, ValueInner};

use super::fault::{Fault, Origin, Sources, ValueError};
use super::keys::{self, Key, Kind};
use super::lines::Lines;
use super::print::quote;
use super::suggest::{self, Suggestion};
use super::syntax;
use super::tree::{Item, Table, Value};
use super::value::{self, with_article};

/// Parses one file and appends its faults to `faults`. A wrong value is left out of the tree, or is
/// [`Value::Faulty`] in it. `None` if the file is not TOML.
pub(super) fn parse(
    sources: &Sources,
    source: usize,
    text: &str,
    faults: &mut Vec<Fault>,
) -> Option<Table> {
    let mut reader = Reader { sources, source, lines: Lines::new(text), moved: Vec::new(), faults };
    match toml_span::parse(text) {
        Ok(document) => match document.as_ref() {
            ValueInner::Table(table) => {
                let mut tree = reader.table("", table, reader.lines.origin(source, 0));
                for (key, item) in std::mem::take(&mut reader.moved) {
                    reader.rename(&mut tree, key.path, key, item);
                }
                Some(tree)
            }
            _ => None,
        },
        Err(error) => {
            let (at, ValueError { message, remedy }) = syntax::value_error(&error, &reader.lines);
            reader.report(reader.lines.origin(source, at), message, remedy);
            None
        }
    }
}

struct Reader<'a> {
    sources: &'a Sources,
    source: usize,
    lines: Lines<'a>,
    /// Items given by a former name in another table than the key's own.
    moved: Vec<(&'static Key, Item)>,
    faults: &'a mut Vec<Fault>,
}

impl Reader<'_> {
    fn report(&mut self, at: Origin, message: impl Into<String>, remedy: impl Into<String>) {
        self.faults.push(self.sources.fault(at, message, remedy));
    }

    /// Returns where a value begins. The parser's span of a string begins after its quote.
    fn at(&self, value: &TomlValue<'_>) -> Origin {
        let start = value.span.start;
        let before = start.checked_sub(1).and_then(|index| self.lines.text.as_bytes().get(index));
        let quoted =
            matches!(value.as_ref(), ValueInner::String(_)) && matches!(before, Some(b'"' | b'\''));
        self.lines.origin(self.source, start - usize::from(quoted))
    }

    fn table(&mut self, path: &str, table: &TomlTable<'_>, at: Origin) -> Table {
        let mut entries: Vec<(&TomlKey<'_>, &TomlValue<'_>)> = table.iter().collect();
        entries.sort_by_key(|(key, _)| key.span.start);
        let mut read = Table { at, ..Table::default() };
        let mut former = Vec::new();
        for (key, value) in entries {
            let inner =
                if path.is_empty() { key.name.to_string() } else { format!("{path}.{}", key.name) };
            // A quoted "led.device" is one name with a dot in it, not a path.
            let dotted = key.name.contains('.');
            let item = if let Some(known) = keys::find(&inner).filter(|_| !dotted) {
                self.value(known, known.path, value)
            } else if let Some((known, was)) = keys::find_former(&inner).filter(|_| !dotted) {
                former.push(self.former(known, was, value));
                continue;
            } else if path.is_empty() && keys::identity_key(&inner).is_some() {
                self.array_of_tables(&inner, value)
            } else if keys::is_table(&inner) && !dotted {
                self.inner_table(&inner, value)
            } else {
                self.unknown(path, key, value, table, &mut read);
                continue;
            };
            read.entries.insert(key.name.to_string(), item);
        }
        for (known, item) in former {
            let home = known.path.rsplit_once('.').map_or("", |(home, _)| home);
            if home == path {
                self.rename(&mut read, known.name(), known, item);
            } else {
                self.moved.push((known, item));
            }
        }
        read
    }

    /// Reads a value given by a former name; returns it with the key that it sets.
    fn former(
        &mut self,
        key: &'static Key,
        was: &'static str,
        value: &TomlValue<'_>,
    ) -> (&'static Key, Item) {
        let mut item = self.value(key, was, value);
        item.at.was = Some(was);
        // Turns off only the buttons: other devices may use the chip.
        if was == "buttons.chip" && item.text() == Some("off") {
            item.value = Value::Bool(false);
            return (&keys::BUTTONS_ENABLED, item);
        }
        (key, item)
    }

    /// Stores an item given by a former name at its key's path, relative to `table`.
    fn rename(&mut self, table: &mut Table, path: &str, key: &Key, item: Item) {
        let was = item.at.was.unwrap_or_default();
        match table.get(path) {
            None => table.set(path, item),
            Some(held) if held.at.was.is_some() && held.value == item.value => {}
            Some(held) => {
                let other = held.at.was.unwrap_or(key.path);
                self.report(
                    item.at,
                    format!("{was} is set, and {other} as well"),
                    format!("keep {} only: {was} is its former name", key.path),
                );
            }
        }
    }

    /// Reports an unknown name, and marks the key that was probably meant as faulty, so that it is
    /// not reported as missing too.
    fn unknown(
        &mut self,
        path: &str,
        key: &TomlKey<'_>,
        value: &TomlValue<'_>,
        siblings: &TomlTable<'_>,
        read: &mut Table,
    ) {
        let at = self.lines.origin(self.source, key.span.start);
        let is_table = matches!(value.as_ref(), ValueInner::Table(_));
        let place = if path.is_empty() { String::new() } else { format!(" in [{path}]") };
        let what = if is_table { "table" } else { "key" };
        let text = |name: &str| siblings.get(name).and_then(TomlValue::as_str).map(str::to_owned);
        let Suggestion { remedy, meant } = suggest::suggest(path, &key.name, is_table, &text);
        self.report(at, format!("unknown {what} \"{}\"{place}", key.name.escape_debug()), remedy);
        if let Some(meant) = meant {
            read.entries.entry(meant).or_insert(Item { value: Value::Faulty, at });
        }
    }

    fn inner_table(&mut self, path: &str, value: &TomlValue<'_>) -> Item {
        let at = self.at(value);
        let value = match (value.as_ref(), keys::enabled_key(path), keys::mode_key(path)) {
            (ValueInner::Table(table), ..) => Value::Table(self.table(path, table, at)),
            (ValueInner::Boolean(on), Some(switch), _) => {
                let mut table = Table { at, ..Table::default() };
                table.set(switch.name(), Item { value: Value::Bool(*on), at });
                Value::Table(table)
            }
            (ValueInner::String(_), None, Some(mode)) => {
                let mut table = Table { at, ..Table::default() };
                table.set(mode.name(), self.value(mode, path, value));
                Value::Table(table)
            }
            (other, switch, _) => {
                let message =
                    format!("{path} is a table, this is {}", with_article(other.type_str()));
                let or = if switch.is_some() { "write true or false, or " } else { "write " };
                self.report(
                    at,
                    message,
                    format!("{or}[{path}] on a line of its own with its keys below"),
                );
                Value::Faulty
            }
        };
        Item { value, at }
    }

    fn array_of_tables(&mut self, path: &str, value: &TomlValue<'_>) -> Item {
        let at = self.at(value);
        let key = keys::identity_key(path).unwrap_or("name");
        let ValueInner::Array(elements) = value.as_ref() else {
            self.no_array(path, key, value, at);
            return Item { value: Value::Faulty, at };
        };
        let mut tables = Vec::new();
        let mut seen: HashMap<String, Origin> = HashMap::new();
        for element in elements {
            let Item { value: Value::Table(table), at } = self.inner_table(path, element) else {
                continue;
            };
            let Some(name) = table.entries.get(key) else {
                let example = match (path, key) {
                    ("share", _) => "name = \"usb\"",
                    (_, "name") => "name = \"rpi1\"",
                    _ => "listen = 2201",
                };
                self.report(
                    at,
                    format!("this {path} has no {key}"),
                    format!("add one, such as {example}"),
                );
                continue;
            };
            let name_at = name.at;
            let Some(name) = table.identity(key) else { continue };
            if let Some(first) = seen.get(&name) {
                let place = self.sources.place(*first);
                let called = if key == "name" { "named" } else { "with listen =" };
                self.report(
                    name_at,
                    format!("there are two {path}s {called} \"{name}\""),
                    format!("rename or join them; the first is at {place}"),
                );
                continue;
            }
            seen.insert(name, name_at);
            tables.push(table);
        }
        Item { value: Value::Tables(tables), at }
    }

    /// Reports `[node]`, `[node.rpi1]`, or a value in place of `[[node]]`.
    fn no_array(&mut self, path: &str, key: &str, value: &TomlValue<'_>, at: Origin) {
        let mut named = Vec::new();
        if let ValueInner::Table(table) = value.as_ref() {
            named.extend(table.iter().filter(|(_, value)| value.as_table().is_some()));
            named.sort_by_key(|(key, _)| key.span.start);
        }
        for (name, _) in &named {
            let at = self.lines.origin(self.source, name.span.start);
            let below = if key == "name" {
                format!("name = {}", quote(&name.name))
            } else {
                "listen = 2201".to_owned()
            };
            self.report(
                at,
                format!("[{path}.{}] is a table, {path}s are an array of tables", name.name),
                format!("write [[{path}]] with {below} below it"),
            );
        }
        if named.is_empty() {
            self.report(
                at,
                format!(
                    "this is {}, {path}s are an array of tables",
                    with_article(value.as_ref().type_str())
                ),
                format!("write [[{path}]] with two brackets"),
            );
        }
    }

    /// Checks the value of a key; `written` is the name in the file.
    fn value(&mut self, key: &Key, written: &str, value: &TomlValue<'_>) -> Item {
        let at = self.at(value);
        let before = self.faults.len();
        let read = match (value::elements(key, value), &key.kind) {
            (Some(elements), Kind::List { .. }) => self.list(key, written, elements, at),
            (_, Kind::List { .. }) => Err(value::wrong_type(key, value.as_ref())),
            _ => value::single(key, value.as_ref()),
        };
        let read = read.map_err(|error| {
            self.report(at, format!("{written}: {}", error.message), error.remedy)
        });
        let faulty = self.faults.len() > before;
        Item { value: read.ok().filter(|_| !faulty).unwrap_or(Value::Faulty), at }
    }

    fn list(
        &mut self,
        key: &Key,
        written: &str,
        elements: &[TomlValue<'_>],
        at: Origin,
    ) -> Result<Value, ValueError> {
        let Kind::List { form, empty, check, .. } = &key.kind else {
            return Ok(Value::Faulty);
        };
        if elements.is_empty() && !empty {
            self.report(
                at,
                format!("{written}: the array is empty"),
                format!("write {form}; one or more"),
            );
        }
        let mut items: Vec<Item> = Vec::new();
        for element in elements {
            let at = self.at(element);
            let (value, result) = value::element(form, check, element.as_ref());
            if let Err(error) = result {
                self.report(at, format!("{written}: {}", error.message), error.remedy);
            } else if items.iter().any(|item| item.value == value) {
                self.report(
                    at,
                    format!("{written}: this is in the array twice"),
                    "keep one of them",
                );
            }
            items.push(Item { value, at });
        }
        Ok(Value::List(items))
    }
}
