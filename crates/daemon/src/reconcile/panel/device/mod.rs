//! The common part of the threads of display and indicator: the loop (`thread.rs`), the dead-man
//! timer, reports and retries.

mod error;
mod thread;
mod worker;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use tracing::debug;

use crate::event::{Applied, ApplyError, ApplyErrorKind, ApplyReport, Event, Output, Vital};
use crate::supervise::Backoff;

pub use error::PanelError;
pub use thread::{Handle, start};
pub use worker::{Connector, Player, Stage, Worker};

/// Expiry of the dead-man timer, which the main loop renews every ten seconds.
const SILENCE: Duration = Duration::from_secs(20);

/// Pause before a report is sent again after the channel was full.
const FULL: Duration = Duration::from_millis(200);

/// A dead-man timer: the main loop renews it, and the devices show its expiry.
#[derive(Debug, Clone)]
pub struct DeadMan(Arc<DeadManState>);

#[derive(Debug)]
struct DeadManState {
    start: Instant,
    ends_ms: AtomicU64,
    expired: AtomicBool,
    #[cfg(test)]
    offset_ms: AtomicU64,
}

impl DeadMan {
    /// Returns a timer that starts now.
    pub fn new() -> Self {
        Self(Arc::new(DeadManState {
            start: Instant::now(),
            ends_ms: AtomicU64::new(milliseconds(SILENCE)),
            expired: AtomicBool::new(false),
            #[cfg(test)]
            offset_ms: AtomicU64::new(0),
        }))
    }

    /// Renews the timer. Returns whether the thread has seen it expired, and has to be woken.
    pub fn renew(&self) -> bool {
        self.0
            .ends_ms
            .store(self.elapsed_ms().saturating_add(milliseconds(SILENCE)), Ordering::SeqCst);
        self.0.expired.swap(false, Ordering::SeqCst)
    }

    /// Returns the time until it expires, `None` after that.
    pub fn left(&self) -> Option<Duration> {
        let left = Duration::from_millis(
            self.0.ends_ms.load(Ordering::SeqCst).saturating_sub(self.elapsed_ms()),
        );
        self.0.expired.store(left.is_zero(), Ordering::SeqCst);
        if left.is_zero() { None } else { Some(left) }
    }

    fn elapsed_ms(&self) -> u64 {
        let elapsed = milliseconds(self.0.start.elapsed());
        #[cfg(test)]
        let elapsed = elapsed + self.0.offset_ms.load(Ordering::SeqCst);
        elapsed
    }

    /// Lets the timer expire.
    #[cfg(test)]
    pub fn backdate(&self) {
        let past = u64::try_from(SILENCE.as_millis()).unwrap();
        self.0.offset_ms.store(past, Ordering::SeqCst);
    }
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Reports each change to the main loop once, without blocking. If the channel is full, the latest
/// report stays pending.
#[derive(Debug)]
pub struct Reporter {
    events: mpsc::Sender<Event>,
    output: Output,
    last: Option<Result<Applied, ApplyError>>,
    pending: bool,
    errors: u64,
    /// The value of `errors` in the last report.
    errors_reported: u64,
}

impl Reporter {
    pub fn new(events: mpsc::Sender<Event>, output: Output) -> Self {
        Self { events, output, last: None, pending: false, errors: 0, errors_reported: 0 }
    }

    /// Reports `result` if it differs from the last report.
    pub fn report(&mut self, result: Result<Applied, ApplyError>) {
        if self.last.as_ref().is_some_and(|last| same(last, &result)) {
            return;
        }
        self.last = Some(result);
        self.pending = true;
        self.flush();
    }

    /// Counts a failed transfer, and reports the number.
    pub fn count_error(&mut self) {
        self.errors += 1;
        self.flush();
    }

    /// Sends pending reports. Returns the pause before the next attempt, if some are still pending.
    pub fn flush(&mut self) -> Option<Duration> {
        if self.errors != self.errors_reported {
            let event = Event::Vital(Vital::DisplayErrors(self.errors));
            if matches!(self.events.try_send(event), Err(mpsc::error::TrySendError::Full(_))) {
                return Some(FULL);
            }
            self.errors_reported = self.errors;
        }
        if let (true, Some(result)) = (self.pending, &self.last) {
            let event = Event::Applied(ApplyReport { output: self.output, result: result.clone() });
            // A closed channel means that the daemon is ending.
            self.pending =
                matches!(self.events.try_send(event), Err(mpsc::error::TrySendError::Full(_)));
        }
        if self.pending {
            debug!(output = ?self.output, "the loop has no room for a report; sent later");
        }
        self.pending.then_some(FULL)
    }
}

/// Returns whether two reports are equal, apart from the counters of bytes and bus time, and from
/// the text of an error of kind `Absent`.
fn same(a: &Result<Applied, ApplyError>, b: &Result<Applied, ApplyError>) -> bool {
    match (a, b) {
        (
            Ok(Applied::Display { lines: a, lit: c, blind: e, .. }),
            Ok(Applied::Display { lines: b, lit: d, blind: f, .. }),
        ) => (a, c, e) == (b, d, f),
        (Err(a), Err(b)) if a.kind == ApplyErrorKind::Absent => a.kind == b.kind,
        (a, b) => a == b,
    }
}

/// Schedules attempts to open a device.
#[derive(Debug)]
pub struct Retry {
    backoff: Backoff,
    next: Duration,
}

const FIRST: Duration = Duration::from_millis(100);
/// A backoff above this means that attempts have failed for more than a second.
const UDEV: Duration = Duration::from_millis(1600);
/// The longest pause. The kernel does not report a panel that is plugged in again, which stays dark
/// until the next attempt.
const LAST: Duration = Duration::from_secs(10);

impl Retry {
    /// Returns a schedule whose first attempt is due now.
    pub fn new() -> Self {
        Self { backoff: Backoff::new(FIRST, LAST), next: Duration::ZERO }
    }

    pub fn failed(&mut self, now: Duration) {
        self.next = now + self.backoff.pause();
    }

    /// Returns whether to report `error`. Until udev has set the permissions of a new device, only
    /// root may open it, so `Denied` is reported only after about a second.
    pub fn is_worth_reporting(&self, error: &ApplyError) -> bool {
        error.kind != ApplyErrorKind::Denied || self.backoff.upcoming() > UDEV
    }

    /// Returns the time until the next attempt.
    pub fn left(&self, now: Duration) -> Duration {
        self.next.saturating_sub(now)
    }
}

/// Returns the earliest of these times.
pub fn earliest<const N: usize>(times: [Option<Duration>; N]) -> Option<Duration> {
    times.into_iter().flatten().min()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timer_expires_and_its_renewal_reports_a_wake_up_once() {
        let dead_man = DeadMan::new();
        assert!(dead_man.left().is_some());
        assert!(!dead_man.renew(), "it has not been seen to be expired");
        dead_man.backdate();
        assert_eq!(dead_man.left(), None);
        assert!(dead_man.renew());
        assert!(dead_man.left().is_some());
        assert!(!dead_man.renew());
    }

    #[test]
    fn pauses_between_attempts_grow_up_to_a_bound() {
        let mut retry = Retry::new();
        let mut now = Duration::ZERO;
        assert!(retry.left(now).is_zero());
        let waits: Vec<u128> = (0..10)
            .map(|_| {
                retry.failed(now);
                let wait = retry.left(now);
                now += wait;
                wait.as_millis()
            })
            .collect();
        assert_eq!(waits, [100, 200, 400, 800, 1600, 3200, 6400, 10_000, 10_000, 10_000]);
    }

    #[test]
    fn a_denied_device_is_reported_only_after_a_second() {
        let error = |kind| ApplyError { kind, message: String::new() };
        let mut retry = Retry::new();
        let mut now = Duration::ZERO;
        let mut reported_at = None;
        while reported_at.is_none() && now < Duration::from_secs(10) {
            retry.failed(now);
            assert!(retry.is_worth_reporting(&error(ApplyErrorKind::Absent)));
            reported_at = retry.is_worth_reporting(&error(ApplyErrorKind::Denied)).then_some(now);
            now += retry.left(now);
        }
        assert_eq!(reported_at, Some(Duration::from_millis(1500)));
    }

    #[test]
    fn the_last_error_count_is_reported_after_the_channel_was_full() {
        let (sender, mut events) = mpsc::channel(1);
        let mut reporter = Reporter::new(sender, Output::Display);
        (0..3).for_each(|_| reporter.count_error());
        assert!(reporter.flush().is_some(), "the channel is full");
        assert_eq!(events.try_recv(), Ok(Event::Vital(Vital::DisplayErrors(1))));
        assert!(reporter.flush().is_none());
        assert_eq!(events.try_recv(), Ok(Event::Vital(Vital::DisplayErrors(3))));
        reporter.flush();
        assert!(events.try_recv().is_err());
    }

    #[test]
    fn equal_reports_are_sent_once_and_pending_ones_later() {
        let (sender, mut events) = mpsc::channel(1);
        let mut reporter = Reporter::new(sender, Output::Display);
        let lines = |bytes| {
            let (lines, bus_time) = (vec!["a".to_owned()], Duration::from_millis(bytes));
            Ok(Applied::Display { lines, bytes, bus_time, lit: true, blind: false })
        };
        let absent = |message: &str| {
            Err(ApplyError { kind: ApplyErrorKind::Absent, message: message.to_owned() })
        };
        reporter.report(lines(1));
        reporter.report(lines(2));
        reporter.report(absent("gone"));
        reporter.report(absent("not there"));
        assert!(reporter.flush().is_some(), "the channel is full");
        assert!(
            matches!(events.try_recv(), Ok(Event::Applied(report)) if report.result == lines(1))
        );
        assert!(reporter.flush().is_none());
        assert!(
            matches!(events.try_recv(), Ok(Event::Applied(report)) if report.result == absent("gone"))
        );
        assert!(events.try_recv().is_err());
    }
}
