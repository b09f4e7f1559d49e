//! What is so now, and which changes of it no client has been sent yet.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use crate::api::status::Change;

use crate::event::{Instant, NodeId};
use crate::view::status::{NodeStatus, Snapshot};

/// Nodes reported in one line, at most: a line stays well below what a client may fall behind.
const NODES_IN_A_LINE: usize = 500;
/// Holds the status as it is, and what of it no client has been sent yet.
#[derive(Debug, Default)]
pub struct ChangeLog {
    current: Option<Snapshot>,
    reported: Option<Snapshot>,
    nodes: Vec<NodeStatus>,
    /// by the slot of a node's number, its place; of who has none there is another's, or one beyond
    /// the last
    places: Vec<u32>,
    /// there are readers: only then it is remembered what has not been sent
    read: bool,
    /// places of nodes to be reported
    changed: BTreeSet<usize>,
    /// names that are no node's any more
    removed: BTreeSet<String>,
    /// counts up when nodes moved to other places
    topology_version: u64,
    sequence: u64,
}

/// How far a client's snapshot has been written.
#[derive(Debug, Clone, Default)]
pub struct Cursor {
    topology_version: u64,
    next: usize,
    begun: bool,
    /// a node has been written: the next one needs a comma before it
    continues: bool,
    /// by the slot of a node's number, a bit: it has been written
    written: Vec<u64>,
}

impl Cursor {
    /// Notes that the node with this number is written. Returns whether it was not before.
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
    /// Takes the whole in; (it is the first, there is something to send).
    pub fn publish(&mut self, snapshot: Snapshot) -> (bool, bool) {
        let first = self.current.is_none();
        let news = self.reported.as_ref().is_none_or(|reported| snapshot.is_news_after(reported));
        if first {
            self.reported = Some(snapshot.clone());
        }
        self.current = Some(snapshot);
        (first, news && !first)
    }

    /// Takes one node in; whether there is something to send.
    pub fn set_node(&mut self, node: NodeStatus) -> bool {
        let Some(place) = self.place(node.id) else {
            let place = self.nodes.len();
            note(&mut self.places, node.id, place);
            self.note_changed(place);
            self.removed.remove(&node.name);
            self.nodes.push(node);
            return true;
        };
        let Some(known) = self.nodes.get_mut(place) else { return false };
        let news = !known.is_reported_by(&node);
        let before = std::mem::replace(known, node);
        if before.name != known.name && self.read {
            self.removed.insert(before.name);
            self.removed.remove(&known.name);
        }
        if news {
            self.note_changed(place);
        }
        news
    }

    /// Costs no more than it must: it is done for every node in every round.
    pub fn set_round_trip(&mut self, id: NodeId, rtt: Option<Duration>, loss: Option<u8>) {
        if let Some(node) = self.place(id).and_then(|place| self.nodes.get_mut(place)) {
            (node.rtt, node.loss_percent) = (rtt, loss);
        }
    }

    fn place(&self, id: NodeId) -> Option<usize> {
        let place = *self.places.get(id.slot as usize)? as usize;
        self.nodes.get(place).filter(|node| node.id == id).map(|_| place)
    }

    /// Takes all nodes in, in their order; whether there is something to send.
    pub fn set_nodes(&mut self, nodes: Vec<NodeStatus>) -> bool {
        let same = |(a, b): (&NodeStatus, &NodeStatus)| (a.id, &a.name) == (b.id, &b.name);
        let same_places =
            nodes.len() == self.nodes.len() && nodes.iter().zip(&self.nodes).all(same);
        if same_places {
            // Each is taken in, whether or not one before it was news.
            let mut news = false;
            for node in nodes {
                news |= self.set_node(node);
            }
            return news;
        }
        let before = std::mem::take(&mut self.nodes);
        let unsent = std::mem::take(&mut self.changed);
        let known: HashMap<&str, (usize, &NodeStatus)> = before
            .iter()
            .enumerate()
            .map(|(place, node)| (node.name.as_str(), (place, node)))
            .collect();
        let is_news = |node: &NodeStatus| {
            let known = known.get(node.name.as_str());
            // Another node under the name of one that has gone counts as new, however alike.
            known.is_none_or(|(place, known)| {
                known.id != node.id || unsent.contains(place) || !known.is_reported_by(node)
            })
        };
        if self.read {
            let changed =
                nodes.iter().enumerate().filter(|(_, node)| is_news(node)).map(|(place, _)| place);
            self.changed = BTreeSet::from_iter(changed);
            let names = BTreeSet::from_iter(nodes.iter().map(|node| node.name.as_str()));
            self.removed.retain(|name| !names.contains(name.as_str()));
            let gone =
                before.iter().map(|node| &node.name).filter(|name| !names.contains(name.as_str()));
            self.removed.extend(gone.cloned());
        }
        self.places.clear();
        for (place, node) in nodes.iter().enumerate() {
            note(&mut self.places, node.id, place);
        }
        self.nodes = nodes;
        self.topology_version += 1;
        !self.changed.is_empty() || !self.removed.is_empty()
    }

    /// Forgets one node; whether there is something to send.
    pub fn remove_node(&mut self, name: &str) -> bool {
        if self.nodes.iter().all(|node| node.name != name) {
            return false;
        }
        let rest = self.nodes.iter().filter(|node| node.name != name).cloned().collect();
        self.set_nodes(rest)
    }

    /// Notes that the node at this place is to be reported, if anybody reads.
    fn note_changed(&mut self, place: usize) {
        if self.read {
            self.changed.insert(place);
        }
    }

    /// Begins to remember what changes: what did until now is in the snapshot that the first client
    /// gets.
    pub fn begin_reading(&mut self) {
        self.reported.clone_from(&self.current);
        self.changed.clear();
        self.removed.clear();
        self.read = true;
    }

    /// Remembers nothing more: there are no readers. What nodes do must not fill what is never
    /// emptied.
    pub fn end_reading(&mut self) {
        self.read = false;
        self.changed.clear();
        self.removed.clear();
    }

    /// How much is remembered.
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
        let places: Vec<usize> = self.changed.iter().copied().take(NODES_IN_A_LINE).collect();
        change.nodes =
            places.iter().filter_map(|place| Some(self.nodes.get(*place)?.at(now))).collect();
        change.nodes_removed =
            std::mem::take(&mut self.removed).into_iter().map(Into::into).collect();
        for place in places {
            self.changed.remove(&place);
        }
        let more = !self.changed.is_empty();
        if change.is_empty() {
            return (None, more);
        }
        self.sequence += 1;
        change.seq = self.sequence;
        (Some(crate::api::line(&change)), more)
    }

    /// Returns the next piece of a snapshot, of at most so many nodes; a client that reads slowly
    /// holds no more than a piece. Nodes that come and go meanwhile are in the lines that follow
    /// it, and each that stays is in it once. `None`: nothing has been published yet.
    pub fn piece(&self, cursor: &mut Cursor, most: usize, now: Instant) -> Option<Piece> {
        let current = self.current.as_ref()?;
        let mut text = Vec::new();
        if !cursor.begun {
            (cursor.begun, cursor.topology_version) = (true, self.topology_version);
            text = current.at(now).around_nodes().0;
        }
        if std::mem::replace(&mut cursor.topology_version, self.topology_version)
            != self.topology_version
        {
            // They are in other places: those that have been written are passed over.
            cursor.next = 0;
        }
        let mut count = 0;
        while let Some(node) = self.nodes.get(cursor.next).filter(|_| count < most) {
            cursor.next += 1;
            if !cursor.take(node.id) {
                continue;
            }
            if std::mem::replace(&mut cursor.continues, true) {
                text.push(b',');
            }
            // Plain data: writing it into memory does not fail.
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

/// Notes at which place the node with this number is.
fn note(places: &mut Vec<u32>, id: NodeId, place: usize) {
    let slot = id.slot as usize;
    if places.len() <= slot {
        places.resize(slot + 1, u32::MAX);
    }
    if let Some(known) = places.get_mut(slot) {
        *known = u32::try_from(place).unwrap_or(u32::MAX);
    }
}
