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
            Some(Target { targets: [target(*node.reached_at()?, port)], labels })
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

#[cfg(test)]
mod tests {
    use bramblegate_api::status::Node;

    use super::*;

    #[test]
    fn a_node_is_a_target_by_whichever_address_it_is_reached_at() {
        let node = |name: &str, address: Option<&str>, ipv6: &[&str]| Node {
            name: name.into(),
            address: address.map(|text| text.parse().unwrap()),
            addresses: ipv6.iter().map(|text| text.parse().unwrap()).collect(),
            ..Node::default()
        };
        let nodes = [
            node("both", Some("192.168.50.11"), &["fd12::11"]),
            node("ipv6", None, &["fd12::12", "2001:db8::12"]),
            node("none", None, &[]),
        ];
        let snapshot = Snapshot { nodes: nodes.into_iter().collect(), ..Snapshot::default() };
        let found = |port| -> Vec<String> {
            targets(&snapshot, port).into_iter().map(|target| target.targets.concat()).collect()
        };
        assert_eq!(found(Some(9100)), ["192.168.50.11:9100", "[fd12::12]:9100"]);
        assert_eq!(found(None), ["192.168.50.11", "[fd12::12]"]);
    }
}
