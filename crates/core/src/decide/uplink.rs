//! Uplinks whose DHCP exchange is watched.

use super::venue::is_plugged;
use crate::event::ListeningPlan;
use crate::facts::Facts;
use crate::facts::uplink::UplinkView;

/// Returns the uplinks with a carrier and without a usable IPv4 address.
pub fn listening(facts: &Facts) -> Vec<ListeningPlan> {
    let uplinks = facts.uplinks().into_iter();
    let searching = uplinks.filter(|uplink| is_plugged(uplink) && !uplink.has_ipv4);
    searching.filter_map(listening_plan).collect()
}

/// Returns the plan for one uplink; `None` if it has no hardware address.
fn listening_plan(uplink: UplinkView<'_>) -> Option<ListeningPlan> {
    let (index, name) = (uplink.link.index, uplink.link.name.clone());
    let generation = uplink.carrier_ups;
    Some(ListeningPlan { index, name, mac: uplink.link.mac?, generation })
}
