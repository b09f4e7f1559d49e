//! What the daemon's sockets speak: the types of the status ([`status`]), of orders and answers
//! ([`control`]), and with the feature `client` a blocking client of both sockets.
//!
//! `docs/status.schema.json` is generated from these types. Readers tolerate what they do not know:
//! fields are passed over, missing ones have their default, and a word that is not listed is kept
//! as [`Word::Other`].

#[cfg(feature = "client")]
pub mod client;
pub mod control;
pub mod printable;
pub mod status;
mod text;
mod word;

use serde::{Deserialize, Serialize};

pub use text::Text;
pub use word::Word;

/// Counts up when a reader of the shape before could misunderstand; new keys and values are no such
/// change.
pub const SCHEMA: u32 = 1;

/// The number of the shape that a line has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Schema(pub u32);

impl Default for Schema {
    fn default() -> Self {
        Self(SCHEMA)
    }
}

/// Returns the value as one line of JSON, with its line break.
pub fn line(value: &impl Serialize) -> Vec<u8> {
    // Plain data with texts as keys: writing it into memory does not fail.
    let mut line = serde_json::to_vec(value).unwrap_or_default();
    line.push(b'\n');
    line
}
