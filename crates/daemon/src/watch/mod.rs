//! Turns external input into events. Watches depend on [`crate::event`], not on facts or decisions.

pub mod button;
pub mod control;
pub mod dhcp;
pub mod firewall;
pub mod host;
pub mod link;
pub mod node;
pub mod panel;
pub mod probe;
pub mod routing;
pub mod service_manager;
pub mod share;
pub mod uplink;
pub mod venue;
pub mod web;

use tokio::sync::mpsc;

use crate::event::Event;
use crate::supervise::Task;
use crate::sync::Closed;

/// Sends an event to the loop; waits while its queue is full.
///
/// # Errors
/// The loop has closed the queue.
async fn emit(events: &mpsc::Sender<Event>, event: Event) -> Result<(), Closed> {
    events.send(event).await.map_err(|_| Closed)
}

/// Stops the tasks that are no longer wanted and starts the missing ones.
fn sync_tasks<T: PartialEq>(
    running: &mut Vec<(T, Task)>,
    wanted: Vec<T>,
    start: impl Fn(&T) -> Task,
) {
    running.retain(|(key, _)| wanted.contains(key));
    for key in wanted {
        if !running.iter().any(|(known, _)| *known == key) {
            let task = start(&key);
            running.push((key, task));
        }
    }
}
