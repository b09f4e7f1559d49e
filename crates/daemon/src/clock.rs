//! The boot clock.

use rustix::time::{ClockId, clock_gettime};

use crate::event::Instant;

/// Returns the time on `CLOCK_BOOTTIME`.
pub fn now() -> Instant {
    Instant::from_boot(clock_gettime(ClockId::Boottime).try_into().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn advances_and_agrees_with_the_kernel() {
        let first = now();
        let uptime = std::fs::read_to_string("/proc/uptime").unwrap();
        let seconds: f64 = uptime.split(' ').next().unwrap().parse().unwrap();
        assert!((first.since_boot().as_secs_f64() - seconds).abs() < 1.0);
        std::thread::sleep(Duration::from_millis(2));
        assert!(now().saturating_since(first) >= Duration::from_millis(2));
    }
}
