//! The rule set as a typed value; its `Display` is nft syntax (see `text.rs`).
//!
//! Pure: [`build`] turns what is known into a [`Ruleset`], the firewall sink encodes that same value for the kernel.

mod forwarded;
mod marks;
mod rules;
#[cfg(test)]
mod tests;
mod text;

use std::net::Ipv4Addr;

use ipnet::{Ipv4Net, Ipv6Net};

use crate::config::Allow;

pub use rules::build;
pub use text::KernelForm;

/// Name of our table, in the family `inet`.
pub const TABLE: &str = "bramblegate";
/// The table's comment: the mark by which a later run knows a table as ours.
pub const TABLE_COMMENT: &str = "bramblegate: gateway of the cluster; made by bramblegate(8), do not edit";
/// The chain that hides the cluster's addresses behind the uplink's.
pub const HIDING: &str = "hide_cluster";
/// Comment of the rule that counts the first packet of each connection from the cluster to an uplink.
pub const COMMENT_FORWARDED: &str = "bramblegate: new connections from the cluster to the uplink";
/// Comment of the masquerading rules; each new connection is seen there once.
pub const COMMENT_MASQUERADE: &str = "bramblegate: the cluster's addresses are hidden behind the uplink's";

/// What the rule set depends on. No address of an uplink is here: a change of lease changes no rule.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RulesetInput {
    /// the cluster port's name; `None` while there is no such port
    pub cluster_port: Option<String>,
    /// the network of the cluster's address, and an old one that is still in use
    pub cluster_networks: Vec<Ipv4Net>,
    /// the head's own addresses in them
    pub cluster_addresses: Vec<Ipv4Addr>,
    /// names of the uplinks, in order of preference
    pub uplinks: Vec<String>,
    /// `uplink.allow`
    pub allow: Vec<Allow>,
    /// TCP ports of sshd, beside 22, for [`Allow::Ssh`]
    pub ssh_ports: Vec<u16>,
    /// the venue uses the cluster's subnet too: its sources are then legitimate on an uplink
    pub overlap_routed: bool,
    /// ports of the head, at the uplinks, that lead to nodes
    pub forwards: Vec<ForwardedPort>,
    /// those of `forwards` whose node is down
    pub dead: Vec<ForwardedPort>,
    /// ports whose established connections may take the fast path; all must exist. Empty: no flow table
    pub flow_table_devices: Vec<String>,
}

/// A port of the head that leads to a node. A node that gets another address is another value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ForwardedPort {
    pub transport: Transport,
    pub listen: u16,
    /// in a network of the cluster, and not the head's own
    pub to: Ipv4Addr,
    pub port: u16,
}

/// The table `inet bramblegate`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Ruleset {
    pub flow_table: Option<FlowTable>,
    /// base chains stand before those they go to
    pub chains: Vec<Chain>,
}

/// A software flow table at the ingress hook (kernel ≥ 4.16, `CONFIG_NF_FLOW_TABLE`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FlowTable {
    pub name: &'static str,
    /// sorted, without duplicates
    pub devices: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chain {
    pub name: &'static str,
    /// `None`: reached only by `goto`
    pub base: Option<Base>,
    pub rules: Vec<Rule>,
}

/// Where a base chain is hooked in. Its policy is always accept: what we do not judge is not ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Base {
    pub kind: ChainKind,
    pub hook: Hook,
    /// smaller comes first
    pub priority: i32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChainKind {
    Filter,
    /// a packet of the head's own is routed anew when its mark changed
    Route,
    Nat,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hook {
    Input,
    Forward,
    Output,
    Prerouting,
    Postrouting,
}

/// Every rule counts, and says whose it is and what for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// all must hold
    pub matches: Vec<Match>,
    pub action: Action,
    /// at most 120 bytes (the kernel's userdata attribute and nft's own bound of 128)
    pub comment: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Match {
    /// `iifname`
    Input(String),
    /// `oifname`
    Output(String),
    /// `meta nfproto`
    Family(Family),
    /// `ip saddr`
    Source(Ipv4Net),
    /// `ip daddr`
    Destination(Ipv4Addr),
    /// `fib daddr type local`: to an address of this machine
    ToThisMachine,
    /// `fib saddr type local`: from an address of this machine
    FromThisMachine,
    /// `ip daddr 127.0.0.0/8`
    Loopback,
    /// `ip6 saddr`
    Source6(Ipv6Net),
    /// `ip protocol`
    Protocol4(u8),
    /// `ct state established,related`
    Established,
    /// `ct state new`
    New,
    /// `ct mark & BIT == BIT`: set by [`Action::Remember`]
    Remembered(u32),
    /// `ct state invalid`
    Invalid,
    /// `ct status assured`: traffic was seen both ways (TCP: the handshake is over)
    Assured,
    /// `ct status ! confirmed`: the first packet of a connection has not left yet
    Unconfirmed,
    /// `ct status dnat`: its destination was translated when it was opened
    Redirected,
    /// `tcp sport` …: first and last port
    Port(Transport, Side, u16, u16),
    /// `icmp type`
    Icmp(u8),
    /// `icmpv6 type`; more than one is an anonymous set. Ascending
    Icmp6(Vec<u8>),
    /// `tcp flags syn / syn,rst`: SYN or SYN-ACK
    TcpOpening,
    /// `tcp flags ! syn`
    TcpOngoing,
    /// `socket wildcard 0`: a socket of ours that is bound to one address, hence not one that listens on all
    SocketBound,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    Ipv4,
    Ipv6,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Transport {
    Tcp,
    Udp,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    Source,
    Destination,
}

/// What is done with a packet that matches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    Accept,
    Drop,
    /// the chain of this name, and no way back
    Goto(&'static str),
    Masquerade,
    /// `ct mark set ct mark | BIT`, for all packets of the connection; then the next rule
    Remember(u32),
    /// `meta mark set meta mark | BIT`, for this packet; then the next rule
    Mark(u32),
    /// `reject with tcp reset`
    Reset,
    /// `reject with icmpx host-unreachable`
    Unreachable,
    /// `dnat ip to ADDRESS:PORT`
    Redirect(Ipv4Addr, u16),
    /// `tcp option maxseg size set rt mtu`: the smaller MTU of both directions' routes; then the next rule
    ClampMss,
    /// `flow add`: offer the connection to the flow table; then the next rule
    Offload(&'static str),
}

impl Ruleset {
    /// How many rules there are.
    pub fn len(&self) -> usize {
        self.chains.iter().map(|chain| chain.rules.len()).sum()
    }

    /// True if there is no rule at all.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The same without its flow table and the rules that fill it: for kernels that cannot.
    pub fn without_flow_table(&self) -> Self {
        let mut plain = self.clone();
        plain.flow_table = None;
        for chain in &mut plain.chains {
            chain.rules.retain(|rule| !matches!(rule.action, Action::Offload(_)));
        }
        plain
    }
}
