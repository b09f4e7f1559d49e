//! Roles of interfaces with globs, bridges and named uplinks.

use super::*;

fn head(uplinks: &str, cluster: &str, links: &[Link]) -> Facts {
    let settings = parsed(&format!(
        "[uplink]\ninterfaces = {uplinks}\n[cluster]\ninterface = \"{cluster}\"\n"
    ));
    let now = Instant::from_boot(Duration::from_secs(100));
    let mut facts = Facts::new(settings, now);
    facts.apply(&Event::Dump(Dump::Begin), now);
    for link in links {
        facts.apply(&Event::Link(Change::Present(link.clone())), now);
    }
    facts.apply(&Event::Dump(Dump::End), now);
    facts
}

fn in_bridge(index: LinkIndex, name: &str, master: LinkIndex) -> Link {
    Link { master: Some(master), ..Link::wired(index, name) }
}

#[test]
fn a_glob_for_the_cluster_port_leaves_named_uplinks_alone() {
    let links = [Link::wired(2, "eth1"), Link::wired(3, "eth0")];
    let facts = head(r#"["eth1"]"#, "eth*", &links);
    assert_eq!(
        (facts.roles().cluster, facts.roles().uplinks.as_slice()),
        (Some(3), [2].as_slice())
    );
    let facts = head(r#"["wl*"]"#, "eth*", &links);
    assert_eq!(facts.roles().cluster, Some(2), "no other role wants it");
}

#[test]
fn a_glob_for_uplinks_may_match_ports_of_a_named_bridge() {
    let links = [Link::wired(2, "br0"), in_bridge(3, "eth1", 2), Link::wired(4, "eth2")];
    assert_eq!(head(r#"["eth*"]"#, "br0", &links).roles().enslaved, []);
    assert_eq!(head(r#"["br0", "eth*"]"#, "eth2", &links).roles().enslaved, []);
    assert_eq!(head(r#"["eth*"]"#, "eth2", &links).roles().enslaved, [(3, 2)]);
    assert_eq!(head(r#"["eth1"]"#, "br0", &links).roles().enslaved, [(3, 2)], "it cannot be both");
}

/// Another program removes the IPv4 default route of a dual-stack uplink.
#[test]
fn an_ipv6_route_does_not_count_for_an_ipv4_address() {
    let mut sim = Simulation::at_a_venue();
    sim.handle(Event::Address(Change::Present(address(WIRED, "2001:db8::7/64"))));
    sim.handle(Event::Route(Change::Present(default_route(WIRED, "fe80::1", 1024))));
    sim.handle(Event::Route(Change::Gone(default_route(WIRED, "10.99.0.1", 100))));
    sim.wait(2500);
    let active = sim.facts.active().unwrap();
    assert_eq!((active.gateway, active.has_default_route), (None, false));
    assert!(sim.facts.is_routeless(WIRED));
    sim.handle(Event::Address(Change::Gone(address(WIRED, "10.99.0.126/24"))));
    sim.wait(2500);
    assert_eq!(sim.facts.active().unwrap().gateway, Some("fe80::1".parse().unwrap()));
    assert!(!sim.facts.is_routeless(WIRED));
}
