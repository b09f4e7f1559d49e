//! A token bucket that limits the rate of work caused by other programs or hosts. Pure: the current
//! time is an argument.

use std::time::Duration;

use tokio::time::Instant;

/// A token bucket.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    burst: u32,
    interval: Duration,
    /// When the bucket is full again if no more tokens are taken.
    full_at: Instant,
}

impl Pace {
    /// Returns a full bucket of `burst` tokens, refilled by one each `interval`.
    pub fn new(burst: u32, interval: Duration, now: Instant) -> Self {
        Self { burst: burst.max(1), interval, full_at: now }
    }

    /// Takes a token if one is available now.
    pub fn try_take(&mut self, now: Instant) -> bool {
        let mut taken = *self;
        let available = taken.next(now) <= now;
        if available {
            *self = taken;
        }
        available
    }

    /// Reserves a token. Returns when it may be used: at `wanted` or later.
    pub fn next(&mut self, wanted: Instant) -> Instant {
        // The first token is available `burst - 1` intervals before the bucket is full.
        let ahead = self.interval * (self.burst - 1);
        let at = self.full_at.checked_sub(ahead).map_or(wanted, |first| first.max(wanted));
        self.full_at = self.full_at.max(at) + self.interval;
        at
    }

    pub fn is_full(&self, now: Instant) -> bool {
        self.full_at <= now
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_passes_immediately_and_a_flood_at_its_pace() {
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
