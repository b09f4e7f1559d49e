//! What the appliers of links and routes share: typed requests and listings.

use netlink_packet_core::Emitable;

use crate::event::Event;
use crate::source::netlink::{Connection, Listing, Message, RequestError, parse};

/// `NLM_F_CREATE` with `NLM_F_EXCL`: add, and say so if it is there already.
pub const ADD: u16 = 0x600;
/// `NLM_F_CREATE` with `NLM_F_REPLACE`.
pub const REPLACE: u16 = 0x500;

/// What the kernel is asked to do: `RTM_*` of `linux/rtnetlink.h`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u16)]
pub enum Request {
    SetLink = 19,
    NewAddress = 20,
    DelAddress = 21,
    NewRoute = 24,
    DelRoute = 25,
    DelNeighbour = 29,
    NewRule = 32,
    DelRule = 33,
}

/// A socket for requests, opened when first needed and again after it failed.
#[derive(Debug, Default)]
pub struct Rtnl(Option<Connection>);

impl Rtnl {
    /// Sends one request and waits for the kernel's acknowledgement. Takes the message itself: `RouteNetlinkMessage` brings the
    /// writing of every kind of message along, traffic control included.
    ///
    /// # Errors
    /// The kernel refused, or there is no socket.
    pub fn send(&mut self, request: Request, message: &dyn Emitable, flags: u16) -> Result<(), RequestError> {
        let mut body = vec![0; message.buffer_len()];
        message.emit(&mut body);
        self.send_bytes(request, &body, flags)
    }

    /// Like [`Rtnl::send`], with the message as it goes over the wire.
    ///
    /// # Errors
    /// The kernel refused, or there is no socket.
    pub fn send_bytes(&mut self, request: Request, body: &[u8], flags: u16) -> Result<(), RequestError> {
        self.with(|connection| connection.request(request as u16, flags, body, |_| {}))
    }

    /// Hands each message of a listing to `each`.
    ///
    /// # Errors
    /// The kernel refused, or there is no socket.
    pub fn dump(&mut self, listing: Listing, each: impl FnMut(&Message<'_>)) -> Result<(), RequestError> {
        self.with(|connection| connection.dump(listing, each).map(drop))
    }

    /// A listing as the events a source would make of it.
    ///
    /// # Errors
    /// The kernel refused, or there is no socket.
    pub fn events(&mut self, listing: Listing) -> Result<Vec<Event>, RequestError> {
        let mut events = Vec::new();
        self.dump(listing, |message| {
            parse(message, &mut events);
        })?;
        Ok(events)
    }

    fn with<T>(&mut self, work: impl FnOnce(&mut Connection) -> Result<T, RequestError>) -> Result<T, RequestError> {
        let connection = match &mut self.0 {
            Some(connection) => connection,
            none => none.insert(Connection::open().map_err(RequestError::Socket)?),
        };
        let result = work(connection);
        if matches!(result, Err(RequestError::Socket(_))) {
            self.0 = None;
        }
        result
    }
}
