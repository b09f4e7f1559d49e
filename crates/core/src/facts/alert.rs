//! Alerts that users know of: they are shown, but raise no alarm.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::context::Context;
use super::node::Nodes;
use super::transition::Transition;
use crate::event::alert::{AlertCode, Subject, SubjectKind};
use crate::event::{Acknowledgement, AlertId, Event, Instant, NodeId};

/// After the start alerts need at most this long to be raised again: what was not is not forgotten
/// meanwhile.
const START_TIME: Duration = Duration::from_secs(60);

/// Holds the alerts that users know of.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Acknowledgements {
    known: BTreeSet<AlertId>,
    /// Of `known`, what was kept from before the start and has not been raised since.
    restored: BTreeSet<AlertId>,
    index: Index,
}

/// Holds what users know of as decisions ask for it: of thousands of nodes by their numbers, so
/// that no name is compared.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Index {
    nodes: BTreeMap<AlertCode, BTreeSet<NodeId>>,
    /// Alerts of nodes that are not here.
    absent: usize,
    others: Vec<AlertId>,
    /// [`Nodes::topology_version`] that this is of.
    topology_version: u64,
}

impl Index {
    fn of(known: &BTreeSet<AlertId>, nodes: &Nodes) -> Self {
        let mut index = Self { topology_version: nodes.topology_version, ..Self::default() };
        for id in known {
            if id.code.subject() != SubjectKind::Nodes {
                index.others.push(id.clone());
                continue;
            }
            let node = match &id.subject {
                Subject::Node(name) => nodes.by_name(name).filter(|node| node.name == *name),
                _ => None,
            };
            match node {
                Some(node) => {
                    index.nodes.entry(id.code).or_default().insert(node.id);
                }
                None => index.absent += 1,
            }
        }
        index
    }
}

impl Acknowledgements {
    /// Returns the alerts that users know of.
    pub fn known(&self) -> &BTreeSet<AlertId> {
        &self.known
    }

    /// Returns the nodes of which users know an alert of this code; empty for codes that are not of
    /// nodes' health.
    pub fn nodes(&self, code: AlertCode) -> &BTreeSet<NodeId> {
        const NONE: &BTreeSet<NodeId> = &BTreeSet::new();
        self.index.nodes.get(&code).unwrap_or(NONE)
    }

    /// Returns whether all that users know of stands; `stands` is asked about the alerts that are
    /// not of nodes' health, `all_stand` about a code's nodes.
    pub fn all_stand(
        &self,
        stands: impl Fn(&AlertId) -> bool,
        all_stand: impl Fn(AlertCode, &BTreeSet<NodeId>) -> bool,
    ) -> bool {
        let Index { nodes, absent, others, .. } = &self.index;
        self.restored.is_empty()
            && *absent == 0
            && others.iter().all(stands)
            && nodes.iter().all(|(code, nodes)| all_stand(*code, nodes))
    }

    /// Follows the nodes: another may have a name, or none.
    pub fn follow(&mut self, nodes: &Nodes) {
        if self.index.topology_version != nodes.topology_version {
            self.index = Index::of(&self.known, nodes);
        }
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
        let transition = self.change(change, context, started, nodes);
        self.index = Index::of(&self.known, nodes);
        transition
    }

    fn change(
        &mut self,
        change: &Acknowledgement,
        context: Context<'_>,
        started: Instant,
        nodes: &Nodes,
    ) -> Option<Transition> {
        match change {
            Acknowledgement::Restored(kept) => {
                (self.known, self.restored) = (kept.clone(), kept.clone());
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
        let Self { known, restored, .. } = self;
        restored.retain(|id| !standing.contains(id) && is_awaited(id));
        known.retain(|id| standing.contains(id) || restored.contains(id));
    }
}
