//! Events in any order.

use proptest::prelude::*;

use super::*;

/// An event about the inventory.
#[derive(Debug, Clone)]
enum Happens {
    See(u8, u8),
    Lose(u8),
    Lease(u8, u8, Option<&'static str>, Option<u64>),
    Say(u8, &'static str),
    Kept(u8, &'static str),
    End(u8, u8),
    Reload(Vec<(u8, bool, bool)>),
    Drain(&'static str, bool),
    Down(u32),
    Wait(u64),
}

fn happens() -> impl Strategy<Value = Happens> {
    let host_name = || {
        prop::sample::select(vec![
            None,
            Some("rpi1"),
            Some("raspberrypi"),
            Some("node-00-00-02"),
            Some("?"),
        ])
    };
    let name =
        || prop::sample::select(vec!["rpi1", "rpi2", "raspberrypi", "node-00-00-03", "head", "?"]);
    let nodes = prop::collection::btree_map(1_u8..6, any::<(bool, bool)>(), 0..5);
    prop_oneof![
        4 => (10_u8..16, 1_u8..6).prop_map(|(address, last)| Happens::See(address, last)),
        1 => (10_u8..16).prop_map(Happens::Lose),
        3 => (1_u8..6, 10_u8..16, host_name(), prop::option::of(1_u64..2000))
            .prop_map(|(last, address, name, time)| Happens::Lease(last, address, name, time)),
        2 => (1_u8..6, name()).prop_map(|(last, name)| Happens::Say(last, name)),
        1 => (1_u8..6, name()).prop_map(|(last, name)| Happens::Kept(last, name)),
        1 => (1_u8..6, 10_u8..16).prop_map(|(last, address)| Happens::End(last, address)),
        1 => nodes.prop_map(|nodes| Happens::Reload(nodes.into_iter().map(|(n, (mac, address))| (n, mac, address)).collect())),
        1 => (prop::sample::select(vec!["rpi1", "rpi2", "node-00-00-03"]), any::<bool>()).prop_map(|(n, on)| Happens::Drain(n, on)),
        1 => (0_u32..8).prop_map(Happens::Down),
        1 => (1_u64..900).prop_map(Happens::Wait),
    ]
}

proptest! {
    #[test]
    fn identities_are_unique_and_indexes_are_correct(steps in prop::collection::vec(happens(), 1..80)) {
        let mut world = World::new(&node("rpi1", Some(1), Some(11)));
        world.nodes.set_head("head", &world.settings.clone(), second(0));
        for step in steps {
            match step.clone() {
                Happens::See(address, last) => world.see(address, last),
                Happens::Lose(address) => world.lose(address),
                Happens::Lease(last, address, name, time) => world.lease(&lease(last, address, name, time)),
                Happens::Say(last, name) => world.advertise(last, name),
                Happens::Kept(last, name) => world.nodes.restore_name(&lease(last, 10, Some(name), Some(600)), second(world.now)),
                Happens::End(last, address) => {
                    world.nodes.lease_ended(&lease(last, address, None, None), &world.settings, second(world.now));
                }
                Happens::Reload(nodes) => {
                    // Names move between boards and addresses, too.
                    let text: String = nodes
                        .iter()
                        .map(|(n, mac, address)| node(&format!("rpi{n}"), mac.then_some(6 - n), (*address || !mac).then_some(9 + n)))
                        .collect();
                    world.settings = settings(&text);
                    world.nodes.reload(&world.settings, second(world.now));
                }
                Happens::Drain(name, on) => world.nodes.note_drained(name, on),
                Happens::Down(slot) => {
                    let node = world.nodes.iter().find(|node| node.id.slot == slot).map(|node| node.name.clone());
                    if let Some(name) = node {
                        world.goes_down(&name);
                    }
                }
                Happens::Wait(seconds) => {
                    world.wait(seconds);
                    prop_assert!(world.nodes.sweep_at().is_none_or(|at| at > second(world.now)));
                }
            }
            crate::facts::node::tests::recount(&world.nodes);
            let written = world.nodes.iter().filter(|node| node.origin == Origin::Settings).count();
            prop_assert_eq!(written, world.settings.nodes.len(), "after {:?}", step);
            for known in &world.settings.nodes {
                let node = world.nodes.by_name(&known.name).unwrap();
                prop_assert!(known.mac.is_none() || node.mac == known.mac);
                prop_assert!(known.address.is_none() || node.address.is_some(), "it is at home or where its lease put it");
            }
            prop_assert!(world.nodes.iter().all(|node| node.origin == Origin::Settings || node.mac.is_some()));
            prop_assert!(world.nodes.by_name("head").is_none());
        }
    }
}
