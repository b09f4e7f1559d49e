//! The thread of an ornament: its orders, its work, and what becomes of it when it panics.

use std::sync::mpsc as orders;

use tokio::sync::{mpsc, oneshot};

use super::worker::{Player, Worker};
use super::{Lease, PanelError, Reporter};
use crate::event::{ApplyError, Event, Output};
use crate::reconcile::error::Panicked;
use crate::supervise::spawn_thread;

/// What the thread can be reported.
#[derive(Debug)]
enum Order<Picture, Settings, Last> {
    Show(Picture),
    /// the next page, now
    Turn,
    Hotplug,
    Reconfigure(Box<Settings>),
    Stop(Last, oneshot::Sender<Result<(), ApplyError>>),
    /// the lease lives again
    Wake,
}

/// The way to the thread. Nothing here waits. When it is dropped the thread ends and leaves the
/// device as it is.
#[derive(Debug)]
pub struct Handle<Picture, Settings, Last> {
    orders: orders::Sender<Order<Picture, Settings, Last>>,
    lease: Lease,
}

/// Starts the thread of the worker that `make` makes in it; `name` is the thread's, and people's.
pub fn start<P: Player + 'static>(
    name: &'static str,
    output: Output,
    events: mpsc::Sender<Event>,
    make: impl FnOnce(Lease, Reporter) -> Worker<P> + Send + 'static,
) -> Handle<P::Picture, P::Settings, P::Last> {
    let (sender, receiver) = orders::channel();
    let lease = Lease::new();
    let mut reporter = Reporter::new(events.clone(), output);
    let thread_lease = lease.clone();
    let started = spawn_thread(
        name,
        move || make(thread_lease, Reporter::new(events, output)),
        move |worker| run(worker, &receiver),
        move |worker, panic| {
            worker.recover(Panicked::new(format!("the {name}'s thread"), panic).into())
        },
    );
    if let Err(source) = started {
        reporter.report(Err(PanelError::NoThread { name, source }.into()));
    }
    Handle { orders: sender, lease }
}

/// Returns when the daemon stops.
fn run<P: Player>(
    worker: &mut Worker<P>,
    orders: &orders::Receiver<Order<P::Picture, P::Settings, P::Last>>,
) {
    loop {
        let order = match worker.work() {
            Some(wait) => orders.recv_timeout(wait),
            None => orders.recv().map_err(|_| orders::RecvTimeoutError::Disconnected),
        };
        let mut next = match order {
            Ok(order) => Some(order),
            Err(orders::RecvTimeoutError::Timeout) => None,
            Err(orders::RecvTimeoutError::Disconnected) => return,
        };
        // The latest value wins: what has piled up during a transfer is not shown one by one.
        while let Some(order) = next {
            match order {
                Order::Show(picture) => worker.show(picture),
                Order::Turn => worker.turn(),
                Order::Hotplug => worker.hotplug(),
                Order::Reconfigure(settings) => worker.reconfigure(*settings),
                Order::Wake => {}
                Order::Stop(last, done) => {
                    let _ = done.send(worker.finish(last));
                    return;
                }
            }
            next = orders.try_recv().ok();
        }
    }
}

impl<Picture, Settings, Last> Handle<Picture, Settings, Last> {
    /// Shows something from now on.
    pub fn show(&self, picture: Picture) {
        self.order(Order::Show(picture));
    }

    /// Turns to the next page, which somebody wants to see.
    pub fn turn(&self) {
        self.order(Order::Turn);
    }

    /// Shows that the main loop lives. Without this for [`LEASE`](super::LEASE) the device shows
    /// that it does not.
    pub fn renew_lease(&self) {
        if self.lease.renew() {
            self.order(Order::Wake);
        }
    }

    /// Tries now to open a device, which may have come.
    pub fn hotplug(&self) {
        self.order(Order::Hotplug);
    }

    pub fn reconfigure(&self, settings: Settings) {
        self.order(Order::Reconfigure(Box::new(settings)));
    }

    /// Shows a last picture and ends the thread. The answer comes when the device has taken it, or
    /// at once when there is none; wait for it only so long: a stuck bus never answers.
    pub fn stop(self, last: Last) -> oneshot::Receiver<Result<(), ApplyError>> {
        let (done, acknowledged) = oneshot::channel();
        self.order(Order::Stop(last, done));
        acknowledged
    }

    /// As if the main loop had been silent for the whole of the lease.
    #[cfg(test)]
    pub fn fall_silent(&self) {
        self.lease.backdate();
    }

    fn order(&self, order: Order<Picture, Settings, Last>) {
        // The thread ends only after `stop`, which takes the handle.
        let _ = self.orders.send(order);
    }
}
