//! SIGTERM and SIGINT stop, SIGHUP reloads. A stop that is part of a shutdown is told apart from one that is not: the
//! panel says something else then.

mod shutdown;

use std::convert::Infallible;
use std::io;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

use crate::event::Event;

/// Tells each signal.
///
/// # Errors
/// The handlers cannot be set, or the receiver is gone (`BrokenPipe`).
pub async fn run(events: mpsc::Sender<Event>) -> io::Result<Infallible> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut hangup = signal(SignalKind::hangup())?;
    loop {
        let event = tokio::select! {
            _ = terminate.recv() => Event::Stop(shutdown::reason()),
            _ = interrupt.recv() => Event::Stop(crate::event::Stop::Terminated),
            _ = hangup.recv() => Event::Reload,
        };
        events.send(event).await.map_err(|_| io::ErrorKind::BrokenPipe)?;
    }
}
