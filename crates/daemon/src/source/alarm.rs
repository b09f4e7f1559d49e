//! An alarm for distant moments. The runtime's own timers wake the process several times on the way to a distant moment
//! (its wheel has levels of 64 ms, 4 s, 4 min); a timerfd wakes it once. What is done again and again is done on the [`beat`],
//! so that all of it wakes the process once.

use std::io;
use std::time::Duration;

use rustix::time::{
    ClockId, Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, clock_gettime, timerfd_create,
    timerfd_settime,
};
use tokio::io::unix::AsyncFd;
use tokio::time::{Instant, sleep_until};

use super::readable;

/// The next whole multiple of `every` on the machine's clock: whoever waits for the same, or for a multiple of it, wakes
/// together.
pub fn beat(every: Duration) -> Instant {
    let passed = monotonic().as_nanos() % every.as_nanos().max(1);
    Instant::now() + every.saturating_sub(Duration::from_nanos(u64::try_from(passed).unwrap_or(0)))
}

/// `CLOCK_MONOTONIC`
fn monotonic() -> Duration {
    let now = clock_gettime(ClockId::Monotonic);
    Duration::new(u64::try_from(now.tv_sec).unwrap_or(0), u32::try_from(now.tv_nsec).unwrap_or(0))
}

/// The next whole millisecond: the same one for moments that were worked out some microseconds apart.
const fn whole_ms(at: Duration) -> Duration {
    let over = at.subsec_nanos() % 1_000_000;
    at.saturating_add(Duration::from_nanos((1_000_000 - over) as u64))
}

/// Waits for one distant moment; one that has passed costs nothing.
pub async fn until(at: Instant) {
    if at <= Instant::now() {
        return;
    }
    match Alarm::new() {
        Ok(mut alarm) => {
            alarm.set(Some(at));
            alarm.rings().await;
        }
        Err(_) => sleep_until(at).await,
    }
}

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

    /// Sets it to `at`, to the millisecond; `None` never rings. An equal moment costs nothing.
    pub fn set(&mut self, at: Option<Instant>) {
        if self.at == at {
            return;
        }
        self.at = at;
        // Zero switches it off; a moment that has passed rings at once.
        let left = at.map(|at| at.saturating_duration_since(Instant::now()));
        let moment = left.map_or(Duration::ZERO, |left| whole_ms(monotonic().saturating_add(left)));
        let value = Timespec {
            tv_sec: i64::try_from(moment.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: i64::from(moment.subsec_nanos()),
        };
        let once = Itimerspec { it_interval: Timespec { tv_sec: 0, tv_nsec: 0 }, it_value: value };
        // Fails only for values that are not times.
        let _ = timerfd_settime(self.timer.get_ref(), TimerfdTimerFlags::ABSTIME, &once);
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

    /// What the kernel holds: the moment on its clock.
    fn rings_at(alarm: &Alarm) -> Duration {
        let left = rustix::time::timerfd_gettime(alarm.timer.get_ref()).unwrap().it_value;
        monotonic() + Duration::new(left.tv_sec.try_into().unwrap(), left.tv_nsec.try_into().unwrap())
    }

    #[tokio::test]
    async fn all_that_beat_wake_the_process_together() {
        let (minute, quarter) = (Duration::from_secs(60), Duration::from_secs(15));
        let mut alarms = [Alarm::new().unwrap(), Alarm::new().unwrap(), Alarm::new().unwrap()];
        let [slow, other, fast] = &mut alarms;
        slow.set(Some(beat(minute)));
        std::thread::sleep(Duration::from_millis(5));
        other.set(Some(beat(minute)));
        fast.set(Some(beat(quarter)));
        let [slow, other, fast] = alarms.each_ref().map(|alarm| rings_at(alarm).as_millis());
        assert!(slow.abs_diff(other) <= 1, "{slow} and {other}");
        let between = (slow.max(fast) - slow.min(fast)) % 15_000;
        assert!(between <= 1 || between >= 14_999, "{between} ms beside the fast beat");
        assert!(beat(minute) <= Instant::now() + minute && beat(minute) > Instant::now());
    }

    #[test]
    fn moments_some_microseconds_apart_are_one() {
        let at = |micros| Duration::from_micros(micros);
        assert_eq!(whole_ms(at(60_000_010)), at(60_001_000));
        assert_eq!(whole_ms(at(60_000_950)), at(60_001_000));
        assert_eq!(whole_ms(at(60_001_000)), at(60_002_000));
    }

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
