//! Identity of nodes.

mod flood;
mod naming;
mod properties;

use super::*;
use crate::config::board::Board;
use crate::config::load;
use crate::event::Round;

const PORTS: &str = "uplink.interfaces = [\"eth1\"]\ncluster.interface = \"eth0\"\n";

fn settings(nodes: &str) -> Settings {
    let group = "[[group]]\nname = \"odd\"\nmembers = \"*[13579]\"\n";
    load(&[("t", format!("{PORTS}{group}{nodes}"))], &Board::built_in("emulated").unwrap()).unwrap()
}

fn node(name: &str, mac: Option<u8>, address: Option<u8>) -> String {
    let mac = mac.map(|last| format!("mac = \"{}\"\n", board(last))).unwrap_or_default();
    let address = address.map(|last| format!("address = \"{}\"\n", at(last))).unwrap_or_default();
    format!("[[node]]\nname = \"{name}\"\n{mac}{address}")
}

fn board(last: u8) -> Mac {
    Mac([0xb8, 0x27, 0xeb, 0, 0, last])
}

fn at(last: u8) -> IpAddr {
    [192, 168, 50, last].into()
}

fn second(seconds: u64) -> Instant {
    Instant::from_boot(Duration::from_secs(seconds))
}

fn lease(last: u8, address: u8, host_name: Option<&str>, seconds: Option<u64>) -> Lease {
    Lease {
        mac: board(last),
        address: at(address),
        host_name: host_name.map(str::to_owned),
        valid_for: seconds.map(Duration::from_secs),
    }
}

/// Nodes and a clock.
struct World {
    nodes: Nodes,
    settings: Settings,
    now: u64,
}

impl World {
    fn new(text: &str) -> Self {
        let settings = settings(text);
        let mut nodes = Nodes::default();
        nodes.reload(&settings, second(0));
        Self { nodes, settings, now: 0 }
    }

    fn see(&mut self, address: u8, last: u8) {
        self.nodes.seen((at(address), board(last), true), &self.settings, second(self.now));
    }

    fn lose(&mut self, address: u8) {
        self.nodes.unseen(at(address), &self.settings, second(self.now));
    }

    fn lease(&mut self, lease: &Lease) {
        self.nodes.leased(lease, &self.settings, second(self.now));
    }

    fn advertise(&mut self, last: u8, name: &str) {
        self.nodes.advertises_name(board(last), name, &self.settings, second(self.now));
    }

    /// Returns `name wanted` of each node in a name conflict.
    fn name_conflict(&self) -> Vec<String> {
        self.nodes.name_conflict().map(|of| format!("{} {}", of.node.name, of.wanted)).collect()
    }

    fn wait(&mut self, seconds: u64) -> usize {
        self.now += seconds;
        self.nodes.sweep(&self.settings, second(self.now)).len()
    }

    fn goes_down(&mut self, name: &str) {
        let node = self.nodes.by_name(name).unwrap().id;
        for _ in 0..self.settings.health.down_after {
            let round = Round { node, rtt: None, first_lost: true };
            self.nodes.round(&round, &self.settings.health, second(self.now));
        }
    }

    /// Returns `name mac address` of all nodes in their order.
    fn list(&self) -> Vec<String> {
        let last =
            |node: &NodeState| node.mac.map_or_else(|| "-".to_owned(), |mac| mac.0[5].to_string());
        let address = |node: &NodeState| {
            node.address.map_or_else(
                || "-".to_owned(),
                |ip| ip.to_string().rsplit('.').next().unwrap().to_owned(),
            )
        };
        self.nodes
            .iter()
            .map(|node| format!("{} {} {}", node.name, last(node), address(node)))
            .collect()
    }
}

/// A network boot loader or an initramfs holds a lease for a moment.
#[test]
fn a_boot_loaders_lease_does_not_override_the_configured_address() {
    let mut world = World::new(&node("rpi2", None, Some(12)));
    world.see(12, 2);
    world.lease(&lease(2, 114, None, Some(3600)));
    world.see(114, 2);
    assert_eq!(world.list(), ["rpi2 2 114"], "it may have moved");
    world.lose(114);
    assert_eq!(world.list(), ["rpi2 2 12"], "and is there no longer");
    world.lease(&lease(2, 114, None, Some(3600)));
    assert_eq!(world.list(), ["rpi2 2 12"]);
    world.lose(12);
    assert_eq!(world.list(), ["rpi2 2 114"], "it is not heard: it is where our server put it");
    world.see(114, 2);
    assert_eq!(world.list(), ["rpi2 2 114"]);
}

#[test]
fn a_seen_board_becomes_a_node_with_a_generated_name() {
    let mut world = World::new(&node("rpi1", Some(1), Some(11)));
    world.see(77, 7);
    assert_eq!(world.list(), ["rpi1 1 11", "node-00-00-07 7 77"]);
    assert_eq!(
        world.nodes.by_name("node-00-00-07").unwrap().group,
        Some(0),
        "its name is one of the group's"
    );
    world.see(1, 8);
    assert_eq!(world.nodes.total(), 2, "the head's own address is no node's");
    world.nodes.seen(([10, 0, 0, 7].into(), board(9), true), &world.settings, second(1));
    assert_eq!(world.nodes.total(), 2, "nor one of another subnet");
}

#[test]
fn a_lease_names_a_node_and_reports_where_it_is() {
    let mut world = World::new("");
    world.see(120, 7);
    world.lease(&lease(7, 120, Some("Kitchen.local"), Some(3600)));
    assert_eq!(world.list(), ["kitchen 7 120"]);
    world.lease(&lease(7, 130, Some("Kitchen.local"), Some(3600)));
    assert_eq!(world.list(), ["kitchen 7 130"]);
}

#[test]
fn a_node_of_the_settings_follows_its_board_to_its_lease() {
    let mut world = World::new(
        &(node("rpi1", Some(1), Some(11))
            + &node("rpi2", Some(2), None)
            + &node("rpi3", None, Some(13))),
    );
    world.lease(&lease(1, 111, None, None));
    world.lease(&lease(2, 112, Some("something"), None));
    world.lease(&lease(3, 113, Some("rpi3"), None));
    assert_eq!(world.list(), ["rpi1 1 111", "rpi2 2 112", "rpi3 3 113"]);
    assert!(world.nodes.is_configured(at(11)), "where it should be is known still");
    world.nodes.lease_ended(&lease(1, 111, None, None), &world.settings, second(1));
    assert_eq!(world.list()[0], "rpi1 1 11");
}

#[test]
fn a_node_known_by_its_address_is_the_board_that_is_there() {
    let mut world = World::new(&node("rpi1", None, Some(11)));
    world.see(11, 1);
    assert_eq!(world.list(), ["rpi1 1 11"]);
    world.now = 500;
    world.see(11, 2);
    assert_eq!(world.list(), ["rpi1 2 11"], "it was replaced");
    world.see(80, 1);
    assert_eq!(world.list(), ["rpi1 2 11", "node-00-00-01 1 80"]);
}

#[test]
fn swapped_boards_are_reported_until_they_are_back() {
    let mut world =
        World::new(&(node("rpi1", Some(1), Some(11)) + &node("rpi2", Some(2), Some(12))));
    world.see(12, 1);
    let transitions: Vec<_> = world
        .nodes
        .misplaced()
        .map(|m| (m.owner.name.clone(), m.node.unwrap().name.clone()))
        .collect();
    assert_eq!(transitions, [("rpi2".to_owned(), "rpi1".to_owned())]);
    assert_eq!(world.list(), ["rpi1 1 11", "rpi2 2 12"], "no node is taken for another");
    world.see(12, 2);
    assert_eq!(world.nodes.misplaced().count(), 0);
    world.see(11, 9);
    let found = world.nodes.misplaced().next().unwrap();
    assert_eq!((found.mac, found.node), (board(9), None));
    world.lose(11);
    assert_eq!(world.nodes.misplaced().count(), 0);
}

#[test]
fn boards_at_one_address_in_turn_conflict_and_a_replaced_board_does_not() {
    let mut world = World::new("");
    world.see(77, 1);
    world.see(77, 2);
    assert_eq!(world.nodes.address_conflicts().count(), 0, "it may have been replaced");
    world.see(77, 1);
    assert_eq!(
        world.nodes.address_conflicts().map(|(address, c)| (address, c.boards)).collect::<Vec<_>>(),
        [(at(77), (board(1), board(2)))]
    );
    world.wait(60);
    assert_eq!(world.nodes.address_conflicts().count(), 1);
    world.wait(120);
    assert_eq!(world.nodes.address_conflicts().count(), 0, "it is over");
}

/// The settings replace a board, and put it back.
#[test]
fn boards_to_which_the_settings_give_an_address_in_turn_do_not_conflict() {
    let mut world = World::new(&node("rpi1", Some(1), Some(11)));
    for (moment, board_of_settings) in (1..).zip([1, 4, 1, 4]) {
        world.settings = settings(&node("rpi1", Some(board_of_settings), Some(11)));
        world.nodes.reload(&world.settings, second(moment));
        world.nodes.seen((at(11), board(board_of_settings), true), &world.settings, second(moment));
        assert_eq!(world.nodes.address_conflicts().count(), 0, "at {moment}");
    }
    world.nodes.seen((at(11), board(1), true), &world.settings, second(9));
    world.nodes.seen((at(11), board(4), true), &world.settings, second(9));
    assert_eq!(world.nodes.address_conflicts().count(), 1, "not by the settings");
}

#[test]
fn an_offer_to_several_clients_is_no_conflict() {
    let mut world = World::new("[cluster.dhcp]\n");
    let offered = |world: &mut World, address, last| {
        world.nodes.seen((at(address), board(last), false), &world.settings, second(1));
    };
    for board in [1, 2, 1, 3, 1] {
        offered(&mut world, 150, board);
    }
    assert_eq!(
        (world.nodes.address_conflicts().count(), world.list()),
        (0, vec!["node-00-00-01 1 150".to_owned()])
    );
    world.lease(&lease(2, 150, None, None));
    world.see(150, 2);
    assert_eq!(world.nodes.address_conflicts().count(), 0, "one of them has it now");
    world.see(150, 1);
    world.see(150, 2);
    assert_eq!(world.nodes.address_conflicts().count(), 1, "both talk");
    for board in [1, 2, 1] {
        offered(&mut world, 20, board);
    }
    assert_eq!(
        world.nodes.address_conflicts().count(),
        2,
        "outside the range no address is offered"
    );
}

#[test]
fn a_found_node_is_removed_after_ten_silent_minutes_or_with_its_lease() {
    let mut world = World::new("");
    world.see(77, 7);
    world.lease(&lease(8, 108, None, Some(900)));
    world.goes_down("node-00-00-07");
    world.goes_down("node-00-00-08");
    assert_eq!(world.wait(700), 0, "one is heard, the other has its lease");
    world.lose(77);
    assert_eq!(world.wait(100), 1);
    assert_eq!(world.list(), ["node-00-00-08 8 108"]);
    assert_eq!(world.wait(100), 1);
    assert_eq!(
        (world.list().len(), world.nodes.sweep_at()),
        (0, None),
        "nothing is waited for any more"
    );
}

#[test]
fn a_found_node_keeps_health_and_id_when_added_to_the_settings() {
    let mut world = World::new("");
    world.see(77, 7);
    let id = world.nodes.by_name("node-00-00-07").unwrap().id;
    let up = Round { node: id, rtt: Some(Duration::from_millis(1)), first_lost: false };
    world.nodes.round(&up, &world.settings.health.clone(), second(1));
    world.settings = settings(&node("rpi7", Some(7), Some(77)));
    world.nodes.reload(&world.settings, second(2));
    let adopted = world.nodes.by_name("rpi7").unwrap();
    assert_eq!(
        (adopted.id, adopted.health, adopted.origin),
        (id, NodeHealth::Up, Origin::Settings)
    );
    assert_eq!(world.nodes.total(), 1);
    world.settings = settings("");
    world.nodes.reload(&world.settings, second(3));
    assert_eq!(world.list(), ["node-00-00-07 7 77"], "it is heard, so it is here");
}

#[test]
fn a_found_node_merges_once_it_is_at_the_configured_address() {
    for leased in [true, false] {
        let mut world = World::new(&node("rpi2", None, Some(12)));
        world.see(150, 2);
        assert_eq!(world.list(), ["rpi2 - 12", "node-00-00-02 2 150"]);
        if leased {
            world.lease(&lease(2, 12, Some("rpi2"), Some(3600)));
        } else {
            world.see(12, 2);
        }
        assert_eq!(
            (world.list(), world.nodes.name_conflict().count()),
            (vec!["rpi2 2 12".to_owned()], 0)
        );
    }
}

#[test]
fn a_conflicting_board_does_not_become_the_node() {
    let mut world = World::new(&node("rpi2", None, Some(12)));
    world.see(12, 2);
    world.see(80, 7);
    for _ in 0..3 {
        world.see(12, 7);
        world.see(12, 2);
    }
    let found = world.nodes.by_name("node-00-00-07").unwrap().id;
    for _ in 0..3 {
        world.see(12, 7);
        world.see(12, 2);
        assert_eq!(world.nodes.by_name("node-00-00-07").map(|node| node.id), Some(found));
    }
    assert_eq!(world.list(), ["rpi2 2 12", "node-00-00-07 7 80"]);
}

#[test]
fn maintenance_follows_a_renamed_node() {
    let health = |world: &World, name: &str| world.nodes.by_name(name).map(|node| node.health);
    let mut world = World::new("");
    world.see(77, 7);
    world.nodes.note_drained("node-00-00-07", true);
    world.lease(&lease(7, 77, Some("worker"), None));
    assert_eq!(
        world.nodes.drained().iter().collect::<Vec<_>>(),
        ["b8:27:eb:00:00:07"],
        "whatever it calls itself"
    );
    world.settings = settings(&node("window", Some(7), Some(77)));
    world.nodes.reload(&world.settings, second(1));
    assert_eq!(health(&world, "window"), Some(NodeHealth::Maintenance), "adopted");
    assert_eq!(
        world.nodes.drained().iter().collect::<Vec<_>>(),
        ["window"],
        "as the settings call it"
    );
    world.settings = settings(&node("door", Some(7), Some(77)));
    world.nodes.reload(&world.settings, second(2));
    assert_eq!(health(&world, "door"), Some(NodeHealth::Maintenance), "renamed");
    assert_eq!(health(&world, "window"), None);
    world.settings = settings("");
    world.nodes.reload(&world.settings, second(3));
    assert!(world.nodes.drained().is_empty(), "taken out of the settings");
}

#[test]
fn a_node_known_by_its_address_alone_stays_itself_under_another_name() {
    let mut world = World::new(&(node("rpi1", None, Some(11)) + &node("rpi2", None, Some(12))));
    let id = world.nodes.by_name("rpi1").unwrap().id;
    world.nodes.note_drained("rpi1", true);
    world.settings = settings(&(node("window", None, Some(11)) + &node("rpi2", None, Some(12))));
    world.nodes.reload(&world.settings, second(1));
    let window = world.nodes.by_name("window").unwrap();
    assert_eq!((window.id, window.health), (id, NodeHealth::Maintenance));
    world.settings = settings(&node("rpi2", None, Some(11)));
    world.nodes.reload(&world.settings, second(2));
    assert_eq!(
        world.list(),
        ["rpi2 - 11"],
        "another that is known takes the place of one that is not"
    );
}

#[test]
fn a_silent_found_node_joins_its_new_group() {
    let mut world = World::new("");
    world.see(77, 7);
    world.lose(77);
    world.settings = load(
        &[("t", format!("{PORTS}[[group]]\nname = \"even\"\nmembers = \"*[02468]\"\n"))],
        &Board::built_in("emulated").unwrap(),
    )
    .unwrap();
    world.nodes.reload(&world.settings, second(1));
    assert_eq!(world.nodes.by_name("node-00-00-07").unwrap().group, None);
    super::super::tests::recount(&world.nodes);
}

#[test]
fn maintenance_waits_for_its_node() {
    let mut world = World::new("");
    world.nodes.note_drained("b8:27:eb:00:00:07", true);
    world.see(77, 7);
    assert_eq!(world.nodes.by_name("node-00-00-07").unwrap().health, NodeHealth::Maintenance);
}

#[test]
fn maintenance_follows_the_board_among_equal_host_names() {
    let health = |world: &World, last: u8| world.nodes.by_mac(board(last)).unwrap().health;
    let mut world = World::new("");
    world.lease(&lease(7, 107, Some("raspberrypi"), None));
    world.lease(&lease(8, 108, Some("raspberrypi"), None));
    world.nodes.note_drained("raspberrypi", true);
    let kept = world.nodes.drained().clone();
    let mut restarted = World::new("");
    kept.iter().for_each(|key| restarted.nodes.note_drained(key, true));
    // In the opposite order.
    restarted.lease(&lease(8, 108, Some("raspberrypi"), None));
    restarted.lease(&lease(7, 107, Some("raspberrypi"), None));
    assert_eq!(restarted.list(), ["raspberrypi 8 108", "node-00-00-07 7 107"]);
    assert_eq!(health(&restarted, 8), NodeHealth::Unknown);
    assert_eq!(health(&restarted, 7), NodeHealth::Maintenance);
    restarted.nodes.note_drained("node-00-00-07", false);
    assert!(restarted.nodes.drained().is_empty(), "maintenance ends by its present name");
}

#[test]
fn maintenance_of_a_found_node_passes_to_the_node_it_turns_out_to_be() {
    let mut world = World::new(&node("rpi2", None, Some(12)));
    world.see(150, 2);
    world.nodes.note_drained("node-00-00-02", true);
    world.see(12, 2);
    assert_eq!(world.nodes.by_name("rpi2").unwrap().health, NodeHealth::Maintenance);
    assert_eq!(world.nodes.drained().iter().collect::<Vec<_>>(), ["rpi2"]);
}
