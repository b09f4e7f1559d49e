//! Translation of ICMP errors and the packets that they quote (RFC 7915, sections 4.2, 4.3, 5.2 and
//! 5.3).

use crate::bytes::{byte, put_u16, u16_at, u32_at};
use crate::direction::Direction;
use crate::icmp::{self, Field, LEAST_BEFORE_EXTENSIONS};
use crate::ipv6::LEAST_MTU;
use crate::transport::{
    Addresses, ICMP, ICMPV6, UDP, Upper, adjust, checksum_field, echo, protocol_to_v4,
    protocol_to_v6,
};
use crate::{DropReason, Offload, Translator, checksum, ipv4, ipv6};

/// The maximum length of an ICMPv6 error, in octets: the packet is at most 1280 (RFC 4443, section
/// 2.4).
const LONGEST_V6: usize = LEAST_MTU as usize - ipv6::HEADER;
/// The maximum length of an ICMP error, in octets, which fits everything that an ICMPv6 error
/// quotes.
const LONGEST_V4: usize = LEAST_MTU as usize - ipv4::HEADER;

/// Common MTUs, for errors of routers that report none (RFC 1191, section 7.1), down to the minimum
/// of IPv6.
const PLATEAUS: [u16; 7] = [65535, 32000, 17914, 8166, 4352, 2002, 1492];

/// The offset of the field with the quoted packet's length, and its unit, both in octets (RFC 4884,
/// section 4).
#[derive(Debug, Clone, Copy)]
struct LengthField {
    at: usize,
    unit: usize,
}

const LENGTH_V4: LengthField = LengthField { at: 5, unit: 4 };
const LENGTH_V6: LengthField = LengthField { at: 4, unit: 8 };

impl Translator {
    /// Appends the ICMPv6 error that an ICMP error becomes; `addresses` is the sum of the new
    /// packet's addresses.
    pub(crate) fn error_to_v6(
        &self,
        message: &[u8],
        addresses: u16,
        headers: &mut Vec<u8>,
    ) -> Result<(), DropReason> {
        if checksum::sum(message) != 0xffff {
            return Err(DropReason::Checksum);
        }
        let kind = icmp::error_to_v6(message)?;
        let words = byte(message, LENGTH_V4.at)?;
        let (quoted, extensions) = icmp::split_extensions(message, words, LENGTH_V4.unit);
        let mut new = vec![kind.kind, kind.code, 0, 0, 0, 0, 0, 0];
        let header = self.quoted_to_v6(quoted, &mut new)?;
        // Only these two ICMPv6 errors have a length field (RFC 4884, section 4).
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
        headers.append(&mut new);
        Ok(())
    }

    /// Appends the ICMP error that an ICMPv6 error becomes; `addresses` is the sum of the original
    /// packet's addresses.
    pub(crate) fn error_to_v4(
        &self,
        message: &[u8],
        addresses: u16,
        headers: &mut Vec<u8>,
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
                // The translator added the fragment header.
                let fragment = if header.fragment.is_some() { ipv6::FRAGMENT } else { 0 };
                let more = (ipv6::HEADER + fragment - ipv4::HEADER) as u16;
                let mtu = u16::try_from(u32_at(message, 4)?).unwrap_or(u16::MAX);
                put_u16(&mut new, 6, mtu.min(self.mtu).max(LEAST_MTU) - more);
            }
        }
        let checksum = !checksum::sum(&new);
        put_u16(&mut new, 2, checksum);
        headers.append(&mut new);
        Ok(())
    }

    /// Translates and appends a quoted packet, which may be cut off anywhere after its header.
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
            fragment: header.is_fragment().then_some(header.fragment()),
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
                is_fragment: header.is_fragment(),
                is_first: header.fragment_offset == 0,
                addresses,
            },
            header.payload_length(),
            out,
        )?;
        Ok(header)
    }

    /// Translates and appends a quoted packet, which may be cut off anywhere after its headers.
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
            identification: fragment.map_or(0, |fragment| fragment.identification as u16),
            dont_fragment: fragment.is_none() && total_length > ipv4::MAY_BE_FRAGMENTED,
            more_fragments: fragment.is_some_and(|fragment| fragment.more),
            fragment_offset: fragment.map_or(0, |fragment| fragment.offset),
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
                is_fragment: header.is_fragment(),
                is_first: fragment.is_none_or(|fragment| fragment.offset == 0),
                addresses,
            },
            header.upper_length(),
            out,
        )?;
        Ok(header)
    }
}

/// Translates and appends a quoted upper layer of originally `length` octets, which may be cut off
/// anywhere. A transport header is translated if it is quoted up to its checksum.
fn append_quoted(upper: &Upper<'_>, length: usize, out: &mut Vec<u8>) -> Result<(), DropReason> {
    let Upper { direction, protocol, payload, addresses, .. } = *upper;
    let used = if protocol == ICMP {
        if upper.is_fragment {
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

/// Pads the quoted packet, writes its length and appends the extensions (RFC 4884, sections 4 and
/// 5). Omits them, and truncates the quoted packet, where the error would exceed `longest` octets.
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
        (Some(words), Some(field)) if fits && !extensions.is_empty() => {
            *field = words;
            message.resize(icmp::HEADER + padded, 0);
            message.extend_from_slice(extensions);
        }
        _ => message.truncate(longest),
    }
}

/// Returns a likely MTU of a link that a packet was too long for: the greatest plateau below its
/// length (RFC 7915, section 4.2).
fn plateau(length: usize) -> u16 {
    PLATEAUS.into_iter().find(|mtu| usize::from(*mtu) < length).unwrap_or(LEAST_MTU)
}
