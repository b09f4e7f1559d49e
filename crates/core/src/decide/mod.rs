//! The desired state: `decide(&Settings, &Facts) -> Desired`, a pure function.

pub mod alert;
pub mod clat;
pub mod cluster;
pub mod dhcp;
pub mod firewall;
pub mod forward;
pub mod host;
pub mod link;
pub mod probe;
pub mod routing;
pub mod share;
pub mod uplink;
pub mod venue;

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::{IpNet, Ipv6Net};

pub use crate::api::status::Overlap;
use crate::config::{PortPattern, Settings};
use crate::decide::alert::raise;
use crate::decide::routing::entrance;
use crate::event::{FirewallWatch, Route, Rule};
use crate::facts::Facts;
use crate::facts::link::port::is_glob;
use alert::{Alert, Severity};
use clat::ClatPlan;
use cluster::Placement;
use dhcp::{Pref64Plan, ServicePlan, WithdrawalPlan};
use firewall::{ClusterIpv6, Ruleset, RulesetInput};
use venue::Venue;

/// The complete desired state; an equal value means no work.
///
/// Holds no relative times and no list of nodes.
#[derive(Debug, Clone, PartialEq)]
pub struct Desired {
    /// `None` when `gateway.enabled = false`: the network is left as it is. Shared, because most
    /// decisions do not change it.
    pub gateway: Option<Arc<GatewayPlan>>,
    /// `None`: neither DHCP nor DNS is served to the nodes.
    pub service: Option<ServicePlan>,
    pub severity: Severity,
    /// Most severe first, then by code and text.
    pub alerts: Vec<Alert>,
    pub overlap: Overlap,
    /// What kind of network is behind each uplink.
    pub venues: Vec<Venue>,
    /// The head's current address in the cluster.
    pub cluster_address: IpNet,
    /// Its IPv6 address there.
    pub cluster_ipv6: Option<Ipv6Net>,
    /// Its address there in a network that the venue delegated.
    pub cluster_delegated: Option<Ipv6Net>,
}

/// What we want in the kernel's network stack.
#[derive(Debug, Clone, PartialEq)]
pub struct GatewayPlan {
    pub links: LinkPlan,
    pub routing: RoutingPlan,
    pub firewall: FirewallPlan,
    pub conntrack: ConntrackPlan,
    /// The desired state of the IPv4-to-IPv6 translator.
    pub clat: ClatPlan,
    /// What router advertisements announce to the nodes of the venue's NAT64.
    pub pref64: Option<Pref64Plan>,
    /// The IPv6 networks that are withdrawn from the nodes.
    pub withdrawal: Option<WithdrawalPlan>,
}

/// Routes and rules in our own tables. Only entries with [`ROUTE_PROTOCOL`] are ever deleted.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RoutingPlan {
    pub rules: BTreeSet<Rule>,
    pub routes: BTreeSet<Route>,
}

/// The rule set, and whether it is protected.
#[derive(Debug, Clone, PartialEq)]
pub struct FirewallPlan {
    pub ruleset: Ruleset,
    /// `gateway.protect`: request the table flags owner and persist.
    pub protect: bool,
}

/// Connection tracking entries to delete: those whose translated source is one of `sources`. Each
/// request wakes the reconciler.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ConntrackPlan {
    pub sources: Vec<IpAddr>,
}

pub use link::{InterfaceConf, Ipv6Role, LinkPlan, PortPlan};

pub use crate::facts::ROUTE_PROTOCOL;
/// Table of the cluster's connected route.
pub const TABLE_CLUSTER: u32 = 50_980;
/// An uplink's table is this plus its interface index.
pub const TABLE_UPLINK: u32 = 51_000;
/// Our first rule preference; the last is 5199 (Tailscale begins at 5210).
pub const RULE_PREFERENCE: u32 = 5100;

/// Bit of packet and connection marks: the connection to the head came in by the cluster port. It
/// shares no bit with the marks of Tailscale (`0xff0000`), Kubernetes (`0xc000`), mwan3 (`0x3f00`),
/// Mullvad and wg-quick.
pub const MARK_CLUSTER: u32 = 0x1000_0000;
/// Likewise: the connection came in by a port that is neither the cluster's nor an uplink, such as
/// a tunnel.
pub use crate::event::MARK_ELSEWHERE;

/// Returns the desired state for the settings and the facts.
pub fn decide(settings: &Settings, facts: &Facts) -> Desired {
    Decider::default().decide(settings, facts)
}

/// Decides repeatedly about the same facts as they change. Probe results of nodes change most
/// often, and affect only their own alerts and forwarded ports; the rest is cached until something
/// else changes. A property test compares the result with [`decide`].
#[derive(Debug, Default)]
pub struct Decider(Option<(CacheKey, Cached)>);

/// The cache key of [`Cached`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct CacheKey {
    /// [`Facts::generation`].
    facts: u64,
    /// [`crate::facts::node::Nodes::topology_version`].
    topology_version: u64,
    /// [`crate::facts::node::Nodes::silences`], if ports are forwarded: connections to a node that
    /// is down are refused.
    silences: Option<u64>,
}

impl CacheKey {
    fn of(settings: &Settings, facts: &Facts) -> Self {
        let forwards = !settings.forwards.is_empty();
        Self {
            facts: facts.generation(),
            topology_version: facts.nodes().topology_version,
            silences: forwards.then(|| facts.nodes().silences()),
        }
    }
}

/// The part of the decision that depends on no probe of a node, except for forwarded ports.
#[derive(Debug)]
struct Cached {
    /// Without alerts.
    desired: Desired,
    /// Without those of the nodes.
    alerts: Vec<Alert>,
}

impl Cached {
    fn new(settings: &Settings, facts: &Facts) -> Self {
        let placement = cluster::place(settings, facts);
        let gateway = || Arc::new(gateway(settings, facts, &placement));
        let desired = Desired {
            gateway: settings.gateway.enabled.then(gateway),
            service: dhcp::decide(settings, facts, &placement),
            severity: Severity::Ok,
            alerts: Vec::new(),
            overlap: placement.overlap,
            venues: venue::venues(settings, facts),
            cluster_address: placement.address,
            cluster_ipv6: placement.ipv6,
            cluster_delegated: placement.delegated.map(|(address, _)| address),
        };
        Self { desired, alerts: raise::cacheable(settings, facts, &placement) }
    }

    /// Returns the complete decision.
    fn desired(&self, settings: &Settings, facts: &Facts) -> Desired {
        let alerts = raise::all(settings, facts, &self.alerts);
        let severity = alerts.first().map_or(Severity::Ok, |alert| alert.severity);
        Desired { severity, alerts, ..self.desired.clone() }
    }
}

impl Decider {
    /// Decides as [`decide`] does. `settings` must be those of the facts.
    pub fn decide(&mut self, settings: &Settings, facts: &Facts) -> Desired {
        let key = CacheKey::of(settings, facts);
        let valid = self.0.take().filter(|(known, _)| *known == key);
        let (_, cached) =
            self.0.insert(valid.unwrap_or_else(|| (key, Cached::new(settings, facts))));
        cached.desired(settings, facts)
    }
}

/// Returns the desired state of the kernel's network stack.
fn gateway(settings: &Settings, facts: &Facts, placement: &Placement) -> GatewayPlan {
    GatewayPlan {
        links: link::plan(facts, placement),
        routing: routing::plan(facts, placement),
        firewall: FirewallPlan {
            ruleset: firewall::build(&ruleset_input(settings, facts, placement)),
            protect: settings.gateway.protect,
        },
        conntrack: ConntrackPlan { sources: facts.routing().stale_sources().to_vec() },
        clat: clat::plan(settings, facts),
        pref64: dhcp::pref64(settings, facts, placement),
        withdrawal: dhcp::withdrawal(settings, facts, placement),
    }
}

/// Returns what the firewall watch has to recognise; `own_port` is the reconciler's netlink port.
pub fn firewall_watch(settings: &Settings, facts: &Facts, own_port: u32) -> FirewallWatch {
    let placement = cluster::place(settings, facts);
    let forwards = forward::ways(settings, facts, &placement);
    firewall::watched::watch(settings, facts, &placement, &forwards, own_port)
}

/// Collects the input of the rule set.
fn ruleset_input(settings: &Settings, facts: &Facts, placement: &Placement) -> RulesetInput {
    let uplinks: Vec<String> =
        facts.uplinks().into_iter().map(|uplink| uplink.link.name.clone()).collect();
    // Only a translator that was seen to end counts. The probe checks whether a silent one works
    // again.
    let ended = facts.uplinks().into_iter().filter(|uplink| uplink.has_translator_ended);
    let left_over: Vec<String> = ended.map(|uplink| uplink.link.name.clone()).collect();
    let port = facts.cluster_port().map(|link| link.name.clone());
    // Rules cover a port that the settings name before it exists. The translator's device is
    // covered likewise: a connection whose first packet is not masqueraded stays so until it ends.
    let translators =
        clat::translates(settings, facts).then(|| crate::api::clat::DEVICE.to_owned());
    let expected: Vec<String> = full_names(&settings.uplink.interfaces)
        .cloned()
        .chain(translators)
        .filter(|name| !uplinks.contains(name) && port.as_ref() != Some(name))
        .collect();
    let forwards = forward::ways(settings, facts, placement);
    let marks = entrance::marks(facts);
    let name = |index| facts.kernel().link(index).map(|link| link.name.clone());
    let addresses = std::iter::once(&placement.address).chain(&placement.retained);
    let for_us =
        facts.uplinks().into_iter().filter(|uplink| facts.links().is_forwarded_for_us(uplink.link));
    let forwarded_for_us = for_us.map(|uplink| uplink.link.name.clone());
    // The settings of a port that does not exist yet are unknown; the global one is known.
    let expected_for_us =
        expected.iter().filter(|_| !facts.links().is_forwarding_everywhere()).cloned();
    RulesetInput {
        dead: forward::dead(facts, &forwards),
        entrances: marks
            .into_iter()
            .filter_map(|(index, mark)| Some((name(index)?, mark)))
            .collect(),
        forwards,
        cluster_addresses: addresses.map(IpNet::addr).collect(),
        forwarded_for_us: forwarded_for_us.chain(expected_for_us).collect(),
        trusted: trusted(settings, facts),
        bridges: facts.links().others().bridges.clone(),
        // From a port without an address the head sends nothing of its own.
        unknown: facts.links().ports_without_role().map(|(link, _)| link.name.clone()).collect(),
        // Connections in the flow table bypass the rules.
        flow_table_devices: port
            .iter()
            .chain(uplinks.iter().filter(|name| !left_over.contains(name)))
            .cloned()
            .collect(),
        cluster_port: port,
        cluster_networks: placement.networks(),
        ipv6: placement.ipv6.map(|address| ClusterIpv6 {
            network: address.trunc(),
            for_us_alone: !facts.forwarded_ipv6(),
        }),
        delegated: placement
            .delegated
            .and_then(|(address, uplink)| Some((address.trunc(), name(uplink)?))),
        previous_delegations: facts.previous_delegations().collect(),
        translated: !facts.forwarded_ipv6() && clat::translates(settings, facts),
        left_over,
        without_ipv6: facts
            .uplinks()
            .into_iter()
            .filter(|uplink| !uplink.hides_ipv6)
            .map(|uplink| uplink.link.name.clone())
            .chain(expected.iter().cloned())
            .collect(),
        uplinks: uplinks.into_iter().chain(expected).collect(),
        allow: settings.uplink.allow.clone(),
        ssh_ports: facts.vitals().ssh_ports.clone(),
        web_port: facts.web_port(),
        overlap_routed: placement.overlap == Overlap::Routed,
    }
}

/// Returns the names of trusted ports, existing and expected.
fn trusted(settings: &Settings, facts: &Facts) -> Vec<String> {
    let mut names = facts.links().others().trusted.clone();
    for name in full_names(&settings.gateway.trust) {
        if !names.contains(name) {
            names.push(name.clone());
        }
    }
    names
}

/// Returns the patterns that name exactly one port.
fn full_names(patterns: &[PortPattern]) -> impl Iterator<Item = &String> {
    patterns.iter().filter(|pattern| !is_glob(pattern)).filter_map(|pattern| match pattern {
        PortPattern::Glob(name) => Some(name),
        _ => None,
    })
}

/// Returns the network if it is IPv4.
fn ipv4(net: IpNet) -> Option<ipnet::Ipv4Net> {
    match net {
        IpNet::V4(net) => Some(net),
        IpNet::V6(_) => None,
    }
}
