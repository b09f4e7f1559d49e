//! Drift, and state that cannot be saved.

use super::*;
use crate::event::{Applied, ApplyError, ApplyErrorKind, ApplyReport, Firewall};

fn ports(unkept: Option<&str>) -> Event {
    let applied = Applied::Link { unkept: unkept.map(str::to_owned) };
    Event::Applied(ApplyReport { output: Output::Link, result: Ok(applied) })
}

fn switched_off() -> Event {
    Event::Link(Change::Present(Link { up: false, ..link(CLUSTER, false) }))
}

#[test]
fn drift_is_reported_once_repaired() {
    let mut sim = Simulation::at_a_venue();
    sim.resynced();
    assert_eq!(sim.handle(switched_off()), []);
    assert_eq!(sim.resynced(), [Output::Link], "the reconciler looks at once");
    let transitions = sim.handle(ports(None));
    assert!(
        matches!(transitions.as_slice(), [Transition::Disturbed { what, .. }] if what.contains("eth0 was switched off"))
    );
    assert_eq!(sim.handle(ports(None)), [], "and once");
}

#[test]
fn a_disturbed_table_is_resynced_at_once_and_in_a_fight_once_a_second() {
    let mut sim = Simulation::at_a_venue();
    let touched = || Event::Firewall(Firewall::Disturbed { by: None });
    sim.resynced();
    sim.handle(touched());
    assert_eq!(sim.resynced(), [Output::Firewall]);
    assert_eq!(sim.resynced(), [], "once");
    for _ in 0..50 {
        sim.handle(touched());
    }
    sim.resynced();
    sim.handle(touched());
    assert_eq!(sim.resynced(), [], "this is a fight");
    sim.wait(1_100);
    assert_eq!(sim.resynced(), [Output::Firewall]);
}

#[test]
fn a_resync_is_kept_until_the_next_decision() {
    let mut sim = Simulation::at_a_venue();
    sim.resynced();
    sim.handle(switched_off());
    sim.handle(Event::Link(Change::Present(link(CLUSTER, true))));
    sim.handle(Event::Probe(Probe::Nodes(Vec::new())));
    sim.wait(5_000);
    assert_eq!(sim.resynced(), [Output::Link]);
}

/// One setting of older kernels for all interfaces, which bramblegate-clat also uses.
#[test]
fn ipv6_forwarding_that_the_nodes_need_is_compared_again() {
    let mut sim = Simulation::at_a_venue();
    sim.resynced();
    sim.handle(Event::Ipv6ForwardingOff(Netconf::ALL));
    assert_eq!(sim.resynced(), [], "the nodes have no IPv6");
    let mut given = (*settings()).clone();
    given.cluster.ipv6 = Some(crate::config::Ipv6Prefix::Auto);
    sim.facts.reload(Arc::new(given), sim.now);
    sim.resynced();
    for index in [Netconf::ALL, WIRED, CLUSTER] {
        sim.handle(Event::Ipv6ForwardingOff(index));
        assert_eq!(sim.resynced(), [Output::Link], "{index}");
    }
    sim.handle(Event::Ipv6ForwardingOff(77));
    assert_eq!(sim.resynced(), [], "a port of no concern");
}

/// What a venue's routers and servers offered is forgotten when the cable is out. Both changes may
/// be read at once, so that no plan in between is without the port.
#[test]
fn a_cable_that_was_out_for_a_moment_begins_anew() {
    let mut sim = Simulation::at_a_venue();
    let before = crate::decide::venue::heard(&sim.facts);
    assert!(!before.is_empty());
    sim.handle(Event::Link(Change::Present(link(WIRED, false))));
    sim.handle(Event::Link(Change::Present(link(WIRED, true))));
    let after = crate::decide::venue::heard(&sim.facts);
    assert_ne!(before, after);
    sim.handle(Event::Link(Change::Present(link(WIRED, true))));
    assert_eq!(crate::decide::venue::heard(&sim.facts), after, "once");
}

/// A vanishing interface is set down and loses its addresses first, which is no drift.
#[test]
fn a_vanishing_cluster_port_is_one_transition() {
    let mut sim = Simulation::at_a_venue();
    sim.handle(Event::Address(Change::Present(address(CLUSTER, "192.168.50.1/24"))));
    sim.handle(switched_off());
    let gone = ApplyError {
        kind: ApplyErrorKind::Absent,
        message: "eth0: the interface is not there".into(),
    };
    let mut transitions =
        sim.handle(Event::Applied(ApplyReport { output: Output::Link, result: Err(gone) }));
    transitions
        .extend(sim.handle(Event::Address(Change::Gone(address(CLUSTER, "192.168.50.1/24")))));
    transitions.extend(sim.handle(Event::Link(Change::Gone(link(CLUSTER, false)))));
    transitions.extend(sim.handle(ports(None)));
    assert_eq!(transitions, [Transition::ClusterPort { port: "eth0".into(), present: false }]);
}

#[test]
fn a_renamed_cluster_port_is_reported_by_its_old_name() {
    let mut sim = Simulation::at_a_venue();
    let renamed = Link { name: "lan9".into(), ..link(CLUSTER, true) };
    let transitions = sim.handle(Event::Link(Change::Present(renamed)));
    assert_eq!(transitions, [Transition::ClusterPort { port: "eth0".into(), present: false }]);
    let transitions = sim.handle(Event::Link(Change::Present(link(CLUSTER, true))));
    assert_eq!(transitions, [Transition::ClusterPort { port: "eth0".into(), present: true }]);
}

#[test]
fn saving_is_retried_every_minute() {
    let mut sim = Simulation::at_a_venue();
    sim.handle(ports(Some("/var/lib/bramblegate/previous.json cannot be written: no space")));
    for _ in 0..3 {
        sim.resynced();
        sim.wait(59_000);
        assert_eq!(sim.resynced(), []);
        sim.wait(1_100);
        assert_eq!(sim.resynced(), [Output::Link]);
        sim.handle(ports(Some("still no space")));
    }
    sim.handle(ports(None));
    sim.resynced();
    sim.wait(200_000);
    assert_eq!(sim.resynced(), []);
}

/// The reconciler reports every rule set as adopted, but only the first one replaced that of an
/// earlier run.
#[test]
fn only_the_first_rule_set_of_a_run_adopts_one() {
    let mut sim = Simulation::at_a_venue();
    let applied = Applied::Firewall {
        masquerade: true,
        owned: true,
        flow_table: None,
        rejects: None,
        adopted: true,
    };
    let report = Event::Applied(ApplyReport { output: Output::Firewall, result: Ok(applied) });
    for first in [true, false] {
        let transitions = sim.handle(report.clone());
        assert!(
            matches!(transitions.as_slice(), [Transition::RulesetApplied { adopted, .. }] if *adopted == first),
            "{transitions:?}"
        );
    }
}

#[test]
fn a_portal_is_cleared_when_probes_are_switched_off() {
    let mut sim = Simulation::at_a_venue();
    sim.handle(Event::Probe(Probe::Uplink { index: WIRED, reachability: Reachability::Portal }));
    assert_eq!(sim.facts.active().unwrap().state, UplinkState::Portal);
    let mut quiet = (*settings()).clone();
    quiet.uplink.probe = crate::config::UplinkProbe::Off;
    sim.facts.reload(Arc::new(quiet), sim.now);
    assert_eq!(sim.facts.active().unwrap().state, UplinkState::Addressed);
}

#[test]
fn default_routes_are_found_among_many_others() {
    let mut facts = mirror::KernelFacts::default();
    let destinations = [
        "0.0.0.0/0",
        "0.0.0.0/1",
        "0.0.0.0/8",
        "10.0.0.0/8",
        "203.0.113.0/24",
        "::/0",
        "::/1",
        "fe80::/64",
    ];
    for (number, destination) in destinations.iter().enumerate() {
        for table in [0, 253, 254, 255, 51_003] {
            for index in [WIRED, RADIO] {
                let metric = u32::try_from(number).unwrap() * 10;
                let route = Route {
                    table,
                    destination: destination.parse().unwrap(),
                    ..default_route(index, "10.0.0.1", metric)
                };
                facts.apply_route(&Change::Present(route));
            }
        }
    }
    let searched =
        facts.routes().filter(|r| r.table == mirror::TABLE_MAIN && r.destination.prefix_len() == 0);
    assert_eq!(facts.default_routes().collect::<Vec<_>>(), searched.collect::<Vec<_>>());
    assert_eq!(facts.default_routes().count(), 4);
    let best = facts.default_route(RADIO).unwrap();
    assert_eq!((best.index, best.destination), (RADIO, "0.0.0.0/0".parse().unwrap()));
}

#[test]
fn a_kernel_without_reject_is_reported_once() {
    let mut sim = Simulation::at_a_venue();
    let mut transitions = |rejects| {
        let result = Ok(Applied::Firewall {
            masquerade: true,
            owned: true,
            flow_table: None,
            rejects,
            adopted: false,
        });
        let transitions =
            sim.handle(Event::Applied(ApplyReport { output: Output::Firewall, result }));
        transitions.iter().any(|transitions| {
            matches!(transitions, Transition::RulesetApplied { rejects: Some(false), .. })
        })
    };
    // A node goes down, comes back, and goes down again.
    assert_eq!(
        [Some(true), None, Some(false), None, Some(false)].map(&mut transitions),
        [false, false, true, false, false]
    );
}
