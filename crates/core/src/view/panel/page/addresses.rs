//! The addresses that are not on row 1: those of other uplinks, and what else the active one has.

use std::net::IpAddr;

use super::{Scene, Topic};

/// Returns each address with its port's name. Privacy addresses change by the hour, and a
/// translator's own answers no one: they are left out.
pub fn topics(scene: &Scene) -> Vec<Topic> {
    let shown =
        scene.active.as_ref().and_then(|active| Some((active.link.index, active.address?.addr())));
    let mut topics = Vec::new();
    for uplink in scene.facts.uplinks() {
        let held = scene.facts.kernel().addresses(uplink.link.index);
        let useless: Vec<IpAddr> = held
            .iter()
            .filter(|held| held.temporary || held.is_translators())
            .map(|held| held.address.addr())
            .collect();
        for address in uplink.addresses.iter().map(ipnet::IpNet::addr) {
            if shown != Some((uplink.link.index, address))
                && !useless.contains(&address)
                && uplink.link.carrier
            {
                topics.push(Topic::Address {
                    port: uplink.link.name.clone(),
                    address: address.to_string(),
                });
            }
        }
    }
    topics
}
