//! The task of a sink: the latest value wins, an equal one is no work, a failure backs off, a panic
//! is a failure too.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, timeout};
use tracing::debug;

use super::Reconciler;
use super::error::Panicked;
use crate::event::{Applied, ApplyError, ApplyReport, Event};
use crate::supervise::{Backoff, catch_async};

/// Pauses between tries of a value that is not taken.
const RETRY: Backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(10));

/// Since when a sink owes the answer to an order. A failure is an answer; a panic is none.
#[derive(Debug, Clone, Default)]
pub struct InFlight(Arc<Mutex<Option<Instant>>>);

impl InFlight {
    /// For how long; `None`: nothing is owed.
    pub fn time(&self) -> Option<Duration> {
        self.since().map(|since| since.elapsed())
    }

    fn begin(&self) {
        self.since().get_or_insert_with(Instant::now);
    }

    fn settle(&self) {
        *self.since() = None;
    }

    fn since(&self) -> MutexGuard<'_, Option<Instant>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Runs `reconciler` until its channel closes. A failed value is tried again, backing off from 0.1
/// s to 10 s, or at once when a new value comes. Reports every success and each failure that
/// differs from the one before. Gives the sink back at the end.
///
/// One that panics gives way to a new one, made by `anew`, which gets the same value after the
/// usual pause. A new value does not cut that short: what the old one held in the kernel may take a
/// moment to go.
pub async fn run<S: Reconciler>(
    reconciler: S,
    anew: impl Fn() -> S + Send,
    mut desired: watch::Receiver<Option<S::Desired>>,
    events: mpsc::Sender<Event>,
    in_flight: InFlight,
) -> S {
    let mut work =
        Work { reconciler, anew, events, in_flight, held: None, failure: None, panicked: false };
    let mut retry = RETRY;
    loop {
        let value = desired.borrow_and_update().clone();
        if let Some(value) = value {
            work.carry_out(value).await;
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
    anew: A,
    events: mpsc::Sender<Event>,
    in_flight: InFlight,
    held: Option<S::Desired>,
    /// as reported last; `None` while all is well
    failure: Option<ApplyError>,
    /// the failure was a panic
    panicked: bool,
}

impl<S: Reconciler, A: Fn() -> S> Work<S, A> {
    /// Applies `value` unless it is held.
    async fn carry_out(&mut self, value: S::Desired) {
        if self.failure.is_none() && self.held.as_ref() == Some(&value) {
            return;
        }
        self.in_flight.begin();
        match catch_async(self.reconciler.apply(&value)).await {
            Ok(Ok(applied)) => {
                self.in_flight.settle();
                self.held = Some(value);
                self.failure = None;
                self.report(Ok(applied)).await;
            }
            Ok(Err(error)) => {
                self.in_flight.settle();
                self.panicked = false;
                self.fail(error).await;
            }
            Err(panic) => self.on_panic(Panicked::new("the applier", &panic).into()).await,
        }
    }

    /// A new sink first: who reads the report finds it in place.
    async fn on_panic(&mut self, panic: ApplyError) {
        self.reconciler = (self.anew)();
        self.panicked = true;
        self.fail(panic).await;
    }

    async fn fail(&mut self, error: ApplyError) {
        self.held = None;
        debug!(output = ?S::OUTPUT, error = %error.message, "the plan was not taken; it is tried again");
        if self.failure.as_ref() != Some(&error) {
            self.report(Err(error.clone())).await;
        }
        self.failure = Some(error);
    }

    /// Nobody to tell: the daemon ends.
    async fn report(&mut self, result: Result<Applied, ApplyError>) {
        let _ = self.events.send(Event::Applied(ApplyReport { output: S::OUTPUT, result })).await;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::event::{ApplyErrorKind, Output};

    /// What the sinks of a story have done so far.
    #[derive(Debug, Default)]
    struct Story {
        made: AtomicUsize,
        applied: Mutex<Vec<u32>>,
    }

    /// Panics at the values from 90 on as long as fewer than `value - 90` sinks were made anew;
    /// refuses 13; never ends with 14.
    #[derive(Debug)]
    struct Clumsy(Arc<Story>);

    impl Reconciler for Clumsy {
        type Desired = u32;
        const OUTPUT: Output = Output::Link;

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
        desired: watch::Sender<Option<u32>>,
        events: mpsc::Receiver<Event>,
        in_flight: InFlight,
        task: tokio::task::JoinHandle<Clumsy>,
    }

    fn bench(first: u32) -> Bench {
        let story = Arc::new(Story::default());
        let (desired, receiver) = watch::channel(Some(first));
        let (sender, events) = mpsc::channel(16);
        let in_flight = InFlight::default();
        let again = Arc::clone(&story);
        let anew = move || {
            again.made.fetch_add(1, Ordering::SeqCst);
            Clumsy(Arc::clone(&again))
        };
        let task = tokio::spawn(run(
            Clumsy(Arc::clone(&story)),
            anew,
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
    fn a_panic_is_reported_once_and_a_new_sink_gets_the_same_value_backing_off() {
        story(async || {
            let begun = Instant::now();
            let mut bench = bench(93);
            assert_eq!(
                bench.reported().await,
                Err("the applier panicked and begins again: stumbled".into())
            );
            assert!(bench.in_flight.time().is_some(), "a panic is no answer");
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
    fn after_a_panic_the_pause_is_kept_and_the_end_is_not_held_up() {
        story(async || {
            let mut bench = bench(1000);
            assert!(bench.reported().await.is_err());
            bench.desired.send_replace(Some(7));
            tokio::time::sleep(Duration::from_millis(20)).await;
            assert_eq!(bench.applied(), [1000], "a new value waits its turn");
            assert_eq!(bench.reported().await, Ok(Applied::Link { unkept: None }));
            bench.desired.send_replace(Some(1000));
            assert!(bench.reported().await.is_err());
            drop(bench.desired);
            timeout(Duration::from_millis(50), bench.task).await.unwrap().unwrap();
        });
    }

    #[test]
    fn an_order_is_owed_until_its_answer_and_a_refusal_is_one() {
        story(async || {
            let mut bench = bench(13);
            assert_eq!(bench.reported().await, Err("unlucky".into()));
            assert_eq!(bench.in_flight.time(), None);
            bench.desired.send_replace(Some(14));
            tokio::time::sleep(Duration::from_millis(30)).await;
            assert!(bench.in_flight.time().unwrap() >= Duration::from_millis(20));
        });
    }
}
