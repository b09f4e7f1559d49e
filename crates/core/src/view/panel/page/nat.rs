//! Whether NAT is on.

use std::net::IpAddr;

use super::{Scene, Topic};
use crate::event::{Applied, Output};

/// Returns `NAT on  eth0`: the state in the kernel, not the desired one.
pub fn topics(scene: &Scene) -> Vec<Topic> {
    if !scene.settings.gateway.enabled {
        return vec![Topic::wordings(["gateway switched off", "gateway off", "NAT off"])];
    }
    let uplinks = scene.facts.uplinks();
    let addresses = || uplinks.iter().flat_map(|uplink| &uplink.addresses);
    if addresses().next().is_some() && !addresses().any(|net| matches!(net.addr(), IpAddr::V4(_))) {
        return vec![Topic::wordings(["nodes: no IPv4 here", "no IPv4 here", "no IPv4"])];
    }
    let masquerade = matches!(
        scene.facts.outputs().held(Output::Firewall),
        Some(Applied::Firewall { masquerade: true, .. })
    );
    let words = if masquerade { "NAT on" } else { "NAT off" };
    let Some(port) = scene.facts.cluster_port().map(|port| &port.name) else {
        return vec![Topic::wordings([words])];
    };
    let address = scene.cluster_address.addr();
    vec![Topic::wordings([
        format!("{words}  {port} {address}"),
        format!("{words}  {port}"),
        words.to_owned(),
    ])]
}
