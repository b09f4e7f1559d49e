//! What each output should hold, from settings, facts and the desired state. Pure; without relative
//! times and without the list of nodes.

pub mod dhcp;
pub mod journal;
pub mod panel;
pub mod share;
pub mod status;

use crate::decide::Desired;
use crate::facts::Facts;

/// Returns one line for `systemctl status`.
pub fn status_line(facts: &Facts, desired: &Desired) -> String {
    let address = facts
        .active()
        .and_then(|uplink| Some(format!("{} on {}", uplink.address?.addr(), uplink.link.name)));
    let nodes = facts.nodes();
    let up = nodes.count(crate::facts::node::NodeHealth::Up);
    let alert = desired.alerts.first().map(|alert| alert.text.as_str());
    format!(
        "{}, {up}/{} nodes up{}{}",
        address.as_deref().unwrap_or("no uplink"),
        nodes.total(),
        if alert.is_some() { "; " } else { "" },
        alert.unwrap_or_default()
    )
}
