use std::sync::Arc;

use super::*;
use crate::config;
use crate::config::board::Board;
use crate::decide::cluster;
use crate::event::{
    Address, Change, Dhcp, Dump, Event, Instant, Lease, Link, LinkIndex, Mac, Route, Vital,
};

const CLUSTER: LinkIndex = 2;
const UPLINK: LinkIndex = 3;

fn settings(more: &str) -> Settings {
    let text = format!(
        "[uplink]\ninterfaces = [\"eth1\"]\n[cluster]\ninterface = \"eth0\"\n[cluster.dhcp]\n{more}"
    );
    config::load(&[("t", text)], &Board::built_in("emulated").unwrap()).unwrap()
}

fn link(index: LinkIndex, name: &str) -> Event {
    Event::Link(Change::Present(Link::wired(index, name)))
}

fn address(index: LinkIndex, address: &str) -> Event {
    Event::Address(Change::Present(Address::lasting(index, address.parse().unwrap())))
}

fn route(destination: &str, gateway: Option<&str>) -> Event {
    Event::Route(Change::Present(Route {
        table: 254,
        destination: destination.parse().unwrap(),
        gateway: gateway.map(|gateway| gateway.parse().unwrap()),
        index: UPLINK,
        metric: 100,
        protocol: 16,
        onlink: false,
        preferred_source: None,
        mtu: None,
    }))
}

fn resolvers(index: LinkIndex, servers: &[&str]) -> Event {
    Event::Vital(Vital::Resolvers {
        index,
        servers: servers.iter().map(|server| server.parse().unwrap()).collect(),
    })
}

/// Returns the facts of a head whose uplink has `lease` and whose venue's router is `router`, after
/// the events in `more`.
fn head(settings: &Settings, lease: &str, router: &str, more: &[Event]) -> Facts {
    let mut facts = Facts::new(Arc::new(settings.clone()), Instant::default());
    let net: ipnet::IpNet = lease.parse().unwrap();
    let start = [
        Event::Dump(Dump::Begin),
        link(CLUSTER, "eth0"),
        link(UPLINK, "eth1"),
        address(CLUSTER, "192.168.50.1/24"),
        address(UPLINK, lease),
        route(&net.trunc().to_string(), None),
        route("0.0.0.0/0", Some(router)),
        Event::Dump(Dump::End),
    ];
    for event in start.iter().chain(more) {
        facts.apply(event, Instant::default());
    }
    facts
}

fn served(settings: &Settings, facts: &Facts) -> Option<ServicePlan> {
    decide(settings, facts, &cluster::place(settings, facts))
}

fn alone() -> Event {
    Event::Dhcp(Dhcp::NoOtherServer { index: CLUSTER })
}

fn asked(plan: &ServicePlan) -> Vec<String> {
    let port = |upstream: &Upstream| {
        upstream.port.as_ref().map(|port| format!("@{port}")).unwrap_or_default()
    };
    plan.upstreams
        .iter()
        .map(|upstream| format!("{}{}", upstream.address, port(upstream)))
        .collect()
}

#[test]
fn nothing_is_served_before_other_servers_are_ruled_out() {
    let settings = settings("");
    let mut facts = head(&settings, "10.99.0.126/24", "10.99.0.1", &[]);
    assert_eq!((verdict(&settings, &facts), served(&settings, &facts)), (Verdict::Waiting, None));
    facts.apply(&alone(), Instant::default());
    assert!(served(&settings, &facts).is_some());
    let foreign =
        Dhcp::OtherServer { index: CLUSTER, server: "192.168.50.254".parse().unwrap(), mac: None };
    facts.apply(&Event::Dhcp(foreign), Instant::default());
    let refused = served(&settings, &facts).expect("names go on");
    assert_eq!(
        (verdict(&settings, &facts), refused.dns, refused.dhcp),
        (Verdict::Refused, true, None)
    );
    let nameless = self::settings("[cluster.dns]\nenabled = false\n");
    assert_eq!(served(&nameless, &facts), None);
    let off = self::settings("enabled = false\n");
    assert_eq!(verdict(&off, &facts), Verdict::Off);
}

#[test]
fn upstreams_are_the_uplinks_then_the_machines_then_the_fallback() {
    let settings = settings("");
    let facts = head(&settings, "10.99.0.126/24", "10.99.0.1", &[alone()]);
    assert_eq!(asked(&served(&settings, &facts).unwrap()), ["9.9.9.9", "1.1.1.1"]);
    let mut facts = head(
        &settings,
        "10.99.0.126/24",
        "10.99.0.1",
        &[alone(), resolvers(0, &["10.99.0.2", "127.0.0.53"])],
    );
    assert_eq!(asked(&served(&settings, &facts).unwrap()), ["10.99.0.2"]);
    facts.apply(&resolvers(UPLINK, &["10.99.0.1", "fe80::1", "2001:db8::1"]), Instant::default());
    assert_eq!(asked(&served(&settings, &facts).unwrap()), ["10.99.0.1", "2001:db8::1"]);
    facts.apply(&resolvers(UPLINK, &["192.168.50.1"]), Instant::default());
    assert_eq!(asked(&served(&settings, &facts).unwrap()), ["10.99.0.2"], "never ourselves");
}

#[test]
fn in_an_overlap_the_resolver_is_bound_to_the_uplink_and_leases_are_short() {
    let settings = settings("");
    for router in ["192.168.50.254", "192.168.50.1"] {
        let facts =
            head(&settings, "192.168.50.126/24", router, &[alone(), resolvers(0, &[router])]);
        let plan = served(&settings, &facts).unwrap();
        assert_eq!(asked(&plan), [format!("{router}@eth1")]);
        let dhcp = plan.dhcp.unwrap();
        assert_eq!(
            (dhcp.lease, dhcp.first.to_string().as_str()),
            (Duration::from_secs(120), "192.168.50.100")
        );
    }
    let facts = head(&settings, "10.99.0.126/24", "10.99.0.1", &[alone()]);
    let dhcp = served(&settings, &facts).unwrap().dhcp.unwrap();
    assert_eq!(
        (dhcp.lease, dhcp.renew, dhcp.rebind),
        (Duration::from_secs(3600), RENEW, Duration::from_secs(75))
    );
}

#[test]
fn nodes_renew_each_minute_unless_the_range_is_large_or_the_lease_short() {
    let after =
        |count, lease| renewals(count, Duration::from_secs(lease)).map(|time| time.as_secs());
    assert_eq!(after(100, 3600), [60, 75]);
    assert_eq!(after(100, 120), [60, 75]);
    assert_eq!(after(750, 3600), [150, 187]);
    assert_eq!(after(10_000, 3600), [1800, 2250]);
}

#[test]
fn when_the_cluster_moves_the_range_moves_along() {
    let settings = settings("");
    let facts = head(&settings, "192.168.50.1/24", "192.168.50.254", &[alone()]);
    let plan = served(&settings, &facts).unwrap();
    let dhcp = plan.dhcp.unwrap();
    assert_ne!(plan.address, settings.cluster.address);
    assert!(plan.address.contains(&dhcp.first) && plan.address.contains(&dhcp.last));
    assert_eq!((dhcp.first.octets()[3], dhcp.last.octets()[3]), (100, 199));
}

#[test]
fn the_time_server_is_the_head_or_its_own_server() {
    let settings = settings("");
    let time = |served, server: &str| {
        [alone(), Event::Vital(Vital::Time { served, servers: vec![server.parse().unwrap()] })]
    };
    let reported = |settings: &Settings, events: &[Event]| {
        let facts = head(settings, "10.99.0.126/24", "10.99.0.1", events);
        let servers = served(settings, &facts).unwrap().dhcp.unwrap().time_servers;
        servers.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    assert_eq!(reported(&settings, &time(true, "10.99.0.1")), ["192.168.50.1"]);
    assert_eq!(reported(&settings, &time(false, "10.99.0.1")), ["10.99.0.1"]);
    assert_eq!(reported(&settings, &time(false, "127.0.0.1")), Vec::<String>::new());
    assert_eq!(
        reported(&self::settings("ntp = \"off\"\n"), &time(true, "10.99.0.1")),
        Vec::<String>::new()
    );
    assert_eq!(
        reported(&self::settings("ntp = \"10.1.1.1\"\n"), &time(true, "10.99.0.1")),
        ["10.1.1.1"]
    );
}

#[test]
fn the_heads_name_is_its_first_label_unless_a_node_has_it() {
    let settings = settings("[[node]]\nname = \"rpi1\"\naddress = \"192.168.50.11\"\n");
    let name = |name: &str| {
        let host = Event::Vital(Vital::Host {
            name: name.to_owned(),
            ssh_ports: vec![],
            announced: false,
        });
        head_name(&head(&settings, "10.99.0.126/24", "10.99.0.1", &[host]))
    };
    assert_eq!(name("Bramble.example.org").as_deref(), Some("bramble"));
    assert_eq!((name("localhost"), name("RPI1"), name("")), (None, None, None));
}

#[test]
fn a_clash_with_a_lease_moves_the_cluster_and_the_moved_lease_does_not_bring_it_back() {
    let settings = settings("");
    let mut facts = head(&settings, "192.168.50.105/24", "192.168.50.254", &[alone()]);
    let overlap = |facts: &Facts| cluster::place(&settings, facts).overlap;
    assert_eq!(overlap(&facts), Overlap::Routed);
    let lease = |address: &str| Lease {
        mac: Mac([2, 0, 0, 0, 0, 5]),
        address: address.parse().unwrap(),
        host_name: None,
        valid_for: None,
    };
    let mut report = |change| {
        facts.apply(&Event::Lease(change), Instant::default());
        overlap(&facts)
    };
    assert_eq!(report(Change::Present(lease("192.168.50.104"))), Overlap::Routed);
    assert_eq!(report(Change::Present(lease("192.168.50.105"))), Overlap::Renumbered);
    assert_eq!(
        report(Change::Present(lease("10.213.50.105"))),
        Overlap::Renumbered,
        "it is the same one"
    );
    assert_eq!(
        report(Change::Gone(lease("10.213.50.105"))),
        Overlap::Renumbered,
        "the node may still be there"
    );
}
