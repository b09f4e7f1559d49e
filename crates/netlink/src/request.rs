//! Writing one message. (Rule sets are written by libnftnl.)

use netlink_packet_core::Emitable;

use crate::message::{MESSAGE_HEADER, push};

/// `NLM_F_REQUEST`, `NLM_F_ACK`, `NLM_F_DUMP` of `linux/netlink.h`
const REQUEST: u16 = 0x1;
const ACK: u16 = 0x4;
const DUMP: u16 = 0x300;
/// `NLA_F_NESTED`: bit in the number of an attribute that holds attributes.
pub const NESTED: u16 = 0x8000;

/// Holds one message to the kernel; it gets its sequence number when it is sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    kind: u16,
    flags: u16,
    payload: Vec<u8>,
}

impl Request {
    /// Returns a request of this type that holds `message`, to be acknowledged.
    ///
    /// Takes a message itself and not `RouteNetlinkMessage`, which would bring the writing of every
    /// kind of message into the program, traffic control included.
    pub fn new(kind: u16, message: &dyn Emitable) -> Self {
        let mut payload = vec![0; message.buffer_len()];
        message.emit(&mut payload);
        Self::raw(kind, payload)
    }

    /// Returns a request whose fixed header and attributes are these bytes, to be acknowledged.
    pub const fn raw(kind: u16, payload: Vec<u8>) -> Self {
        Self { kind, flags: REQUEST | ACK, payload }
    }

    /// Returns a request of nfnetlink. `family`: `NFPROTO_…` or `AF_…`; 0 for all.
    pub fn netfilter(subsystem: u16, command: u8, family: u8) -> Self {
        Self::raw(subsystem << 8 | u16::from(command), vec![family, 0, 0, 0])
    }

    /// Asks for all there are, not for one.
    pub const fn dump(mut self) -> Self {
        self.flags = REQUEST | DUMP;
        self
    }

    /// Adds flags of `linux/netlink.h`, `NLM_F_CREATE` for example.
    pub const fn flags(mut self, flags: u16) -> Self {
        self.flags |= flags;
        self
    }

    /// Adds an attribute; for a nest, `kind` has [`NESTED`] and `value` is attributes.
    pub fn attribute(mut self, kind: u16, value: &[u8]) -> Self {
        push(&mut self.payload, kind, value);
        self
    }

    /// Adds text with its closing zero.
    pub fn text(self, kind: u16, value: &str) -> Self {
        let bytes: Vec<u8> = value.bytes().chain([0]).collect();
        self.attribute(kind, &bytes)
    }

    /// Adds a number in network order.
    pub fn be32(self, kind: u16, value: u32) -> Self {
        self.attribute(kind, &value.to_be_bytes())
    }

    /// Returns the message as it is sent.
    pub fn bytes(&self, sequence: u32) -> Vec<u8> {
        let size = self.payload.len().saturating_add(MESSAGE_HEADER);
        let mut bytes = Vec::with_capacity(size);
        bytes.extend(u32::try_from(size).unwrap_or(u32::MAX).to_ne_bytes());
        bytes.extend(self.kind.to_ne_bytes());
        bytes.extend(self.flags.to_ne_bytes());
        bytes.extend(sequence.to_ne_bytes());
        // nlmsg_pid: the kernel knows who asks.
        bytes.extend([0; 4]);
        bytes.extend(&self.payload);
        bytes
    }
}
