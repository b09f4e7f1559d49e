//! What the threads of display and indicator have in common: their loop (`thread.rs`), their
//! dead-man timer, their reports, their patience.

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

/// How long the main loop may be silent before the panel shows that it is not driven; it is heard
/// every ten seconds.
const SILENCE: Duration = Duration::from_secs(20);

/// A full channel is tried again after this.
const FULL: Duration = Duration::from_millis(200);

/// A dead-man timer: the main loop renews it, and a device shows when it has not.
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
    /// Makes a timer that begins now.
    pub fn new() -> Self {
        Self(Arc::new(DeadManState {
            start: Instant::now(),
            ends_ms: AtomicU64::new(milliseconds(SILENCE)),
            expired: AtomicBool::new(false),
            #[cfg(test)]
            offset_ms: AtomicU64::new(0),
        }))
    }

    /// Renews it; true if the thread has seen it expired and should be woken.
    pub fn renew(&self) -> bool {
        self.0
            .ends_ms
            .store(self.elapsed_ms().saturating_add(milliseconds(SILENCE)), Ordering::SeqCst);
        self.0.expired.swap(false, Ordering::SeqCst)
    }

    /// Returns what is left of it; `None` when it has expired.
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

    /// Acts as if the whole time had passed.
    #[cfg(test)]
    pub fn backdate(&self) {
        let past = u64::try_from(SILENCE.as_millis()).unwrap();
        self.0.offset_ms.store(past, Ordering::SeqCst);
    }
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Reports to the main loop how it goes: each change once, and never waits for it. A report that
/// finds the channel full is kept until it is replaced or goes through.
#[derive(Debug)]
pub struct Reporter {
    events: mpsc::Sender<Event>,
    output: Output,
    last: Option<Result<Applied, ApplyError>>,
    pending: bool,
    errors: u64,
    /// `errors`, as it was reported last
    errors_reported: u64,
}

impl Reporter {
    pub fn new(events: mpsc::Sender<Event>, output: Output) -> Self {
        Self { events, output, last: None, pending: false, errors: 0, errors_reported: 0 }
    }

    /// Reports `result` if it says anything new.
    pub fn report(&mut self, result: Result<Applied, ApplyError>) {
        if self.last.as_ref().is_some_and(|last| same(last, &result)) {
            return;
        }
        self.last = Some(result);
        self.pending = true;
        self.flush();
    }

    /// Counts a transfer that failed, and returns the number.
    pub fn count_error(&mut self) {
        self.errors += 1;
        self.flush();
    }

    /// Tries again what is pending; how long to wait before the next time.
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
            // A closed channel is the end of the daemon: no receiver is left.
            self.pending =
                matches!(self.events.try_send(event), Err(mpsc::error::TrySendError::Full(_)));
        }
        if self.pending {
            debug!(output = ?self.output, "the loop has no room for a report; sent later");
        }
        self.pending.then_some(FULL)
    }
}

/// Bytes and their time only count along: a report of the same lines is not news. Nor is it that
/// something absent is absent, however it was found out.
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

/// When to try a device again: soon at first, then more and more rarely.
#[derive(Debug)]
pub struct Patience {
    pauses: Backoff,
    next: Duration,
}

const FIRST: Duration = Duration::from_millis(100);
/// When the delay has grown beyond this, tries have been made for more than a second.
const UDEV: Duration = Duration::from_millis(1600);
/// A panel that is plugged in again is not reported by the kernel: this is how long it may stay
/// dark.
const LAST: Duration = Duration::from_secs(10);

impl Patience {
    /// Makes one that is due at once.
    pub fn new() -> Self {
        Self { pauses: Backoff::new(FIRST, LAST), next: Duration::ZERO }
    }

    pub fn failed(&mut self, now: Duration) {
        self.next = now + self.pauses.pause();
    }

    /// Returns whether `error` is to be reported. A device that has just come is root's alone until
    /// udev has been there: that it may not be opened is reported only when it stays so for about a
    /// second.
    pub fn is_worth_reporting(&self, error: &ApplyError) -> bool {
        error.kind != ApplyErrorKind::Denied || self.pauses.upcoming() > UDEV
    }

    /// Returns the time until the next try.
    pub fn left(&self, now: Duration) -> Duration {
        self.next.saturating_sub(now)
    }
}

/// Returns the first of these times that there is.
pub fn earliest<const N: usize>(times: [Option<Duration>; N]) -> Option<Duration> {
    times.into_iter().flatten().min()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_expires_once_and_reports_who_has_to_be_woken() {
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
    fn patience_grows_and_ends() {
        let mut patience = Patience::new();
        let mut now = Duration::ZERO;
        assert!(patience.left(now).is_zero());
        let waits: Vec<u128> = (0..10)
            .map(|_| {
                patience.failed(now);
                let wait = patience.left(now);
                now += wait;
                wait.as_millis()
            })
            .collect();
        assert_eq!(waits, [100, 200, 400, 800, 1600, 3200, 6400, 10_000, 10_000, 10_000]);
    }

    #[test]
    fn that_a_device_may_not_be_opened_is_reported_when_it_stays_so() {
        let error = |kind| ApplyError { kind, message: String::new() };
        let mut patience = Patience::new();
        let mut now = Duration::ZERO;
        let mut reported_at = None;
        while reported_at.is_none() && now < Duration::from_secs(10) {
            patience.failed(now);
            assert!(patience.is_worth_reporting(&error(ApplyErrorKind::Absent)));
            reported_at =
                patience.is_worth_reporting(&error(ApplyErrorKind::Denied)).then_some(now);
            now += patience.left(now);
        }
        assert_eq!(reported_at, Some(Duration::from_millis(1500)));
    }

    #[test]
    fn errors_are_counted_and_the_last_count_comes_through_a_full_channel() {
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
    fn the_same_is_reported_once_and_what_finds_no_room_later() {
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
