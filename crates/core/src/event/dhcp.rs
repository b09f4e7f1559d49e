//! DHCP on the cluster port: our server, and foreign ones.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use super::{LinkIndex, Mac};

/// Holds a lease that our DHCP server has granted to a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    pub mac: Mac,
    pub address: IpAddr,
    /// The node's host name (DHCP option 12).
    pub host_name: Option<String>,
    /// `None`: for ever.
    pub valid_for: Option<Duration>,
}

/// Reports DHCP traffic on the cluster port, or the result of a probe for foreign servers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Dhcp {
    /// No other server offers addresses on this port, so ours may serve it.
    NoOtherServer { index: LinkIndex },
    /// A foreign DHCPv4 server offers addresses: the cables may be swapped.
    OtherServer { index: LinkIndex, server: Ipv4Addr, mac: Option<Mac> },
    /// The switch blocks traffic for this long (spanning tree); the probe is sent after that.
    Held { index: LinkIndex, seconds: u64 },
    /// The probe cannot be sent: the result is unknown, so the port must not be served.
    CheckFailed { index: LinkIndex, why: String },
    /// A board sent its host name to any server (options 12 and 81), here unmodified.
    CallsItself { mac: Mac, name: String },
    /// A node requests a boot file.
    Boots { address: IpAddr, file: String },
    /// Our server granted or refused an address, or logged a problem.
    ServerLog(ServerLog),
}

/// Holds one log message of our DHCP and DNS server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerLog {
    pub what: ServerLogKind,
    /// One line of plain English.
    pub text: String,
    /// The client that the message is about, if any.
    pub mac: Option<Mac>,
    /// The DHCPv4 address that the message is about, if any.
    pub address: Option<Ipv4Addr>,
}

/// Classifies a log message of our DHCP and DNS server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ServerLogKind {
    /// A client got an address that it did not have before.
    Leased,
    /// The server refused an address (DHCPNAK), or a client declined it (DHCPDECLINE).
    Refused,
    /// A client got no address because the range is exhausted.
    Exhausted,
    /// A warning or error.
    Trouble,
}

/// Configures the DHCP watch of the port to serve. An equal plan changes nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DhcpWatchPlan {
    pub index: LinkIndex,
    pub name: String,
    /// The port's hardware address: frames from it are our own.
    pub mac: Mac,
    /// Counts carrier-up transitions: results of an earlier generation are stale.
    pub generation: u64,
    /// Addresses that the head may have there, by which our own server identifies itself.
    pub ours: Vec<Ipv4Addr>,
    /// Counts unknown boards that appeared, as one behind the switch may be a server. A change
    /// triggers another probe without discarding earlier results.
    pub unknown_clients: u64,
}

impl DhcpWatchPlan {
    /// Returns whether the port and its generation are the same as before.
    pub fn continues(&self, before: &Self) -> bool {
        Self { unknown_clients: before.unknown_clients, ..self.clone() } == *before
    }
}
