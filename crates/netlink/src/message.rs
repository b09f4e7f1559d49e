//! Parses messages in a datagram, and attributes in a message or a nest (`linux/netlink.h`), from
//! untrusted bytes. Headers are in host byte order; values are in the order of their protocol.

use netlink_packet_core::NlaBuffer;
use rustix::io::Errno;

use crate::NetlinkError;

/// `sizeof(struct nlmsghdr)`
pub(crate) const MESSAGE_HEADER: usize = 16;
/// `sizeof(struct nlattr)`
const ATTRIBUTE_HEADER: usize = 4;
/// `sizeof(struct nfgenmsg)` of `linux/netfilter/nfnetlink.h`
const NFGENMSG: usize = 4;
/// `~(NLA_F_NESTED | NLA_F_NET_BYTEORDER)`
const ATTRIBUTE_TYPE: u16 = 0x3fff;
/// `NLMSG_ERROR`, `NLMSG_DONE`
const ERROR: u16 = 2;
const DONE: u16 = 3;
/// `NLM_F_DUMP_INTR`, `NLM_F_CAPPED`, `NLM_F_ACK_TLVS`
const DUMP_INTERRUPTED: u16 = 0x10;
const CAPPED: u16 = 0x100;
const ACK_ATTRIBUTES: u16 = 0x200;
/// `NLMSGERR_ATTR_MSG`
const ERROR_TEXT: u16 = 1;

/// A message of a datagram.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Message<'a> {
    /// `nlmsg_type`; in nfnetlink subsystem × 256 + command.
    pub kind: u16,
    /// `nlmsg_flags`
    pub flags: u16,
    /// `nlmsg_seq`
    pub sequence: u32,
    /// `nlmsg_pid`: the port of the requester, or of the originator of a change.
    pub port: u32,
    /// The bytes after `struct nlmsghdr`.
    pub payload: &'a [u8],
}

impl<'a> Message<'a> {
    /// Returns the result of a request (`NLMSG_ERROR`, `NLMSG_DONE`); `None` for other messages.
    pub fn outcome(&self) -> Option<Result<(), NetlinkError>> {
        if !matches!(self.kind, ERROR | DONE) {
            return None;
        }
        let code = self.payload.first_chunk().map_or(0, |bytes| i32::from_ne_bytes(*bytes));
        if code >= 0 {
            return Some(Ok(()));
        }
        let errno = Errno::from_raw_os_error(code.saturating_neg());
        Some(Err(NetlinkError::Refused { errno, reason: self.reason() }))
    }

    /// Returns the kernel's reason: after the error number in `NLMSG_DONE`; in `struct nlmsgerr`
    /// also after the request, or after its header only if it is capped.
    fn reason(&self) -> Option<String> {
        if self.flags & ACK_ATTRIBUTES == 0 {
            return None;
        }
        let request = || usize::try_from(u32_at(self.payload, 4)?).ok();
        let skip = match self.kind {
            DONE => 4,
            _ if self.flags & CAPPED != 0 => 4 + MESSAGE_HEADER,
            _ => 4 + aligned(request().unwrap_or(MESSAGE_HEADER)),
        };
        self.attributes_after(skip).text(ERROR_TEXT)
    }

    /// Returns whether something changed during this dump (`NLM_F_DUMP_INTR`).
    pub const fn is_interrupted(&self) -> bool {
        self.flags & DUMP_INTERRUPTED != 0
    }

    /// Returns the address family, the first byte of each fixed header in rtnetlink and nfnetlink.
    pub fn family(&self) -> Option<u8> {
        self.payload.first().copied()
    }

    /// Returns the attributes of an nfnetlink message, after `struct nfgenmsg`.
    pub fn attributes(&self) -> Attributes<'a> {
        self.attributes_after(NFGENMSG)
    }

    /// Returns the attributes after a fixed header of `size` bytes.
    pub fn attributes_after(&self, size: usize) -> Attributes<'a> {
        attributes(self.payload.get(size..).unwrap_or_default())
    }
}

/// An iterator over messages; ends at the first incomplete one.
#[derive(Debug, Clone)]
pub struct Messages<'a>(&'a [u8]);

/// Returns the messages in these bytes: one datagram, or several in sequence.
pub const fn messages(bytes: &[u8]) -> Messages<'_> {
    Messages(bytes)
}

impl<'a> Iterator for Messages<'a> {
    type Item = Message<'a>;

    fn next(&mut self) -> Option<Message<'a>> {
        let length = usize::try_from(u32_at(self.0, 0)?).ok()?;
        let payload = self.0.get(MESSAGE_HEADER..length)?;
        let message = Message {
            kind: u16_at(self.0, 4)?,
            flags: u16_at(self.0, 6)?,
            sequence: u32_at(self.0, 8)?,
            port: u32_at(self.0, 12)?,
            payload,
        };
        self.0 = self.0.get(aligned(length)..).unwrap_or_default();
        Some(message)
    }
}

/// An attribute (`struct nlattr`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attribute<'a> {
    /// `nla_type` without the flags for nesting and byte order.
    pub kind: u16,
    /// The value, without padding.
    pub value: &'a [u8],
    whole: &'a [u8],
}

impl<'a> Attribute<'a> {
    /// Returns the attributes in this one.
    pub const fn nest(&self) -> Attributes<'a> {
        attributes(self.value)
    }

    /// Returns the attribute in the form that `netlink-packet-core` parses.
    pub(crate) fn buffer(&self) -> NlaBuffer<&'a [u8]> {
        NlaBuffer::new(self.whole)
    }
}

/// An iterator over attributes; ends at the first incomplete one.
#[derive(Debug, Clone)]
pub struct Attributes<'a> {
    rest: &'a [u8],
}

/// Returns the attributes in these bytes.
pub const fn attributes(bytes: &[u8]) -> Attributes<'_> {
    Attributes { rest: bytes }
}

impl<'a> Iterator for Attributes<'a> {
    type Item = Attribute<'a>;

    fn next(&mut self) -> Option<Attribute<'a>> {
        let length = usize::from(u16_at(self.rest, 0)?);
        let kind = u16_at(self.rest, 2)? & ATTRIBUTE_TYPE;
        let whole = self.rest.get(..length)?;
        let value = whole.get(ATTRIBUTE_HEADER..)?;
        self.rest = self.rest.get(aligned(length)..).unwrap_or_default();
        Some(Attribute { kind, value, whole })
    }
}

impl<'a> Attributes<'a> {
    /// Returns the first attribute of this type.
    pub fn find_kind(&self, kind: u16) -> Option<Attribute<'a>> {
        self.clone().find(|attribute| attribute.kind == kind)
    }

    /// Returns the value of the first attribute of this type.
    pub fn value(&self, kind: u16) -> Option<&'a [u8]> {
        self.find_kind(kind).map(|attribute| attribute.value)
    }

    /// Returns the attributes nested in the first one of this type; empty if it is missing.
    pub fn nest(&self, kind: u16) -> Attributes<'a> {
        attributes(self.value(kind).unwrap_or_default())
    }

    /// Returns text up to its first zero byte.
    pub fn text(&self, kind: u16) -> Option<String> {
        self.value(kind).map(text_of)
    }

    /// Returns a 32-bit number in host order, as in rtnetlink.
    pub fn ne32(&self, kind: u16) -> Option<u32> {
        self.value(kind).and_then(u32_of)
    }

    /// Returns a 16-bit number in network order.
    pub fn be16(&self, kind: u16) -> Option<u16> {
        self.value(kind)?.first_chunk().map(|bytes| u16::from_be_bytes(*bytes))
    }

    /// Returns a 32-bit number in network order.
    pub fn be32(&self, kind: u16) -> Option<u32> {
        self.value(kind)?.first_chunk().map(|bytes| u32::from_be_bytes(*bytes))
    }

    /// Returns a 64-bit number in network order.
    pub fn be64(&self, kind: u16) -> Option<u64> {
        self.value(kind)?.first_chunk().map(|bytes| u64::from_be_bytes(*bytes))
    }
}

/// Appends an attribute, padded to four bytes.
///
/// # Errors
/// The value is longer than 65,531 bytes (`EMSGSIZE`): its length would not fit `nla_len`, and the
/// kernel would read the rest as attributes. Nothing is appended.
pub fn push(bytes: &mut Vec<u8>, kind: u16, value: &[u8]) -> Result<(), NetlinkError> {
    let length = value.len().saturating_add(ATTRIBUTE_HEADER);
    let length = u16::try_from(length).map_err(|_| NetlinkError::too_long())?;
    bytes.extend(length.to_ne_bytes());
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(value);
    bytes.resize(aligned(bytes.len()), 0);
    Ok(())
}

/// Returns the first four bytes of a value as a number in host order.
pub fn u32_of(value: &[u8]) -> Option<u32> {
    u32_at(value, 0)
}

/// Returns a value as text up to its first zero byte, with invalid UTF-8 replaced.
pub(crate) fn text_of(value: &[u8]) -> String {
    let text = value.split(|byte| *byte == 0).next().unwrap_or_default();
    String::from_utf8_lossy(text).into_owned()
}

pub(crate) const fn aligned(length: usize) -> usize {
    length.saturating_add(3) & !3
}

pub(crate) fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(*bytes.get(at..)?.first_chunk()?))
}

pub(crate) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(*bytes.get(at..)?.first_chunk()?))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::Request;
    use crate::netfilter::NFTABLES;

    #[test]
    fn a_request_round_trips() {
        let bytes = Request::netfilter(NFTABLES, 7, 2).text(1, "filter").be32(4, 77).bytes(9);
        let read: Vec<_> = messages(&bytes).collect();
        let [message] = read.as_slice() else { panic!("{read:?}") };
        let head = (message.kind, message.sequence, message.family());
        assert_eq!(head, (NFTABLES << 8 | 7, 9, Some(2)));
        assert_eq!(message.attributes().text(1).as_deref(), Some("filter"));
        assert_eq!(message.attributes().be32(4), Some(77));
        assert_eq!(message.attributes().be64(4), None);
        assert!(message.outcome().is_none());
    }

    #[test]
    fn concatenated_datagrams_are_iterated_as_one() {
        let request = Request::netfilter(NFTABLES, 7, 2).text(1, "filter");
        let bytes = [request.bytes(1), request.bytes(2)].concat();
        let sequences: Vec<_> = messages(&bytes).map(|message| message.sequence).collect();
        assert_eq!(sequences, [1, 2]);
    }

    #[test]
    fn attributes_are_found_despite_padding_and_flags() {
        let mut bytes = Vec::new();
        push(&mut bytes, 3, b"eth0\0").unwrap();
        push(&mut bytes, 0x8000 | 4, &1500_u32.to_ne_bytes()).unwrap();
        assert_eq!(attributes(&bytes).text(3).as_deref(), Some("eth0"));
        assert_eq!(attributes(&bytes).ne32(4), Some(1500));
        assert_eq!(attributes(&bytes).value(5), None);
    }

    /// The length of an attribute has 16 bits.
    #[test]
    fn a_value_that_does_not_fit_is_refused_and_leaves_the_message_whole() {
        let mut bytes = Vec::new();
        push(&mut bytes, 1, &[1; 65_531]).unwrap();
        let error = push(&mut bytes, 2, &[2; 65_532]).unwrap_err();
        assert_eq!(error.errno(), Some(Errno::MSGSIZE));
        push(&mut bytes, 3, &[3]).unwrap();
        let read: Vec<_> = attributes(&bytes).map(|read| (read.kind, read.value.len())).collect();
        assert_eq!(read, [(1, 65_531), (3, 1)]);
    }

    fn answer(kind: u16, flags: u16, payload: &[u8]) -> Option<Result<(), NetlinkError>> {
        Message { kind, flags, sequence: 1, port: 0, payload }.outcome()
    }

    #[test]
    fn error_messages_are_outcomes_and_zero_is_success() {
        assert!(matches!(answer(ERROR, CAPPED, &[0; 20]), Some(Ok(()))));
        assert!(matches!(answer(DONE, 0, &[0; 4]), Some(Ok(()))));
        assert!(matches!(answer(DONE, 0, &[]), Some(Ok(()))));
        let refused = answer(ERROR, 0, &(-1_i32).to_ne_bytes()).unwrap().unwrap_err();
        assert_eq!(refused.errno(), Some(Errno::PERM));
    }

    #[test]
    fn the_kernels_reason_is_found_with_and_without_the_request() {
        let mut reason = Vec::new();
        push(&mut reason, ERROR_TEXT, b"bad\0").unwrap();
        let code = (-22_i32).to_ne_bytes();
        let header = [24_u32.to_ne_bytes(), [0; 4], [0; 4], [0; 4]].concat();
        let whole = [&code[..], &header, &[0; 8], &reason].concat();
        let capped = [&code[..], &header, &reason].concat();
        let done = [&code[..], &reason].concat();
        for (kind, flags, payload) in [(ERROR, 0, whole), (ERROR, CAPPED, capped), (DONE, 0, done)]
        {
            let error = answer(kind, flags | ACK_ATTRIBUTES, &payload).unwrap().unwrap_err();
            assert!(error.to_string().ends_with(" (bad)"), "{error}");
        }
    }

    #[test]
    fn a_length_of_zero_or_beyond_the_end_ends_the_iteration() {
        assert_eq!(attributes(&[0; 64]).count(), 0);
        assert_eq!(messages(&[0; 64]).count(), 0);
        let mut bytes = Request::netfilter(NFTABLES, 7, 2).text(1, "filter").bytes(1);
        *bytes.first_mut().unwrap() += 4;
        assert_eq!(messages(&bytes).count(), 0);
    }

    proptest! {
        #[test]
        fn iteration_over_any_bytes_ends(bytes in proptest::collection::vec(any::<u8>(), 0..512)) {
            prop_assert!(messages(&bytes).count() <= bytes.len() / MESSAGE_HEADER);
            prop_assert!(attributes(&bytes).count() <= bytes.len() / ATTRIBUTE_HEADER);
            for message in messages(&bytes) {
                let _ = message.outcome();
                for attribute in message.attributes() {
                    let nest = attribute.nest();
                    let _ = (nest.text(1), nest.be32(1), nest.be64(1), nest.be16(1), nest.ne32(1));
                    let _ = nest.count();
                }
            }
        }
    }
}
