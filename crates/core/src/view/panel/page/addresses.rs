//! The addresses that row 1 does not show: other uplinks', and further ones of the active uplink.

use std::net::IpAddr;

use super::{Scene, Topic};

/// Returns each address with its port's name. Omits privacy addresses, which change within hours,
/// and a translator's own address, which is unreachable.
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
