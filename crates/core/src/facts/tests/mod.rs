//! Properties of the facts under events in any order, with a clock that is only a number.

mod cluster;
mod drift;
mod netconf;
mod ports;
mod properties;
mod waiting;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;

use super::link::mirror;
use super::node::NodeHealth;
use super::uplink::UplinkState;
use super::{Facts, Transition};
use crate::config::board::Board;
use crate::config::{self, Settings};
use crate::decide;
use crate::event::{
    Address, Change, Dump, Event, Instant, Link, LinkIndex, Mac, Neighbour, Netconf, Output, Probe,
    Reachability, Round, Route,
};

const CLUSTER: LinkIndex = 2;
const WIRED: LinkIndex = 3;
const RADIO: LinkIndex = 4;

/// Settings at the start of the simulation.
const SETTINGS: &str = r#"
        board = "emulated"
        [uplink]
        interfaces = ["eth1", "wlan0"]
        [cluster]
        interface = "eth0"
        address = "192.168.50.1/24"
        fallback_addresses = ["10.213.50.1/24"]
        [[node]]
        name = "rpi1"
        address = "192.168.50.11"
        [[node]]
        name = "rpi2"
        address = "192.168.50.12"
    "#;

pub(super) fn settings() -> Arc<Settings> {
    parsed(SETTINGS)
}

/// Returns edited settings, with another subnet, other nodes and only one uplink.
fn edited_settings() -> Arc<Settings> {
    parsed(
        r#"
        board = "emulated"
        [uplink]
        interfaces = ["wlan0"]
        [cluster]
        interface = "eth0"
        address = "192.168.60.1/24"
        [[node]]
        name = "rpi2"
        address = "192.168.60.12"
        [[node]]
        name = "rpi3"
        address = "192.168.60.13"
    "#,
    )
}

fn parsed(text: &str) -> Arc<Settings> {
    Arc::new(config::load(&[("settings", text)], &Board::built_in("emulated").unwrap()).unwrap())
}

fn link(index: LinkIndex, carrier: bool) -> Link {
    let name = match index {
        CLUSTER => "eth0",
        WIRED => "eth1",
        RADIO => "wlan0",
        _ => "docker0",
    };
    Link { carrier, wireless: index == RADIO, ..Link::wired(index, name) }
}

fn address(index: LinkIndex, net: &str) -> Address {
    let net: IpNet = net.parse().unwrap();
    let link_local = match net {
        IpNet::V4(v4) => v4.addr().is_link_local(),
        IpNet::V6(v6) => v6.addr().is_unicast_link_local(),
    };
    Address { link_local, ..Address::lasting(index, net) }
}

fn default_route(index: LinkIndex, gateway: &str, metric: u32) -> Route {
    let gateway: IpAddr = gateway.parse().unwrap();
    let destination = if gateway.is_ipv4() { "0.0.0.0/0" } else { "::/0" };
    Route {
        table: mirror::TABLE_MAIN,
        destination: destination.parse().unwrap(),
        gateway: Some(gateway),
        index,
        metric,
        protocol: 16,
        onlink: false,
        preferred_source: None,
        mtu: None,
    }
}

/// The facts with a simulated clock.
struct Simulation {
    facts: Facts,
    now: Instant,
    edited: bool,
}

impl Simulation {
    fn new() -> Self {
        let now = Instant::from_boot(Duration::from_secs(100));
        Self { facts: Facts::new(settings(), now), now, edited: false }
    }

    /// Simulates the head at a venue by cable, with an address and internet.
    fn at_a_venue() -> Self {
        let mut sim = Self::new();
        sim.handle(Event::Dump(Dump::Begin));
        sim.handle(Event::Link(Change::Present(link(CLUSTER, true))));
        sim.handle(Event::Link(Change::Present(link(WIRED, true))));
        sim.handle(Event::Dump(Dump::End));
        sim.handle(Event::Address(Change::Present(address(WIRED, "10.99.0.126/24"))));
        sim.handle(Event::Route(Change::Present(default_route(WIRED, "10.99.0.1", 100))));
        sim.handle(Event::Probe(Probe::Uplink {
            index: WIRED,
            reachability: Reachability::Online,
        }));
        sim.wait(10_000);
        let desired = decide::decide(sim.facts.settings(), &sim.facts);
        sim.facts.note_ordered(decide::link::ordered(&desired));
        sim
    }

    fn handle(&mut self, event: Event) -> Vec<Transition> {
        if event == Event::Reload {
            self.edited = !self.edited;
            return self
                .facts
                .reload(if self.edited { edited_settings() } else { settings() }, self.now);
        }
        self.facts.apply(&event, self.now)
    }

    /// Takes the outputs that are resynced with the next decision.
    fn resynced(&mut self) -> Vec<Output> {
        let resyncs = self.facts.take_resyncs();
        let outputs = [Output::Link, Output::Firewall, Output::Routing, Output::Conntrack];
        outputs.into_iter().filter(|output| resyncs.contains(*output)).collect()
    }

    fn wait(&mut self, milliseconds: u64) -> Vec<Transition> {
        let until = self.now + Duration::from_millis(milliseconds);
        let mut transitions = Vec::new();
        while let Some(at) = self.facts.next_deadline().filter(|at| *at <= until) {
            self.now = at;
            transitions.extend(self.handle(Event::Tick));
        }
        self.now = until;
        transitions
    }

    fn row1(&self) -> Option<String> {
        Some(self.facts.active()?.address?.addr().to_string())
    }

    fn gone(&mut self) -> Vec<Transition> {
        self.handle(Event::Address(Change::Gone(address(WIRED, "10.99.0.126/24"))))
    }

    fn back(&mut self) -> Vec<Transition> {
        self.handle(Event::Address(Change::Present(address(WIRED, "10.99.0.126/24"))))
    }
}

#[test]
fn a_short_renewal_changes_nothing() {
    let mut sim = Simulation::at_a_venue();
    let since = sim.facts.active().unwrap().since;
    assert_eq!(sim.gone(), []);
    assert_eq!(sim.row1().as_deref(), Some("10.99.0.126"));
    sim.wait(150);
    let transitions = sim.back();
    assert!(
        matches!(transitions.as_slice(), [Transition::UplinkRenewed { .. }]),
        "{transitions:?}"
    );
    let active = sim.facts.active().unwrap();
    assert_eq!((active.since, active.state), (since, UplinkState::Online));
}

#[test]
fn a_slow_renewal_leaves_row_1_and_is_still_one_renewal() {
    let mut sim = Simulation::at_a_venue();
    sim.gone();
    sim.wait(250);
    assert_eq!(sim.row1(), None, "never a stale number for more than 200 ms");
    assert_eq!(sim.facts.active().unwrap().settled, UplinkState::Online);
    sim.wait(1000);
    let transitions = sim.back();
    assert!(
        transitions.iter().any(|t| matches!(t, Transition::UplinkRenewed { .. })),
        "{transitions:?}"
    );
    assert!(
        !transitions.iter().any(|t| matches!(t, Transition::UplinkState { .. })),
        "{transitions:?}"
    );
}

#[test]
fn a_removed_address_is_lost_after_two_seconds() {
    let mut sim = Simulation::at_a_venue();
    sim.gone();
    let transitions = sim.wait(2500);
    assert!(
        transitions.iter().any(|t| matches!(t, Transition::UplinkAddressLost { .. })),
        "{transitions:?}"
    );
    assert_eq!(sim.facts.active().unwrap().state, UplinkState::Searching);
    let transitions = sim.wait(10_000);
    let no_dhcp =
        |t: &Transition| matches!(t, Transition::UplinkState { to: UplinkState::NoDhcp, .. });
    assert!(transitions.iter().any(no_dhcp), "{transitions:?}");
}

#[test]
fn a_pulled_cable_clears_row_1_at_once() {
    let mut sim = Simulation::at_a_venue();
    sim.handle(Event::Link(Change::Present(link(WIRED, false))));
    assert_eq!(sim.row1(), None);
    assert_eq!(sim.facts.active().unwrap().state, UplinkState::NoCarrier);
}

#[test]
fn a_better_uplink_takes_row_1_after_five_good_seconds() {
    let mut sim = Simulation::at_a_venue();
    sim.handle(Event::Link(Change::Present(link(RADIO, true))));
    sim.handle(Event::Address(Change::Present(address(RADIO, "172.16.3.9/16"))));
    sim.handle(Event::Route(Change::Present(default_route(RADIO, "172.16.0.1", 50))));
    sim.wait(4900);
    assert_eq!(sim.row1().as_deref(), Some("10.99.0.126"));
    sim.wait(200);
    assert_eq!(sim.row1().as_deref(), Some("172.16.3.9"));
}

#[test]
fn a_preferred_uplink_without_a_route_replaces_another_one_without() {
    let mut sim = Simulation::new();
    sim.handle(Event::Dump(Dump::Begin));
    sim.handle(Event::Dump(Dump::End));
    sim.handle(Event::Link(Change::Present(link(RADIO, true))));
    sim.handle(Event::Address(Change::Present(address(RADIO, "172.16.3.9/16"))));
    sim.handle(Event::Link(Change::Present(link(WIRED, true))));
    sim.handle(Event::Address(Change::Present(address(WIRED, "10.99.0.126/24"))));
    sim.wait(10_000);
    assert_eq!(sim.row1().as_deref(), Some("10.99.0.126"));
}

#[test]
fn a_node_is_down_after_three_lost_rounds_and_up_after_two_replies() {
    let mut sim = Simulation::at_a_venue();
    let round = |sim: &mut Simulation, answered: bool| {
        let rtt = answered.then_some(Duration::from_micros(310));
        let node = sim.facts.nodes().by_name("rpi1").unwrap().id;
        sim.handle(Event::Probe(Probe::Nodes(vec![Round { node, rtt, first_lost: !answered }])));
        sim.facts.nodes().get(node).unwrap().health
    };
    assert_eq!(round(&mut sim, true), NodeHealth::Up, "the first answer counts");
    assert_eq!(
        [false; 3].map(|r| round(&mut sim, r)),
        [NodeHealth::Up, NodeHealth::Up, NodeHealth::Down]
    );
    assert_eq!([true; 2].map(|r| round(&mut sim, r)), [NodeHealth::Down, NodeHealth::Up]);
    assert_eq!(
        [false, false, true, false].map(|r| round(&mut sim, r)),
        [NodeHealth::Up; 4],
        "one reply resets the count"
    );
}

#[test]
fn replies_from_outside_the_cluster_do_not_count() {
    let answers = |sim: &mut Simulation| {
        let node = sim.facts.nodes().by_name("rpi1").unwrap().id;
        for _ in 0..4 {
            let rtt = Some(Duration::from_micros(310));
            sim.handle(Event::Probe(Probe::Nodes(vec![Round { node, rtt, first_lost: false }])));
        }
        sim.facts.nodes().get(node).unwrap().health
    };
    for (leased, at_cluster_port, health) in [
        ("10.99.0.126/24", "192.168.50.1/24", NodeHealth::Up),
        ("192.168.50.77/24", "192.168.50.1/24", NodeHealth::Up),
        // The cluster has moved: a computer of the venue answers, or the head itself, at the node's
        // address.
        ("192.168.50.1/24", "10.213.50.1/24", NodeHealth::Down),
        ("192.168.50.11/24", "10.213.50.1/24", NodeHealth::Down),
        ("192.168.50.11/24", "192.168.50.1/24", NodeHealth::Down),
    ] {
        let mut sim = Simulation::at_a_venue();
        assert_eq!(answers(&mut sim), NodeHealth::Up);
        sim.gone();
        sim.handle(Event::Address(Change::Present(address(WIRED, leased))));
        sim.handle(Event::Address(Change::Present(address(CLUSTER, at_cluster_port))));
        assert_eq!(answers(&mut sim), health, "{leased} {at_cluster_port}");
    }
}

/// The configured board is off, and another one at its address replies: the node is down.
#[test]
fn replies_of_another_board_do_not_count_for_a_node() {
    let mut sim = Simulation::at_a_venue();
    let mut settings = sim.facts.settings().clone();
    settings.nodes[0].mac = Some(Mac([0xb8, 0x27, 0xeb, 0, 0, 1]));
    sim.facts.reload(Arc::new(settings), sim.now);
    let node = sim.facts.nodes().by_name("rpi1").unwrap().id;
    let mut health_with = |mac: u8| {
        let address = "192.168.50.11".parse().unwrap();
        let mac = Some(Mac([0xb8, 0x27, 0xeb, 0, 0, mac]));
        sim.handle(Event::Neighbour(Change::Present(Neighbour {
            index: CLUSTER,
            address,
            mac,
            reachable: true,
        })));
        for _ in 0..4 {
            let rtt = Some(Duration::from_micros(310));
            sim.handle(Event::Probe(Probe::Nodes(vec![Round { node, rtt, first_lost: false }])));
        }
        sim.facts.nodes().get(node).unwrap().health
    };
    assert_eq!(health_with(1), NodeHealth::Up);
    assert_eq!(health_with(9), NodeHealth::Down);
    assert_eq!(health_with(1), NodeHealth::Up);
}

#[test]
fn a_dump_removes_what_it_does_not_list() {
    let mut sim = Simulation::at_a_venue();
    sim.handle(Event::Overrun);
    sim.handle(Event::Dump(Dump::Begin));
    sim.handle(Event::Link(Change::Present(link(CLUSTER, true))));
    sim.handle(Event::Link(Change::Present(link(WIRED, true))));
    sim.handle(Event::Dump(Dump::End));
    sim.wait(3000);
    assert_eq!(sim.row1(), None);
    assert_eq!(sim.facts.kernel().routes().count(), 0);
}

/// The kernel does not report settings of a port that is down, so that the known ones may be stale.
#[test]
fn disabled_forwarding_is_repaired_even_if_it_was_never_reported_on() {
    let mut sim = Simulation::at_a_venue();
    let off =
        Event::Netconf(Netconf { index: WIRED, forwarding: Some(false), ..Netconf::default() });
    sim.handle(off.clone());
    sim.resynced();
    assert!(sim.handle(off).is_empty(), "nothing to report: it was not known to be on");
    assert_eq!(sim.resynced(), [Output::Link], "the reconciler looks again");
}

fn ours(index: LinkIndex, destination: &str) -> Route {
    let destination = destination.parse().unwrap();
    Route {
        table: 50_980,
        destination,
        gateway: None,
        protocol: super::ROUTE_PROTOCOL,
        ..default_route(index, "0.0.0.0", 0)
    }
}

#[test]
fn our_routes_that_the_kernel_removes_silently_are_restored() {
    let mut sim = Simulation::at_a_venue();
    sim.handle(Event::Address(Change::Present(address(CLUSTER, "192.168.50.1/24"))));
    let losses = [
        (
            "the port was switched off",
            Event::Link(Change::Present(Link { up: false, ..link(CLUSTER, false) })),
        ),
        (
            "its last address went",
            Event::Address(Change::Gone(address(CLUSTER, "192.168.50.1/24"))),
        ),
    ];
    for (what, loss) in losses {
        sim.handle(Event::Link(Change::Present(link(CLUSTER, true))));
        sim.handle(Event::Route(Change::Present(ours(CLUSTER, "192.168.50.0/24"))));
        sim.resynced();
        sim.handle(loss);
        assert!(sim.resynced().contains(&Output::Routing), "{what}");
    }
}

#[test]
fn a_dump_without_our_objects_triggers_a_resync() {
    let mut sim = Simulation::at_a_venue();
    sim.handle(Event::Address(Change::Present(address(CLUSTER, "192.168.50.1/24"))));
    sim.handle(Event::Route(Change::Present(ours(CLUSTER, "192.168.50.0/24"))));
    sim.resynced();
    sim.handle(Event::Dump(Dump::Begin));
    sim.handle(Event::Link(Change::Present(link(CLUSTER, true))));
    sim.handle(Event::Dump(Dump::End));
    assert_eq!(sim.resynced(), [Output::Link, Output::Routing]);
}

#[test]
fn a_route_never_outlives_the_last_address_of_its_port() {
    let mut sim = Simulation::at_a_venue();
    sim.gone();
    let transitions =
        sim.handle(Event::Address(Change::Present(address(WIRED, "192.168.50.77/24"))));
    let gateway = transitions.iter().find_map(|transitions| match transitions {
        Transition::UplinkAddress { gateway, .. } => Some(*gateway),
        _ => None,
    });
    assert_eq!(gateway, Some(None), "not that of the venue before");
}

#[test]
fn a_renewal_does_not_hand_row_1_to_the_other_uplink() {
    let mut sim = Simulation::at_a_venue();
    sim.handle(Event::Link(Change::Present(link(RADIO, true))));
    sim.handle(Event::Address(Change::Present(address(RADIO, "10.77.0.5/24"))));
    sim.handle(Event::Route(Change::Present(default_route(RADIO, "10.77.0.1", 600))));
    sim.wait(10_000);
    assert_eq!(sim.row1().as_deref(), Some("10.99.0.126"));
    sim.gone();
    sim.wait(50);
    sim.back();
    sim.wait(50);
    sim.handle(Event::Route(Change::Present(default_route(WIRED, "10.99.0.1", 100))));
    assert_eq!(sim.row1().as_deref(), Some("10.99.0.126"));
    sim.wait(10_000);
    assert_eq!(sim.row1().as_deref(), Some("10.99.0.126"));
    let route = default_route(WIRED, "10.99.0.1", 100);
    sim.handle(Event::Route(Change::Gone(route)));
    sim.wait(3_000);
    assert_eq!(sim.row1().as_deref(), Some("10.77.0.5"), "a way out that stays away is no renewal");
}
