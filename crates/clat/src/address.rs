//! IPv4 addresses inside IPv6 addresses (RFC 6052).

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// The octet that is zero in every address with an embedded IPv4 address, unless the prefix covers
/// it ("u", bits 64 to 71; RFC 6052, section 2.2).
const U: usize = 8;

/// An IPv6 prefix that embeds all of IPv4, of 32, 40, 48, 56, 64 or 96 bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Prefix {
    address: Ipv6Addr,
    length: u8,
}

/// The text or length is not that of a NAT64 prefix.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LengthError;

impl fmt::Display for LengthError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a NAT64 prefix has 32, 40, 48, 56, 64 or 96 bits, as in 64:ff9b::/96")
    }
}

impl std::error::Error for LengthError {}

impl Prefix {
    /// The lengths that RFC 6052 allows, in bits, longest first.
    pub const LENGTHS: [u8; 6] = [96, 64, 56, 48, 40, 32];

    /// 64:ff9b::/96 (RFC 6052, section 2.1).
    pub const WELL_KNOWN: Self =
        Self { address: Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, 0, 0), length: 96 };

    /// Returns the prefix of an address; ignores the bits behind it.
    ///
    /// Accepts a prefix of 96 bits whose "u" octet is not zero, against RFC 6052: translation works
    /// all the same.
    ///
    /// # Errors
    /// The length is not one of [`Prefix::LENGTHS`].
    pub fn new(address: Ipv6Addr, length: u8) -> Result<Self, LengthError> {
        if !Self::LENGTHS.contains(&length) {
            return Err(LengthError);
        }
        let mask = u128::MAX << (128 - u32::from(length));
        Ok(Self { address: Ipv6Addr::from_bits(address.to_bits() & mask), length })
    }

    /// Returns the first address of the prefix.
    #[must_use]
    pub fn address(&self) -> Ipv6Addr {
        self.address
    }

    /// Returns the length, in bits.
    #[must_use]
    pub fn length(&self) -> u8 {
        self.length
    }

    /// Returns whether packets to this prefix can leave the host and the link: it is not multicast,
    /// link-local or within ::/16, which holds loopback and the IPv4-mapped addresses (RFC 4291,
    /// section 2.4). A venue may advertise any of these.
    #[must_use]
    pub fn is_routable(&self) -> bool {
        let [first, ..] = self.address.segments();
        first != 0 && !self.address.is_multicast() && !self.address.is_unicast_link_local()
    }

    /// Returns the indices of the four octets of an embedded address, which skip the "u" octet.
    fn positions(&self) -> impl Iterator<Item = usize> {
        (usize::from(self.length / 8)..16).filter(|index| self.covers_u() || *index != U).take(4)
    }

    /// Returns whether the "u" octet is part of the prefix.
    fn covers_u(&self) -> bool {
        usize::from(self.length / 8) > U
    }

    /// Returns the IPv6 address that embeds an IPv4 address (RFC 6052, section 2.2).
    #[must_use]
    pub fn embed(&self, address: Ipv4Addr) -> Ipv6Addr {
        let mut octets = self.address.octets();
        for (index, octet) in self.positions().zip(address.octets()) {
            if let Some(to) = octets.get_mut(index) {
                *to = octet;
            }
        }
        Ipv6Addr::from(octets)
    }

    /// Returns the IPv4 address embedded in an IPv6 address of this prefix. Ignores the reserved
    /// suffix (RFC 6052, section 2.2), but not the "u" octet.
    #[must_use]
    pub fn extract(&self, address: Ipv6Addr) -> Option<Ipv4Addr> {
        let octets = address.octets();
        let is_within = Self::new(address, self.length).is_ok_and(|prefix| prefix == *self);
        if !is_within || (!self.covers_u() && octets.get(U) != Some(&0)) {
            return None;
        }
        let mut embedded = [0; 4];
        for (to, index) in embedded.iter_mut().zip(self.positions()) {
            *to = octets.get(index).copied()?;
        }
        Some(Ipv4Addr::from(embedded))
    }

    /// Returns whether the prefix may embed an address: the well-known prefix only global ones
    /// (RFC 6052, section 3.1).
    #[must_use]
    pub fn may_represent(&self, address: Ipv4Addr) -> bool {
        *self != Self::WELL_KNOWN || is_global(address)
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.length)
    }
}

impl FromStr for Prefix {
    type Err = LengthError;

    fn from_str(text: &str) -> Result<Self, LengthError> {
        let (address, length) = text.split_once('/').ok_or(LengthError)?;
        let address = address.parse().map_err(|_| LengthError)?;
        Self::new(address, length.parse().map_err(|_| LengthError)?)
    }
}

/// Returns whether an IPv4 unicast address is global by IANA's registry of special-purpose
/// addresses (RFC 6890, and later entries).
#[must_use]
pub fn is_global(address: Ipv4Addr) -> bool {
    let [first, second, third, _] = address.octets();
    let anycast = [Ipv4Addr::new(192, 0, 0, 9), Ipv4Addr::new(192, 0, 0, 10)];
    let special = first == 0
        || address.is_private()
        || address.is_loopback()
        || address.is_link_local()
        || address.is_documentation()
        || (first == 100 && second & 0xc0 == 64)
        || ([first, second, third] == [192, 0, 0] && !anycast.contains(&address))
        || (first == 198 && second & 0xfe == 18)
        || first >= 240;
    !special
}

/// Returns whether a router may forward packets from or to an IPv4 address: whether it is unicast
/// and not loopback or of 0.0.0.0/8.
pub fn is_unicast(address: Ipv4Addr) -> bool {
    let [first, ..] = address.octets();
    !(first == 0 || address.is_loopback() || address.is_multicast() || address.is_broadcast())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// RFC 6052, section 2.4: tables 1 and 2, all lengths.
    #[test]
    fn embeds_as_the_rfc_shows() {
        let table = [
            ("2001:db8::/32", "2001:db8:c000:221::"),
            ("2001:db8:100::/40", "2001:db8:1c0:2:21::"),
            ("2001:db8:122::/48", "2001:db8:122:c000:2:2100::"),
            ("2001:db8:122:300::/56", "2001:db8:122:3c0:0:221::"),
            ("2001:db8:122:344::/64", "2001:db8:122:344:c0:2:2100::"),
            ("2001:db8:122:344::/96", "2001:db8:122:344::192.0.2.33"),
            ("64:ff9b::/96", "64:ff9b::192.0.2.33"),
        ];
        let address: Ipv4Addr = "192.0.2.33".parse().unwrap();
        for (prefix, whole) in table {
            let parsed: Prefix = prefix.parse().unwrap();
            let whole: Ipv6Addr = whole.parse().unwrap();
            assert_eq!(parsed.embed(address), whole, "{prefix}");
            assert_eq!(parsed.extract(whole), Some(address), "{prefix}");
            assert_eq!(parsed.to_string(), prefix);
        }
    }

    #[test]
    fn refuses_other_lengths() {
        for length in (0..=255).filter(|length| !Prefix::LENGTHS.contains(length)) {
            assert_eq!(Prefix::new(Ipv6Addr::LOCALHOST, length), Err(LengthError));
        }
        for text in ["", "64:ff9b::", "64:ff9b::/95", "x/96", "64:ff9b::/x", "1.2.3.4/32"] {
            assert_eq!(text.parse::<Prefix>(), Err(LengthError), "{text}");
        }
    }

    #[test]
    fn knows_global_addresses() {
        let global =
            ["8.8.8.8", "45.45.45.80", "100.128.0.1", "192.0.0.9", "192.0.1.1", "198.20.0.1"];
        let special = [
            "10.0.0.1",
            "172.16.0.1",
            "192.168.1.1",
            "127.0.0.1",
            "169.254.1.1",
            "100.64.0.1",
            "192.0.0.1",
            "192.0.2.1",
            "198.51.100.1",
            "203.0.113.80",
            "198.18.0.1",
            "240.0.0.1",
            "255.255.255.255",
            "0.1.2.3",
        ];
        let is = |text: &str| is_global(text.parse().unwrap());
        assert!(global.into_iter().all(is));
        assert!(!special.into_iter().any(is));
        let own: Prefix = "2001:db8::/96".parse().unwrap();
        assert!(own.may_represent("10.0.0.1".parse().unwrap()));
        assert!(!Prefix::WELL_KNOWN.may_represent("10.0.0.1".parse().unwrap()));
    }

    proptest! {
        #[test]
        fn what_is_embedded_is_extracted(
            bits: u128, length in prop::sample::select(&Prefix::LENGTHS[..]), address: u32,
            suffix: u128,
        ) {
            let prefix = Prefix::new(Ipv6Addr::from_bits(bits), length).unwrap();
            let address = Ipv4Addr::from_bits(address);
            let whole = prefix.embed(address);
            prop_assert_eq!(prefix.extract(whole), Some(address));
            prop_assert_eq!(prefix.to_string().parse(), Ok(prefix));
            if length < 96 {
                prop_assert_eq!(whole.octets()[U], 0);
                // The suffix is ignored.
                let used = if length <= 64 { length + 40 } else { 128 };
                let more = suffix.checked_shr(u32::from(used)).unwrap_or(0);
                let tailed = Ipv6Addr::from_bits(whole.to_bits() | more);
                prop_assert_eq!(prefix.extract(tailed), Some(address));
            }
        }

        #[test]
        fn other_prefixes_hold_nothing(bits: u128, flip in 0u32..32, address: u32) {
            let prefix = Prefix::new(Ipv6Addr::from_bits(bits), 32).unwrap();
            let whole = prefix.embed(Ipv4Addr::from_bits(address));
            let other = Ipv6Addr::from_bits(whole.to_bits() ^ (1 << (96 + flip)));
            prop_assert_eq!(prefix.extract(other), None);
            let u = Ipv6Addr::from_bits(whole.to_bits() | (1 << 56));
            prop_assert_eq!(prefix.extract(u), None);
        }
    }
}
