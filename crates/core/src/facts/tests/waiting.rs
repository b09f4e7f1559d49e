//! Outputs that wait for another one, and nodes that are awaited.

use std::collections::BTreeSet;

use super::*;
use crate::decide::alert::acknowledge;
use crate::decide::decide;
use crate::event::{Acknowledgement, AlertCode, AlertId};
use crate::event::{Applied, ApplyError, ApplyErrorKind, ApplyReport};

fn report(output: Output, result: Result<Applied, ApplyErrorKind>) -> Event {
    let result = result.map_err(|kind| ApplyError { kind, message: "a reason".to_owned() });
    Event::Applied(ApplyReport { output, result })
}

#[test]
fn waiting_routes_are_retried_silently_when_the_address_is_set() {
    let mut sim = Simulation::at_a_venue();
    sim.handle(report(Output::Routing, Ok(Applied::Done)));
    sim.resynced();
    assert_eq!(sim.handle(report(Output::Routing, Err(ApplyErrorKind::Waiting))), []);
    assert!(!sim.facts.outputs().is_well(Output::Routing));
    assert!(
        !decide(sim.facts.settings(), &sim.facts)
            .alerts
            .iter()
            .any(|alert| alert.code == AlertCode::GatewayRouting)
    );
    sim.handle(report(Output::Link, Err(ApplyErrorKind::Failed)));
    assert_eq!(sim.resynced(), []);
    sim.handle(report(Output::Link, Ok(Applied::Link { unkept: None })));
    assert_eq!(sim.resynced(), [Output::Routing], "looked at again at once");
    assert_eq!(sim.handle(report(Output::Routing, Ok(Applied::Done))), []);
    sim.handle(report(Output::Link, Ok(Applied::Link { unkept: None })));
    assert_eq!(sim.resynced(), [], "nothing is waited for any more");
}

/// Without our routes and rules, replies may leave by another uplink.
#[test]
fn ready_waits_for_routing_but_not_for_what_the_kernel_rejects() {
    let applied = Applied::Firewall {
        masquerade: true,
        owned: true,
        flow_table: None,
        rejects: None,
        adopted: false,
    };
    for routing in [Ok(Applied::Done), Err(ApplyErrorKind::Failed), Err(ApplyErrorKind::Waiting)] {
        let mut sim = Simulation::at_a_venue();
        for index in [CLUSTER, WIRED] {
            let forwards = Netconf { index, forwarding: Some(true), ..Netconf::default() };
            sim.handle(Event::Netconf(forwards));
        }
        sim.handle(report(Output::Firewall, Ok(applied.clone())));
        sim.handle(report(Output::Link, Ok(Applied::Link { unkept: None })));
        assert!(!sim.facts.stands(), "our routes and rules are not there yet");
        sim.handle(report(Output::Routing, routing.clone()));
        assert!(sim.facts.stands(), "{routing:?}");
        sim.handle(report(Output::Firewall, Err(ApplyErrorKind::Failed)));
        assert!(!sim.facts.stands(), "without the rules nothing stands");
    }
}

impl Simulation {
    fn silent(&mut self, rounds: usize) -> Vec<Transition> {
        let nodes: Vec<_> = self.facts.nodes().iter().map(|node| node.id).collect();
        let round = |node: &_| Round { node: *node, rtt: None, first_lost: true };
        let all = Event::Probe(Probe::Nodes(nodes.iter().map(round).collect()));
        (0..rounds).flat_map(|_| self.handle(all.clone())).collect()
    }

    fn codes(&self) -> Vec<AlertCode> {
        decide(self.facts.settings(), &self.facts).alerts.iter().map(|alert| alert.code).collect()
    }
}

#[test]
fn nodes_are_awaited_for_a_minute_after_carrier_up() {
    let mut sim = Simulation::at_a_venue();
    assert_eq!(sim.silent(3), [Transition::NodesAwaited], "reported once, so that it is shown");
    assert_eq!(sim.codes(), [AlertCode::NodeAwaited]);
    sim.handle(Event::Link(Change::Present(link(CLUSTER, false))));
    sim.silent(300);
    assert_eq!(sim.codes(), [AlertCode::GatewayPortNoCarrier]);
    sim.wait(100_000);
    sim.handle(Event::Link(Change::Present(link(CLUSTER, true))));
    sim.wait(59_000);
    sim.silent(1);
    assert_eq!(sim.codes(), [AlertCode::NodeAwaited]);
    sim.wait(1000);
    sim.silent(1);
    assert_eq!(sim.codes(), [AlertCode::NodeDown; 2]);
}

#[test]
fn an_acknowledged_node_that_is_still_down_after_a_restart_raises_no_alarm() {
    let mut sim = Simulation::new();
    let down: AlertId = "node-down node=rpi1".parse().unwrap();
    let known = BTreeSet::from([down.clone(), "uplink-portal port=eth1".parse().unwrap()]);
    sim.handle(Event::Acknowledgement(Acknowledgement::Restored(known.clone())));
    sim.handle(Event::Dump(Dump::Begin));
    sim.handle(Event::Dump(Dump::End));
    let left = |sim: &mut Simulation| {
        let desired = decide(sim.facts.settings(), &sim.facts);
        let standing = acknowledge::still_standing(&sim.facts, &desired);
        standing
            .into_iter()
            .for_each(|standing| drop(sim.handle(Event::Acknowledgement(standing))));
        sim.facts.acknowledged().clone()
    };
    sim.wait(59_000);
    assert_eq!(left(&mut sim), known);
    sim.handle(Event::Link(Change::Present(link(CLUSTER, true))));
    sim.wait(59_000);
    sim.silent(3);
    assert_eq!(left(&mut sim), BTreeSet::from([down]));
    sim.wait(1000);
    sim.silent(1);
    let alerts = decide(sim.facts.settings(), &sim.facts).alerts;
    assert!(
        alerts.iter().any(|alert| alert.panel == "rpi1 down" && alert.acknowledged),
        "{alerts:?}"
    );
}
