//! Alerts of nodes: those that are down, degraded or flapping; groups with too few up. Looks at
//! counts and at the nodes that have something wrong, never at all of them.

use std::collections::BTreeSet;

use super::raise::alert;
use crate::config::{Settings, Threshold};
use crate::decide::alert::{Alert, AlertCode, AlertId, Severity, Subject};
use crate::facts::Facts;
use crate::facts::node::{Counts, NodeHealth, NodeState, Trouble};

/// This many nodes are named in alerts of their own; more are counted.
const NAMED: usize = 8;
/// A code, and what its nodes are.
type Ill = (AlertCode, &'static str);
const DOWN: Ill = (AlertCode::NodeDown, "down");
const TROUBLES: [(Trouble, AlertCode); 3] = [
    (Trouble::Flapping, AlertCode::NodeFlapping),
    (Trouble::Lossy, AlertCode::NodeDegraded),
    (Trouble::Slow, AlertCode::NodeDegraded),
];

/// Returns the alert of each node that is not well, also of those that are only counted, and its
/// words for the panel.
pub fn standing(state: &Facts) -> impl Iterator<Item = (AlertId, String)> + '_ {
    let nodes = state.nodes();
    let down = nodes.down().map(|node| (id(node, DOWN.0), words(node, DOWN.1)));
    let troubled = TROUBLES.into_iter().flat_map(move |(trouble, code)| {
        nodes.troubled(trouble).0.map(move |node| (id(node, code), words(node, trouble.name())))
    });
    down.chain(troubled)
}

fn id(node: &NodeState, code: AlertCode) -> AlertId {
    AlertId { code, subject: Subject::Node(node.name.clone()) }
}

/// "rpi1 down"
fn words(node: &NodeState, word: &str) -> String {
    format!("{} {word}", node.name)
}

fn is_known(state: &Facts, node: &NodeState, code: AlertCode) -> bool {
    !state.acknowledged().is_empty() && state.acknowledged().contains(&id(node, code))
}

/// People know that this node is down.
pub fn is_known_down(state: &Facts, node: &NodeState) -> bool {
    is_known(state, node, DOWN.0)
}

/// Groups (`None`: without one) of which people know each node that is down.
pub fn known_groups(state: &Facts) -> BTreeSet<Option<usize>> {
    if state.acknowledged().is_empty() {
        return BTreeSet::new();
    }
    let (mut known, mut news) = (BTreeSet::new(), BTreeSet::new());
    for node in state.nodes().down() {
        let side = if is_known_down(state, node) { &mut known } else { &mut news };
        side.insert(node.group);
    }
    known.retain(|group| !news.contains(group));
    known
}

pub fn alerts(settings: &Settings, state: &Facts, raised: &mut Vec<Alert>) {
    let nodes = state.nodes();
    // A visitor's laptop comes and goes: who was merely found is no fault, and makes up for none.
    let too_few = is_below(settings.health.fault_below, nodes.named());
    let overall = if too_few { Severity::Fault } else { Severity::Warning };
    let severity = |node: &NodeState| if node.is_named() { overall } else { Severity::Warning };
    let down = nodes.count(NodeHealth::Down);
    let by_group = down > NAMED && !settings.groups.is_empty();
    if by_group {
        summary(settings, state, overall, raised);
    } else {
        let text = |count| (format!("{count} more nodes down"), format!("{down} down"));
        named(state, (nodes.down(), down), (severity, overall), DOWN, text, raised);
    }
    // One group's threshold counts whether its nodes are named or summarised.
    for (group, counts) in settings.groups.iter().zip(nodes.groups()) {
        let Some(threshold) = group.fault_below.filter(|threshold| is_below(*threshold, counts))
        else {
            continue;
        };
        let text = format!("{}: fewer than {} of its nodes up", group.name, in_words(threshold));
        raised.push(Alert::new(
            AlertCode::NodeGroupFault,
            Subject::Group(group.name.clone()),
            text,
        ));
    }
    awaited(state, raised);
    for (trouble, code) in TROUBLES {
        let (troubled, count) = nodes.troubled(trouble);
        let word = trouble.name();
        let text = |more| (format!("{more} more nodes {word}"), format!("{count} {word}"));
        named(
            state,
            (troubled, count),
            (|_: &NodeState| Severity::Warning, Severity::Warning),
            (code, word),
            text,
            raised,
        );
    }
}

/// Those that have not answered yet and may be starting. Without a cable nobody can: that is told
/// by itself.
fn awaited(state: &Facts, raised: &mut Vec<Alert>) {
    let (nodes, count) = state.nodes().unanswered();
    if count == 0 || !state.cluster_port().is_some_and(|port| port.carrier) {
        return;
    }
    let names: Vec<&str> = nodes.take(NAMED).map(|node| node.name.as_str()).collect();
    let more = if count > NAMED { format!(" and {} more", count - NAMED) } else { String::new() };
    let text = format!("waiting for {}{more}", names.join(", "));
    raised.push(alert(AlertCode::NodeAwaited, text));
}

/// An alert for each of the first nodes, and one for the others together.
fn named<'n>(
    state: &Facts,
    (mut nodes, count): (impl Iterator<Item = &'n NodeState>, usize),
    (severity, of_others): (impl Fn(&NodeState) -> Severity, Severity),
    (code, word): Ill,
    others: impl Fn(usize) -> (String, String),
    raised: &mut Vec<Alert>,
) {
    for node in nodes.by_ref().take(NAMED) {
        let text = words(node, word);
        let alert = Alert::new(code, Subject::Node(node.name.clone()), text.clone());
        raised.push(alert.graded(severity(node)).shown_as(text));
    }
    if count > NAMED {
        let (text, panel) = others(count - NAMED);
        let acknowledged = nodes.all(|node| is_known(state, node, code));
        let counted = alert(code, text).graded(of_others).shown_as(panel);
        raised.push(Alert { acknowledged, ..counted });
    }
}

/// Of many nodes that are down, how many in each group.
fn summary(settings: &Settings, state: &Facts, severity: Severity, raised: &mut Vec<Alert>) {
    let nodes = state.nodes();
    let known = known_groups(state);
    let mut push = |subject: Subject, text: String, panel: String, acknowledged: bool| {
        let alert =
            Alert::new(AlertCode::NodeGroupDown, subject, text).graded(severity).shown_as(panel);
        raised.push(Alert { acknowledged, ..alert });
    };
    let mut elsewhere = nodes.count(NodeHealth::Down);
    let mut all = nodes.total();
    let mut hit = Vec::new();
    for (place, (group, counts)) in settings.groups.iter().zip(nodes.groups()).enumerate() {
        let down = counts.of(NodeHealth::Down);
        elsewhere -= down.min(elsewhere);
        all -= counts.total().min(all);
        if down > 0 {
            hit.push((group.name.as_str(), down, counts.total(), known.contains(&Some(place))));
        }
    }
    // Those that are hit hardest, first.
    hit.sort_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(b.0)));
    let others = hit.split_off(hit.len().min(NAMED));
    for (name, down, total, known) in hit {
        let subject = Subject::Group(name.to_owned());
        push(
            subject,
            format!("{name}: {down} of {total} down"),
            format!("{name} {down} down"),
            known,
        );
    }
    if !others.is_empty() {
        let down: usize = others.iter().map(|(_, down, ..)| down).sum();
        let text = format!("{down} nodes of {} more groups down", others.len());
        push(
            Subject::Whole,
            text,
            format!("{down} more down"),
            others.iter().all(|(.., known)| *known),
        );
    }
    if elsewhere > 0 {
        let text = format!("{elsewhere} of {all} nodes without a group down");
        push(Subject::Whole, text, format!("{elsewhere} down"), known.contains(&None));
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
