//! A snapshot that changes keep up to date.

use std::collections::HashMap;
use std::time::Instant;

use crate::Text;
use crate::status::{Change, Line, Node, Rule, Snapshot, Uplink};

/// The state after a snapshot and the changes since.
#[derive(Debug, Clone, Default)]
pub struct View(Option<Merged>);

/// A snapshot, and the times to which its ages refer.
#[derive(Debug, Clone)]
struct Merged {
    snapshot: Snapshot,
    started: Instant,
    uplink: Instant,
    uplinks: Instant,
    /// Of each node, in the order of the snapshot.
    nodes: Vec<Instant>,
    /// The index of each node by name.
    places: HashMap<Text, usize>,
}

impl View {
    /// Applies a line; ignores an unknown type.
    pub fn take(&mut self, line: Line) {
        let now = Instant::now();
        match line {
            Line::Snapshot(snapshot) => self.0 = Some(Merged::new(*snapshot, now)),
            Line::Change(change) => {
                if let Some(merged) = &mut self.0 {
                    merged.merge(*change, now);
                }
            }
            Line::Refused(_) | Line::Other => {}
        }
    }

    /// Applies from a later snapshot the values whose changes cause no line: round trips, losses,
    /// leases, counters of rules and of the display. Everything else is left to the lines, which
    /// may still be in flight.
    pub fn refresh(&mut self, snapshot: Snapshot) {
        if let Some(merged) = &mut self.0 {
            merged.merge(quiet_changes(&merged.snapshot, snapshot), Instant::now());
        }
    }

    /// Returns the state, with ages as of the lines that brought them; `None` before the first
    /// snapshot.
    pub fn snapshot(&self) -> Option<&Snapshot> {
        self.0.as_ref().map(|merged| &merged.snapshot)
    }

    /// Returns the state, with current ages.
    pub fn now(&self) -> Option<Snapshot> {
        self.at(Instant::now())
    }

    /// Returns the state, with the ages at `now`.
    pub fn at(&self, now: Instant) -> Option<Snapshot> {
        self.0.as_ref().map(|merged| merged.at(now))
    }
}

impl Merged {
    fn new(snapshot: Snapshot, now: Instant) -> Self {
        let nodes = vec![now; snapshot.nodes.len()];
        let mut merged = Self {
            snapshot,
            started: now,
            uplink: now,
            uplinks: now,
            nodes,
            places: HashMap::new(),
        };
        merged.find_places();
        merged
    }

    fn find_places(&mut self) {
        let nodes = self.snapshot.nodes.iter().enumerate();
        self.places = nodes.map(|(place, node)| (node.name.clone(), place)).collect();
    }

    fn merge(&mut self, change: Change, now: Instant) {
        let Change {
            severity,
            alerts,
            uplink,
            uplinks,
            gateway,
            rules,
            cluster,
            host,
            panel,
            shares,
            web,
            venue,
            clat,
            shutdown,
            nodes,
            nodes_removed,
            ..
        } = change;
        if uplink.is_some() {
            self.uplink = now;
        }
        if uplinks.is_some() {
            self.uplinks = now;
        }
        replace(&mut self.snapshot.severity, severity);
        replace(&mut self.snapshot.alerts, alerts);
        replace(&mut self.snapshot.uplink, uplink);
        replace(&mut self.snapshot.uplinks, uplinks);
        replace(&mut self.snapshot.gateway, gateway);
        replace(&mut self.snapshot.rules, rules);
        replace(&mut self.snapshot.cluster, cluster);
        replace(&mut self.snapshot.host, host);
        replace(&mut self.snapshot.panel, panel);
        replace(&mut self.snapshot.shares, shares);
        replace(&mut self.snapshot.web, web);
        replace(&mut self.snapshot.venue, venue);
        replace(&mut self.snapshot.clat, clat);
        replace(&mut self.snapshot.shutdown, shutdown);
        self.remove(&nodes_removed);
        for node in nodes {
            self.set(node, now);
        }
    }

    fn remove(&mut self, names: &[Text]) {
        if names.is_empty() {
            return;
        }
        let pairs = std::mem::take(&mut self.snapshot.nodes)
            .into_iter()
            .zip(std::mem::take(&mut self.nodes));
        (self.snapshot.nodes, self.nodes) =
            pairs.filter(|(node, _)| !names.contains(&node.name)).unzip();
        self.find_places();
    }

    fn set(&mut self, node: Node, now: Instant) {
        let place = self.places.get(&node.name).copied().unwrap_or(self.nodes.len());
        match (self.snapshot.nodes.get_mut(place), self.nodes.get_mut(place)) {
            (Some(known), Some(age)) => (*known, *age) = (node, now),
            _ => {
                self.places.insert(node.name.clone(), place);
                self.snapshot.nodes.push(node);
                self.nodes.push(now);
            }
        }
    }

    fn at(&self, now: Instant) -> Snapshot {
        let passed = |since: Instant| now.saturating_duration_since(since).as_secs();
        let mut snapshot = self.snapshot.clone();
        snapshot.uptime_s += passed(self.started);
        advance(&mut snapshot.uplink, passed(self.uplink));
        snapshot.uplinks.iter_mut().for_each(|uplink| advance(uplink, passed(self.uplinks)));
        for (node, since) in snapshot.nodes.iter_mut().zip(&self.nodes) {
            node.since_s += passed(*since);
        }
        snapshot
    }
}

fn replace<T>(known: &mut T, changed: Option<T>) {
    if let Some(changed) = changed {
        *known = changed;
    }
}

/// Advances the ages of an uplink by `seconds`.
fn advance(uplink: &mut Uplink, seconds: u64) {
    for age in [&mut uplink.since_s, &mut uplink.not_renewed_s] {
        *age = age.map(|age| age + seconds);
    }
    uplink.lease_left_s = uplink.lease_left_s.map(|left| left.saturating_sub(seconds));
}

/// Returns the values of `now` whose changes cause no line.
fn quiet_changes(known: &Snapshot, now: Snapshot) -> Change {
    let mut change = Change::default();
    let without_lines =
        |node: &Node| Node { rtt_us: None, loss_percent: None, since_s: 0, ..node.clone() };
    let alike = known.nodes.len() == now.nodes.len()
        && known.nodes.iter().zip(&now.nodes).all(|(old, new)| old.name == new.name);
    if alike {
        let pairs = known.nodes.iter().zip(now.nodes);
        change.nodes = pairs
            .filter(|(old, new)| {
                (old.rtt_us, old.loss_percent) != (new.rtt_us, new.loss_percent)
                    && without_lines(old) == without_lines(new)
            })
            .map(|(_, new)| new)
            .collect();
    }
    let same_uplinks = known.uplinks.len() == now.uplinks.len()
        && known
            .uplinks
            .iter()
            .zip(&now.uplinks)
            .all(|(old, new)| (&old.state, &old.addresses) == (&new.state, &new.addresses));
    if same_uplinks {
        change.uplinks = Some(now.uplinks);
        change.uplink = Some(now.uplink);
    }
    if rule_names(&known.rules) == rule_names(&now.rules) {
        change.rules = Some(now.rules);
    }
    if known.panel.lcd.lines == now.panel.lcd.lines {
        change.panel = Some(now.panel);
    }
    change
}

/// Returns the chain and comment of each rule.
fn rule_names(rules: &[Rule]) -> Vec<(Text, Text)> {
    rules.iter().map(|rule| (rule.chain.clone(), rule.rule.clone())).collect()
}
