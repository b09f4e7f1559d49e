//! The rule set as a typed value; its `Display` is nft syntax (see `text.rs`).
//!
//! Pure: [`build`] derives a [`Ruleset`] from its input, and the firewall reconciler encodes that
//! value for the kernel.

mod forwarded;
mod marks;
mod rules;
mod sets;
#[cfg(test)]
mod tests;
mod text;
pub mod traffic;
pub mod watched;

use std::net::IpAddr;

use ipnet::{IpNet, Ipv6Net};

use crate::config::Allow;
pub use crate::event::COMMENT_ROUTER;

pub use rules::build;
pub use sets::{
    Data, DataKind, Elements, Field, Item, Key, Kind, Lookup, Name, Set, SetUpdate, Verdict,
};
pub use text::KernelForm;

/// Name of our table, in the family `inet`.
pub const TABLE: &str = "bramblegate";
/// The table's comment, by which a later run recognises our table.
pub const TABLE_COMMENT: &str =
    "bramblegate: gateway of the cluster; made by bramblegate(8), do not edit";
/// The chain that masquerades the cluster's addresses.
pub const HIDING: &str = "hide_cluster";
/// Prefix of every rule's comment.
const COMMENT_PREFIX: &str = "bramblegate: ";
/// Comment of the rule that counts the first packet of each connection from the cluster to an
/// uplink.
pub const COMMENT_FORWARDED: &str = "bramblegate: new connections from the cluster to the uplink";
/// Comment of the rule that drops packets to an uplink with a source outside the cluster.
pub const COMMENT_NOT_OURS: &str = "bramblegate: not from an address of the cluster";
/// Comment of the rules that drop packets from an uplink to the nodes with a source in the cluster.
pub const COMMENT_SPOOFED: &str = "bramblegate: an address of the cluster, at the uplink";
/// Comment of the rule that drops a node's SYN-ACK whose SYN did not pass the head.
pub const COMMENT_STRAY: &str = "bramblegate: a node's answer to what did not pass here";
/// Comment of the rule that drops packets from an uplink to other networks of the head.
pub const COMMENT_ELSEWHERE: &str =
    "bramblegate: the venue does not reach other networks through the head";
/// Drops to report to the user: (comment of the rules, set of the latest sources). All other drops
/// are normal at any venue.
pub const NOTED_DROPS: [(&str, &str); 5] = [
    (COMMENT_NOT_OURS, "dropped_strangers"),
    (COMMENT_SPOOFED, "dropped_spoofed"),
    (COMMENT_STRAY, "dropped_strays"),
    (COMMENT_ELSEWHERE, "dropped_elsewhere"),
    (COMMENT_ROUTER, "dropped_routers"),
];
/// Maximum number of sources in such a set.
pub const SAMPLE_SIZE: u32 = 16;
/// How long a source stays in such a set after its latest packet, in seconds.
pub const SAMPLE_SECONDS: u64 = 180;
/// Comment of the masquerading rules, which see each new connection once.
pub const COMMENT_MASQUERADE: &str =
    "bramblegate: the cluster's addresses are hidden behind the uplink's";

/// The input of the rule set. Holds no uplink address: a new lease changes no rule.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RulesetInput {
    /// The cluster port's name; `None` while there is no such port.
    pub cluster_port: Option<String>,
    /// The network of the cluster's address, and retired ones that are still in use.
    pub cluster_networks: Vec<IpNet>,
    /// The nodes' IPv6 network; `None`: nodes get no IPv6, and none is forwarded for them.
    pub ipv6: Option<ClusterIpv6>,
    /// The nodes' network of a prefix that the venue delegated, and the delegating uplink, which
    /// does not translate its addresses.
    pub delegated: Option<(Ipv6Net, String)>,
    /// Uplinks that have no IPv6 address yet to hide the nodes' behind.
    pub without_ipv6: Vec<String>,
    /// Prefixes that a venue delegated before.
    pub previous_delegations: Vec<Ipv6Net>,
    /// The head's own addresses in them.
    pub cluster_addresses: Vec<IpAddr>,
    /// Names of the uplinks, in order of preference.
    pub uplinks: Vec<String>,
    /// Uplinks on which forwarding was off before: they forward for the cluster only.
    pub forwarded_for_us: Vec<String>,
    /// Whether the head translates IPv4, and IPv6 forwarding was off before. Without BPF the
    /// translator uses the kernel's forwarding; IPv6 from the venue is then for the translator
    /// only.
    pub translated: bool,
    /// Uplinks on which another program's translator ended and left its address and default route:
    /// IPv4 through them is no longer translated.
    pub left_over: Vec<String>,
    /// Names of ports in `gateway.trust`, existing or not.
    pub trusted: Vec<String>,
    /// Names of the head's own bridges.
    pub bridges: Vec<String>,
    /// Names of ports without a role; such ports are closed also when they are not listed.
    pub unknown: Vec<String>,
    /// `uplink.allow`
    pub allow: Vec<Allow>,
    /// TCP ports of sshd, in addition to 22, for [`Allow::Ssh`].
    pub ssh_ports: Vec<u16>,
    /// TCP port of the status page, for [`Allow::Web`]; `None`: there is none.
    pub web_port: Option<u16>,
    /// Whether the venue uses the cluster's subnet too, so that its sources are legitimate on an
    /// uplink.
    pub overlap_routed: bool,
    /// Forwarded ports, at the uplinks.
    pub forwards: Vec<ForwardedPort>,
    /// Those of `forwards` whose node is down.
    pub dead: Vec<ForwardedPort>,
    /// Uplinks whose forwarded connections are marked, so that replies leave by them, with their
    /// marks.
    pub entrances: Vec<(String, u32)>,
    /// Ports for the flow table's fast path; all must exist. Empty: no flow table.
    pub flow_table_devices: Vec<String>,
}

/// The nodes' IPv6, as far as the rules depend on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClusterIpv6 {
    pub network: Ipv6Net,
    /// IPv6 forwarding was off before: it stays closed except from and to the nodes.
    pub for_us_alone: bool,
}

/// A port of the head that is forwarded to a node's address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ForwardedPort {
    pub transport: Transport,
    pub listen: u16,
    /// An address in the cluster, other than the head's.
    pub to: IpAddr,
    pub port: u16,
}

/// The table `inet bramblegate`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Ruleset {
    pub flow_table: Option<FlowTable>,
    /// Named sets and maps, including those for the sources of dropped packets.
    pub sets: Vec<Set>,
    /// Base chains come before the chains they go to.
    pub chains: Vec<Chain>,
}

/// A software flow table at the ingress hook (kernel ≥ 4.16, `CONFIG_NF_FLOW_TABLE`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FlowTable {
    pub name: &'static str,
    /// Sorted, without duplicates.
    pub devices: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chain {
    pub name: &'static str,
    /// `None`: reached by `goto` and `jump` only.
    pub base: Option<Base>,
    pub rules: Vec<Rule>,
}

/// Where a base chain is hooked in. Its policy is always accept: other traffic is not ours to
/// judge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Base {
    pub kind: ChainKind,
    pub hook: Hook,
    /// Smaller runs first.
    pub priority: i32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChainKind {
    Filter,
    /// Reroutes the head's own packets when their mark changed.
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

/// A rule; each has a counter and a comment that names its owner and purpose.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// All must hold.
    pub matches: Vec<Match>,
    pub action: Action,
    /// At most 120 bytes (the kernel's userdata attribute, and nft's limit of 128).
    pub comment: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Match {
    /// `iifname`
    Input(String),
    /// `oifname`
    Output(String),
    /// `meta iifkind`: `IFLA_INFO_KIND` of the port (kernel ≥ 5.0); physical ports have none.
    InputKind(&'static str),
    /// `iifname` with an asterisk: the prefix of the port's name.
    InputBegins(&'static str),
    /// `meta nfproto`
    Family(Family),
    /// `ip saddr` or `ip6 saddr`
    Source(IpNet),
    /// `ip daddr` or `ip6 daddr`
    Destination(IpAddr),
    /// `ip daddr` or `ip6 daddr` of a network.
    Towards(IpNet),
    /// `KEY @set`: the set contains it.
    In(Lookup),
    /// `KEY != @set`: the set does not contain it.
    NotIn(Lookup),
    /// `fib daddr type local`: to an address of this machine.
    ToThisMachine,
    /// `fib saddr type local`: from an address of this machine.
    FromThisMachine,
    /// `ip daddr 127.0.0.0/8`
    Loopback,
    /// `ip protocol`
    Protocol4(u8),
    /// `ct state established,related`
    Established,
    /// `ct mark & BIT == BIT`: set by [`Action::Remember`].
    Remembered(u32),
    /// `ct mark & MARK_ENTRANCE == MARK`: opened through the uplink with this mark.
    Entered(u32),
    /// `ct state invalid`
    Invalid,
    /// `ct direction original`: from the opener of the connection.
    Opener,
    /// `ct direction reply`: to the opener of the connection.
    Answer,
    /// `ct status assured`: traffic was seen both ways (TCP: the handshake is over).
    Assured,
    /// `ct status ! confirmed`: the first packet of a connection, still inside the head.
    Unconfirmed,
    /// `ct status dnat`: the connection's destination was translated.
    Redirected,
    /// `meta l4proto`
    Protocol(Transport),
    /// `tcp sport` …: first and last port.
    Port(Transport, Side, u16, u16),
    /// `icmp type`
    Icmp(u8),
    /// `icmpv6 type`, ascending; more than one is an anonymous set.
    Icmp6(Vec<u8>),
    /// `tcp flags syn / syn,rst`: SYN or SYN-ACK.
    TcpOpening,
    /// `tcp flags ! syn`
    TcpOngoing,
    /// `tcp flags syn,ack / syn,ack`: SYN-ACK.
    TcpAnswer,
    /// `tcp flags rst / rst,ack`: the reset for a segment that belongs to no connection (RFC 9293,
    /// 3.10.7).
    TcpRefusal,
    /// `socket wildcard 0`: a local socket bound to one address, so not one that listens on all.
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

/// The action for a packet that matches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    Accept,
    Drop,
    /// Continue in this chain, without returning.
    Goto(&'static str),
    /// Call this chain; an undecided packet returns to the next rule.
    Jump(&'static str),
    /// `update @set { ip saddr }` or `{ ip6 saddr }`: store the source for a while; continues.
    Sample(Family, &'static str),
    Masquerade,
    /// `ct mark set ct mark | BIT`, for all packets of the connection; continues.
    Remember(u32),
    /// `meta mark set meta mark | BIT`, for this packet; continues.
    Mark(u32),
    /// `reject with tcp reset`
    Reset,
    /// `reject with icmpx admin-prohibited`: fails a connected socket at once (`EHOSTUNREACH`),
    /// which host-unreachable does not.
    Unreachable,
    /// `dnat ip to ADDRESS:PORT` or `dnat ip6 to [ADDRESS]:PORT`
    Redirect(IpAddr, u16),
    /// `dnat ip to KEY map @map`: to the address, or address and port, found in the map; continues
    /// if there is none.
    RedirectBy(Family, Lookup),
    /// `KEY vmap @map`: the map's verdict; continues if there is none.
    Decide(Lookup),
    /// `tcp option maxseg size set rt mtu`: the smaller MTU of both directions' routes; continues.
    ClampMss,
    /// `flow add`: offer the connection to the flow table; continues.
    Offload(&'static str),
}

impl Family {
    /// Returns the family of an address.
    pub const fn of(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(_) => Self::Ipv4,
            IpAddr::V6(_) => Self::Ipv6,
        }
    }
}

impl Ruleset {
    /// Returns the number of rules.
    pub fn len(&self) -> usize {
        self.chains.iter().map(|chain| chain.rules.len()).sum()
    }

    /// Returns whether there are no rules.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the rules of one chain.
    fn rules_of(&self, chain: &'static str) -> impl Iterator<Item = &Rule> + '_ {
        self.chains.iter().filter(move |known| known.name == chain).flat_map(|chain| &chain.rules)
    }

    /// Returns a copy without the flow table and the rules that fill it, for kernels without
    /// support.
    pub fn without_flow_table(&self) -> Self {
        let mut plain = self.clone();
        plain.flow_table = None;
        for chain in &mut plain.chains {
            chain.rules.retain(|rule| !matches!(rule.action, Action::Offload(_)));
        }
        plain
    }

    /// Returns whether any rule rejects (module `nft_reject_inet`).
    pub fn rejects(&self) -> bool {
        self.chains.iter().flat_map(|chain| &chain.rules).any(Rule::rejects)
    }

    /// Returns a copy for kernels without reject support: the rules drop instead.
    #[must_use]
    pub fn without_rejects(&self) -> Self {
        let mut plain = self.clone();
        for rule in
            plain.chains.iter_mut().flat_map(|chain| &mut chain.rules).filter(|rule| rule.rejects())
        {
            rule.action = Action::Drop;
        }
        plain
    }
}

impl Rule {
    /// Returns whether the rule rejects.
    pub fn rejects(&self) -> bool {
        matches!(self.action, Action::Reset | Action::Unreachable)
    }
}

/// Returns a rule whose comment states its owner and `purpose`.
fn rule(matches: impl Into<Vec<Match>>, action: Action, purpose: &str) -> Rule {
    let comment = if purpose.starts_with(COMMENT_PREFIX) {
        purpose.to_owned()
    } else {
        format!("{COMMENT_PREFIX}{purpose}")
    };
    Rule { matches: matches.into(), action, comment }
}

/// Returns a chain without a hook, reached by `goto` and `jump` only.
fn chain(name: &'static str, rules: Vec<Rule>) -> Chain {
    Chain { name, base: None, rules }
}

/// Returns a base chain.
fn base(name: &'static str, kind: ChainKind, hook: Hook, priority: i32, rules: Vec<Rule>) -> Chain {
    Chain { base: Some(Base { kind, hook, priority }), ..chain(name, rules) }
}
