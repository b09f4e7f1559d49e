//! SIGTERM and SIGINT stop, SIGHUP reloads. A stop that is part of a shutdown is distinguished from
//! one that is not: the panel says something else then.

mod shutdown;

use std::convert::Infallible;
use std::io;
use std::sync::Arc;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{Mutex, mpsc};

use crate::event::Event;
use crate::watch::emit;

/// Holds the handlers. From when they are set no signal kills the process or is lost: the first
/// thing that a start does.
#[derive(Debug)]
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Signals {
    /// Sets them; within a runtime.
    ///
    /// # Errors
    /// They cannot be set.
    pub fn catch() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }
}

/// Reports each signal, also those that came before.
///
/// # Errors
/// The receiver is gone (`Closed`).
pub async fn run(
    signals: Arc<Mutex<Signals>>,
    events: mpsc::Sender<Event>,
) -> io::Result<Infallible> {
    let mut signals = signals.lock().await;
    let Signals { terminate, interrupt, hangup } = &mut *signals;
    loop {
        let event = tokio::select! {
            _ = terminate.recv() => Event::Stop(shutdown::reason()),
            _ = interrupt.recv() => Event::Stop(crate::event::Stop::Terminated),
            _ = hangup.recv() => Event::Reload,
        };
        emit(&events, event).await?;
    }
}
