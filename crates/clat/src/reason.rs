//! Why a packet is dropped instead of translated.

use std::fmt;

/// The reason why a packet is dropped. For those marked *answered*,
/// [`Translator::answer`](crate::Translator::answer) builds an ICMP error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DropReason {
    /// The packet is shorter than its headers or its length field state.
    Truncated,
    /// A header is invalid: wrong version, header length below the minimum, a non-final fragment
    /// whose length is no multiple of eight octets, a jumbogram.
    Malformed,
    /// The checksum of the IPv4 header or of an ICMP error is wrong.
    Checksum,
    /// The source address is illegal: loopback, multicast, broadcast, unspecified (RFC 7915,
    /// sections 4.1 and 5.1).
    IllegalSource,
    /// The IPv4 source is not the CLAT's address, or the IPv6 source is outside the NAT64 prefix.
    ForeignSource,
    /// The destination has no translation: multicast, broadcast, loopback, the CLAT itself.
    IllegalDestination,
    /// The IPv6 destination is not the CLAT's address.
    ForeignDestination,
    /// The well-known prefix must not represent this non-global address (RFC 6052, section 3.1).
    NotGlobal,
    /// The TTL or hop limit is used up. *Answered.*
    HopLimit,
    /// An IPv4 source route is not used up (RFC 7915, section 4.1). *Answered.*
    SourceRoute,
    /// A routing header has segments left (RFC 7915, section 5.1); holds the offset of that field.
    /// *Answered.*
    SegmentsLeft(u32),
    /// The packet exceeds the uplink's MTU and must not be fragmented; holds the MTU to report to
    /// the sender, in octets. *Answered.*
    TooBig(u16),
    /// The translated packet would exceed what a length field can hold.
    TooLong,
    /// The protocol has no meaning in the other family: IGMP, ICMP of the other family, an IPv6
    /// extension header as an IPv4 protocol.
    Protocol(u8),
    /// An extension header follows the fragment header (RFC 7915, section 5.1.1).
    ExtensionHeader(u8),
    /// The packet is a fragment of an ICMP message, whose checksum cannot be computed (RFC 7915,
    /// section 1.2).
    FragmentedIcmp,
    /// The packet is the first fragment of a UDP datagram without a checksum (RFC 7915, section
    /// 4.5).
    NoUdpChecksum,
    /// The ICMP message has no translation; holds type and code.
    Icmp(u8, u8),
    /// An ICMP error quotes another ICMP error.
    NestedError,
    /// An ICMP error quotes a packet that the CLAT did not send.
    ForeignError,
    /// The offload does not fit the packet, or cannot be translated.
    Offload,
}

impl fmt::Display for DropReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Truncated => f.write_str("truncated"),
            Self::Malformed => f.write_str("malformed header"),
            Self::Checksum => f.write_str("wrong checksum"),
            Self::IllegalSource => f.write_str("illegal source address"),
            Self::ForeignSource => f.write_str("source address is not translated"),
            Self::IllegalDestination => f.write_str("illegal destination address"),
            Self::ForeignDestination => f.write_str("destination address is not the translator's"),
            Self::NotGlobal => f.write_str("address is not global and the prefix is 64:ff9b::/96"),
            Self::HopLimit => f.write_str("no hops left"),
            Self::SourceRoute => f.write_str("source route"),
            Self::SegmentsLeft(_) => f.write_str("routing header with segments left"),
            Self::TooBig(mtu) => write!(f, "larger than the MTU of {mtu}"),
            Self::TooLong => f.write_str("too long for the other family"),
            Self::Protocol(protocol) => write!(f, "protocol {protocol} is not translated"),
            Self::ExtensionHeader(kind) => write!(f, "extension header {kind} in a fragment"),
            Self::FragmentedIcmp => f.write_str("fragment of an ICMP message"),
            Self::NoUdpChecksum => f.write_str("UDP fragment without a checksum"),
            Self::Icmp(kind, code) => write!(f, "ICMP type {kind} code {code} is not translated"),
            Self::NestedError => f.write_str("ICMP error about an ICMP error"),
            Self::ForeignError => f.write_str("ICMP error about a packet of others"),
            Self::Offload => f.write_str("offload that cannot be translated"),
        }
    }
}

impl std::error::Error for DropReason {}
