//! The rule set as a typed value; its `Display` is nft syntax (see `text.rs`).
//!
//! Pure: [`build`] turns what is known into a [`Ruleset`], the firewall reconciler encodes that same
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
/// The table's comment: the mark by which a later run knows a table as ours.
pub const TABLE_COMMENT: &str =
    "bramblegate: gateway of the cluster; made by bramblegate(8), do not edit";
/// The chain that hides the cluster's addresses behind the uplink's.
pub const HIDING: &str = "hide_cluster";
/// What every rule's comment begins with.
const COMMENT_PREFIX: &str = "bramblegate: ";
/// Comment of the rule that counts the first packet of each connection from the cluster to an
/// uplink.
pub const COMMENT_FORWARDED: &str = "bramblegate: new connections from the cluster to the uplink";
/// What leaves by an uplink from a source that is none of the cluster's is dropped by the rule with
/// this comment.
pub const COMMENT_NOT_OURS: &str = "bramblegate: not from an address of the cluster";
/// What comes to the nodes with a source that is the cluster's own is dropped by the rules with
/// this comment.
pub const COMMENT_SPOOFED: &str = "bramblegate: an address of the cluster, at the uplink";
/// A node's consent to a connection whose opening did not pass here is dropped by the rule with
/// this comment.
pub const COMMENT_STRAY: &str = "bramblegate: a node's answer to what did not pass here";
/// What an uplink leads to other networks of the head is dropped by the rule with this comment.
pub const COMMENT_ELSEWHERE: &str =
    "bramblegate: the venue does not reach other networks through the head";
/// The drops that a user should hear of: (comment of the rules, set of the latest sources). All
/// others do what they are for at every venue.
pub const NOTED_DROPS: [(&str, &str); 5] = [
    (COMMENT_NOT_OURS, "dropped_strangers"),
    (COMMENT_SPOOFED, "dropped_spoofed"),
    (COMMENT_STRAY, "dropped_strays"),
    (COMMENT_ELSEWHERE, "dropped_elsewhere"),
    (COMMENT_ROUTER, "dropped_routers"),
];
/// A set of sources holds no more than this many …
pub const SAMPLE_SIZE: u32 = 16;
/// … each for this long, in seconds, after its latest packet.
pub const SAMPLE_SECONDS: u64 = 180;
/// Comment of the masquerading rules; each new connection is seen there once.
pub const COMMENT_MASQUERADE: &str =
    "bramblegate: the cluster's addresses are hidden behind the uplink's";

/// What the rule set depends on. No address of an uplink is here: a change of lease changes no
/// rule.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RulesetInput {
    /// the cluster port's name; `None` while there is no such port
    pub cluster_port: Option<String>,
    /// the network of the cluster's address, and an old one that is still in use
    pub cluster_networks: Vec<IpNet>,
    /// the nodes' IPv6 network; `None`: they get no IPv6, and none is forwarded for them
    pub ipv6: Option<ClusterIpv6>,
    /// the nodes' network of a prefix that the venue delegated, and the uplink that leads there: by
    /// that one its addresses are not translated
    pub delegated: Option<(Ipv6Net, String)>,
    /// the head's own addresses in them
    pub cluster_addresses: Vec<IpAddr>,
    /// names of the uplinks, in order of preference
    pub uplinks: Vec<String>,
    /// those of them whose packets were not forwarded before us: they are for the cluster's sake
    /// only
    pub forwarded_for_us: Vec<String>,
    /// IPv4 is translated on the head, and before that the kernel forwarded no IPv6. Where it takes
    /// no BPF the translator has the kernel forward, and what the venue sends is for it alone
    pub translated: bool,
    /// uplinks on which another program's translator ended and left its address and way out: IPv4
    /// that leaves by them is not translated any more
    pub left_over: Vec<String>,
    /// names of ports that `gateway.trust` means, there or not
    pub trusted: Vec<String>,
    /// names of bridges of the head's own
    pub bridges: Vec<String>,
    /// names of ports that have no role; they are closed whether they stand here or not
    pub unknown: Vec<String>,
    /// `uplink.allow`
    pub allow: Vec<Allow>,
    /// TCP ports of sshd, beside 22, for [`Allow::Ssh`]
    pub ssh_ports: Vec<u16>,
    /// TCP port of the status page, for [`Allow::Web`]; `None`: there is none
    pub web_port: Option<u16>,
    /// the venue uses the cluster's subnet too: its sources are then legitimate on an uplink
    pub overlap_routed: bool,
    /// ports of the head, at the uplinks, that lead to nodes
    pub forwards: Vec<ForwardedPort>,
    /// those of `forwards` whose node is down
    pub dead: Vec<ForwardedPort>,
    /// uplinks whose forwarded connections are marked, so that the nodes' answers leave by them,
    /// with their marks
    pub entrances: Vec<(String, u32)>,
    /// ports whose established connections may take the fast path; all must exist. Empty: no flow
    /// table
    pub flow_table_devices: Vec<String>,
}

/// What the rules need to know of the nodes' IPv6.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClusterIpv6 {
    pub network: Ipv6Net,
    /// before us the kernel forwarded no IPv6: whatever is neither from nor to the nodes passes as
    /// little as it did
    pub for_us_alone: bool,
}

/// A port of the head that leads to a node. A node that gets another address is another value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ForwardedPort {
    pub transport: Transport,
    pub listen: u16,
    /// in a network of the cluster, and not the head's own
    pub to: IpAddr,
    pub port: u16,
}

/// The table `inet bramblegate`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Ruleset {
    pub flow_table: Option<FlowTable>,
    /// named sets and maps, also those that keep the latest sources of what was dropped
    pub sets: Vec<Set>,
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
    /// `None`: reached only by `goto` and `jump`
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
    /// `meta iifkind`: `IFLA_INFO_KIND` of the port (kernel ≥ 5.0); hardware has none
    InputKind(&'static str),
    /// `iifname` with an asterisk: the port's name begins so
    InputBegins(&'static str),
    /// `meta nfproto`
    Family(Family),
    /// `ip saddr` or `ip6 saddr`
    Source(IpNet),
    /// `ip daddr` or `ip6 daddr`
    Destination(IpAddr),
    /// `ip daddr` or `ip6 daddr` of a network
    Towards(IpNet),
    /// `KEY @set`: it is in the set
    In(Lookup),
    /// `KEY != @set`: it is not
    NotIn(Lookup),
    /// `fib daddr type local`: to an address of this machine
    ToThisMachine,
    /// `fib saddr type local`: from an address of this machine
    FromThisMachine,
    /// `ip daddr 127.0.0.0/8`
    Loopback,
    /// `ip protocol`
    Protocol4(u8),
    /// `ct state established,related`
    Established,
    /// `ct mark & BIT == BIT`: set by [`Action::Remember`]
    Remembered(u32),
    /// `ct mark & MARK_ENTRANCE == MARK`: opened by the uplink with this mark
    Entered(u32),
    /// `ct state invalid`
    Invalid,
    /// `ct direction original`: sent by who opened the connection
    Opener,
    /// `ct direction reply`: sent to who opened the connection
    Answer,
    /// `ct status assured`: traffic was seen both ways (TCP: the handshake is over)
    Assured,
    /// `ct status ! confirmed`: the first packet of a connection has not left yet
    Unconfirmed,
    /// `ct status dnat`: its destination was translated when it was opened
    Redirected,
    /// `meta l4proto`
    Protocol(Transport),
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
    /// `tcp flags syn,ack / syn,ack`: consent to a connection
    TcpAnswer,
    /// `tcp flags rst / rst,ack`: the answer to a segment that belongs to no connection of ours
    /// (RFC 9293, 3.10.7)
    TcpRefusal,
    /// `socket wildcard 0`: a socket of ours that is bound to one address, hence not one that
    /// listens on all
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
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    Accept,
    Drop,
    /// the chain of this name, and no way back
    Goto(&'static str),
    /// the chain of this name; what it does not decide comes back to the next rule
    Jump(&'static str),
    /// `update @set { ip saddr }` or `{ ip6 saddr }`: keep the source for a while; then the next
    /// rule
    Sample(Family, &'static str),
    Masquerade,
    /// `ct mark set ct mark | BIT`, for all packets of the connection; then the next rule
    Remember(u32),
    /// `meta mark set meta mark | BIT`, for this packet; then the next rule
    Mark(u32),
    /// `reject with tcp reset`
    Reset,
    /// `reject with icmpx admin-prohibited`: a connected socket hears of it at once
    /// (`EHOSTUNREACH`), of host-unreachable it does not
    Unreachable,
    /// `dnat ip to ADDRESS:PORT` or `dnat ip6 to [ADDRESS]:PORT`
    Redirect(IpAddr, u16),
    /// `dnat ip to KEY map @map`: to the address, or the address and port, that the map leads
    /// to; then the next rule if none
    RedirectBy(Family, Lookup),
    /// `KEY vmap @map`: the map's verdict; then the next rule if there is none
    Decide(Lookup),
    /// `tcp option maxseg size set rt mtu`: the smaller MTU of both directions' routes; then the
    /// next rule
    ClampMss,
    /// `flow add`: offer the connection to the flow table; then the next rule
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
    /// Returns how many rules there are.
    pub fn len(&self) -> usize {
        self.chains.iter().map(|chain| chain.rules.len()).sum()
    }

    /// Returns whether there is no rule at all.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the rules of one chain.
    fn rules_of(&self, chain: &'static str) -> impl Iterator<Item = &Rule> + '_ {
        self.chains.iter().filter(move |known| known.name == chain).flat_map(|chain| &chain.rules)
    }

    /// Returns the same without its flow table and the rules that fill it: for kernels that cannot.
    pub fn without_flow_table(&self) -> Self {
        let mut plain = self.clone();
        plain.flow_table = None;
        for chain in &mut plain.chains {
            chain.rules.retain(|rule| !matches!(rule.action, Action::Offload(_)));
        }
        plain
    }

    /// Returns whether a rule of it rejects (module `nft_reject_inet`).
    pub fn rejects(&self) -> bool {
        self.chains.iter().flat_map(|chain| &chain.rules).any(Rule::rejects)
    }

    /// Returns the same for a kernel that cannot reject: who would be answered waits in vain.
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
    /// Returns whether it rejects.
    pub fn rejects(&self) -> bool {
        matches!(self.action, Action::Reset | Action::Unreachable)
    }
}

/// Returns a rule; its comment says whose it is, and what for.
fn rule(matches: impl Into<Vec<Match>>, action: Action, purpose: &str) -> Rule {
    let comment = if purpose.starts_with(COMMENT_PREFIX) {
        purpose.to_owned()
    } else {
        format!("{COMMENT_PREFIX}{purpose}")
    };
    Rule { matches: matches.into(), action, comment }
}

/// Returns a chain that is reached by `goto` and `jump` only.
fn chain(name: &'static str, rules: Vec<Rule>) -> Chain {
    Chain { name, base: None, rules }
}

/// Returns a chain that is hooked in.
fn base(name: &'static str, kind: ChainKind, hook: Hook, priority: i32, rules: Vec<Rule>) -> Chain {
    Chain { base: Some(Base { kind, hook, priority }), ..chain(name, rules) }
}
