//! A client of the status socket that waits: for the verbs, the demo, and anybody's own program as an example.

use std::collections::HashMap;
use std::fmt;
use std::io::{self, BufReader, ErrorKind};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Map, Value};

use super::super::socket;
use crate::render::status::json::shown;

/// No line of a daemon is longer: some fifty times the state of ten thousand nodes, bytes.
const LONGEST: usize = 64 << 20;

/// Why there is nothing more to read.
#[derive(Debug)]
pub enum Error {
    Io(io::Error),
    /// there are too many clients
    Refused(String),
    /// the daemon closed the connection
    Ended,
    /// who answers there does not speak as a status socket does
    NotStatus(String),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(error) => write!(f, "{error}"),
            Self::Refused(reason) => write!(f, "refused: {reason}"),
            Self::Ended => f.write_str("the daemon closed the connection"),
            Self::NotStatus(what) => write!(f, "this is no status: {what}"),
        }
    }
}

impl std::error::Error for Error {}

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// One line, as it came and as it is meant.
#[derive(Debug, Clone, PartialEq)]
pub struct Line {
    /// without the line break
    pub text: String,
    pub value: Value,
}

/// A connection to a daemon.
#[derive(Debug)]
pub struct Client {
    reader: BufReader<UnixStream>,
    partial: Vec<u8>,
    patience: Option<Duration>,
}

impl Client {
    /// Connects.
    ///
    /// # Errors
    /// Nobody listens at `path`, or accepts nobody for 3 s.
    pub fn connect(path: &Path) -> Result<Self, Error> {
        let reader = BufReader::new(socket::connect(path)?);
        Ok(Self { reader, partial: Vec::new(), patience: None })
    }

    /// How long [`Self::next_line`] waits for a whole line; `None` is for ever, as in the beginning.
    pub const fn patience(&mut self, patience: Option<Duration>) {
        self.patience = patience;
    }

    /// The next line; `None` if it did not come in time.
    ///
    /// # Errors
    /// There will be no more.
    pub fn next_line(&mut self) -> Result<Option<Line>, Error> {
        match socket::read_line(&mut self.reader, &mut self.partial, LONGEST, self.patience) {
            Ok(()) if self.partial.last() == Some(&b'\n') => {}
            Ok(()) if self.partial.len() >= LONGEST => {
                return Err(Error::NotStatus("a line without an end".to_owned()));
            }
            Ok(()) => return Err(Error::Ended),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => return Ok(None),
            Err(error) => return Err(error.into()),
        }
        let bytes = std::mem::take(&mut self.partial);
        let text = String::from_utf8_lossy(&bytes).trim_end().to_owned();
        let value: Value = serde_json::from_str(&text).map_err(|error| Error::NotStatus(error.to_string()))?;
        let value = shown(value);
        match value.get("type").and_then(Value::as_str) {
            Some("refused") => {
                let reason = value.get("reason").and_then(Value::as_str).unwrap_or("no reason given");
                Err(Error::Refused(reason.to_owned()))
            }
            Some(_) => Ok(Some(Line { text, value })),
            None => Err(Error::NotStatus("a line without a type".to_owned())),
        }
    }
}

impl Iterator for Client {
    type Item = Line;

    /// The next line; `None` at the end, or when patience has run out.
    fn next(&mut self) -> Option<Line> {
        self.next_line().ok().flatten()
    }
}

/// What is known after a snapshot and the changes since: the shape of a snapshot.
#[derive(Debug, Clone, Default)]
pub struct View {
    whole: Map<String, Value>,
    /// when each part was told, a node by its name: ages go on from there
    told: HashMap<String, Instant>,
}

/// A node's key in [`View::told`]; no part has a blank in its name.
fn node_key(node: &Value) -> String {
    format!("node {}", node.get("name").and_then(Value::as_str).unwrap_or_default())
}

impl View {
    /// Takes a line in. A type that it does not know is passed over, a key that it does not know taken whole.
    pub fn take(&mut self, line: &Value) {
        let Some(object) = line.as_object() else { return };
        let now = Instant::now();
        match line.get("type").and_then(Value::as_str) {
            Some("snapshot") => {
                self.whole = object.clone();
                self.told = object.keys().map(|key| (key.clone(), now)).collect();
                let nodes = object.get("nodes").and_then(Value::as_array).into_iter().flatten();
                self.told.extend(nodes.map(|node| (node_key(node), now)));
            }
            Some("change") => self.merge(object, now),
            _ => {}
        }
    }

    /// Nothing has come yet.
    pub fn is_empty(&self) -> bool {
        self.whole.is_empty()
    }

    /// As a snapshot would tell it, but for ages, which are of the line that told them.
    pub fn value(&self) -> &Map<String, Value> {
        &self.whole
    }

    /// As a snapshot would tell it now: ages have gone on.
    pub fn now(&self) -> Value {
        self.at(Instant::now())
    }

    pub(super) fn at(&self, now: Instant) -> Value {
        let passed = |key: &str| self.told.get(key).map_or(0, |told| now.saturating_duration_since(*told).as_secs());
        let mut whole = self.whole.clone();
        for (key, value) in &mut whole {
            match value {
                Value::Array(nodes) if key == "nodes" => {
                    nodes.iter_mut().for_each(|node| go_on(node, passed(&node_key(node))))
                }
                Value::Number(_) if key == "uptime_s" => *value = (value.as_u64().unwrap_or(0) + passed(key)).into(),
                _ => go_on(value, passed(key)),
            }
        }
        Value::Object(whole)
    }

    fn merge(&mut self, change: &Map<String, Value>, now: Instant) {
        for (key, value) in change {
            if !matches!(key.as_str(), "schema" | "type" | "seq" | "nodes" | "nodes_removed") {
                self.whole.insert(key.clone(), value.clone());
                self.told.insert(key.clone(), now);
            }
        }
        let Some(nodes) = self.whole.get_mut("nodes").and_then(Value::as_array_mut) else { return };
        let list = |key: &str| change.get(key).and_then(Value::as_array).into_iter().flatten();
        for name in list("nodes_removed") {
            nodes.retain(|node| node.get("name") != Some(name));
        }
        for node in list("nodes") {
            self.told.insert(node_key(node), now);
            match nodes.iter_mut().find(|known| known.get("name") == node.get("name")) {
                Some(known) => known.clone_from(node),
                None => nodes.push(node.clone()),
            }
        }
    }
}

/// Lets `seconds` pass for the ages in a part.
fn go_on(value: &mut Value, seconds: u64) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(|item| go_on(item, seconds)),
        Value::Object(object) => {
            for (key, value) in object {
                match (key.as_str(), value.as_u64()) {
                    ("since_s" | "not_renewed_s", Some(age)) => *value = (age + seconds).into(),
                    ("lease_left_s", Some(left)) => *value = left.saturating_sub(seconds).into(),
                    (_, None) => go_on(value, seconds),
                    _ => {}
                }
            }
        }
        _ => {}
    }
}
