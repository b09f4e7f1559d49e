//! Observations of the firewall: changes to our table, blocking rules of other programs, counters.

use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;

/// Comment of the rule that drops router advertisements from devices in the cluster.
pub const COMMENT_ROUTER: &str = "bramblegate: a node is no router (IPv6)";

/// Reports one observation of the firewall.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Firewall {
    /// Our table was deleted, or changed by another program; `by` is "name (pid)" of the process if
    /// the kernel reports it.
    Disturbed { by: Option<String> },
    /// Another table drops the nodes' forwarded traffic (`None`: no longer).
    Blocked(Option<Blocker>),
    /// Uplinks that carry no traffic of the nodes now, with the chain that would drop it there.
    BlockedSpare(Vec<(String, Blocker)>),
    /// Other required traffic, with the chain that would drop it.
    BlockedTraffic(Vec<(Traffic, Blocker)>),
    /// Whether nodes send DHCP requests on the cluster port that our server does not receive.
    Unheard(bool),
    /// Packets that our forward chain accepted from the cluster, and packets seen at postrouting.
    Counters { forwarded: u64, postrouted: u64 },
    /// Counters of all our rules.
    Rules(Arc<[RuleCount]>),
    /// Counters of our drop rules that are reported to users.
    Dropped(Vec<Dropped>),
}

/// Counts the matches of all rules of a chain that share a comment, since they were loaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuleCount {
    pub chain: String,
    /// The comment.
    pub purpose: String,
    pub packets: u64,
    pub bytes: u64,
}

/// Counts the drops of all rules that share a comment, since they were loaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dropped {
    /// The comment.
    pub purpose: String,
    pub packets: u64,
    /// Source address of a recent packet, if the rule records it.
    pub example: Option<IpAddr>,
}

/// Names traffic that must pass the rules of other programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Traffic {
    /// From the nodes through an uplink, with the replies.
    Forwarding,
    /// UDP from the nodes through an uplink, with the replies.
    Datagrams,
    /// From the head itself to a venue: ARP, DNS and connections, with the replies.
    Own,
    /// ARP between head and nodes.
    Neighbours,
    /// DHCP.
    Addresses,
    /// DNS.
    Names,
    /// TFTP.
    BootFiles,
    /// NTP.
    Time,
    /// The health probes of the nodes (ping).
    Probes,
    /// From the venue to a service of the head, by `IPPROTO_*` and port (ICMP: 0).
    Venue { protocol: u8, port: u16 },
    /// The same in IPv6, including the neighbour discovery it needs (ICMPv6: port 0).
    VenueIpv6 { protocol: u8, port: u16 },
    /// To a port of the head that is forwarded to a node.
    Port { protocol: u8, listen: u16, to: IpAddr, port: u16 },
}

impl Traffic {
    /// Returns the port on the head, if the traffic has one.
    pub const fn port(self) -> Option<u16> {
        match self {
            Self::Venue { port, .. } | Self::VenueIpv6 { port, .. } => Some(port),
            Self::Port { listen, .. } => Some(listen),
            _ => None,
        }
    }
}

/// Names another program's chain that drops required traffic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Blocker {
    /// "ip filter"; `None` if the cause is invisible (iptables-legacy, BPF).
    pub table: Option<String>,
    /// "FORWARD".
    pub chain: Option<String>,
    /// A command or setting that solves it.
    pub remedy: String,
}

/// Configures the firewall watch. The daemon sends a new one when any of it changes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FirewallWatch {
    /// Name of our table, of the family `inet`.
    pub table: &'static str,
    /// Netlink port ID of the firewall reconciler, whose own changes are no disturbance. 0: not
    /// started yet.
    pub own_port: u32,
    pub cluster_port: Option<String>,
    /// The cluster port is a bridge.
    pub bridge: bool,
    pub cluster_networks: Vec<IpNet>,
    /// The head's address on the cluster port.
    pub head: Option<IpNet>,
    /// Required traffic, beside what is forwarded.
    pub traffic: Vec<Traffic>,
    /// Uplinks that carry traffic, or could.
    pub uplinks: Vec<String>,
    /// The uplinks with an IPv6 address that the venue can reach.
    pub ipv6_uplinks: Vec<String>,
    /// Egress port of the nodes' traffic; `None`: unknown, it may be any.
    pub egress: Option<String>,
    /// Comment of the rules that count packets forwarded from the cluster; empty: counters are not
    /// read.
    pub forwarded: &'static str,
    /// Comment of the rules that count packets at postrouting.
    pub postrouted: &'static str,
    /// Drops to report: comment of the rules, and the set that records recent source addresses.
    pub drops: &'static [(&'static str, &'static str)],
}
