//! Router advertisements (RFC 4861, section 4.2) with the options that describe a venue, and router
//! solicitations.

use std::fmt;
use std::net::Ipv6Addr;

use crate::Prefix;
use crate::bytes::{array, byte, u16_at, u32_at};
use crate::ipv6::LEAST_MTU;

/// The length of the fixed part before the options, in octets.
const HEADER: usize = 16;
/// The type of a router advertisement (ICMPv6).
const ADVERTISEMENT: u8 = 134;
/// The type of a router solicitation.
const SOLICITATION: u8 = 133;
/// Hop limit of a packet that no router has forwarded (RFC 4861, section 6.1.2).
const MAX_HOP_LIMIT: u8 = 255;

/// Options of neighbour discovery (IANA).
const SOURCE_LINK_LAYER: u8 = 1;
const PREFIX_INFORMATION: u8 = 3;
const MTU: u8 = 5;
const RESOLVERS: u8 = 25;
const CAPTIVE_PORTAL: u8 = 37;
const PREF64: u8 = 38;

/// Lengths of NAT64 prefixes by their code, in bits (RFC 8781, section 4).
const LENGTH_CODES: [u8; 6] = [96, 64, 56, 48, 40, 32];

/// A router advertisement. Times are in seconds unless stated otherwise.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Advertisement {
    /// The hop limit that hosts should use; 0: unspecified.
    pub hop_limit: u8,
    /// Addresses are available by DHCPv6 (M).
    pub managed: bool,
    /// Other configuration is available by DHCPv6 (O).
    pub other: bool,
    /// The preference among several default routers.
    pub preference: Preference,
    /// The lifetime as a default router; 0: it is not one.
    pub lifetime: u16,
    /// In milliseconds; 0: unspecified.
    pub reachable_time: u32,
    /// Between neighbour solicitations, in milliseconds; 0: unspecified.
    pub retransmission_time: u32,
    /// The router's Ethernet address.
    pub link_layer: Option<[u8; 6]>,
    /// The MTU of the link, in octets; at least 1280 (RFC 4861, section 6.3.4).
    pub mtu: Option<u32>,
    /// Prefixes of the link, in the order of the options.
    pub prefixes: Vec<PrefixInformation>,
    /// Resolvers, in the order of the options.
    pub resolvers: Vec<Resolvers>,
    /// NAT64 prefixes, in the order of the options.
    pub nat_prefixes: Vec<NatPrefix>,
    /// The URI of the captive portal's API (RFC 8910); `urn:ietf:params:capport:unrestricted` means
    /// that there is no portal.
    pub captive_portal: Option<String>,
}

/// The preference of a default router (RFC 4191, section 2.1), lowest first.
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

/// A prefix of the link (RFC 4861, section 4.6.2). Lifetimes of `u32::MAX` are infinite.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct PrefixInformation {
    /// The prefix; bits behind its length are zero.
    pub address: Ipv6Addr,
    /// In bits, at most 128.
    pub length: u8,
    /// Its addresses are on the link (L).
    pub on_link: bool,
    /// Hosts may configure addresses from it by SLAAC (A).
    pub autonomous: bool,
    /// The valid lifetime.
    pub valid: u32,
    /// The preferred lifetime.
    pub preferred: u32,
}

/// Recursive DNS servers (RFC 8106, section 5.1).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Resolvers {
    /// 0: withdrawn, `u32::MAX`: infinite.
    pub lifetime: u32,
    /// Their addresses.
    pub servers: Vec<Ipv6Addr>,
}

/// A NAT64 prefix (RFC 8781).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct NatPrefix {
    /// The prefix.
    pub prefix: Prefix,
    /// A multiple of 8, at most 65528; 0: withdrawn.
    pub lifetime: u16,
}

/// Why a packet is not a valid router advertisement (RFC 4861, section 6.1.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AdvertisementError {
    /// The packet was forwarded: its hop limit is not 255.
    Forwarded,
    /// The source is not a link-local address.
    Source,
    /// The ICMPv6 type or code is wrong.
    Kind,
    /// The message is cut off, or an option has a length of zero.
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
    /// Parses an ICMPv6 message that came from `source` with `hop_limit`; the kernel has checked
    /// its checksum, as it does for raw sockets. Skips unknown and malformed options.
    ///
    /// # Errors
    /// The message is invalid as a whole.
    pub fn read(
        message: &[u8],
        source: Ipv6Addr,
        hop_limit: u8,
    ) -> Result<Self, AdvertisementError> {
        if hop_limit != MAX_HOP_LIMIT {
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

    /// Serializes the message for a raw ICMPv6 socket: the kernel fills in the checksum. Omits
    /// flags, the preference and the captive portal.
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
        for prefix in &self.prefixes {
            let flags = u8::from(prefix.on_link) << 7 | u8::from(prefix.autonomous) << 6;
            message.extend([PREFIX_INFORMATION, 4, prefix.length, flags]);
            message.extend(prefix.valid.to_be_bytes());
            message.extend(prefix.preferred.to_be_bytes());
            message.extend([0; 4]);
            message.extend(prefix.address.octets());
        }
        for resolvers in &self.resolvers {
            // The length is in units of eight octets; 127 servers are the field's limit.
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

    /// Parses an option, including its header; `None` where it is malformed.
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

/// Splits off the first option; `None` where its length is zero or beyond the end.
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

/// Parses a PREF64 option (RFC 8781, section 4): 13 bits of lifetime in units of eight seconds, 3
/// bits of length code, the highest 96 bits of the prefix.
fn nat_prefix(option: &[u8]) -> Option<NatPrefix> {
    let field = u16_at(option, 2).ok()?;
    let length = *LENGTH_CODES.get(usize::from(field & 7))?;
    let mut octets = [0; 16];
    octets.iter_mut().zip(array::<12>(option, 4).ok()?).for_each(|(to, from)| *to = from);
    let prefix = Prefix::new(octets.into(), length).ok().filter(Prefix::is_routable)?;
    Some(NatPrefix { prefix, lifetime: field & !7 })
}

/// Returns a router solicitation (RFC 4861, section 4.1) for a raw ICMPv6 socket: the kernel fills
/// in the checksum. `link_layer` is `None` where the source may be the unspecified address.
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

    /// Returns an advertisement of a header and options, each padded to units of eight octets.
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
    fn a_serialized_advertisement_is_parsed_back() {
        for prefix in ["64:ff9b::/96", "2001:db8:64::/64", "2001:db8::/56", "2001:db8::/32"] {
            for (lifetime, kept) in [(600, 600), (607, 600), (7, 0), (0, 0), (u16::MAX, 65528)] {
                let prefix: Prefix = prefix.parse().unwrap();
                let nat = |lifetime| vec![NatPrefix { prefix, lifetime }];
                let written = Advertisement {
                    hop_limit: 64,
                    lifetime: 600,
                    link_layer: Some([2, 0, 0, 0, 0, 1]),
                    mtu: Some(1500),
                    prefixes: vec![PrefixInformation {
                        address: "fd01::".parse().unwrap(),
                        length: 64,
                        on_link: true,
                        autonomous: false,
                        valid: 7200,
                        preferred: 0,
                    }],
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
    fn parses_the_advertisement_of_an_ipv6_only_venue() {
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
                // An unknown type.
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
    fn refuses_invalid_advertisements() {
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

    /// RFC 8781, section 4: six codes are valid, and options with the other two are ignored.
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
        // Withdrawn.
        let read = read(&message(0, 0, &[&pref64(0, 0, prefix)])).unwrap();
        assert_eq!(read.nat_prefixes[0].lifetime, 0);
    }

    #[test]
    fn skips_malformed_options() {
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
