//! Sends a transaction and reads its result.

use std::os::fd::AsFd;

use bramblegate_netlink::{Socket, messages};
use rustix::io::Errno;

use super::encode::{Encoded, Label};
use crate::decide::firewall::Ruleset;
use crate::packet::index_of;

/// The first refused message of a transaction, of which nothing was applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refusal {
    pub label: Label,
    pub errno: Errno,
}

/// Returns whether a device of the flow table does not exist. (The kernel reports that by `ENOENT`,
/// as it does a lack of flow tables.)
pub(super) fn devices_missing(ruleset: &Ruleset, socket: impl AsFd + Copy) -> bool {
    let mut devices = ruleset.flow_table.iter().flat_map(|table| &table.devices);
    devices.any(|name| index_of(socket, name).is_err())
}

/// Sends a transaction in one system call, and reads the replies, which are queued when that call
/// returns. The kernel applies all of it or nothing.
///
/// # Errors
/// The first refused message. `TIMEDOUT` at [`Label::Batch`] if there was no reply.
pub fn transact(socket: &mut Socket, encoded: &Encoded) -> Result<(), Refusal> {
    let of_batch = |errno| Refusal { label: Label::Batch, errno };
    socket.drain();
    socket.send(&encoded.bytes).map_err(|error| of_batch(error.into()))?;
    let mut refusal: Option<Refusal> = None;
    let mut acknowledged = false;
    loop {
        let datagram = match socket.receive() {
            Ok(Some(datagram)) => datagram,
            Ok(None) => break,
            Err(error) => return Err(refusal.unwrap_or(of_batch(error.into()))),
        };
        for message in messages(datagram) {
            let index = (message.sequence as usize).checked_sub(1);
            let label =
                index.and_then(|index| encoded.labels.get(index)).copied().unwrap_or(Label::Batch);
            match message.outcome() {
                Some(Err(error)) if refusal.is_none() => {
                    refusal = Some(Refusal { label, errno: error.into() })
                }
                Some(Ok(())) => acknowledged = true,
                _ => {}
            }
        }
    }
    match refusal {
        Some(refusal) => Err(refusal),
        None if acknowledged => Ok(()),
        None => Err(of_batch(Errno::TIMEDOUT)),
    }
}
