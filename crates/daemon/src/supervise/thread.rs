//! Threads that are begun again after a panic.

use std::io;
use std::thread;
use std::time::{Duration, Instant};

use tracing::error;

use super::{Backoff, Panic, catch};

/// Work on a device comes back soon, and costs next to nothing when it never does.
const PAUSES: Backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(10))
    .reset_after(Duration::from_secs(60));
/// Bytes: no call of ours goes deep.
const STACK: usize = 256 * 1024;

/// Starts a detached thread: `make` makes a worker in it, `run` is its work, and ends the thread by
/// returning. After a panic `recover` brings the worker into order, and `run` is begun again after
/// a pause. No other thread waits for it: one that hangs in the kernel holds up nothing but itself.
///
/// # Errors
/// There is no thread to be had.
pub fn spawn_thread<W: 'static>(
    name: &str,
    make: impl FnOnce() -> W + Send + 'static,
    run: impl Fn(&mut W) + Send + 'static,
    recover: impl Fn(&mut W, &Panic) + Send + 'static,
) -> io::Result<()> {
    thread::Builder::new().name(name.to_owned()).stack_size(STACK).spawn(move || {
        let (mut worker, mut pauses) = (make(), PAUSES);
        loop {
            let began = Instant::now();
            let Err(panic) = catch(|| run(&mut worker)) else { return };
            recover(&mut worker, &panic);
            let pause = pauses.ended(began.elapsed());
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
    fn is_begun_again_with_the_same_worker_after_a_panic_until_it_returns() {
        let (sent, heard) = mpsc::channel();
        let run = |(count, _): &mut (u32, mpsc::Sender<String>)| {
            *count += 1;
            assert!(*count == 2, "stumbled");
        };
        let recover = |(count, sent): &mut (u32, mpsc::Sender<String>), panic: &Panic| {
            sent.send(format!("{count}: {panic}")).unwrap();
        };
        spawn_thread("clumsy", move || (0, sent), run, recover).unwrap();
        assert_eq!(
            heard.iter().collect::<Vec<_>>(),
            ["1: stumbled"],
            "and the worker went with the thread"
        );
    }
}
