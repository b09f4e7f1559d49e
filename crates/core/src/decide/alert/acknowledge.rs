//! Which alerts an acknowledgement covers, and which acknowledged alerts are still raised.

use std::collections::{BTreeMap, BTreeSet};

use super::node::health;
use super::{Alert, AlertId};
use crate::decide::Desired;
use crate::event::Acknowledgement;
use crate::event::alert::SubjectKind;
use crate::facts::Facts;

/// Returns an acknowledgement of all raised alerts, with their panel texts.
pub fn all_standing(facts: &Facts, desired: &Desired) -> Acknowledgement {
    let mut standing: BTreeMap<AlertId, String> = health::standing(facts).collect();
    standing.extend(whole_alerts(desired).map(|alert| (alert.id(), alert.panel.clone())));
    Acknowledgement::Made(standing)
}

/// Returns the acknowledged alerts that a decision still raises; `None` if it raises all of them.
/// Dropping the others from the facts changes no decision: only raised alerts are shown as
/// acknowledged.
pub fn still_standing(facts: &Facts, desired: &Desired) -> Option<Acknowledgement> {
    let is_raised = |id: &AlertId| {
        let mut raised = desired.alerts.iter();
        raised.any(|alert| (alert.code, &alert.subject) == (id.code, &id.subject))
    };
    // The usual case: avoids listing thousands of them.
    if facts.all_acknowledged_stand(is_raised, |code, nodes| health::all_stand(facts, code, nodes))
    {
        return None;
    }
    Some(Acknowledgement::Standing(standing(facts, desired)))
}

/// Returns the acknowledged alerts that a decision still raises.
pub fn standing(facts: &Facts, desired: &Desired) -> BTreeSet<AlertId> {
    let ids = whole_alerts(desired).map(Alert::id).chain(health::standing(facts).map(|(id, _)| id));
    ids.filter(|id| facts.acknowledged().contains(id)).collect()
}

/// Returns the alerts that are acknowledged as a whole. Alerts about several nodes are acknowledged
/// per node.
fn whole_alerts(desired: &Desired) -> impl Iterator<Item = &Alert> {
    desired.alerts.iter().filter(|alert| alert.code.subject() != SubjectKind::Nodes)
}
