//! Router advertisements (RFC 4861, section 4.2), with the options that say what a venue is, and
//! solicitations of them.

use std::fmt;
use std::net::Ipv6Addr;

use crate::Prefix;
use crate::bytes::{array, byte, u16_at, u32_at};
use crate::ipv6::LEAST_MTU;

/// Octets before the options.
const HEADER: usize = 16;
/// The type of a router advertisement (ICMPv6).
const ADVERTISEMENT: u8 = 134;
/// The type of a router solicitation.
const SOLICITATION: u8 = 133;
/// What only a neighbour's packet can still have (RFC 4861, section 6.1.2).
const NEIGHBOUR: u8 = 255;

/// Options of neighbour discovery (IANA).
const SOURCE_LINK_LAYER: u8 = 1;
const PREFIX_INFORMATION: u8 = 3;
const MTU: u8 = 5;
const RESOLVERS: u8 = 25;
const CAPTIVE_PORTAL: u8 = 37;
const PREF64: u8 = 38;

/// Lengths of NAT64 prefixes by their code, in bits (RFC 8781, section 4).
const LENGTH_CODES: [u8; 6] = [96, 64, 56, 48, 40, 32];

/// Holds what a router advertises. Times are in seconds unless they say otherwise.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Advertisement {
    /// Hops that hosts are to use; 0 says nothing.
    pub hop_limit: u8,
    /// Addresses are had by DHCPv6 (M).
    pub managed: bool,
    /// Other settings are had by DHCPv6 (O).
    pub other: bool,
    /// Among several routers.
    pub preference: Preference,
    /// For how long this is a default router; 0: it is none.
    pub lifetime: u16,
    /// In milliseconds; 0 says nothing.
    pub reachable_time: u32,
    /// Between neighbour solicitations, in milliseconds; 0 says nothing.
    pub retransmission_time: u32,
    /// The router's link-layer address, of Ethernet.
    pub link_layer: Option<[u8; 6]>,
    /// Of the link, in octets; never below 1280 (RFC 4861, section 6.3.4).
    pub mtu: Option<u32>,
    /// Prefixes of the link, in their order.
    pub prefixes: Vec<PrefixInformation>,
    /// Resolvers, in their order.
    pub resolvers: Vec<Resolvers>,
    /// NAT64 prefixes, in their order.
    pub nat_prefixes: Vec<NatPrefix>,
    /// The URI of the captive portal's API (RFC 8910); `urn:ietf:params:capport:unrestricted` says
    /// that there is no portal.
    pub captive_portal: Option<String>,
}

/// Names the preference of a default router (RFC 4191, section 2.1), lowest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Preference {
    /// Low.
    Low,
    /// Medium, also for the reserved value.
    #[default]
    Medium,
    /// High.
    High,
}

/// Holds a prefix of the link (RFC 4861, section 4.6.2). Lifetimes of `u32::MAX` do not end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct PrefixInformation {
    /// The prefix; bits behind its length are zero.
    pub address: Ipv6Addr,
    /// In bits, at most 128.
    pub length: u8,
    /// Its addresses are on the link (L).
    pub on_link: bool,
    /// Hosts may make addresses of it (A).
    pub autonomous: bool,
    /// For how long addresses are valid.
    pub valid: u32,
    /// For how long addresses are preferred.
    pub preferred: u32,
}

/// Holds resolvers (RFC 8106, section 5.1).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Resolvers {
    /// For how long they may be used; 0: no longer, `u32::MAX`: without end.
    pub lifetime: u32,
    /// Their addresses.
    pub servers: Vec<Ipv6Addr>,
}

/// Holds a NAT64 prefix (RFC 8781).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct NatPrefix {
    /// The prefix.
    pub prefix: Prefix,
    /// For how long it may be used; 0: no longer. A multiple of 8, at most 65528.
    pub lifetime: u16,
}

/// Reports why a packet is no router advertisement that a host may heed (RFC 4861, section 6.1.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AdvertisementError {
    /// It was forwarded: its hop limit is not 255.
    Forwarded,
    /// Its source is no link-local address.
    Source,
    /// Its type or code is another.
    Kind,
    /// It is shorter than it says, or an option has a length of zero.
    Truncated,
}

impl fmt::Display for AdvertisementError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Forwarded => "hop limit is not 255",
            Self::Source => "source address is not link-local",
            Self::Kind => "not a router advertisement",
            Self::Truncated => "truncated",
        })
    }
}

impl std::error::Error for AdvertisementError {}

impl Advertisement {
    /// Reads an ICMPv6 message that came from `source` with `hop_limit`; its checksum was checked, as
    /// the kernel does for raw sockets. Options that are not known, or not as they should be, are
    /// passed over.
    ///
    /// # Errors
    /// The whole advertisement is not to be heeded.
    pub fn read(
        message: &[u8],
        source: Ipv6Addr,
        hop_limit: u8,
    ) -> Result<Self, AdvertisementError> {
        if hop_limit != NEIGHBOUR {
            return Err(AdvertisementError::Forwarded);
        }
        if !source.is_unicast_link_local() {
            return Err(AdvertisementError::Source);
        }
        if message.first_chunk() != Some(&[ADVERTISEMENT, 0]) {
            return Err(AdvertisementError::Kind);
        }
        let fixed: [u8; HEADER] = array(message, 0).map_err(|_| AdvertisementError::Truncated)?;
        let [_, _, _, _, hop_limit, flags, lifetime @ .., _, _, _, _, _, _, _, _] = fixed;
        let times: [u8; 8] = array(message, 8).map_err(|_| AdvertisementError::Truncated)?;
        let [a, b, c, d, retransmission @ ..] = times;
        let mut advertisement = Self {
            hop_limit,
            managed: flags & 0x80 != 0,
            other: flags & 0x40 != 0,
            preference: match flags >> 3 & 3 {
                0b01 => Preference::High,
                0b11 => Preference::Low,
                _ => Preference::Medium,
            },
            lifetime: u16::from_be_bytes(lifetime),
            reachable_time: u32::from_be_bytes([a, b, c, d]),
            retransmission_time: u32::from_be_bytes(retransmission),
            ..Self::default()
        };
        let mut rest = message.get(HEADER..).unwrap_or_default();
        while !rest.is_empty() {
            let (option, after) = split_option(rest).ok_or(AdvertisementError::Truncated)?;
            advertisement.read_option(option);
            rest = after;
        }
        Ok(advertisement)
    }

    /// Returns the message as a raw ICMPv6 socket sends it: the kernel fills in the checksum. Flags,
    /// prefixes of the link, the preference and the captive portal are left out.
    #[must_use]
    pub fn message(&self) -> Vec<u8> {
        let mut message = vec![ADVERTISEMENT, 0, 0, 0, self.hop_limit, 0];
        message.extend(self.lifetime.to_be_bytes());
        message.extend(self.reachable_time.to_be_bytes());
        message.extend(self.retransmission_time.to_be_bytes());
        if let Some(address) = self.link_layer {
            message.extend([SOURCE_LINK_LAYER, 1]);
            message.extend(address);
        }
        if let Some(mtu) = self.mtu {
            message.extend([MTU, 1, 0, 0]);
            message.extend(mtu.to_be_bytes());
        }
        for resolvers in &self.resolvers {
            // Units of eight octets; a message has no room for as many as the field counts.
            let servers = resolvers.servers.iter().take(127);
            message.extend([RESOLVERS, 1 + 2 * u8::try_from(servers.len()).unwrap_or(127), 0, 0]);
            message.extend(resolvers.lifetime.to_be_bytes());
            message.extend(servers.flat_map(Ipv6Addr::octets));
        }
        for NatPrefix { prefix, lifetime } in &self.nat_prefixes {
            let code = LENGTH_CODES.iter().position(|length| *length == prefix.length());
            let code = code.and_then(|code| u16::try_from(code).ok()).unwrap_or_default();
            message.extend([PREF64, 2]);
            message.extend((lifetime & !7 | code).to_be_bytes());
            message.extend(prefix.address().octets().iter().take(12));
        }
        message
    }

    /// Reads an option, header and all; nothing where it is not whole.
    fn read_option(&mut self, option: &[u8]) -> Option<()> {
        match *option.first()? {
            SOURCE_LINK_LAYER if option.len() == 8 => {
                self.link_layer = Some(array(option, 2).ok()?);
            }
            PREFIX_INFORMATION if option.len() == 32 => {
                self.prefixes.push(prefix_information(option)?);
            }
            MTU if option.len() == 8 => {
                let mtu = u32_at(option, 4).ok()?;
                self.mtu = self.mtu.or((mtu >= LEAST_MTU.into()).then_some(mtu));
            }
            RESOLVERS if option.len() >= 24 => {
                let servers = option.get(8..)?.chunks_exact(16);
                let servers = servers.filter_map(|server| server.first_chunk::<16>());
                self.resolvers.push(Resolvers {
                    lifetime: u32_at(option, 4).ok()?,
                    servers: servers.map(|octets| Ipv6Addr::from(*octets)).collect(),
                });
            }
            CAPTIVE_PORTAL => {
                let padded = option.get(2..)?;
                let end = padded.iter().position(|byte| *byte == 0).unwrap_or(padded.len());
                let uri = std::str::from_utf8(padded.get(..end)?).ok()?;
                if !uri.is_empty() && uri.chars().all(|letter| letter.is_ascii_graphic()) {
                    self.captive_portal = Some(uri.to_owned());
                }
            }
            PREF64 if option.len() == 16 => self.nat_prefixes.push(nat_prefix(option)?),
            _ => {}
        }
        Some(())
    }
}

/// Splits the first option off. `None` where its length is zero or beyond the end.
fn split_option(options: &[u8]) -> Option<(&[u8], &[u8])> {
    let length = usize::from(*options.get(1)?) * 8;
    if length == 0 { None } else { options.split_at_checked(length) }
}

fn prefix_information(option: &[u8]) -> Option<PrefixInformation> {
    let length = byte(option, 2).ok().filter(|length| *length <= 128)?;
    let flags = byte(option, 3).ok()?;
    let address = Ipv6Addr::from(array::<16>(option, 16).ok()?).to_bits();
    let mask = u128::MAX.checked_shl(128 - u32::from(length)).unwrap_or(0);
    Some(PrefixInformation {
        address: Ipv6Addr::from_bits(address & mask),
        length,
        on_link: flags & 0x80 != 0,
        autonomous: flags & 0x40 != 0,
        valid: u32_at(option, 4).ok()?,
        preferred: u32_at(option, 8).ok()?,
    })
}

/// Reads a PREF64 option (RFC 8781, section 4): 13 bits of lifetime in units of eight seconds, 3 bits
/// of length code, the highest 96 bits of the prefix.
fn nat_prefix(option: &[u8]) -> Option<NatPrefix> {
    let field = u16_at(option, 2).ok()?;
    let length = *LENGTH_CODES.get(usize::from(field & 7))?;
    let mut octets = [0; 16];
    octets.iter_mut().zip(array::<12>(option, 4).ok()?).for_each(|(to, from)| *to = from);
    let prefix = Prefix::new(octets.into(), length).ok().filter(Prefix::is_routable)?;
    Some(NatPrefix { prefix, lifetime: field & !7 })
}

/// Returns a router solicitation (RFC 4861, section 4.1) as a raw ICMPv6 socket sends it: the kernel
/// fills in the checksum. Without a link-layer address where the source may be unspecified.
#[must_use]
pub fn solicitation(link_layer: Option<[u8; 6]>) -> Vec<u8> {
    let mut message = vec![SOLICITATION, 0, 0, 0, 0, 0, 0, 0];
    if let Some(address) = link_layer {
        message.extend([SOURCE_LINK_LAYER, 1]);
        message.extend(address);
    }
    message
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ROUTER: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1);

    fn read(message: &[u8]) -> Result<Advertisement, AdvertisementError> {
        Advertisement::read(message, ROUTER, 255)
    }

    /// An advertisement of its header and options, each padded to whole units.
    fn message(flags: u8, lifetime: u16, options: &[&[u8]]) -> Vec<u8> {
        let mut message = vec![134, 0, 0, 0, 64, flags];
        message.extend(lifetime.to_be_bytes());
        message.extend([0, 0, 0x75, 0x30, 0, 0, 3, 0xe8]);
        for option in options {
            let units = (option.len() + 1).div_ceil(8);
            message.extend([option[0], units as u8]);
            message.extend(&option[1..]);
            message.resize(message.len() + units * 8 - option.len() - 1, 0);
        }
        message
    }

    #[test]
    fn what_is_written_is_read_as_it_was_meant() {
        for prefix in ["64:ff9b::/96", "2001:db8:64::/64", "2001:db8::/56", "2001:db8::/32"] {
            for (lifetime, kept) in [(600, 600), (607, 600), (7, 0), (0, 0), (u16::MAX, 65528)] {
                let prefix: Prefix = prefix.parse().unwrap();
                let nat = |lifetime| vec![NatPrefix { prefix, lifetime }];
                let written = Advertisement {
                    hop_limit: 64,
                    lifetime: 600,
                    link_layer: Some([2, 0, 0, 0, 0, 1]),
                    mtu: Some(1500),
                    resolvers: vec![Resolvers { lifetime: u32::MAX, servers: vec![ROUTER] }],
                    nat_prefixes: nat(lifetime),
                    ..Advertisement::default()
                };
                let expected = Advertisement { nat_prefixes: nat(kept), ..written.clone() };
                assert_eq!(read(&written.message()).unwrap(), expected);
            }
        }
        let nothing = Advertisement::default();
        assert_eq!(read(&nothing.message()).unwrap(), nothing);
    }

    fn pref64(lifetime: u16, code: u16, prefix: Ipv6Addr) -> Vec<u8> {
        let mut option = vec![PREF64];
        option.extend((lifetime | code).to_be_bytes());
        option.extend(&prefix.octets()[..12]);
        option
    }

    #[test]
    fn reads_what_a_venue_of_ipv6_only_advertises() {
        let prefix: Ipv6Addr = "2001:db8:64::1".parse().unwrap();
        let resolver: Ipv6Addr = "2001:db8:64::53".parse().unwrap();
        let mut information = vec![3, 64, 0xc0, 0, 0, 0x0e, 0x10, 0, 0, 0x07, 0x08, 0, 0, 0, 0];
        information.extend(prefix.octets());
        let mut servers = vec![25, 0, 0, 0, 0, 0x07, 0x08];
        servers.extend(resolver.octets());
        servers.extend(ROUTER.octets());
        let bytes = message(
            0xc8,
            1800,
            &[
                &[1, 2, 0, 0, 0, 0, 9],
                &[5, 0, 0, 0, 0, 5, 0],
                &information,
                &servers,
                &pref64(1800, 0, "64:ff9b::".parse().unwrap()),
                b"\x25https://portal.example/api",
                // of a kind that is not known
                &[200, 1, 2, 3],
            ],
        );
        let expected = Advertisement {
            hop_limit: 64,
            managed: true,
            other: true,
            preference: Preference::High,
            lifetime: 1800,
            reachable_time: 30_000,
            retransmission_time: 1000,
            link_layer: Some([2, 0, 0, 0, 0, 9]),
            mtu: Some(1280),
            prefixes: vec![PrefixInformation {
                address: "2001:db8:64::".parse().unwrap(),
                length: 64,
                on_link: true,
                autonomous: true,
                valid: 3600,
                preferred: 1800,
            }],
            resolvers: vec![Resolvers { lifetime: 1800, servers: vec![resolver, ROUTER] }],
            nat_prefixes: vec![NatPrefix { prefix: Prefix::WELL_KNOWN, lifetime: 1800 }],
            captive_portal: Some("https://portal.example/api".to_owned()),
        };
        assert_eq!(read(&bytes), Ok(expected));
    }

    /// RFC 4861, section 6.1.2.
    #[test]
    fn refuses_what_hosts_have_to() {
        let good = message(0, 0, &[&[5, 0, 0, 0, 0, 5, 220]]);
        assert!(read(&good).is_ok());
        let with = |source: &str, hops| {
            Advertisement::read(&good, source.parse().unwrap(), hops).unwrap_err()
        };
        assert_eq!(with("fe80::1", 254), AdvertisementError::Forwarded);
        assert_eq!(with("2001:db8::1", 255), AdvertisementError::Source);
        assert_eq!(with("::", 255), AdvertisementError::Source);
        for (at, value) in [(0, 133), (1, 1)] {
            let mut other = good.clone();
            other[at] = value;
            assert_eq!(read(&other), Err(AdvertisementError::Kind));
        }
        let mut endless = good.clone();
        endless[17] = 0;
        assert_eq!(read(&endless), Err(AdvertisementError::Truncated));
        for end in 2..good.len() {
            let whole = end == HEADER;
            assert_eq!(read(&good[..end]).is_ok(), whole, "{end}");
        }
    }

    /// RFC 8781, section 4: six codes; two others are not to be heeded.
    #[test]
    fn reads_nat_prefixes_of_every_length() {
        let prefix: Ipv6Addr = "2001:db8:1234:5678:9abc:def0:ffff:ffff".parse().unwrap();
        let lengths = [(0, 96), (1, 64), (2, 56), (3, 48), (4, 40), (5, 32)];
        for (code, length) in lengths {
            let read = read(&message(0, 0, &[&pref64(0xfff8, code, prefix)])).unwrap();
            let expected = Prefix::new(prefix, length).unwrap();
            assert_eq!(read.nat_prefixes, [NatPrefix { prefix: expected, lifetime: 65528 }]);
        }
        for code in [6, 7] {
            let read = read(&message(0, 0, &[&pref64(8, code, prefix)])).unwrap();
            assert_eq!(read.nat_prefixes, []);
        }
        for nowhere in ["::", "::1:0:0", "::ffff:0:0", "fe80::", "febf:1::", "ff02::", "ff0e:64::"]
        {
            let nowhere = pref64(8, 0, nowhere.parse().unwrap());
            assert_eq!(read(&message(0, 0, &[&nowhere])).unwrap().nat_prefixes, []);
        }
        // withdrawn
        let read = read(&message(0, 0, &[&pref64(0, 0, prefix)])).unwrap();
        assert_eq!(read.nat_prefixes[0].lifetime, 0);
    }

    #[test]
    fn passes_over_options_that_are_not_as_they_should_be() {
        let bytes = message(
            0,
            0,
            &[
                &[5, 0],
                &[3, 64, 0xc0, 0, 0, 0, 0],
                &[38, 0, 8, 0, 0, 0, 0],
                &[25, 0, 0, 0, 0, 0, 1],
                b"\x25\xff\xfe",
                b"\x25https://a b/",
                b"\x25",
                &[1, 2, 0, 0, 0, 0, 9, 9, 9, 9],
            ],
        );
        let plain = Advertisement {
            hop_limit: 64,
            reachable_time: 30_000,
            retransmission_time: 1000,
            ..Advertisement::default()
        };
        assert_eq!(read(&bytes), Ok(plain));
    }

    #[test]
    fn solicits() {
        assert_eq!(solicitation(None), [133, 0, 0, 0, 0, 0, 0, 0]);
        let with = solicitation(Some([2, 0, 0, 0, 0, 9]));
        assert_eq!(with[8..], [1, 1, 2, 0, 0, 0, 0, 9]);
    }

    proptest! {
        #[test]
        fn takes_anything(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let message = [&[134, 0][..], &bytes].concat();
            if let Ok(advertisement) = read(&message) {
                let prefixes = &advertisement.prefixes;
                prop_assert!(prefixes.iter().all(|prefix| prefix.length <= 128));
                let options = advertisement.nat_prefixes.len() + prefixes.len();
                prop_assert!(options * 16 <= message.len() - 16);
            }
        }
    }
}
