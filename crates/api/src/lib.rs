//! The protocols of the daemon's sockets: the types of the status ([`status`]), of orders and
//! answers ([`control`]), and with the feature `client` a blocking client of both sockets. Depends
//! on nothing else of this workspace; the daemon and its clients use the same types.
//!
//! Begin with [`status::Snapshot`], the first line of the status socket, and [`status::Change`],
//! every line after it:
//!
//! ```
//! use bramblegate_api::Word;
//! use bramblegate_api::status::{Line, NodeHealth};
//!
//! let line = br#"{"schema": 1, "type": "snapshot", "severity": "ok", "nodes": [
//!     {"name": "rpi1", "address": "192.168.50.11", "health": "up", "rtt_us": 412},
//!     {"name": "rpi2", "health": "levitating"}]}"#;
//! let Ok(Line::Snapshot(snapshot)) = Line::parse(line) else { panic!("no snapshot") };
//! assert_eq!(snapshot.nodes[0].health, Word::Known(NodeHealth::Up));
//! // A newer daemon may use more words: the line still parses.
//! assert!(matches!(&snapshot.nodes[1].health, Word::Other(word) if &**word == "levitating"));
//! ```
//!
//! and with the feature `client`, where a daemon runs:
//!
//! ```no_run
//! # #[cfg(feature = "client")]
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use bramblegate_api::client::{StatusClient, View};
//!
//! let mut client = StatusClient::connect("/run/bramblegate/status.sock".as_ref())?;
//! let mut view = View::default();
//! while let Some(received) = client.next_line()? {
//!     view.take(received.line);
//! }
//! # Ok(())
//! # }
//! # #[cfg(not(feature = "client"))]
//! # fn main() {}
//! ```
//!
//! `docs/status.schema.json` is generated from these types. Readers ignore unknown fields, use the
//! default for missing ones, and keep an unknown word as [`Word::Other`].

pub mod clat;
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

/// The version of the lines; new keys and values do not increase it, incompatible changes do.
pub const SCHEMA: u32 = 1;

/// The schema version of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Schema(pub u32);

impl Default for Schema {
    fn default() -> Self {
        Self(SCHEMA)
    }
}

/// Serializes a value as one line of JSON, with its line break.
pub fn line(value: &impl Serialize) -> Vec<u8> {
    // Serializing plain data with string keys into memory does not fail.
    let mut line = serde_json::to_vec(value).unwrap_or_default();
    line.push(b'\n');
    line
}
