//! Drift of the settings of our ports.

use super::*;
use crate::event::{Applied, ApplyReport};

fn transitions(index: LinkIndex, arp_ignore: u8) -> Event {
    let (forwarding, rp_filter, arp_announce) = (Some(true), Some(2), Some(2));
    let arp_ignore = Some(arp_ignore);
    Event::Netconf(Netconf {
        index,
        forwarding,
        rp_filter,
        arp_ignore,
        arp_announce,
        ..Netconf::default()
    })
}

fn put_back() -> Event {
    Event::Applied(ApplyReport { output: Output::Link, result: Ok(Applied::Link { unkept: None }) })
}

fn words(transitions: &[Transition]) -> Vec<&str> {
    let what = transitions.iter().map(|transition| match transition {
        Transition::Disturbed { what, .. } => what.as_str(),
        other => panic!("{other:?}"),
    });
    what.collect()
}

#[test]
fn drift_of_a_setting_is_repaired_and_reported_once() {
    let mut sim = Simulation::at_a_venue();
    assert_eq!(sim.handle(transitions(WIRED, 1)), []);
    sim.resynced();
    assert_eq!(sim.handle(transitions(WIRED, 0)), [], "reported when it is mended");
    assert_eq!(sim.resynced(), [Output::Link]);
    assert_eq!(words(&sim.handle(put_back())), ["arp_ignore was set to 0 on eth1"]);
    assert_eq!(sim.handle(transitions(WIRED, 0)), []);
    assert_eq!(sim.handle(put_back()), [], "known by now");
    assert_eq!(sim.resynced(), [Output::Link], "but looked at each time");
    let strict = Netconf { index: WIRED, rp_filter: Some(1), ..Netconf::default() };
    assert_eq!(sim.handle(Event::Netconf(strict)), []);
    assert_eq!(words(&sim.handle(put_back())), ["rp_filter was set to 1 on eth1"]);
}

/// The watch reports the settings every minute, whatever they should be.
#[test]
fn repeated_readings_are_ignored_and_repeated_drift_is_reported() {
    let mut sim = Simulation::at_a_venue();
    for _ in 0..2 {
        sim.handle(transitions(WIRED, 1));
        sim.resynced();
        let generation = sim.facts.links().generation();
        assert_eq!(sim.handle(transitions(WIRED, 1)), []);
        assert_eq!((sim.resynced(), sim.facts.links().generation()), (vec![], generation));
        sim.handle(transitions(WIRED, 0));
        assert_eq!(sim.resynced(), [Output::Link]);
        assert_eq!(words(&sim.handle(put_back())), ["arp_ignore was set to 0 on eth1"]);
    }
}

#[test]
fn unmanaged_settings_are_left_alone() {
    let mut sim = Simulation::at_a_venue();
    sim.resynced();
    let strict = Netconf { index: CLUSTER, rp_filter: Some(1), ..Netconf::default() };
    assert_eq!(sim.handle(Event::Netconf(strict)), [], "at the cluster port it is anybody's");
    assert_eq!(sim.handle(transitions(9, 0)), [], "not one of our ports");
    assert_eq!(sim.resynced(), []);
    sim.handle(transitions(CLUSTER, 1));
    sim.handle(Event::Link(Change::Present(Link { master: Some(9), ..link(CLUSTER, true) })));
    sim.resynced();
    assert_eq!(
        sim.handle(transitions(CLUSTER, 0)),
        [],
        "we restored the settings of a bridge's port ourselves"
    );
    assert_eq!(sim.resynced(), []);
}
