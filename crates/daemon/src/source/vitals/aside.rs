//! Reading what may hang: a driver that waits for its device, or a device that is gone, holds up nothing but its reader.

use std::io;
use std::thread;

use tokio::sync::oneshot;

/// Does work in a detached thread, and waits for it.
///
/// # Errors
/// There is no thread to be had, or the work panicked.
pub async fn aside<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> io::Result<T> {
    let (done, answer) = oneshot::channel();
    detach(move || {
        let _ = done.send(work());
    })?;
    answer.await.map_err(|_| panicked())
}

/// Does work in a detached thread.
///
/// # Errors
/// There is no thread to be had.
pub fn detach(work: impl FnOnce() + Send + 'static) -> io::Result<()> {
    thread::Builder::new().name("vitals".to_owned()).stack_size(256 * 1024).spawn(work)?;
    Ok(())
}

pub fn panicked() -> io::Error {
    io::Error::other("the thread that reads the vitals panicked")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    #[tokio::test]
    async fn a_driver_that_hangs_holds_up_nobody_else() {
        let (let_go, hangs) = std::sync::mpsc::channel::<()>();
        let mut look = std::pin::pin!(aside(move || hangs.recv().is_err()));
        assert!(timeout(Duration::from_millis(50), &mut look).await.is_err(), "the others went on meanwhile");
        drop(let_go);
        assert!(look.await.unwrap());
    }

    #[tokio::test]
    async fn a_reader_that_panics_is_an_error() {
        let result: io::Result<()> = aside(|| panic!("a look that fails")).await;
        assert!(result.is_err());
    }
}
