//! Turns signals into events: SIGTERM and SIGINT stop, SIGHUP reloads. The panel shows a stop that
//! is part of a shutdown differently, so the two are distinguished.

mod shutdown;

use std::convert::Infallible;
use std::io;
use std::sync::Arc;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{Mutex, mpsc};

use crate::event::Event;
use crate::watch::emit;

/// Holds the signal handlers. Installed first thing at the start: from then on no signal kills the
/// process or gets lost.
#[derive(Debug)]
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Signals {
    /// Installs the handlers. Must be called within a Tokio runtime.
    ///
    /// # Errors
    /// A handler cannot be installed.
    pub fn catch() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }
}

/// Reports each signal, including those received before this call.
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
