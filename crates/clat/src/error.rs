//! ICMP errors and the packets that they quote (RFC 7915, sections 4.2, 4.3, 5.2 and 5.3).

use crate::bytes::{byte, put_u16, u16_at, u32_at};
use crate::direction::Direction;
use crate::icmp::{self, Field, LEAST_BEFORE_EXTENSIONS};
use crate::ipv6::{Fragment, LEAST_MTU};
use crate::transport::{
    Addresses, ICMP, ICMPV6, UDP, Upper, adjust, checksum_field, echo, protocol_to_v4,
    protocol_to_v6,
};
use crate::{DropReason, Offload, Translator, checksum, ipv4, ipv6};

/// What an ICMPv6 error may hold, in octets: the packet is at most 1280 (RFC 4443, section 2.4).
const LONGEST_V6: usize = LEAST_MTU as usize - ipv6::HEADER;
/// What we let an ICMP error hold: all that an ICMPv6 error quotes.
const LONGEST_V4: usize = LEAST_MTU as usize - ipv4::HEADER;

/// MTUs of usual networks, for errors of routers that report none (RFC 1191, section 7.1), down to
/// the least of IPv6.
const PLATEAUS: [u16; 7] = [65535, 32000, 17914, 8166, 4352, 2002, 1492];

/// Where a quoted packet's length stands in an error, and in which units (RFC 4884, section 4).
#[derive(Debug, Clone, Copy)]
struct LengthField {
    at: usize,
    unit: usize,
}

const LENGTH_V4: LengthField = LengthField { at: 5, unit: 4 };
const LENGTH_V6: LengthField = LengthField { at: 4, unit: 8 };

impl Translator {
    /// Appends the ICMPv6 error that an ICMP error becomes; `addresses` is the sum of the new ones.
    pub(crate) fn error_to_v6(
        &self,
        message: &[u8],
        addresses: u16,
        head: &mut Vec<u8>,
    ) -> Result<(), DropReason> {
        if checksum::sum(message) != 0xffff {
            return Err(DropReason::Checksum);
        }
        let kind = icmp::error_to_v6(message)?;
        let words = byte(message, LENGTH_V4.at)?;
        let (quoted, extensions) = icmp::split_extensions(message, words, LENGTH_V4.unit);
        let mut new = vec![kind.kind, kind.code, 0, 0, 0, 0, 0, 0];
        let header = self.quoted_to_v6(quoted, &mut new)?;
        // Of errors of ICMPv6 only these two have room for the length (RFC 4884, section 4).
        let extends = matches!(kind.kind, icmp::v6::UNREACHABLE | icmp::v6::TIME_EXCEEDED);
        let extensions = if extends { extensions } else { &[] };
        append_extensions(&mut new, extensions, LENGTH_V6, LONGEST_V6);
        match kind.field {
            Field::Unused => {}
            Field::Pointer(pointer) => put_u16(&mut new, 6, pointer.into()),
            Field::Mtu => {
                let mtu = match u16_at(message, 6)? {
                    0 => plateau(header.total_length),
                    mtu => mtu.saturating_add((ipv6::HEADER - ipv4::HEADER) as u16),
                };
                put_u16(&mut new, 6, mtu.min(self.mtu).max(LEAST_MTU));
            }
        }
        let pseudo = checksum::add(addresses, checksum::of_upper_layer(new.len(), ICMPV6));
        let checksum = !checksum::add(checksum::sum(&new), pseudo);
        put_u16(&mut new, 2, checksum);
        head.append(&mut new);
        Ok(())
    }

    /// Appends the ICMP error that an ICMPv6 error becomes; `addresses` is the sum of the old ones.
    pub(crate) fn error_to_v4(
        &self,
        message: &[u8],
        addresses: u16,
        head: &mut Vec<u8>,
    ) -> Result<(), DropReason> {
        let pseudo = checksum::add(addresses, checksum::of_upper_layer(message.len(), ICMPV6));
        if checksum::add(checksum::sum(message), pseudo) != 0xffff {
            return Err(DropReason::Checksum);
        }
        let kind = icmp::error_to_v4(message)?;
        let extends = matches!(byte(message, 0)?, icmp::v6::UNREACHABLE | icmp::v6::TIME_EXCEEDED);
        let words = if extends { byte(message, LENGTH_V6.at)? } else { 0 };
        let (quoted, extensions) = icmp::split_extensions(message, words, LENGTH_V6.unit);
        let mut new = vec![kind.kind, kind.code, 0, 0, 0, 0, 0, 0];
        let header = self.quoted_to_v4(quoted, &mut new)?;
        append_extensions(&mut new, extensions, LENGTH_V4, LONGEST_V4);
        match kind.field {
            Field::Unused => {}
            Field::Pointer(pointer) => put_u16(&mut new, 4, u16::from_be_bytes([pointer, 0])),
            Field::Mtu => {
                // A fragment header is one that we put there.
                let fragment = if header.fragment.is_some() { ipv6::FRAGMENT } else { 0 };
                let more = (ipv6::HEADER + fragment - ipv4::HEADER) as u16;
                let mtu = u16::try_from(u32_at(message, 4)?).unwrap_or(u16::MAX);
                put_u16(&mut new, 6, mtu.min(self.mtu).max(LEAST_MTU) - more);
            }
        }
        let checksum = !checksum::sum(&new);
        put_u16(&mut new, 2, checksum);
        head.append(&mut new);
        Ok(())
    }

    /// Appends a quoted packet, which may be cut off anywhere behind its header.
    fn quoted_to_v6(&self, quoted: &[u8], out: &mut Vec<u8>) -> Result<ipv4::Header, DropReason> {
        let header = ipv4::Header::read(quoted)?;
        if header.destination != self.clat4 {
            return Err(DropReason::ForeignError);
        }
        let end = header.total_length.min(quoted.len());
        let payload = quoted.get(header.header_length..end).unwrap_or_default();
        let protocol = protocol_to_v6(header.protocol)?;
        let new = ipv6::Header {
            traffic_class: header.tos,
            payload_length: 0,
            hop_limit: header.ttl,
            source: self.address_to_v6(header.source),
            destination: self.clat6,
            fragment: header.is_fragment().then_some(Fragment {
                offset: header.fragment_offset,
                more: header.more_fragments,
                identification: header.identification.into(),
            }),
            protocol,
            upper: 0,
        };
        let at = out.len();
        new.write(out);
        let extensions = out.len() - at - ipv6::HEADER;
        ipv6::set_payload_length(out, at, header.payload_length() + extensions)?;
        let addresses = Addresses {
            old: checksum::of_v4(header.source, header.destination),
            new: checksum::of_v6(new.source, new.destination),
        };
        append_quoted(
            &Upper {
                direction: Direction::ToV6,
                protocol: header.protocol,
                payload,
                is_piece: header.is_fragment(),
                is_first: header.fragment_offset == 0,
                addresses,
            },
            header.payload_length(),
            out,
        )?;
        Ok(header)
    }

    /// Appends a quoted packet, which may be cut off anywhere behind its headers.
    fn quoted_to_v4(&self, quoted: &[u8], out: &mut Vec<u8>) -> Result<ipv6::Header, DropReason> {
        let header = ipv6::Header::read(quoted)?;
        if header.source != self.clat6 {
            return Err(DropReason::ForeignError);
        }
        let destination = self.address_to_v4(header.destination).ok_or(DropReason::ForeignError)?;
        let end = (ipv6::HEADER + header.payload_length).min(quoted.len());
        let payload = quoted.get(header.upper..end).unwrap_or_default();
        let protocol = protocol_to_v4(header.protocol)?;
        let fragment = header.fragment;
        let total_length = ipv4::HEADER + header.upper_length();
        let new = ipv4::Header {
            tos: header.traffic_class,
            total_length,
            identification: fragment.map_or(0, |piece| piece.identification as u16),
            dont_fragment: fragment.is_none() && total_length > ipv4::MAY_BE_FRAGMENTED,
            more_fragments: fragment.is_some_and(|piece| piece.more),
            fragment_offset: fragment.map_or(0, |piece| piece.offset),
            ttl: header.hop_limit,
            protocol,
            source: self.clat4,
            destination,
            header_length: ipv4::HEADER,
        };
        out.extend(new.to_bytes()?);
        let addresses = Addresses {
            old: checksum::of_v6(header.source, header.destination),
            new: checksum::of_v4(new.source, new.destination),
        };
        append_quoted(
            &Upper {
                direction: Direction::ToV4,
                protocol,
                payload,
                is_piece: header.is_fragment(),
                is_first: fragment.is_none_or(|piece| piece.offset == 0),
                addresses,
            },
            header.upper_length(),
            out,
        )?;
        Ok(header)
    }
}

/// Appends a quoted upper layer, which was `length` octets long and may be cut off anywhere. A
/// transport header is translated up to its checksum, if that much is quoted.
fn append_quoted(upper: &Upper<'_>, length: usize, out: &mut Vec<u8>) -> Result<(), DropReason> {
    let Upper { direction, protocol, payload, addresses, .. } = *upper;
    let used = if protocol == ICMP {
        if upper.is_piece {
            return Err(DropReason::FragmentedIcmp);
        }
        if icmp::is_error(byte(payload, 0)?, direction) {
            return Err(DropReason::NestedError);
        }
        echo(direction, payload, length, upper.addresses_v6(), out)?
    } else {
        let field = checksum_field(protocol).filter(|_| upper.is_first);
        match field.and_then(|field| u16_at(payload, field).ok()) {
            None => 0,
            Some(0) if protocol == UDP => 0,
            Some(_) => adjust(protocol, payload, Offload::default(), addresses, out)?,
        }
    };
    out.extend_from_slice(payload.get(used..).unwrap_or_default());
    Ok(())
}

/// Appends the extensions behind a quoted packet, which is padded and whose length is written
/// (RFC 4884, sections 4 and 5). Leaves them out where the error would be longer than `longest`.
fn append_extensions(
    message: &mut Vec<u8>,
    extensions: &[u8],
    length: LengthField,
    longest: usize,
) {
    let quoted = message.len() - icmp::HEADER;
    let padded = quoted.max(LEAST_BEFORE_EXTENSIONS).next_multiple_of(length.unit);
    let words = u8::try_from(padded / length.unit).ok();
    let fits = icmp::HEADER + padded + extensions.len() <= longest;
    match (words, message.get_mut(length.at)) {
        (Some(words), Some(place)) if fits && !extensions.is_empty() => {
            *place = words;
            message.resize(icmp::HEADER + padded, 0);
            message.extend_from_slice(extensions);
        }
        _ => message.truncate(longest),
    }
}

/// Returns a likely MTU for a packet that was too long (RFC 7915, section 4.2): the greatest below
/// its length.
fn plateau(length: usize) -> u16 {
    PLATEAUS.into_iter().find(|mtu| usize::from(*mtu) < length).unwrap_or(LEAST_MTU)
}
