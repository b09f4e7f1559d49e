//! Reading netlink messages, whatever the bytes are.

use rustix::io::Errno;

const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const NLM_F_DUMP_INTR: u16 = 0x10;
/// `struct nlmsghdr`
const HEADER: usize = 16;
/// `struct nfgenmsg`
const FAMILY_HEADER: usize = 4;

/// One message of a datagram.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Message<'a> {
    /// subsystem × 256 + command
    pub kind: u16,
    pub flags: u16,
    pub sequence: u32,
    /// port of who asked for it, or who caused it
    pub port: u32,
    /// all after `struct nlmsghdr`
    pub payload: &'a [u8],
}

impl<'a> Message<'a> {
    /// `NLMSG_ERROR` and `NLMSG_DONE`: how it ended. `None`: this is not the end.
    pub fn outcome(&self) -> Option<Result<(), Errno>> {
        match self.kind {
            NLMSG_ERROR | NLMSG_DONE => {
                let code = self.payload.first_chunk().map_or(0, |bytes| i32::from_ne_bytes(*bytes));
                Some(if code < 0 { Err(Errno::from_raw_os_error(code.saturating_neg())) } else { Ok(()) })
            }
            _ => None,
        }
    }

    /// `NLM_F_DUMP_INTR`: something changed while this was listed.
    pub fn disturbed(&self) -> bool {
        self.flags & NLM_F_DUMP_INTR != 0
    }

    /// `nfgen_family`
    pub fn family(&self) -> Option<u8> {
        self.payload.first().copied()
    }

    /// The attributes after `struct nfgenmsg`.
    pub fn attributes(&self) -> Attributes<'a> {
        attributes(self.payload.get(FAMILY_HEADER..).unwrap_or_default())
    }
}

/// The messages of a datagram; ends at the first one that is not whole.
pub fn messages(datagram: &[u8]) -> impl Iterator<Item = Message<'_>> {
    let mut rest = datagram;
    std::iter::from_fn(move || {
        let length = u32::from_ne_bytes(*rest.first_chunk()?) as usize;
        let message = rest.get(..length).filter(|_| length >= HEADER)?;
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some(Message {
            kind: u16_at(message, 4)?,
            flags: u16_at(message, 6)?,
            sequence: u32_at(message, 8)?,
            port: u32_at(message, 12)?,
            payload: message.get(HEADER..)?,
        })
    })
}

/// One attribute (`struct nlattr`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attribute<'a> {
    /// without the flags for nesting and byte order
    pub kind: u16,
    pub value: &'a [u8],
}

/// A sequence of attributes; ends at the first one that is not whole.
#[derive(Debug, Clone)]
pub struct Attributes<'a> {
    rest: &'a [u8],
}

/// The attributes in these bytes.
pub fn attributes(bytes: &[u8]) -> Attributes<'_> {
    Attributes { rest: bytes }
}

impl<'a> Iterator for Attributes<'a> {
    type Item = Attribute<'a>;

    fn next(&mut self) -> Option<Attribute<'a>> {
        let length = usize::from(u16_at(self.rest, 0)?);
        let kind = u16_at(self.rest, 2)? & 0x3fff;
        let value = self.rest.get(4..length)?;
        self.rest = self.rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some(Attribute { kind, value })
    }
}

/// Access by attribute number, also through nests.
pub trait Nested<'a>: Sized {
    /// The value of the first attribute with this number.
    fn value(&self, kind: u16) -> Option<&'a [u8]>;

    /// A nest of attributes.
    fn nest(&self, kind: u16) -> Attributes<'a> {
        attributes(self.value(kind).unwrap_or_default())
    }

    /// Text that ends at the first zero byte.
    fn text(&self, kind: u16) -> Option<String> {
        let bytes = self.value(kind)?;
        let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
        bytes.get(..end).map(|bytes| String::from_utf8_lossy(bytes).into_owned())
    }

    /// A number of two bytes in network order.
    fn be16(&self, kind: u16) -> Option<u16> {
        self.value(kind)?.first_chunk().map(|bytes| u16::from_be_bytes(*bytes))
    }

    /// A number of four bytes in network order.
    fn be32(&self, kind: u16) -> Option<u32> {
        self.value(kind)?.first_chunk().map(|bytes| u32::from_be_bytes(*bytes))
    }

    /// A number of eight bytes in network order.
    fn be64(&self, kind: u16) -> Option<u64> {
        self.value(kind)?.first_chunk().map(|bytes| u64::from_be_bytes(*bytes))
    }
}

impl<'a> Nested<'a> for Attributes<'a> {
    fn value(&self, kind: u16) -> Option<&'a [u8]> {
        self.clone().find(|attribute| attribute.kind == kind).map(|attribute| attribute.value)
    }
}

fn u16_at(bytes: &[u8], offset: usize) -> Option<u16> {
    bytes.get(offset..)?.first_chunk().map(|bytes| u16::from_ne_bytes(*bytes))
}

fn u32_at(bytes: &[u8], offset: usize) -> Option<u32> {
    bytes.get(offset..)?.first_chunk().map(|bytes| u32::from_ne_bytes(*bytes))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::{NFTABLES, Request};
    use super::*;

    #[test]
    fn a_request_reads_as_it_was_written() {
        let bytes = Request::new(NFTABLES, 7, 2).text(1, "filter").be32(4, 77).bytes(9);
        let read: Vec<_> = messages(&bytes).collect();
        let [message] = read.as_slice() else { panic!("{read:?}") };
        assert_eq!((message.kind, message.sequence, message.family()), (NFTABLES << 8 | 7, 9, Some(2)));
        assert_eq!(message.attributes().text(1).as_deref(), Some("filter"));
        assert_eq!(message.attributes().be32(4), Some(77));
        assert_eq!(message.attributes().be64(4), None);
        assert_eq!(message.outcome(), None);
    }

    #[test]
    fn an_error_is_an_outcome_and_zero_is_success() {
        let error = |code: i32| {
            let mut bytes = vec![20, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0];
            bytes.extend(code.to_ne_bytes());
            messages(&bytes).next().map(|message| message.outcome())
        };
        assert_eq!(error(0), Some(Some(Ok(()))));
        assert_eq!(error(-1), Some(Some(Err(Errno::PERM))));
    }

    #[test]
    fn a_length_beyond_the_datagram_ends_the_reading() {
        let mut bytes = Request::new(NFTABLES, 7, 2).text(1, "filter").bytes(1);
        *bytes.first_mut().unwrap() += 4;
        assert_eq!(messages(&bytes).count(), 0);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_harm(bytes: Vec<u8>) {
            for message in messages(&bytes) {
                let _ = message.outcome();
                for attribute in message.attributes() {
                    let nest = attributes(attribute.value);
                    let _ = (nest.text(1), nest.be32(1), nest.be64(1), nest.count());
                }
            }
        }
    }
}
