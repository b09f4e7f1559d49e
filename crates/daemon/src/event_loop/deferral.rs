//! Limits the rate of publishing changes that untrusted hosts cause. Pure: times are arguments.

use std::time::Duration;

use tokio::time::Instant;

use crate::pace::Pace;

/// Such changes are published immediately this many times in a row, then rate-limited to one per
/// [`SPACING`].
const BURST: u32 = 16;
const SPACING: Duration = Duration::from_millis(500);

/// The rate limit, and the change that waits for it.
#[derive(Debug)]
pub(super) struct Deferral {
    pace: Pace,
    /// When a deferred change is published; `None` if none waits.
    publish_at: Option<Instant>,
}

impl Deferral {
    pub fn new(now: Instant) -> Self {
        Self { pace: Pace::new(BURST, SPACING, now), publish_at: None }
    }

    /// Returns when a deferred change is due.
    pub const fn publish_at(&self) -> Option<Instant> {
        self.publish_at
    }

    /// Returns whether to publish after a batch of events: it or an earlier one has `changed` what
    /// outputs show, and the rate limit allows it. A batch that is not `deferrable` is published at
    /// once. Events that change nothing do not count toward the limit.
    pub fn publishes(&mut self, changed: bool, deferrable: bool, now: Instant) -> bool {
        if !changed && self.publish_at.is_none() {
            return false;
        }
        if changed && !deferrable {
            self.publish_at = None;
            return true;
        }
        let at = self.publish_at.unwrap_or_else(|| self.pace.next(now));
        self.publish_at = (at > now).then_some(at);
        self.publish_at.is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_that_change_nothing_delay_no_change() {
        let now = Instant::now() + Duration::from_secs(1000);
        let mut deferral = Deferral::new(now);
        for _ in 0..10 * BURST {
            assert!(!deferral.publishes(false, true, now), "nothing to publish");
        }
        assert!(deferral.publishes(true, true, now), "the first change of a node");
    }

    #[test]
    fn a_flood_is_published_at_its_pace_and_its_last_change_too() {
        let now = Instant::now() + Duration::from_secs(1000);
        let mut deferral = Deferral::new(now);
        let flood = (0..100).filter(|_| deferral.publishes(true, true, now)).count();
        assert_eq!(flood, BURST as usize);
        let at = deferral.publish_at().unwrap();
        assert_eq!(at, now + SPACING);
        assert!(!deferral.publishes(false, true, at - Duration::from_millis(1)));
        assert!(deferral.publishes(false, true, at), "a tick publishes what waits");
        assert!(!deferral.publishes(false, true, at), "once");
    }

    #[test]
    fn a_change_of_our_own_is_published_at_once_with_what_waits() {
        let now = Instant::now() + Duration::from_secs(1000);
        let mut deferral = Deferral::new(now);
        while deferral.publishes(true, true, now) {}
        assert!(deferral.publishes(true, false, now));
        assert_eq!(deferral.publish_at(), None);
    }
}
