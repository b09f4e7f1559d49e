//! Builds messages. (libnftnl builds those for rule sets.)

use netlink_packet_core::Emitable;

use crate::NetlinkError;
use crate::message::{MESSAGE_HEADER, push};

/// `NLM_F_REQUEST`, `NLM_F_ACK`, `NLM_F_DUMP` of `linux/netlink.h`
const REQUEST: u16 = 0x1;
const ACK: u16 = 0x4;
const DUMP: u16 = 0x300;
/// `NLA_F_NESTED`: flag in the type of an attribute that contains attributes.
pub const NESTED: u16 = 0x8000;

/// A message to the kernel; its sequence number is set on sending.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    kind: u16,
    flags: u16,
    payload: Vec<u8>,
    /// An attribute is missing because its value does not fit; the request is never sent.
    too_long: bool,
}

impl Request {
    /// Returns a request of this type with `message` as its body and an acknowledgement.
    ///
    /// Takes the message itself instead of `RouteNetlinkMessage`, which would link the
    /// serialisation of every kind of message into the program, including traffic control.
    pub fn new(kind: u16, message: &dyn Emitable) -> Self {
        let mut payload = vec![0; message.buffer_len()];
        message.emit(&mut payload);
        Self::raw(kind, payload)
    }

    /// Returns a request with these bytes as fixed header and attributes, and an acknowledgement.
    pub const fn raw(kind: u16, payload: Vec<u8>) -> Self {
        Self { kind, flags: REQUEST | ACK, payload, too_long: false }
    }

    /// Returns an nfnetlink request. `family` is `NFPROTO_…` or `AF_…`; 0 for all.
    pub fn netfilter(subsystem: u16, command: u8, family: u8) -> Self {
        Self::raw(subsystem << 8 | u16::from(command), vec![family, 0, 0, 0])
    }

    /// Requests a dump instead of a single item.
    pub const fn dump(mut self) -> Self {
        self.flags = REQUEST | DUMP;
        self
    }

    /// Adds flags of `linux/netlink.h`, `NLM_F_CREATE` for example.
    pub const fn flags(mut self, flags: u16) -> Self {
        self.flags |= flags;
        self
    }

    /// Adds an attribute. A nest has [`NESTED`] in `kind` and attributes as `value`. With a value
    /// that does not fit ([`push`]) the request is refused when it is sent.
    pub fn attribute(mut self, kind: u16, value: &[u8]) -> Self {
        self.too_long |= push(&mut self.payload, kind, value).is_err();
        self
    }

    /// Adds a zero-terminated string.
    pub fn text(self, kind: u16, value: &str) -> Self {
        let bytes: Vec<u8> = value.bytes().chain([0]).collect();
        self.attribute(kind, &bytes)
    }

    /// Adds a 32-bit number in network order.
    pub fn be32(self, kind: u16, value: u32) -> Self {
        self.attribute(kind, &value.to_be_bytes())
    }

    /// Checks that the request has all its attributes.
    ///
    /// # Errors
    /// The value of one did not fit.
    pub(crate) fn check(&self) -> Result<(), NetlinkError> {
        if self.too_long { Err(NetlinkError::too_long()) } else { Ok(()) }
    }

    /// Returns the serialised message.
    pub fn bytes(&self, sequence: u32) -> Vec<u8> {
        let size = self.payload.len().saturating_add(MESSAGE_HEADER);
        let mut bytes = Vec::with_capacity(size);
        bytes.extend(u32::try_from(size).unwrap_or(u32::MAX).to_ne_bytes());
        bytes.extend(self.kind.to_ne_bytes());
        bytes.extend(self.flags.to_ne_bytes());
        bytes.extend(sequence.to_ne_bytes());
        // nlmsg_pid: the kernel knows the sender.
        bytes.extend([0; 4]);
        bytes.extend(&self.payload);
        bytes
    }
}
