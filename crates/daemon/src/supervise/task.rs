//! Tasks that end with their handle, and tasks that are begun again.

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

/// Holds a task that is cancelled when this goes.
#[derive(Debug)]
pub struct Task(JoinHandle<()>);

impl Task {
    /// Begins `work` at once.
    pub fn spawn(work: impl Future<Output = ()> + Send + 'static) -> Self {
        Self(tokio::spawn(work))
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// What begins the work of a task, again and again. Boxed: the runtime's code around a task is made
/// once, not once for each.
pub type Restart = Box<dyn Fn() -> BoxFuture<'static, io::Result<Infallible>> + Send>;

/// How the work of a task ended.
#[derive(Debug)]
pub struct Ending {
    pub error: io::Error,
    /// another text than the last time, or it had run well since
    pub is_news: bool,
}

/// Begins the work of the task `name`, and again whenever it ends or panics, after a pause of
/// `backoff`. `ended` hears of each end, and breaks to end the task. Work that returns
/// `Closed` ends it as well: whom it worked for is gone.
pub fn spawn_kept<Heard>(
    name: &'static str,
    begin: Restart,
    backoff: Backoff,
    ended: impl FnMut(Ending) -> Heard + Send + 'static,
) where
    Heard: Future<Output = ControlFlow<()>> + Send + 'static,
{
    tokio::spawn(keep(name, begin, backoff, ended));
}

async fn keep<Heard>(
    name: &'static str,
    begin: Restart,
    backoff: Backoff,
    mut ended: impl FnMut(Ending) -> Heard,
) where
    Heard: Future<Output = ControlFlow<()>>,
{
    let mut endings = Endings { backoff, last: String::new() };
    loop {
        let began = Instant::now();
        let error = match tokio::spawn(begin()).await {
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

/// Holds how the work ended before.
#[derive(Debug)]
struct Endings {
    last: String,
    backoff: Backoff,
}

impl Endings {
    /// Notes an end of what `ran` for so long. Returns whether it is news, and how long to wait.
    /// After a run that went well it is: a device that is pulled once a week is reported each time,
    /// and looked for soon.
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
    fn what_fails_at_once_is_reported_once_and_what_ran_well_each_time() {
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

    /// Begins at 0, 1, 3, 7 and 15 s; the third time it panics, the fifth time no receiver is left
    /// that it works for.
    #[tokio::test(start_paused = true)]
    async fn is_begun_again_after_errors_and_panics_until_no_receiver_is_left() {
        let (heard, mut endings) = mpsc::unbounded_channel();
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
            let sent = heard.send((at, ending.error.to_string(), news));
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
