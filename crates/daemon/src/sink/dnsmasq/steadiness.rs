//! Does dnsmasq bear its life? Pure: moments are arguments.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

/// So many ends, each of its own doing, within so long are too many.
const ENDS: usize = 3;
const WITHIN: Duration = Duration::from_secs(60);

/// The last ends of dnsmasq that nobody brought about.
#[derive(Debug, Clone, Default)]
pub struct Steadiness {
    ends: VecDeque<Instant>,
    lost: bool,
}

impl Steadiness {
    /// It ended by itself. Whether that makes it one that does not bear its life: told once, until [`Self::ran_well`].
    pub fn ended(&mut self, now: Instant) -> bool {
        self.ends.push_back(now);
        while self.ends.len() > ENDS {
            self.ends.pop_front();
        }
        let often = self.ends.len() == ENDS
            && self.ends.front().is_some_and(|first| now.saturating_duration_since(*first) < WITHIN);
        let news = often && !self.lost;
        self.lost |= often;
        news
    }

    /// It did not answer: the next one must show first that it does.
    pub const fn hung(&mut self) {
        self.lost = true;
    }

    /// It ended too often or did not answer, and has not run well since.
    pub const fn is_lost(&self) -> bool {
        self.lost
    }

    /// It has run for long enough.
    pub fn ran_well(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_ends_within_a_minute_are_too_many_and_three_in_an_hour_are_not() {
        let begin = Instant::now();
        let ended = |steadiness: &mut Steadiness, second| steadiness.ended(begin + Duration::from_secs(second));
        let mut steadiness = Steadiness::default();
        assert!([0, 1000, 2000, 3000].iter().all(|second| !ended(&mut steadiness, *second)));
        assert!(!ended(&mut steadiness, 3001) && !steadiness.is_lost());
        assert!(ended(&mut steadiness, 3002) && steadiness.is_lost());
        assert!(!ended(&mut steadiness, 3003), "told once");
        steadiness.ran_well();
        assert!(!steadiness.is_lost() && !ended(&mut steadiness, 3004), "and counted anew");
    }
}
