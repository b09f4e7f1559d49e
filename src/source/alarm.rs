//! An alarm for distant moments. The runtime's own timers wake the process several times on the way to a distant moment
//! (its wheel has levels of 64 ms, 4 s, 4 min); a timerfd wakes it once.

use std::io;
use std::time::Duration;

use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};
use tokio::io::unix::AsyncFd;
use tokio::time::Instant;

use super::readable;

/// One moment to wait for.
#[derive(Debug)]
pub struct Alarm {
    timer: AsyncFd<std::os::fd::OwnedFd>,
    at: Option<Instant>,
}

impl Alarm {
    /// Not set.
    ///
    /// # Errors
    /// No descriptor to be had.
    pub fn new() -> io::Result<Self> {
        let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
        Ok(Self { timer: readable(timerfd_create(TimerfdClockId::Monotonic, flags)?)?, at: None })
    }

    /// Sets it to `at`; `None` never rings. An equal moment costs nothing.
    pub fn set(&mut self, at: Option<Instant>) {
        if self.at == at {
            return;
        }
        self.at = at;
        // Zero would switch it off; a moment that has passed rings at once.
        let left = at.map(|at| at.saturating_duration_since(Instant::now()).max(Duration::from_nanos(1)));
        let left = left.unwrap_or(Duration::ZERO);
        let value = Timespec {
            tv_sec: i64::try_from(left.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: i64::from(left.subsec_nanos()),
        };
        let once = Itimerspec { it_interval: Timespec { tv_sec: 0, tv_nsec: 0 }, it_value: value };
        // Fails only for values that are not times.
        let _ = timerfd_settime(self.timer.get_ref(), TimerfdTimerFlags::empty(), &once);
    }

    /// Waits until it rings; then it is not set any more. May be dropped and called again.
    pub async fn rings(&mut self) {
        while let Ok(mut guard) = self.timer.readable().await {
            let mut count = [0; 8];
            let rang = rustix::io::read(self.timer.get_ref(), &mut count).is_ok();
            guard.clear_ready();
            if rang {
                break;
            }
        }
        self.at = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn it_rings_once_at_its_moment_and_never_without_one() {
        let mut alarm = Alarm::new().unwrap();
        let begin = Instant::now();
        alarm.set(Some(begin + Duration::from_millis(30)));
        alarm.rings().await;
        assert!(begin.elapsed() >= Duration::from_millis(30));
        assert!(tokio::time::timeout(Duration::from_millis(60), alarm.rings()).await.is_err());
        alarm.set(Some(begin));
        tokio::time::timeout(Duration::from_secs(1), alarm.rings())
            .await
            .expect("a moment that has passed rings at once");
    }
}
