//! Names of found nodes.

use super::*;

#[test]
fn equal_host_names_get_different_names() {
    let mut world = World::new(&node("rpi1", Some(1), Some(11)));
    world.lease(&lease(7, 107, Some("raspberrypi"), None));
    world.lease(&lease(8, 108, Some("raspberrypi"), None));
    world.lease(&lease(9, 109, Some("rpi1"), None));
    assert_eq!(
        world.list(),
        ["rpi1 1 11", "raspberrypi 7 107", "node-00-00-08 8 108", "node-00-00-09 9 109"]
    );
    assert_eq!(world.name_conflict(), ["node-00-00-08 raspberrypi", "node-00-00-09 rpi1"]);
    // The server assigns a name to the client that requested it last, and removes it from the
    // other.
    world.lease(&lease(8, 108, None, None));
    world.lease(&lease(7, 107, Some("raspberrypi"), None));
    assert_eq!(world.nodes.name_conflict().count(), 2, "reported as long as it is so");
    world.lease(&lease(8, 108, Some("window"), None));
    assert_eq!(world.nodes.by_name("window").unwrap().mac, Some(board(8)));
    assert_eq!(world.nodes.name_conflict().count(), 1);
}

#[test]
fn the_advertised_name_counts_rather_than_the_assigned_one() {
    let mut world = World::new(&node("rpi1", Some(1), Some(11)));
    world.advertise(7, "raspberrypi");
    world.lease(&lease(7, 107, Some("raspberrypi"), None));
    for (last, says) in [(8, "RaspberryPi.local"), (9, "rpi1")] {
        world.advertise(last, says);
        // The lease has no name at first, then the one that we assigned.
        for given in [None, Some(format!("node-00-00-0{last}"))] {
            world.lease(&lease(last, 100 + last, given.as_deref(), None));
        }
    }
    let (list, lacking) = (
        ["rpi1 1 11", "raspberrypi 7 107", "node-00-00-08 8 108", "node-00-00-09 9 109"],
        ["node-00-00-08 raspberrypi", "node-00-00-09 rpi1"],
    );
    for _ in 0..2 {
        assert_eq!(
            (world.list(), world.name_conflict()),
            (list.map(str::to_owned).to_vec(), lacking.map(str::to_owned).to_vec())
        );
        world.advertise(8, "raspberrypi");
        world.lease(&lease(7, 107, Some("raspberrypi"), None));
        world.lease(&lease(8, 108, Some("node-00-00-08"), None));
    }
    // Each may send another name, or an illegal one.
    world.advertise(9, "door");
    world.advertise(9, "localhost");
    world.advertise(7, "window");
    world.lease(&lease(7, 107, Some("raspberrypi"), None));
    assert!(world.name_conflict().is_empty(), "no node has the name any more");
    world.lease(&lease(8, 108, Some("node-00-00-08"), None));
    assert_eq!(world.list(), ["rpi1 1 11", "window 7 107", "raspberrypi 8 108", "door 9 109"]);
}

#[test]
fn a_board_keeps_its_name_of_an_earlier_run_in_any_order() {
    let mut world = World::new("");
    let kept = [(7, "raspberrypi", Some(3600)), (8, "node-00-00-08", None), (9, "worker", Some(0))];
    for (last, name, left) in kept {
        world.nodes.restore_name(&lease(last, 100, Some(name), left), second(0));
    }
    world.advertise(8, "raspberrypi");
    world.see(108, 8);
    world.advertise(6, "worker");
    world.see(106, 6);
    world.see(107, 7);
    assert_eq!(world.list(), ["node-00-00-08 8 108", "node-00-00-06 6 106", "raspberrypi 7 107"]);
    assert_eq!(
        world.name_conflict(),
        ["node-00-00-08 raspberrypi", "node-00-00-06 worker"],
        "reported for either"
    );
    world.wait(600);
    assert!(world.nodes.by_name("worker").is_some(), "its lease is over, and it did not come");
    assert_eq!(world.name_conflict(), ["node-00-00-08 raspberrypi"]);
    world.advertise(7, "window");
    world.see(108, 8);
    assert_eq!(world.list(), ["raspberrypi 8 108", "worker 6 106", "window 7 107"]);
}

#[test]
fn names_of_unknown_boards_are_limited_and_expire() {
    let mut world = World::new("");
    world.see(107, 7);
    for number in 0..6000_u16 {
        let [high, low] = number.to_be_bytes();
        let mac = Mac([2, 0, 0, 0, high, low]);
        world.nodes.advertises_name(mac, "x", &world.settings, second(0));
        world.nodes.advertises_name(mac, "y", &world.settings, second(0));
    }
    assert!(world.nodes.inventory.called.len() < 5000);
    world.advertise(7, "window");
    assert_eq!(world.list(), ["window 7 107"], "who is known is heard all the same");
    world.lose(107);
    world.goes_down("window");
    assert_eq!(world.wait(600), 1);
    world.wait(60);
    assert_eq!((world.nodes.inventory.called.len(), world.nodes.sweep_at()), (0, None));
}

#[test]
fn the_heads_name_is_no_nodes_in_any_order() {
    for head_first in [true, false] {
        let mut world = World::new("");
        let head = |world: &mut World| {
            world.nodes.set_head("Pi.example.org", &world.settings.clone(), second(0))
        };
        if head_first {
            head(&mut world);
        }
        world.lease(&lease(1, 101, Some("pi"), None));
        if !head_first {
            assert!(world.nodes.by_name("pi").is_some());
            head(&mut world);
        }
        assert!(world.nodes.by_name("pi").is_none(), "{head_first}");
        assert_eq!(world.name_conflict(), ["node-00-00-01 pi"], "and that is reported");
        assert_eq!(
            world.nodes.by_address(at(101)).map(|node| node.name.as_str()),
            Some("node-00-00-01")
        );
    }
}
