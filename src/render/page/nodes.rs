//! How many nodes are up, and by which port the head is reached.

use super::{Scene, Topic};
use crate::state::node::NodeHealth;

/// `3/3 up  eth1`
pub fn topics(scene: &Scene) -> Vec<Topic> {
    let nodes = scene.state.nodes();
    let (total, up) = (nodes.total(), nodes.count(NodeHealth::Up));
    let words = match total {
        0 => "no nodes".to_owned(),
        // Nobody has asked them yet, or nobody ever does: that they are down would be a lie.
        _ if nodes.count(NodeHealth::Unknown) == total => {
            format!("{total} {}", if total == 1 { "node" } else { "nodes" })
        }
        _ => format!("{up}/{total} up"),
    };
    let port = scene.active.as_ref().map(|active| format!("{words}  {}", active.link.name));
    vec![Topic::wordings(port.into_iter().chain([words]))]
}
