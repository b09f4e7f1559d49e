//! Policy routing for an overlap: the venue and the cluster use the same addresses and both keep working.
//!
//! The main table is left alone. Table U of an uplink holds that uplink's routes, table C the cluster's; rules choose by
//! source, by port and by destination. Preferences lie before Tailscale's (5210).

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};

use ipnet::{IpNet, Ipv4Net};

use crate::event::{LinkIndex, Route, Rule};
use crate::state::State;
use crate::state::kernel::TABLE_MAIN;
use crate::state::uplink::UplinkView;

use super::subnet::{Placement, venue_servers};
use super::{Overlap, ROUTE_PROTOCOL, RULE_PREFERENCE, RoutingPlan, TABLE_CLUSTER, TABLE_UPLINK};

/// Rules and routes; none at all where nothing overlaps.
pub fn plan(state: &State, placement: &Placement) -> RoutingPlan {
    let mut plan = RoutingPlan::default();
    let Some(port) = state.cluster_port().filter(|_| placement.overlap == Overlap::Routed) else { return plan };
    for uplink in state.uplinks() {
        through_uplink(&mut plan, state, &uplink);
    }
    for (index, server) in venue_servers(state) {
        let within = placement.networks().iter().any(|net| net.contains(&server));
        if within && !is_ours(state, placement, server) {
            plan.rules.insert(Rule { destination: Some(host(server)), ..rule(2, TABLE_UPLINK + index) });
        }
    }
    for net in std::iter::once(placement.address).chain(placement.kept.iter().copied()) {
        plan.rules.insert(Rule { destination: Some(IpNet::V4(net.trunc())), ..rule(10, TABLE_CLUSTER) });
        plan.routes.insert(connected(port.index, net));
    }
    plan
}

/// What comes from an address of the uplink, or is bound to it, goes by its own routes.
fn through_uplink(plan: &mut RoutingPlan, state: &State, uplink: &UplinkView<'_>) {
    let index = uplink.link.index;
    let table = TABLE_UPLINK + index;
    let is_v4 = |net: &IpNet| matches!(net, IpNet::V4(_));
    let addresses = uplink.addresses.iter().filter(|net| is_v4(net));
    let sources: Vec<IpNet> = addresses.map(|net| IpNet::from(net.addr())).collect();
    if sources.is_empty() {
        return;
    }
    for source in sources {
        plan.rules.insert(Rule { source: Some(source), ..rule(0, table) });
    }
    plan.rules.insert(Rule { output: Some(uplink.link.name.clone()), ..rule(1, table) });
    let routes = state.facts().routes().filter(|r| r.table == TABLE_MAIN && r.index == index && is_v4(&r.destination));
    // Of several next hops by one port the first will do: told apart they would be one route to the kernel.
    let mut known = BTreeSet::new();
    let routes = routes.filter(|route| known.insert((route.destination, route.metric)));
    plan.routes.extend(routes.map(|route| Route { table, protocol: ROUTE_PROTOCOL, ..route.clone() }));
}

fn connected(index: LinkIndex, net: Ipv4Net) -> Route {
    Route {
        table: TABLE_CLUSTER,
        destination: IpNet::V4(net.trunc()),
        gateway: None,
        index,
        metric: 0,
        protocol: ROUTE_PROTOCOL,
        onlink: false,
        preferred_source: Some(IpAddr::V4(net.addr())),
    }
}

fn is_ours(state: &State, placement: &Placement, address: Ipv4Addr) -> bool {
    placement.address.addr() == address
        || placement.kept.iter().any(|net| net.addr() == address)
        || state.settings().nodes.iter().any(|node| node.address == Some(address))
}

fn host(address: Ipv4Addr) -> IpNet {
    IpNet::from(IpAddr::V4(address))
}

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
        protocol: ROUTE_PROTOCOL,
    }
}
