//! DHCP on the cluster port: our server, and others'.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use super::{LinkIndex, Mac};

/// Holds an address that our DHCP server has given to a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    pub mac: Mac,
    pub address: IpAddr,
    /// As the node calls itself (DHCP option 12).
    pub host_name: Option<String>,
    /// `None` = for ever.
    pub valid_for: Option<Duration>,
}

/// Reports what was seen of DHCP on the cluster port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Dhcp {
    /// No other server offers addresses there: it may be served.
    NoOtherServer { index: LinkIndex },
    /// Somebody else does: the ports may be swapped. A server of DHCPv4: RFC 2131 has no other
    /// address.
    OtherServer { index: LinkIndex, server: Ipv4Addr, mac: Option<Mac> },
    /// The switch lets nothing through for so long (spanning tree): it is asked after that.
    Held { index: LinkIndex, seconds: u64 },
    /// It cannot be asked: unknown, so it must not be served.
    CheckFailed { index: LinkIndex, why: String },
    /// A board says what it calls itself, to whatever server (options 12 and 81); as it says it.
    CallsItself { mac: Mac, name: String },
    /// A node loads this file: it boots.
    Boots { address: IpAddr, file: String },
    /// Our own server gave or refused an address, or complains.
    ServerLog(ServerLog),
}

/// Holds one message of our DHCP and DNS server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerLog {
    pub what: ServerLogKind,
    /// One line of plain English.
    pub text: String,
    /// The node it is about, where it is about one.
    pub mac: Option<Mac>,
    /// Of DHCPv4, as all of what the server says of addresses.
    pub address: Option<Ipv4Addr>,
}

/// Says what a message of our DHCP and DNS server is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ServerLogKind {
    /// A node has an address it did not have before.
    Leased,
    /// A node may not have the address that it wants.
    Refused,
    /// A board gets no address, for none is left.
    Exhausted,
    /// Something is wrong.
    Trouble,
}

/// Holds the port on which we are to serve. An equal plan disturbs nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DhcpWatchPlan {
    pub index: LinkIndex,
    pub name: String,
    /// Its hardware address; what comes from it is ours.
    pub mac: Mac,
    /// Counts up when a cable was plugged in: what was heard before does not count.
    pub generation: u64,
    /// Addresses that the head may have there: who takes their offer takes ours.
    pub ours: Vec<Ipv4Addr>,
    /// Counts up when a board was heard that was not known: behind a switch a server may have come.
    /// A reason to ask, and none to begin anew.
    pub unknown_clients: u64,
}

impl DhcpWatchPlan {
    /// Returns whether it is about the same stay of the same cable.
    pub fn continues(&self, before: &Self) -> bool {
        Self { unknown_clients: before.unknown_clients, ..self.clone() } == *before
    }
}
