use std::net::Ipv4Addr;

use super::*;
use crate::event::Flow;

fn route(table: u32, destination: &str, gateway: Option<[u8; 4]>) -> Route {
    Route {
        table,
        destination: destination.parse().unwrap(),
        gateway: gateway.map(|octets| Ipv4Addr::from(octets).into()),
        index: 3,
        metric: 0,
        protocol: ROUTE_PROTOCOL,
        onlink: false,
        preferred_source: None,
    }
}

fn rule(preference: u32, table: u32) -> Rule {
    Rule {
        preference,
        ipv6: false,
        source: None,
        destination: Some("192.168.50.0/24".parse().unwrap()),
        output: None,
        input: None,
        mark: None,
        suppress: None,
        table,
        protocol: ROUTE_PROTOCOL,
        flow: Flow::default(),
    }
}

fn plan(rules: &[Rule], routes: &[Route]) -> RoutingPlan {
    RoutingPlan { rules: rules.iter().cloned().collect(), routes: routes.iter().cloned().collect() }
}

#[test]
fn the_route_to_a_gateway_is_added_before_those_through_it() {
    let wanted = plan(
        &[],
        &[route(51_003, "0.0.0.0/0", Some([10, 0, 0, 1])), route(51_003, "10.0.0.0/24", None)],
    );
    let diff = compare(&wanted, &BTreeSet::new(), &BTreeSet::new());
    let order: Vec<_> =
        diff.routes_to_add.iter().map(|(route, _)| route.destination.to_string()).collect();
    assert_eq!(order, ["10.0.0.0/24", "0.0.0.0/0"]);
}

#[test]
fn an_equal_route_is_unchanged_despite_onlink_or_host_bits() {
    let held = Route { onlink: true, ..route(51_003, "192.168.50.0/24", Some([10, 0, 0, 1])) };
    let wanted =
        Route { destination: "192.168.50.7/24".parse().unwrap(), onlink: false, ..held.clone() };
    let diff = compare(&plan(&[rule(5100, 7)], &[wanted]), &[rule(5100, 7)].into(), &[held].into());
    assert_eq!(diff, Diff::default());
}

#[test]
fn a_new_gateway_replaces_the_route_in_place() {
    let held = route(51_003, "0.0.0.0/0", Some([10, 0, 0, 1]));
    let wanted = route(51_003, "0.0.0.0/0", Some([10, 0, 0, 2]));
    let diff = compare(&plan(&[], std::slice::from_ref(&wanted)), &BTreeSet::new(), &[held].into());
    assert_eq!(diff, Diff { routes_to_add: vec![(wanted, REPLACE)], ..Diff::default() });
}

#[test]
fn an_empty_plan_removes_rules_and_routes_through_a_gateway_before_those_to_it() {
    let routes =
        [route(51_003, "10.0.0.0/24", None), route(51_003, "0.0.0.0/0", Some([10, 0, 0, 1]))];
    let diff = compare(&RoutingPlan::default(), &[rule(5100, 51_003)].into(), &routes.into());
    assert_eq!(diff.rules_to_delete, [rule(5100, 51_003)]);
    let order: Vec<_> =
        diff.routes_to_delete.iter().map(|route| route.destination.to_string()).collect();
    assert_eq!(order, ["0.0.0.0/0", "10.0.0.0/24"]);
}

#[test]
fn the_default_metric_of_ipv6_is_the_kernels() {
    let wanted = Route { destination: "::/0".parse().unwrap(), ..route(51_003, "0.0.0.0/0", None) };
    assert_eq!(as_kernel_route(&wanted).metric, 1024);
}

#[test]
fn errors_name_the_rule() {
    let mut named = rule(5101, 50_980);
    named.output = Some("eth1".into());
    assert_eq!(name_of_rule(&named), "the rule 5101: to 192.168.50.0/24 oif eth1 lookup 50980");
}
