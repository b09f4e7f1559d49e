//! Tasks that end with their handle, and tasks that are restarted.

use std::convert::Infallible;
use std::io;
use std::ops::ControlFlow;
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};
use tracing::debug;

use super::{Backoff, Panic};
use crate::sync::Closed;

/// A task that is cancelled when this handle is dropped.
#[derive(Debug)]
pub struct Task(JoinHandle<()>);

impl Task {
    /// Spawns `work`.
    pub fn spawn(work: impl Future<Output = ()> + Send + 'static) -> Self {
        Self(tokio::spawn(work))
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Makes the future of a task for each restart. Boxed, so that the runtime's code around a task is
/// compiled once.
pub type Restart = Box<dyn Fn() -> BoxFuture<'static, io::Result<Infallible>> + Send>;

/// How a run of a task ended.
#[derive(Debug)]
pub struct Ending {
    pub error: io::Error,
    /// The error differs from the previous one, or the task had run well since.
    pub is_news: bool,
}

/// Spawns the task `name`, which is restarted with `backoff` whenever it ends or panics. `ended` is
/// called after each run, and breaks to stop. A run that returns `Closed` stops the task too.
pub fn spawn_kept<Handled>(
    name: &'static str,
    restart: Restart,
    backoff: Backoff,
    ended: impl FnMut(Ending) -> Handled + Send + 'static,
) where
    Handled: Future<Output = ControlFlow<()>> + Send + 'static,
{
    tokio::spawn(keep(name, restart, backoff, ended));
}

async fn keep<Handled>(
    name: &'static str,
    restart: Restart,
    backoff: Backoff,
    mut ended: impl FnMut(Ending) -> Handled,
) where
    Handled: Future<Output = ControlFlow<()>>,
{
    let mut endings = Endings { backoff, last: String::new() };
    loop {
        let began = Instant::now();
        let error = match tokio::spawn(restart()).await {
            Ok(Err(error)) => error,
            Err(failure) => io::Error::other(failure.try_into_panic().map_or_else(
                |failure| failure.to_string(),
                |payload| format!("panicked: {}", Panic::of(payload.as_ref())),
            )),
        };
        if Closed::is_cause_of(&error) {
            return;
        }
        let (is_news, pause) = endings.add(began.elapsed(), &error);
        debug!(name, %error, ?pause, "a task ended and is begun again");
        if ended(Ending { error, is_news }).await.is_break() {
            return;
        }
        sleep(pause).await;
    }
}

/// The previous runs of a task.
#[derive(Debug)]
struct Endings {
    /// Text of the last error.
    last: String,
    backoff: Backoff,
}

impl Endings {
    /// Records the end of a run of duration `ran`. Returns whether it is news, and the pause. After
    /// a successful run it always is: a device unplugged once a week is reported each time.
    fn add(&mut self, ran: Duration, error: &io::Error) -> (bool, Duration) {
        let text = error.to_string();
        let well = self.backoff.ran_well(ran);
        let is_news = well || self.last != text;
        self.last = text;
        (is_news, self.backoff.ended(ran))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};

    use tokio::sync::mpsc;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const MINUTE: Duration = Duration::from_secs(60);

    fn backoff() -> Backoff {
        Backoff::new(SECOND, MINUTE).reset_after(MINUTE)
    }

    #[test]
    fn a_repeated_failure_is_news_once_and_one_after_a_good_run_each_time() {
        let mut endings = Endings { backoff: backoff(), last: String::new() };
        let (at_once, gone) = (Duration::ZERO, io::Error::other("there is no chip"));
        assert_eq!(endings.add(at_once, &gone), (true, SECOND));
        assert_eq!(endings.add(at_once, &gone), (false, 2 * SECOND));
        assert_eq!(endings.add(at_once, &io::Error::other("it is taken")), (true, 4 * SECOND));
        let waits: Vec<u64> = (0..6).map(|_| endings.add(at_once, &gone).1.as_secs()).collect();
        assert_eq!(waits, [8, 16, 32, 60, 60, 60]);
        assert_eq!(endings.add(Duration::from_secs(3600), &gone), (true, SECOND));
        assert_eq!(endings.add(at_once, &gone), (false, 2 * SECOND));
    }

    /// Starts at 0, 1, 3, 7 and 15 s; the third run panics, the fifth finds no receiver.
    #[tokio::test(start_paused = true)]
    async fn restarts_after_errors_and_panics_until_no_receiver_is_left() {
        let (reported, mut endings) = mpsc::unbounded_channel();
        let (times, count) = (Arc::new(AtomicU32::new(0)), Instant::now());
        let work = move || {
            let time = times.fetch_add(1, Ordering::Relaxed);
            Box::pin(async move {
                match time {
                    2 => panic!("stumbled"),
                    4 => Err(Closed.into()),
                    _ => Err(io::Error::other("gone")),
                }
            }) as BoxFuture<'static, _>
        };
        spawn_kept("clumsy", Box::new(work), backoff(), move |ending: Ending| {
            let (at, news) = (count.elapsed().as_secs(), ending.is_news);
            let sent = reported.send((at, ending.error.to_string(), news));
            async move { if sent.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) } }
        });
        let mut all = Vec::new();
        while let Some(ending) = endings.recv().await {
            all.push(ending);
        }
        let gone = || "gone".to_owned();
        assert_eq!(
            all,
            [
                (0, gone(), true),
                (1, gone(), false),
                (3, "panicked: stumbled".into(), true),
                (7, gone(), true)
            ]
        );
        assert_eq!(count.elapsed().as_secs(), 15);
    }

    #[tokio::test(start_paused = true)]
    async fn ends_with_its_handle() {
        let (alive, mut gone) = mpsc::channel::<()>(1);
        let task = Task::spawn(async move {
            tokio::time::sleep(MINUTE).await;
            drop(alive);
        });
        tokio::task::yield_now().await;
        let begin = Instant::now();
        drop(task);
        assert_eq!((gone.recv().await, begin.elapsed()), (None, Duration::ZERO));
    }
}
