//! Policy routing: our rules and routes, identified by their protocol number. Those of other
//! programs are never changed.
//!
//! Order: add routes, add rules, remove rules, remove routes, so that our rules never point to an
//! incomplete table.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use bramblegate_netlink::NetlinkError;
use bramblegate_netlink::packet::AddressFamily;
use bramblegate_netlink::packet::route::{RouteMessage, RouteProtocol, RouteScope};
use bramblegate_netlink::packet::rule::{RuleAction, RuleAttribute, RuleMessage};
use bramblegate_netlink::rtnetlink::Listing;
use ipnet::IpNet;
use rtnetlink::RouteMessageBuilder;
use rustix::io::Errno;

use crate::decide::{ROUTE_PROTOCOL, RoutingPlan};
use crate::event::{Applied, ApplyError, ApplyErrorKind, Change, Event, Output, Route, Rule};
use crate::reconcile::Reconciler;
use crate::reconcile::error::{OutputError, Refused, into_apply_error};
use crate::reconcile::rtnl::{ADD, REPLACE, Request, Rtnl};

/// Brings our rules and routes to a [`RoutingPlan`].
#[derive(Debug, Default)]
pub struct RoutingReconciler {
    rtnl: Rtnl,
    /// Our rules in the kernel after the last apply.
    applied: BTreeSet<Rule>,
    /// When drift was last reported.
    reported: Option<Instant>,
}

/// Minimum interval between reports of drift, if another program keeps removing our rules.
const REPORT_INTERVAL: Duration = Duration::from_secs(60);

/// Changes, in the order in which they are made.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Diff {
    /// With the flags of the request, [`ADD`] or [`REPLACE`].
    routes_to_add: Vec<(Route, u16)>,
    rules_to_add: Vec<Rule>,
    rules_to_delete: Vec<Rule>,
    routes_to_delete: Vec<Route>,
}

impl Reconciler for RoutingReconciler {
    type Desired = RoutingPlan;
    const OUTPUT: Output = Output::Routing;

    async fn apply(&mut self, desired: &RoutingPlan) -> Result<Applied, ApplyError> {
        let (rules, routes) = ours(&mut self.rtnl)?;
        let diff = compare(desired, &rules, &routes);
        // Only rules show drift: the kernel itself drops routes.
        let applied = std::mem::take(&mut self.applied);
        let drifted = diff.rules_to_add.iter().any(|rule| applied.contains(rule))
            && self.reported.is_none_or(|reported| reported.elapsed() >= REPORT_INTERVAL);
        if drifted {
            self.reported = Some(Instant::now());
        }
        carry_out(&mut self.rtnl, &diff)?;
        self.applied = BTreeSet::from_iter(desired.rules.iter().map(as_kernel_rule));
        Ok(Applied::Routing { drifted })
    }
}

/// An error of rules and routes.
#[derive(Debug, thiserror::Error)]
pub enum RoutingError {
    #[error(transparent)]
    Refused(#[from] Refused),
    /// The link reconciler has yet to add the address.
    #[error("{route} waits for its source address")]
    NoSource { route: String },
}

impl OutputError for RoutingError {
    fn kind(&self) -> ApplyErrorKind {
        match self {
            Self::Refused(error) => error.kind(),
            Self::NoSource { .. } => ApplyErrorKind::Waiting,
        }
    }

    fn remedy(&self) -> Option<&'static str> {
        match self {
            Self::Refused(error) => error.remedy(),
            Self::NoSource { .. } => None,
        }
    }
}

into_apply_error!(RoutingError);

/// Removes all our rules and routes. Returns a line for each removal.
///
/// # Errors
/// The kernel refused a dump or a removal.
pub async fn restore() -> Result<Vec<String>, RoutingError> {
    let mut rtnl = Rtnl::default();
    let (rules, routes) = ours(&mut rtnl)?;
    let diff = compare(&RoutingPlan::default(), &rules, &routes);
    carry_out(&mut rtnl, &diff)?;
    let rules = diff.rules_to_delete.iter().map(|rule| format!("removed {}", name_of_rule(rule)));
    let routes =
        diff.routes_to_delete.iter().map(|route| format!("removed {}", name_of_route(route)));
    Ok(rules.chain(routes).collect())
}

/// Dumps the rules and routes that carry our protocol number.
fn ours(rtnl: &mut Rtnl) -> Result<(BTreeSet<Rule>, BTreeSet<Route>), RoutingError> {
    let rules = rtnl
        .events(Listing::Rules)
        .map_err(|error| Refused::new("cannot list the routing rules", error))?;
    let routes = rtnl
        .events(Listing::Routes)
        .map_err(|error| Refused::new("cannot list the routes", error))?;
    let rules = rules.into_iter().filter_map(|event| match event {
        Event::Rule(Change::Present(rule)) if rule.protocol == ROUTE_PROTOCOL => Some(rule),
        _ => None,
    });
    let routes = routes.into_iter().filter_map(|event| match event {
        Event::Route(Change::Present(route)) if route.protocol == ROUTE_PROTOCOL => Some(route),
        _ => None,
    });
    Ok((BTreeSet::from_iter(rules), BTreeSet::from_iter(routes)))
}

/// Compares our rules and routes in the kernel with the plan. Pure.
fn compare(plan: &RoutingPlan, rules: &BTreeSet<Rule>, routes: &BTreeSet<Route>) -> Diff {
    let wanted_rules = BTreeSet::from_iter(plan.rules.iter().map(as_kernel_rule));
    let wanted_routes: Vec<_> = plan.routes.iter().map(as_kernel_route).collect();
    let mut routes_to_add: Vec<_> = wanted_routes
        .iter()
        .filter(|wanted| !routes.iter().any(|present| same_route(wanted, present)))
        .map(|wanted| {
            let replaces = routes.iter().any(|present| key(present) == key(wanted));
            (wanted.clone(), if replaces { REPLACE } else { ADD })
        })
        .collect();
    // The kernel accepts a gateway only if a route leads to it.
    routes_to_add.sort_by_key(|(route, _)| route.gateway.is_some());
    let superfluous = |present: &&Route| {
        let replaced = routes_to_add.iter().any(|(wanted, _)| key(wanted) == key(present));
        !replaced && !wanted_routes.iter().any(|wanted| same_route(wanted, present))
    };
    let mut routes_to_delete: Vec<_> = routes.iter().filter(superfluous).cloned().collect();
    routes_to_delete.sort_by_key(|route| route.gateway.is_none());
    Diff {
        rules_to_add: wanted_rules.difference(rules).cloned().collect(),
        rules_to_delete: rules.difference(&wanted_rules).cloned().collect(),
        routes_to_add,
        routes_to_delete,
    }
}

/// Makes all changes that are possible, so that an uplink that has just gone does not affect the
/// others. Returns the first failure, or a route that has to wait if nothing failed.
fn carry_out(rtnl: &mut Rtnl, diff: &Diff) -> Result<(), RoutingError> {
    let mut failure = None;
    let mut waiting = None;
    let mut note = |what: &str, name: String, result: Result<(), NetlinkError>| {
        if let Err(error) = result {
            failure
                .get_or_insert_with(|| Refused::new(format!("cannot {what} {name}"), error).into());
        }
    };
    for (route, flags) in &diff.routes_to_add {
        match add_route(rtnl, route, *flags) {
            Err(error) if error.errno() == Some(Errno::INVAL) && lacks_source(rtnl, route) => {
                waiting
                    .get_or_insert_with(|| RoutingError::NoSource { route: name_of_route(route) });
            }
            result => note("add", name_of_route(route), result),
        }
    }
    for rule in &diff.rules_to_add {
        let added = rtnl.send(Request::NewRule, &rule_message(rule), ADD);
        note("add", name_of_rule(rule), accept(added, &[Errno::EXIST]));
    }
    for rule in &diff.rules_to_delete {
        let removed = rtnl.send(Request::DelRule, &rule_message(rule), 0);
        note("remove", name_of_rule(rule), accept(removed, &[Errno::NOENT]));
    }
    for route in &diff.routes_to_delete {
        let removed =
            route_message(route).and_then(|message| rtnl.send(Request::DelRoute, &message, 0));
        note("remove", name_of_route(route), accept(removed, &[Errno::SRCH, Errno::NODEV]));
    }
    failure.or(waiting).map_or(Ok(()), Err)
}

/// Returns whether no port has the preferred source address of the route: it was just removed, and
/// the link reconciler has not restored it yet.
fn lacks_source(rtnl: &mut Rtnl, route: &Route) -> bool {
    let Some(source) = route.preferred_source else { return false };
    let is_source = |event: &Event| matches!(event, Event::Address(Change::Present(held)) if held.address.addr() == source);
    rtnl.events(Listing::Addresses).is_ok_and(|events| !events.iter().any(is_source))
}

/// Adds a route, first without `onlink`: with it the kernel refuses a gateway that is our own
/// address on another port, without it a gateway to which no route leads.
fn add_route(rtnl: &mut Rtnl, route: &Route, flags: u16) -> Result<(), NetlinkError> {
    let send = |rtnl: &mut Rtnl, route: &Route| {
        rtnl.send(Request::NewRoute, &route_message(route)?, flags)
    };
    match send(rtnl, route) {
        Err(error)
            if route.gateway.is_some()
                && !route.onlink
                && matches!(
                    error.errno(),
                    Some(Errno::NETUNREACH | Errno::INVAL | Errno::HOSTUNREACH)
                ) =>
        {
            send(rtnl, &Route { onlink: true, ..route.clone() }).map_err(|_| error)
        }
        result => result,
    }
}

/// Treats these errors as success.
fn accept(result: Result<(), NetlinkError>, errors: &[Errno]) -> Result<(), NetlinkError> {
    match result {
        Err(error) if error.errno().is_some_and(|errno| errors.contains(&errno)) => Ok(()),
        other => other,
    }
}

/// Returns the fields that identify a route to the kernel.
fn key(route: &Route) -> (u32, IpNet, u32) {
    (route.table, route.destination, route.metric)
}

/// Returns whether the routes are equal except for `onlink`, which only affects acceptance.
fn same_route(a: &Route, b: &Route) -> bool {
    let plain = |route: &Route| Route { onlink: false, ..route.clone() };
    plain(a) == plain(b)
}

/// Returns the route as the kernel dumps it: no host bits, our protocol, the IPv6 default metric.
fn as_kernel_route(route: &Route) -> Route {
    const IP6_RT_PRIO_USER: u32 = 1024;
    let v6 = route.destination.addr().is_ipv6();
    let metric = if v6 && route.metric == 0 { IP6_RT_PRIO_USER } else { route.metric };
    Route {
        destination: route.destination.trunc(),
        protocol: ROUTE_PROTOCOL,
        metric,
        ..route.clone()
    }
}

fn as_kernel_rule(rule: &Rule) -> Rule {
    let network =
        |net: Option<IpNet>| net.map(|net| net.trunc()).filter(|net| net.prefix_len() > 0);
    Rule {
        source: network(rule.source),
        destination: network(rule.destination),
        protocol: ROUTE_PROTOCOL,
        ..rule.clone()
    }
}

/// Encodes a route. Fails with `EINVAL`, as the kernel would, if it mixes address families.
fn route_message(route: &Route) -> Result<RouteMessage, NetlinkError> {
    let mut builder = RouteMessageBuilder::<IpAddr>::new()
        .destination_prefix(route.destination.addr(), route.destination.prefix_len())
        .map_err(mixed_families)?
        .output_interface(route.index)
        .table_id(route.table)
        .protocol(RouteProtocol::Other(ROUTE_PROTOCOL))
        .scope(if route.gateway.is_some() { RouteScope::Universe } else { RouteScope::Link });
    if route.metric != 0 {
        builder = builder.priority(route.metric);
    }
    if let Some(gateway) = route.gateway {
        builder = builder.gateway(gateway).map_err(mixed_families)?;
    }
    if let Some(source) = route.preferred_source {
        builder = builder.pref_source(source).map_err(mixed_families)?;
    }
    if route.onlink {
        builder = builder.onlink();
    }
    Ok(builder.build())
}

fn mixed_families<E>(_: E) -> NetlinkError {
    NetlinkError::Refused { errno: Errno::INVAL, reason: Some("address families are mixed".into()) }
}

fn rule_message(rule: &Rule) -> RuleMessage {
    let mut message = RuleMessage::default();
    message.header.family = if rule.ipv6 { AddressFamily::Inet6 } else { AddressFamily::Inet };
    message.header.action = RuleAction::ToTable;
    let attributes = &mut message.attributes;
    if let Some(net) = rule.destination {
        message.header.dst_len = net.prefix_len();
        attributes.push(RuleAttribute::Destination(net.addr()));
    }
    if let Some(net) = rule.source {
        message.header.src_len = net.prefix_len();
        attributes.push(RuleAttribute::Source(net.addr()));
    }
    attributes.extend(rule.input.clone().map(RuleAttribute::Iifname));
    attributes.extend(rule.output.clone().map(RuleAttribute::Oifname));
    if let Some((mark, mask)) = rule.mark {
        attributes.extend([RuleAttribute::FwMark(mark), RuleAttribute::FwMask(mask)]);
    }
    attributes.extend(rule.suppress.map(|length| RuleAttribute::SuppressPrefixLen(length.into())));
    attributes.extend([
        RuleAttribute::Priority(rule.preference),
        RuleAttribute::Table(rule.table),
        RuleAttribute::Protocol(RouteProtocol::Other(ROUTE_PROTOCOL)),
    ]);
    message
}

fn name_of_route(route: &Route) -> String {
    let via = route.gateway.map(|gateway| format!(" via {gateway}")).unwrap_or_default();
    format!(
        "the route {}{via} by interface {} in table {}",
        route.destination, route.index, route.table
    )
}

fn name_of_rule(rule: &Rule) -> String {
    let mut text = format!("the rule {}:", rule.preference);
    for (word, net) in [("from", rule.source), ("to", rule.destination)] {
        text.extend(net.map(|net| format!(" {word} {net}")));
    }
    for (word, port) in [("iif", &rule.input), ("oif", &rule.output)] {
        text.extend(port.as_ref().map(|port| format!(" {word} {port}")));
    }
    text.extend(rule.mark.map(|(mark, mask)| format!(" fwmark {mark:#x}/{mask:#x}")));
    format!("{text} lookup {}", rule.table)
}

#[cfg(test)]
mod tests;
