//! What our own rules drop of late: by each rule of interest a rate limiter (GCRA), so that a few
//! packets are no news and a notice that stands does not come and go.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use crate::event::{COMMENT_ROUTER, Dropped, Instant};

/// One packet in this time is below notice, for ever …
const INTERVAL: Duration = Duration::from_secs(20);
/// … and this many more at once.
const BURST: u32 = 5;
/// A notice is taken back when the rate was below that for so long at most.
const MEMORY: Duration = Duration::from_secs(180);
/// A router announces itself every ten minutes by default (RFC 4861 6.2.1), and once is news: what
/// is noted of it outlives three of these.
const ANNOUNCED: Duration = Duration::from_secs(1800);

/// The drops of each rule of interest, by its comment.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Drops(BTreeMap<String, Drop>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Drop {
    /// Packets, as last counted; a new rule set begins at zero.
    counted: u64,
    /// When the packets so far would have come at one in each [`INTERVAL`] (the theoretical arrival
    /// time of GCRA).
    due: Instant,
    /// It is worth a notice, with this example for as long as it stands.
    stands: Option<Option<IpAddr>>,
}

impl Drops {
    /// Takes counters in, read at `now`.
    pub(crate) fn count(&mut self, dropped: &[Dropped], now: Instant) {
        for rule in dropped {
            let known = self.0.entry(rule.purpose.clone()).or_insert(Drop {
                counted: 0,
                due: now,
                stands: None,
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
            if known.due.saturating_since(now) >= INTERVAL * BURST && known.stands.is_none() {
                known.stands = Some(rule.example);
            }
        }
        self.refresh(now);
    }

    /// Takes back what has been quiet for long enough.
    pub(crate) fn refresh(&mut self, now: Instant) {
        for (_, known) in self.0.iter_mut().filter(|(_, known)| known.due <= now) {
            known.stands = None;
        }
    }

    /// Returns when time alone changes something.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        self.0.values().filter(|known| known.stands.is_some()).map(|known| known.due).min()
    }

    /// Returns the comments of the rules that drop more than a few packets a minute, each with the
    /// source of one of them.
    pub fn standing(&self) -> impl Iterator<Item = (&str, Option<IpAddr>)> {
        self.0.iter().filter_map(|(purpose, known)| Some((purpose.as_str(), known.stands?)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULE: &str = "some rule";

    /// Reads the counter each minute; at which minutes the notice stands.
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
    fn a_few_packets_a_minute_are_no_news_and_more_are() {
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
    fn one_advertisement_of_a_router_is_news_until_three_more_would_have_come() {
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
    fn a_new_rule_set_begins_at_zero_and_the_example_stays() {
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
