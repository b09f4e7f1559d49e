//! Vitals of the head itself, and its buttons.

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;

use ipnet::{IpNet, Ipv6Net};

use super::{LinkIndex, Mac};
use crate::config::VitalLimits;

pub use crate::api::status::Pressure;

/// Reports state of the head that the gateway depends on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Vital {
    /// Number of entries in the connection tracking table, and its limit.
    Conntrack { count: u32, max: u32 },
    /// Number of entries in the IPv4 neighbour table, and its limit.
    Neighbours { count: u32, max: u32 },
    /// Resolvers of an uplink, or with `index` 0 those of the machine.
    Resolvers { index: LinkIndex, servers: Vec<IpAddr> },
    /// Egress port of packets from the cluster to the internet; `None`: unreachable.
    Egress { index: Option<LinkIndex> },
    /// The ways whose packets the kernel would route elsewhere.
    Astray(Vec<Astray>),
    /// All current address conflicts of the head.
    Conflicts(Vec<Conflict>),
    /// `served`: a synchronised NTP server of the head answers the nodes. `servers`: the head's own
    /// time sources, as far as DHCPv4 can name them to the nodes (option 42, RFC 2132 8.3).
    Time { served: bool, servers: Vec<Ipv4Addr> },
    /// Host name, TCP ports on which sshd listens, and whether multicast DNS announces the name
    /// (RFC 6762).
    Host { name: String, ssh_ports: Vec<u16>, announced: bool },
    /// Addresses that Bramblegate added to ports, from the saved state: (port, address).
    Added(Vec<(String, IpNet)>),
    /// Ports on which forwarding was off before Bramblegate changed it, from the saved state.
    Opened(Vec<String>),
    /// `kept`: the nodes' saved unique local network (RFC 4193). `forwarding_before`: the kernel
    /// forwarded IPv6 on all ports before Bramblegate changed it, from the saved state.
    Ipv6 { kept: Option<Ipv6Net>, forwarding_before: bool },
    /// Failed transfers to a present display, since the start.
    DisplayErrors(u64),
    /// Sensor readings of the machine.
    Head(Head),
    /// Names of the sensors whose read has not returned: a driver or device hangs.
    Hanging(Vec<&'static str>),
    /// Why the boot file folder cannot be used.
    BootFolder(Option<String>),
    /// Boot files that the TFTP server may not read: the first, and the number of further ones.
    BootFiles(Option<String>),
}

/// Mark bit that excludes a packet from our egress rules for the nodes: a route lookup with it
/// returns the route that the kernel would use without them.
pub const MARK_ELSEWHERE: u32 = 0x0200_0000;

/// Describes a flow and the port by which it must leave.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Way {
    /// Ingress port; `None`: packets of the head itself.
    pub enters: Option<LinkIndex>,
    /// `None`: the kernel chooses the source address.
    pub from: Option<IpAddr>,
    pub to: IpAddr,
    /// Required egress port.
    pub leaves: LinkIndex,
    /// User whose sockets send it; 0 also stands for the kernel and for forwarded packets.
    pub uid: u32,
    /// ICMP, TCP or UDP (the kernel's lookup accepts no others); `None`: any.
    pub ip_protocol: Option<u8>,
    /// Source and destination port of TCP or UDP; `None`: any.
    pub ports: [Option<u16>; 2],
    /// The DS field of the IP header (RFC 2474).
    pub tos: u8,
}

impl Way {
    /// Returns the way of any protocol and user from `from` (`None`: the kernel chooses) to `to`,
    /// out by the port `leaves`.
    pub const fn new(from: Option<IpAddr>, to: IpAddr, leaves: LinkIndex) -> Self {
        Self { enters: None, from, to, leaves, uid: 0, ip_protocol: None, ports: [None; 2], tos: 0 }
    }
}

/// Reports a flow that the kernel would route differently than required.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Astray {
    pub way: Way,
    /// Actual egress port; `None`: unreachable.
    pub by: Option<LinkIndex>,
    /// The routing table that matched, if any.
    pub table: Option<u32>,
}

/// Holds the sensor readings of the head; `None`: the machine has no such sensor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Head {
    /// Of the hottest thermal zone, in degrees Celsius.
    pub temperature: Option<i32>,
    /// The supply voltage is too low for the board.
    pub under_voltage: Option<bool>,
    /// The firmware throttles the processor because of heat or low voltage.
    pub throttled: Option<bool>,
    /// Load average of the last minute, in hundredths.
    pub load: Option<u32>,
    /// Available memory (`MemAvailable`), in percent.
    pub memory: Option<u8>,
    /// Space of the root file system that is free to ordinary users, in percent.
    pub disk: Option<u8>,
    /// Free inodes of the root file system, in percent.
    pub inodes: Option<u8>,
    pub pressure: Pressure,
    /// The root file system became read-only, though it should be writable.
    pub read_only: Option<bool>,
    /// The clock was set since the machine started, or the machine has a real-time clock.
    pub clock_set: Option<bool>,
}

/// Reports a button press.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Button {
    /// Show the next page.
    Next,
    /// The power button was pressed or released.
    Power { held: bool },
}

/// Reports an address of the head that another board uses too, detected by ARP (RFC 826).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Conflict {
    /// The port on which it was detected.
    pub port: LinkIndex,
    pub address: Ipv4Addr,
    /// The other board.
    pub by: Mac,
}

/// Configures the vitals watch.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct VitalsPlan {
    /// Whether the fill of the kernel's tables is reported.
    pub tables: bool,
    /// Ports whose per-interface settings are reported.
    pub ports: Vec<LinkIndex>,
    pub limits: Option<VitalLimits>,
    /// Folder of the nodes' boot files.
    pub boot_folder: Option<PathBuf>,
}
