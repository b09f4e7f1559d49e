//! Discovery of NAT64 prefixes by a well-known name (RFC 7050).

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, Ipv6Addr};

use crate::Prefix;

/// A name with only IPv4 addresses: its AAAA records are synthesized by a DNS64 (RFC 7050, section
/// 8.2).
pub const WELL_KNOWN_NAME: &str = "ipv4only.arpa";

/// The IPv4 addresses of that name (RFC 7050, section 2.2).
const WELL_KNOWN: [Ipv4Addr; 2] = [Ipv4Addr::new(192, 0, 0, 170), Ipv4Addr::new(192, 0, 0, 171)];

/// Returns the prefixes that the AAAA records of [`WELL_KNOWN_NAME`] were synthesized with, without
/// duplicates, in the order of the records (RFC 7050, section 3).
///
/// Where an address embeds a well-known address at more than one position, a prefix counts only if
/// the other well-known address has it too.
#[must_use]
pub fn prefixes(addresses: &[Ipv6Addr]) -> Vec<Prefix> {
    let candidates: Vec<Vec<(Prefix, Ipv4Addr)>> =
        addresses.iter().map(|address| candidates(*address)).collect();
    let all: BTreeSet<(Prefix, Ipv4Addr)> = candidates.iter().flatten().copied().collect();
    let is_confirmed =
        |prefix: &Prefix| WELL_KNOWN.iter().all(|address| all.contains(&(*prefix, *address)));
    let mut found = Vec::new();
    for positions in &candidates {
        let certain: Vec<Prefix> = match positions.as_slice() {
            [(only, _)] => vec![*only],
            several => several.iter().map(|(prefix, _)| *prefix).filter(is_confirmed).collect(),
        };
        match certain.as_slice() {
            [prefix] if !found.contains(prefix) => found.push(*prefix),
            _ => {}
        }
    }
    found
}

/// Returns each prefix with which an address embeds a well-known address, and which one.
fn candidates(address: Ipv6Addr) -> Vec<(Prefix, Ipv4Addr)> {
    let of = |length: u8| {
        let prefix = Prefix::new(address, length).ok().filter(Prefix::is_routable)?;
        let embedded = prefix.extract(address)?;
        WELL_KNOWN.contains(&embedded).then_some((prefix, embedded))
    };
    Prefix::LENGTHS.into_iter().filter_map(of).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn found(addresses: &[&str]) -> Vec<String> {
        let addresses: Vec<_> = addresses.iter().map(|text| text.parse().unwrap()).collect();
        prefixes(&addresses).iter().map(ToString::to_string).collect()
    }

    /// The first line is an answer of unbound; then RFC 7050, appendix A, and more.
    #[test]
    fn finds_prefixes() {
        assert_eq!(found(&["64:ff9b::c000:aa", "64:ff9b::c000:ab"]), ["64:ff9b::/96"]);
        assert_eq!(found(&["2001:db8:43::192.0.0.170"]), ["2001:db8:43::/96"]);
        assert_eq!(
            found(&["2001:db8:42::192.0.0.170", "2001:db8:43::192.0.0.171"]),
            ["2001:db8:42::/96", "2001:db8:43::/96"]
        );
        assert_eq!(found(&["2001:db8:c000:aa::"]), ["2001:db8::/32"]);
        assert_eq!(found(&["2001:db8::1", "::"]), [""; 0]);
        assert_eq!(found(&[]), [""; 0]);
        for lie in ["::192.0.0.170", "::ffff:192.0.0.171", "fe80::192.0.0.170", "ff02::192.0.0.170"]
        {
            assert_eq!(found(&[lie]), [""; 0]);
        }
    }

    /// One record embeds the address at two positions; the other record decides.
    #[test]
    fn is_not_misled_by_a_well_known_address_within_the_prefix() {
        let twice = "2001:db8:c000:aa::192.0.0.170";
        assert_eq!(found(&[twice]), [""; 0]);
        assert_eq!(found(&[twice, "2001:db8:c000:aa::192.0.0.171"]), ["2001:db8:c000:aa::/96"]);
    }

    proptest! {
        #[test]
        fn finds_prefixes_of_every_length(
            bits: u128, length in prop::sample::select(&Prefix::LENGTHS[..]),
        ) {
            let prefix = Prefix::new(Ipv6Addr::from_bits(bits), length).unwrap();
            prop_assume!(prefix.is_routable());
            prop_assert_eq!(prefixes(&WELL_KNOWN.map(|address| prefix.embed(address))), [prefix]);
        }

        #[test]
        fn takes_any_addresses(bits in prop::collection::vec(any::<u128>(), 0..5)) {
            let addresses: Vec<_> = bits.into_iter().map(Ipv6Addr::from_bits).collect();
            prop_assert!(prefixes(&addresses).len() <= addresses.len());
        }
    }
}
