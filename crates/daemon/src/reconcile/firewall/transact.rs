//! Sending a transaction and hearing what became of it.

use std::os::fd::AsFd;

use bramblegate_netlink::{Socket, messages};
use rustix::io::Errno;

use super::encode::{Encoded, Label};
use crate::decide::firewall::Ruleset;
use crate::packet::index_of;

/// The first thing the kernel would not do; nothing of the transaction was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refusal {
    pub label: Label,
    pub errno: Errno,
}

/// Returns whether one of the flow table's devices is not there. (`ENOENT` stands for that, and for
/// a kernel without flow tables.)
pub(super) fn devices_missing(ruleset: &Ruleset, socket: impl AsFd + Copy) -> bool {
    let mut devices = ruleset.flow_table.iter().flat_map(|table| &table.devices);
    devices.any(|name| index_of(socket, name).is_err())
}

/// Sends all in one system call and reads the answer, which is there when that call returns. All of
/// it was done, or nothing.
///
/// # Errors
/// The first message that was refused. `TIMEDOUT` at [`Label::Batch`] if there was no answer at
/// all.
pub fn transact(socket: &mut Socket, encoded: &Encoded) -> Result<(), Refusal> {
    let whole = |errno| Refusal { label: Label::Batch, errno };
    socket.drain();
    socket.send(&encoded.bytes).map_err(|error| whole(error.into()))?;
    let mut refusal: Option<Refusal> = None;
    let mut answered = false;
    loop {
        let datagram = match socket.receive() {
            Ok(Some(datagram)) => datagram,
            Ok(None) => break,
            Err(error) => return Err(refusal.unwrap_or(whole(error.into()))),
        };
        for message in messages(datagram) {
            let place = (message.sequence as usize).checked_sub(1);
            let label =
                place.and_then(|place| encoded.labels.get(place)).copied().unwrap_or(Label::Batch);
            match message.outcome() {
                Some(Err(error)) if refusal.is_none() => {
                    refusal = Some(Refusal { label, errno: error.into() })
                }
                Some(Ok(())) => answered = true,
                _ => {}
            }
        }
    }
    match refusal {
        Some(refusal) => Err(refusal),
        None if answered => Ok(()),
        None => Err(whole(Errno::TIMEDOUT)),
    }
}
