//! The shared disks: free space, and the number of nodes that use them.

use super::{Scene, Topic};

/// Returns a line for each mounted disk. Faults are alerts.
pub fn topics(scene: &Scene) -> Vec<Topic> {
    let shares = scene.facts.shares();
    let used = match shares.seen.as_ref().map_or(0, |seen| seen.clients.len()) {
        0 => String::new(),
        1 => " 1 node".to_owned(),
        nodes => format!(" {nodes} nodes"),
    };
    let topic = |share: &crate::config::Share| {
        let (name, free) = (&share.name, shares.disk(&share.path)?.free?);
        Some(Topic::wordings([
            format!("{name} {free}% free{used}"),
            format!("{name} {free}%{used}"),
            format!("{name} {free}% free"),
            format!("{name} {free}%"),
        ]))
    };
    scene.settings.shares.iter().filter_map(topic).collect()
}
