//! Why a packet is not translated.

use std::fmt;

/// Holds the reason for which a packet is dropped. Those marked so get an ICMP error as answer
/// ([`Translator::answer`](crate::Translator::answer)).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DropReason {
    /// Is shorter than its headers or its length field say.
    Truncated,
    /// Has a header that no packet can have: another version, a header length below the minimum, a
    /// fragment that does not end on a multiple of eight octets, a jumbogram.
    Malformed,
    /// Has a wrong checksum of its IPv4 header, or is an ICMP error with a wrong checksum.
    Checksum,
    /// Comes from an address that no packet may come from: loopback, multicast, broadcast,
    /// unspecified (RFC 7915, sections 4.1 and 5.1).
    IllegalSource,
    /// Comes from another address than the one that is translated, or, of IPv6, from outside of the
    /// NAT64 prefix.
    ForeignSource,
    /// Goes to an address that has no translation: multicast, broadcast, loopback, the CLAT itself.
    IllegalDestination,
    /// Goes to another address than the CLAT's.
    ForeignDestination,
    /// Stands for an address that is not global, by the well-known prefix (RFC 6052, section 3.1).
    NotGlobal,
    /// Has no hop left. *Answered.*
    HopLimit,
    /// Has an IPv4 source route that is not used up (RFC 7915, section 4.1). *Answered.*
    SourceRoute,
    /// Has a routing header with segments left (RFC 7915, section 5.1); holds the place of that
    /// field. *Answered.*
    SegmentsLeft(u32),
    /// Is larger than the uplink takes, and may not be fragmented; holds the MTU that the sender has
    /// to heed. *Answered.*
    TooBig(u16),
    /// Would be longer than a length field can hold.
    TooLong,
    /// Carries a protocol that has no meaning in the other family: IGMP, ICMP of the other family, an
    /// IPv6 extension header as a protocol of IPv4.
    Protocol(u8),
    /// Has an extension header behind its fragment header (RFC 7915, section 5.1.1).
    ExtensionHeader(u8),
    /// Is a fragment of an ICMP message: its checksum cannot be worked out (RFC 7915, section 1.2).
    FragmentedIcmp,
    /// Is the first fragment of a UDP datagram without checksum (RFC 7915, section 4.5).
    NoUdpChecksum,
    /// Is an ICMP message that has no translation; holds type and code.
    Icmp(u8, u8),
    /// Is a packet inside an ICMP error that is an ICMP error itself.
    NestedError,
    /// Is an ICMP error about a packet that did not come from here.
    ForeignError,
    /// Has an offload that does not fit the packet, or that cannot be translated.
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
