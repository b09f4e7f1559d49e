//! What is seen of the firewall: our table disturbed, other programs' rules in the way, counters.

use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;

/// Comment of the rule that drops router advertisements of other devices in the cluster.
pub const COMMENT_ROUTER: &str = "bramblegate: a node is no router (IPv6)";

/// Reports what was seen of the firewall from outside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Firewall {
    /// Our table is gone, or another program changed it; `by` is "name (pid)" of the process where
    /// the kernel names it.
    Disturbed { by: Option<String> },
    /// Another table drops what the cluster forwards (or `None`: no longer).
    Blocked(Option<Blocker>),
    /// Of the uplinks that carry none of the nodes' traffic now: what would drop it there.
    BlockedSpare(Vec<(String, Blocker)>),
    /// Of what is promised beside that: what would drop it.
    BlockedTraffic(Vec<(Traffic, Blocker)>),
    /// Nodes ask for addresses on the cluster port, and our server hears none of it; or it does
    /// again.
    Unheard(bool),
    /// Counters, read back: packets our forward chain accepted from the cluster, packets seen at
    /// postrouting.
    Counters { forwarded: u64, postrouted: u64 },
    /// What each of our rules has counted, read back.
    Rules(Arc<[RuleCount]>),
    /// What rules of ours have dropped, as far as a user should hear of it.
    Dropped(Vec<Dropped>),
}

/// Counts what the rules of one comment in one chain have matched since they were loaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuleCount {
    pub chain: String,
    /// The comment.
    pub purpose: String,
    pub packets: u64,
    pub bytes: u64,
}

/// Counts what rules of one comment have dropped since they were loaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dropped {
    /// The comment.
    pub purpose: String,
    pub packets: u64,
    /// The source of one of the latest, where one is kept.
    pub example: Option<IpAddr>,
}

/// Names what has to get through the rules of others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Traffic {
    /// What the nodes send by an uplink, and the answers.
    Forwarding,
    /// Datagrams among it: UDP, and the answers.
    Datagrams,
    /// What the head itself asks of a venue: ARP, names and connections, with the answers.
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
    /// The pings that the nodes' health is known by.
    Probes,
    /// What the venue may reach on the head itself, by `IPPROTO_*` and port (ICMP: 0).
    Venue { protocol: u8, port: u16 },
    /// The same by IPv6, with the neighbour discovery that it takes (ICMPv6: port 0).
    VenueIpv6 { protocol: u8, port: u16 },
    /// A port of the head that leads to a node.
    Port { protocol: u8, listen: u16, to: IpAddr, port: u16 },
}

impl Traffic {
    /// Returns the port on the head that it is about, where it is about one.
    pub const fn port(self) -> Option<u16> {
        match self {
            Self::Venue { port, .. } | Self::VenueIpv6 { port, .. } => Some(port),
            Self::Port { listen, .. } => Some(listen),
            _ => None,
        }
    }
}

/// Names another tool's chain that drops our traffic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Blocker {
    /// "ip filter"; `None` when no culprit can be seen (iptables-legacy, BPF).
    pub table: Option<String>,
    /// "FORWARD".
    pub chain: Option<String>,
    /// A command or a setting that would help.
    pub remedy: String,
}

/// Holds what to watch. The daemon sends a new one when any of it changes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FirewallWatch {
    /// Name of our table, in the family `inet`.
    pub table: &'static str,
    /// Netlink port of the firewall's reconciler: what it causes is no disturbance. 0: it has not
    /// begun, nothing is ours.
    pub own_port: u32,
    pub cluster_port: Option<String>,
    /// It is a bridge.
    pub bridge: bool,
    pub cluster_networks: Vec<IpNet>,
    /// The head's own address there.
    pub head: Option<IpNet>,
    /// What has to get through, beside what is forwarded.
    pub traffic: Vec<Traffic>,
    /// Those that carry traffic, or could.
    pub uplinks: Vec<String>,
    /// Those of them that have an IPv6 address which the venue can reach.
    pub ipv6_uplinks: Vec<String>,
    /// The port by which the nodes' traffic leaves; `None`: not known, it may be any.
    pub egress: Option<String>,
    /// Comment of the rules that count what is forwarded from the cluster; empty: do not read
    /// counters.
    pub forwarded: &'static str,
    /// Comment of the rules that count what has reached postrouting.
    pub postrouted: &'static str,
    /// Drops to report: comment of the rules, set that keeps the latest sources.
    pub drops: &'static [(&'static str, &'static str)],
}
