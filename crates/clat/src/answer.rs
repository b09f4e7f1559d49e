//! The ICMP errors that a translator sends (RFC 7915, sections 4.1, 4.4, 5.1 and 5.4).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::bytes::put_u16;
use crate::ipv6::LEAST_MTU;
use crate::transport::{ICMP, ICMPV6};
use crate::{DropReason, Translator, checksum, icmp, ipv4, ipv6};

/// The TTL and hop limit of errors.
const HOPS: u8 = 64;
/// The maximum length of a quoted packet, in octets: an ICMP error is at most 576 octets long
/// (RFC 1812, section 4.3.2.3), an ICMPv6 error 1280 (RFC 4443, section 2.4).
const QUOTED_V4: usize = 576 - ipv4::HEADER - icmp::HEADER;
const QUOTED_V6: usize = LEAST_MTU as usize - ipv6::HEADER - icmp::HEADER;

impl Translator {
    /// Returns the ICMP error for the sender of a dropped packet, with the source address `from`,
    /// which is of the packet's family. `None` where no error is due: for most reasons, for ICMP
    /// errors, for fragments but the first, and for senders that cannot be answered (RFC 1812,
    /// section 4.3.2.7; RFC 4443, section 2.4).
    #[must_use]
    pub fn answer(&self, packet: &[u8], reason: DropReason, from: IpAddr) -> Option<Vec<u8>> {
        match (from, packet.first()? >> 4) {
            (IpAddr::V4(from), 4) => self.answer_v4(packet, reason, from),
            (IpAddr::V6(from), 6) => answer_v6(packet, reason, from),
            _ => None,
        }
    }

    fn answer_v4(&self, packet: &[u8], reason: DropReason, from: Ipv4Addr) -> Option<Vec<u8>> {
        let (kind, code, mtu) = match reason {
            DropReason::HopLimit => (icmp::v4::TIME_EXCEEDED, 0, 0),
            DropReason::SourceRoute => (icmp::v4::UNREACHABLE, 5, 0),
            DropReason::TooBig(mtu) => (icmp::v4::UNREACHABLE, icmp::v4::FRAGMENTATION_NEEDED, mtu),
            _ => return None,
        };
        let header = ipv4::Header::read(packet).ok()?;
        let first = packet.get(header.header_length);
        let error = header.protocol == ICMP && first.is_none_or(|kind| icmp::is_error_v4(*kind));
        if error || header.fragment_offset != 0 || header.source != self.clat4 {
            return None;
        }
        let end = header.total_length.min(packet.len()).min(QUOTED_V4);
        let mut message = vec![kind, code, 0, 0, 0, 0, 0, 0];
        put_u16(&mut message, 6, mtu);
        message.extend_from_slice(packet.get(..end)?);
        let checksum = !checksum::sum(&message);
        put_u16(&mut message, 2, checksum);
        let new = ipv4::Header {
            tos: 0,
            total_length: ipv4::HEADER + message.len(),
            identification: 0,
            dont_fragment: true,
            more_fragments: false,
            fragment_offset: 0,
            ttl: HOPS,
            protocol: ICMP,
            source: from,
            destination: header.source,
            header_length: ipv4::HEADER,
        };
        Some([&new.to_bytes().ok()?, &*message].concat())
    }
}

fn answer_v6(packet: &[u8], reason: DropReason, from: Ipv6Addr) -> Option<Vec<u8>> {
    let (kind, code, field) = match reason {
        DropReason::HopLimit => (icmp::v6::TIME_EXCEEDED, 0, 0),
        DropReason::SegmentsLeft(pointer) => (icmp::v6::PARAMETER_PROBLEM, 0, pointer),
        _ => return None,
    };
    // With segments left, `Header::read` fails, but the fixed header can be read.
    let octets = |at: usize| packet.get(at..).and_then(|rest| rest.first_chunk::<16>()).copied();
    let source = Ipv6Addr::from(octets(8)?);
    let destination = Ipv6Addr::from(octets(24)?);
    let unanswered = match ipv6::Header::read(packet) {
        Ok(header) => {
            let kind = packet.get(header.upper);
            let error =
                header.protocol == ICMPV6 && kind.is_none_or(|kind| icmp::is_error_v6(*kind));
            error || header.fragment.is_some_and(|fragment| fragment.offset != 0)
        }
        Err(DropReason::SegmentsLeft(_)) => false,
        Err(_) => true,
    };
    let no_host = source.is_unspecified() || source.is_multicast() || source.is_loopback();
    if unanswered || no_host || destination.is_multicast() {
        return None;
    }
    let mut message = vec![kind, code, 0, 0];
    message.extend(field.to_be_bytes());
    message.extend_from_slice(packet.get(..packet.len().min(QUOTED_V6))?);
    let pseudo = checksum::of_upper_layer(message.len(), ICMPV6);
    let addresses = checksum::of_v6(from, source);
    let checksum = !checksum::add(checksum::sum(&message), checksum::add(addresses, pseudo));
    put_u16(&mut message, 2, checksum);
    let new = ipv6::Header {
        traffic_class: 0,
        payload_length: message.len(),
        hop_limit: HOPS,
        source: from,
        destination: source,
        fragment: None,
        protocol: ICMPV6,
        upper: ipv6::HEADER,
    };
    let mut out = Vec::with_capacity(ipv6::HEADER + message.len());
    new.write(&mut out);
    ipv6::set_payload_length(&mut out, 0, message.len()).ok()?;
    out.append(&mut message);
    Some(out)
}
