//! Alerts of nodes that are down, degraded or flapping, and of groups with too few nodes up.
//! Iterates over counts and over nodes with a problem, never over all nodes.

use std::collections::BTreeSet;

use super::NAMED;
use crate::config::{Settings, Threshold};
use crate::decide::alert::{Alert, AlertCode, AlertId, Severity, Subject, listed};
use crate::event::NodeId;
use crate::facts::Facts;
use crate::facts::node::{Counts, NodeHealth, NodeState, Trouble};

/// What may be wrong with a node besides being down, and the alert code.
const TROUBLES: [(Trouble, AlertCode); 3] = [
    (Trouble::Flapping, AlertCode::NodeFlapping),
    (Trouble::Lossy, AlertCode::NodeDegraded),
    (Trouble::Slow, AlertCode::NodeDegraded),
];

/// Returns the alert of each node with a problem, also of those that are only counted, and its
/// panel text.
pub fn standing(facts: &Facts) -> impl Iterator<Item = (AlertId, String)> + '_ {
    let nodes = facts.nodes();
    let down = nodes.down().map(|node| (id(node, AlertCode::NodeDown), text_of(node, "down")));
    let troubled = TROUBLES.into_iter().flat_map(move |(trouble, code)| {
        nodes.troubled(trouble).0.map(move |node| (id(node, code), text_of(node, trouble.name())))
    });
    down.chain(troubled)
}

/// Returns the identity of the node's alert with this code.
fn id(node: &NodeState, code: AlertCode) -> AlertId {
    AlertId { code, subject: Subject::Node(node.name.clone()) }
}

/// Returns the alert's text: "rpi1 down".
fn text_of(node: &NodeState, condition: &str) -> String {
    format!("{} {condition}", node.name)
}

/// Returns whether each of these nodes raises an alert with this code: like [`standing`], without
/// building names.
pub fn all_stand(facts: &Facts, code: AlertCode, nodes: &BTreeSet<NodeId>) -> bool {
    if code == AlertCode::NodeDown {
        return nodes.is_subset(facts.nodes().down_ids());
    }
    let troubles = || TROUBLES.into_iter().filter(|(_, raised)| *raised == code);
    nodes.iter().all(|id| troubles().any(|(trouble, _)| facts.nodes().is_troubled(*id, trouble)))
}

/// Returns whether the operator acknowledged this alert of the node.
fn is_acknowledged(facts: &Facts, node: &NodeState, code: AlertCode) -> bool {
    facts.acknowledged_nodes(code).contains(&node.id)
}

/// Returns whether the operator acknowledged that this node is down.
pub fn is_down_acknowledged(facts: &Facts, node: &NodeState) -> bool {
    is_acknowledged(facts, node, AlertCode::NodeDown)
}

/// Returns the groups (`None`: no group) in which every node that is down is acknowledged.
pub fn acknowledged_groups(facts: &Facts) -> BTreeSet<Option<usize>> {
    let (acknowledged, nodes) = (facts.acknowledged_nodes(AlertCode::NodeDown), facts.nodes());
    if acknowledged.is_empty() {
        return BTreeSet::new();
    }
    let unacknowledged = nodes.down_ids().difference(acknowledged).filter_map(|id| nodes.get(*id));
    let unacknowledged = BTreeSet::from_iter(unacknowledged.map(|node| node.group));
    let down = |counts: &Counts| counts.of(NodeHealth::Down);
    let grouped: usize = nodes.groups().iter().map(down).sum();
    let without = (nodes.count(NodeHealth::Down) > grouped).then_some(None);
    let groups = nodes.groups().iter().enumerate().filter(|(_, counts)| down(counts) > 0);
    let all = groups.map(|(place, _)| Some(place)).chain(without);
    all.filter(|group| !unacknowledged.contains(group)).collect()
}

/// Raises what is wrong with the nodes' health.
pub fn alerts(settings: &Settings, facts: &Facts, raised: &mut Vec<Alert>) {
    down(settings, facts, raised);
    few_in_groups(settings, facts, raised);
    awaited(facts, raised);
    for (trouble, code) in TROUBLES {
        troubled(facts, trouble, code, raised);
    }
}

/// Raises nodes that are down: each one, or a count per group if there are many.
fn down(settings: &Settings, facts: &Facts, raised: &mut Vec<Alert>) {
    let nodes = facts.nodes();
    let count = nodes.count(NodeHealth::Down);
    if count == 0 {
        return;
    }
    // Discovered devices do not count: a visitor's laptop that leaves is no fault.
    let too_few = is_below(settings.health.red_below, nodes.named());
    let overall = if too_few { Severity::Fault } else { Severity::Warning };
    if count > NAMED && !settings.groups.is_empty() {
        by_group(settings, facts, overall, raised);
        return;
    }
    for node in nodes.down().take(NAMED) {
        let severity = if node.is_named() { overall } else { Severity::Warning };
        raised.push(node_alert(node, AlertCode::NodeDown, "down").graded(severity));
    }
    let more = count.saturating_sub(NAMED);
    let text = format!("{more} more nodes down");
    let alert =
        Alert::whole(AlertCode::NodeDown, text).graded(overall).shown_as(format!("{more} down"));
    raised.extend(remainder(facts, nodes.down(), alert));
}

/// Raises nodes with this trouble.
fn troubled(facts: &Facts, trouble: Trouble, code: AlertCode, raised: &mut Vec<Alert>) {
    let (nodes, count) = facts.nodes().troubled(trouble);
    if count == 0 {
        return;
    }
    let condition = trouble.name();
    raised.extend(nodes.take(NAMED).map(|node| node_alert(node, code, condition)));
    let text = format!("{} more nodes {condition}", count.saturating_sub(NAMED));
    let alert =
        Alert::whole(code, text).graded(Severity::Warning).shown_as(format!("{count} {condition}"));
    raised.extend(remainder(facts, facts.nodes().troubled(trouble).0, alert));
}

/// Returns the alert of one node.
fn node_alert(node: &NodeState, code: AlertCode, condition: &str) -> Alert {
    let text = text_of(node, condition);
    Alert::worded(code, Subject::Node(node.name.clone()), text.clone(), text)
}

/// Returns the alert about those of `nodes` beyond the first [`NAMED`]; `None` if there are none.
fn remainder<'n>(
    facts: &Facts,
    nodes: impl Iterator<Item = &'n NodeState>,
    alert: Alert,
) -> Option<Alert> {
    let mut others = nodes.skip(NAMED).peekable();
    others.peek()?;
    let acknowledged = others.all(|node| is_acknowledged(facts, node, alert.code));
    Some(Alert { acknowledged, ..alert })
}

/// Raises groups with fewer nodes up than their threshold.
fn few_in_groups(settings: &Settings, facts: &Facts, raised: &mut Vec<Alert>) {
    for (group, counts) in settings.groups.iter().zip(facts.nodes().groups()) {
        let threshold = group.red_below.filter(|threshold| is_below(*threshold, counts));
        let Some(threshold) = threshold else { continue };
        let least = threshold_text(threshold);
        let text = format!("{}: fewer than {least} of its nodes up", group.name);
        let subject = Subject::Group(group.name.clone());
        raised.push(Alert::new(AlertCode::NodeGroupFault, subject, text));
    }
}

/// Raises nodes that have not replied yet and may be starting; not without a carrier, which has an
/// alert of its own.
fn awaited(facts: &Facts, raised: &mut Vec<Alert>) {
    let (nodes, count) = facts.nodes().unanswered();
    if count == 0 || !facts.cluster_port().is_some_and(|port| port.carrier) {
        return;
    }
    let names: Vec<&str> = nodes.take(NAMED).map(|node| node.name.as_str()).collect();
    let text = format!("waiting for {}", listed(&names, count, NAMED));
    raised.push(Alert::whole(AlertCode::NodeAwaited, text));
}

/// Raises the number of nodes down per group, groups with the most first.
fn by_group(settings: &Settings, facts: &Facts, severity: Severity, raised: &mut Vec<Alert>) {
    let nodes = facts.nodes();
    let acknowledged = acknowledged_groups(facts);
    let name = |place: usize| settings.groups.get(place).map_or("", |group| &group.name);
    let counts = |place: usize| nodes.groups().get(place);
    let down = |place: usize| counts(place).map_or(0, |counts| counts.of(NodeHealth::Down));
    let mut groups = Vec::with_capacity(settings.groups.len());
    groups.extend((0..settings.groups.len()).filter(|place| down(*place) > 0));
    let worst_first =
        |a: &usize, b: &usize| down(*b).cmp(&down(*a)).then_with(|| name(*a).cmp(name(*b)));
    // The remaining groups are only summed up, so their order does not matter.
    if groups.len() > NAMED {
        groups.select_nth_unstable_by(NAMED, worst_first);
    }
    let others = groups.split_off(groups.len().min(NAMED));
    groups.sort_by(worst_first);
    for place in groups {
        let (name, down, total) = (
            name(place),
            down(place).to_string(),
            counts(place).map_or(0, Counts::total).to_string(),
        );
        let subject = Subject::Group(name.to_owned());
        let text = [name, ": ", &down, " of ", &total, " down"].concat();
        let panel = [name, " ", &down, " down"].concat();
        let alert = Alert::worded(AlertCode::NodeGroupDown, subject, text, panel).graded(severity);
        raised.push(Alert { acknowledged: acknowledged.contains(&Some(place)), ..alert });
    }
    if !others.is_empty() {
        let down: usize = others.iter().map(|place| down(*place)).sum();
        let text = format!("{down} nodes of {} more groups down", others.len());
        let alert = Alert::whole(AlertCode::NodeGroupDown, text)
            .graded(severity)
            .shown_as(format!("{down} more down"));
        let acknowledged = others.iter().all(|place| acknowledged.contains(&Some(*place)));
        raised.push(Alert { acknowledged, ..alert });
    }
    let in_groups = |count: fn(&Counts) -> usize| nodes.groups().iter().map(count).sum::<usize>();
    let all_down = nodes.count(NodeHealth::Down);
    let elsewhere = all_down.saturating_sub(in_groups(|counts| counts.of(NodeHealth::Down)));
    if elsewhere > 0 {
        let total = nodes.total().saturating_sub(in_groups(Counts::total));
        let text = format!("{elsewhere} of {total} nodes without a group down");
        let alert = Alert::whole(AlertCode::NodeGroupDown, text)
            .graded(severity)
            .shown_as(format!("{elsewhere} down"));
        raised.push(Alert { acknowledged: acknowledged.contains(&None), ..alert });
    }
}

/// Returns whether fewer nodes are up than the threshold demands. Nodes in maintenance do not
/// count, and as long as no node is down no threshold is missed.
fn is_below(threshold: Threshold, counts: &Counts) -> bool {
    let (down, expected) = (counts.of(NodeHealth::Down), counts.expected());
    let left = expected.saturating_sub(down);
    down > 0
        && match threshold {
            Threshold::Count(least) => left < least as usize,
            Threshold::Percent(share) => left * 100 < expected * usize::from(share),
        }
}

/// Returns a threshold in the syntax of the settings: "3", "50 %".
fn threshold_text(threshold: Threshold) -> String {
    match threshold {
        Threshold::Count(least) => least.to_string(),
        Threshold::Percent(share) => format!("{share} %"),
    }
}
