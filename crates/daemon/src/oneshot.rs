//! A descriptor that others can make readable as often as they like, and that is read now and then
//! only.
//!
//! The runtime polls edge-triggered: each message wakes the process (`epoll(7)`, `EPOLLET`), also
//! while no task waits for it. So this one is polled only while a task waits.

use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::sync::Arc;

use tokio::io::unix::AsyncFd;

use crate::sync::readable;

/// Holds a descriptor that is in the runtime's poll only while [`OneShot::readable`] waits.
#[derive(Debug)]
pub(crate) struct OneShot<T: AsRawFd> {
    inner: Arc<T>,
    polled: Option<AsyncFd<Arc<T>>>,
}

impl<T: AsFd + AsRawFd> OneShot<T> {
    /// Takes a non-blocking descriptor; it is not polled yet.
    pub fn new(inner: T) -> Self {
        Self { inner: Arc::new(inner), polled: None }
    }

    /// Returns what it holds.
    pub fn get_ref(&self) -> &T {
        &self.inner
    }

    /// Returns what it holds, to be looked at elsewhere.
    pub fn share(&self) -> Arc<T> {
        Arc::clone(&self.inner)
    }

    /// Waits until there is something to read, also what was left by the last reading. Whoever
    /// stops waiting may begin again.
    ///
    /// # Errors
    /// The kernel takes no more descriptors into the poll.
    pub async fn readable(&mut self) -> io::Result<()> {
        let polled = match self.polled.take() {
            Some(polled) => polled,
            None => readable(Arc::clone(&self.inner))?,
        };
        self.polled.insert(polled).readable().await?.retain_ready();
        self.polled = None;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::OwnedFd;
    use std::time::Duration;

    use rustix::pipe::PipeFlags;
    use tokio::time::timeout;

    use super::*;

    const SOON: Duration = Duration::from_millis(20);

    /// Voluntary switches of this thread: each is a wait of the runtime that something has ended.
    fn waits() -> u64 {
        let status = std::fs::read_to_string("/proc/thread-self/status").unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
        line.unwrap().trim().parse().unwrap()
    }

    #[tokio::test]
    async fn what_is_left_is_found_again_and_nothing_wakes_between_two_readings() {
        let (reader, writer) =
            rustix::pipe::pipe_with(PipeFlags::NONBLOCK | PipeFlags::CLOEXEC).unwrap();
        let mut reader = OneShot::<OwnedFd>::new(reader);
        for _ in 0..3 {
            assert!(
                timeout(SOON, reader.readable()).await.is_err(),
                "who stops waiting begins again"
            );
        }
        rustix::io::write(&writer, b"two").unwrap();
        for _ in 0..2 {
            timeout(SOON, reader.readable()).await.expect("what is left is found again").unwrap();
        }
        // One that writes 200 times while no task waits.
        let before = waits();
        let flood = std::thread::spawn(move || {
            for _ in 0..200 {
                std::thread::sleep(Duration::from_micros(500));
                rustix::io::write(&writer, b"more\n").unwrap();
            }
            writer
        });
        tokio::time::sleep(Duration::from_millis(150)).await;
        assert!(waits() - before < 50, "{} wake-ups", waits() - before);
        let _writer = flood.join().unwrap();
        timeout(SOON, reader.readable()).await.expect("and so is what came meanwhile").unwrap();
    }
}
