//! Indexes and counts of the nodes compared with a recount.

use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::config::board::Board;
use crate::config::{Settings, load};
use crate::event::Round;

fn settings(text: &str) -> Settings {
    let board = Board::built_in("emulated").unwrap();
    let ports = "uplink.interfaces = [\"eth1\"]\ncluster.interface = \"eth0\"\n";
    load(&[("t", format!("{ports}{text}"))], &board).unwrap()
}

fn named(names: &[u8]) -> Settings {
    let group = "[[group]]\nname = \"odd\"\nmembers = \"*[13579]\"\n".to_owned();
    let node =
        |n: &u8| format!("[[node]]\nname = \"rpi{n}\"\naddress = \"192.168.50.{}\"\n", 10 + n);
    settings(&(group + &names.iter().map(node).collect::<String>()))
}

fn at(seconds: u64) -> Instant {
    Instant::from_boot(Duration::from_secs(seconds))
}

pub fn recount(nodes: &Nodes) {
    let mut counts = Counts::default();
    let (mut odd, mut named) = (Counts::default(), Counts::default());
    for node in nodes.iter() {
        counts.add(node.health);
        if node.origin == Origin::Settings || node.group.is_some() {
            named.add(node.health);
        }
        if node.group == Some(0) {
            odd.add(node.health);
        }
        assert_eq!(nodes.by_name(&node.name.to_ascii_uppercase()), Some(node));
        if let Some(address) = node.address {
            assert_eq!(nodes.by_address(address), Some(node), "no two nodes have one address");
        }
        if let Some(mac) = node.mac {
            assert_eq!(nodes.by_mac(mac), Some(node), "no two nodes are one board");
        }
    }
    let with_address = nodes.iter().filter(|node| node.address.is_some()).count();
    let with_mac = nodes.iter().filter(|node| node.mac.is_some()).count();
    assert_eq!((nodes.addresses.len(), nodes.macs.len()), (with_address, with_mac));
    assert_eq!((nodes.counts, nodes.named, nodes.groups()), (counts, named, [odd].as_slice()));
    let down: BTreeSet<NodeId> =
        nodes.iter().filter(|n| n.health == NodeHealth::Down).map(|n| n.id).collect();
    assert_eq!(nodes.down, down);
    for trouble in [Trouble::Flapping, Trouble::Lossy, Trouble::Slow] {
        let troubled: BTreeSet<NodeId> =
            nodes.iter().filter(|n| n.trouble() == Some(trouble)).map(|n| n.id).collect();
        assert_eq!(nodes.troubled.of(trouble), Some(&troubled));
    }
    let unanswered: BTreeSet<NodeId> =
        nodes.iter().filter(|n| n.is_unanswered()).map(|n| n.id).collect();
    assert_eq!(nodes.unanswered, unanswered);
    let staged = nodes.iter().filter(|n| n.stage().is_some()).count();
    let boots = nodes.count(NodeHealth::Booting);
    assert_eq!((nodes.booting().count(), staged), (boots, boots), "each has its deadline");
    let others = nodes
        .booting
        .iter()
        .filter_map(|(_, id)| nodes.get(*id))
        .filter(|n| n.health != NodeHealth::Booting);
    others.for_each(|n| assert_eq!(n.health, NodeHealth::Maintenance, "booted long ago"));
    assert_eq!((nodes.names.len(), nodes.iter().count()), (nodes.total(), nodes.total()));
}

#[test]
fn a_late_round_of_a_removed_node_is_ignored() {
    let mut nodes = Nodes::default();
    nodes.reload(&named(&[1]), at(0));
    let old = nodes.by_name("rpi1").unwrap().id;
    nodes.reload(&named(&[2]), at(1));
    let new = nodes.by_name("rpi2").unwrap().id;
    assert_eq!(old.slot, new.slot, "its place is used again");
    let health = named(&[1]).health;
    let late = Round { node: old, rtt: Some(Duration::from_millis(1)), first_lost: false };
    assert_eq!(nodes.round(&late, &health, at(2)), None);
    assert_eq!(nodes.by_name("rpi2").unwrap().health, NodeHealth::Unknown);
}

/// An event about a node.
#[derive(Debug, Clone, Copy)]
enum Happens {
    Round { rtt_ms: Option<u64>, first_lost: bool },
    Boots,
    Maintenance(bool),
    Wait(u64),
}

fn happens() -> impl Strategy<Value = Happens> {
    let rtt = prop_oneof![Just(None), Just(Some(1)), Just(Some(90))];
    prop_oneof![
        8 => (rtt, any::<bool>()).prop_map(|(rtt_ms, lost)| Happens::Round { rtt_ms, first_lost: lost || rtt_ms.is_none() }),
        1 => Just(Happens::Boots),
        1 => any::<bool>().prop_map(Happens::Maintenance),
        1 => (1_u64..300).prop_map(Happens::Wait),
    ]
}

proptest! {
    #[test]
    fn indexes_and_counts_equal_a_recount(
        steps in proptest::collection::vec(
            (proptest::collection::btree_set(1_u8..9, 0..8), proptest::collection::vec((0_u32..9, happens()), 0..80)),
            1..6,
        )
    ) {
        let mut nodes = Nodes::default();
        let mut now = at(0);
        for (names, happened) in steps {
            let settings = named(&names.into_iter().collect::<Vec<_>>());
            nodes.reload(&settings, now);
            for (slot, happens) in happened {
                let Some(node) = nodes.iter().map(|node| node.id).find(|id| id.slot == slot) else { continue };
                let before = nodes.get(node).unwrap().health;
                let change = match happens {
                    Happens::Round { rtt_ms, first_lost } => {
                        let round = Round { node, rtt: rtt_ms.map(Duration::from_millis), first_lost };
                        nodes.round(&round, &settings.health, now)
                    }
                    Happens::Boots => nodes.boots(node, "kernel8.img", now),
                    Happens::Maintenance(on) => nodes.set_maintenance(node, on, now),
                    Happens::Wait(seconds) => {
                        now = now + Duration::from_secs(seconds);
                        nodes.expire(&settings.health, now);
                        prop_assert!(nodes.boot_deadline().is_none_or(|at| at > now));
                        continue;
                    }
                };
                let after = nodes.get(node).unwrap().health;
                prop_assert_eq!(change.map(|change| (change.from, change.to)), (before != after).then_some((before, after)));
            }
            recount(&nodes);
        }
    }
}
