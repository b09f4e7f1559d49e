//! Settings of our ports that others change.

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
fn what_was_set_and_is_not_any_more_is_put_back_and_reported_once() {
    let mut sim = Simulation::at_a_venue();
    assert_eq!(sim.handle(transitions(WIRED, 1)), []);
    sim.rung();
    assert_eq!(sim.handle(transitions(WIRED, 0)), [], "reported when it is mended");
    assert_eq!(sim.rung(), [Output::Link]);
    assert_eq!(words(&sim.handle(put_back())), ["arp_ignore was set to 0 on eth1"]);
    assert_eq!(sim.handle(transitions(WIRED, 0)), []);
    assert_eq!(sim.handle(put_back()), [], "known by now");
    assert_eq!(sim.rung(), [Output::Link], "but looked at each time");
    let strict = Netconf { index: WIRED, rp_filter: Some(1), ..Netconf::default() };
    assert_eq!(sim.handle(Event::Netconf(strict)), []);
    assert_eq!(words(&sim.handle(put_back())), ["rp_filter was set to 1 on eth1"]);
}

/// The watch reads the settings every minute and knows nothing of what they should be.
#[test]
fn what_is_read_again_is_no_news_and_what_is_undone_again_is_reported_again() {
    let mut sim = Simulation::at_a_venue();
    for _ in 0..2 {
        sim.handle(transitions(WIRED, 1));
        sim.rung();
        let generation = sim.facts.links().generation();
        assert_eq!(sim.handle(transitions(WIRED, 1)), []);
        assert_eq!((sim.rung(), sim.facts.links().generation()), (vec![], generation));
        sim.handle(transitions(WIRED, 0));
        assert_eq!(sim.rung(), [Output::Link]);
        assert_eq!(words(&sim.handle(put_back())), ["arp_ignore was set to 0 on eth1"]);
    }
}

#[test]
fn what_is_not_ours_to_keep_is_left_alone() {
    let mut sim = Simulation::at_a_venue();
    sim.rung();
    let strict = Netconf { index: CLUSTER, rp_filter: Some(1), ..Netconf::default() };
    assert_eq!(sim.handle(Event::Netconf(strict)), [], "at the cluster port it is anybody's");
    assert_eq!(sim.handle(transitions(9, 0)), [], "no port of ours");
    assert_eq!(sim.rung(), []);
    sim.handle(transitions(CLUSTER, 1));
    sim.handle(Event::Link(Change::Present(Link { master: Some(9), ..link(CLUSTER, true) })));
    sim.rung();
    assert_eq!(
        sim.handle(transitions(CLUSTER, 0)),
        [],
        "a bridge's port has been let go: that was us"
    );
    assert_eq!(sim.rung(), []);
}
