//! Upper-layer protocols and their checksums (RFC 7915, sections 4.5 and 5.5).

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

/// An upper layer before its translation.
#[derive(Debug, Clone, Copy)]
pub struct Upper<'a> {
    pub direction: Direction,
    /// The IPv4 protocol number.
    pub protocol: u8,
    pub payload: &'a [u8],
    pub is_fragment: bool,
    /// Whether the packet is whole or the first fragment, so that it has the transport header.
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

/// The sums of the addresses before and after translation, which checksums include.
#[derive(Debug, Clone, Copy)]
pub struct Addresses {
    pub old: u16,
    pub new: u16,
}

/// Returns the offset of a transport header's checksum, in octets; `None` where the protocol has
/// none that covers the addresses.
pub fn checksum_field(protocol: u8) -> Option<usize> {
    match protocol {
        TCP => Some(16),
        UDP | DCCP | UDP_LITE => Some(6),
        _ => None,
    }
}

/// Returns a checksum as sent: UDP replaces zero, which would mean none (RFC 768).
fn never_zero(checksum: u16, protocol: u8) -> u16 {
    if protocol == UDP && checksum == 0 { 0xffff } else { checksum }
}

/// Returns the IPv6 next header of an IPv4 protocol. Refuses what IPv6 would parse as an extension
/// header, or as a control message that was never checked.
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

/// Returns the IPv4 protocol of an IPv6 next header.
pub fn protocol_to_v4(next: u8) -> Result<u8, DropReason> {
    match next {
        ICMPV6 => Ok(ICMP),
        ICMP | IGMP => Err(DropReason::Protocol(next)),
        same => Ok(same),
    }
}

/// Returns the length of a TCP or UDP header, in octets.
pub fn header_length(protocol: u8, payload: &[u8]) -> Result<usize, DropReason> {
    if protocol == TCP { Ok(usize::from(byte(payload, 12)? >> 4) * 4) } else { Ok(8) }
}

/// Returns whether a UDP datagram has no checksum, and offload will not add one.
pub fn is_unsummed(payload: &[u8], offload: Offload) -> Result<bool, DropReason> {
    Ok(!offload.needs_checksum() && u16_at(payload, 6)? == 0)
}

/// Computes the missing checksum of a UDP datagram, and appends its header (RFC 7915, section 4.5).
/// Returns the length of the header, in octets.
pub fn sum_udp(
    payload: &[u8],
    is_fragment: bool,
    addresses: u16,
    headers: &mut Vec<u8>,
) -> Result<usize, DropReason> {
    if is_fragment {
        return Err(DropReason::NoUdpChecksum);
    }
    let length = usize::from(u16_at(payload, 4)?);
    let datagram = payload.get(..length).ok_or(DropReason::Truncated)?;
    let ports_and_length = datagram.get(..6).ok_or(DropReason::Malformed)?;
    let pseudo = checksum::add(addresses, checksum::of_upper_layer(length, UDP));
    let checksum = !checksum::add(checksum::sum(datagram), pseudo);
    headers.extend_from_slice(ports_and_length);
    headers.extend(never_zero(checksum, UDP).to_be_bytes());
    Ok(8)
}

/// Appends a transport header up to and with its adjusted checksum, and returns how many octets
/// that is: 0 for protocols whose checksum does not cover the addresses.
pub fn adjust(
    protocol: u8,
    payload: &[u8],
    offload: Offload,
    Addresses { old, new }: Addresses,
    headers: &mut Vec<u8>,
) -> Result<usize, DropReason> {
    let Some(field) = checksum_field(protocol) else { return Ok(0) };
    let before = u16_at(payload, field)?;
    let after = if offload.needs_checksum() {
        checksum::replace(before, old, new)
    } else {
        never_zero(checksum::adjust(before, old, new), protocol)
    };
    headers.extend_from_slice(payload.get(..field).ok_or(DropReason::Truncated)?);
    headers.extend(after.to_be_bytes());
    Ok(field + 2)
}

/// Appends the translated type, code and checksum of an echo request or reply, and returns their
/// length. `length` is that of the whole message, `addresses` the sum of the IPv6 addresses.
pub fn echo(
    direction: Direction,
    message: &[u8],
    length: usize,
    addresses: u16,
    headers: &mut Vec<u8>,
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
    // The checksum of an ICMP message of nothing but zeros is 0xffff, but `adjust` returns 0.
    let zeros = |bytes: &[u8]| bytes.iter().all(|byte| *byte == 0);
    let is_zero = direction == Direction::ToV4 && [new, code] == [0, 0];
    if checksum == 0 && is_zero && message.get(4..).is_some_and(zeros) {
        checksum = 0xffff;
    }
    headers.extend([new, code]);
    headers.extend(checksum.to_be_bytes());
    Ok(4)
}
