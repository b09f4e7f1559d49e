//! Alerts of the cluster's subnet: an overlap with the venue's, and the move away from it.

use crate::config::{Node, Settings};
use crate::decide::Overlap;
use crate::decide::alert::{Alert, AlertCode, Severity, listed};
use crate::decide::cluster::{Placement, overlapping_ipv6};
use crate::facts::Facts;

/// Limit on nodes that an alert lists by name.
const NAMED: usize = 5;

/// Raises alerts about overlaps of the cluster's subnet with the venue's.
pub fn alerts(settings: &Settings, facts: &Facts, placement: &Placement, raised: &mut Vec<Alert>) {
    raised.extend(clash(settings, facts, placement));
    raised.extend(overlapping_ipv6(facts, placement).map(|net| {
        let text = format!(
            "the venue uses {}, which cluster.ipv6.prefix gives the nodes: its hosts and the nodes do \
             not reach each other, and its resolver may not answer; write prefix = \"auto\" in \
             [cluster.ipv6]",
            net.trunc()
        );
        Alert::whole(AlertCode::GatewayOverlap, text).graded(Severity::Warning)
    }));
    let home = settings.cluster.address;
    match placement.overlap {
        Overlap::None => {}
        // Without a port nothing overlaps; a renamed port may keep the address for a moment.
        Overlap::Routed if facts.cluster_port().is_none() => {}
        Overlap::Routed => {
            let text =
                format!("the venue uses {} too: policy routing keeps both working", home.trunc());
            raised.push(Alert::whole(AlertCode::GatewayOverlap, text));
        }
        Overlap::Renumbered => {
            let consequence = left_behind(settings);
            let text =
                format!("the cluster moved from {home} to {}{consequence}", placement.address);
            raised.push(Alert::whole(AlertCode::GatewayRenumbered, text));
        }
    }
}

/// Returns the alert that the venue leased an address of the cluster to an uplink.
fn clash(settings: &Settings, facts: &Facts, placement: &Placement) -> Option<Alert> {
    let (index, address) = placement.clash?;
    let port = facts.kernel().link(index).map_or("an uplink", |link| link.name.as_str());
    let text = if placement.overlap == Overlap::Renumbered {
        format!(
            "the venue leased {address} on {port}, an address of the cluster: the cluster has \
             moved to {}",
            placement.address
        )
    } else {
        format!(
            "the venue leased {address} on {port}, an address of the cluster, and every \
             alternative is taken too: add one to cluster.fallback_addresses"
        )
    };
    let [a, b, c, _] = settings.cluster.address.network().octets();
    Some(Alert::whole(AlertCode::UplinkClash, text).shown_as(format!("CLASH {a}.{b}.{c}")))
}

/// Returns which nodes cannot follow the cluster's move, and whether the others will, as the end of
/// a sentence.
fn left_behind(settings: &Settings) -> String {
    let served = settings.cluster.dhcp.is_some();
    let left = settings.nodes.iter().filter(|node| is_static(node, served));
    let names: Vec<&str> = left.map(|node| node.name.as_str()).collect();
    if names.is_empty() {
        let follow = if served { "; its nodes follow within minutes" } else { "" };
        return follow.to_owned();
    }
    let listed = listed(&names, names.len(), NAMED);
    let others = if served { "; the other nodes follow within minutes" } else { "" };
    format!("; left behind with static addresses: {listed}{others}")
}

/// Returns whether a node has a configured address that DHCP does not assign.
fn is_static(node: &Node, served: bool) -> bool {
    node.address.is_some() && !(served && node.mac.is_some())
}
