//! The shared disks: free space, and the number of nodes that use them.

use super::{Scene, Topic};
use crate::config::Share;

/// Returns a line for each mounted disk. Faults are alerts.
pub fn topics(scene: &Scene) -> Vec<Topic> {
    let used = match scene.facts.shares().seen.as_ref().map_or(0, |seen| seen.clients.len()) {
        0 => String::new(),
        1 => " 1 node".to_owned(),
        nodes => format!(" {nodes} nodes"),
    };
    scene.settings.shares.iter().filter_map(|share| topic(scene, share, &used)).collect()
}

/// Returns the line of one disk; `None` if it is not mounted.
fn topic(scene: &Scene, share: &Share, used: &str) -> Option<Topic> {
    let (name, free) = (&share.name, scene.facts.shares().disk(&share.path)?.free?);
    Some(Topic::wordings([
        format!("{name} {free}% free{used}"),
        format!("{name} {free}%{used}"),
        format!("{name} {free}% free"),
        format!("{name} {free}%"),
    ]))
}
