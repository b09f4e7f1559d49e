//! Reading the daemon's status socket, as any client would.

use std::io::{BufRead, BufReader};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;

use super::{Error, Result, while_doing};

/// One snapshot.
pub fn snapshot(socket: &Path) -> Result<Value> {
    let mut watch = Watch::open(socket)?;
    watch.next_line().and_then(|line| line.ok_or_else(|| Error(format!("{} is silent", socket.display()))))
}

/// A connection to the status socket that stays open.
#[derive(Debug)]
pub struct Watch {
    reader: BufReader<UnixStream>,
    partial: String,
}

impl Watch {
    /// Connects.
    pub fn open(socket: &Path) -> Result<Self> {
        let stream = UnixStream::connect(socket).map_err(while_doing(socket.display()))?;
        stream.set_read_timeout(Some(Duration::from_secs(2))).map_err(while_doing("status socket"))?;
        Ok(Self { reader: BufReader::new(stream), partial: String::new() })
    }

    /// How long [`Watch::next_line`] waits.
    pub fn patience(&mut self, patience: Duration) -> Result<()> {
        self.reader.get_ref().set_read_timeout(Some(patience)).map_err(while_doing("status socket"))
    }

    /// The next line; `None` if none came in time.
    pub fn next_line(&mut self) -> Result<Option<Value>> {
        use std::io::ErrorKind;
        match self.reader.read_line(&mut self.partial) {
            Ok(0) => Err(Error("the daemon closed the status socket".into())),
            Ok(_) if self.partial.ends_with('\n') => {
                let value = serde_json::from_str(&self.partial).map_err(while_doing("status line"));
                self.partial.clear();
                value.map(Some)
            }
            Ok(_) => Ok(None),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => Ok(None),
            Err(error) => Err(Error(format!("status socket: {error}"))),
        }
    }
}

/// The value at a dotted path; a number in the path is a place in an array, `nodes.rpi1` a node by name.
pub fn at<'v>(status: &'v Value, path: &str) -> Option<&'v Value> {
    path.split('.').try_fold(status, |value, key| match value {
        Value::Array(items) => match key.parse::<usize>() {
            Ok(index) => items.get(index),
            Err(_) => items.iter().find(|item| {
                ["name", "interface", "code"].iter().any(|name| item.get(name).and_then(Value::as_str) == Some(key))
            }),
        },
        other => other.get(key),
    })
}

/// A value as it is written in a venue file: strings bare, the rest as JSON.
pub fn text(value: Option<&Value>) -> String {
    match value {
        None => "(missing)".to_owned(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    }
}
