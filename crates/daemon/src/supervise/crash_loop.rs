//! Detects a crash loop: a number of failures within a time window.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

/// The recent failures of one program.
#[derive(Debug, Clone)]
pub struct CrashLoop {
    threshold: usize,
    window: Duration,
    failures: VecDeque<Instant>,
    looping: bool,
}

impl CrashLoop {
    /// Returns a detector for `threshold` failures within `window`.
    pub const fn new(threshold: usize, window: Duration) -> Self {
        Self { threshold, window, failures: VecDeque::new(), looping: false }
    }

    /// Records a failure. Returns true once when a loop begins, until [`Self::reset`].
    pub fn ended(&mut self, now: Instant) -> bool {
        self.failures.push_back(now);
        while self.failures.len() > self.threshold {
            self.failures.pop_front();
        }
        let first = self.failures.front().filter(|_| self.failures.len() == self.threshold);
        let loops = first.is_some_and(|first| now.saturating_duration_since(*first) < self.window);
        let begins = loops && !self.looping;
        self.looping |= loops;
        begins
    }

    /// Records a program that hung and was killed, which counts as a loop immediately.
    pub const fn hung(&mut self) {
        self.looping = true;
    }

    /// Returns whether the program failed too often or hung, and has not run well since.
    pub const fn is_looping(&self) -> bool {
        self.looping
    }

    /// Clears the record after the program has run well.
    pub fn reset(&mut self) {
        self.failures.clear();
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
        /// Loops exactly if some window of that length holds as many failures.
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
