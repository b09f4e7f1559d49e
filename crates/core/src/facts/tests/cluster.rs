//! Addresses that remain on a former cluster port, or after a move of the cluster.

use super::*;
use crate::decide::{Overlap, decide};
use crate::event::{Lease, Mac, Neighbour, Vital};
use crate::facts::ROUTE_PROTOCOL;

/// Simulates an uplink that was the cluster port in an earlier run and still has its address.
fn an_earlier_cluster_port(mark: u8, record: &[(&str, &str)]) -> Simulation {
    let mut sim = Simulation::new();
    let added =
        record.iter().map(|(port, net)| ((*port).to_owned(), net.parse().unwrap())).collect();
    sim.handle(Event::Vital(Vital::Added(added)));
    sim.handle(Event::Dump(Dump::Begin));
    sim.handle(Event::Link(Change::Present(link(CLUSTER, true))));
    sim.handle(Event::Link(Change::Present(link(WIRED, true))));
    sim.handle(Event::Address(Change::Present(Address {
        protocol: mark,
        ..address(WIRED, "192.168.50.1/24")
    })));
    sim.handle(Event::Route(Change::Present(Route {
        destination: "192.168.50.0/24".parse().unwrap(),
        gateway: None,
        preferred_source: Some("192.168.50.1".parse().unwrap()),
        mtu: None,
        protocol: 2,
        ..default_route(WIRED, "192.168.50.254", 0)
    })));
    sim.handle(Event::Dump(Dump::End));
    sim
}

fn overlap(sim: &Simulation) -> Overlap {
    decide(sim.facts.settings(), &sim.facts).overlap
}

#[test]
fn an_address_left_on_an_earlier_cluster_port_is_no_lease() {
    for (mark, record) in [(ROUTE_PROTOCOL, &[][..]), (0, &[("eth1", "192.168.50.1/24")])] {
        let mut sim = an_earlier_cluster_port(mark, record);
        assert_eq!(
            (sim.facts.is_clashing(), sim.row1(), overlap(&sim)),
            (false, None, Overlap::None)
        );
        // Taken away by the reconciler; now the venue leases the very same one.
        sim.handle(Event::Address(Change::Gone(address(WIRED, "192.168.50.1/24"))));
        assert!(!sim.facts.is_in_use("192.168.50.1/24".parse().unwrap()));
        sim.handle(Event::Address(Change::Present(address(WIRED, "192.168.50.1/24"))));
        assert_eq!((sim.facts.is_clashing(), overlap(&sim)), (true, Overlap::Renumbered));
    }
    assert!(
        an_earlier_cluster_port(0, &[("wlan0", "192.168.50.1/24")]).facts.is_clashing(),
        "another host's"
    );
}

const FORMER: &str = "10.213.50.1/24";

/// Moves the cluster, and moves it back a minute later; the port still has both addresses.
fn home_again(before: impl FnOnce(&mut Simulation)) -> Simulation {
    let mut sim = Simulation::at_a_venue();
    sim.handle(Event::Address(Change::Present(address(WIRED, "192.168.50.1/24"))));
    sim.handle(Event::Address(Change::Present(address(CLUSTER, FORMER))));
    sim.wait(60_000);
    before(&mut sim);
    sim.handle(Event::Address(Change::Gone(address(WIRED, "192.168.50.1/24"))));
    sim.wait(3_000);
    sim.handle(Event::Address(Change::Present(address(CLUSTER, "192.168.50.1/24"))));
    sim
}

fn heard(at: &str, reachable: bool) -> Event {
    let address = at.parse().unwrap();
    Event::Neighbour(Change::Present(Neighbour {
        index: CLUSTER,
        address,
        mac: Some(Mac([2; 6])),
        reachable,
    }))
}

fn lease(at: &str, seconds: u64) -> Lease {
    let valid_for = Some(Duration::from_secs(seconds));
    Lease { mac: Mac([2; 6]), address: at.parse().unwrap(), host_name: None, valid_for }
}

/// Returns whether the plan keeps the previous address.
fn stays(sim: &Simulation) -> bool {
    let desired = decide(sim.facts.settings(), &sim.facts);
    let ports = desired.gateway.unwrap().links.ports.clone();
    ports.iter().any(|port| port.addresses.contains(&FORMER.parse().unwrap()))
}

#[test]
fn an_unused_retired_address_is_removed_after_five_minutes() {
    let mut sim = home_again(|_| ());
    sim.wait(200_000);
    assert!(stays(&sim), "a silent node may use it");
    sim.wait(130_000);
    assert!(!stays(&sim));
    sim.wait(3_600_000);
    assert_eq!(sim.facts.next_deadline(), None, "though the kernel still has it");
}

#[test]
fn a_retired_address_stays_while_a_node_is_seen_in_its_subnet() {
    let mut sim = home_again(|_| ());
    for _ in 0..40 {
        // As the kernel reports a node with occasional traffic.
        sim.handle(heard("10.213.50.77", true));
        sim.wait(45_000);
        sim.handle(heard("10.213.50.77", false));
        sim.wait(200_000);
        assert!(stays(&sim));
    }
    sim.wait(200_000);
    assert!(!stays(&sim), "a stale entry is no use");
}

#[test]
fn a_retired_address_stays_until_the_leases_of_its_subnet_expire() {
    let mut sim = home_again(|sim| {
        sim.handle(Event::Lease(Change::Present(lease("10.213.50.101", 3600))));
    });
    // The server revokes them when it serves the other subnet; the node keeps its address.
    sim.handle(Event::Lease(Change::Gone(lease("10.213.50.101", 3600))));
    sim.wait(3_500_000);
    assert!(stays(&sim));
    sim.wait(500_000);
    assert!(!stays(&sim));
}

#[test]
fn the_cluster_stays_moved_although_moving_ends_the_clashing_lease() {
    let mut sim = Simulation::at_a_venue();
    let given = lease("192.168.50.101", 3600);
    sim.handle(Event::Lease(Change::Present(given.clone())));
    sim.handle(Event::Address(Change::Present(address(WIRED, "192.168.50.101/24"))));
    assert_eq!(overlap(&sim), Overlap::Renumbered);
    sim.handle(Event::Lease(Change::Gone(given)));
    sim.wait(60_000);
    assert_eq!(overlap(&sim), Overlap::Renumbered, "the uplink has it, and so may the node");
    sim.handle(Event::Address(Change::Gone(address(WIRED, "192.168.50.101/24"))));
    sim.wait(3_000);
    assert!(!sim.facts.is_clashing());
    sim.handle(Event::Address(Change::Present(address(WIRED, "192.168.50.101/24"))));
    assert!(!sim.facts.is_clashing(), "no longer a node's");
}

#[test]
fn a_clashing_retired_address_is_removed_although_it_is_used() {
    let mut sim = home_again(|_| ());
    sim.handle(heard("10.213.50.77", true));
    assert!(stays(&sim));
    sim.handle(Event::Address(Change::Present(address(RADIO, "10.213.50.200/24"))));
    sim.handle(Event::Link(Change::Present(link(RADIO, true))));
    assert!(!stays(&sim), "the venue uses it");
}

#[test]
fn after_a_restart_a_retired_address_counts_as_used() {
    let mut sim = Simulation::new();
    sim.handle(Event::Dump(Dump::Begin));
    sim.handle(Event::Link(Change::Present(link(CLUSTER, true))));
    for net in ["192.168.50.1/24", FORMER] {
        sim.handle(Event::Address(Change::Present(address(CLUSTER, net))));
    }
    sim.handle(Event::Dump(Dump::End));
    assert!(stays(&sim), "nodes were not probed yet");
    sim.wait(330_000);
    assert!(!stays(&sim));
}
