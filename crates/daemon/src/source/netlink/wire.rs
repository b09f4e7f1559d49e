//! Netlink's framing (`linux/netlink.h`): messages in a datagram, attributes in a message, read and written. All numbers are in the
//! machine's own byte order. Nothing here can fail: what does not fit ends the iteration.

/// `sizeof(struct nlmsghdr)`
const MESSAGE_HEADER: usize = 16;
/// `sizeof(struct nlattr)`
const ATTRIBUTE_HEADER: usize = 4;
/// `~(NLA_F_NESTED | NLA_F_NET_BYTEORDER)`
const ATTRIBUTE_TYPE: u16 = 0x3fff;

/// One netlink message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Message<'a> {
    /// `nlmsg_type`
    pub kind: u16,
    /// `nlmsg_flags`
    pub flags: u16,
    /// `nlmsg_seq`
    pub sequence: u32,
    pub payload: &'a [u8],
}

/// The messages of one datagram.
#[derive(Debug, Clone)]
pub struct Messages<'a>(&'a [u8]);

impl<'a> Messages<'a> {
    pub const fn new(datagram: &'a [u8]) -> Self {
        Self(datagram)
    }
}

impl<'a> Iterator for Messages<'a> {
    type Item = Message<'a>;

    fn next(&mut self) -> Option<Message<'a>> {
        let length = usize::try_from(u32_at(self.0, 0)?).ok()?;
        let payload = self.0.get(MESSAGE_HEADER..length)?;
        let message =
            Message { kind: u16_at(self.0, 4)?, flags: u16_at(self.0, 6)?, sequence: u32_at(self.0, 8)?, payload };
        self.0 = self.0.get(aligned(length)..).unwrap_or_default();
        Some(message)
    }
}

/// Attributes one after the other: their type (without its flag bits) and value.
#[derive(Debug, Clone)]
pub struct Attributes<'a>(&'a [u8]);

impl<'a> Attributes<'a> {
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// What stands behind a fixed header of `size` bytes.
    pub fn after(payload: &'a [u8], size: usize) -> Self {
        Self(payload.get(size..).unwrap_or_default())
    }

    /// The first attribute of this type.
    pub fn find(mut self, kind: u16) -> Option<&'a [u8]> {
        self.find_map(|(k, value)| (k == kind).then_some(value))
    }
}

impl<'a> Iterator for Attributes<'a> {
    type Item = (u16, &'a [u8]);

    fn next(&mut self) -> Option<(u16, &'a [u8])> {
        let length = usize::from(u16_at(self.0, 0)?);
        let kind = u16_at(self.0, 2)? & ATTRIBUTE_TYPE;
        let value = self.0.get(ATTRIBUTE_HEADER..length)?;
        self.0 = self.0.get(aligned(length)..).unwrap_or_default();
        Some((kind, value))
    }
}

/// Appends an attribute, padded to four bytes.
pub fn push(bytes: &mut Vec<u8>, kind: u16, value: &[u8]) {
    let length = u16::try_from(value.len().saturating_add(ATTRIBUTE_HEADER)).unwrap_or(u16::MAX);
    bytes.extend(length.to_ne_bytes());
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(value);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
}

const fn aligned(length: usize) -> usize {
    length.saturating_add(3) & !3
}

pub(super) fn u8_at(bytes: &[u8], at: usize) -> Option<u8> {
    bytes.get(at).copied()
}

pub(super) fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(*bytes.get(at..)?.first_chunk()?))
}

pub(super) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(*bytes.get(at..)?.first_chunk()?))
}

/// An attribute's value as a `u32`.
pub fn u32_of(value: &[u8]) -> Option<u32> {
    u32_at(value, 0)
}

/// An attribute's value as text, without its closing zero.
pub(super) fn text_of(value: &[u8]) -> String {
    let text = value.split(|&byte| byte == 0).next().unwrap_or_default();
    String::from_utf8_lossy(text).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        push(&mut bytes, kind, value);
        bytes
    }

    #[test]
    fn attributes_are_found_behind_padding_and_flag_bits() {
        let bytes = [attribute(3, b"eth0\0"), attribute(0x8000 | 4, &1500_u32.to_ne_bytes())].concat();
        assert_eq!(Attributes::new(&bytes).find(3).map(text_of).as_deref(), Some("eth0"));
        assert_eq!(Attributes::new(&bytes).find(4).and_then(u32_of), Some(1500));
        assert_eq!(Attributes::new(&bytes).find(5), None);
    }

    #[test]
    fn a_length_of_zero_ends_the_iteration_instead_of_looping() {
        assert_eq!(Attributes::new(&[0; 64]).count(), 0);
        assert_eq!(Messages::new(&[0; 64]).count(), 0);
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_end(bytes in proptest::collection::vec(any::<u8>(), 0..512)) {
            prop_assert!(Messages::new(&bytes).count() <= bytes.len() / MESSAGE_HEADER);
            prop_assert!(Attributes::new(&bytes).count() <= bytes.len() / ATTRIBUTE_HEADER);
        }
    }
}
