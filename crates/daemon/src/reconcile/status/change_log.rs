//! The current status, and the changes that were not sent to clients yet.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use crate::api::status::Change;

use crate::event::{Instant, NodeId};
use crate::view::status::{NodeStatus, Snapshot};

/// Limit on nodes in a line, so that a line stays well below the limit of a client's queue.
const NODES_IN_A_LINE: usize = 500;

/// The current status, and the changes that were not sent yet.
#[derive(Debug, Default)]
pub struct ChangeLog {
    current: Option<Snapshot>,
    reported: Option<Snapshot>,
    nodes: Vec<NodeStatus>,
    /// The index in `nodes` by the slot of a node's ID. For a slot without a node it is out of
    /// range or another node's.
    indices: Vec<u32>,
    /// There are clients; only then unsent changes are recorded.
    read: bool,
    /// Indices of nodes to send.
    changed: BTreeSet<usize>,
    /// Names to report as removed.
    removed: BTreeSet<String>,
    /// Incremented when the indices change.
    topology_version: u64,
    sequence: u64,
}

/// Position of a client in its snapshot.
#[derive(Debug, Clone, Default)]
pub struct Cursor {
    topology_version: u64,
    next: usize,
    begun: bool,
    /// A node was written, so the next one needs a comma before it.
    continues: bool,
    /// A bit for each slot of a node's ID: the node was written.
    written: Vec<u64>,
}

impl Cursor {
    /// Marks a node as written. Returns whether it was not before.
    fn take(&mut self, id: NodeId) -> bool {
        let (word, bit) = (id.slot as usize / 64, 1 << (id.slot % 64));
        if self.written.len() <= word {
            self.written.resize(word + 1, 0);
        }
        let Some(bits) = self.written.get_mut(word) else { return false };
        let is_first = *bits & bit == 0;
        *bits |= bit;
        is_first
    }
}

/// The next piece of a snapshot.
#[derive(Debug)]
pub enum Piece {
    Part(Vec<u8>),
    Last(Vec<u8>),
}

impl ChangeLog {
    /// Sets the status except the nodes. Returns (this is the first one, there are changes to
    /// send).
    pub fn publish(&mut self, snapshot: Snapshot) -> (bool, bool) {
        let first = self.current.is_none();
        let news = self.reported.as_ref().is_none_or(|reported| snapshot.is_news_after(reported));
        if first {
            self.reported = Some(snapshot.clone());
        }
        self.current = Some(snapshot);
        (first, news && !first)
    }

    /// Sets one node. Returns whether there are changes to send.
    pub fn set_node(&mut self, node: NodeStatus) -> bool {
        let Some(index) = self.index(node.id) else {
            let index = self.nodes.len();
            set_index(&mut self.indices, node.id, index);
            self.mark_changed(index);
            self.removed.remove(&node.name);
            self.nodes.push(node);
            return true;
        };
        let Some(current) = self.nodes.get_mut(index) else { return false };
        let news = !current.is_reported_by(&node);
        let before = std::mem::replace(current, node);
        if before.name != current.name && self.read {
            self.removed.insert(before.name);
            self.removed.remove(&current.name);
        }
        if news {
            self.mark_changed(index);
        }
        news
    }

    /// Sets the round-trip time and loss of a node. Kept cheap, since each round does it for each
    /// node.
    pub fn set_round_trip(&mut self, id: NodeId, rtt: Option<Duration>, loss: Option<u8>) {
        if let Some(node) = self.index(id).and_then(|index| self.nodes.get_mut(index)) {
            (node.rtt, node.loss_percent) = (rtt, loss);
        }
    }

    fn index(&self, id: NodeId) -> Option<usize> {
        let index = *self.indices.get(id.slot as usize)? as usize;
        self.nodes.get(index).filter(|node| node.id == id).map(|_| index)
    }

    /// Sets the complete ordered list of nodes. Returns whether there are changes to send.
    pub fn set_nodes(&mut self, nodes: Vec<NodeStatus>) -> bool {
        let same = |(a, b): (&NodeStatus, &NodeStatus)| (a.id, &a.name) == (b.id, &b.name);
        let same_topology =
            nodes.len() == self.nodes.len() && nodes.iter().zip(&self.nodes).all(same);
        if same_topology {
            // Not `any`, which would stop at the first change.
            let mut news = false;
            for node in nodes {
                news |= self.set_node(node);
            }
            return news;
        }
        let before = std::mem::take(&mut self.nodes);
        let unsent = std::mem::take(&mut self.changed);
        let by_name: HashMap<&str, (usize, &NodeStatus)> = before
            .iter()
            .enumerate()
            .map(|(index, node)| (node.name.as_str(), (index, node)))
            .collect();
        let is_news = |node: &NodeStatus| {
            // Another node with the name of a removed one is new, even if its status is equal.
            by_name.get(node.name.as_str()).is_none_or(|(index, known)| {
                known.id != node.id || unsent.contains(index) || !known.is_reported_by(node)
            })
        };
        if self.read {
            let changed =
                nodes.iter().enumerate().filter(|(_, node)| is_news(node)).map(|(index, _)| index);
            self.changed = BTreeSet::from_iter(changed);
            let names = BTreeSet::from_iter(nodes.iter().map(|node| node.name.as_str()));
            self.removed.retain(|name| !names.contains(name.as_str()));
            let gone =
                before.iter().map(|node| &node.name).filter(|name| !names.contains(name.as_str()));
            self.removed.extend(gone.cloned());
        }
        self.indices.clear();
        for (index, node) in nodes.iter().enumerate() {
            set_index(&mut self.indices, node.id, index);
        }
        self.nodes = nodes;
        self.topology_version += 1;
        !self.changed.is_empty() || !self.removed.is_empty()
    }

    /// Removes one node. Returns whether there are changes to send.
    pub fn remove_node(&mut self, name: &str) -> bool {
        if self.nodes.iter().all(|node| node.name != name) {
            return false;
        }
        let rest = self.nodes.iter().filter(|node| node.name != name).cloned().collect();
        self.set_nodes(rest)
    }

    /// Marks the node at this index to be sent, if there are clients.
    fn mark_changed(&mut self, index: usize) {
        if self.read {
            self.changed.insert(index);
        }
    }

    /// Starts to record changes; earlier ones are in the first client's snapshot.
    pub fn begin_reading(&mut self) {
        self.reported.clone_from(&self.current);
        self.changed.clear();
        self.removed.clear();
        self.read = true;
    }

    /// Stops recording changes after the last client has left, so that the log does not grow.
    pub fn end_reading(&mut self) {
        self.read = false;
        self.changed.clear();
        self.removed.clear();
    }

    /// Returns the number of unsent changes of nodes.
    #[cfg(test)]
    pub fn unsent(&self) -> usize {
        self.changed.len() + self.removed.len()
    }

    /// Returns the next line of changes, and whether there is more to send.
    pub fn take_line(&mut self, now: Instant) -> (Option<Vec<u8>>, bool) {
        let Some(current) = &self.current else { return (None, false) };
        let mut change = self
            .reported
            .as_ref()
            .map_or_else(Change::default, |reported| current.change_after(reported, now));
        if !change.is_empty() {
            self.reported = Some(current.clone());
        }
        let indices: Vec<usize> = self.changed.iter().copied().take(NODES_IN_A_LINE).collect();
        change.nodes =
            indices.iter().filter_map(|index| Some(self.nodes.get(*index)?.at(now))).collect();
        change.nodes_removed =
            std::mem::take(&mut self.removed).into_iter().map(Into::into).collect();
        for index in indices {
            self.changed.remove(&index);
        }
        let more = !self.changed.is_empty();
        if change.is_empty() {
            return (None, more);
        }
        self.sequence += 1;
        change.seq = self.sequence;
        (Some(crate::api::line(&change)), more)
    }

    /// Returns the next piece of a snapshot, of at most `limit` nodes, so that a slow client uses
    /// no more memory than a piece. Each node that stays is in the snapshot once; nodes that come
    /// and go meanwhile are in the following lines. `None` before the first publication.
    pub fn piece(&self, cursor: &mut Cursor, limit: usize, now: Instant) -> Option<Piece> {
        let current = self.current.as_ref()?;
        let mut text = Vec::new();
        if !cursor.begun {
            (cursor.begun, cursor.topology_version) = (true, self.topology_version);
            text = current.at(now).around_nodes().0;
        }
        if std::mem::replace(&mut cursor.topology_version, self.topology_version)
            != self.topology_version
        {
            // The indices have changed: start over, and skip the nodes that were written.
            cursor.next = 0;
        }
        let mut count = 0;
        while let Some(node) = self.nodes.get(cursor.next).filter(|_| count < limit) {
            cursor.next += 1;
            if !cursor.take(node.id) {
                continue;
            }
            if std::mem::replace(&mut cursor.continues, true) {
                text.push(b',');
            }
            // Serialising plain data to memory cannot fail.
            let _ = serde_json::to_writer(&mut text, &node.at(now));
            count += 1;
        }
        if cursor.next < self.nodes.len() {
            return Some(Piece::Part(text));
        }
        text.extend(current.at(now).around_nodes().1);
        Some(Piece::Last(text))
    }
}

/// Records the index of the node with this ID.
fn set_index(indices: &mut Vec<u32>, id: NodeId, index: usize) {
    let slot = id.slot as usize;
    if indices.len() <= slot {
        indices.resize(slot + 1, u32::MAX);
    }
    if let Some(entry) = indices.get_mut(slot) {
        *entry = u32::try_from(index).unwrap_or(u32::MAX);
    }
}
