//! Recent drops by our own rules. A rate limiter (GCRA) per rule ignores a few packets, and keeps a
//! raised notice from flapping.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use crate::event::{COMMENT_ROUTER, Dropped, Instant};

/// The tolerated rate is one packet per interval …
const INTERVAL: Duration = Duration::from_secs(20);
/// … with this burst.
const BURST: u32 = 5;
/// A notice is cleared at the latest when the rate has been lower for this long.
const MEMORY: Duration = Duration::from_secs(180);
/// A single router advertisement raises the notice, which outlives three default intervals of ten
/// minutes (RFC 4861 6.2.1).
const ANNOUNCED: Duration = Duration::from_secs(1800);

/// Holds the drops of each reported rule, by its comment.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Drops(BTreeMap<String, Drop>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Drop {
    /// Last reading of the packet counter; a new rule set begins at zero.
    counted: u64,
    /// The theoretical arrival time of GCRA.
    due: Instant,
    /// A notice is raised, with the source address of a packet as its example.
    raised: Option<Option<IpAddr>>,
}

impl Drops {
    /// Processes counters read at `now`.
    pub(crate) fn count(&mut self, dropped: &[Dropped], now: Instant) {
        for rule in dropped {
            let known = self.0.entry(rule.purpose.clone()).or_insert(Drop {
                counted: 0,
                due: now,
                raised: None,
            });
            let fresh = rule.packets.checked_sub(known.counted).unwrap_or(rule.packets);
            known.counted = rule.packets;
            let arrived = u32::try_from(fresh).unwrap_or(u32::MAX);
            let (interval, memory) = if rule.purpose == COMMENT_ROUTER {
                (ANNOUNCED, ANNOUNCED)
            } else {
                (INTERVAL, MEMORY)
            };
            known.due = (known.due.max(now) + interval.saturating_mul(arrived)).min(now + memory);
            if known.due.saturating_since(now) >= INTERVAL * BURST && known.raised.is_none() {
                known.raised = Some(rule.example);
            }
        }
        self.refresh(now);
    }

    /// Clears notices whose rate has been low for long enough.
    pub(crate) fn refresh(&mut self, now: Instant) {
        for (_, known) in self.0.iter_mut().filter(|(_, known)| known.due <= now) {
            known.raised = None;
        }
    }

    /// Returns the next time at which a notice is cleared.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        self.0.values().filter(|known| known.raised.is_some()).map(|known| known.due).min()
    }

    /// Returns the comments of the rules with a raised notice, each with an example of a source
    /// address.
    pub fn standing(&self) -> impl Iterator<Item = (&str, Option<IpAddr>)> {
        self.0.iter().filter_map(|(purpose, known)| Some((purpose.as_str(), known.raised?)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULE: &str = "some rule";

    /// Reads the counter once a minute. Returns for each minute whether the notice is raised.
    fn standing(packets: &[u64]) -> Vec<bool> {
        let mut drops = Drops::default();
        let at = |minute: usize| Instant::from_boot(Duration::from_secs(100 + 60 * minute as u64));
        let each = packets.iter().enumerate().map(|(minute, packets)| {
            let example = Some([192, 168, 60, minute as u8].into());
            drops
                .count(&[Dropped { purpose: RULE.into(), packets: *packets, example }], at(minute));
            assert_eq!(drops.next_deadline().is_some(), drops.standing().count() > 0);
            drops.standing().count() > 0
        });
        each.collect()
    }

    #[test]
    fn the_notice_is_raised_above_the_tolerated_rate() {
        assert_eq!(standing(&[3, 6, 9, 12, 15, 18]), [false; 6]);
        assert_eq!(standing(&[4, 7]), [false; 2]);
        assert_eq!(standing(&[4, 8]), [false, true]);
        assert_eq!(standing(&[30, 60, 90]), [true; 3]);
        assert_eq!(standing(&[5]), [true]);
    }

    #[test]
    fn a_notice_outlives_a_pause_and_ends() {
        assert_eq!(standing(&[100, 100, 100, 100, 100]), [true, true, true, false, false]);
        assert_eq!(standing(&[100, 100, 102, 102, 102]), [true, true, true, true, false]);
    }

    #[test]
    fn one_router_advertisement_raises_the_notice_for_three_intervals() {
        let mut drops = Drops::default();
        let at = |minute: u64| Instant::from_boot(Duration::from_secs(100 + 60 * minute));
        let example = Some("fe80::1".parse().unwrap());
        let mut stands = |packets, minute| {
            let purpose = COMMENT_ROUTER.to_owned();
            drops.count(&[Dropped { purpose, packets, example }], at(minute));
            drops.standing().map(|(_, example)| example).next()
        };
        assert_eq!(stands(0, 0), None);
        assert_eq!(stands(1, 1), Some(example));
        assert_eq!(stands(1, 30), Some(example));
        assert_eq!(stands(2, 30), Some(example), "the second one");
        assert_eq!(stands(2, 59), Some(example));
        assert_eq!(stands(2, 61), None);
    }

    #[test]
    fn a_new_rule_set_begins_at_zero_and_the_example_is_kept() {
        let mut drops = Drops::default();
        let now = Instant::from_boot(Duration::from_secs(100));
        let mut count = |packets, last| {
            let example = Some([192, 168, 60, last].into());
            drops.count(&[Dropped { purpose: RULE.into(), packets, example }], now);
            drops.standing().map(|(_, example)| example).next()
        };
        assert_eq!(count(9, 5), Some(Some([192, 168, 60, 5].into())));
        assert_eq!(
            count(1, 6),
            Some(Some([192, 168, 60, 5].into())),
            "news each time would be noise"
        );
    }
}
