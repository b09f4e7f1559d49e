//! What is left of us on a port that was the cluster's once.

use super::*;
use crate::event::Vital;
use crate::policy::{Overlap, decide};
use crate::state::ROUTE_PROTOCOL;

/// The cable was the cluster's port in an earlier run: what is left of it there is no lease, and the venue is not in our way.
fn a_former_cluster_port(mark: u8, record: &[(&str, &str)]) -> Evening {
    let mut evening = Evening::new();
    let added = record.iter().map(|(port, net)| ((*port).to_owned(), net.parse().unwrap())).collect();
    evening.tell(Event::Vital(Vital::Added(added)));
    evening.tell(Event::Dump(Dump::Begin));
    evening.tell(Event::Link(Change::Present(link(CLUSTER, true))));
    evening.tell(Event::Link(Change::Present(link(WIRED, true))));
    evening.tell(Event::Address(Change::Present(Address { protocol: mark, ..address(WIRED, "192.168.50.1/24") })));
    evening.tell(Event::Route(Change::Present(Route {
        destination: "192.168.50.0/24".parse().unwrap(),
        gateway: None,
        preferred_source: Some("192.168.50.1".parse().unwrap()),
        protocol: 2,
        ..default_route(WIRED, "192.168.50.254", 0)
    })));
    evening.tell(Event::Dump(Dump::End));
    evening
}

fn overlap(evening: &Evening) -> Overlap {
    decide(evening.state.settings(), &evening.state).overlap
}

#[test]
fn an_address_left_by_us_on_a_former_cluster_port_is_no_lease() {
    for (mark, record) in [(ROUTE_PROTOCOL, &[][..]), (0, &[("eth1", "192.168.50.1/24")])] {
        let mut evening = a_former_cluster_port(mark, record);
        assert_eq!((evening.state.is_clashing(), evening.row1(), overlap(&evening)), (false, None, Overlap::None));
        // Taken away by the applier; now the venue leases the very same one.
        evening.tell(Event::Address(Change::Gone(address(WIRED, "192.168.50.1/24"))));
        assert!(!evening.state.recently_moved());
        evening.tell(Event::Address(Change::Present(address(WIRED, "192.168.50.1/24"))));
        assert_eq!((evening.state.is_clashing(), overlap(&evening)), (true, Overlap::Renumbered));
    }
    assert!(a_former_cluster_port(0, &[("wlan0", "192.168.50.1/24")]).state.is_clashing(), "somebody else's");
}
