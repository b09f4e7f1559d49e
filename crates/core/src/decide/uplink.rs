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
    uplinks.filter_map(listening_plan).collect()
}

/// Returns what is listened for at an uplink; `None`: it has no hardware address.
fn listening_plan(uplink: UplinkView<'_>) -> Option<ListeningPlan> {
    let (index, name) = (uplink.link.index, uplink.link.name.clone());
    Some(ListeningPlan { index, name, mac: uplink.link.mac? })
}
