//! Netlink: queries and changes the kernel's network configuration, and receives its notifications.
//! Depends on no other crate of this workspace; begin with [`Socket`] and [`Message`].
//!
//! # Overview
//!
//! * [`Socket`] is the only socket type. Reading never blocks. The kernel executes a request while
//!   it is sent, so [`Socket::request`] and [`Socket::dump`] return with the reply; verbs and
//!   reconcilers use them directly.
//! * [`Listener`] is a [`Socket`] with multicast groups, in a tokio runtime. It returns all queued
//!   messages as one batch, or [`NetlinkError::Overrun`] if the kernel dropped some: the caller
//!   must then dump again.
//! * [`messages`] iterates over the messages of a datagram or a batch, [`attributes`] over the
//!   attributes of a message or a nest. Both accept any bytes and end at the first incomplete item.
//! * [`Request`] builds one message.
//! * [`NetlinkError`] holds the kernel's error number and, if given, its reason as text.
//!
//! # Types
//!
//! [`rtnetlink`] parses links, addresses, routes, rules, neighbours and neighbour tables into the
//! types of the crate `netlink-packet-route`, attribute by attribute: one that the crate cannot
//! parse (of a newer kernel, say) is skipped without losing the message, and a message that its
//! header rules out is not parsed further. What the crate lacks is written by hand; each such place
//! says why. [`netfilter`] has constants only: libnftnl builds rule sets, and the iterators above
//! parse those of other programs.
//!
//! # Message storms
//!
//! [`filter`] makes the kernel drop irrelevant messages before they are queued and wake a reader. A
//! receive buffer of 4 MiB holds several thousand messages. [`Listener::receive`] empties the queue
//! before it returns.
//!
//! ```no_run
//! use bramblegate_netlink::{Message, Protocol, Socket, rtnetlink};
//!
//! # fn main() -> Result<(), bramblegate_netlink::NetlinkError> {
//! let mut socket = Socket::open(Protocol::Route, &[])?;
//! let index = |message: &Message<'_>| rtnetlink::link(message).map(|link| link.header.index);
//! let links = socket.dump(&rtnetlink::Listing::Links.request(), index)?;
//! println!("interfaces {:?}", links.items);
//! # Ok(())
//! # }
//! ```

pub mod bpf;
mod error;
pub mod filter;
mod listener;
mod message;
pub mod netfilter;
mod request;
pub mod rtnetlink;
mod socket;

pub use error::NetlinkError;
pub use listener::Listener;
pub use message::{Attribute, Attributes, Message, Messages, attributes, messages, push, u32_of};
pub use netlink_packet_core::Emitable;
pub use netlink_packet_route as packet;
pub use request::{NESTED, Request};
pub use socket::{Dump, Protocol, Socket};
