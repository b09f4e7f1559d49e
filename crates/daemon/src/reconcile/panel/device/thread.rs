//! The thread of a device and its handle.

use std::sync::mpsc as std_mpsc;

use std_mpsc::RecvTimeoutError;
use tokio::sync::{mpsc, oneshot};

use super::worker::{Player, Worker};
use super::{DeadMan, PanelError, Reporter};
use crate::event::{ApplyError, Event, Output};
use crate::reconcile::error::Panicked;
use crate::supervise::spawn_thread;

/// Messages to the thread.
#[derive(Debug)]
enum WorkerMessage<Picture, Settings, Last> {
    Show(Picture),
    /// Show the next page now.
    Turn,
    Hotplug,
    Reconfigure(Box<Settings>),
    Stop(Last, oneshot::Sender<Result<(), ApplyError>>),
    /// The dead-man timer was renewed after it had expired.
    Wake,
}

/// Handle of the thread. No method blocks. When it is dropped the thread ends and leaves the device
/// as it is.
#[derive(Debug)]
pub struct Handle<Picture, Settings, Last> {
    messages: std_mpsc::Sender<WorkerMessage<Picture, Settings, Last>>,
    dead_man: DeadMan,
}

/// Spawns the thread of a worker made by `make`. `name` is used for the thread and in reports.
pub fn start<P: Player + 'static>(
    name: &'static str,
    output: Output,
    events: mpsc::Sender<Event>,
    make: impl FnOnce(DeadMan, Reporter) -> Worker<P> + Send + 'static,
) -> Handle<P::Picture, P::Settings, P::Last> {
    let (messages, receiver) = std_mpsc::channel();
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
    Handle { messages, dead_man }
}

/// Runs the worker until it is stopped or the handle is dropped.
fn run<P: Player>(
    worker: &mut Worker<P>,
    messages: &std_mpsc::Receiver<WorkerMessage<P::Picture, P::Settings, P::Last>>,
) {
    loop {
        let received = match worker.work() {
            Some(wait) => messages.recv_timeout(wait),
            None => messages.recv().map_err(|_| RecvTimeoutError::Disconnected),
        };
        let mut next = match received {
            Ok(message) => Some(message),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => return,
        };
        // The latest value wins: those queued during a transfer are not shown one by one.
        while let Some(message) = next {
            match message {
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
            next = messages.try_recv().ok();
        }
    }
}

impl<Picture, Settings, Last> Handle<Picture, Settings, Last> {
    pub fn show(&self, picture: Picture) {
        self.send(WorkerMessage::Show(picture));
    }

    /// Turns to the next page at a user's request.
    pub fn turn(&self) {
        self.send(WorkerMessage::Turn);
    }

    /// Renews the dead-man timer. When it expires, after [`SILENCE`](super::SILENCE), the device
    /// shows that the main loop hangs.
    pub fn renew_dead_man(&self) {
        if self.dead_man.renew() {
            self.send(WorkerMessage::Wake);
        }
    }

    /// Tries to open the device now, since one was plugged in.
    pub fn hotplug(&self) {
        self.send(WorkerMessage::Hotplug);
    }

    pub fn reconfigure(&self, settings: Settings) {
        self.send(WorkerMessage::Reconfigure(Box::new(settings)));
    }

    /// Shows a last picture and ends the thread. The reply comes when the device has shown it, or
    /// immediately without a device. Wait for it with a timeout: on a stuck bus it never comes.
    pub fn stop(self, last: Last) -> oneshot::Receiver<Result<(), ApplyError>> {
        let (done, acknowledged) = oneshot::channel();
        self.send(WorkerMessage::Stop(last, done));
        acknowledged
    }

    /// Lets the dead-man timer expire.
    #[cfg(test)]
    pub fn fall_silent(&self) {
        self.dead_man.backdate();
    }

    fn send(&self, message: WorkerMessage<Picture, Settings, Last>) {
        // The thread ends only after `stop`, which consumes the handle.
        let _ = self.messages.send(message);
    }
}
