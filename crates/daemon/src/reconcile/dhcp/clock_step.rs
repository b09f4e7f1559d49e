//! Detects that the system clock was set back. dnsmasq 2.90 plans router advertisements by that clock,
//! and sends none until it is again where it was.

use std::time::{Duration, SystemTime};

use tokio::time::Instant;

/// The shortest step that counts: for as long as that no advertisement is sent.
const MIN_STEP: Duration = Duration::from_secs(30);

/// Compares the system clock with the monotonic one. Pure.
#[derive(Debug)]
pub struct ClockStep {
    system: SystemTime,
    monotonic: Instant,
}

impl ClockStep {
    pub const fn new(system: SystemTime, monotonic: Instant) -> Self {
        Self { system, monotonic }
    }

    /// Returns by how much the system clock was set back since the last call, if by [`MIN_STEP`] or
    /// more.
    pub fn update(&mut self, system: SystemTime, monotonic: Instant) -> Option<Duration> {
        let elapsed = monotonic.saturating_duration_since(self.monotonic);
        let expected = self.system.checked_add(elapsed);
        *self = Self { system, monotonic };
        let step = expected?.duration_since(system).ok()?;
        (step >= MIN_STEP).then_some(step)
    }
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;

    #[test]
    fn only_a_clock_that_was_set_back_counts_and_only_once() {
        let (start, year) = (Instant::now(), 1_700_000_000);
        let mut clock = ClockStep::new(UNIX_EPOCH + Duration::from_secs(year), start);
        let mut step = |seconds: u64, at: u64| {
            let system = UNIX_EPOCH + Duration::from_secs(seconds);
            clock.update(system, start + Duration::from_secs(at)).map(|step| step.as_secs())
        };
        assert_eq!(step(year + 5, 5), None, "it runs");
        assert_eq!(step(year + 9005, 10), None, "set forward, as after a start without a clock");
        assert_eq!(step(year + 9009, 15), None, "a second off");
        assert_eq!(step(year + 5414, 20), Some(3600), "set back by an hour");
        assert_eq!(step(year + 5419, 25), None, "since then it runs");
        assert_eq!(step(0, 30), Some(year + 5424), "to the beginning");
    }
}
