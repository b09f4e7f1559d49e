//! The state of the uplink, and how it got its address.

use super::{Scene, Topic};
use crate::config::{PortPattern, UplinkProbe};
use crate::event::Reachability;
use crate::facts::uplink::{UplinkState, UplinkView};

/// Returns `online DHCP`; without an uplink, the ports that are waited for. No remaining lease
/// time: it would change all the time.
pub fn topics(scene: &Scene) -> Vec<Topic> {
    let Some(active) = &scene.active else { return vec![waiting(scene)] };
    let Some(address) = active.address else { return Vec::new() };
    let port = &active.link.name;
    let words = words(scene, active);
    let leased = active.valid_until.is_some();
    let how = match address.addr() {
        std::net::IpAddr::V4(_) => "DHCP",
        std::net::IpAddr::V6(_) => "IPv6",
    };
    let origin = leased.then(|| {
        [format!("{port} {words}, {how}"), format!("{words}, {how}"), format!("{words} {how}")]
    });
    vec![Topic::wordings(
        origin.into_iter().flatten().chain([format!("{port} {words}"), words.to_owned()]),
    )]
}

/// Returns the state of the uplink in one word.
fn words(scene: &Scene, active: &UplinkView<'_>) -> &'static str {
    match (active.state, active.reachability) {
        (UplinkState::Online, _) => "online",
        (UplinkState::Portal, _) => "portal",
        (UplinkState::Clash, _) => "clash",
        (_, Some(Reachability::Nothing)) => "offline",
        _ if scene.settings.uplink.probe == UplinkProbe::Off => "linked",
        _ => "asking",
    }
}

/// Returns the uplinks of the settings, none of which exists.
fn waiting(scene: &Scene) -> Topic {
    let names: Vec<String> = scene.settings.uplink.interfaces.iter().map(name).collect();
    let first = names.first().cloned().unwrap_or_default();
    let all = names.join(" ");
    Topic::wordings([
        format!("waiting for {all}"),
        format!("await {all}"),
        format!("await {first}"),
        first,
    ])
}

/// Returns the name of a port in the settings.
fn name(pattern: &PortPattern) -> String {
    match pattern {
        PortPattern::Glob(text) => text.clone(),
        PortPattern::Mac(mac) => mac.to_string(),
    }
}
