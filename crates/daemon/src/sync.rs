//! Helpers for timers, channels and the runtime's poll.

use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

/// The other half of a channel was dropped. A task that gets this error ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the other end is gone")]
pub struct Closed;

impl Closed {
    /// Returns whether `error` wraps a `Closed`.
    pub fn is_cause_of(error: &io::Error) -> bool {
        error.get_ref().is_some_and(|cause| cause.is::<Self>())
    }
}

impl From<Closed> for io::Error {
    fn from(closed: Closed) -> Self {
        Self::other(closed)
    }
}

/// Locks a mutex, even after a panic under the lock: none leaves a value inconsistent here.
pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Registers `inner` with the runtime for reading.
///
/// # Errors
/// As epoll_ctl(2).
pub(crate) fn readable<T: AsFd + AsRawFd>(inner: T) -> io::Result<AsyncFd<T>> {
    // SAFETY: the descriptor belongs to `inner` (`AsFd` vouches for that), which the `AsyncFd`
    // keeps and only lends out.
    Ok(unsafe { AsyncFd::register_with_interest(inner, Interest::READABLE) }?)
}

/// Waits until `deadline`, for ever if there is none. Cancel-safe.
pub async fn reached(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

/// Returns the next whole multiple of `every` on `CLOCK_MONOTONIC`: timers with equal intervals, or
/// multiples of them, wake the process together. No program can set that clock, and it stops while
/// the machine sleeps.
pub fn next_aligned(every: Duration) -> Instant {
    let now = Duration::try_from(clock_gettime(ClockId::Monotonic)).unwrap_or_default();
    let passed = now.as_nanos() % every.as_nanos().max(1);
    Instant::now() + every.saturating_sub(Duration::from_nanos(u64::try_from(passed).unwrap_or(0)))
}

/// Sends a value to the receivers; an equal one wakes no task.
pub fn publish<T: PartialEq>(channel: &watch::Sender<T>, value: T) {
    publish_or_ring(channel, value, false);
}

/// Sends a value to the receivers; an equal one wakes no task unless `ring` is set.
pub fn publish_or_ring<T: PartialEq>(channel: &watch::Sender<T>, value: T, ring: bool) {
    channel.send_if_modified(|held| {
        let differs = *held != value;
        if differs {
            *held = value;
        }
        differs || ring
    });
}

#[cfg(test)]
mod tests {
    use tokio::time::timeout;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn no_deadline_is_never_reached() {
        let begin = Instant::now();
        reached(Some(begin + Duration::from_secs(5))).await;
        assert_eq!(begin.elapsed().as_secs(), 5);
        assert!(timeout(Duration::from_secs(1 << 20), reached(None)).await.is_err());
    }

    #[test]
    fn aligned_timers_expire_together() {
        let (minute, quarter) = (Duration::from_secs(60), Duration::from_secs(15));
        let slow = next_aligned(minute);
        std::thread::sleep(Duration::from_millis(5));
        let (other, fast) = (next_aligned(minute), next_aligned(quarter));
        assert!(
            slow.max(other) - slow.min(other) < Duration::from_millis(2),
            "{slow:?} and {other:?}"
        );
        let between = (slow - fast).as_millis() % 15_000;
        assert!(between <= 1 || between >= 14_999, "{between} ms beside the fast one");
        assert!(slow <= Instant::now() + minute && slow > Instant::now());
    }

    #[test]
    fn an_equal_value_wakes_no_receiver() {
        let (channel, mut watching) = watch::channel(1);
        publish(&channel, 1);
        assert!(!watching.has_changed().unwrap());
        publish(&channel, 2);
        assert_eq!(*watching.borrow_and_update(), 2);
        publish_or_ring(&channel, 2, true);
        assert!(watching.has_changed().unwrap(), "rung");
    }
}
