//! What is behind the headers of IP: protocols and their checksums (RFC 7915, sections 4.5 and 5.5).

use crate::bytes::{byte, u16_at};
use crate::direction::Direction;
use crate::{DropReason, Offload, checksum, icmp, ipv6};

/// Protocols (IANA).
pub const ICMP: u8 = 1;
pub const TCP: u8 = 6;
pub const UDP: u8 = 17;
pub const ICMPV6: u8 = 58;
const IGMP: u8 = 2;
const DCCP: u8 = 33;
const NO_NEXT_HEADER: u8 = 59;
const UDP_LITE: u8 = 136;

/// Holds an upper layer before its translation.
#[derive(Debug, Clone, Copy)]
pub struct Upper<'a> {
    pub direction: Direction,
    /// As IPv4 numbers it.
    pub protocol: u8,
    pub payload: &'a [u8],
    /// Whether the packet is a piece of a larger one.
    pub is_piece: bool,
    /// Whether the transport header is in it.
    pub is_first: bool,
    pub addresses: Addresses,
}

impl Upper<'_> {
    /// Returns the sum of the IPv6 addresses.
    pub fn addresses_v6(&self) -> u16 {
        match self.direction {
            Direction::ToV6 => self.addresses.new,
            Direction::ToV4 => self.addresses.old,
        }
    }
}

/// Holds what addresses add to checksums, before and after.
#[derive(Debug, Clone, Copy)]
pub struct Addresses {
    pub old: u16,
    pub new: u16,
}

/// Returns where the checksum stands that covers addresses, in octets from the beginning of a
/// transport header.
pub fn checksum_field(protocol: u8) -> Option<usize> {
    match protocol {
        TCP => Some(16),
        UDP | DCCP | UDP_LITE => Some(6),
        _ => None,
    }
}

/// Returns a checksum as UDP writes it: zero would say that there is none (RFC 768).
fn never_zero(checksum: u16, protocol: u8) -> u16 {
    if protocol == UDP && checksum == 0 { 0xffff } else { checksum }
}

/// Returns the next header of a protocol. What would be read as an extension header, or as a control
/// message that was never checked, is none.
pub fn protocol_to_v6(protocol: u8) -> Result<u8, DropReason> {
    match protocol {
        ICMP => Ok(ICMPV6),
        ipv6::HOP_BY_HOP
        | IGMP
        | ipv6::ROUTING
        | ipv6::FRAGMENTED
        | ICMPV6
        | NO_NEXT_HEADER
        | ipv6::DESTINATION_OPTIONS
        | ipv6::MOBILITY
        | ipv6::HIP
        | ipv6::SHIM6 => Err(DropReason::Protocol(protocol)),
        same => Ok(same),
    }
}

/// Returns the protocol of a next header.
pub fn protocol_to_v4(next: u8) -> Result<u8, DropReason> {
    match next {
        ICMPV6 => Ok(ICMP),
        ICMP | IGMP => Err(DropReason::Protocol(next)),
        same => Ok(same),
    }
}

/// Returns the length of a transport header of segments, in octets.
pub fn header_length(protocol: u8, payload: &[u8]) -> Result<usize, DropReason> {
    if protocol == TCP { Ok(usize::from(byte(payload, 12)? >> 4) * 4) } else { Ok(8) }
}

/// Returns whether a UDP datagram has no checksum, and will have none.
pub fn is_unsummed(payload: &[u8], offload: Offload) -> Result<bool, DropReason> {
    Ok(!offload.needs_checksum() && u16_at(payload, 6)? == 0)
}

/// Appends a UDP header with a checksum, where there was none (RFC 7915, section 4.5).
pub fn sum_udp(
    payload: &[u8],
    piece: bool,
    addresses: u16,
    head: &mut Vec<u8>,
) -> Result<usize, DropReason> {
    if piece {
        return Err(DropReason::NoUdpChecksum);
    }
    let length = usize::from(u16_at(payload, 4)?);
    let datagram = payload.get(..length).ok_or(DropReason::Truncated)?;
    let ports_and_length = datagram.get(..6).ok_or(DropReason::Malformed)?;
    let pseudo = checksum::add(addresses, checksum::of_upper_layer(length, UDP));
    let checksum = !checksum::add(checksum::sum(datagram), pseudo);
    head.extend_from_slice(ports_and_length);
    head.extend(never_zero(checksum, UDP).to_be_bytes());
    Ok(8)
}

/// Appends a transport header up to its checksum, which covers the addresses, and returns its length
/// so far. Nothing of other protocols.
pub fn adjust(
    protocol: u8,
    payload: &[u8],
    offload: Offload,
    Addresses { old, new }: Addresses,
    head: &mut Vec<u8>,
) -> Result<usize, DropReason> {
    let Some(field) = checksum_field(protocol) else { return Ok(0) };
    let before = u16_at(payload, field)?;
    let after = if offload.needs_checksum() {
        checksum::replace(before, old, new)
    } else {
        never_zero(checksum::adjust(before, old, new), protocol)
    };
    head.extend_from_slice(payload.get(..field).ok_or(DropReason::Truncated)?);
    head.extend(after.to_be_bytes());
    Ok(field + 2)
}

/// Appends the head of an echo of the other family: type, code and checksum. `length` is that of the
/// whole message, `addresses` the sum of the IPv6 addresses.
pub fn echo(
    direction: Direction,
    message: &[u8],
    length: usize,
    addresses: u16,
    head: &mut Vec<u8>,
) -> Result<usize, DropReason> {
    let (old, code) = (byte(message, 0)?, byte(message, 1)?);
    let new = icmp::echo(old, direction).ok_or(DropReason::Icmp(old, code))?;
    byte(message, icmp::HEADER - 1)?;
    // Only ICMPv6 has a pseudo header.
    let pseudo = checksum::add(addresses, checksum::of_upper_layer(length, ICMPV6));
    let [before, after] = [old, new].map(|kind| u16::from_be_bytes([kind, code]));
    let (before, after) = match direction {
        Direction::ToV6 => (before, checksum::add(after, pseudo)),
        Direction::ToV4 => (checksum::add(before, pseudo), after),
    };
    let mut checksum = checksum::adjust(u16_at(message, 2)?, before, after);
    // Without a pseudo header a message can be nothing but zeros, and only then is 0 not 0xffff.
    let zeros = |bytes: &[u8]| bytes.iter().all(|byte| *byte == 0);
    let bare = direction == Direction::ToV4 && [new, code] == [0, 0];
    if checksum == 0 && bare && message.get(4..).is_some_and(zeros) {
        checksum = 0xffff;
    }
    head.extend([new, code]);
    head.extend(checksum.to_be_bytes());
    Ok(4)
}
