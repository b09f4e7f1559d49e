//! How often something is looked at that others can change as often as they like: at once, then at
//! a steady pace. Pure: moments are arguments.

use std::time::Duration;

use tokio::time::Instant;

/// Holds a token bucket: some in a row, then one in each interval.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    most: u32,
    interval: Duration,
    /// when the bucket would have been full, but for what was taken
    full: Instant,
}

impl Pace {
    /// Returns one with a full bucket of `most` tokens, one more each `interval`.
    pub fn new(most: u32, interval: Duration, now: Instant) -> Self {
        Self { most: most.max(1), interval, full: now }
    }

    /// Takes a token, if there is one now.
    pub fn try_take(&mut self, now: Instant) -> bool {
        let mut taken = *self;
        let there = taken.next(now) <= now;
        if there {
            *self = taken;
        }
        there
    }

    /// Takes a token. Returns when it may be used: `wanted`, or later.
    pub fn next(&mut self, wanted: Instant) -> Instant {
        // Full at `full`: a token is there from `most - 1` intervals before that on.
        let ahead = self.interval * (self.most - 1);
        let at = self.full.checked_sub(ahead).map_or(wanted, |there| there.max(wanted));
        self.full = self.full.max(at) + self.interval;
        at
    }

    /// Returns whether it is as good as new.
    pub fn is_full(&self, now: Instant) -> bool {
        self.full <= now
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_are_let_through_at_once_and_a_flood_at_its_pace() {
        let begin = Instant::now() + Duration::from_secs(1000);
        let second = Duration::from_secs(1);
        let mut pace = Pace::new(3, second, begin);
        let waits = |pace: &mut Pace, wanted: Instant| pace.next(wanted).duration_since(wanted);
        let all: Vec<Duration> = (0..6).map(|_| waits(&mut pace, begin)).collect();
        assert_eq!(all, [0, 0, 0, 1, 2, 3].map(Duration::from_secs));
        assert_eq!(waits(&mut pace, begin + 4 * second), Duration::ZERO, "one has come back");
        assert_eq!(waits(&mut pace, begin + 100 * second), Duration::ZERO);
        assert_eq!(waits(&mut pace, begin + 100 * second), Duration::ZERO);
    }
}
