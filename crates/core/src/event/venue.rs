//! What a venue's routers, resolvers and translators were heard to offer.

use std::net::Ipv6Addr;

use bramblegate_clat::Prefix;

use super::{LinkIndex, Mac, Reachability, UplinkTarget};

/// Reports one thing that was learned of the network behind an uplink.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum VenueNews {
    /// What one router advertises now (RFC 4861).
    Advertised { index: LinkIndex, router: Ipv6Addr, offer: RouterOffer },
    /// The NAT64 prefixes by which the uplink's resolvers make addresses (RFC 7050); empty: they
    /// make none.
    Synthesised { index: LinkIndex, prefixes: Vec<Prefix> },
    /// Whether the internet answers by one path.
    Answers { index: LinkIndex, path: Path, reachability: Reachability },
}

/// Holds what counts of a router's advertisement. Times are in seconds.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RouterOffer {
    /// For how long it is a default router; 0: it is none.
    pub lifetime: u16,
    /// Addresses are had by DHCPv6 (M).
    pub managed: bool,
    /// Other settings are had by DHCPv6 (O).
    pub other: bool,
    /// Hosts may make addresses of a prefix of it.
    pub autonomous: bool,
    /// Of the link, in bytes.
    pub mtu: Option<u32>,
    /// NAT64 prefixes, each with how long it may be used; 0: no longer (RFC 8781).
    pub nat64: Vec<(Prefix, u16)>,
}

/// Names a path to the internet that is tried by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Path {
    Ipv4,
    Ipv6,
    /// IPv4 addresses by the venue's NAT64.
    Nat64(Prefix),
    /// IPv4 by a translator's address on the uplink (RFC 7335).
    Translator,
}

/// Names an uplink whose router advertisements are heard, and its resolvers. An equal plan disturbs
/// nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VenuePlan {
    pub index: LinkIndex,
    pub name: String,
    pub mac: Option<Mac>,
    /// Who is asked for `ipv4only.arpa`; `None`: there is no IPv6 to ask it for.
    pub resolvers: Option<UplinkTarget>,
}
