//! The one event type: everything that can wake the daemon is a variant, and every variant is plain data.
//!
//! Sources make events, [`crate::state::State::apply`] takes them in, sinks answer with [`Event::Applied`].

mod dhcp;
mod vital;
mod words;

pub use vital::{Button, Head, Pressure, Vital};
pub use words::in_words;

use std::collections::BTreeSet;
use std::fmt;
use std::net::IpAddr;
use std::ops::Add;
use std::str::FromStr;
use std::time::Duration;

use ipnet::IpNet;

pub use dhcp::{Dhcp, Lease, Said, Saying};

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

/// An Ethernet (MAC-48) address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mac(pub [u8; 6]);

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl FromStr for Mac {
    type Err = ();
    /// Six pairs of hexadecimal digits with colons; upper and lower case.
    fn from_str(text: &str) -> Result<Self, ()> {
        let mut bytes = [0; 6];
        let mut parts = text.split(':');
        for byte in &mut bytes {
            let part = parts.next().ok_or(())?;
            if part.len() != 2 || !part.bytes().all(|b| b.is_ascii_hexdigit()) {
                return Err(());
            }
            *byte = u8::from_str_radix(part, 16).map_err(|_| ())?;
        }
        if parts.next().is_some() { Err(()) } else { Ok(Self(bytes)) }
    }
}

/// The kernel's number of a network interface (`ifindex`).
pub type LinkIndex = u32;

/// A network interface as the kernel tells it (`RTM_NEWLINK`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// `ifi_index`
    pub index: LinkIndex,
    /// `IFLA_IFNAME`
    pub name: String,
    /// `IFLA_PROP_LIST` / `IFLA_ALT_IFNAME`
    pub alternative_names: Vec<String>,
    /// `IFLA_ADDRESS`, where it has six bytes
    pub mac: Option<Mac>,
    /// `IFF_UP`: switched on by the administrator
    pub up: bool,
    /// `IFF_LOWER_UP` and an operational state that is not down: there is a cable, or a radio association
    pub carrier: bool,
    /// `IFF_LOOPBACK`
    pub loopback: bool,
    /// a radio (has a `phy80211` in sysfs, or its name begins with `wl`)
    pub wireless: bool,
    /// `IFLA_MASTER`: the bridge or bond it is a port of
    pub master: Option<LinkIndex>,
    /// `IFLA_INFO_KIND`: "veth", "bridge", "vlan", "wireguard", …; `None` for hardware
    pub kind: Option<String>,
    /// `IFLA_LINK` when this is a VLAN or macvlan: its parent
    pub parent: Option<LinkIndex>,
    /// `IFLA_MTU`, bytes
    pub mtu: u32,
}

/// An address on an interface (`RTM_NEWADDR`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    pub index: LinkIndex,
    /// host part kept: `10.99.0.126/24`
    pub address: IpNet,
    /// `IFA_F_TENTATIVE` (and not optimistic): duplicate address detection is still running
    pub tentative: bool,
    /// `IFA_F_DEPRECATED`
    pub deprecated: bool,
    /// `IFA_F_TEMPORARY`: a privacy address
    pub temporary: bool,
    /// `RT_SCOPE_LINK` or `fe80::/10`, `169.254.0.0/16`: not good beyond the wire
    pub link_local: bool,
    /// `ifa_valid` of `IFA_CACHEINFO`; `None` = for ever
    pub valid_for: Option<Duration>,
    /// `IFA_PROTO`: who put it there; 0 where nobody said so, and before kernel 5.18
    pub protocol: u8,
}

/// A unicast route (`RTM_NEWROUTE`); a multipath route is told once for each next hop.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Route {
    /// `RTA_TABLE`: 254 is main
    pub table: u32,
    /// `0.0.0.0/0` or `::/0` is the default route
    pub destination: IpNet,
    /// `RTA_GATEWAY` (or `RTA_VIA`)
    pub gateway: Option<IpAddr>,
    /// `RTA_OIF`
    pub index: LinkIndex,
    /// `RTA_PRIORITY`: lower is better
    pub metric: u32,
    /// `rtm_protocol`: who put it there
    pub protocol: u8,
    /// `RTNH_F_ONLINK`
    pub onlink: bool,
    /// `RTA_PREFSRC`
    pub preferred_source: Option<IpAddr>,
}

/// A policy routing rule (`RTM_NEWRULE`), as much of it as we need to know our own and see others.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rule {
    /// `FRA_PRIORITY`: smaller is asked first
    pub preference: u32,
    pub ipv6: bool,
    /// `from PREFIX`
    pub source: Option<IpNet>,
    /// `to PREFIX`
    pub destination: Option<IpNet>,
    /// `oif NAME`
    pub output: Option<String>,
    /// `iif NAME`
    pub input: Option<String>,
    /// `fwmark MARK/MASK`: (mark, mask)
    pub mark: Option<(u32, u32)>,
    /// `lookup TABLE`
    pub table: u32,
    /// `FRA_PROTOCOL`
    pub protocol: u8,
}

/// Per-interface IPv4 settings told by `RTM_NEWNETCONF` (`RTNLGRP_IPV4_NETCONF`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Netconf {
    pub index: LinkIndex,
    /// `NETCONFA_FORWARDING`, where the message has it
    pub forwarding: Option<bool>,
    /// `NETCONFA_RP_FILTER`: 0 off, 1 strict, 2 loose
    pub rp_filter: Option<u8>,
}

/// A neighbour (`RTM_NEWNEIGH`) on the cluster port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Neighbour {
    pub index: LinkIndex,
    pub address: IpAddr,
    pub mac: Option<Mac>,
    /// `NUD_REACHABLE`, `NUD_PERMANENT` or `NUD_NOARP`
    pub reachable: bool,
}

/// A node's number, for as long as the daemon runs: dense, so that ten thousand nodes are an array, and never confused with
/// that of an earlier node in the same slot.
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

/// What a person orders, on the control socket or by a button.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Order {
    /// the node of this name is worked on: no alarm
    Drain(String),
    /// the work is done
    Resume(String),
    /// what is wrong now is known
    Acknowledge,
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
}

/// A device came or went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Hotplug {
    /// an I²C adapter or GPIO chip appeared or vanished: the display tries again
    Display,
    /// a USB HID device or kernel LED appeared or vanished: the indicator tries again
    Indicator,
}

/// What was seen of the firewall from outside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Firewall {
    /// our table is gone, or somebody else changed it; `by` is "name (pid)" of the process where the kernel told it
    Disturbed { by: Option<String> },
    /// another table drops what the cluster forwards (or `None`: no longer)
    Blocked(Option<Blocker>),
    /// counters, read back: packets our forward chain accepted from the cluster, packets seen at postrouting
    Counters { forwarded: u64, postrouted: u64 },
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
        /// a flow table speeds established connections up
        flow_table: bool,
        /// rules that were already there (ours, of an earlier run) were adopted
        adopted: bool,
    },
    /// the LCD acknowledged these lines (columns × rows scalars each); `bytes` since the start; `blind`: adapter or chip cannot
    /// be read, so a short loss of power stays unseen until the next full draw
    Display { lines: Vec<String>, bytes: u64, blind: bool },
    /// the LED is driven; how many LEDs it has and what it is ("blinkstick BS012345-3.0")
    Indicator { leds: u16, name: String },
    /// entries deleted from connection tracking
    Conntrack { deleted: u32 },
    /// the ports hold their settings and addresses
    Link,
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
    /// what it builds on is another output's, which is at work on it or tells what is wrong: tried again without a word
    Waiting,
    /// it did not work; the applier tries again, backing off
    Failed,
    /// the kernel cannot do it at all
    Unsupported,
    /// a capability or right is missing
    Denied,
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
    /// the alerts that people know of, all of them, by their keys
    Acknowledged(BTreeSet<String>),
    Button(Button),
    Probe(Probe),
    Hotplug(Hotplug),
    Firewall(Firewall),
    Vital(Vital),
    Applied(ApplyReport),
    /// a deadline of [`crate::state::State::next_deadline`] has come
    Tick,
    /// re-read the settings
    Reload,
    Stop(Stop),
}
