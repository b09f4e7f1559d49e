//! Has the kernel look anew for the boards of nodes that do not answer: another board may have the
//! address now, which says nothing by itself, and the kernel would go on sending to the one that it
//! remembers.

use std::net::IpAddr;

use bramblegate_netlink::{Protocol, Socket};
use tracing::trace;

use crate::packet::index_of;
use crate::watch::node::resolve_anew;

/// Holds the socket to the kernel, opened when first needed.
#[derive(Default)]
pub struct Resolution(Option<Socket>);

impl Resolution {
    /// Makes the kernel forget the boards at these addresses behind `port`. What it refuses is left
    /// as it is: then the kernel finds out by itself, in half a minute.
    pub fn begin_anew(&mut self, port: &str, addresses: &[IpAddr]) {
        if addresses.is_empty() {
            return;
        }
        let connection = match &mut self.0 {
            Some(connection) => connection,
            none => match Socket::open(Protocol::Route, &[]) {
                Ok(opened) => none.insert(opened),
                Err(_) => return,
            },
        };
        let Ok(index) = index_of(&*connection, port) else { return };
        for address in addresses {
            if let Err(error) = resolve_anew(connection, index, *address) {
                trace!(%address, %error, "the kernel keeps what it knows of a node's board");
            }
        }
    }
}
