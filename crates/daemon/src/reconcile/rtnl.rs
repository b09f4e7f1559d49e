//! Typed rtnetlink requests and dumps for the reconcilers of links and routes.

use std::io;

use bramblegate_netlink::rtnetlink::{Listing, kind};
use bramblegate_netlink::{Emitable, Message, NetlinkError, Protocol, Socket};

use crate::event::{Event, LinkIndex};
use crate::packet::index_of;
use crate::watch::link::parse;

pub use bramblegate_netlink::rtnetlink::{ADD, REPLACE};

/// Request types: `RTM_*` of `linux/rtnetlink.h`.
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

/// A socket for requests, opened at first use and reopened after a socket error.
#[derive(Debug, Default)]
pub struct Rtnl(Option<Socket>);

impl Rtnl {
    /// Sends one request with these flags (`NLM_F_*`) and waits for the kernel's acknowledgement.
    ///
    /// # Errors
    /// The kernel refused the request, or no socket can be opened.
    pub fn send(
        &mut self,
        request: Request,
        message: &dyn Emitable,
        flags: u16,
    ) -> Result<(), NetlinkError> {
        self.carry_out(&bramblegate_netlink::Request::new(request as u16, message).flags(flags))
    }

    /// Sends a prepared request and waits for the kernel's acknowledgement.
    ///
    /// # Errors
    /// As [`Rtnl::send`].
    pub fn carry_out(
        &mut self,
        request: &bramblegate_netlink::Request,
    ) -> Result<(), NetlinkError> {
        self.with(|socket| socket.request(request, |_| {}))
    }

    /// Dumps a table; `read` converts each message to items.
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

    /// Returns the index of a port.
    ///
    /// # Errors
    /// The port does not exist, or no socket can be opened.
    pub fn index_of(&mut self, name: &str) -> io::Result<LinkIndex> {
        self.with(|socket| Ok(index_of(&*socket, name)))?
    }

    /// Dumps a table as the events that the watch makes of it.
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
        let result = work(Socket::keep(&mut self.0, Protocol::Route)?);
        if result.as_ref().is_err_and(NetlinkError::is_of_socket) {
            self.0 = None;
        }
        result
    }
}
