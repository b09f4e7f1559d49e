//! The objects of a snapshot. Ages are in seconds, of the moment in which the line was written.

use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::words::{
    ClatState, DeviceState, DhcpProgress, DhcpStatus, NodeHealth, Origin, Overlap, Pattern,
    Severity, UplinkState, VenueKind,
};
use crate::{Text, Word};

/// Something that a person should know.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default)]
pub struct Alert {
    /// it was acknowledged: it raises no alarm any more
    pub acknowledged: bool,
    /// stable; begins with its subject: uplink-, gateway-, node-, share-, lcd-, led-, host-
    pub code: Text,
    pub severity: Word<Severity>,
    /// which uplink, node or chain it is about; null: the code says all
    pub subject: Option<Text>,
    /// one line, with the remedy where there is one
    pub text: Text,
}

/// One uplink.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default)]
pub struct Uplink {
    /// CIDR text: the one that answers ssh
    #[cfg_attr(test, schemars(with = "Option<String>"))]
    pub address: Option<IpNet>,
    /// CIDR texts, the one that answers ssh first
    #[cfg_attr(test, schemars(with = "Option<Vec<String>>"))]
    pub addresses: Option<Vec<IpNet>>,
    /// null: it has an IPv4 address, or that was not heard
    pub dhcp: Option<Word<DhcpProgress>>,
    /// of the best default route
    pub gateway: Option<IpAddr>,
    pub interface: Option<Text>,
    /// null: for ever, or no address
    pub lease_left_s: Option<u64>,
    /// the prefix by which the venue translates IPv6 to IPv4 (RFC 6052), in CIDR text; null: it has
    /// none, or none is known
    pub nat64_prefix: Option<Text>,
    /// how long the lease of the address, or its IPv6 prefix, has not been renewed: it works until
    /// lease_left_s; null: it is renewed
    pub not_renewed_s: Option<u64>,
    /// where the captive portal is, http or https, at most 512 characters of visible ASCII; null:
    /// there is none, or it is not known
    pub portal_url: Option<Text>,
    /// age of the state; a renewed lease does not count
    pub since_s: Option<u64>,
    pub state: Word<UplinkState>,
    /// null: no carrier, or not known yet
    pub venue: Option<Word<VenueKind>>,
    /// what the word was decided by, beside addresses that answer; null: as venue
    pub venue_reasons: Option<Vec<Text>>,
}

/// What the kernel was seen to hold of the gateway.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default)]
pub struct Gateway {
    /// times the rule set was put into the kernel since the start
    pub applied: u64,
    /// another tool's chain that drops what the cluster sends
    pub blocked_by: Option<Blocker>,
    /// read back from the kernel: on at the cluster interface and at every uplink
    pub forwarding: bool,
    /// of the nodes; false while Bramblegate's rules are in the kernel: nodes get no IPv6 yet;
    /// null: they are not
    pub ipv6_forwarding: Option<bool>,
    /// read back from the kernel; null: not known, for the rule set could not be applied
    pub masquerade: Option<bool>,
    pub overlap: Word<Overlap>,
    /// times it was put back after others changed it, since the start
    pub repaired: u64,
}

/// What the rules of one purpose have counted since they were put into the kernel: a rule set that
/// is put there anew begins at zero.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default)]
pub struct Rule {
    pub bytes: u64,
    pub chain: Text,
    pub packets: u64,
    /// the comment, as `nft list table inet bramblegate` shows it
    pub rule: Text,
}

/// A chain that drops; null names when no culprit can be seen.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default)]
pub struct Blocker {
    pub chain: Option<Text>,
    pub remedy: Text,
    pub table: Option<Text>,
}

/// The cluster's side of the head.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default)]
pub struct Cluster {
    /// CIDR text: the head's own address in the cluster
    #[cfg_attr(test, schemars(with = "String"))]
    pub address: Option<IpNet>,
    pub dhcp: Word<DhcpStatus>,
    /// null while there is no such interface
    pub interface: Option<Text>,
    /// null: the nodes get no IPv6
    pub ipv6: Option<ClusterIpv6>,
    /// addresses that are leased to boards now
    pub leases: usize,
    /// addresses that can be leased to boards which the settings do not know; null: none are
    pub range_size: Option<usize>,
    pub total: usize,
    pub up: usize,
}

/// The head itself; a null value where the machine does not show it.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default)]
pub struct Host {
    pub clock_set: Option<bool>,
    /// of the root file system, to ordinary users
    pub disk_free_percent: Option<u8>,
    pub inodes_free_percent: Option<u8>,
    /// of one minute, in whole hundredths
    pub load: Option<f64>,
    pub memory_available_percent: Option<u8>,
    pub pressure_percent: Pressure,
    /// the root file system has become read-only
    pub read_only: Option<bool>,
    /// of the hottest thermal zone
    pub temperature_c: Option<i32>,
    /// the firmware slows the processor down now
    pub throttled: Option<bool>,
    /// the supply sags now
    pub under_voltage: Option<bool>,
}

/// Share of the last minute in which some task waited (PSI some avg60).
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default)]
pub struct Pressure {
    pub disk: Option<u8>,
    pub memory: Option<u8>,
    pub processor: Option<u8>,
}

/// IPv6 for the nodes.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default)]
pub struct ClusterIpv6 {
    /// CIDR text: the head's own address
    #[cfg_attr(test, schemars(with = "Option<String>"))]
    pub address: Option<IpNet>,
    /// CIDR text: the network in which nodes make their addresses
    #[cfg_attr(test, schemars(with = "Option<String>"))]
    pub prefix: Option<IpNet>,
    /// CIDR text: a network beside it that the venue delegated; null while there is none
    #[cfg_attr(test, schemars(with = "Option<String>"))]
    pub delegated: Option<IpNet>,
    /// whether routers are advertised and names served, as `dhcp` of the cluster
    pub state: Word<DhcpStatus>,
}

/// One node.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default)]
pub struct Node {
    pub name: Text,
    pub mac: Option<Text>,
    /// its IPv4 address
    pub address: Option<IpAddr>,
    /// all its addresses: `address`, and those of IPv6 that it made for itself
    pub addresses: Vec<IpAddr>,
    pub health: Word<NodeHealth>,
    /// of a node that boots from the head: the file that it loaded last, within the folder of
    /// cluster.netboot.root
    pub stage: Option<Text>,
    /// smoothed over the answered rounds; null of a node that does not answer
    pub rtt_us: Option<u64>,
    /// of the last 64 rounds, those whose first try was lost; null of a node that does not answer
    pub loss_percent: Option<u8>,
    /// age of the health
    pub since_s: u64,
    pub origin: Word<Origin>,
    pub group: Option<Text>,
}

impl Node {
    /// Returns the address at which it is reached: that of IPv4, else the first that it made for
    /// itself.
    pub fn reached_at(&self) -> Option<&IpAddr> {
        self.address.as_ref().or(self.addresses.first())
    }
}

/// Display and LED.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default)]
pub struct Panel {
    pub lcd: Lcd,
    pub led: Led,
}

/// The character display.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default)]
pub struct Lcd {
    /// whether the backlight is lit; null when that is not known
    pub backlight: Option<bool>,
    /// time that writing to the display took since the start, its controller's pauses included
    pub bus_time_us: u64,
    /// sent to the display since the start
    pub bytes: u64,
    /// transfers that failed while the display was there, since the start
    pub errors: u64,
    /// exactly columns x rows Unicode scalars, as the bus acknowledged them; null when that is not
    /// known
    pub lines: Option<Vec<Text>>,
    pub state: Word<DeviceState>,
}

/// The LED, or the LEDs of a stick.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default)]
pub struct Led {
    /// of the first LED's pattern, as #rrggbb, before brightness and gamma
    pub colour: Option<Text>,
    /// one for each LED that is driven: the cluster, then the nodes
    pub leds: Option<Vec<Signal>>,
    pub pattern: Option<Word<Pattern>>,
    pub state: Word<DeviceState>,
}

/// A colour and a rhythm.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default)]
pub struct Signal {
    /// as #rrggbb, before brightness and gamma
    pub colour: Text,
    pub pattern: Word<Pattern>,
}

/// A disk of the head that the nodes use by NFS.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default)]
pub struct Share {
    /// "rw" or "ro"
    pub access: Text,
    /// names, else addresses, of the nodes that are connected to the NFS server now
    pub clients: Vec<Text>,
    /// on record of the file system, and of the device since it was first seen
    pub errors: Option<u64>,
    /// the NFS server gives it to the nodes
    pub exported: bool,
    /// to ordinary users; null: not mounted, or it may not be looked at
    pub free_percent: Option<u8>,
    /// its disk is there
    pub mounted: bool,
    pub name: Text,
    pub path: Text,
    /// the file system itself is read-only
    pub read_only: Option<bool>,
}

/// The status page.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default)]
pub struct Web {
    /// TCP port at the head's addresses
    pub port: u16,
}

/// What translates IPv4 to IPv6 on the head.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default)]
pub struct Clat {
    /// "bramblegate", or the port on which another program's translator has its address
    pub by: Text,
    /// the venue's NAT64 prefix, in CIDR text; null: it is not known
    pub prefix: Option<Text>,
    pub state: Word<ClatState>,
}

/// A shutdown of the nodes that runs.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default)]
pub struct Shutdown {
    /// the head powers off afterwards
    pub head: bool,
    /// nodes are waited for so much longer
    pub left_s: u64,
    /// the first of the nodes that are not off yet
    pub waiting: Vec<Text>,
    /// how many are not off yet
    pub waiting_total: usize,
}
