//! The task of a reconciler: the latest value wins, an equal one is skipped unless a resync is
//! requested, and a failure or panic is retried with backoff.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, timeout};
use tracing::debug;

use super::Reconciler;
use super::error::Panicked;
use crate::event::{Applied, ApplyError, ApplyReport, Event};
use crate::supervise::{Backoff, catch_async};
use crate::sync::lock;

/// Pauses between retries of a failed value.
const RETRY: Backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(10));

/// The start time of the `apply` in flight. Cleared on success and on error, but not on a panic,
/// which counts as not responding.
#[derive(Debug, Clone, Default)]
pub struct InFlight(Arc<Mutex<Option<Instant>>>);

impl InFlight {
    /// Returns how long the `apply` in flight has taken, `None` without one.
    pub fn time(&self) -> Option<Duration> {
        lock(&self.0).map(|since| since.elapsed())
    }

    fn begin(&self) {
        lock(&self.0).get_or_insert_with(Instant::now);
    }

    fn done(&self) {
        *lock(&self.0) = None;
    }
}

/// The desired value of a reconciler. Value and resync request share the channel, so that they
/// arrive together.
#[derive(Debug, Clone)]
pub struct Order<D> {
    /// `None` before the first decision: nothing is changed.
    value: Option<D>,
    /// Number of resyncs requested so far.
    resyncs: u64,
}

impl<D> Default for Order<D> {
    fn default() -> Self {
        Self { value: None, resyncs: 0 }
    }
}

/// Sends a value to a reconciler; an equal one wakes no task unless `resync` is set.
pub fn order<D: Clone + PartialEq>(channel: &watch::Sender<Order<D>>, value: &D, resync: bool) {
    channel.send_if_modified(|order| {
        // Compare first: cloning a plan is expensive.
        let differs = order.value.as_ref() != Some(value);
        if differs {
            order.value = Some(value.clone());
        }
        order.resyncs += u64::from(resync);
        differs || resync
    });
}

/// Runs `reconciler` until its channel closes. A failed value is retried with backoff from 0.1 s to
/// 10 s, or immediately on a new value or resync request. Reports every success, and each failure
/// that differs from the previous one. Returns the reconciler at the end.
///
/// After a panic `factory` makes a new reconciler, which gets the same value after the usual pause.
/// A new value does not end that pause, since the kernel may need a moment to release what the old
/// one held.
pub async fn run<S: Reconciler>(
    reconciler: S,
    factory: impl Fn() -> S + Send,
    mut desired: watch::Receiver<Order<S::Desired>>,
    events: mpsc::Sender<Event>,
    in_flight: InFlight,
) -> S {
    let mut work = Work {
        reconciler,
        factory,
        events,
        in_flight,
        applied: None,
        failure: None,
        panicked: false,
    };
    let mut retry = RETRY;
    let mut seen_resyncs = 0;
    loop {
        let Order { value, resyncs } = desired.borrow_and_update().clone();
        let resync = std::mem::replace(&mut seen_resyncs, resyncs) != resyncs;
        if let Some(value) = value {
            work.apply(value, resync).await;
        }
        let mut woken = Ok(());
        if work.failure.is_none() {
            retry.reset();
            woken = desired.changed().await;
        }
        if work.failure.is_some() {
            let pause = retry.pause();
            let waited = if work.panicked {
                timeout(pause, desired.wait_for(|_| false)).await.map(|closed| closed.map(drop))
            } else {
                timeout(pause, desired.changed()).await
            };
            if waited.is_ok() {
                retry.reset();
            }
            woken = waited.unwrap_or(Ok(()));
        }
        if woken.is_err() || work.events.is_closed() {
            return work.reconciler;
        }
    }
}

struct Work<S: Reconciler, A> {
    reconciler: S,
    factory: A,
    events: mpsc::Sender<Event>,
    in_flight: InFlight,
    /// The value last applied with success.
    applied: Option<S::Desired>,
    /// The failure last reported; `None` after a success.
    failure: Option<ApplyError>,
    /// The failure was a panic.
    panicked: bool,
}

impl<S: Reconciler, A: Fn() -> S> Work<S, A> {
    /// Applies `value` unless it is applied already and no resync is requested.
    async fn apply(&mut self, value: S::Desired, resync: bool) {
        if resync {
            debug!(output = ?S::OUTPUT, "rung: looks again");
            self.reconciler.resync();
        } else if self.failure.is_none() && self.applied.as_ref() == Some(&value) {
            return;
        }
        self.in_flight.begin();
        match catch_async(self.reconciler.apply(&value)).await {
            Ok(Ok(applied)) => {
                self.in_flight.done();
                self.applied = Some(value);
                self.failure = None;
                self.report(Ok(applied)).await;
            }
            Ok(Err(error)) => {
                self.in_flight.done();
                self.panicked = false;
                self.fail(error).await;
            }
            Err(panic) => self.on_panic(Panicked::new("the reconciler", &panic).into()).await,
        }
    }

    /// Replaces the reconciler, then reports the panic, so that the report finds the new one.
    async fn on_panic(&mut self, panic: ApplyError) {
        self.reconciler = (self.factory)();
        self.panicked = true;
        self.fail(panic).await;
    }

    async fn fail(&mut self, error: ApplyError) {
        self.applied = None;
        debug!(output = ?S::OUTPUT, error = %error.message, "the plan was not taken; it is tried again");
        if self.failure.as_ref() != Some(&error) {
            self.report(Err(error.clone())).await;
        }
        self.failure = Some(error);
    }

    /// Reports to the loop. A send error means that the daemon is ending.
    async fn report(&mut self, result: Result<Applied, ApplyError>) {
        let _ = self.events.send(Event::Applied(ApplyReport { output: S::OUTPUT, result })).await;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::event::{ApplyErrorKind, Output};

    /// The calls made so far.
    #[derive(Debug, Default)]
    struct Story {
        made: AtomicUsize,
        applied: Mutex<Vec<u32>>,
        resynced: AtomicUsize,
    }

    /// For a value above 90, panics until `value - 90` replacements were made; fails for 13; hangs
    /// for 14.
    #[derive(Debug)]
    struct Clumsy(Arc<Story>);

    impl Reconciler for Clumsy {
        type Desired = u32;
        const OUTPUT: Output = Output::Link;

        fn resync(&mut self) {
            self.0.resynced.fetch_add(1, Ordering::SeqCst);
        }

        async fn apply(&mut self, value: &u32) -> Result<Applied, ApplyError> {
            self.0.applied.lock().unwrap().push(*value);
            match *value {
                13 => Err(ApplyError { kind: ApplyErrorKind::Failed, message: "unlucky".into() }),
                14 => std::future::pending().await,
                value if (self.0.made.load(Ordering::SeqCst) as u32) < value.saturating_sub(90) => {
                    panic!("stumbled")
                }
                _ => Ok(Applied::Link { unkept: None }),
            }
        }
    }

    struct Bench {
        story: Arc<Story>,
        desired: watch::Sender<Order<u32>>,
        events: mpsc::Receiver<Event>,
        in_flight: InFlight,
        task: tokio::task::JoinHandle<Clumsy>,
    }

    fn bench(first: u32) -> Bench {
        let story = Arc::new(Story::default());
        let (desired, receiver) = watch::channel(Order { value: Some(first), resyncs: 0 });
        let (sender, events) = mpsc::channel(16);
        let in_flight = InFlight::default();
        let again = Arc::clone(&story);
        let factory = move || {
            again.made.fetch_add(1, Ordering::SeqCst);
            Clumsy(Arc::clone(&again))
        };
        let task = tokio::spawn(run(
            Clumsy(Arc::clone(&story)),
            factory,
            receiver,
            sender,
            in_flight.clone(),
        ));
        Bench { story, desired, events, in_flight, task }
    }

    impl Bench {
        async fn reported(&mut self) -> Result<Applied, String> {
            match timeout(Duration::from_secs(5), self.events.recv()).await {
                Ok(Some(Event::Applied(report))) => report.result.map_err(|error| error.message),
                other => panic!("no report: {other:?}"),
            }
        }

        fn applied(&self) -> Vec<u32> {
            self.story.applied.lock().unwrap().clone()
        }
    }

    fn story(report: impl AsyncFnOnce()) {
        tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .unwrap()
            .block_on(report());
    }

    #[test]
    fn a_panic_is_reported_once_and_a_new_reconciler_retries_with_backoff() {
        story(async || {
            let begun = Instant::now();
            let mut bench = bench(93);
            assert_eq!(
                bench.reported().await,
                Err("the reconciler panicked and begins again: stumbled".into())
            );
            assert!(bench.in_flight.time().is_some(), "a panic leaves the apply in flight");
            assert_eq!(
                bench.reported().await,
                Ok(Applied::Link { unkept: None }),
                "the second and third panic are no news"
            );
            assert_eq!(bench.applied(), [93; 4]);
            assert_eq!(bench.story.made.load(Ordering::SeqCst), 3);
            assert!(
                begun.elapsed() >= Duration::from_millis(100 + 200 + 400),
                "{:?}",
                begun.elapsed()
            );
            assert_eq!(bench.in_flight.time(), None);
        });
    }

    #[test]
    fn a_new_value_does_not_end_the_pause_after_a_panic_and_the_end_of_the_task_does() {
        story(async || {
            let mut bench = bench(1000);
            assert!(bench.reported().await.is_err());
            order(&bench.desired, &7, false);
            tokio::time::sleep(Duration::from_millis(20)).await;
            assert_eq!(bench.applied(), [1000], "a new value waits its turn");
            assert_eq!(bench.reported().await, Ok(Applied::Link { unkept: None }));
            order(&bench.desired, &1000, false);
            assert!(bench.reported().await.is_err());
            drop(bench.desired);
            timeout(Duration::from_millis(50), bench.task).await.unwrap().unwrap();
        });
    }

    #[test]
    fn an_equal_value_is_skipped_unless_a_resync_is_requested() {
        story(async || {
            let well = Ok(Applied::Link { unkept: None });
            let mut bench = bench(7);
            assert_eq!(bench.reported().await, well);
            order(&bench.desired, &7, false);
            tokio::time::sleep(Duration::from_millis(20)).await;
            assert_eq!(bench.applied(), [7], "an equal value");
            order(&bench.desired, &7, true);
            assert_eq!(bench.reported().await, well);
            order(&bench.desired, &8, true);
            assert_eq!(bench.reported().await, well);
            order(&bench.desired, &8, false);
            tokio::time::sleep(Duration::from_millis(20)).await;
            assert_eq!(bench.applied(), [7, 7, 8], "once for each resync");
            assert_eq!(bench.story.resynced.load(Ordering::SeqCst), 2);
        });
    }

    /// Another program may have removed the cause of the failure.
    #[test]
    fn a_resync_ends_the_pause_after_a_failure_but_not_the_one_after_a_panic() {
        story(async || {
            let mut bench = bench(13);
            assert!(bench.reported().await.is_err());
            tokio::time::sleep(Duration::from_millis(20)).await;
            order(&bench.desired, &13, true);
            tokio::time::sleep(Duration::from_millis(20)).await;
            assert_eq!(bench.applied(), [13; 2]);
            order(&bench.desired, &1000, false);
            assert!(bench.reported().await.is_err());
            order(&bench.desired, &1000, true);
            tokio::time::sleep(Duration::from_millis(20)).await;
            assert_eq!(bench.applied(), [13, 13, 1000]);
        });
    }

    #[test]
    fn an_apply_is_in_flight_until_it_succeeds_or_fails() {
        story(async || {
            let mut bench = bench(13);
            assert_eq!(bench.reported().await, Err("unlucky".into()));
            assert_eq!(bench.in_flight.time(), None);
            order(&bench.desired, &14, false);
            tokio::time::sleep(Duration::from_millis(30)).await;
            assert!(bench.in_flight.time().unwrap() >= Duration::from_millis(20));
        });
    }
}
