//! What the network behind each uplink offers: router advertisements, which no DHCP client leaves
//! to the kernel (`advertisement`), and the NAT64 of its resolvers (`dns64`).

mod advertisement;
mod dns64;
mod filter;

use std::convert::Infallible;
use std::io;

use tokio::sync::{mpsc, watch};

use crate::event::{Event, UplinkTarget, VenuePlan};
use crate::supervise::Task;
use crate::sync::Closed;

/// Listens and asks at the uplinks of the plan.
///
/// # Errors
/// A channel is closed (`Closed`).
pub async fn run(
    mut plan: watch::Receiver<Vec<VenuePlan>>,
    events: mpsc::Sender<Event>,
) -> io::Result<Infallible> {
    let mut hearing: Vec<(advertisement::Port, Task)> = Vec::new();
    let mut asking: Vec<(UplinkTarget, Task)> = Vec::new();
    loop {
        let uplinks = plan.borrow_and_update().clone();
        let ports = uplinks.iter().map(advertisement::Port::of).collect();
        keep(&mut hearing, ports, |port| {
            Task::spawn(advertisement::hear(port.clone(), events.clone()))
        });
        let targets = uplinks.into_iter().filter_map(|uplink| uplink.resolvers).collect();
        keep(&mut asking, targets, |target| {
            Task::spawn(dns64::ask(target.clone(), events.clone()))
        });
        tokio::select! {
            changed = plan.changed() => changed.map_err(|_| Closed)?,
            () = events.closed() => return Err(Closed.into()),
        }
    }
}

/// Ends the tasks of what is no longer wanted and begins those of what is new.
fn keep<T: PartialEq>(running: &mut Vec<(T, Task)>, wanted: Vec<T>, begin: impl Fn(&T) -> Task) {
    running.retain(|(known, _)| wanted.contains(known));
    for one in wanted {
        if !running.iter().any(|(known, _)| *known == one) {
            let task = begin(&one);
            running.push((one, task));
        }
    }
}
