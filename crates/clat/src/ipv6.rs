//! The header of IPv6 and its extension headers (RFC 8200).

use std::net::Ipv6Addr;

use crate::DropReason;
use crate::bytes::{array, byte, put_u16, u16_at, u32_at};

/// The length of the header, in octets.
pub const HEADER: usize = 40;
/// The length of a fragment header, in octets.
pub const FRAGMENT: usize = 8;
/// The minimum MTU of a link, in octets (RFC 8200, section 5).
pub const LEAST_MTU: u16 = 1280;
/// The maximum length of a reassembled payload, in octets.
const MAX_LENGTH: usize = 0xffff;

/// Extension headers (IANA).
pub const HOP_BY_HOP: u8 = 0;
pub const ROUTING: u8 = 43;
pub const FRAGMENTED: u8 = 44;
pub const AUTHENTICATION: u8 = 51;
pub const DESTINATION_OPTIONS: u8 = 60;
pub const MOBILITY: u8 = 135;
pub const HIP: u8 = 139;
pub const SHIM6: u8 = 140;

/// The fields of a fragment header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fragment {
    /// In units of eight octets.
    pub offset: u16,
    pub more: bool,
    pub identification: u32,
}

/// The fields of a header and a summary of its extension headers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    pub traffic_class: u8,
    /// Extension headers and upper layer, in octets.
    pub payload_length: usize,
    pub hop_limit: u8,
    pub source: Ipv6Addr,
    pub destination: Ipv6Addr,
    pub fragment: Option<Fragment>,
    /// The upper-layer protocol.
    pub protocol: u8,
    /// The offset of the upper layer from the beginning of the header, in octets.
    pub upper: usize,
}

impl Header {
    /// Parses a header and its extension headers. The payload may be cut off, as inside ICMP
    /// errors.
    pub fn read(packet: &[u8]) -> Result<Self, DropReason> {
        let first = u32_at(packet, 0)?;
        if first >> 28 != 6 {
            return Err(DropReason::Malformed);
        }
        let payload_length = usize::from(u16_at(packet, 4)?);
        let mut header = Self {
            traffic_class: (first >> 20) as u8,
            payload_length,
            hop_limit: byte(packet, 7)?,
            source: array::<16>(packet, 8)?.into(),
            destination: array::<16>(packet, 24)?.into(),
            fragment: None,
            protocol: byte(packet, 6)?,
            upper: HEADER,
        };
        header.read_extensions(packet)?;
        // A length of 0 is a jumbogram (RFC 2675), which is not supported.
        let total = HEADER + payload_length;
        if total < header.upper || (payload_length == 0 && header.protocol != 59) {
            return Err(DropReason::Malformed);
        }
        let Some(fragment) = header.fragment else { return Ok(header) };
        let unaligned = fragment.more && header.upper_length() % 8 != 0;
        let end = usize::from(fragment.offset) * 8 + header.upper_length();
        if unaligned || end > MAX_LENGTH { Err(DropReason::Malformed) } else { Ok(header) }
    }

    /// Parses the fragment header, and skips the extension headers that RFC 7915, section 5.1,
    /// ignores.
    fn read_extensions(&mut self, packet: &[u8]) -> Result<(), DropReason> {
        loop {
            let at = self.upper;
            match self.protocol {
                HOP_BY_HOP if at != HEADER => return Err(DropReason::Malformed),
                HOP_BY_HOP | ROUTING | DESTINATION_OPTIONS if self.fragment.is_none() => {
                    if self.protocol == ROUTING && byte(packet, at + 3)? != 0 {
                        return Err(DropReason::SegmentsLeft(at as u32 + 3));
                    }
                    self.upper += (usize::from(byte(packet, at + 1)?) + 1) * 8;
                }
                FRAGMENTED if self.fragment.is_none() => {
                    let field = u16_at(packet, at + 2)?;
                    self.fragment = Some(Fragment {
                        offset: field >> 3,
                        more: field & 1 != 0,
                        identification: u32_at(packet, at + 4)?,
                    });
                    self.upper += FRAGMENT;
                }
                kind @ (HOP_BY_HOP | ROUTING | FRAGMENTED | DESTINATION_OPTIONS
                | AUTHENTICATION)
                    if self.fragment.is_some() =>
                {
                    return Err(DropReason::ExtensionHeader(kind));
                }
                kind @ (MOBILITY | HIP | SHIM6) => return Err(DropReason::Protocol(kind)),
                _ => return Ok(()),
            }
            self.protocol = byte(packet, at)?;
            if packet.len() < self.upper {
                return Err(DropReason::Truncated);
            }
        }
    }

    /// Returns the length of the upper layer that the header states, in octets.
    pub fn upper_length(&self) -> usize {
        (HEADER + self.payload_length).saturating_sub(self.upper)
    }

    /// Returns whether the packet is a fragment, and not an atomic one (RFC 6946).
    pub fn is_fragment(&self) -> bool {
        self.fragment.is_some_and(|fragment| fragment.more || fragment.offset != 0)
    }

    /// Appends the header, with a flow label of zero and no extension but the fragment header.
    /// [`set_payload_length`] fills in the length later.
    pub fn write(&self, out: &mut Vec<u8>) {
        let next = if self.fragment.is_some() { FRAGMENTED } else { self.protocol };
        out.extend(((6 << 28) | (u32::from(self.traffic_class) << 20)).to_be_bytes());
        out.extend([0, 0, next, self.hop_limit]);
        out.extend(self.source.octets());
        out.extend(self.destination.octets());
        if let Some(fragment) = self.fragment {
            write_fragment(fragment, self.protocol, out);
        }
    }
}

/// Appends a fragment header (RFC 8200, section 4.5).
pub fn write_fragment(fragment: Fragment, protocol: u8, out: &mut Vec<u8>) {
    out.extend([protocol, 0]);
    out.extend(((fragment.offset << 3) | u16::from(fragment.more)).to_be_bytes());
    out.extend(fragment.identification.to_be_bytes());
}

/// Writes the payload length of a packet whose header begins at `at`.
pub fn set_payload_length(packet: &mut [u8], at: usize, length: usize) -> Result<(), DropReason> {
    let length = u16::try_from(length).map_err(|_| DropReason::TooLong)?;
    put_u16(packet, at + 4, length);
    Ok(())
}
