//! Policy routing: traffic to the cluster leaves by its port, and replies from an uplink's address
//! leave by that uplink, ahead of other programs' rules. In an overlap, where venue and cluster use
//! the same addresses, both stay reachable.
//!
//! The main table is left alone. Each uplink's table holds that uplink's routes, the cluster's
//! table those of the cluster. Rules select by source, port, destination, and the connection mark
//! of the first packet ([`MARK_CLUSTER`], [`MARK_ELSEWHERE`], [`MARK_ENTRANCE`]). Their preferences
//! are lower than Tailscale's (5210).

pub mod entrance;
pub mod ways;
use std::collections::BTreeSet;
use std::net::IpAddr;

use ipnet::IpNet;

use crate::api::clat;
use crate::event::{Flow, Link, LinkIndex, Route, Rule};
use crate::facts::Facts;
use crate::facts::link::mirror::TABLE_MAIN;
use crate::facts::uplink::UplinkView;

use super::cluster::{Placement, overlapping_ipv6, venue_servers};
use super::{MARK_CLUSTER, MARK_ELSEWHERE, Overlap, ROUTE_PROTOCOL, RULE_PREFERENCE, RoutingPlan};
use super::{TABLE_CLUSTER, TABLE_UPLINK};
use entrance::MARK_ENTRANCE;

/// Rule preferences, relative to [`RULE_PREFERENCE`]. The first rule exists as long as there is a
/// cluster port, so that rules of other programs can `goto` it.
mod place {
    /// Replies to what came in by the cluster port; replies of nodes to forwarded connections from
    /// an uplink.
    pub const MARKED: u32 = 0;
    /// To the cluster, if no uplink uses its addresses.
    pub const CLUSTER: u32 = 1;
    /// From an uplink's address: the uplink's routes except the default, then main's except the
    /// default, then all of the uplink's.
    pub const SOURCE_NEAR: u32 = 2;
    pub const SOURCE_MAIN: u32 = 3;
    pub const SOURCE: u32 = 4;
    /// Sockets bound to the uplink.
    pub const BOUND: u32 = 5;
    /// To a gateway or resolver of the venue.
    pub const SERVER: u32 = 6;
    /// To the cluster, in an overlap.
    pub const CLUSTER_LAST: u32 = 10;
    /// From the nodes, if another uplink than main's is to be used: main's routes except the
    /// default, then that uplink's.
    pub const NODES_MAIN: u32 = 20;
    pub const NODES: u32 = 21;
    /// From the head, if IPv4 leaves by our translator: likewise.
    pub const HEAD_MAIN: u32 = 22;
    pub const HEAD: u32 = 23;
}

/// Default routes, and the two halves that VPNs use instead.
const DEFAULT_LENGTH: u8 = 1;

/// Returns our rules and routes.
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
        // The kernel rejects routes through a port that is down; the plan sets it up first.
        plan.routes.extend(port.up.then(|| connected(port.index, net)));
        plan.routes.extend(routed_nodes(facts, port.index, net));
    }
    to_nodes_by_ipv6(&mut plan, facts, placement, port);
    if let Some(uplink) = facts.routing().detour().by() {
        leave_by(&mut plan, uplink, &port.name, [place::NODES_MAIN, place::NODES]);
        // The head's own default route remains the dead one, which has the better metric.
        if leaves_by_translator(facts) {
            leave_by(&mut plan, uplink, LOOPBACK, [place::HEAD_MAIN, place::HEAD]);
        }
    }
    plan
}

/// Adds the rules and routes to the nodes' IPv6 networks. Any host of the venue may advertise a part
/// of them as a prefix of its link, and the kernel prefers the longer prefix.
fn to_nodes_by_ipv6(plan: &mut RoutingPlan, facts: &Facts, placement: &Placement, port: &Link) {
    // A network of the settings may be the venue's own as well, whose router is in it.
    let own = placement.ipv6.filter(|_| overlapping_ipv6(facts, placement).is_none());
    let networks = own.into_iter().chain(placement.delegated.map(|(net, _)| net));
    for net in networks.map(IpNet::V6) {
        let destination = Some(net.trunc());
        let to = Rule { ipv6: true, destination, ..rule(place::CLUSTER, TABLE_CLUSTER) };
        plan.rules.insert(to);
        let route = Route { preferred_source: None, ..connected(port.index, net) };
        plan.routes.extend(port.up.then_some(route));
    }
}

/// Returns whether the nodes' IPv4 leaves by our translator in place of a dead uplink.
fn leaves_by_translator(facts: &Facts) -> bool {
    let by = facts.routing().detour().by().and_then(|index| facts.kernel().link(index));
    by.is_some_and(|port| port.name == clat::DEVICE)
}

/// The input interface of packets that the head itself sends (ip-rule(8)).
const LOOPBACK: &str = "lo";

/// Adds the rules by which packets from the port `input` leave by an uplink: main's routes except
/// the default, then the uplink's.
fn leave_by(plan: &mut RoutingPlan, uplink: LinkIndex, input: &str, [near, far]: [u32; 2]) {
    let from = |rule| Rule { input: Some(input.to_owned()), mark: NOT_ELSEWHERE, ..rule };
    let suppress = Some(DEFAULT_LENGTH);
    plan.rules.insert(from(Rule { suppress, ..rule(near, TABLE_MAIN) }));
    plan.rules.insert(from(rule(far, TABLE_UPLINK + uplink)));
}

/// Excludes replies to what came in by a port that is neither an uplink nor the cluster's, such as
/// a tunnel.
const NOT_ELSEWHERE: Option<(u32, u32)> = Some((0, MARK_ELSEWHERE));

/// Adds the rules and routes of one uplink: packets from its addresses use its routes, likewise
/// packets with its `mark` if it has one, and in an overlap sockets bound to it.
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
    // A venue may announce thousands by a routing protocol. Without an overlap or a mark for this
    // uplink, main's routes suffice.
    let routes = routes.filter(|r| {
        overlaps
            || mark.is_some()
            || r.gateway.is_none()
            || r.destination.prefix_len() <= DEFAULT_LENGTH
    });
    // Of a multipath route through one port the first next hop suffices: to the kernel both would
    // be the same route.
    let mut seen = BTreeSet::new();
    let routes = routes.filter(|route| seen.insert((route.destination, route.metric)));
    plan.routes.extend(routes.map(|route| Route {
        table,
        protocol: ROUTE_PROTOCOL,
        ..route.clone()
    }));
}

/// Returns main's routes through the cluster port to parts of its network: nodes behind a router
/// inside the cluster.
fn routed_nodes(facts: &Facts, index: LinkIndex, net: IpNet) -> impl Iterator<Item = Route> {
    let within = move |part: &IpNet| net.contains(part) && part.prefix_len() > net.prefix_len();
    let mut seen = BTreeSet::new();
    let routes = facts.kernel().routes().filter(move |r| r.table == TABLE_MAIN && r.index == index);
    let routes =
        routes.filter(move |r| within(&r.destination) && seen.insert((r.destination, r.metric)));
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
        mtu: None,
    }
}

/// Returns whether the address is the head's in the cluster, or that of a node in the settings.
fn is_ours(facts: &Facts, placement: &Placement, address: IpAddr) -> bool {
    placement.address.addr() == address
        || placement.retained.iter().any(|net| net.addr() == address)
        || facts.settings().nodes.iter().any(|node| node.address.map(IpAddr::V4) == Some(address))
}

/// Returns a rule that sends all packets to `table`.
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
