//! What a venue's routers, resolvers and translators offer.

use std::net::Ipv6Addr;

use bramblegate_clat::Prefix;

use super::{LinkIndex, Mac, Reachability, UplinkTarget};

/// Reports one observation about the network behind an uplink.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum VenueNews {
    /// The current advertisement of a router (RFC 4861).
    Advertised { index: LinkIndex, router: Ipv6Addr, offer: RouterOffer },
    /// NAT64 prefixes with which the uplink's resolvers synthesise AAAA records (RFC 7050); empty:
    /// they synthesise none.
    Synthesised { index: LinkIndex, prefixes: Vec<Prefix> },
    /// Result of a probe of the internet by one path.
    Answers { index: LinkIndex, path: Path, reachability: Reachability },
}

/// Holds the evaluated fields of a router advertisement. Times are in seconds.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RouterOffer {
    /// Lifetime as a default router; 0: it is none.
    pub lifetime: u16,
    /// The M flag: DHCPv6 assigns addresses.
    pub managed: bool,
    /// The O flag: DHCPv6 provides other settings.
    pub other: bool,
    /// A prefix has the A flag: hosts may form addresses in it (SLAAC).
    pub autonomous: bool,
    /// Link MTU, in bytes.
    pub mtu: Option<u32>,
    /// NAT64 prefixes with their lifetimes; 0 withdraws a prefix (RFC 8781).
    pub nat64: Vec<(Prefix, u16)>,
}

/// Names a path to the internet that is probed separately.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Path {
    Ipv4,
    Ipv6,
    /// IPv4 destinations through the venue's NAT64.
    Nat64(Prefix),
    /// IPv4 from a translator's address on the uplink (RFC 7335).
    Translator,
}

/// Configures the watch of an uplink's router advertisements and resolvers. An equal plan changes
/// nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VenuePlan {
    pub index: LinkIndex,
    pub name: String,
    pub mac: Option<Mac>,
    /// Counts carrier-up transitions: each begins anew, as nothing from before is known any more.
    pub generation: u64,
    /// Resolvers to query for `ipv4only.arpa`; `None`: the uplink has no IPv6, so no query.
    pub resolvers: Option<UplinkTarget>,
}
