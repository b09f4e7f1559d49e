//! Detects what the venue's network offers on each uplink: router advertisements, which a DHCP
//! client may have disabled in the kernel (`advertisement`), and the NAT64 prefix of its resolvers
//! (`dns64`).

mod advertisement;
mod dns64;
mod filter;

use std::convert::Infallible;
use std::io;

use tokio::sync::{mpsc, watch};

use crate::event::{Event, UplinkTarget, VenuePlan};
use crate::supervise::Task;
use crate::sync::Closed;
use crate::watch::sync_tasks;

/// Runs both detections on the planned uplinks.
///
/// # Errors
/// A channel is closed (`Closed`).
pub async fn run(
    mut plan: watch::Receiver<Vec<VenuePlan>>,
    events: mpsc::Sender<Event>,
) -> io::Result<Infallible> {
    let mut listeners: Vec<(advertisement::Port, Task)> = Vec::new();
    let mut queries: Vec<(UplinkTarget, Task)> = Vec::new();
    loop {
        let uplinks = plan.borrow_and_update().clone();
        let ports = uplinks.iter().map(advertisement::Port::of).collect();
        sync_tasks(&mut listeners, ports, |port| {
            Task::spawn(advertisement::listen(port.clone(), events.clone()))
        });
        let targets = uplinks.into_iter().filter_map(|uplink| uplink.resolvers).collect();
        sync_tasks(&mut queries, targets, |target| {
            Task::spawn(dns64::poll(target.clone(), events.clone()))
        });
        tokio::select! {
            changed = plan.changed() => changed.map_err(|_| Closed)?,
            () = events.closed() => return Err(Closed.into()),
        }
    }
}
