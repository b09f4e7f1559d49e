//! Any line of the socket.

use serde::{Deserialize, Serialize};

use super::{Change, Refused, Snapshot};
use crate::{SCHEMA, Schema, Text};

/// A line of the status socket.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(untagged)]
pub enum Line {
    Snapshot(Box<Snapshot>),
    Change(Box<Change>),
    Refused(Refused),
    /// An unknown type, which readers ignore.
    #[cfg_attr(test, schemars(skip))]
    Other,
}

/// The fields that determine the type of a line.
#[derive(Deserialize)]
struct Head {
    #[serde(default)]
    schema: Schema,
    #[serde(rename = "type")]
    tag: Text,
}

impl Line {
    /// Parses a line.
    ///
    /// # Errors
    /// It is not a line of a status socket, or has another schema; as a text for the user.
    pub fn parse(text: &[u8]) -> Result<Self, String> {
        let head: Head = read(text)?;
        if head.schema != Schema::default() {
            return Err(format!(
                "its schema is {}, and this program knows {SCHEMA}",
                head.schema.0
            ));
        }
        Ok(match &*head.tag {
            "snapshot" => Self::Snapshot(read(text)?),
            "change" => Self::Change(read(text)?),
            "refused" => Self::Refused(read(text)?),
            _ => Self::Other,
        })
    }
}

fn read<'de, T: Deserialize<'de>>(text: &'de [u8]) -> Result<T, String> {
    serde_json::from_slice(text).map_err(|error| error.to_string())
}
