//! Alerts that users know of: they are shown, but raise no alarm.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::context::Context;
use super::node::Nodes;
use super::transition::Transition;
use crate::event::{Acknowledgement, AlertId, Event, Instant};

/// After the start alerts need at most this long to be raised again: what was not is not forgotten
/// meanwhile.
const START_TIME: Duration = Duration::from_secs(60);

/// Holds the alerts that users know of.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Acknowledgements {
    known: BTreeSet<AlertId>,
    /// of `known`, what was kept from before the start and has not been raised since
    restored: BTreeSet<AlertId>,
}

impl Acknowledgements {
    /// Returns the alerts that users know of.
    pub fn known(&self) -> &BTreeSet<AlertId> {
        &self.known
    }

    /// Takes in what users know of, and which alerts stand. `started`: when the daemon did.
    pub fn handle(
        &mut self,
        event: &Event,
        context: Context<'_>,
        started: Instant,
        nodes: &Nodes,
    ) -> Option<Transition> {
        let Event::Acknowledgement(change) = event else { return None };
        match change {
            Acknowledgement::Restored(kept) => {
                *self = Self { known: kept.clone(), restored: kept.clone() };
                None
            }
            Acknowledgement::Made(alerts) => self.acknowledge(alerts),
            Acknowledgement::Standing(standing) => {
                let starting = context.now.saturating_since(started) < START_TIME;
                // A node that was down before may be so still: while it is awaited that is unknown.
                let nodes_awaited = nodes.are_awaited(context.settings, context.now);
                self.forget_cleared(standing, |id| {
                    starting || (nodes_awaited && id.code.is_of_nodes())
                });
                None
            }
        }
    }

    fn acknowledge(&mut self, alerts: &BTreeMap<AlertId, String>) -> Option<Transition> {
        let news = alerts.iter().filter(|(id, _)| !self.known.contains(id));
        let news: Vec<String> = news.map(|(id, panel)| format!("{} {panel}", id.code)).collect();
        self.known.extend(alerts.keys().cloned());
        (!news.is_empty()).then_some(Transition::Acknowledged { alerts: news })
    }

    /// Forgets what has cleared: if it comes again, that is news. What was restored is waited for.
    fn forget_cleared(
        &mut self,
        standing: &BTreeSet<AlertId>,
        is_awaited: impl Fn(&AlertId) -> bool,
    ) {
        let Self { known, restored } = self;
        restored.retain(|id| !standing.contains(id) && is_awaited(id));
        known.retain(|id| standing.contains(id) || restored.contains(id));
    }
}
