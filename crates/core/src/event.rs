//! The one event type: everything that can wake the daemon is a variant, and every variant is plain
//! data.
//!
//! Sources make events, [`crate::facts::State::apply`] takes them in, sinks answer with
//! [`Event::Applied`].

pub mod alert;
mod dhcp;
mod host;
mod link;
mod uplink;
mod words;

pub use crate::api::control::Order;
pub use crate::config::{printable, printable_json, printable_line};
pub use host::{Astray, Button, Conflict, Head, MARK_ELSEWHERE, Pressure, Vital, Way};
pub use words::in_words;

use std::fmt;
use std::net::Ipv4Addr;
use std::ops::Add;
use std::time::Duration;

pub use crate::config::Mac;
use crate::panel::DeviceError;

pub use alert::{Acknowledgement, AlertCode, AlertId, Severity};
pub use dhcp::{Dhcp, Lease, ServerLog, ServerLogKind};
pub use link::{Address, Flow, Link, LinkIndex, Neighbour, Netconf, Route, Rule};
pub use uplink::{Acquisition, PortalSource, PortalUrl, UplinkNews};

/// A moment on the boot clock (`CLOCK_BOOTTIME`): never set back, counts through suspend.
///
/// Pure rooms get it as an argument and never read a clock themselves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Instant(Duration);

impl Instant {
    /// The moment `since_boot` after the machine started.
    pub const fn from_boot(since_boot: Duration) -> Self {
        Self(since_boot)
    }

    /// Time since the machine started.
    pub const fn since_boot(self) -> Duration {
        self.0
    }

    /// Time from `earlier` to `self`; zero if `earlier` is later.
    pub fn saturating_since(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }
}

impl Add<Duration> for Instant {
    type Output = Self;
    fn add(self, rhs: Duration) -> Self {
        Self(self.0.saturating_add(rhs))
    }
}

/// A node's number, for as long as the daemon runs: dense, so that ten thousand nodes are an array,
/// and never confused with that of an earlier node in the same slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct NodeId {
    pub slot: u32,
    /// counts up each time the slot is used again
    pub generation: u32,
}

/// One round of questions to one node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Round {
    pub node: NodeId,
    /// `None`: neither the first try nor its retries were answered
    pub rtt: Option<Duration>,
    /// the first try was not answered in time
    pub first_lost: bool,
}

/// Something that is there (new or changed), or that has gone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change<T> {
    /// it exists and looks like this
    Present(T),
    /// it is gone
    Gone(T),
}

/// Bounds of a full listing: what is not told between `Begin` and `End` does not exist any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dump {
    Begin,
    End,
}

/// Is the internet behind an uplink?
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reachability {
    /// the expected answer came
    Online,
    /// some other answer came: a captive portal
    Portal,
    /// no answer
    Nothing,
}

/// One finished probe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Probe {
    /// the internet through the uplink with this index
    Uplink { index: LinkIndex, reachability: Reachability },
    /// rounds of nodes that ended together
    Nodes(Vec<Round>),
    /// probes of this kind ("icmp") may not be sent: a capability is missing; or they may be again
    Denied { probe: String, denied: bool },
}

/// A device came or went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hotplug {
    /// an I²C adapter or GPIO chip appeared or vanished: the display tries again
    Display,
    /// a USB HID device or kernel LED appeared or vanished: the indicator tries again
    Indicator,
}

/// What was seen of the firewall from outside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Firewall {
    /// our table is gone, or somebody else changed it; `by` is "name (pid)" of the process where
    /// the kernel told it
    Disturbed { by: Option<String> },
    /// another table drops what the cluster forwards (or `None`: no longer)
    Blocked(Option<Blocker>),
    /// of the uplinks that carry none of the nodes' traffic now: what would drop it there
    BlockedSpare(Vec<(String, Blocker)>),
    /// of what is promised beside that: what would drop it
    BlockedTraffic(Vec<(Traffic, Blocker)>),
    /// nodes ask for addresses on the cluster port, and our server hears none of it; or it does
    /// again
    Unheard(bool),
    /// counters, read back: packets our forward chain accepted from the cluster, packets seen at
    /// postrouting
    Counters { forwarded: u64, postrouted: u64 },
    /// what rules of ours have dropped, as far as a user should hear of it
    Dropped(Vec<Dropped>),
}

/// What rules of one comment have dropped since they were loaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dropped {
    /// the comment
    pub purpose: String,
    pub packets: u64,
    /// the source of one of the latest, where one is kept
    pub example: Option<Ipv4Addr>,
}

/// What has to get through the rules of others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Traffic {
    /// what the nodes send by an uplink, and the answers
    Forwarding,
    /// datagrams among it: UDP, and the answers
    Datagrams,
    /// what the head itself asks of a venue: ARP, names and connections, with the answers
    Own,
    /// ARP between head and nodes
    Neighbours,
    /// DHCP
    Addresses,
    /// DNS
    Names,
    /// TFTP
    BootFiles,
    /// NTP
    Time,
    /// the pings that the nodes' health is known by
    Probes,
    /// what the venue may reach on the head itself, by `IPPROTO_*` and port (ICMP: 0)
    Venue { protocol: u8, port: u16 },
    /// the same by IPv6, with the neighbour discovery that it takes (ICMPv6: port 0)
    VenueIpv6 { protocol: u8, port: u16 },
    /// a port of the head that leads to a node
    Port { protocol: u8, listen: u16, to: Ipv4Addr, port: u16 },
}

impl Traffic {
    /// The port on the head that it is about, where it is about one.
    pub const fn port(self) -> Option<u16> {
        match self {
            Self::Venue { port, .. } | Self::VenueIpv6 { port, .. } => Some(port),
            Self::Port { listen, .. } => Some(listen),
            _ => None,
        }
    }
}

/// Another tool's chain that drops our traffic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Blocker {
    /// "ip filter"; `None` when no culprit can be seen (iptables-legacy, BPF)
    pub table: Option<String>,
    /// "FORWARD"
    pub chain: Option<String>,
    /// a command or a setting that would help
    pub remedy: String,
}

/// The outputs, one applier each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Output {
    Link,
    Firewall,
    Routing,
    Conntrack,
    Dnsmasq,
    Display,
    Indicator,
    Status,
    Journal,
    Manager,
}

impl Output {
    /// Essential outputs decide READY; the others are ornaments that may be absent for ever.
    pub const fn is_essential(self) -> bool {
        matches!(self, Self::Link | Self::Firewall | Self::Routing)
    }
}

/// How one application of a desired value went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApplyReport {
    pub output: Output,
    pub result: Result<Applied, ApplyError>,
}

/// What an output holds now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Applied {
    /// nothing more to say
    Done,
    /// the rule set is in the kernel
    Firewall {
        /// read back from the kernel: a masquerade rule of ours is there
        masquerade: bool,
        /// the kernel keeps others from changing the table
        owned: bool,
        /// a flow table speeds established connections up, or would if the kernel took it; `None`:
        /// nothing for it to do
        flow_table: Option<bool>,
        /// connections to a node that is down are rejected, or just dropped as the kernel has no
        /// `nft_reject_inet`; `None`: there are none to reject
        rejects: Option<bool>,
        /// rules that were already there (ours, of an earlier run) were adopted
        adopted: bool,
    },
    /// the LCD acknowledged these lines (columns × rows scalars each); `bytes` since the start;
    /// `blind`: adapter or chip cannot be read, so a short loss of power stays unseen until the
    /// next full draw
    Display { lines: Vec<String>, bytes: u64, blind: bool },
    /// the LED is driven; how many LEDs it has and what it is ("blinkstick BS012345-3.0")
    Indicator { leds: u16, name: String },
    /// rules and routes are in the kernel
    Routing {
        /// somebody else had taken rules away that this run had put there
        drifted: bool,
    },
    /// entries deleted from connection tracking
    Conntrack { deleted: u32 },
    /// the ports hold their settings and addresses
    Link {
        /// why it could not be written down how they were before
        unkept: Option<String>,
    },
    /// the nodes are served; why without names, where names were wanted
    Dnsmasq { without_names: Option<String> },
}

/// Why an output does not hold what it should.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApplyError {
    pub kind: ApplyErrorKind,
    /// one sentence that names the path, interface or rule and the remedy where one is known
    pub message: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ApplyErrorKind {
    /// the device or interface is not there; not a fault of the output
    Absent,
    /// switched off in the settings
    Off,
    /// what it builds on is another output's, which is at work on it or tells what is wrong: tried
    /// again without a word
    Waiting,
    /// it did not work; the applier tries again, backing off
    Failed,
    /// the kernel cannot do it at all
    Unsupported,
    /// a capability or right is missing
    Denied,
    /// another instance of this program lives and holds it
    Held,
}

impl From<DeviceError> for ApplyError {
    fn from(error: DeviceError) -> Self {
        let kind = match error {
            DeviceError::Absent(_) => ApplyErrorKind::Absent,
            DeviceError::Denied(_) => ApplyErrorKind::Denied,
            DeviceError::Failed(_) => ApplyErrorKind::Failed,
        };
        Self { kind, message: error.to_string() }
    }
}

impl fmt::Display for ApplyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

/// Why the daemon ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// SIGTERM or SIGINT
    Terminated,
    /// the service manager will start us again at once: nothing is to change
    Restart,
    /// the machine powers off
    PowerOff,
    /// the machine reboots
    Reboot,
}

/// Everything that can wake the daemon.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    Dump(Dump),
    /// the kernel dropped messages (ENOBUFS): a new dump follows
    Overrun,
    Link(Change<Link>),
    Address(Change<Address>),
    Route(Change<Route>),
    Rule(Change<Rule>),
    Netconf(Netconf),
    Neighbour(Change<Neighbour>),
    /// a DHCP lease given to a node, or its end
    Lease(Change<Lease>),
    Dhcp(Dhcp),
    Order(Order),
    Acknowledgement(Acknowledgement),
    Button(Button),
    Probe(Probe),
    Uplink(UplinkNews),
    Hotplug(Hotplug),
    Firewall(Firewall),
    Vital(Vital),
    Applied(ApplyReport),
    /// a deadline of [`crate::facts::State::next_deadline`] has come
    Tick,
    /// re-read the settings
    Reload,
    Stop(Stop),
}
