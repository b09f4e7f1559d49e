//! The boot clock, for rooms that may read one.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

use crate::event::Instant;

/// Now, on `CLOCK_BOOTTIME`.
pub fn now() -> Instant {
    let now = clock_gettime(ClockId::Boottime);
    let seconds = u64::try_from(now.tv_sec).unwrap_or(0);
    let nanoseconds = u32::try_from(now.tv_nsec).unwrap_or(0);
    Instant::from_boot(Duration::new(seconds, nanoseconds))
}
