//! The translation of packets, both ways (RFC 7915).

use std::net::{Ipv4Addr, Ipv6Addr};

use crate::address::is_unicast;
use crate::bytes::byte;
use crate::direction::Direction;
use crate::ipv6::LEAST_MTU;
use crate::transport::{
    Addresses, ICMP, ICMPV6, TCP, UDP, Upper, adjust, checksum_field, echo, header_length,
    is_unsummed, protocol_to_v4, protocol_to_v6, sum_udp,
};
use crate::{DropReason, Gso, Offload, Prefix, Translated, checksum, icmp, ipv4, ipv6};

/// The source of ICMP errors from routers whose IPv6 address embeds no IPv4 address (RFC 7600,
/// section 4.8; RFC 6791).
const DUMMY: Ipv4Addr = Ipv4Addr::new(192, 0, 0, 8);

/// Translates one IPv4 address to and from one IPv6 address, and all others by a prefix. Stateless:
/// equal packets are translated equally.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Translator {
    /// The IPv4 address on the IPv4 side.
    pub clat4: Ipv4Addr,
    /// The IPv6 address that represents it on the IPv6 side.
    pub clat6: Ipv6Addr,
    /// The NAT64 prefix, which embeds all other IPv4 addresses.
    pub prefix: Prefix,
    /// The IPv6 MTU of the uplink, in octets.
    pub mtu: u16,
    /// The size above which packets without DF are fragmented, in octets: 1280, unless the path is
    /// known to carry more (RFC 7915, section 4).
    pub fragment_above: u16,
    /// Whether the translator decrements TTL and hop limit (RFC 7915, section 4.1). Not needed
    /// where the same kernel forwards a packet before and after: that counts twice already.
    pub hop: bool,
    /// Whether packets with non-global addresses are dropped for the well-known prefix (RFC 6052,
    /// section 3.1).
    pub only_global: bool,
}

impl Default for Translator {
    fn default() -> Self {
        Self {
            clat4: Ipv4Addr::new(192, 0, 0, 1),
            clat6: Ipv6Addr::UNSPECIFIED,
            prefix: Prefix::WELL_KNOWN,
            mtu: 1500,
            fragment_above: LEAST_MTU,
            hop: false,
            only_global: true,
        }
    }
}

impl Translator {
    /// Translates a packet from the IPv4 side to IPv6. `headers` is a buffer for the new headers.
    ///
    /// # Errors
    /// Why the packet has to be dropped.
    pub fn to_v6<'a>(
        &self,
        packet: &'a [u8],
        offload: Offload,
        headers: &'a mut Vec<u8>,
    ) -> Result<Translated<'a>, DropReason> {
        let header = ipv4::Header::read(packet)?;
        let packet = packet.get(..header.total_length).ok_or(DropReason::Truncated)?;
        let (fixed, payload) =
            packet.split_at_checked(header.header_length).ok_or(DropReason::Truncated)?;
        if checksum::sum(fixed) != 0xffff {
            return Err(DropReason::Checksum);
        }
        if ipv4::has_source_route(fixed.get(ipv4::HEADER..).unwrap_or_default()) {
            return Err(DropReason::SourceRoute);
        }
        let (source, destination) = self.outward(&header)?;
        let hop_limit = self.after_hop(header.ttl)?;
        let protocol = protocol_to_v6(header.protocol)?;
        offload.check(header.header_length, checksum_field(header.protocol))?;
        let limits = self.limits_v6(&header, payload, offload.gso)?;
        let new = ipv6::Header {
            traffic_class: header.tos,
            payload_length: 0,
            hop_limit,
            source,
            destination,
            fragment: (header.is_fragment() || limits.fragment.is_some())
                .then_some(header.fragment()),
            protocol,
            upper: 0,
        };
        headers.clear();
        new.write(headers);
        let start = headers.len();
        let addresses = Addresses {
            old: checksum::of_v4(header.source, header.destination),
            new: checksum::of_v6(source, destination),
        };
        let upper = Upper {
            direction: Direction::ToV6,
            protocol: header.protocol,
            payload,
            is_fragment: header.is_fragment(),
            is_first: header.fragment_offset == 0,
            addresses,
        };
        let used = self.upper(&upper, offload, headers)?;
        let body = payload.get(used..).unwrap_or_default();
        let payload_length = headers.len() - ipv6::HEADER + body.len();
        ipv6::set_payload_length(headers, 0, payload_length)?;
        let gso = if offload.gso == Gso::TcpV4 { Gso::TcpV6 } else { offload.gso };
        let mut offload = offload.moved(header.header_length, start, gso);
        offload.gso_size = offload.gso_size.min(limits.segment);
        Ok(Translated { headers, body, offload, limit: limits.fragment })
    }

    /// Translates a packet to IPv4, for the IPv4 side. `identification` is for packets without a
    /// fragment header; it should be unique within the lifetime of a packet (RFC 6864). `headers`
    /// is a buffer for the new headers.
    ///
    /// # Errors
    /// Why the packet has to be dropped.
    pub fn to_v4<'a>(
        &self,
        packet: &'a [u8],
        offload: Offload,
        identification: u16,
        headers: &'a mut Vec<u8>,
    ) -> Result<Translated<'a>, DropReason> {
        let header = ipv6::Header::read(packet)?;
        let packet =
            packet.get(..ipv6::HEADER + header.payload_length).ok_or(DropReason::Truncated)?;
        let payload = packet.get(header.upper..).ok_or(DropReason::Truncated)?;
        let (source, destination) = self.inward(&header, payload)?;
        let ttl = self.after_hop(header.hop_limit)?;
        let protocol = protocol_to_v4(header.protocol)?;
        offload.check(header.upper, checksum_field(header.protocol))?;
        let gso = match offload.gso {
            Gso::None => Gso::None,
            Gso::TcpV6 if header.protocol == TCP && header.fragment.is_none() => Gso::TcpV4,
            same @ Gso::UdpSegments if header.protocol == UDP && header.fragment.is_none() => same,
            _ => return Err(DropReason::Offload),
        };
        headers.clear();
        headers.resize(ipv4::HEADER, 0);
        let addresses = Addresses {
            old: checksum::of_v6(header.source, header.destination),
            new: checksum::of_v4(source, destination),
        };
        let upper = Upper {
            direction: Direction::ToV4,
            protocol,
            payload,
            is_fragment: header.is_fragment(),
            is_first: header.fragment.is_none_or(|fragment| fragment.offset == 0),
            addresses,
        };
        let used = self.upper(&upper, offload, headers)?;
        let body = payload.get(used..).unwrap_or_default();
        let total_length = headers.len() + body.len();
        let sent = match gso {
            Gso::None => total_length,
            _ => ipv4::HEADER + header_length(protocol, payload)? + usize::from(offload.gso_size),
        };
        let fragment = header.fragment;
        let new = ipv4::Header {
            tos: header.traffic_class,
            total_length,
            identification: fragment
                .map_or(identification, |fragment| fragment.identification as u16),
            dont_fragment: fragment.is_none() && sent > ipv4::MAY_BE_FRAGMENTED,
            more_fragments: fragment.is_some_and(|fragment| fragment.more),
            fragment_offset: fragment.map_or(0, |fragment| fragment.offset),
            ttl,
            protocol,
            source,
            destination,
            header_length: ipv4::HEADER,
        };
        if let Some(start) = headers.first_chunk_mut() {
            *start = new.to_bytes()?;
        }
        let offload = offload.moved(header.upper, ipv4::HEADER, gso);
        Ok(Translated { headers, body, offload, limit: None })
    }

    /// Translates an address of a quoted packet to IPv6.
    pub(crate) fn address_to_v6(&self, address: Ipv4Addr) -> Ipv6Addr {
        if address == self.clat4 { self.clat6 } else { self.prefix.embed(address) }
    }

    /// Translates an address of a quoted packet to IPv4.
    pub(crate) fn address_to_v4(&self, address: Ipv6Addr) -> Option<Ipv4Addr> {
        if address == self.clat6 { Some(self.clat4) } else { self.prefix.extract(address) }
    }

    /// Checks and translates the addresses of a packet from the IPv4 side.
    fn outward(&self, header: &ipv4::Header) -> Result<(Ipv6Addr, Ipv6Addr), DropReason> {
        if !is_unicast(header.source) {
            return Err(DropReason::IllegalSource);
        }
        if header.source != self.clat4 {
            return Err(DropReason::ForeignSource);
        }
        if !is_unicast(header.destination) || header.destination == self.clat4 {
            return Err(DropReason::IllegalDestination);
        }
        if self.only_global && !self.prefix.may_represent(header.destination) {
            return Err(DropReason::NotGlobal);
        }
        Ok((self.clat6, self.prefix.embed(header.destination)))
    }

    /// Checks and translates the addresses of a packet for the IPv4 side.
    fn inward(
        &self,
        header: &ipv6::Header,
        payload: &[u8],
    ) -> Result<(Ipv4Addr, Ipv4Addr), DropReason> {
        let from = header.source;
        if from.is_unspecified() || from.is_loopback() || from.is_multicast() {
            return Err(DropReason::IllegalSource);
        }
        if header.destination.is_multicast() {
            return Err(DropReason::IllegalDestination);
        }
        if header.destination != self.clat6 {
            return Err(DropReason::ForeignDestination);
        }
        let is_error = header.protocol == ICMPV6
            && payload.first().is_some_and(|kind| icmp::is_error_v6(*kind));
        let source = match self.prefix.extract(from) {
            Some(source) => source,
            None if is_error && from != self.clat6 => DUMMY,
            None => return Err(DropReason::ForeignSource),
        };
        if !is_unicast(source) || source == self.clat4 {
            return Err(DropReason::IllegalSource);
        }
        if self.only_global && source != DUMMY && !self.prefix.may_represent(source) {
            return Err(DropReason::NotGlobal);
        }
        Ok((source, self.clat4))
    }

    /// Returns the TTL or hop limit after translation.
    fn after_hop(&self, hops: u8) -> Result<u8, DropReason> {
        match hops {
            0 => Err(DropReason::HopLimit),
            1 if self.hop => Err(DropReason::HopLimit),
            _ => Ok(hops - u8::from(self.hop)),
        }
    }

    /// Returns how a packet from the IPv4 side has to be fragmented or segmented (RFC 7915, section
    /// 4).
    fn limits_v6(
        &self,
        header: &ipv4::Header,
        payload: &[u8],
        gso: Gso,
    ) -> Result<Limits, DropReason> {
        let least = self.fragment_above.max(LEAST_MTU).min(self.mtu.max(LEAST_MTU));
        // No translator translates fragments of ICMP, so it stays whole while it fits the uplink.
        let keep = header.dont_fragment || header.protocol == ICMP;
        let most = if keep { self.mtu.max(LEAST_MTU) } else { least };
        if gso != Gso::None {
            let headers = ipv6::HEADER + header_length(header.protocol, payload)?;
            let segment = usize::from(most).saturating_sub(headers) as u16;
            let right = match gso {
                Gso::TcpV4 => header.protocol == TCP,
                _ => gso == Gso::UdpSegments && header.protocol == UDP,
            };
            if !right || header.is_fragment() || segment == 0 {
                return Err(DropReason::Offload);
            }
            return Ok(Limits { fragment: None, segment });
        }
        let extra = if header.is_fragment() { ipv6::FRAGMENT } else { 0 };
        let fits = ipv6::HEADER + extra + payload.len() <= usize::from(most);
        if !fits && header.dont_fragment {
            let headers = (ipv6::HEADER + extra - ipv4::HEADER) as u16;
            return Err(DropReason::TooBig(most - headers));
        }
        Ok(Limits { fragment: (!fits).then_some(most), segment: u16::MAX })
    }

    /// Appends the translated beginning of an upper layer, and returns how many octets of the
    /// original it replaces.
    fn upper(
        &self,
        upper: &Upper<'_>,
        offload: Offload,
        headers: &mut Vec<u8>,
    ) -> Result<usize, DropReason> {
        let Upper { direction, protocol, payload, addresses, .. } = *upper;
        if protocol == ICMP {
            return self.icmp(upper, headers);
        }
        if !upper.is_first {
            return Ok(0);
        }
        if protocol == UDP && is_unsummed(payload, offload)? {
            return match direction {
                Direction::ToV6 => sum_udp(payload, upper.is_fragment, addresses.new, headers),
                // IPv6 allows it in tunnels (RFC 6935), and IPv4 always did.
                Direction::ToV4 => Ok(0),
            };
        }
        adjust(protocol, payload, offload, addresses, headers)
    }

    /// Does the same for an ICMP or ICMPv6 message.
    fn icmp(&self, upper: &Upper<'_>, headers: &mut Vec<u8>) -> Result<usize, DropReason> {
        let Upper { direction, payload, .. } = *upper;
        if upper.is_fragment {
            return Err(DropReason::FragmentedIcmp);
        }
        let kind = byte(payload, 0)?;
        if icmp::echo(kind, direction).is_some() {
            return echo(direction, payload, payload.len(), upper.addresses_v6(), headers);
        }
        if !icmp::is_error(kind, direction) {
            return Err(DropReason::Icmp(kind, byte(payload, 1)?));
        }
        match direction {
            Direction::ToV6 => self.error_to_v6(payload, upper.addresses_v6(), headers)?,
            Direction::ToV4 => self.error_to_v4(payload, upper.addresses_v6(), headers)?,
        }
        Ok(payload.len())
    }
}

/// Size limits of a translated packet, in octets.
#[derive(Debug, Clone, Copy)]
struct Limits {
    /// The maximum size of a fragment, if the packet has to be fragmented.
    fragment: Option<u16>,
    /// The maximum payload of a segment.
    segment: u16,
}
