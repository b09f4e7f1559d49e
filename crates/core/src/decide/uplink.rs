//! The uplinks whose DHCP client is listened to.

use crate::api::clat;
use crate::event::ListeningPlan;
use crate::facts::Facts;
use crate::facts::uplink::UplinkView;

/// Returns the uplinks with a carrier that have no IPv4 address to be reached at.
pub fn listening(facts: &Facts) -> Vec<ListeningPlan> {
    let uplinks = facts
        .uplinks()
        .into_iter()
        .filter(|uplink| uplink.link.carrier && uplink.link.up && !uplink.has_ipv4)
        .filter(|uplink| uplink.link.name != clat::DEVICE);
    let plan = |uplink: UplinkView<'_>| {
        let (index, name) = (uplink.link.index, uplink.link.name.clone());
        Some(ListeningPlan { index, name, mac: uplink.link.mac? })
    };
    uplinks.filter_map(plan).collect()
}
