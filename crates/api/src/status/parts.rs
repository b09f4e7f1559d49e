//! The objects of a snapshot. Ages are in seconds at the time the line was written.

use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::words::{
    ClatState, DeviceState, DhcpProgress, DhcpStatus, NodeHealth, Origin, Overlap, Pattern,
    Severity, UplinkState, VenueKind,
};
use crate::{Text, Word};

/// A condition that a user should know.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default)]
pub struct Alert {
    /// Acknowledged: it raises no alarm any more.
    pub acknowledged: bool,
    /// Stable; begins with its subject: uplink-, gateway-, node-, share-, lcd-, led-, host-.
    pub code: Text,
    pub severity: Word<Severity>,
    /// The uplink, node or chain concerned; null: none in particular.
    pub subject: Option<Text>,
    /// One line, with the remedy if there is one.
    pub text: Text,
}

/// One uplink.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default)]
pub struct Uplink {
    /// The address for ssh, in CIDR notation.
    #[cfg_attr(test, schemars(with = "Option<String>"))]
    pub address: Option<IpNet>,
    /// All addresses in CIDR notation, the one for ssh first.
    #[cfg_attr(test, schemars(with = "Option<Vec<String>>"))]
    pub addresses: Option<Vec<IpNet>>,
    /// The DHCP client's progress; null: the uplink has an IPv4 address, or nothing was observed.
    pub dhcp: Option<Word<DhcpProgress>>,
    /// The gateway of the best default route.
    pub gateway: Option<IpAddr>,
    pub interface: Option<Text>,
    /// The remaining lifetime of the address; null: infinite, or no address.
    pub lease_left_s: Option<u64>,
    /// The venue's NAT64 prefix (RFC 6052), in CIDR notation; null: none, or unknown.
    pub nat64_prefix: Option<Text>,
    /// How long a renewal of the address's lease, or of its IPv6 prefix, is overdue; the address
    /// works until lease_left_s; null: not overdue.
    pub not_renewed_s: Option<u64>,
    /// The URL of the captive portal, http or https, at most 512 characters of visible ASCII; null:
    /// none, or unknown.
    pub portal_url: Option<Text>,
    /// The age of the state; a renewal of the lease does not reset it.
    pub since_s: Option<u64>,
    pub state: Word<UplinkState>,
    /// The kind of network; null: no carrier, or not known yet.
    pub venue: Option<Word<VenueKind>>,
    /// The reasons for `venue`, besides addresses that answer; null like `venue`.
    pub venue_reasons: Option<Vec<Text>>,
}

/// The gateway's state, as read back from the kernel.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default)]
pub struct Gateway {
    /// How often the rule set was applied since the start.
    pub applied: u64,
    /// A chain of another program that drops the cluster's packets.
    pub blocked_by: Option<Blocker>,
    /// Forwarding is on at the cluster interface and at every uplink.
    pub forwarding: bool,
    /// The nodes get IPv6, and it is forwarded; null: Bramblegate's rules are not in the kernel.
    pub ipv6_forwarding: Option<bool>,
    /// NAT is on; null: unknown, because the rule set could not be applied.
    pub masquerade: Option<bool>,
    pub overlap: Word<Overlap>,
    /// How often the rule set was restored after another program changed it, since the start.
    pub repaired: u64,
}

/// The counters of the rules with one purpose since they were applied: a new rule set starts at
/// zero.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default)]
pub struct Rule {
    pub bytes: u64,
    pub chain: Text,
    pub packets: u64,
    /// The comment, as in `nft list table inet bramblegate`.
    pub rule: Text,
}

/// A chain that drops packets; its names are null if it cannot be identified.
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
    /// The head's address in the cluster, in CIDR notation.
    #[cfg_attr(test, schemars(with = "String"))]
    pub address: Option<IpNet>,
    pub dhcp: Word<DhcpStatus>,
    /// The cluster interface; null while it does not exist.
    pub interface: Option<Text>,
    /// IPv6 for the nodes; null: off.
    pub ipv6: Option<ClusterIpv6>,
    /// The number of current leases.
    pub leases: usize,
    /// The number of addresses for boards that are not in the settings; null: no range.
    pub range_size: Option<usize>,
    /// The number of nodes.
    pub total: usize,
    /// The number of nodes that are up.
    pub up: usize,
}

/// The head itself; a value that the machine does not report is null.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default)]
pub struct Host {
    pub clock_set: Option<bool>,
    /// Free space of the root file system, for ordinary users.
    pub disk_free_percent: Option<u8>,
    /// Free inodes of the root file system.
    pub inodes_free_percent: Option<u8>,
    /// The load average of one minute, in whole hundredths.
    pub load: Option<f64>,
    pub memory_available_percent: Option<u8>,
    pub pressure_percent: Pressure,
    /// The root file system has become read-only.
    pub read_only: Option<bool>,
    /// The temperature of the hottest thermal zone.
    pub temperature_c: Option<i32>,
    /// The firmware throttles the processor now.
    pub throttled: Option<bool>,
    /// The supply voltage is too low now.
    pub under_voltage: Option<bool>,
}

/// The share of the last minute in which some task waited (PSI some avg60).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
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
    /// The head's address, in CIDR notation.
    #[cfg_attr(test, schemars(with = "Option<String>"))]
    pub address: Option<IpNet>,
    /// The prefix in which nodes configure their addresses, in CIDR notation.
    #[cfg_attr(test, schemars(with = "Option<String>"))]
    pub prefix: Option<IpNet>,
    /// An additional prefix that the venue delegated, in CIDR notation; null: none.
    #[cfg_attr(test, schemars(with = "Option<String>"))]
    pub delegated: Option<IpNet>,
    /// The state of router advertisements and DNS, like `dhcp` of the cluster.
    pub state: Word<DhcpStatus>,
}

/// One node.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default)]
pub struct Node {
    pub name: Text,
    pub mac: Option<Text>,
    /// The IPv4 address.
    pub address: Option<IpAddr>,
    /// All addresses: `address`, and IPv6 addresses that the node configured itself.
    pub addresses: Vec<IpAddr>,
    pub health: Word<NodeHealth>,
    /// For a node that boots from the head: the last file that it loaded, relative to
    /// cluster.netboot.root.
    pub stage: Option<Text>,
    /// The smoothed round trip of probes; null: the node does not answer.
    pub rtt_us: Option<u64>,
    /// The share of the last 64 probes whose first attempt was lost; null: the node does not
    /// answer.
    pub loss_percent: Option<u8>,
    /// The age of the health.
    pub since_s: u64,
    pub origin: Word<Origin>,
    pub group: Option<Text>,
}

impl Node {
    /// Returns the address to reach the node at: the IPv4 address, or else its first IPv6 address.
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
    /// The backlight is on; null: unknown.
    pub backlight: Option<bool>,
    /// The time spent writing to the display since the start, including the controller's delays.
    pub bus_time_us: u64,
    /// Bytes sent to the display since the start.
    pub bytes: u64,
    /// Failed transfers while the display was present, since the start.
    pub errors: u64,
    /// Exactly columns x rows Unicode scalars, as acknowledged on the bus; null: unknown.
    pub lines: Option<Vec<Text>>,
    pub state: Word<DeviceState>,
}

/// The LED, or the LEDs of a stick.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default)]
pub struct Led {
    /// The colour of the first LED, as #rrggbb, before brightness and gamma.
    pub colour: Option<Text>,
    /// One entry for each driven LED: the cluster, then the nodes.
    pub leds: Option<Vec<Signal>>,
    pub pattern: Option<Word<Pattern>>,
    pub state: Word<DeviceState>,
}

/// The signal of an LED.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default)]
pub struct Signal {
    /// As #rrggbb, before brightness and gamma.
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
    /// The names, or else addresses, of nodes that are connected to the NFS server now.
    pub clients: Vec<Text>,
    /// Errors recorded in the file system, and of the device since it was first seen.
    pub errors: Option<u64>,
    /// The NFS server exports it to the nodes.
    pub exported: bool,
    /// Free space for ordinary users; null: not mounted, or not permitted.
    pub free_percent: Option<u8>,
    /// The disk is present and mounted.
    pub mounted: bool,
    pub name: Text,
    pub path: Text,
    /// The file system itself is read-only.
    pub read_only: Option<bool>,
}

/// The status page.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default)]
pub struct Web {
    /// The TCP port at the head's addresses.
    pub port: u16,
}

/// The translator from IPv4 to IPv6 on the head.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default)]
pub struct Clat {
    /// "bramblegate", or the interface of another program's translator.
    pub by: Text,
    /// The venue's NAT64 prefix, in CIDR notation; null: unknown.
    pub prefix: Option<Text>,
    pub state: Word<ClatState>,
}

/// The progress of a running shutdown of the nodes.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default)]
pub struct Shutdown {
    /// The head powers off afterwards.
    pub head: bool,
    /// The remaining time to wait for nodes.
    pub left_s: u64,
    /// The first of the nodes that are not off yet.
    pub waiting: Vec<Text>,
    /// The number of nodes that are not off yet.
    pub waiting_total: usize,
}
