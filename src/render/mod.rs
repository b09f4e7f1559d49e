//! What each output should hold, from the settings, the facts and what should be true. Pure; holds no relative times and
//! never the list of nodes.

pub mod dnsmasq;
pub mod journal;
pub mod light;
pub mod page;
pub mod status;

use crate::config::Settings;
use crate::panel::{Playlist, Signal};
use crate::policy::Desired;
use crate::state::State;

/// What the ornamental outputs should hold.
#[derive(Debug, Clone, PartialEq)]
pub struct Rendered {
    pub playlist: Playlist,
    /// the cluster's LED, then one a node
    pub lights: Vec<Signal>,
    pub snapshot: status::Snapshot,
    /// for `systemctl status`
    pub status_line: String,
}

/// Renders everything.
pub fn render(settings: &Settings, state: &State, desired: &Desired) -> Rendered {
    Rendered {
        playlist: page::playlist(settings, state, desired),
        lights: light::lights(settings, state, desired),
        snapshot: status::snapshot(settings, state, desired),
        status_line: status_line(state, desired),
    }
}

fn status_line(state: &State, desired: &Desired) -> String {
    let address = state.active().and_then(|uplink| Some(format!("{} on {}", uplink.address?.addr(), uplink.link.name)));
    let nodes = state.nodes();
    let up = nodes.count(crate::state::node::NodeHealth::Up);
    let alert = desired.alerts.first().map_or_else(String::new, |alert| format!("; {}", alert.text));
    format!("{}, {up}/{} nodes up{alert}", address.unwrap_or_else(|| "no uplink".to_owned()), nodes.total())
}
