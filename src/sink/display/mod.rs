//! The character display: a thread of its own plays a [`Playlist`] on the glass. A stuck bus delays nothing else.

mod devices;
mod worker;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc as orders;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

pub(in crate::sink) use devices::read_script;
pub use devices::{Connector, DISPLAYS, DisplayKind, connector};

use super::ornament::{Lease, Reporter};
use super::panicked;
use crate::config::Lcd;
use crate::event::{ApplyError, Event, Output};
use crate::panel::{Frame, Playlist};
use worker::{REFRESH, Worker};

/// What the thread can be told.
enum Order {
    Show(Playlist),
    Hotplug,
    /// the next page, now
    Next,
    Reconfigure(Box<Lcd>),
    Stop {
        last: Frame,
        lit: bool,
        done: oneshot::Sender<Result<(), ApplyError>>,
    },
    /// the lease lives again
    Wake,
}

/// The way to the display's thread. Nothing here waits. When it is dropped the thread ends and leaves the glass as it is.
#[derive(Debug)]
pub struct DisplayHandle {
    orders: orders::Sender<Order>,
    lease: Lease,
}

/// Starts the thread. It reports [`crate::event::Applied::Display`] whenever the lines on the glass have changed, and each
/// change of condition once.
pub fn spawn(settings: Lcd, events: mpsc::Sender<Event>) -> DisplayHandle {
    spawn_with(settings, events, REFRESH, connector)
}

fn spawn_with(
    settings: Lcd,
    events: mpsc::Sender<Event>,
    refresh: Duration,
    connect: impl Fn(&Lcd) -> Option<Connector> + Send + 'static,
) -> DisplayHandle {
    let (sender, receiver) = orders::channel();
    let lease = Lease::new();
    let mut reporter = Reporter::new(events.clone(), Output::Display);
    let thread_lease = lease.clone();
    let started = std::thread::Builder::new().name("display".to_owned()).stack_size(256 * 1024).spawn(move || {
        let reporter = Reporter::new(events, Output::Display);
        run(Worker::new(settings, Box::new(connect), refresh, thread_lease, reporter), &receiver);
    });
    if let Err(error) = started {
        let message = format!("the display's thread cannot be started: {error}");
        reporter.report(Err(ApplyError { kind: crate::event::ApplyErrorKind::Failed, message }));
    }
    DisplayHandle { orders: sender, lease }
}

/// Until the end; a panic is reported and the work begun again.
fn run(mut worker: Worker, orders: &orders::Receiver<Order>) {
    while let Err(payload) = catch_unwind(AssertUnwindSafe(|| worker.run(orders))) {
        worker.recover(panicked("the display's thread", payload.as_ref()));
        std::thread::sleep(Duration::from_secs(1));
    }
}

impl DisplayHandle {
    /// What is to be shown from now on.
    pub fn show(&self, playlist: Playlist) {
        self.order(Order::Show(playlist));
    }

    /// The main loop lives. Without this for `term` the heartbeat stops.
    pub fn renew_lease(&self, term: Duration) {
        if self.lease.renew(term) {
            self.order(Order::Wake);
        }
    }

    /// A device may have come: try now.
    pub fn hotplug(&self) {
        self.order(Order::Hotplug);
    }

    /// A person wants to see the next page, and to have time to read it.
    pub fn next_page(&self) {
        self.order(Order::Next);
    }

    pub fn reconfigure(&self, settings: Lcd) {
        self.order(Order::Reconfigure(Box::new(settings)));
    }

    /// Shows a last frame, without heartbeat, and ends the thread. The answer comes when the bus has acknowledged the
    /// frame, or at once when there is no display; wait for it only so long: a stuck bus never answers.
    pub fn stop(self, last: Frame, lit: bool) -> oneshot::Receiver<Result<(), ApplyError>> {
        let (done, acknowledged) = oneshot::channel();
        self.order(Order::Stop { last, lit, done });
        acknowledged
    }

    fn order(&self, order: Order) {
        // The thread ends only after `stop`, which takes the handle.
        let _ = self.orders.send(order);
    }
}

#[cfg(test)]
mod tests;
