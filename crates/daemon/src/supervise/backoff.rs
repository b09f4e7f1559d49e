//! How long to wait before the next try.

use std::time::Duration;

/// Holds a pause that doubles with each try, from a first one to a bound.
#[derive(Debug, Clone)]
pub struct Backoff {
    first: Duration,
    longest: Duration,
    /// what ran for so long ran well
    well: Duration,
    next: Duration,
}

impl Backoff {
    /// Returns one that begins with `first` and never waits longer than `longest`.
    pub const fn new(first: Duration, longest: Duration) -> Self {
        Self { first, longest, well: Duration::MAX, next: first }
    }

    /// Lets [`Self::ended`] begin anew after something that ran for `well` or longer.
    #[must_use]
    pub const fn reset_after(self, well: Duration) -> Self {
        Self { well, ..self }
    }

    /// Returns how long to wait now; the next pause is twice as long.
    pub fn pause(&mut self) -> Duration {
        self.pause_within(self.longest)
    }

    /// Returns how long to wait now where the pause has another bound this time.
    pub fn pause_within(&mut self, longest: Duration) -> Duration {
        let pause = self.next.min(longest).min(self.longest);
        self.next = pause.saturating_mul(2).min(self.longest);
        pause
    }

    /// Returns how long to wait now that something ended which `ran` for so long.
    pub fn ended(&mut self, ran: Duration) -> Duration {
        if self.ran_well(ran) {
            self.reset();
        }
        self.pause()
    }

    /// Returns whether something that `ran` for so long ran well.
    pub fn ran_well(&self, ran: Duration) -> bool {
        ran >= self.well
    }

    /// Begins anew: the next pause is the first one.
    pub const fn reset(&mut self) {
        self.next = self.first;
    }

    /// Returns how long the next pause will be.
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
    fn doubles_to_its_bound_and_begins_anew_when_reset() {
        let mut backoff = Backoff::new(MS(100), MS(1000));
        let pauses: Vec<u128> = (0..6).map(|_| backoff.pause().as_millis()).collect();
        assert_eq!(pauses, [100, 200, 400, 800, 1000, 1000]);
        backoff.reset();
        assert_eq!(backoff.pause(), MS(100));
    }

    #[test]
    fn a_bound_of_this_time_also_bounds_what_comes_after() {
        let mut backoff = Backoff::new(MS(50), MS(10_000));
        (0..8).for_each(|_| _ = backoff.pause());
        assert_eq!(backoff.pause_within(MS(400)), MS(400));
        assert_eq!(backoff.pause(), MS(800));
    }

    proptest! {
        /// Whatever happens in whatever order: never below the first pause, never above the bound,
        /// at most twice the last one, and the first one after a run that went well.
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
