//! What is seen of the firewall: our table disturbed, other programs' rules in the way, counters.

use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;

/// Comment of the rule that drops router advertisements of other devices in the cluster.
pub const COMMENT_ROUTER: &str = "bramblegate: a node is no router (IPv6)";

/// Reports what was seen of the firewall from outside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Firewall {
    /// our table is gone, or another program changed it; `by` is "name (pid)" of the process where
    /// the kernel names it
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
    /// what each of our rules has counted, read back
    Rules(Arc<[RuleCount]>),
    /// what rules of ours have dropped, as far as a user should hear of it
    Dropped(Vec<Dropped>),
}

/// Counts what the rules of one comment in one chain have matched since they were loaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuleCount {
    pub chain: String,
    /// the comment
    pub purpose: String,
    pub packets: u64,
    pub bytes: u64,
}

/// Counts what rules of one comment have dropped since they were loaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dropped {
    /// the comment
    pub purpose: String,
    pub packets: u64,
    /// the source of one of the latest, where one is kept
    pub example: Option<IpAddr>,
}

/// Names what has to get through the rules of others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Traffic {
    /// what the nodes send by an uplink, and the answers
    Forwarding,
    /// datagrams among it: UDP, and the answers
    Datagrams,
    /// what the nodes send by IPv6, and the answers, with the neighbour discovery that it takes
    ForwardingIpv6,
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
    /// "ip filter"; `None` when no culprit can be seen (iptables-legacy, BPF)
    pub table: Option<String>,
    /// "FORWARD"
    pub chain: Option<String>,
    /// a command or a setting that would help
    pub remedy: String,
}

/// Holds what to watch. The daemon sends a new one when any of it changes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FirewallWatch {
    /// name of our table, in the family `inet`
    pub table: &'static str,
    /// netlink port of the firewall's reconciler: what it causes is no disturbance. 0: it has not
    /// begun, nothing is ours
    pub own_port: u32,
    pub cluster_port: Option<String>,
    /// it is a bridge
    pub bridge: bool,
    pub cluster_networks: Vec<IpNet>,
    /// the head's own address there
    pub head: Option<IpNet>,
    /// what has to get through, beside what is forwarded
    pub traffic: Vec<Traffic>,
    /// those that carry traffic, or could
    pub uplinks: Vec<String>,
    /// those of them that have an IPv6 address which the venue can reach
    pub ipv6_uplinks: Vec<String>,
    /// the port by which the nodes' traffic leaves; `None`: not known, it may be any
    pub egress: Option<String>,
    /// comment of the rules that count what is forwarded from the cluster; empty: do not read
    /// counters
    pub forwarded: &'static str,
    /// comment of the rules that count what has reached postrouting
    pub postrouted: &'static str,
    /// drops to report: comment of the rules, set that keeps the latest sources
    pub drops: &'static [(&'static str, &'static str)],
}
