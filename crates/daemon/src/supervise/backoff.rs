//! Exponential backoff.

use std::time::Duration;

/// A pause that doubles with each retry, up to a bound.
#[derive(Debug, Clone)]
pub struct Backoff {
    first: Duration,
    longest: Duration,
    /// A run of at least this duration succeeded.
    well: Duration,
    next: Duration,
}

impl Backoff {
    /// Returns a backoff that starts at `first` and is bounded by `longest`.
    pub const fn new(first: Duration, longest: Duration) -> Self {
        Self { first, longest, well: Duration::MAX, next: first }
    }

    /// Makes [`Self::ended`] reset the backoff after a run of at least `well`.
    #[must_use]
    pub const fn reset_after(self, well: Duration) -> Self {
        Self { well, ..self }
    }

    /// Returns the pause before this retry, and doubles the next one.
    pub fn pause(&mut self) -> Duration {
        self.pause_within(self.longest)
    }

    /// Returns the pause before this retry, bounded by `longest` this once.
    pub fn pause_within(&mut self, longest: Duration) -> Duration {
        let pause = self.next.min(longest).min(self.longest);
        self.next = pause.saturating_mul(2).min(self.longest);
        pause
    }

    /// Returns the pause after a run of duration `ran`.
    pub fn ended(&mut self, ran: Duration) -> Duration {
        if self.ran_well(ran) {
            self.reset();
        }
        self.pause()
    }

    /// Returns whether a run of duration `ran` counts as a success.
    pub fn ran_well(&self, ran: Duration) -> bool {
        ran >= self.well
    }

    /// Makes the next pause the first one again.
    pub const fn reset(&mut self) {
        self.next = self.first;
    }

    /// Returns the next pause without consuming it.
    pub const fn upcoming(&self) -> Duration {
        self.next
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MS: fn(u64) -> Duration = Duration::from_millis;

    #[test]
    fn doubles_up_to_its_bound_and_starts_over_when_reset() {
        let mut backoff = Backoff::new(MS(100), MS(1000));
        let pauses: Vec<u128> = (0..6).map(|_| backoff.pause().as_millis()).collect();
        assert_eq!(pauses, [100, 200, 400, 800, 1000, 1000]);
        backoff.reset();
        assert_eq!(backoff.pause(), MS(100));
    }

    #[test]
    fn a_bound_for_one_pause_also_bounds_the_next() {
        let mut backoff = Backoff::new(MS(50), MS(10_000));
        (0..8).for_each(|_| _ = backoff.pause());
        assert_eq!(backoff.pause_within(MS(400)), MS(400));
        assert_eq!(backoff.pause(), MS(800));
    }

    proptest! {
        /// For any sequence of runs, each pause is twice the previous one within the bounds, and
        /// the first one after a successful run.
        #[test]
        fn pauses_stay_within_their_bounds(
            first in 1..1000_u64, factor in 1..1000_u64, well in 1..10_000_u64,
            runs in proptest::collection::vec(0..20_000_u64, 1..60),
        ) {
            let mut backoff = Backoff::new(MS(first), MS(first * factor)).reset_after(MS(well));
            let mut last: Option<Duration> = None;
            for ran in runs {
                let pause = backoff.ended(MS(ran));
                prop_assert!((MS(first)..=MS(first * factor)).contains(&pause));
                match last {
                    Some(last) if ran < well => prop_assert_eq!(pause, (last * 2).min(MS(first * factor))),
                    _ => prop_assert_eq!(pause, MS(first)),
                }
                last = Some(pause);
            }
        }
    }
}
