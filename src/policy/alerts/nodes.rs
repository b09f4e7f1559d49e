//! Alerts of nodes: those that are down, degraded or flapping; groups with too few up. Looks at counts and at the nodes that have
//! something wrong, never at all of them.

use super::alert;
use crate::config::{Settings, Threshold};
use crate::policy::alert::{Alert, Severity};
use crate::state::State;
use crate::state::node::{Counts, NodeHealth, NodeState, Trouble};

/// This many nodes are named in alerts of their own; more are counted.
const NAMED: usize = 8;

pub fn alerts(settings: &Settings, state: &State, raised: &mut Vec<Alert>) {
    let nodes = state.nodes();
    let too_few = is_below(settings.health.fault_below, nodes.counts());
    let overall = if too_few { Severity::Fault } else { Severity::Warning };
    let down = nodes.count(NodeHealth::Down);
    let by_group = down > NAMED && !settings.groups.is_empty();
    if by_group {
        summary(settings, state, overall, raised);
    } else {
        let text = |count| (format!("{count} more nodes down"), format!("{down} down"));
        named((nodes.down(), down), overall, "node-down", "down", text, raised);
    }
    // One group's threshold counts whether its nodes are named or summarised.
    for (group, counts) in settings.groups.iter().zip(nodes.groups()) {
        let Some(threshold) = group.fault_below.filter(|threshold| is_below(*threshold, counts)) else { continue };
        let text = format!("{}: fewer than {} of its nodes up", group.name, in_words(threshold));
        raised.push(alert(Severity::Fault, "node-group-fault", text, format!("{} FAULT", group.name)));
    }
    awaited(state, raised);
    for (trouble, code) in
        [(Trouble::Flapping, "node-flapping"), (Trouble::Lossy, "node-degraded"), (Trouble::Slow, "node-degraded")]
    {
        let (troubled, count) = nodes.troubled(trouble);
        let word = trouble.name();
        let text = |more| (format!("{more} more nodes {word}"), format!("{count} {word}"));
        named((troubled, count), Severity::Warning, code, word, text, raised);
    }
}

/// Those that have not answered yet and may be starting. Without a cable nobody can: that is told by itself.
fn awaited(state: &State, raised: &mut Vec<Alert>) {
    let (nodes, count) = state.nodes().unanswered();
    if count == 0 || !state.cluster_port().is_some_and(|port| port.carrier) {
        return;
    }
    let names: Vec<&str> = nodes.take(NAMED).map(|node| node.name.as_str()).collect();
    let more = if count > NAMED { format!(" and {} more", count - NAMED) } else { String::new() };
    let text = format!("waiting for {}{more}", names.join(", "));
    raised.push(alert(Severity::Notice, "node-awaited", text, "nodes awaited"));
}

/// An alert for each of the first nodes, and one for the others together.
fn named<'n>(
    (nodes, count): (impl Iterator<Item = &'n NodeState>, usize),
    severity: Severity,
    code: &'static str,
    word: &str,
    others: impl Fn(usize) -> (String, String),
    raised: &mut Vec<Alert>,
) {
    for node in nodes.take(NAMED) {
        let text = format!("{} {word}", node.name);
        raised.push(alert(severity, code, text.clone(), text));
    }
    if count > NAMED {
        let (text, panel) = others(count - NAMED);
        raised.push(alert(severity, code, text, panel));
    }
}

/// Of many nodes that are down, how many in each group.
fn summary(settings: &Settings, state: &State, severity: Severity, raised: &mut Vec<Alert>) {
    let nodes = state.nodes();
    let mut elsewhere = nodes.count(NodeHealth::Down);
    let mut all = nodes.total();
    let mut hit = Vec::new();
    for (group, counts) in settings.groups.iter().zip(nodes.groups()) {
        let down = counts.of(NodeHealth::Down);
        elsewhere -= down.min(elsewhere);
        all -= counts.total().min(all);
        if down > 0 {
            hit.push((group.name.as_str(), down, counts.total()));
        }
    }
    // Those that are hit hardest, first.
    hit.sort_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(b.0)));
    let others = hit.split_off(hit.len().min(NAMED));
    for (name, down, total) in hit {
        let text = format!("{name}: {down} of {total} down");
        raised.push(alert(severity, "node-group-down", text, format!("{name} {down} down")));
    }
    if !others.is_empty() {
        let down: usize = others.iter().map(|(_, down, _)| down).sum();
        let text = format!("{down} nodes of {} more groups down", others.len());
        raised.push(alert(severity, "node-group-down", text, format!("{down} more down")));
    }
    if elsewhere > 0 {
        let text = format!("{elsewhere} of {all} nodes without a group down");
        raised.push(alert(severity, "node-group-down", text, format!("{elsewhere} down")));
    }
}

/// Fewer nodes are left than there are to be; those that are worked on do not count.
fn is_below(threshold: Threshold, counts: &Counts) -> bool {
    let (down, expected) = (counts.of(NodeHealth::Down), counts.expected());
    let left = expected.saturating_sub(down);
    down > 0
        && match threshold {
            Threshold::Count(least) => left < least as usize,
            Threshold::Percent(share) => left * 100 < expected * usize::from(share),
        }
}

fn in_words(threshold: Threshold) -> String {
    match threshold {
        Threshold::Count(least) => least.to_string(),
        Threshold::Percent(share) => format!("{share} %"),
    }
}
