//! Netlink: how a program on Linux asks the kernel about its network, orders changes, and hears of
//! them. Depends on no other crate of this workspace; begin with [`Socket`] and [`Message`].
//!
//! # The pieces
//!
//! * [`Socket`] is the one type of socket. It never blocks on reading. The kernel carries a request
//!   out while it is sent, so [`Socket::request`] and [`Socket::dump`] return with the answer; they
//!   are used as they are in the verbs and in the reconcilers.
//! * [`Listener`] is a [`Socket`] that joined groups, in a tokio runtime. It hands over all that
//!   waits as one batch, and returns [`NetlinkError::Overrun`] where the kernel had to drop some:
//!   a receiver of that lists anew.
//! * [`messages`] walks the messages of a datagram or a batch, [`attributes`] the attributes of a
//!   message or a nest. Both take any bytes and end at the first thing that is not whole.
//! * [`Request`] writes one message.
//! * [`NetlinkError`] holds the kernel's error number and, where it gave one, its reason in words.
//!
//! # Typed where another crate has the types
//!
//! [`rtnetlink`] reads links, addresses, routes, rules, neighbours and neighbour tables as the
//! types of the crate `netlink-packet-route`, one attribute at a time: an attribute that the crate
//! cannot read (of a newer kernel, say) is passed over and does not lose the message, and a message
//! that its fixed header rules out is never taken apart. By hand is what that crate does not carry;
//! each place says what that is. Of [`netfilter`] there are only numbers: rule sets are written by
//! libnftnl, and what other programs wrote is read by the walker.
//!
//! # What a storm costs
//!
//! [`filter`] makes the kernel drop what is not read before it is queued and before a reader is
//! woken. A receive buffer of 4 MiB holds some thousand messages. [`Listener::receive`] empties the
//! queue before it returns.
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
