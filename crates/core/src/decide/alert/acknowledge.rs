//! Which alerts an acknowledgement means, and which of the acknowledged ones stand.

use std::collections::{BTreeMap, BTreeSet};

use super::node::health;
use super::{Alert, AlertId};
use crate::decide::Desired;
use crate::event::Acknowledgement;
use crate::event::alert::SubjectKind;
use crate::facts::Facts;

/// Returns the acknowledgement of all that stands, with the words on the panel.
pub fn all_standing(facts: &Facts, desired: &Desired) -> Acknowledgement {
    let mut standing: BTreeMap<AlertId, String> = health::standing(facts).collect();
    standing.extend(others(desired).map(|alert| (alert.id(), alert.panel.clone())));
    Acknowledgement::Made(standing)
}

/// Returns which acknowledged alerts a decision raises, where some of them it does not. To take the
/// others out of the facts changes no decision: only a raised alert is shown as acknowledged.
pub fn still_standing(facts: &Facts, desired: &Desired) -> Option<Acknowledgement> {
    let stands = |id: &AlertId| {
        let mut raised = desired.alerts.iter();
        raised.any(|alert| (alert.code, &alert.subject) == (id.code, &id.subject))
    };
    // Nearly always: thousands of them are not listed for it.
    if facts.all_acknowledged_stand(stands, |code, nodes| health::all_stand(facts, code, nodes)) {
        return None;
    }
    Some(Acknowledgement::Standing(standing(facts, desired)))
}

/// Returns which acknowledged alerts a decision raises.
pub fn standing(facts: &Facts, desired: &Desired) -> BTreeSet<AlertId> {
    let ids = others(desired).map(Alert::id).chain(health::standing(facts).map(|(id, _)| id));
    ids.filter(|id| facts.acknowledged().contains(id)).collect()
}

/// Returns the alerts that are acknowledged as a whole. An alert of several nodes is acknowledged
/// for each of them.
fn others(desired: &Desired) -> impl Iterator<Item = &Alert> {
    desired.alerts.iter().filter(|alert| alert.code.subject() != SubjectKind::Nodes)
}
