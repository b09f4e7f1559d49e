//! The head's own vitals, and its buttons.

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;

use ipnet::{IpNet, Ipv6Net};

use super::{LinkIndex, Mac};
use crate::config::VitalLimits;

/// Reports vitals of the head that the gateway depends on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Vital {
    /// Entries in the connection tracking table and its size.
    Conntrack { count: u32, max: u32 },
    /// Entries in the table of IPv4 neighbours and its size.
    Neighbours { count: u32, max: u32 },
    /// Resolvers known for an uplink (or of the machine: `index` 0).
    Resolvers { index: LinkIndex, servers: Vec<IpAddr> },
    /// The port by which the kernel would send a packet of the cluster to the internet; `None`:
    /// unreachable.
    Egress { index: Option<LinkIndex> },
    /// Ways that packets of the head's own networks would not go as they have to.
    Astray(Vec<Astray>),
    /// Addresses of the head that other boards have too; all of them.
    Conflicts(Vec<Conflict>),
    /// A time server of the head answers where the nodes ask it, and has a time; whom the head asks
    /// for the time, of those that DHCPv4 can name to the nodes (option 42, RFC 2132 8.3).
    Time { served: bool, servers: Vec<Ipv4Addr> },
    /// Host name, TCP ports on which sshd listens, and whether the name is announced by multicast DNS
    /// (RFC 6762).
    Host { name: String, ssh_ports: Vec<u16>, announced: bool },
    /// Addresses that we gave to ports, by the record of what we changed: (port, address).
    Added(Vec<(String, IpNet)>),
    /// Ports on which forwarding was off before us, by the same record.
    Opened(Vec<String>),
    /// The unique local network (RFC 4193) that is kept for the nodes; whether the kernel forwarded
    /// IPv6 between all ports before us, by the same record.
    Ipv6 { kept: Option<Ipv6Net>, forwarding_before: bool },
    /// Transfers to the display that failed while it was there, since the start.
    DisplayErrors(u64),
    /// How the machine itself is.
    Head(Head),
    /// What of it has not come back since the watch began: a driver or a device that
    /// hangs.
    Hanging(Vec<&'static str>),
    /// Why the folder of the files that nodes boot from cannot be used.
    BootFolder(Option<String>),
    /// Files that nodes boot from and that their server may not read: the first, and how many more.
    BootFiles(Option<String>),
}

/// Bit of a packet's mark that our rules for the nodes' way out pass over: a look-up with it shows
/// the way that the kernel would choose without them.
pub const MARK_ELSEWHERE: u32 = 0x0200_0000;

/// Holds a way that packets have to go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Way {
    /// By which port they enter; `None`: the head's own.
    pub enters: Option<LinkIndex>,
    /// `None`: the kernel chooses.
    pub from: Option<IpAddr>,
    pub to: IpAddr,
    /// By which port they have to leave.
    pub leaves: LinkIndex,
    /// Whose packets they are; 0 are the kernel's and what it forwards too.
    pub uid: u32,
    /// Of this protocol (ICMP, TCP or UDP: the kernel looks up no others); `None`: of any.
    pub ip_protocol: Option<u8>,
    /// From this port of TCP or UDP, and to this one; `None`: of any.
    pub ports: [Option<u16>; 2],
    /// With this in the IP header's field for the type of service (RFC 2474).
    pub tos: u8,
}

impl Way {
    /// Makes the way of packets of any protocol and user: from `from` (`None`: the kernel chooses)
    /// to `to`, out by the port `leaves`.
    pub const fn new(from: Option<IpAddr>, to: IpAddr, leaves: LinkIndex) -> Self {
        Self { enters: None, from, to, leaves, uid: 0, ip_protocol: None, ports: [None; 2], tos: 0 }
    }
}

/// Reports where the kernel would send what has to go another way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Astray {
    pub way: Way,
    /// `None`: nowhere.
    pub by: Option<LinkIndex>,
    /// The table that decided, where one did.
    pub table: Option<u32>,
}

/// Holds how the head itself is; `None` where the machine has no such sensor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Head {
    /// Degrees Celsius, of the hottest thermal zone.
    pub temperature: Option<i32>,
    /// The supply is below what the board needs.
    pub under_voltage: Option<bool>,
    /// The firmware slows the processor down: for heat, or for want of voltage.
    pub throttled: Option<bool>,
    /// Mean number of runnable tasks of the last minute, in hundredths.
    pub load: Option<u32>,
    /// Percent of the memory that is available (`MemAvailable`).
    pub memory: Option<u8>,
    /// Percent of the root file system that is free to ordinary users.
    pub disk: Option<u8>,
    /// Percent of the root file system's inodes that are free.
    pub inodes: Option<u8>,
    /// Percent of the last minute in which some task waited (PSI `some avg60`) …
    pub pressure: Pressure,
    /// The root file system has become read-only, though it is meant to be written to.
    pub read_only: Option<bool>,
    /// The clock was set since the machine started, or it has one of its own.
    pub clock_set: Option<bool>,
}

/// … for what.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Pressure {
    pub processor: Option<u8>,
    pub memory: Option<u8>,
    pub disk: Option<u8>,
}

/// Reports what a button was pressed for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Button {
    /// Show the next page.
    Next,
    /// The power button is held from now on, or let go.
    Power { held: bool },
}

/// Reports an address of the head that another board has too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Conflict {
    /// Where it was heard.
    pub port: LinkIndex,
    /// Heard by ARP (RFC 826), so of IPv4.
    pub address: Ipv4Addr,
    /// Who has it.
    pub by: Mac,
}

/// Holds what is to be looked at.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct VitalsPlan {
    /// How full the kernel's tables are too.
    pub tables: bool,
    /// Whose settings are reported.
    pub ports: Vec<LinkIndex>,
    pub limits: Option<VitalLimits>,
    /// The files that nodes boot from.
    pub boot_folder: Option<PathBuf>,
}
