//! One file: TOML to a tree, every key and value checked by the table of keys. All faults are
//! reported, not just the first.

use std::collections::HashMap;

use toml_span::ErrorKind;
use toml_span::value::{Key as TomlKey, Table as TomlTable, Value as TomlValue, ValueInner};

use super::fault::{Complaint, Fault, Origin, Sources};
use super::grammar;
use super::keys::{self, Check, Key, Kind, Preset};
use super::suggest;
use super::tree::{Item, Scalar, Table, Value};

/// Reads one file. Adds what was wrong to `faults`; it is left out of the tree, or stands there as
/// [`Value::Faulty`]. `None`: it is no TOML, so nobody knows what it was meant to hold.
pub(super) fn parse(
    sources: &Sources,
    source: usize,
    text: &str,
    faults: &mut Vec<Fault>,
) -> Option<Table> {
    let mut reader = Reader { sources, source, lines: Lines::new(text), faults };
    match toml_span::parse(text) {
        Ok(document) => match document.as_ref() {
            ValueInner::Table(table) => {
                Some(reader.table("", table, reader.lines.origin(source, 0)))
            }
            _ => None,
        },
        Err(error) => {
            let at = reader.lines.origin(source, error.span.start);
            let (wrong, right) = syntax(&error, &reader.lines);
            reader.complain(at, wrong, right);
            None
        }
    }
}

/// Returns the parser's complaint in plain words. It stops at its first.
fn syntax(error: &toml_span::Error, lines: &Lines<'_>) -> (String, String) {
    let line = |span: &toml_span::Span| lines.position(span.start).0;
    match &error.kind {
        ErrorKind::DuplicateKey { key, first } => (
            format!("\"{key}\" stands here a second time"),
            format!("the first is on line {}: keep one", line(first)),
        ),
        ErrorKind::DuplicateTable { name, first } => (
            format!("[{name}] stands here a second time"),
            format!("the first is on line {}: join them", line(first)),
        ),
        ErrorKind::UnquotedString => {
            ("this is no TOML value".to_owned(), "put a text in quotes".to_owned())
        }
        ErrorKind::UnterminatedString => {
            ("this text has no end".to_owned(), "close it by the same quote".to_owned())
        }
        ErrorKind::RedefineAsArray => (
            "this table is there already".to_owned(),
            "write all of its kind with [[…]], or all with […]".to_owned(),
        ),
        ErrorKind::InvalidNumber => {
            ("this is no TOML number".to_owned(), "put a text in quotes, as \"90s\"".to_owned())
        }
        _ => (
            format!("this is no TOML: {error}"),
            "see https://toml.io for how it is written".to_owned(),
        ),
    }
}

/// Offsets of lines, so that places are found quickly in long files.
struct Lines<'a> {
    text: &'a str,
    starts: Vec<usize>,
}

impl<'a> Lines<'a> {
    fn new(text: &'a str) -> Self {
        let starts =
            std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect();
        Self { text, starts }
    }

    /// Line and column (in characters), from 1.
    fn position(&self, offset: usize) -> (u32, u32) {
        let line = self.starts.partition_point(|start| *start <= offset).max(1);
        let start = self.starts.get(line - 1).copied().unwrap_or(0);
        let mut end = offset.clamp(start, self.text.len());
        while !self.text.is_char_boundary(end) {
            end -= 1;
        }
        let before = self.text.get(start..end).unwrap_or("").trim_start_matches('\u{feff}');
        (
            u32::try_from(line).unwrap_or(u32::MAX),
            u32::try_from(before.chars().count() + 1).unwrap_or(u32::MAX),
        )
    }

    fn origin(&self, source: usize, offset: usize) -> Origin {
        let (line, column) = self.position(offset);
        Origin { source, line, column }
    }
}

struct Reader<'a> {
    sources: &'a Sources,
    source: usize,
    lines: Lines<'a>,
    faults: &'a mut Vec<Fault>,
}

impl Reader<'_> {
    fn complain(&mut self, at: Origin, wrong: impl Into<String>, right: impl Into<String>) {
        self.faults.push(self.sources.fault(at, wrong, right));
    }

    /// Returns where a value begins; the parser's place of a text is behind its quote.
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
        for (key, value) in entries {
            let inner =
                if path.is_empty() { key.name.to_string() } else { format!("{path}.{}", key.name) };
            // a quoted "led.device" is one name with a dot in it, and no key of ours
            let dotted = key.name.contains('.');
            let item = if let Some(known) = keys::find(&inner).filter(|_| !dotted) {
                self.value(known, value)
            } else if path.is_empty() && keys::known_by(&inner).is_some() {
                self.array_of_tables(&inner, value)
            } else if keys::is_table(&inner) && !dotted {
                self.inner_table(&inner, value)
            } else {
                let at = self.lines.origin(self.source, key.span.start);
                let place = if path.is_empty() { String::new() } else { format!(" in [{path}]") };
                self.complain(
                    at,
                    format!("unknown key \"{}\"{place}", key.name.escape_debug()),
                    suggest::remedy(path, &key.name),
                );
                continue;
            };
            read.entries.insert(key.name.to_string(), item);
        }
        read
    }

    fn inner_table(&mut self, path: &str, value: &TomlValue<'_>) -> Item {
        let at = self.at(value);
        let value = match value.as_ref() {
            ValueInner::Table(table) => Value::Table(self.table(path, table, at)),
            other => {
                let wrong = format!("{path} is a table, this is {}", article(other.type_str()));
                self.complain(
                    at,
                    wrong,
                    format!("write [{path}] on a line of its own and its keys below"),
                );
                Value::Faulty
            }
        };
        Item { value, at }
    }

    fn array_of_tables(&mut self, path: &str, value: &TomlValue<'_>) -> Item {
        let at = self.at(value);
        let key = keys::known_by(path).unwrap_or("name");
        let ValueInner::Array(elements) = value.as_ref() else {
            self.complain(
                at,
                format!("there can be many of {path}"),
                format!("write [[{path}]] with two brackets"),
            );
            return Item { value: Value::Faulty, at };
        };
        let mut tables = Vec::new();
        let mut seen: HashMap<String, Origin> = HashMap::new();
        for element in elements {
            let Item { value: Value::Table(table), at } = self.inner_table(path, element) else {
                continue;
            };
            let Some(name) = table.entries.get(key) else {
                let example = if key == "name" { "name = \"rpi1\"" } else { "listen = 2201" };
                self.complain(
                    at,
                    format!("this {path} has no {key}"),
                    format!("give it one, as {example}"),
                );
                continue;
            };
            let name_at = name.at;
            let Some(name) = table.identity(key) else { continue };
            if let Some(first) = seen.get(&name) {
                let place = self.sources.place(*first);
                let called = if key == "name" { "named" } else { "with listen =" };
                self.complain(
                    name_at,
                    format!("there are two {path}s {called} \"{name}\""),
                    format!("the first is at {place}: rename or join them"),
                );
                continue;
            }
            seen.insert(name, name_at);
            tables.push(table);
        }
        Item { value: Value::Tables(tables), at }
    }

    fn value(&mut self, key: &Key, value: &TomlValue<'_>) -> Item {
        let at = self.at(value);
        let before = self.faults.len();
        let read = self.typed(key, value, at);
        let faulty = self.faults.len() > before;
        Item { value: read.filter(|_| !faulty).unwrap_or(Value::Faulty), at }
    }

    fn typed(&mut self, key: &Key, value: &TomlValue<'_>, at: Origin) -> Option<Value> {
        let checked = match (&key.kind, value.as_ref()) {
            (Kind::Bool, ValueInner::Boolean(truth)) => Ok(Value::Bool(*truth)),
            (Kind::Integer(min, max), ValueInner::Integer(number)) => integer(*number, *min, *max),
            (Kind::Number(min, max), ValueInner::Float(number)) => float(*number, *min, *max),
            (Kind::Number(min, max), ValueInner::Integer(number)) => {
                float(*number as f64, *min, *max)
            }
            (Kind::Duration(min, max), ValueInner::String(text)) => grammar::duration(text)
                .and_then(|duration| {
                    if (*min..=*max).contains(&duration) {
                        return Ok(Value::Text(text.to_string()));
                    }
                    let what = if duration < *min { "short" } else { "long" };
                    Err(Complaint::new(
                        format!("{text:?} is too {what}"),
                        format!("give {}", key.kind.words().replacen("duration, ", "", 1)),
                    ))
                }),
            (Kind::Choice(choices), ValueInner::String(text)) => {
                if choices.contains(&text.as_ref()) {
                    Ok(Value::Text(text.to_string()))
                } else {
                    Err(Complaint::new(
                        format!("{text:?} is not known"),
                        format!("write {}", key.kind.words()),
                    ))
                }
            }
            (Kind::Value(_, check), ValueInner::String(text)) => {
                check.text(text).map(|()| Value::Text(text.to_string()))
            }
            (Kind::Value(_, Check::Scalar(check)), ValueInner::Integer(number)) => {
                check(Scalar::Integer(*number)).map(|()| Value::Integer(*number))
            }
            (Kind::List { .. }, ValueInner::Array(elements)) => {
                return self.list(key, elements, at);
            }
            (Kind::List { lone: true, .. }, ValueInner::String(_)) => {
                return self.list(key, std::slice::from_ref(value), at);
            }
            (_, other) => Err(Complaint::new(
                format!("this is {}", article(other.type_str())),
                format!("write {}", hint(key, other)),
            )),
        };
        checked
            .map_err(|complaint| {
                self.complain(at, format!("{}: {}", key.path, complaint.wrong), complaint.right)
            })
            .ok()
    }

    fn list(&mut self, key: &Key, elements: &[TomlValue<'_>], at: Origin) -> Option<Value> {
        let Kind::List { form, empty, check, .. } = &key.kind else { return None };
        if elements.is_empty() && !empty {
            self.complain(
                at,
                format!("{}: the list is empty", key.path),
                format!("give at least one: {form}"),
            );
        }
        let mut items: Vec<Item> = Vec::new();
        for element in elements {
            let at = self.at(element);
            let (value, result) = match (element.as_ref(), check) {
                (ValueInner::String(text), _) => (Value::Text(text.to_string()), check.text(text)),
                (ValueInner::Integer(number), Check::Scalar(check)) => {
                    (Value::Integer(*number), check(Scalar::Integer(*number)))
                }
                (other, _) => {
                    let wrong = format!("{} in the list", article(other.type_str()));
                    (Value::Faulty, Err(Complaint::new(wrong, format!("write {form}"))))
                }
            };
            if let Err(complaint) = result {
                self.complain(at, format!("{}: {}", key.path, complaint.wrong), complaint.right);
            } else if items.iter().any(|item| item.value == value) {
                self.complain(
                    at,
                    format!("{}: this stands twice in the list", key.path),
                    "keep one",
                );
            }
            items.push(Item { value, at });
        }
        Some(Value::List(items))
    }
}

fn integer(number: i64, min: i64, max: i64) -> Result<Value, Complaint> {
    if (min..=max).contains(&number) {
        return Ok(Value::Integer(number));
    }
    Err(Complaint::new(format!("{number} is out of bounds"), format!("give {min} to {max}")))
}

fn float(number: f64, min: f64, max: f64) -> Result<Value, Complaint> {
    if (min..=max).contains(&number) {
        return Ok(Value::Number(number));
    }
    Err(Complaint::new(format!("{number} is out of bounds"), format!("give {min:?} to {max:?}")))
}

fn article(kind: &str) -> String {
    let article = if kind.starts_with(['a', 'i']) { "an" } else { "a" };
    format!("{article} {}", if kind == "string" { "text" } else { kind })
}

/// Returns what to write in place of a value of the wrong type.
fn hint(key: &Key, found: &ValueInner<'_>) -> String {
    match (&key.kind, found) {
        (Kind::Duration(..), ValueInner::Integer(number)) => {
            // Who writes 300 for a key whose default is "300ms" means milliseconds.
            let default = if let Preset::Toml(default) = key.default { default } else { "" };
            let unit = default.trim_matches('"').trim_start_matches(|c: char| c.is_ascii_digit());
            let unit = if unit.is_empty() { "s" } else { unit };
            format!("a duration with its unit in quotes, as \"{number}{unit}\"")
        }
        (Kind::List { .. }, ValueInner::String(text)) => format!("a list, as [{text:?}]"),
        (Kind::Bool, ValueInner::String(text)) if matches!(text.as_ref(), "true" | "false") => {
            format!("{text} without quotes")
        }
        (kind, _) => kind.words(),
    }
}
