//! How long each node of the settings usually takes to answer after the machine was started: boards
//! that get their power together come back about as they did before.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{NodeState, Nodes, Origin};
use crate::event::{Instant, NodeId};

/// A daemon that starts later than this after the machine has not seen its nodes start.
const BEGINS_WITHIN: Duration = Duration::from_secs(120);
/// A node that answers later than this got its power later.
const LONGEST: Duration = Duration::from_secs(600);
/// A node has half as long again as usual, and this much in any case.
const MARGIN: Duration = Duration::from_secs(15);

/// Holds what was measured when the machine was started before.
#[derive(Debug, Clone, Default)]
pub(super) struct Usual {
    /// From the machine's start to the first answer, by [`NodeState::order_key`], in seconds.
    times: BTreeMap<String, u64>,
    /// The machine has just been started: first answers are measured, and awaited.
    starts: bool,
    /// Counts up when a time was learned.
    learned: u64,
}

impl Usual {
    /// Returns until when a node is awaited that can be heard since `from`; `None` where nothing is
    /// known, or that is much later than it usually answers.
    fn until(&self, key: &str, from: Instant) -> Option<Instant> {
        let usual = Duration::from_secs(*self.times.get(key).filter(|_| self.starts)?);
        let allowed = Instant::from_boot(usual + MARGIN.max(usual / 2)).max(from + MARGIN);
        (from.since_boot() <= usual + MARGIN).then_some(allowed)
    }

    /// A longer time counts at once, a shorter one by a quarter: the slowest start of a few.
    fn learn(&mut self, key: String, now: Instant) {
        let took = now.since_boot();
        if !self.starts || took > LONGEST {
            return;
        }
        let took = took.as_secs() + 1;
        let known = self.times.get(&key).copied().unwrap_or(0);
        let usual = if took >= known { took } else { (known * 3 + took).div_ceil(4) };
        self.learned += u64::from(usual != known);
        self.times.insert(key, usual);
    }
}

impl Nodes {
    /// Takes in the times of earlier starts, as [`Nodes::usual_times`] returned them; those of nodes
    /// that are in the settings no longer are forgotten. `is_first`: no daemon has run before since
    /// the machine was started.
    pub(crate) fn restore_usual(
        &mut self,
        times: BTreeMap<String, u64>,
        is_first: bool,
        now: Instant,
    ) {
        let starts = is_first && now.since_boot() <= BEGINS_WITHIN;
        let is_known = |key: &str| self.by_name(key).is_some_and(is_of_settings);
        let times = times.into_iter().filter(|(key, _)| is_known(key)).collect();
        self.usual = Usual { times, starts, learned: 0 };
    }

    /// Returns how long nodes take after the machine was started, in seconds, by their names in
    /// lower case.
    pub fn usual_times(&self) -> &BTreeMap<String, u64> {
        &self.usual.times
    }

    /// Returns a count that goes up when one of these times was learned.
    pub fn usual_learned(&self) -> u64 {
        self.usual.learned
    }

    /// Returns until when a node that has not answered may be starting: `grace` after it can be
    /// heard, or in its usual time after the machine was started.
    pub(super) fn awaited_until(&self, node: &NodeState, grace: Duration) -> Instant {
        let from = node.since.max(self.cable_since);
        let usual = || self.usual.until(&node.order_key(), from);
        usual().filter(|_| is_of_settings(node)).unwrap_or(from + grace)
    }

    /// Returns until when a node that was shut down is awaited, once the first came back, or the
    /// head did, at `returning`.
    pub(super) fn return_until(&self, key: &str, returning: Instant, grace: Duration) -> Instant {
        let from = returning.max(self.cable_since);
        self.usual.until(key, from).unwrap_or(from + grace)
    }

    /// Takes in that a node has answered for the first time in this run.
    pub(super) fn first_answer(&mut self, id: NodeId, now: Instant) {
        let key = self.get(id).filter(|node| is_of_settings(node)).map(NodeState::order_key);
        if let Some(key) = key {
            self.usual.learn(key, now);
        }
    }
}

fn is_of_settings(node: &NodeState) -> bool {
    node.origin == Origin::Settings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Instant {
        Instant::from_boot(Duration::from_secs(seconds))
    }

    fn usual(times: &[(&str, u64)]) -> Usual {
        let times = times.iter().map(|(key, time)| ((*key).to_owned(), *time)).collect();
        Usual { times, starts: true, learned: 0 }
    }

    #[test]
    fn a_node_is_awaited_for_half_as_long_again_as_usual() {
        let usual = usual(&[("fast", 12), ("slow", 80)]);
        assert_eq!(usual.until("fast", at(5)), Some(at(27)), "and 15 s in any case");
        assert_eq!(usual.until("slow", at(5)), Some(at(120)));
        assert_eq!(usual.until("new", at(5)), None);
        assert_eq!(usual.until("fast", at(20)), Some(at(35)), "the cable came late");
        assert_eq!(usual.until("fast", at(28)), None, "the cable came much later");
        let goes_on = Usual { starts: false, ..usual };
        assert_eq!(goes_on.until("fast", at(5)), None, "a restart of the daemon is no power-on");
    }

    #[test]
    fn the_slowest_start_of_a_few_is_the_usual_one() {
        let mut usual = usual(&[]);
        let mut learn = |seconds| {
            usual.learn("rpi1".to_owned(), at(seconds));
            (usual.times["rpi1"], usual.learned)
        };
        assert_eq!(learn(39), (40, 1));
        assert_eq!(learn(59), (60, 2), "at once");
        assert_eq!(learn(19), (50, 3), "by and by");
        assert_eq!(learn(49), (50, 3));
        assert_eq!(learn(601), (50, 3), "it got its power later");
        assert_eq!([learn(19), learn(19), learn(19)].map(|(time, _)| time), [43, 38, 34]);
    }
}
