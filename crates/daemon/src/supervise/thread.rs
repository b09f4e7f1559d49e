//! Threads that are restarted after a panic.

use std::io;
use std::thread;
use std::time::{Duration, Instant};

use tracing::error;

use super::{Backoff, Panic, catch};

const BACKOFF: Backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(10))
    .reset_after(Duration::from_secs(60));
/// Stack size in bytes; the call depth is small.
const STACK: usize = 256 * 1024;

/// Spawns a detached thread that makes a worker and runs it until `run` returns. After a panic
/// `recover` repairs the worker, and `run` restarts after a pause. The thread is never joined, so
/// that one that hangs in the kernel blocks no other.
///
/// # Errors
/// The thread cannot be created.
pub fn spawn_thread<W: 'static>(
    name: &str,
    make: impl FnOnce() -> W + Send + 'static,
    run: impl Fn(&mut W) + Send + 'static,
    recover: impl Fn(&mut W, &Panic) + Send + 'static,
) -> io::Result<()> {
    thread::Builder::new().name(name.to_owned()).stack_size(STACK).spawn(move || {
        let (mut worker, mut backoff) = (make(), BACKOFF);
        loop {
            let began = Instant::now();
            let Err(panic) = catch(|| run(&mut worker)) else { return };
            recover(&mut worker, &panic);
            let pause = backoff.ended(began.elapsed());
            error!(%panic, ?pause, "a thread panicked and begins again");
            thread::sleep(pause);
        }
    })?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[test]
    fn restarts_with_the_same_worker_after_a_panic_until_it_returns() {
        let (sent, received) = mpsc::channel();
        let run = |(count, _): &mut (u32, mpsc::Sender<String>)| {
            *count += 1;
            assert!(*count == 2, "stumbled");
        };
        let recover = |(count, sent): &mut (u32, mpsc::Sender<String>), panic: &Panic| {
            sent.send(format!("{count}: {panic}")).unwrap();
        };
        spawn_thread("clumsy", move || (0, sent), run, recover).unwrap();
        assert_eq!(
            received.iter().collect::<Vec<_>>(),
            ["1: stumbled"],
            "the worker is dropped with the thread"
        );
    }
}
