//! Acknowledged alerts, which are shown but raise no alarm.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::context::Context;
use super::node::Nodes;
use super::transition::Transition;
use crate::event::alert::{AlertCode, Subject, SubjectKind};
use crate::event::{Acknowledgement, AlertId, Event, Instant, NodeId};

/// Time after the start within which a restored alert may still be raised again; until then its
/// acknowledgement is kept.
const START_TIME: Duration = Duration::from_secs(60);

/// Holds the acknowledged alerts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Acknowledgements {
    known: BTreeSet<AlertId>,
    /// Subset of `known` that an earlier run saved and that was not raised since.
    restored: BTreeSet<AlertId>,
    index: Index,
}

/// Indexes the acknowledged alerts, those of nodes by [`NodeId`], so that thousands of them are
/// looked up without comparing names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Index {
    nodes: BTreeMap<AlertCode, BTreeSet<NodeId>>,
    /// Number of alerts of nodes that do not exist.
    absent: usize,
    others: Vec<AlertId>,
    /// The [`Nodes::topology_version`] for which the index was built.
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
    /// Returns the acknowledged alerts.
    pub fn known(&self) -> &BTreeSet<AlertId> {
        &self.known
    }

    /// Returns the nodes whose alert of this code is acknowledged; empty unless the code is about
    /// [`SubjectKind::Nodes`].
    pub fn nodes(&self, code: AlertCode) -> &BTreeSet<NodeId> {
        const NONE: &BTreeSet<NodeId> = &BTreeSet::new();
        self.index.nodes.get(&code).unwrap_or(NONE)
    }

    /// Returns whether all acknowledged alerts are raised. `all_stand` checks the nodes of a code
    /// about [`SubjectKind::Nodes`], `stands` any other alert.
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

    /// Rebuilds the index if nodes were added, removed or renamed.
    pub fn follow(&mut self, nodes: &Nodes) {
        if self.index.topology_version != nodes.topology_version {
            self.index = Index::of(&self.known, nodes);
        }
    }

    /// Processes acknowledgements and the list of raised alerts. `started`: start of the daemon.
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
                // A node that was down before the start may still be down: unknown while awaited.
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

    /// Removes acknowledgements of cleared alerts, so that they raise an alarm again next time.
    /// Restored ones are kept as long as `is_awaited`.
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
