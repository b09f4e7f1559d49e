//! The lines of the status socket. Fields are declared in the order in which they are sent.

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

/// The first line: the whole state. No key is missing; an unknown or inapplicable value is null.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default)]
pub struct Snapshot {
    pub schema: Schema,
    #[serde(rename = "type")]
    pub tag: SnapshotTag,
    /// The daemon's version.
    pub version: Text,
    /// The daemon's uptime.
    pub uptime_s: u64,
    pub severity: Word<Severity>,
    /// Alerts, most severe first.
    pub alerts: Vec<Alert>,
    /// The active uplink. Without one, the state is "absent" and everything else is null.
    pub uplink: Uplink,
    /// The existing uplinks, in the order of the settings.
    pub uplinks: Vec<Uplink>,
    pub gateway: Gateway,
    /// Rules with counters, by chain and comment, read once a minute; empty until the first time.
    pub rules: Vec<Rule>,
    pub cluster: Cluster,
    /// The head itself; null until its first check.
    pub host: Option<Host>,
    /// All nodes, in the order of the settings.
    pub nodes: Vec<Node>,
    pub panel: Panel,
    /// The shares of the settings, in their order.
    pub shares: Vec<Share>,
    /// The status page; null: its server does not run.
    pub web: Option<Web>,
    /// The kind of network of the active uplink; null: no carrier, or not known yet.
    pub venue: Option<Word<VenueKind>>,
    /// The translator from IPv4 to IPv6; null: none exists or is wanted.
    pub clat: Option<Clat>,
    /// The running shutdown of the nodes; null: none.
    pub shutdown: Option<Shutdown>,
}

/// Every changed top-level object as a whole, but only the changed nodes, identified by name.
/// Changes of only uptime_s, since_s, lease_left_s, not_renewed_s, rtt_us, loss_percent, bytes or
/// packets cause no line.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default)]
pub struct Change {
    pub schema: Schema,
    #[serde(rename = "type")]
    pub tag: ChangeTag,
    /// The number of the change, one more than that of the previous change.
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
    // `Some(None)` is null: the value has become unknown.
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
    /// The names of removed nodes. Remove them before adding `nodes` of the same line.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub nodes_removed: Vec<Text>,
}

impl Change {
    /// Returns whether nothing has changed.
    pub fn is_empty(&self) -> bool {
        *self == Self { schema: self.schema, seq: self.seq, ..Self::default() }
    }
}

/// The only line for a client beyond the limit of clients.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default)]
pub struct Refused {
    pub reason: Text,
    pub schema: Schema,
    #[serde(rename = "type")]
    pub tag: RefusedTag,
}

/// Deserializes a present value, even null, as `Some`: only a missing one is `None`.
fn even_null<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
    value: D,
) -> Result<Option<T>, D::Error> {
    T::deserialize(value).map(Some)
}

impl Snapshot {
    /// Serializes the line in two parts, before and after the nodes. Many nodes can be written in
    /// between in batches, as JSON with commas. `self.nodes` has to be empty.
    pub fn around_nodes(&self) -> (Vec<u8>, Vec<u8>) {
        // Within strings quotation marks are escaped, so this occurs only once.
        const NODES: &[u8] = b",\"nodes\":[]";
        let mut before = crate::line(self);
        let start = before.windows(NODES.len()).position(|window| window == NODES);
        let after = before.split_off(start.map_or(before.len(), |start| start + NODES.len() - 1));
        (before, after)
    }
}
