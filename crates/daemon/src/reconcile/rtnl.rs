//! What the reconcilers of links and routes share: typed requests and listings.

use std::io;

use bramblegate_netlink::rtnetlink::{Listing, kind};
use bramblegate_netlink::{Emitable, Message, NetlinkError, Protocol, Socket};

use crate::event::{Event, LinkIndex};
use crate::packet::index_of;
use crate::watch::link::parse;

pub use bramblegate_netlink::rtnetlink::{ADD, REPLACE};

/// What the kernel is asked to do: `RTM_*` of `linux/rtnetlink.h`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u16)]
pub enum Request {
    NewAddress = kind::NEW_ADDRESS,
    DelAddress = kind::DEL_ADDRESS,
    NewRoute = kind::NEW_ROUTE,
    DelRoute = kind::DEL_ROUTE,
    DelNeighbour = kind::DEL_NEIGHBOUR,
    NewRule = kind::NEW_RULE,
    DelRule = kind::DEL_RULE,
}

/// Holds a socket for requests, opened when first needed and again after it failed.
#[derive(Debug, Default)]
pub struct Rtnl(Option<Socket>);

impl Rtnl {
    /// Sends one request with these flags (`NLM_F_*`) and waits for the kernel's acknowledgement.
    ///
    /// # Errors
    /// The kernel refused, or there is no socket.
    pub fn send(
        &mut self,
        request: Request,
        message: &dyn Emitable,
        flags: u16,
    ) -> Result<(), NetlinkError> {
        self.carry_out(&bramblegate_netlink::Request::new(request as u16, message).flags(flags))
    }

    /// Sends a request as it is.
    ///
    /// # Errors
    /// As [`Rtnl::send`].
    pub fn carry_out(
        &mut self,
        request: &bramblegate_netlink::Request,
    ) -> Result<(), NetlinkError> {
        self.with(|socket| socket.request(request, |_| {}))
    }

    /// Lists; `read` makes items of each message.
    ///
    /// # Errors
    /// As [`Rtnl::send`].
    pub fn dump<T, Items: IntoIterator<Item = T>>(
        &mut self,
        listing: Listing,
        read: impl FnMut(&Message<'_>) -> Items,
    ) -> Result<Vec<T>, NetlinkError> {
        self.with(|socket| Ok(socket.dump(&listing.request(), read)?.items))
    }

    /// Returns the number of a port.
    ///
    /// # Errors
    /// There is no such port, or no socket.
    pub fn index_of(&mut self, name: &str) -> io::Result<LinkIndex> {
        self.with(|socket| Ok(index_of(&*socket, name)))?
    }

    /// Returns a listing as the events that a source would make of it.
    ///
    /// # Errors
    /// As [`Rtnl::send`].
    pub fn events(&mut self, listing: Listing) -> Result<Vec<Event>, NetlinkError> {
        self.dump(listing, |message| {
            let mut events = Vec::new();
            parse(message, &mut events);
            events
        })
    }

    fn with<T>(
        &mut self,
        work: impl FnOnce(&mut Socket) -> Result<T, NetlinkError>,
    ) -> Result<T, NetlinkError> {
        let socket = match &mut self.0 {
            Some(socket) => socket,
            none => none.insert(Socket::open(Protocol::Route, &[])?),
        };
        let result = work(socket);
        if result.as_ref().is_err_and(NetlinkError::is_of_socket) {
            self.0 = None;
        }
        result
    }
}
