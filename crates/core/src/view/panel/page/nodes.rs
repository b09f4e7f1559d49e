//! The number of nodes up, with the port of the active uplink, and which nodes are not up.

use super::{Scene, Topic};
use crate::facts::node::{NodeHealth, NodeState};

/// Limit on glyphs: no display has room for more beside the address.
const MAX_GLYPHS: usize = 128;
/// Limit on nodes that are listed as down.
const MAX_NAMED: usize = 24;
/// Limit on nodes that are listed as booting.
const MAX_BOOTING: usize = 6;

/// Returns `3/3 up  eth1`. While not all are up, adds a glyph for each node if they fit, the names
/// of nodes that are down, and the boot stage of booting ones. Groups have a page of their own.
pub fn topics(scene: &Scene) -> Vec<Topic> {
    let nodes = scene.facts.nodes();
    let (total, up) = (nodes.total(), nodes.count(NodeHealth::Up));
    let unknown = nodes.count(NodeHealth::Unknown) == total && nodes.unanswered().1 == 0;
    let words = match total {
        0 => "no nodes".to_owned(),
        // Not probed yet, or never: they are not known to be down.
        _ if unknown => format!("{total} {}", if total == 1 { "node" } else { "nodes" }),
        _ => format!("{up}/{total} up"),
    };
    let port = scene.active.as_ref().map(|active| format!("{words}  {}", active.link.name));
    let mut topics = vec![Topic::wordings(port.into_iter().chain([words]))];
    if !unknown && up < total {
        if total <= MAX_GLYPHS {
            topics.push(Topic::Cells(nodes.iter().map(|node| glyph(node.health)).collect()));
        }
        topics.extend(down(scene));
        topics.extend(booting(scene));
    }
    topics
}

/// Returns the names of nodes that are down, except those with an alert of their own.
fn down(scene: &Scene) -> Option<Topic> {
    let nodes = scene.facts.nodes();
    let count = nodes.count(NodeHealth::Down);
    let names: Vec<&str> = nodes
        .down()
        .take(MAX_NAMED)
        .filter(|node| !has_alert(scene, node))
        .map(|node| node.name.as_str())
        .collect();
    if names.is_empty() {
        return None;
    }
    let more = count.saturating_sub(MAX_NAMED);
    let more = if more > 0 { format!(" +{more}") } else { String::new() };
    Some(Topic::Text(format!("down: {}{more}", names.join(" "))))
}

/// Returns whether a separate alert shows that the node is down.
fn has_alert(scene: &Scene, node: &NodeState) -> bool {
    let words = format!("{} down", node.name);
    scene.alerts.iter().any(|alert| alert.panel == words)
}

/// Returns the booting nodes and their boot stages.
fn booting(scene: &Scene) -> Option<Topic> {
    let nodes = scene.facts.nodes();
    let boots: Vec<String> = nodes
        .booting()
        .take(MAX_BOOTING)
        .map(|node| format!("{} {}", node.name, last_file(node).unwrap_or_default()))
        .collect();
    let more = nodes.count(NodeHealth::Booting).saturating_sub(MAX_BOOTING);
    let more = if more > 0 { format!(" +{more}") } else { String::new() };
    (!boots.is_empty()).then(|| Topic::Text(format!("boots: {}{more}", boots.join(", "))))
}

/// Returns the name of the file that a node loaded last, without its directory.
fn last_file(node: &NodeState) -> Option<&str> {
    node.stage()?.rsplit('/').next()
}

/// Returns the glyph of a health. The shapes differ, so that they need neither colour nor a legend.
const fn glyph(health: NodeHealth) -> char {
    match health {
        NodeHealth::Up => '●',
        NodeHealth::Degraded => '◐',
        NodeHealth::Down => '✗',
        NodeHealth::Booting => '△',
        NodeHealth::Maintenance => '⚒',
        NodeHealth::Unknown => '○',
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::panel::charset::{CGRAM_SLOTS, glyph_of};

    #[test]
    fn every_health_has_a_glyph_of_its_own_and_all_fit_beside_the_heartbeat() {
        let mut glyphs: Vec<char> = NodeHealth::ALL.into_iter().map(glyph).collect();
        let fallbacks: Vec<char> = glyphs.iter().map(|g| glyph_of(*g).unwrap().fallback).collect();
        glyphs.sort_unstable();
        glyphs.dedup();
        assert_eq!(glyphs.len(), NodeHealth::ALL.len());
        assert!(glyphs.len() < CGRAM_SLOTS);
        let mut distinct = fallbacks.clone();
        distinct.sort_unstable();
        distinct.dedup();
        assert_eq!(
            distinct.len(),
            fallbacks.len(),
            "even without room in CGRAM they differ: {fallbacks:?}"
        );
    }
}
