//! Floods of spoofed boards and of names.

use super::*;

/// Returns a spoofed hardware address.
fn made_up(number: u32) -> Mac {
    let [_, b, c, d] = number.to_be_bytes();
    Mac([6, 0, 1, b, c, d])
}

fn round(world: &mut World, name: &str, answered: bool) {
    let node = world.nodes.by_name(name).unwrap().id;
    let rtt = answered.then(|| Duration::from_micros(300));
    let round = Round { node, rtt, first_lost: !answered };
    let health = world.settings.health.clone();
    world.nodes.round(&round, &health, second(world.now));
}

#[test]
fn a_flood_is_limited_and_evicts_no_real_node() {
    let mut world = World::new(&node("rpi1", Some(1), Some(11)));
    world.see(11, 1);
    world.lease(&lease(2, 102, Some("leased"), Some(3600)));
    world.see(103, 3);
    let answering = world.nodes.by_mac(board(3)).unwrap().name.clone();
    round(&mut world, &answering, true);
    for number in 0..90_000 {
        let address = at(20 + (number % 230) as u8);
        let reachable = number % 2 == 0;
        world.now = u64::from(number) / 1000;
        world.nodes.seen((address, made_up(number), reachable), &world.settings, second(world.now));
        world.nodes.sweep(&world.settings, second(world.now));
        assert!(world.nodes.total() <= 254, "{} nodes after {number}", world.nodes.total());
    }
    for name in ["rpi1", "leased", answering.as_str()] {
        assert!(world.nodes.by_name(name).is_some(), "{name} is pushed out");
    }
    let flood = world.nodes.flood(second(world.now)).unwrap();
    assert!(flood.unknown_clients >= Some(50_000), "{flood:?}");
    world.wait(20);
    assert_eq!(world.nodes.flood(second(world.now)), None, "it is over");
    world.wait(1200);
    assert!(world.nodes.total() <= 254);
}

#[test]
fn in_a_large_subnet_only_silent_nodes_are_limited() {
    let text = "cluster.address = \"10.21.0.1/16\"\n";
    let settings =
        load(&[("t", format!("{PORTS}{text}"))], &Board::built_in("emulated").unwrap()).unwrap();
    let (mut nodes, mut real) = (Nodes::default(), 0);
    nodes.reload(&settings, second(0));
    for number in 0..20_000_u32 {
        let now = second(u64::from(number) / 200);
        let [_, _, c, d] = number.to_be_bytes();
        let found = nodes.seen(([10, 21, c, d].into(), made_up(number), true), &settings, now);
        nodes.sweep(&settings, now);
        // Every tenth is a real board.
        if let (0, Some(node)) = (number % 10, found.first()) {
            nodes.round(
                &Round { node: *node, rtt: Some(Duration::from_micros(300)), first_lost: false },
                &settings.health,
                now,
            );
            real += 1;
        }
    }
    assert!(nodes.total() <= 256 + real, "{} nodes, {real} of them real", nodes.total());
    assert_eq!(nodes.count(NodeHealth::Up), real, "no node that answers is pushed out");
}

#[test]
fn addresses_outside_the_cluster_are_ignored() {
    let mut world = World::new("");
    for number in 0..10_000_u32 {
        world.nodes.seen(
            ((number * 77_777).to_be_bytes().into(), made_up(number), true),
            &world.settings,
            second(1),
        );
    }
    assert_eq!(world.nodes.inventory.sightings.present().count(), 0);
}

#[test]
fn a_node_that_renames_itself_all_the_time_has_few_names_and_the_last_one_in_the_end() {
    let mut world = World::new("");
    world.lease(&lease(2, 102, Some("name-0"), None));
    let (topology_version, mut names) =
        (world.nodes.topology_version, std::collections::BTreeSet::new());
    for number in 0..60_000_u32 {
        world.now = u64::from(number) / 1000;
        world.advertise(2, &format!("name-{number}"));
        world.nodes.sweep(&world.settings, second(world.now));
        names.insert(world.nodes.by_mac(board(2)).unwrap().name.clone());
    }
    assert!(names.len() <= 8, "{} names in a minute", names.len());
    assert!(
        world.nodes.topology_version - topology_version <= 24,
        "{}",
        world.nodes.topology_version - topology_version
    );
    assert_eq!(world.nodes.flood(second(world.now)).unwrap().restless, Some(board(2)));
    world.wait(20);
    assert_eq!(world.nodes.by_mac(board(2)).unwrap().name, "name-59999");
    assert_eq!(world.nodes.flood(second(world.now)), None);
}
