//! Detects a crash loop: so many self-inflicted ends within so long.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

/// Counts the ends that it brought about itself.
#[derive(Debug, Clone)]
pub struct CrashLoop {
    most: usize,
    within: Duration,
    ends: VecDeque<Instant>,
    looping: bool,
}

impl CrashLoop {
    /// Returns a detector for `most` ends within `within`.
    pub const fn new(most: usize, within: Duration) -> Self {
        Self { most, within, ends: VecDeque::new(), looping: false }
    }

    /// Notes an end. Returns whether it makes a loop of them; once, until [`Self::reset`].
    pub fn ended(&mut self, now: Instant) -> bool {
        self.ends.push_back(now);
        while self.ends.len() > self.most {
            self.ends.pop_front();
        }
        let first = self.ends.front().filter(|_| self.ends.len() == self.most);
        let often = first.is_some_and(|first| now.saturating_duration_since(*first) < self.within);
        let begins = often && !self.looping;
        self.looping |= often;
        begins
    }

    /// Notes one that had to be ended by force because it hung: the next one must run well first.
    pub const fn hung(&mut self) {
        self.looping = true;
    }

    /// Returns whether it ended too often or hung, and has not run well since.
    pub const fn is_looping(&self) -> bool {
        self.looping
    }

    /// Begins anew: it has run for long enough.
    pub fn reset(&mut self) {
        self.ends.clear();
        self.looping = false;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    #[test]
    fn three_ends_within_a_minute_are_too_many_and_three_in_an_hour_are_not() {
        let begin = Instant::now();
        let ended = |ends: &mut CrashLoop, second| ends.ended(begin + Duration::from_secs(second));
        let mut ends = CrashLoop::new(3, MINUTE);
        assert!([0, 1000, 2000, 3000].iter().all(|second| !ended(&mut ends, *second)));
        assert!(!ended(&mut ends, 3001) && !ends.is_looping());
        assert!(ended(&mut ends, 3002) && ends.is_looping());
        assert!(!ended(&mut ends, 3003), "reported once");
        ends.reset();
        assert!(!ends.is_looping() && !ended(&mut ends, 3004), "and counted anew");
    }

    proptest! {
        /// Looping exactly if some window of that length has held as many ends.
        #[test]
        fn is_looping_when_a_window_was_full(
            most in 2..6_usize, gaps in proptest::collection::vec(0..60_u64, 1..40)
        ) {
            let begin = Instant::now();
            let mut detector = CrashLoop::new(most, MINUTE);
            let (mut at, mut ends, mut reports) = (0, Vec::new(), 0);
            for gap in gaps {
                at += gap;
                ends.push(at);
                reports += usize::from(detector.ended(begin + Duration::from_secs(at)));
            }
            let full = ends.windows(most).any(|window| window[most - 1] - window[0] < MINUTE.as_secs());
            prop_assert_eq!(detector.is_looping(), full);
            prop_assert_eq!(reports, usize::from(full));
        }
    }
}
