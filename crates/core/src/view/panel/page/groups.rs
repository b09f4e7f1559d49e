//! The number of nodes up in each group.

use super::{Scene, Topic};
use crate::facts::node::{Counts, NodeHealth};

/// Up to this many groups all are shown; of more, only those that are not all up.
const MAX_COMPLETE: usize = 4;
/// Limit on groups shown of those that are not all up; those with the most nodes down first.
const MAX_SHOWN: usize = 12;

/// Returns the number of nodes up in each group: `rack1 148/150`.
pub fn topics(scene: &Scene) -> Vec<Topic> {
    let all: Vec<(&str, &Counts)> = scene
        .settings
        .groups
        .iter()
        .map(|group| group.name.as_str())
        .zip(scene.facts.nodes().groups())
        .collect();
    let groups: Vec<(&str, &Counts)> =
        all.into_iter().filter(|(_, counts)| counts.total() > 0).collect();
    let Some(troubled) = (groups.len() > MAX_COMPLETE).then(|| troubled(&groups)) else {
        return groups.into_iter().map(group).collect();
    };
    let well = groups.len() - troubled.len();
    let left = troubled.len().saturating_sub(MAX_SHOWN);
    let mut topics: Vec<Topic> = troubled.into_iter().take(MAX_SHOWN).map(group).collect();
    if left > 0 {
        topics.push(Topic::wordings([
            format!("{left} more not all up"),
            format!("{left} not up"),
            format!("+{left}"),
        ]));
    }
    if well > 0 {
        topics.push(Topic::wordings([
            format!("{well} groups all up"),
            format!("{well} all up"),
            format!("{well} ok"),
        ]));
    }
    topics
}

/// Returns the groups that are not all up, the worst first.
fn troubled<'g>(groups: &[(&'g str, &'g Counts)]) -> Vec<(&'g str, &'g Counts)> {
    let mut troubled: Vec<_> = groups
        .iter()
        .copied()
        .filter(|(_, counts)| counts.of(NodeHealth::Up) < counts.expected())
        .collect();
    troubled.sort_by_key(|(_, counts)| {
        std::cmp::Reverse((counts.of(NodeHealth::Down), counts.of(NodeHealth::Degraded)))
    });
    troubled
}

/// Returns the topic of one group.
fn group((name, counts): (&str, &Counts)) -> Topic {
    let value = format!("{}/{}", counts.of(NodeHealth::Up), counts.total());
    Topic::Tail { name: name.to_owned(), value }
}
