//! Service discovery for Prometheus: every node as a target (`http_sd_configs`).

use std::collections::BTreeMap;
use std::net::IpAddr;

use bramblegate_api::status::Snapshot;
use serde::Serialize;

/// One target with its labels, all strings: Prometheus refuses a whole answer for one that is not.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Target {
    targets: [String; 1],
    labels: BTreeMap<&'static str, String>,
}

/// Returns a target for each node with an address, at `port`; without one, Prometheus uses port 80.
pub fn targets(snapshot: &Snapshot, port: Option<u16>) -> Vec<Target> {
    let nodes = snapshot.nodes.iter();
    nodes
        .filter_map(|node| {
            let text = |text: Option<&str>| text.unwrap_or_default().to_owned();
            let labels = BTreeMap::from([
                ("__meta_bramblegate_node", node.name.to_string()),
                ("__meta_bramblegate_group", text(node.group.as_deref())),
                ("__meta_bramblegate_health", node.health.to_string()),
                ("__meta_bramblegate_mac", text(node.mac.as_deref())),
                ("__meta_bramblegate_origin", node.origin.to_string()),
            ]);
            Some(Target { targets: [target(node.address?, port)], labels })
        })
        .collect()
}

fn target(address: IpAddr, port: Option<u16>) -> String {
    match (address, port) {
        (address, None) if address.is_ipv4() => address.to_string(),
        (address, None) => format!("[{address}]"),
        (IpAddr::V4(address), Some(port)) => format!("{address}:{port}"),
        (IpAddr::V6(address), Some(port)) => format!("[{address}]:{port}"),
    }
}
