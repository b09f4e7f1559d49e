//! Policy routing: what belongs to the cluster goes by its port, and answers from an uplink's
//! address leave by that uplink, before any rule of other programs; in an overlap, where venue and
//! cluster use the same addresses, both keep working.
//!
//! The main table is left alone. Table U of an uplink holds that uplink's routes, table C the
//! cluster's; rules choose by source, by port, by destination, and by what connection tracking
//! remembers of the first packet ([`MARK_CLUSTER`], [`MARK_ELSEWHERE`], [`MARK_ENTRANCE`]).
//! Preferences lie before Tailscale's (5210).

pub mod entrance;
pub mod ways;
use std::collections::BTreeSet;
use std::net::IpAddr;

use ipnet::IpNet;

use crate::event::{Flow, LinkIndex, Route, Rule};
use crate::facts::Facts;
use crate::facts::link::mirror::TABLE_MAIN;
use crate::facts::uplink::UplinkView;

use super::cluster::{Placement, venue_servers};
use super::{MARK_CLUSTER, MARK_ELSEWHERE, Overlap, ROUTE_PROTOCOL, RULE_PREFERENCE, RoutingPlan};
use super::{TABLE_CLUSTER, TABLE_UPLINK};
use entrance::MARK_ENTRANCE;

/// Places of the rules, counted from [`RULE_PREFERENCE`]; the first always exists while there is a
/// cluster port, so that rules of others can lead to it (`goto`).
mod place {
    /// answers to what entered by the cluster port; those of nodes to what was led to them from an
    /// uplink
    pub const MARKED: u32 = 0;
    /// to the cluster, where no uplink uses its addresses
    pub const CLUSTER: u32 = 1;
    /// from an uplink's address: that uplink's own routes but for the default one, main's but for
    /// the default one, all of the uplink's
    pub const SOURCE_NEAR: u32 = 2;
    pub const SOURCE_MAIN: u32 = 3;
    pub const SOURCE: u32 = 4;
    /// what is bound to the uplink
    pub const BOUND: u32 = 5;
    /// to a gateway or resolver of the venue
    pub const SERVER: u32 = 6;
    /// to the cluster, in an overlap
    pub const CLUSTER_LAST: u32 = 10;
    /// from the nodes, by another uplink than main's: main's routes but for the default one, then
    /// that uplink's
    pub const NODES_MAIN: u32 = 20;
    pub const NODES: u32 = 21;
}

/// Default routes, and the two halves of everything that tunnels put before them.
const DEFAULT_LENGTH: u8 = 1;

/// Returns the rules and routes of ours.
pub fn plan(facts: &Facts, placement: &Placement) -> RoutingPlan {
    let mut plan = RoutingPlan::default();
    let overlaps = placement.overlap == Overlap::Routed;
    let marks = entrance::marks(facts);
    for uplink in facts.uplinks() {
        through_uplink(&mut plan, facts, &uplink, overlaps, marks.get(&uplink.link.index).copied());
    }
    let Some(port) = facts.cluster_port() else { return plan };
    if overlaps {
        for (index, server) in venue_servers(facts) {
            let within = placement.networks().iter().any(|net| net.contains(&server));
            if within && !is_ours(facts, placement, server) {
                plan.rules.insert(Rule {
                    destination: Some(server.into()),
                    ..rule(place::SERVER, TABLE_UPLINK + index)
                });
            }
        }
    }
    let marked = Some((MARK_CLUSTER, MARK_CLUSTER));
    plan.rules.insert(Rule { mark: marked, ..rule(place::MARKED, TABLE_CLUSTER) });
    let place = if overlaps { place::CLUSTER_LAST } else { place::CLUSTER };
    for net in std::iter::once(placement.address).chain(placement.retained.iter().copied()) {
        plan.rules.insert(Rule { destination: Some(net.trunc()), ..rule(place, TABLE_CLUSTER) });
        // The kernel takes no route by a port that is switched off, which we switch on.
        plan.routes.extend(port.up.then(|| connected(port.index, net)));
        plan.routes.extend(routed_nodes(facts, port.index, net));
    }
    if let Some(uplink) = facts.routing().detour().by() {
        let of_nodes = |rule| Rule { input: Some(port.name.clone()), mark: NOT_ELSEWHERE, ..rule };
        let near = rule(place::NODES_MAIN, TABLE_MAIN);
        plan.rules.insert(of_nodes(Rule { suppress: Some(DEFAULT_LENGTH), ..near }));
        plan.rules.insert(of_nodes(rule(place::NODES, TABLE_UPLINK + uplink)));
    }
    plan
}

/// Not an answer to what entered by a port that is neither an uplink nor the cluster's, as a tunnel
/// is.
const NOT_ELSEWHERE: Option<(u32, u32)> = Some((0, MARK_ELSEWHERE));

/// Adds the rules and routes of one uplink: what comes from an address of the uplink goes by its
/// own routes; so does what has its `mark`, if there is one, and in an overlap also what is bound
/// to it.
fn through_uplink(
    plan: &mut RoutingPlan,
    facts: &Facts,
    uplink: &UplinkView<'_>,
    overlaps: bool,
    mark: Option<u32>,
) {
    let index = uplink.link.index;
    let table = TABLE_UPLINK + index;
    let addresses = uplink.addresses.iter().filter(|net| net.addr().is_ipv4());
    let sources: Vec<IpNet> = addresses.map(|net| IpNet::from(net.addr())).collect();
    if sources.is_empty() {
        return;
    }
    for source in sources {
        let from = |rule| Rule { source: Some(source), mark: NOT_ELSEWHERE, ..rule };
        let suppress = Some(DEFAULT_LENGTH);
        plan.rules.insert(from(Rule { suppress, ..rule(place::SOURCE_NEAR, table) }));
        plan.rules.insert(from(Rule { suppress, ..rule(place::SOURCE_MAIN, TABLE_MAIN) }));
        plan.rules.insert(from(rule(place::SOURCE, table)));
    }
    plan.rules.extend(
        mark.map(|mark| Rule { mark: Some((mark, MARK_ENTRANCE)), ..rule(place::MARKED, table) }),
    );
    if overlaps {
        plan.rules
            .insert(Rule { output: Some(uplink.link.name.clone()), ..rule(place::BOUND, table) });
    }
    let routes = facts
        .kernel()
        .routes()
        .filter(|r| r.table == TABLE_MAIN && r.index == index && r.destination.addr().is_ipv4());
    // The venue may bring thousands by a routing protocol: where nothing overlaps, and no mark
    // leads here alone, main's will do.
    let routes = routes.filter(|r| {
        overlaps
            || mark.is_some()
            || r.gateway.is_none()
            || r.destination.prefix_len() <= DEFAULT_LENGTH
    });
    // Of several next hops by one port the first will do: distinguished they would be one route to
    // the kernel.
    let mut known = BTreeSet::new();
    let routes = routes.filter(|route| known.insert((route.destination, route.metric)));
    plan.routes.extend(routes.map(|route| Route {
        table,
        protocol: ROUTE_PROTOCOL,
        ..route.clone()
    }));
}

/// Returns main's routes by the cluster port to parts of its network: nodes behind a router of the
/// cluster's own.
fn routed_nodes(facts: &Facts, index: LinkIndex, net: IpNet) -> impl Iterator<Item = Route> {
    let within = move |part: &IpNet| net.contains(part) && part.prefix_len() > net.prefix_len();
    let mut known = BTreeSet::new();
    let routes = facts.kernel().routes().filter(move |r| r.table == TABLE_MAIN && r.index == index);
    let routes =
        routes.filter(move |r| within(&r.destination) && known.insert((r.destination, r.metric)));
    routes.map(|route| Route { table: TABLE_CLUSTER, protocol: ROUTE_PROTOCOL, ..route.clone() })
}

/// Returns the cluster's connected route.
fn connected(index: LinkIndex, net: IpNet) -> Route {
    Route {
        table: TABLE_CLUSTER,
        destination: net.trunc(),
        gateway: None,
        index,
        metric: 0,
        protocol: ROUTE_PROTOCOL,
        onlink: false,
        preferred_source: Some(net.addr()),
    }
}

/// Returns whether the address is the head's in the cluster, or a node's of the settings.
fn is_ours(facts: &Facts, placement: &Placement, address: IpAddr) -> bool {
    placement.address.addr() == address
        || placement.retained.iter().any(|net| net.addr() == address)
        || facts.settings().nodes.iter().any(|node| node.address.map(IpAddr::V4) == Some(address))
}

/// Returns a rule that takes everything to `table`.
fn rule(place: u32, table: u32) -> Rule {
    Rule {
        preference: RULE_PREFERENCE + place,
        ipv6: false,
        source: None,
        destination: None,
        output: None,
        input: None,
        mark: None,
        table,
        suppress: None,
        protocol: ROUTE_PROTOCOL,
        flow: Flow::default(),
    }
}
