//! The LED: a thread of its own animates the [`Signal`]s. A stalled USB device delays nothing else.

mod daytime;
mod devices;
mod worker;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc as orders;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

pub use devices::{Connector, INDICATORS, IndicatorKind, connector};

use super::ornament::{Lease, Reporter};
use super::panicked;
use crate::config::Led;
use crate::event::{ApplyError, ApplyErrorKind, Event, Output};
use crate::panel::Signal;
use worker::Worker;

/// What the thread can be told.
enum Order {
    Show(Vec<Signal>),
    Hotplug,
    Reconfigure(Box<Led>),
    Stop(oneshot::Sender<Result<(), ApplyError>>),
    /// the lease lives again
    Wake,
}

/// The way to the indicator's thread. Nothing here waits. When it is dropped the thread ends and leaves the LED as it is.
#[derive(Debug)]
pub struct IndicatorHandle {
    orders: orders::Sender<Order>,
    lease: Lease,
}

/// Starts the thread. It reports each change of condition once.
pub fn spawn(settings: Led, events: mpsc::Sender<Event>) -> IndicatorHandle {
    spawn_with(settings, events, connector)
}

fn spawn_with(
    settings: Led,
    events: mpsc::Sender<Event>,
    connect: impl Fn(&Led) -> Option<Connector> + Send + 'static,
) -> IndicatorHandle {
    let (sender, receiver) = orders::channel();
    let lease = Lease::new();
    let mut reporter = Reporter::new(events.clone(), Output::Indicator);
    let thread_lease = lease.clone();
    let started = std::thread::Builder::new().name("indicator".to_owned()).stack_size(256 * 1024).spawn(move || {
        let reporter = Reporter::new(events, Output::Indicator);
        run(Worker::new(settings, Box::new(connect), thread_lease, reporter), &receiver);
    });
    if let Err(error) = started {
        let message = format!("the indicator's thread cannot be started: {error}");
        reporter.report(Err(ApplyError { kind: ApplyErrorKind::Failed, message }));
    }
    IndicatorHandle { orders: sender, lease }
}

/// Until the end; a panic is reported and the work begun again.
fn run(mut worker: Worker, orders: &orders::Receiver<Order>) {
    while let Err(payload) = catch_unwind(AssertUnwindSafe(|| worker.run(orders))) {
        worker.recover(panicked("the indicator's thread", payload.as_ref()));
        std::thread::sleep(Duration::from_secs(1));
    }
}

impl IndicatorHandle {
    /// What the LEDs are to say from now on: the first is the cluster, the others a node each.
    pub fn show(&self, signals: Vec<Signal>) {
        self.order(Order::Show(signals));
    }

    /// The main loop lives. Without this for `term` the LED is steady amber.
    pub fn renew_lease(&self, term: Duration) {
        if self.lease.renew(term) {
            self.order(Order::Wake);
        }
    }

    /// A device may have come: try now.
    pub fn hotplug(&self) {
        self.order(Order::Hotplug);
    }

    pub fn reconfigure(&self, settings: Led) {
        self.order(Order::Reconfigure(Box::new(settings)));
    }

    /// Goes dark and ends the thread. The answer comes when the device has taken it; wait for it only so long.
    pub fn stop(self) -> oneshot::Receiver<Result<(), ApplyError>> {
        let (done, acknowledged) = oneshot::channel();
        self.order(Order::Stop(done));
        acknowledged
    }

    fn order(&self, order: Order) {
        // The thread ends only after `stop`, which takes the handle.
        let _ = self.orders.send(order);
    }
}

#[cfg(test)]
mod tests;
