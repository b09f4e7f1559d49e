//! The venue's gateway.

use std::net::IpAddr;

use super::{Scene, Topic};

/// Returns `gw 10.99.0.1`; shortened, if necessary, to the part that differs from our own address.
pub fn topics(scene: &Scene) -> Vec<Topic> {
    let Some(active) = &scene.active else { return Vec::new() };
    let Some(address) = active.address else { return Vec::new() };
    let Some(gateway) = active.gateway else {
        let words = if active.has_default_route { "point to point" } else { "no gateway" };
        return vec![Topic::wordings([words, "no gw"])];
    };
    let mut wordings =
        vec![format!("gateway {gateway}"), format!("gw {gateway}"), format!("→{gateway}")];
    if let (IpAddr::V4(ours), IpAddr::V4(theirs)) = (address.addr(), gateway) {
        let (ours, theirs) = (ours.octets(), theirs.octets());
        let shared = ours.iter().zip(&theirs).take_while(|(a, b)| a == b).count();
        for from in 1..=shared.min(3) {
            let tail: Vec<String> =
                theirs.iter().skip(from).map(|octet| format!(".{octet}")).collect();
            wordings.push(format!("gw {}", tail.concat()));
        }
    }
    vec![Topic::Wordings(wordings)]
}
