//! The thread of a device: its messages, its work, and what becomes of it when it panics.

use std::sync::mpsc as orders;

use tokio::sync::{mpsc, oneshot};

use super::worker::{Player, Worker};
use super::{DeadMan, PanelError, Reporter};
use crate::event::{ApplyError, Event, Output};
use crate::reconcile::error::Panicked;
use crate::supervise::spawn_thread;

/// What the thread can be asked for.
#[derive(Debug)]
enum WorkerMessage<Picture, Settings, Last> {
    Show(Picture),
    /// the next page, now
    Turn,
    Hotplug,
    Reconfigure(Box<Settings>),
    Stop(Last, oneshot::Sender<Result<(), ApplyError>>),
    /// the main loop lives again
    Wake,
}

/// The way to the thread. Nothing here waits. When it is dropped the thread ends and leaves the
/// device as it is.
#[derive(Debug)]
pub struct Handle<Picture, Settings, Last> {
    orders: orders::Sender<WorkerMessage<Picture, Settings, Last>>,
    dead_man: DeadMan,
}

/// Starts the thread of the worker that `make` makes in it; `name` is the thread's, and that in
/// reports.
pub fn start<P: Player + 'static>(
    name: &'static str,
    output: Output,
    events: mpsc::Sender<Event>,
    make: impl FnOnce(DeadMan, Reporter) -> Worker<P> + Send + 'static,
) -> Handle<P::Picture, P::Settings, P::Last> {
    let (sender, receiver) = orders::channel();
    let dead_man = DeadMan::new();
    let mut reporter = Reporter::new(events.clone(), output);
    let thread_dead_man = dead_man.clone();
    let started = spawn_thread(
        name,
        move || make(thread_dead_man, Reporter::new(events, output)),
        move |worker| run(worker, &receiver),
        move |worker, panic| {
            worker.recover(Panicked::new(format!("the {name}'s thread"), panic).into())
        },
    );
    if let Err(source) = started {
        reporter.report(Err(PanelError::NoThread { name, source }.into()));
    }
    Handle { orders: sender, dead_man }
}

/// Returns when the daemon stops.
fn run<P: Player>(
    worker: &mut Worker<P>,
    orders: &orders::Receiver<WorkerMessage<P::Picture, P::Settings, P::Last>>,
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
                WorkerMessage::Show(picture) => worker.show(picture),
                WorkerMessage::Turn => worker.turn(),
                WorkerMessage::Hotplug => worker.hotplug(),
                WorkerMessage::Reconfigure(settings) => worker.reconfigure(*settings),
                WorkerMessage::Wake => {}
                WorkerMessage::Stop(last, done) => {
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
        self.send(WorkerMessage::Show(picture));
    }

    /// Turns to the next page, which somebody wants to see.
    pub fn turn(&self) {
        self.send(WorkerMessage::Turn);
    }

    /// Shows that the main loop lives. Without this for [`SILENCE`](super::SILENCE) the device
    /// shows that it does not.
    pub fn renew_dead_man(&self) {
        if self.dead_man.renew() {
            self.send(WorkerMessage::Wake);
        }
    }

    /// Tries now to open a device, which may have come.
    pub fn hotplug(&self) {
        self.send(WorkerMessage::Hotplug);
    }

    pub fn reconfigure(&self, settings: Settings) {
        self.send(WorkerMessage::Reconfigure(Box::new(settings)));
    }

    /// Shows a last picture and ends the thread. The answer comes when the device has taken it, or
    /// at once when there is none; wait for it only so long: a stuck bus never answers.
    pub fn stop(self, last: Last) -> oneshot::Receiver<Result<(), ApplyError>> {
        let (done, acknowledged) = oneshot::channel();
        self.send(WorkerMessage::Stop(last, done));
        acknowledged
    }

    /// Acts as if the main loop had been silent for [`SILENCE`](super::SILENCE).
    #[cfg(test)]
    pub fn fall_silent(&self) {
        self.dead_man.backdate();
    }

    fn send(&self, order: WorkerMessage<Picture, Settings, Last>) {
        // The thread ends only after `stop`, which takes the handle.
        let _ = self.orders.send(order);
    }
}
