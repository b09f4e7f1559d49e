//! The header of IPv4 (RFC 791).

use std::net::Ipv4Addr;

use crate::DropReason;
use crate::bytes::{array, byte, put_u16, u16_at};
use crate::checksum;
use crate::ipv6::Fragment;

/// The length of a header without options, in octets.
pub const HEADER: usize = 20;
/// The maximum of the total length field, in octets.
const MAX_LENGTH: usize = 0xffff;
/// Up to this total length, in octets, a packet translated from IPv6 without a fragment header gets
/// no DF flag (RFC 7915, section 5.1).
pub const MAY_BE_FRAGMENTED: usize = 1260;

const DF: u16 = 0x4000;
const MF: u16 = 0x2000;
const OFFSET: u16 = 0x1fff;

/// The fields of a header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    pub tos: u8,
    /// Header and payload, in octets.
    pub total_length: usize,
    pub identification: u16,
    pub dont_fragment: bool,
    pub more_fragments: bool,
    /// In units of eight octets.
    pub fragment_offset: u16,
    pub ttl: u8,
    pub protocol: u8,
    pub source: Ipv4Addr,
    pub destination: Ipv4Addr,
    /// Includes options, in octets.
    pub header_length: usize,
}

impl Header {
    /// Parses a header. The payload may be cut off, as inside ICMP errors.
    pub fn read(packet: &[u8]) -> Result<Self, DropReason> {
        let first = byte(packet, 0)?;
        let header_length = usize::from(first & 0xf) * 4;
        let total_length = usize::from(u16_at(packet, 2)?);
        if first >> 4 != 4 || header_length < HEADER || total_length < header_length {
            return Err(DropReason::Malformed);
        }
        if packet.len() < header_length {
            return Err(DropReason::Truncated);
        }
        let fragment = u16_at(packet, 6)?;
        let header = Self {
            tos: byte(packet, 1)?,
            total_length,
            identification: u16_at(packet, 4)?,
            dont_fragment: fragment & DF != 0,
            more_fragments: fragment & MF != 0,
            fragment_offset: fragment & OFFSET,
            ttl: byte(packet, 8)?,
            protocol: byte(packet, 9)?,
            source: array::<4>(packet, 12)?.into(),
            destination: array::<4>(packet, 16)?.into(),
            header_length,
        };
        let unaligned = header.more_fragments && header.payload_length() % 8 != 0;
        let end = usize::from(header.fragment_offset) * 8 + header.payload_length();
        if unaligned || end > MAX_LENGTH { Err(DropReason::Malformed) } else { Ok(header) }
    }

    /// Returns the length of the payload that the header states, in octets.
    pub fn payload_length(&self) -> usize {
        self.total_length.saturating_sub(self.header_length)
    }

    /// Returns whether the packet is a fragment.
    pub fn is_fragment(&self) -> bool {
        self.more_fragments || self.fragment_offset != 0
    }

    /// Returns the fields of an IPv6 fragment header with the same meaning.
    pub fn fragment(&self) -> Fragment {
        Fragment {
            offset: self.fragment_offset,
            more: self.more_fragments,
            identification: self.identification.into(),
        }
    }

    /// Serializes the header, without options, with its checksum.
    pub fn to_bytes(self) -> Result<[u8; HEADER], DropReason> {
        let total = u16::try_from(self.total_length).map_err(|_| DropReason::TooLong)?;
        let mut fragment = self.fragment_offset & OFFSET;
        fragment |= if self.dont_fragment { DF } else { 0 };
        fragment |= if self.more_fragments { MF } else { 0 };
        let mut header = [0; HEADER];
        put_u16(&mut header, 0, u16::from_be_bytes([0x45, self.tos]));
        put_u16(&mut header, 2, total);
        put_u16(&mut header, 4, self.identification);
        put_u16(&mut header, 6, fragment);
        put_u16(&mut header, 8, u16::from_be_bytes([self.ttl, self.protocol]));
        let addresses = [self.source.octets(), self.destination.octets()];
        for (to, from) in header.iter_mut().skip(12).zip(addresses.as_flattened()) {
            *to = *from;
        }
        let checksum = !checksum::sum(&header);
        put_u16(&mut header, 10, checksum);
        Ok(header)
    }
}

/// Returns whether options hold a source route that is not used up: types 131 and 137, with the
/// pointer not past the length (RFC 791, section 3.1).
pub fn has_source_route(options: &[u8]) -> bool {
    let mut rest = options;
    while let [kind, after @ ..] = rest {
        match (kind, after) {
            (0, _) => return false,
            (1, _) => rest = after,
            (131 | 137, [length, pointer, ..]) if pointer <= length => return true,
            (_, [length, ..]) if *length >= 2 => {
                rest = rest.get(usize::from(*length)..).unwrap_or_default()
            }
            _ => return false,
        }
    }
    false
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
mod tests {
    use super::*;

    #[test]
    fn finds_source_routes_that_are_not_used_up() {
        let loose = [131, 7, 4, 10, 0, 0, 1, 0];
        assert!(has_source_route(&loose));
        assert!(has_source_route(&[1, 137, 7, 4, 10, 0, 0, 1]));
        // After a record route.
        assert!(has_source_route(&[&[7, 7, 4, 0, 0, 0, 0][..], &loose].concat()));
        // Used up.
        assert!(!has_source_route(&[131, 7, 8, 10, 0, 0, 1, 0]));
        // After the end of the options, or truncated.
        assert!(!has_source_route(&[0, 131, 7, 4, 10, 0, 0, 1]));
        assert!(!has_source_route(&[7, 0, 4]));
        assert!(!has_source_route(&[7, 200, 4]));
        assert!(!has_source_route(&[]));
    }
}
