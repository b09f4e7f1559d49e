//! Writing small requests. (Rule sets are written by libnftnl.)

use crate::source::netlink::push;

const NLM_F_REQUEST: u16 = 1;
const NLM_F_ACK: u16 = 4;
const NLM_F_DUMP: u16 = 0x300;

/// One message of nfnetlink, to be given a sequence number when it is sent.
#[derive(Debug, Clone)]
pub struct Request {
    kind: u16,
    flags: u16,
    payload: Vec<u8>,
}

impl Request {
    /// `family`: `NFPROTO_…` or `AF_…`; 0 for all.
    pub fn new(subsystem: u16, command: u8, family: u8) -> Self {
        let kind = subsystem << 8 | u16::from(command);
        Self { kind, flags: NLM_F_REQUEST | NLM_F_ACK, payload: vec![family, 0, 0, 0] }
    }

    /// Asks for all there are, not for one.
    pub fn dump(mut self) -> Self {
        self.flags = NLM_F_REQUEST | NLM_F_DUMP;
        self
    }

    /// Adds an attribute; for a nest, `kind` has 0x8000 and `value` is attributes.
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

    /// The message, for the wire.
    pub fn bytes(&self, sequence: u32) -> Vec<u8> {
        let length = u32::try_from(self.payload.len().saturating_add(16)).unwrap_or(u32::MAX);
        let mut bytes = Vec::with_capacity(self.payload.len() + 16);
        bytes.extend(length.to_ne_bytes());
        bytes.extend(self.kind.to_ne_bytes());
        bytes.extend(self.flags.to_ne_bytes());
        bytes.extend(sequence.to_ne_bytes());
        bytes.extend([0; 4]);
        bytes.extend(&self.payload);
        bytes
    }
}
