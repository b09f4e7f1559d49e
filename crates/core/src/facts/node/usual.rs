//! The usual boot time of each node of the settings, from the start of the machine to the first
//! reply: boards on the same power supply boot together, in about the same time as before.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{NodeState, Nodes, Origin};
use crate::event::{Instant, NodeId};

/// A daemon that starts later than this after the machine has missed the boot of its nodes.
const BEGINS_WITHIN: Duration = Duration::from_secs(120);
/// A node that replies later than this was powered on later.
const LONGEST: Duration = Duration::from_secs(600);
/// Minimum tolerance beyond the usual time; the tolerance is half of the usual time.
const MARGIN: Duration = Duration::from_secs(15);

/// Holds the boot times measured at earlier starts of the machine.
#[derive(Debug, Clone, Default)]
pub(super) struct Usual {
    /// From the machine's start to the first reply, by [`NodeState::order_key`], in seconds.
    times: BTreeMap<String, u64>,
    /// The machine has just started, so that first replies are measured and awaited.
    starts: bool,
    /// Counts changes of `times`.
    learned: u64,
}

impl Usual {
    /// Returns until when a node is awaited that can be probed since `from`; `None` if its usual
    /// time is unknown, or has passed well before `from`.
    fn until(&self, key: &str, from: Instant) -> Option<Instant> {
        let usual = Duration::from_secs(*self.times.get(key).filter(|_| self.starts)?);
        let allowed = Instant::from_boot(usual + MARGIN.max(usual / 2)).max(from + MARGIN);
        (from.since_boot() <= usual + MARGIN).then_some(allowed)
    }

    /// Records a boot time. A longer one replaces the usual time at once, a shorter one is weighted
    /// by a quarter, so that the slowest of the last few boots counts.
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
    /// Restores the times that [`Nodes::usual_times`] returned in an earlier run, except those of
    /// nodes no longer in the settings. `is_first`: the first run since the machine started.
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

    /// Returns the usual boot times in seconds, by names in lower case.
    pub fn usual_times(&self) -> &BTreeMap<String, u64> {
        &self.usual.times
    }

    /// Returns a count of the changes of [`Self::usual_times`].
    pub fn usual_learned(&self) -> u64 {
        self.usual.learned
    }

    /// Returns until when a node that has not replied may still be booting: by its usual time after
    /// the start of the machine, or else `grace` after it can be probed.
    pub(super) fn awaited_until(&self, node: &NodeState, grace: Duration) -> Instant {
        let from = node.since.max(self.carrier_since);
        let usual = || self.usual.until(&node.order_key(), from);
        usual().filter(|_| is_of_settings(node)).unwrap_or(from + grace)
    }

    /// Returns until when a node that was shut down is awaited, after the first one or the head
    /// returned at `returning`.
    pub(super) fn return_until(&self, key: &str, returning: Instant, grace: Duration) -> Instant {
        let from = returning.max(self.carrier_since);
        self.usual.until(key, from).unwrap_or(from + grace)
    }

    /// Processes the first reply of a node in this run.
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
    fn a_node_is_awaited_for_one_and_a_half_of_its_usual_time() {
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
    fn the_slowest_of_a_few_boots_counts() {
        let mut usual = usual(&[]);
        let mut learn = |seconds| {
            usual.learn("rpi1".to_owned(), at(seconds));
            (usual.times["rpi1"], usual.learned)
        };
        assert_eq!(learn(39), (40, 1));
        assert_eq!(learn(59), (60, 2), "at once");
        assert_eq!(learn(19), (50, 3), "by and by");
        assert_eq!(learn(49), (50, 3));
        assert_eq!(learn(601), (50, 3), "powered on later");
        assert_eq!([learn(19), learn(19), learn(19)].map(|(time, _)| time), [43, 38, 34]);
    }
}
