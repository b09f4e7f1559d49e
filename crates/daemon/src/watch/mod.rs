//! Turns the outside into events. A watch knows nothing but [`crate::event::Event`].

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
use crate::sync::Closed;

/// Hands an event to the loop; waits while its queue is full.
///
/// # Errors
/// The loop takes no more events.
async fn emit(events: &mpsc::Sender<Event>, event: Event) -> Result<(), Closed> {
    events.send(event).await.map_err(|_| Closed)
}
