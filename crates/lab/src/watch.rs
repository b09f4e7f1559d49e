//! Reads the daemon's status socket as any client does, and resolves the paths with which venue
//! files name values of the status.

use std::path::Path;
use std::time::Duration;

use bramblegate_api::client::StatusClient;
use bramblegate_api::status::{Line, Snapshot};
use serde::Serialize;
use serde_json::Value;

use super::{Result, while_doing};

/// Timeout for a line.
const TIMEOUT: Duration = Duration::from_secs(2);

/// Fetches one snapshot.
pub fn snapshot(socket: &Path) -> Result<Snapshot> {
    let fetched = StatusClient::fetch(socket, TIMEOUT);
    fetched.map(|(_, snapshot)| snapshot).map_err(while_doing(socket.display()))
}

/// A connection to the status socket that stays open.
#[derive(Debug)]
pub struct Watch(StatusClient);

impl Watch {
    pub fn open(socket: &Path) -> Result<Self> {
        let mut client = StatusClient::connect(socket).map_err(while_doing(socket.display()))?;
        client.set_timeout(Some(TIMEOUT));
        Ok(Self(client))
    }

    /// Sets the timeout of [`Watch::next_line`].
    pub fn patience(&mut self, timeout: Duration) {
        self.0.set_timeout(Some(timeout));
    }

    /// Returns the next line; `None` after the timeout.
    pub fn next_line(&mut self) -> Result<Option<Line>> {
        let received = self.0.next_line().map_err(while_doing("status socket"))?;
        Ok(received.map(|received| received.line))
    }
}

/// Returns the value at a dotted path of a line in the format of a venue file: strings bare, all
/// else as JSON. A number in the path is an array index, `nodes.rpi1` a node by its name.
pub fn at(line: &impl Serialize, path: &str) -> String {
    let whole = serde_json::to_value(line).unwrap_or_default();
    let found = path.split('.').try_fold(&whole, |value, key| match value {
        Value::Array(items) => match key.parse::<usize>() {
            Ok(index) => items.get(index),
            Err(_) => items.iter().find(|item| {
                ["name", "interface", "code"]
                    .iter()
                    .any(|name| item.get(name).and_then(Value::as_str) == Some(key))
            }),
        },
        other => other.get(key),
    });
    match found {
        None => "(missing)".to_owned(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    }
}

/// Returns the LCD's rows; empty if unknown.
pub fn lcd(status: &Snapshot) -> Vec<String> {
    status.panel.lcd.lines.iter().flatten().map(ToString::to_string).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_resolved() {
        let text = r#"{"severity":"ok","nodes":[{"name":"rpi1","health":"up","since_s":7}],"uplinks":[{"interface":"eth1"}]}"#;
        let status: Snapshot = serde_json::from_str(text).unwrap();
        for (path, wanted) in [
            ("severity", "ok"),
            ("nodes.rpi1.health", "up"),
            ("nodes.0.since_s", "7"),
            ("uplinks.eth1.address", "null"),
            ("nodes.rpi9.health", "(missing)"),
            ("mood", "(missing)"),
        ] {
            assert_eq!(at(&status, path), wanted, "{path}");
        }
    }
}
