//! Has the kernel resolve the hardware addresses of silent nodes again: a replaced board need not
//! announce itself, and the kernel would go on sending to the old hardware address.

use std::net::IpAddr;

use bramblegate_netlink::{Protocol, Socket};
use tracing::trace;

use crate::packet::index_of;
use crate::watch::node::resolve_anew;

/// Holds the netlink socket, opened on first use.
#[derive(Default)]
pub struct Resolution(Option<Socket>);

impl Resolution {
    /// Deletes the kernel's neighbour entries of these addresses on `port`. Errors are ignored: the
    /// kernel revalidates an entry by itself within half a minute.
    pub fn begin_anew(&mut self, port: &str, addresses: &[IpAddr]) {
        if addresses.is_empty() {
            return;
        }
        let Ok(socket) = Socket::keep(&mut self.0, Protocol::Route) else { return };
        let Ok(index) = index_of(&*socket, port) else { return };
        for address in addresses {
            if let Err(error) = resolve_anew(socket, index, *address) {
                trace!(%address, %error, "the kernel keeps what it knows of a node's board");
            }
        }
    }
}
