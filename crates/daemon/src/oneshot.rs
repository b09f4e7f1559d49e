//! A descriptor that other programs can make readable at any rate, and that is read at a limited
//! one.
//!
//! The runtime polls edge-triggered, so each message wakes the process (`epoll(7)`, `EPOLLET`) even
//! while no task waits for it. This descriptor is registered only while a task waits.

use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::sync::Arc;

use tokio::io::unix::AsyncFd;

use crate::sync::readable;

/// A descriptor that is registered with the runtime only while [`OneShot::readable`] waits.
#[derive(Debug)]
pub(crate) struct OneShot<T: AsRawFd> {
    inner: Arc<T>,
    polled: Option<AsyncFd<Arc<T>>>,
}

impl<T: AsFd + AsRawFd> OneShot<T> {
    /// Wraps a non-blocking descriptor without registering it.
    pub fn new(inner: T) -> Self {
        Self { inner: Arc::new(inner), polled: None }
    }

    pub fn get_ref(&self) -> &T {
        &self.inner
    }

    pub fn share(&self) -> Arc<T> {
        Arc::clone(&self.inner)
    }

    /// Waits until the descriptor is readable, immediately if data is left. Cancel-safe.
    ///
    /// # Errors
    /// As epoll_ctl(2).
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

    /// Returns the voluntary context switches of this thread, one for each wait of the runtime.
    fn waits() -> u64 {
        let status = std::fs::read_to_string("/proc/thread-self/status").unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
        line.unwrap().trim().parse().unwrap()
    }

    #[tokio::test]
    async fn unread_data_is_reported_again_and_nothing_wakes_between_two_waits() {
        let (reader, writer) =
            rustix::pipe::pipe_with(PipeFlags::NONBLOCK | PipeFlags::CLOEXEC).unwrap();
        let mut reader = OneShot::<OwnedFd>::new(reader);
        for _ in 0..3 {
            assert!(
                timeout(SOON, reader.readable()).await.is_err(),
                "a cancelled wait can be repeated"
            );
        }
        rustix::io::write(&writer, b"two").unwrap();
        for _ in 0..2 {
            timeout(SOON, reader.readable()).await.expect("unread data is reported").unwrap();
        }
        // 200 writes while no task waits.
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
        timeout(SOON, reader.readable()).await.expect("so is data that came meanwhile").unwrap();
    }
}
