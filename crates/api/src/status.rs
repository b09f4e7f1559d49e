//! The lines of the status socket. The members of an object stand in the order in which they are
//! sent.

mod line;
mod parts;
#[cfg(test)]
mod tests;
mod words;

use serde::{Deserialize, Deserializer, Serialize};

use crate::{Schema, Text, Word};

pub use line::Line;
pub use parts::{
    Alert, Blocker, Clat, Cluster, ClusterIpv6, Gateway, Host, Lcd, Led, Node, Panel, Pressure,
    Rule, Share, Shutdown, Signal, Uplink, Web,
};
pub use words::{
    ClatState, DeviceState, DhcpProgress, DhcpStatus, NodeHealth, Origin, Overlap, Pattern,
    Severity, UplinkState, VenueKind,
};

/// Marks a line as a snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(inline))]
#[serde(rename_all = "kebab-case")]
pub enum SnapshotTag {
    #[default]
    Snapshot,
}

/// Marks a line as a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(inline))]
#[serde(rename_all = "kebab-case")]
pub enum ChangeTag {
    #[default]
    Change,
}

/// Marks a line as a refusal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(inline))]
#[serde(rename_all = "kebab-case")]
pub enum RefusedTag {
    #[default]
    Refused,
}

/// The first line: everything as it is. No key is left out; what is unknown or does not apply is
/// null.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default)]
pub struct Snapshot {
    pub schema: Schema,
    #[serde(rename = "type")]
    pub tag: SnapshotTag,
    /// of the daemon
    pub version: Text,
    /// of the daemon
    pub uptime_s: u64,
    pub severity: Word<Severity>,
    /// most severe first
    pub alerts: Vec<Alert>,
    /// the active one; state "absent" and all else null when there is none
    pub uplink: Uplink,
    /// those that exist, in the order of the settings
    pub uplinks: Vec<Uplink>,
    pub gateway: Gateway,
    /// that count, by chain and comment, as read once a minute; empty until they were
    pub rules: Vec<Rule>,
    pub cluster: Cluster,
    /// the head itself; null until it was looked at
    pub host: Option<Host>,
    /// all, in the order of the settings
    pub nodes: Vec<Node>,
    pub panel: Panel,
    /// those of the settings, in their order
    pub shares: Vec<Share>,
    /// the status page; null: its server does not run
    pub web: Option<Web>,
    /// what kind of network the active uplink leads to; null: no carrier, or not known yet
    pub venue: Option<Word<VenueKind>>,
    /// the translator from IPv4 to IPv6; null: there is none, and none is wanted
    pub clat: Option<Clat>,
    /// null: none runs
    pub shutdown: Option<Shutdown>,
}

/// Each changed top-level object whole; of the nodes only those that changed, known by their name.
/// Changes of nothing but uptime_s, since_s, lease_left_s, not_renewed_s, rtt_us, loss_percent, bytes
/// or packets cause no line.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default)]
pub struct Change {
    pub schema: Schema,
    #[serde(rename = "type")]
    pub tag: ChangeTag,
    /// one more than the line of changes before
    #[cfg_attr(test, schemars(range(min = 1)))]
    pub seq: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(test, schemars(with = "Severity"))]
    pub severity: Option<Word<Severity>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(test, schemars(with = "Vec<Alert>"))]
    pub alerts: Option<Vec<Alert>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(test, schemars(with = "Uplink"))]
    pub uplink: Option<Uplink>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(test, schemars(with = "Vec<Uplink>"))]
    pub uplinks: Option<Vec<Uplink>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(test, schemars(with = "Gateway"))]
    pub gateway: Option<Gateway>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(test, schemars(with = "Vec<Rule>"))]
    pub rules: Option<Vec<Rule>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(test, schemars(with = "Cluster"))]
    pub cluster: Option<Cluster>,
    // `Some(None)` is null: what was known of the head is not any more.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "even_null")]
    #[cfg_attr(test, schemars(with = "Option<Host>"))]
    pub host: Option<Option<Host>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(test, schemars(with = "Panel"))]
    pub panel: Option<Panel>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(test, schemars(with = "Vec<Share>"))]
    pub shares: Option<Vec<Share>>,
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "even_null")]
    #[cfg_attr(test, schemars(with = "Option<Web>"))]
    pub web: Option<Option<Web>>,
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "even_null")]
    #[cfg_attr(test, schemars(with = "Option<Word<VenueKind>>"))]
    pub venue: Option<Option<Word<VenueKind>>>,
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "even_null")]
    #[cfg_attr(test, schemars(with = "Option<Clat>"))]
    pub clat: Option<Option<Clat>>,
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "even_null")]
    #[cfg_attr(test, schemars(with = "Option<Shutdown>"))]
    pub shutdown: Option<Option<Shutdown>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub nodes: Vec<Node>,
    /// names that are no node's any more; to be taken away before `nodes` of the same line are
    /// taken in
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub nodes_removed: Vec<Text>,
}

impl Change {
    /// Returns whether nothing is in it that is worth a line.
    pub fn is_empty(&self) -> bool {
        *self == Self { schema: self.schema, seq: self.seq, ..Self::default() }
    }
}

/// The only line for a client that is one too many.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default)]
pub struct Refused {
    pub reason: Text,
    pub schema: Schema,
    #[serde(rename = "type")]
    pub tag: RefusedTag,
}

/// Reads a value that is there, null too: only a missing one is `None`.
fn even_null<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
    value: D,
) -> Result<Option<T>, D::Error> {
    T::deserialize(value).map(Some)
}

impl Snapshot {
    /// Returns the line in two parts: what stands before the first node and what follows the last
    /// one. Nodes are written between them as JSON with commas, some at a time where there are
    /// many. `self` has none.
    pub fn around_nodes(&self) -> (Vec<u8>, Vec<u8>) {
        // Within a text a quotation mark is escaped, so this stands there once.
        const NODES: &[u8] = b",\"nodes\":[]";
        let mut before = crate::line(self);
        let place = before.windows(NODES.len()).position(|window| window == NODES);
        let after = before.split_off(place.map_or(before.len(), |place| place + NODES.len() - 1));
        (before, after)
    }
}
