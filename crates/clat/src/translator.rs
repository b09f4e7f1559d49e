//! The translation of packets, both ways (RFC 7915).

use std::net::{Ipv4Addr, Ipv6Addr};

use crate::address::is_unicast;
use crate::bytes::byte;
use crate::direction::Direction;
use crate::ipv6::{Fragment, LEAST_MTU};
use crate::transport::{
    Addresses, ICMP, ICMPV6, TCP, UDP, Upper, adjust, checksum_field, echo, header_length,
    is_unsummed, protocol_to_v4, protocol_to_v6, sum_udp,
};
use crate::{DropReason, Gso, Offload, Prefix, Translated, checksum, icmp, ipv4, ipv6};

/// Stands for a router whose IPv6 address has no IPv4 address, as source of its ICMP errors
/// (RFC 7600, section 4.8; RFC 6791).
const DUMMY: Ipv4Addr = Ipv4Addr::new(192, 0, 0, 8);

/// Translates between one IPv4 address and one IPv6 address, and between all others by a prefix.
/// Holds no state: equal packets are translated equally.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Translator {
    /// The one IPv4 address behind the translator.
    pub clat4: Ipv4Addr,
    /// The IPv6 address that stands for it.
    pub clat6: Ipv6Addr,
    /// What stands for all other IPv4 addresses.
    pub prefix: Prefix,
    /// The IPv6 MTU of the uplink, in octets.
    pub mtu: u16,
    /// The size above which packets that may be fragmented are, in octets: 1280, unless it is known
    /// that the way carries more (RFC 7915, section 4).
    pub fragment_above: u16,
    /// Whether it counts as a hop (RFC 7915, section 4.1). Not where the same kernel forwards a packet
    /// before and after: that counts twice already.
    pub hop: bool,
    /// Whether addresses that are not global are kept off the well-known prefix (RFC 6052,
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
    /// Translates a packet of the one behind into IPv6. `head` is where the new head is written.
    ///
    /// # Errors
    /// The reason for which it has to be dropped.
    pub fn to_v6<'a>(
        &self,
        packet: &'a [u8],
        offload: Offload,
        head: &'a mut Vec<u8>,
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
        let room = self.room_v6(&header, payload, offload.gso)?;
        let cut = room.limit.is_some();
        let new = ipv6::Header {
            traffic_class: header.tos,
            payload_length: 0,
            hop_limit,
            source,
            destination,
            fragment: (header.is_fragment() || cut).then_some(Fragment {
                offset: header.fragment_offset,
                more: header.more_fragments,
                identification: header.identification.into(),
            }),
            protocol,
            upper: 0,
        };
        head.clear();
        new.write(head);
        let start = head.len();
        let addresses = Addresses {
            old: checksum::of_v4(header.source, header.destination),
            new: checksum::of_v6(source, destination),
        };
        let upper = Upper {
            direction: Direction::ToV6,
            protocol: header.protocol,
            payload,
            is_piece: header.is_fragment(),
            is_first: header.fragment_offset == 0,
            addresses,
        };
        let used = self.upper(&upper, offload, head)?;
        let body = payload.get(used..).unwrap_or_default();
        let payload_length = head.len() - ipv6::HEADER + body.len();
        ipv6::set_payload_length(head, 0, payload_length)?;
        let gso = if offload.gso == Gso::TcpV4 { Gso::TcpV6 } else { offload.gso };
        let mut offload = offload.moved(header.header_length, start, gso);
        offload.gso_size = offload.gso_size.min(room.segment);
        Ok(Translated { head, body, offload, limit: room.limit })
    }

    /// Translates a packet for the one behind into IPv4. `identification` is for packets that may be
    /// fragmented later: it should not come twice within the lifetime of a packet (RFC 6864). `head`
    /// is where the new head is written.
    ///
    /// # Errors
    /// The reason for which it has to be dropped.
    pub fn to_v4<'a>(
        &self,
        packet: &'a [u8],
        offload: Offload,
        identification: u16,
        head: &'a mut Vec<u8>,
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
        head.clear();
        head.resize(ipv4::HEADER, 0);
        let addresses = Addresses {
            old: checksum::of_v6(header.source, header.destination),
            new: checksum::of_v4(source, destination),
        };
        let upper = Upper {
            direction: Direction::ToV4,
            protocol,
            payload,
            is_piece: header.is_fragment(),
            is_first: header.fragment.is_none_or(|fragment| fragment.offset == 0),
            addresses,
        };
        let used = self.upper(&upper, offload, head)?;
        let body = payload.get(used..).unwrap_or_default();
        let total_length = head.len() + body.len();
        let sent = match gso {
            Gso::None => total_length,
            _ => ipv4::HEADER + header_length(protocol, payload)? + usize::from(offload.gso_size),
        };
        let fragment = header.fragment;
        let new = ipv4::Header {
            tos: header.traffic_class,
            total_length,
            identification: fragment.map_or(identification, |piece| piece.identification as u16),
            dont_fragment: fragment.is_none() && sent > ipv4::MAY_BE_FRAGMENTED,
            more_fragments: fragment.is_some_and(|piece| piece.more),
            fragment_offset: fragment.map_or(0, |piece| piece.offset),
            ttl,
            protocol,
            source,
            destination,
            header_length: ipv4::HEADER,
        };
        if let Some(place) = head.first_chunk_mut() {
            *place = new.to_bytes()?;
        }
        let offload = offload.moved(header.upper, ipv4::HEADER, gso);
        Ok(Translated { head, body, offload, limit: None })
    }

    /// Returns the IPv6 address that stands for an IPv4 address.
    pub(crate) fn address_to_v6(&self, address: Ipv4Addr) -> Ipv6Addr {
        if address == self.clat4 { self.clat6 } else { self.prefix.embed(address) }
    }

    /// Returns the IPv4 address that an IPv6 address stands for.
    pub(crate) fn address_to_v4(&self, address: Ipv6Addr) -> Option<Ipv4Addr> {
        if address == self.clat6 { Some(self.clat4) } else { self.prefix.extract(address) }
    }

    /// Translates the addresses of a packet of the one behind.
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

    /// Translates the addresses of a packet for the one behind.
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

    /// Returns the hops that are left.
    fn after_hop(&self, hops: u8) -> Result<u8, DropReason> {
        match hops {
            0 => Err(DropReason::HopLimit),
            1 if self.hop => Err(DropReason::HopLimit),
            _ => Ok(hops - u8::from(self.hop)),
        }
    }

    /// Works out how a packet of the one behind fits the way (RFC 7915, section 4).
    fn room_v6(&self, header: &ipv4::Header, payload: &[u8], gso: Gso) -> Result<Room, DropReason> {
        let least = self.fragment_above.max(LEAST_MTU).min(self.mtu.max(LEAST_MTU));
        // Pieces of ICMP can be translated back nowhere, so it is left whole while it fits the uplink.
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
            return Ok(Room { limit: None, segment });
        }
        let extra = if header.is_fragment() { ipv6::FRAGMENT } else { 0 };
        let fits = ipv6::HEADER + extra + payload.len() <= usize::from(most);
        if !fits && header.dont_fragment {
            let headers = (ipv6::HEADER + extra - ipv4::HEADER) as u16;
            return Err(DropReason::TooBig(most - headers));
        }
        Ok(Room { limit: (!fits).then_some(most), segment: u16::MAX })
    }

    /// Appends the head of an upper layer, and returns how many octets of the old one it is made of.
    fn upper(
        &self,
        upper: &Upper<'_>,
        offload: Offload,
        head: &mut Vec<u8>,
    ) -> Result<usize, DropReason> {
        let Upper { direction, protocol, payload, addresses, .. } = *upper;
        if protocol == ICMP {
            return self.icmp(upper, head);
        }
        if !upper.is_first {
            return Ok(0);
        }
        if protocol == UDP && is_unsummed(payload, offload)? {
            return match direction {
                Direction::ToV6 => sum_udp(payload, upper.is_piece, addresses.new, head),
                // In tunnels IPv6 allows it (RFC 6935), and IPv4 always did.
                Direction::ToV4 => Ok(0),
            };
        }
        adjust(protocol, payload, offload, addresses, head)
    }

    /// Appends the head of a message of ICMP or ICMPv6, and returns how many octets of the old one it
    /// is made of.
    fn icmp(&self, upper: &Upper<'_>, head: &mut Vec<u8>) -> Result<usize, DropReason> {
        let Upper { direction, payload, .. } = *upper;
        if upper.is_piece {
            return Err(DropReason::FragmentedIcmp);
        }
        let kind = byte(payload, 0)?;
        if icmp::echo(kind, direction).is_some() {
            return echo(direction, payload, payload.len(), upper.addresses_v6(), head);
        }
        if !icmp::is_error(kind, direction) {
            return Err(DropReason::Icmp(kind, byte(payload, 1)?));
        }
        match direction {
            Direction::ToV6 => self.error_to_v6(payload, upper.addresses_v6(), head)?,
            Direction::ToV4 => self.error_to_v4(payload, upper.addresses_v6(), head)?,
        }
        Ok(payload.len())
    }
}

/// Holds how a packet fits the way.
#[derive(Debug, Clone, Copy)]
struct Room {
    /// The size that no piece may exceed, if it has to be fragmented, in octets.
    limit: Option<u16>,
    /// The payload that no segment may exceed, in octets.
    segment: u16,
}
