//! Alerts that users know of: they are shown, but raise no alarm.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::{Facts, Transition};
use crate::event::{Acknowledgement, AlertId};

/// After the start alerts need at most this long to be raised again: what was not is not forgotten
/// meanwhile.
const START_TIME: Duration = Duration::from_secs(60);

/// What users know of.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Acknowledgements {
    known: BTreeSet<AlertId>,
    /// of `known`, what was kept from before the start and has not been raised since
    restored: BTreeSet<AlertId>,
}

impl Facts {
    /// Returns the alerts that users know of.
    pub fn acknowledged(&self) -> &BTreeSet<AlertId> {
        &self.acknowledgements.known
    }

    pub(super) fn apply_acknowledgement(&mut self, change: &Acknowledgement) -> Vec<Transition> {
        match change {
            Acknowledgement::Restored(kept) => {
                self.acknowledgements =
                    Acknowledgements { known: kept.clone(), restored: kept.clone() };
                Vec::new()
            }
            Acknowledgement::Made(alerts) => self.acknowledge(alerts),
            Acknowledgement::Standing(standing) => {
                self.forget_cleared(standing);
                Vec::new()
            }
        }
    }

    fn acknowledge(&mut self, alerts: &BTreeMap<AlertId, String>) -> Vec<Transition> {
        let known = &mut self.acknowledgements.known;
        let news = alerts.iter().filter(|(id, _)| !known.contains(id));
        let news: Vec<String> = news.map(|(id, panel)| format!("{} {panel}", id.code)).collect();
        known.extend(alerts.keys().cloned());
        if news.is_empty() { Vec::new() } else { vec![Transition::Acknowledged { alerts: news }] }
    }

    /// Forgets what has cleared: if it comes again, that is news. What was restored is waited for.
    fn forget_cleared(&mut self, standing: &BTreeSet<AlertId>) {
        let starting = self.now.saturating_since(self.started) < START_TIME;
        // A node that was down before may be so still: while it is awaited nobody can tell.
        let nodes_awaited = self.nodes_may_start();
        let is_awaited = |id: &AlertId| starting || (nodes_awaited && id.code.is_of_nodes());
        let Acknowledgements { known, restored } = &mut self.acknowledgements;
        restored.retain(|id| !standing.contains(id) && is_awaited(id));
        known.retain(|id| standing.contains(id) || restored.contains(id));
    }
}
