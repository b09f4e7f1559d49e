//! Series of the last hour and the last day, in memory only, to spare the SD card.
//!
//! A sample every 10 s for an hour, means of 5 min for a day. The number of series is limited, and
//! so is the memory: `SERIES` of 648 values of 4 bytes are 3.1 MB.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bramblegate_api::status::{Node, NodeHealth, Snapshot};

use crate::feed::Feed;
use crate::lock::lock;
use crate::traffic::{self, Traffic};

/// The interval of samples.
pub const STEP: Duration = Duration::from_secs(10);
/// The number of samples of an hour.
const HOUR: usize = 360;
/// The number of samples in one mean of the day.
const MERGED: usize = 30;
/// The number of means of a day.
const DAY: usize = 288;
/// The limit of series; further ones are dropped.
const SERIES: usize = 1200;
/// The limit of nodes with a round trip of their own; above, each group has one.
const NODES: usize = 1000;
/// The same limit for losses, which are mostly zero.
const NODES_LOSS: usize = 60;

/// The subject of a series.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Subject {
    /// The number of nodes that are up.
    NodesUp,
    /// The head's temperature, in degrees Celsius.
    Temperature,
    /// What an uplink's interface receives, in bytes a second.
    Received(String),
    /// What an uplink's interface sends, in bytes a second.
    Sent(String),
    /// A node's round trip, in microseconds.
    NodeRoundTrip(String),
    /// The mean round trip of a group, in microseconds.
    GroupRoundTrip(String),
    /// A node's loss, in percent of its last probes.
    NodeLoss(String),
    /// The mean loss of a group, in percent.
    GroupLoss(String),
}

/// The time that a plot covers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Span {
    Hour,
    Day,
}

impl Span {
    /// Returns the number of samples, and their interval.
    pub const fn samples(self) -> (usize, Duration) {
        match self {
            Self::Hour => (HOUR, STEP),
            Self::Day => (DAY, Duration::from_secs(STEP.as_secs() * MERGED as u64)),
        }
    }
}

/// The values of one subject; `NAN` is a gap.
#[derive(Debug)]
struct Series {
    hour: VecDeque<f32>,
    day: VecDeque<f32>,
    /// The sum and number of values for the next mean of the day.
    merging: (f32, u16),
    /// The number of samples since the last value.
    quiet: usize,
}

/// All series.
#[derive(Debug, Default)]
struct Store {
    series: BTreeMap<Subject, Series>,
    traffic: BTreeMap<String, Traffic>,
    /// The number of samples taken.
    taken: usize,
}

/// All series, which clones share.
#[derive(Debug, Clone, Default)]
pub struct History(Arc<Mutex<Store>>);

impl History {
    /// Takes a sample every [`STEP`] for as long as the process runs.
    pub async fn run(self, feed: Feed) {
        let mut ticks = tokio::time::interval(STEP);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let known = feed.known();
            let snapshot = known.live().map(Arc::as_ref);
            let traffic = snapshot.map(traffic::of_uplinks).unwrap_or_default();
            self.sample(snapshot, traffic);
        }
    }

    /// Adds one sample to every series; those without a value get a gap.
    pub fn sample(&self, snapshot: Option<&Snapshot>, traffic: Vec<(String, Traffic)>) {
        let mut store = lock(&self.0);
        let mut values = snapshot.map(values).unwrap_or_default();
        for (name, now) in &traffic {
            if let Some(before) = store.traffic.get(name) {
                // The counters of an interface that was created again start from zero.
                let rate = |now: u64, before: u64| {
                    now.checked_sub(before).map(|bytes| bytes as f32 / STEP.as_secs_f32())
                };
                let received = rate(now.received, before.received);
                let sent = rate(now.sent, before.sent);
                values.extend(received.map(|rate| (Subject::Received(name.clone()), rate)));
                values.extend(sent.map(|rate| (Subject::Sent(name.clone()), rate)));
            }
        }
        store.traffic = traffic.into_iter().collect();
        store.add(values);
    }

    /// Returns the values of the series that `wanted` selects, oldest first.
    pub fn read(&self, span: Span, wanted: impl Fn(&Subject) -> bool) -> Vec<(Subject, Vec<f32>)> {
        let store = lock(&self.0);
        let selected = store.series.iter().filter(|(subject, _)| wanted(subject));
        selected
            .map(|(subject, series)| {
                let values = match span {
                    Span::Hour => &series.hour,
                    Span::Day => &series.day,
                };
                (subject.clone(), values.iter().copied().collect())
            })
            .collect()
    }

    /// Returns the number of samples taken, which is the version of the plots.
    pub fn taken(&self) -> u64 {
        lock(&self.0).taken as u64
    }
}

impl Store {
    fn add(&mut self, values: Vec<(Subject, f32)>) {
        let mut values: BTreeMap<Subject, f32> = values.into_iter().collect();
        self.taken += 1;
        let merge = self.taken % MERGED == 0;
        for (subject, series) in &mut self.series {
            series.add(values.remove(subject).unwrap_or(f32::NAN), merge);
        }
        // Drop series without a value for a day.
        self.series.retain(|_, series| !series.is_empty());
        for (subject, value) in values {
            if self.series.len() >= SERIES {
                break;
            }
            let mut series = Series::new();
            series.add(value, merge);
            self.series.insert(subject, series);
        }
    }
}

impl Series {
    /// Allocates the exact capacity: growing would round up to a power of two.
    fn new() -> Self {
        let (hour, day) = (VecDeque::with_capacity(HOUR), VecDeque::with_capacity(DAY));
        Self { hour, day, merging: (0.0, 0), quiet: 0 }
    }

    fn add(&mut self, value: f32, merge: bool) {
        push(&mut self.hour, value, HOUR);
        self.quiet += 1;
        if value.is_finite() {
            self.quiet = 0;
            self.merging = (self.merging.0 + value, self.merging.1 + 1);
        }
        if merge {
            let (sum, number) = std::mem::take(&mut self.merging);
            push(&mut self.day, if number == 0 { f32::NAN } else { sum / f32::from(number) }, DAY);
        }
    }

    /// Returns whether no value is left.
    const fn is_empty(&self) -> bool {
        self.quiet > MERGED * DAY
    }
}

fn push(values: &mut VecDeque<f32>, value: f32, most: usize) {
    if values.len() == most {
        values.pop_front();
    }
    values.push_back(value);
}

/// Returns the values of a snapshot.
fn values(snapshot: &Snapshot) -> Vec<(Subject, f32)> {
    let mut values = vec![(Subject::NodesUp, snapshot.cluster.up as f32)];
    let temperature = snapshot.host.as_ref().and_then(|host| host.temperature_c);
    values.extend(temperature.map(|degrees| (Subject::Temperature, degrees as f32)));
    let up = |node: &&Node| node.health == NodeHealth::Up;
    let trips =
        snapshot.nodes.iter().filter(up).filter_map(|node| Some((node, node.rtt_us? as f32)));
    values.extend(by_node_or_group(
        trips,
        snapshot.nodes.len() <= NODES,
        Subject::NodeRoundTrip,
        Subject::GroupRoundTrip,
    ));
    let losses =
        snapshot.nodes.iter().filter_map(|node| Some((node, f32::from(node.loss_percent?))));
    values.extend(by_node_or_group(
        losses,
        snapshot.nodes.len() <= NODES_LOSS,
        Subject::NodeLoss,
        Subject::GroupLoss,
    ));
    values
}

/// Returns the values of nodes, or the means of their groups.
fn by_node_or_group<'a>(
    values: impl Iterator<Item = (&'a Node, f32)>,
    by_node: bool,
    of_node: fn(String) -> Subject,
    of_group: fn(String) -> Subject,
) -> Vec<(Subject, f32)> {
    if by_node {
        return values.map(|(node, value)| (of_node(node.name.to_string()), value)).collect();
    }
    let mut groups: BTreeMap<&str, (f32, f32)> = BTreeMap::new();
    for (node, value) in values {
        let group = groups.entry(node.group.as_deref().unwrap_or("")).or_default();
        *group = (group.0 + value, group.1 + 1.0);
    }
    groups
        .into_iter()
        .map(|(name, (sum, number))| (of_group(name.to_owned()), sum / number))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn snapshot(up: usize, trip: Option<u64>) -> Snapshot {
        let node = bramblegate_api::status::Node {
            name: "rpi1".into(),
            health: NodeHealth::Up.into(),
            rtt_us: trip,
            ..Default::default()
        };
        let mut snapshot = Snapshot { nodes: vec![node], ..Default::default() };
        snapshot.cluster.up = up;
        snapshot
    }

    fn read(history: &History, span: Span, subject: &Subject) -> Vec<f32> {
        history
            .read(span, |known| known == subject)
            .pop()
            .map(|(_, values)| values)
            .unwrap_or_default()
    }

    #[test]
    fn an_hour_is_kept_sample_by_sample_and_a_day_as_means() {
        let history = History::default();
        for up in 0..400 {
            history.sample(Some(&snapshot(up, None)), Vec::new());
        }
        let hour = read(&history, Span::Hour, &Subject::NodesUp);
        assert_eq!((hour.len(), hour[0], hour[359]), (360, 40.0, 399.0));
        let day = read(&history, Span::Day, &Subject::NodesUp);
        assert_eq!(day.len(), 13);
        assert_eq!((day[0], day[1]), (14.5, 44.5));
    }

    #[test]
    fn an_unknown_value_is_a_gap_and_not_zero() {
        let history = History::default();
        let trip = Subject::NodeRoundTrip("rpi1".into());
        history.sample(Some(&snapshot(1, Some(300))), Vec::new());
        history.sample(Some(&snapshot(1, None)), Vec::new());
        history.sample(None, Vec::new());
        let values = read(&history, Span::Hour, &trip);
        assert_eq!(values[0], 300.0);
        assert!(values[1].is_nan() && values[2].is_nan(), "{values:?}");
        assert!(read(&history, Span::Hour, &Subject::NodesUp)[2].is_nan());
    }

    #[test]
    fn traffic_is_a_rate_and_restarted_counters_are_a_gap() {
        let history = History::default();
        let port = |received, sent| vec![("eth1".to_owned(), Traffic { received, sent })];
        history.sample(Some(&snapshot(0, None)), port(1000, 0));
        history.sample(Some(&snapshot(0, None)), port(3000, 50));
        history.sample(Some(&snapshot(0, None)), port(10, 60));
        let received = read(&history, Span::Hour, &Subject::Received("eth1".into()));
        assert_eq!(received[0], 200.0);
        assert!(received[1].is_nan());
        assert_eq!(read(&history, Span::Hour, &Subject::Sent("eth1".into())), [5.0, 1.0]);
    }

    #[test]
    fn changing_names_make_no_series_beyond_the_limit() {
        let history = History::default();
        for number in 0..3000 {
            let mut snapshot = snapshot(0, Some(1));
            snapshot.nodes[0].name = format!("node-{number}").into();
            history.sample(Some(&snapshot), Vec::new());
        }
        assert!(lock(&history.0).series.len() <= SERIES);
        for _ in 0..=MERGED * DAY {
            history.sample(None, Vec::new());
        }
        assert_eq!(lock(&history.0).series.len(), 0, "what is a day old is gone");
    }

    #[test]
    fn losses_of_many_nodes_are_those_of_their_groups() {
        for (nodes, wanted) in [
            (2, [("rpi0", 0.0), ("rpi1", 40.0)].map(|(n, v)| (Subject::NodeLoss(n.into()), v))),
            (100, [("", 0.0), ("rack", 40.0)].map(|(n, v)| (Subject::GroupLoss(n.into()), v))),
        ] {
            let node = |place: usize| Node {
                name: format!("rpi{place}").into(),
                group: (place % 2 == 1).then(|| "rack".into()),
                loss_percent: Some(if place % 2 == 1 { 40 } else { 0 }),
                ..Node::default()
            };
            let snapshot =
                Snapshot { nodes: (0..nodes).map(node).collect(), ..Snapshot::default() };
            let losses = |(subject, _): &(Subject, f32)| {
                matches!(subject, Subject::NodeLoss(_) | Subject::GroupLoss(_))
            };
            assert_eq!(values(&snapshot).into_iter().filter(losses).collect::<Vec<_>>(), wanted);
        }
    }
}
