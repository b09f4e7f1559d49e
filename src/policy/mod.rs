//! What should be true: `decide(&Settings, &State) -> Desired`, a pure function.

pub mod alert;
pub mod ruleset;

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;

use crate::event::{LinkIndex, Route, Rule};
use alert::{Alert, Severity};
use ruleset::Ruleset;

/// Everything that should be true, complete each time; an equal value is no work.
///
/// Holds no relative times and no list of nodes.
#[derive(Debug, Clone, PartialEq)]
pub struct Desired {
    /// `None` when `gateway.enabled = false`: nothing in the network is changed
    pub gateway: Option<GatewayPlan>,
    pub severity: Severity,
    /// most severe first, then by code and text
    pub alerts: Vec<Alert>,
    pub overlap: Overlap,
}

/// What the kernel's network stack should hold of ours.
#[derive(Debug, Clone, PartialEq)]
pub struct GatewayPlan {
    pub links: LinkPlan,
    pub routing: RoutingPlan,
    pub firewall: FirewallPlan,
    pub conntrack: ConntrackPlan,
}

/// Interface settings and addresses.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LinkPlan {
    pub ports: Vec<PortPlan>,
    /// counts up when somebody else undid our work, so that the applier looks again
    pub revision: u64,
}

/// One interface of ours. The applier reads, compares, then writes; settings come before addresses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PortPlan {
    pub index: LinkIndex,
    pub name: String,
    /// switch it on (never off)
    pub up: bool,
    /// to be there, in this order; addresses of others are never touched
    pub addresses: Vec<Ipv4Net>,
    /// ours, to be taken away if still there
    pub release: Vec<Ipv4Net>,
    pub conf: InterfaceConf,
}

/// Per-interface IPv4 settings (`/proc/sys/net/ipv4/conf/IF/*`), written by `RTM_SETLINK` with
/// `IFLA_AF_SPEC` / `AF_INET` / `IFLA_INET_CONF`. `None` leaves a value as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct InterfaceConf {
    pub forwarding: Option<bool>,
    pub arp_ignore: Option<u8>,
    pub arp_announce: Option<u8>,
    pub rp_filter: Option<u8>,
    pub accept_local: Option<bool>,
}

/// Routes and rules in tables of our own. Only entries with [`ROUTE_PROTOCOL`] are ever deleted.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RoutingPlan {
    pub rules: BTreeSet<Rule>,
    pub routes: BTreeSet<Route>,
    pub revision: u64,
}

/// The firewall.
#[derive(Debug, Clone, PartialEq)]
pub struct FirewallPlan {
    pub ruleset: Ruleset,
    /// `gateway.protect`: ask the kernel for the flags owner and persist
    pub protect: bool,
    pub revision: u64,
}

/// Connection tracking entries to delete: those whose translated source is one of `sources`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ConntrackPlan {
    pub sources: Vec<Ipv4Addr>,
    /// counts up for each new order
    pub revision: u64,
}

pub use crate::state::ROUTE_PROTOCOL;
/// Table of the cluster's connected route.
pub const TABLE_CLUSTER: u32 = 50_980;
/// Table of an uplink: this + its interface index.
pub const TABLE_UPLINK: u32 = 51_000;
/// First rule preference of ours; the last is 5199 (Tailscale begins at 5210).
pub const RULE_PREFERENCE: u32 = 5100;

/// How the venue's addresses and ours get along.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Overlap {
    None,
    /// the venue uses our subnet: policy routing keeps both working
    Routed,
    /// the venue leased us an address of the cluster: the cluster has moved
    Renumbered,
}
