//! Events in any order, at any pace.

use std::collections::BTreeMap;
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::decide::{self, Desired};
use crate::event::{
    Anycast, Applied, ApplyError, ApplyErrorKind, ApplyReport, Blocker, Delegated, Firewall, Flow,
    Netconf, NodeId, Output, Round, Rule, Vital,
};
use crate::facts::uplink::ROW1_GRACE;

const NETS: [&str; 7] = [
    "10.99.0.126/24",
    "10.99.0.127/24",
    "192.168.50.1/24",
    "192.168.50.11/24",
    "192.168.50.200/24",
    "169.254.7.7/16",
    "2001:db8::7/64",
];

fn index() -> impl Strategy<Value = LinkIndex> {
    prop::sample::select(vec![CLUSTER, WIRED, RADIO, 9])
}

fn change<T: std::fmt::Debug + Clone>(
    what: impl Strategy<Value = T>,
) -> impl Strategy<Value = Change<T>> {
    (what, prop::bool::weighted(0.7)).prop_map(|(what, present)| {
        if present { Change::Present(what) } else { Change::Gone(what) }
    })
}

fn any_link() -> impl Strategy<Value = Link> {
    (index(), prop::bool::weighted(0.8), prop::bool::weighted(0.9), prop::bool::weighted(0.1))
        .prop_map(|(index, carrier, up, enslaved)| Link {
            up,
            master: enslaved.then_some(9),
            ..link(index, carrier)
        })
}

fn any_address() -> impl Strategy<Value = Address> {
    let rarely = || prop::bool::weighted(0.1);
    let flags = (rarely(), rarely(), rarely(), prop::option::of(1_u64..100));
    (index(), prop::sample::select(&NETS[..]), flags).prop_map(
        |(index, net, (tentative, deprecated, ours, valid))| Address {
            tentative,
            deprecated,
            valid_for: valid.map(Duration::from_secs),
            protocol: if ours { crate::facts::ROUTE_PROTOCOL } else { 0 },
            ..address(index, net)
        },
    )
}

fn any_route() -> impl Strategy<Value = Route> {
    let gateway =
        prop::sample::select(vec!["10.99.0.1", "192.168.50.1", "192.168.50.254", "fe80::1"]);
    (index(), gateway, prop::sample::select(vec![50, 100, 600]), any::<bool>()).prop_map(
        |(index, gateway, metric, ours)| Route {
            protocol: if ours { crate::facts::ROUTE_PROTOCOL } else { 16 },
            ..default_route(index, gateway, metric)
        },
    )
}

fn any_rule() -> impl Strategy<Value = Rule> {
    (5100_u32..5103, any::<bool>()).prop_map(|(preference, ours)| Rule {
        preference,
        ipv6: false,
        source: None,
        destination: None,
        output: None,
        input: None,
        mark: None,
        suppress: None,
        table: 254,
        protocol: if ours { crate::facts::ROUTE_PROTOCOL } else { 2 },
        flow: Flow::default(),
    })
}

fn probe() -> impl Strategy<Value = Event> {
    let found = vec![Reachability::Online, Reachability::Portal, Reachability::Nothing];
    let uplink = (index(), prop::sample::select(found))
        .prop_map(|(index, reachability)| Event::Probe(Probe::Uplink { index, reachability }));
    // The third is no node.
    let node = (0_u32..3, prop::option::of(1_u64..9)).prop_map(|(slot, rtt)| {
        let (node, rtt) = (NodeId { slot, generation: 0 }, rtt.map(Duration::from_millis));
        Event::Probe(Probe::Nodes(vec![Round { node, rtt, first_lost: rtt.is_none() }]))
    });
    prop_oneof![uplink, node]
}

fn firewall() -> impl Strategy<Value = Event> {
    let blocker =
        Blocker { table: None, chain: Some("FORWARD".into()), remedy: "remove it".into() };
    prop_oneof![
        Just(Firewall::Disturbed { by: None }),
        prop::option::of(Just(blocker)).prop_map(Firewall::Blocked),
        (0_u64..9, 0_u64..9)
            .prop_map(|(forwarded, postrouted)| Firewall::Counters { forwarded, postrouted }),
    ]
    .prop_map(Event::Firewall)
}

fn report() -> impl Strategy<Value = Event> {
    let outputs =
        vec![Output::Link, Output::Firewall, Output::Routing, Output::Display, Output::Indicator];
    let rules = Applied::Firewall {
        masquerade: true,
        owned: true,
        flow_table: None,
        rejects: None,
        adopted: false,
    };
    let failure = ApplyError { kind: ApplyErrorKind::Failed, message: "no".into() };
    let results = vec![Ok(Applied::Done), Ok(rules), Err(failure)];
    (prop::sample::select(outputs), prop::sample::select(results))
        .prop_map(|(output, result)| Event::Applied(ApplyReport { output, result }))
}

fn any_anycast() -> impl Strategy<Value = Anycast> {
    (index(), 1u16..4).prop_map(|(index, last)| Anycast {
        index,
        address: std::net::Ipv6Addr::new(0x2001, 0xdb8, 0x64, 0, 0, 0, 0, last),
    })
}

fn any_delegated() -> impl Strategy<Value = Delegated> {
    (1u16..4).prop_map(|nth| {
        let prefix = std::net::Ipv6Addr::new(0x2001, 0xdb8, nth << 8, 0, 0, 0, 0, 0);
        Delegated(ipnet::Ipv6Net::new_assert(prefix, 56))
    })
}

fn event() -> impl Strategy<Value = Event> {
    let netconf = (index(), any::<bool>()).prop_map(|(index, on)| {
        Event::Netconf(Netconf { index, forwarding: Some(on), ..Netconf::default() })
    });
    let egress = prop::option::of(index()).prop_map(|index| Event::Vital(Vital::Egress { index }));
    prop_oneof![
        4 => change(any_link()).prop_map(Event::Link),
        6 => change(any_address()).prop_map(Event::Address),
        1 => change(any_anycast()).prop_map(Event::Anycast),
        1 => change(any_delegated()).prop_map(Event::Delegated),
        4 => change(any_route()).prop_map(Event::Route),
        1 => change(any_rule()).prop_map(Event::Rule),
        1 => netconf,
        3 => probe(),
        1 => firewall(),
        1 => report(),
        1 => egress,
        1 => Just(Event::Reload),
        1 => prop::sample::select(vec![Event::Tick, Event::Overrun, Event::Dump(Dump::Begin), Event::Dump(Dump::End)]),
    ]
}

/// Generates events, each after a pause in milliseconds.
fn story() -> impl Strategy<Value = Vec<(u64, Event)>> {
    let pause =
        prop::sample::select(vec![0, 0, 0, 1, 50, 150, 200, 201, 900, 2000, 5000, 11_000, 61_000]);
    prop::collection::vec((pause, event()), 0..60)
}

impl Simulation {
    fn play(&mut self, story: &[(u64, Event)]) {
        for (pause, event) in story {
            self.wait(*pause);
            self.handle(event.clone());
        }
    }

    fn decide(&self) -> Desired {
        decide::decide(self.facts.settings(), &self.facts)
    }
}

/// Returns the part of the state that does not depend on history.
fn essence(sim: &Simulation) -> String {
    let desired = sim.decide();
    let plan = desired.gateway.map_or_else(String::new, |gateway| {
        let routing = (&gateway.routing.rules, &gateway.routing.routes);
        format!("{:#?}\n{routing:#?}\n{}", gateway.links.ports, gateway.firewall.ruleset)
    });
    let uplinks: Vec<_> = sim
        .facts
        .uplinks()
        .iter()
        .map(|uplink| {
            (uplink.link.name.clone(), uplink.state, uplink.settled, uplink.address, uplink.gateway)
        })
        .collect();
    let active = sim.facts.active().map(|uplink| uplink.link.name.clone());
    let (overlap, cluster) = (desired.overlap, desired.cluster_address);
    format!(
        "active {active:?}\nuplinks {uplinks:#?}\n{:#?}\n{overlap:?} {cluster}\n{plan}",
        desired.alerts
    )
}

proptest! {
    #[test]
    fn deadlines_come_to_an_end(story in story()) {
        let mut sim = Simulation::new();
        sim.play(&story);
        let mut ticks = 0;
        while let Some(at) = sim.facts.next_deadline() {
            prop_assert!(at > sim.facts.now(), "the deadline {at:?} is not after {:?}", sim.facts.now());
            sim.now = at;
            sim.handle(Event::Tick);
            ticks += 1;
            prop_assert!(ticks < 50, "time alone never comes to rest");
        }
        let before = essence(&sim);
        sim.now = sim.now + Duration::from_secs(100_000);
        sim.handle(Event::Tick);
        prop_assert_eq!(before, essence(&sim), "no deadline, and yet time changed something");
    }

    #[test]
    fn row_1_shows_an_address_that_is_or_was_just_present(story in story()) {
        let mut sim = Simulation::new();
        let mut last_held: BTreeMap<(LinkIndex, IpNet), Instant> = BTreeMap::new();
        for (pause, event) in &story {
            let mut held = |sim: &Simulation| {
                for index in [CLUSTER, WIRED, RADIO, 9] {
                    for address in sim.facts.kernel().addresses(index) {
                        last_held.insert((index, address.address), sim.now);
                    }
                }
            };
            sim.wait(*pause);
            held(&sim);
            sim.handle(event.clone());
            held(&sim);
            let Some(active) = sim.facts.active() else { continue };
            let Some(shown) = active.address else { continue };
            prop_assert!(active.link.up && active.link.carrier, "{shown} is shown, and {} has no carrier", active.link.name);
            let at = last_held.get(&(active.link.index, shown));
            prop_assert!(
                at.is_some_and(|at| sim.now.saturating_since(*at) <= ROW1_GRACE),
                "{shown} is shown at {:?}, was held until {at:?}", sim.now
            );
        }
    }

    #[test]
    fn a_decision_without_an_event_equals_the_previous_one(
        story in story(), forwards: bool, acknowledged in 0_usize..60,
    ) {
        let mut sim = Simulation::new();
        if forwards {
            let text = format!("{SETTINGS}\n[[forward]]\nlisten = 2201\nto = \"rpi1:22\"\n");
            sim.facts.reload(parsed(&text), sim.now);
        }
        let mut decider = decide::Decider::default();
        for (place, (pause, event)) in story.iter().enumerate() {
            sim.wait(*pause);
            sim.handle(event.clone());
            let desired = decider.decide(sim.facts.settings(), &sim.facts);
            prop_assert_eq!(&desired, &sim.decide(), "after {:?}", event);
            if place == acknowledged {
                let made = decide::alert::acknowledge::all_standing(&sim.facts, &desired);
                sim.handle(Event::Acknowledgement(made));
            }
            // If all acknowledged alerts are raised, a list of the raised ones changes nothing.
            if decide::alert::acknowledge::still_standing(&sim.facts, &desired).is_none() {
                let standing = decide::alert::acknowledge::standing(&sim.facts, &desired);
                prop_assert_eq!(&standing, sim.facts.acknowledged());
            }
        }
    }

    #[test]
    fn counts_equal_a_recount(story in story()) {
        let mut sim = Simulation::new();
        sim.play(&story);
        let nodes = sim.facts.nodes();
        for health in [NodeHealth::Unknown, NodeHealth::Up, NodeHealth::Degraded, NodeHealth::Down] {
            prop_assert_eq!(nodes.count(health), nodes.iter().filter(|node| node.health == health).count());
        }
        prop_assert_eq!(nodes.total(), nodes.iter().count());
    }

    #[test]
    fn the_same_events_give_the_same_state(story in story()) {
        let (mut one, mut other) = (Simulation::new(), Simulation::new());
        one.play(&story);
        other.play(&story);
        prop_assert_eq!(format!("{:?}", one.facts), format!("{:?}", other.facts));
    }

    /// Events are shuffled, but links are reported before their addresses, as in the kernel.
    #[test]
    fn the_order_of_unrelated_events_does_not_matter_in_the_end(
        links in prop::collection::btree_map(index(), any_link(), 1..4),
        addresses in prop::collection::btree_map((index(), 0..7_usize), any_address(), 0..5),
        routes in prop::collection::btree_set(any_route(), 0..4),
        seed in any::<prop::sample::Index>(),
        pauses in prop::collection::vec(prop::sample::select(vec![0_u64, 300, 3000, 12_000]), 12),
    ) {
        let mut facts: Vec<Event> = addresses
            .iter()
            .map(|((index, net), held)| Address { tentative: false, deprecated: false, ..Address {
                valid_for: held.valid_for, ..address(*index, NETS[*net]) } })
            // The order of usable addresses on one port matters, as row 1 shows the first.
            .fold(BTreeMap::new(), |mut by_port, held| { by_port.insert(held.index, held); by_port })
            .into_values()
            .map(|held| Event::Address(Change::Present(held)))
            .collect();
        facts.extend(routes.iter().cloned().map(|route| Event::Route(Change::Present(route))));
        let start: Vec<(u64, Event)> = std::iter::once(Event::Dump(Dump::Begin))
            .chain(links.iter().map(|(index, known)| Event::Link(Change::Present(Link { index: *index, ..named(known, *index) }))))
            .chain(std::iter::once(Event::Dump(Dump::End)))
            .map(|event| (0, event))
            .collect();
        let mut rotated = facts.clone();
        if !facts.is_empty() {
            rotated.rotate_left(seed.index(facts.len()));
            rotated.reverse();
        }
        let ends: Vec<String> = [facts, rotated]
            .into_iter()
            .map(|facts| {
                let mut sim = Simulation::new();
                sim.play(&start);
                let paced: Vec<(u64, Event)> = pauses.iter().copied().cycle().zip(facts).collect();
                sim.play(&paced);
                sim.wait(3_600_000);
                essence(&sim)
            })
            .collect();
        prop_assert_eq!(&ends[0], &ends[1]);
    }

    /// A dump corrects the state after lost events.
    #[test]
    fn a_dump_equals_a_fresh_start(
        story in story(),
        links in prop::collection::btree_map(index(), any_link(), 0..4),
        routes in prop::collection::btree_set(any_route(), 0..4),
        nets in prop::collection::vec(prop::sample::select(&NETS[..]), 4),
    ) {
        let listing: Vec<(u64, Event)> = std::iter::once(Event::Dump(Dump::Begin))
            .chain(links.iter().map(|(index, known)| Event::Link(Change::Present(named(known, *index)))))
            .chain(links.keys().zip(&nets).map(|(index, net)| Event::Address(Change::Present(address(*index, net)))))
            .chain(routes.iter().filter(|route| links.contains_key(&route.index)).cloned()
                .map(|route| Event::Route(Change::Present(route))))
            .chain(std::iter::once(Event::Dump(Dump::End)))
            .map(|event| (0, event))
            .collect();
        let mut used = Simulation::new();
        // Only what the kernel reports: probes, reports and other sources are not in a dump.
        let kernel = |event: &Event| matches!(event, Event::Link(_) | Event::Address(_) | Event::Anycast(_) | Event::Delegated(_) | Event::Route(_) | Event::Rule(_));
        let missed: Vec<_> = story.into_iter().filter(|(_, event)| kernel(event)).collect();
        used.play(&missed);
        used.play(&listing);
        let mut fresh = Simulation::new();
        fresh.play(&listing);
        used.wait(3_600_000);
        fresh.wait(3_600_000);
        prop_assert_eq!(essence(&used), essence(&fresh));
    }
}

/// Returns `known` as interface `index`.
fn named(known: &Link, index: LinkIndex) -> Link {
    Link {
        up: known.up,
        master: known.master.filter(|master| *master != index),
        ..link(index, known.carrier)
    }
}
