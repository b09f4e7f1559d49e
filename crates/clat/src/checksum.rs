//! The Internet checksum: one's complement sums (RFC 1071) and incremental update (RFC 1624).
//!
//! A *sum* here is not inverted; a *checksum* is the inverted sum, as in headers.

use std::net::{Ipv4Addr, Ipv6Addr};

/// Returns the one's complement sum of bytes; an odd last byte is the high byte of its word.
pub fn sum(bytes: &[u8]) -> u16 {
    // Four bytes at once: the carries accumulate in the upper half.
    let fours = bytes.chunks_exact(4);
    let mut last = [0; 4];
    last.iter_mut().zip(fours.remainder()).for_each(|(to, from)| *to = *from);
    let whole = fours.filter_map(|four| four.first_chunk()).copied();
    fold(whole.chain([last]).map(|four| u64::from(u32::from_be_bytes(four))).sum())
}

/// Folds the carries of a sum into 16 bits.
pub fn fold(mut total: u64) -> u16 {
    while total > 0xffff {
        total = (total & 0xffff) + (total >> 16);
    }
    total as u16
}

/// Returns the sum of two sums.
pub fn add(one: u16, other: u16) -> u16 {
    fold(u64::from(one) + u64::from(other))
}

/// Returns a sum after a part that summed to `old` was replaced by one that sums to `new`.
pub fn replace(sum: u16, old: u16, new: u16) -> u16 {
    fold(u64::from(sum) + u64::from(!old) + u64::from(new))
}

/// Returns a checksum after a covered part changed its sum (RFC 1624, equation 3).
pub fn adjust(checksum: u16, old: u16, new: u16) -> u16 {
    !replace(!checksum, old, new)
}

/// Returns the sum of two IPv4 addresses, their part of a pseudo header.
pub fn of_v4(source: Ipv4Addr, destination: Ipv4Addr) -> u16 {
    add(sum(&source.octets()), sum(&destination.octets()))
}

/// Returns the sum of two IPv6 addresses, their part of a pseudo header (RFC 8200, section 8.1).
pub fn of_v6(source: Ipv6Addr, destination: Ipv6Addr) -> u16 {
    add(sum(&source.octets()), sum(&destination.octets()))
}

/// Returns the sum of a pseudo header's length and protocol: the same in IPv4 and IPv6, since zero
/// words add nothing.
pub fn of_upper_layer(length: usize, protocol: u8) -> u16 {
    fold(length as u64 + u64::from(protocol))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// RFC 1071, section 3: the example.
    #[test]
    fn sums_the_example() {
        assert_eq!(sum(&[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7]), 0xddf2);
        assert_eq!(sum(&[]), 0);
        assert_eq!(sum(&[0x12]), 0x1200);
    }

    /// RFC 1624, section 4: the example, where the equation of RFC 1141 gives -0.
    #[test]
    fn adjusts_the_example() {
        assert_eq!(adjust(0xdd2f, 0x5555, 0x3285), 0x0000);
    }

    proptest! {
        #[test]
        fn an_adjusted_checksum_is_a_computed_one(
            before in prop::collection::vec(any::<u8>(), 2..40),
            old in any::<[u8; 8]>(),
            new in any::<[u8; 8]>(),
        ) {
            let even = &before[..before.len() / 2 * 2];
            let old_bytes = [even, &old].concat();
            let new_bytes = [even, &new].concat();
            prop_assume!(new_bytes.iter().any(|byte| *byte != 0));
            prop_assume!(old_bytes.iter().any(|byte| *byte != 0));
            let adjusted = adjust(!sum(&old_bytes), sum(&old), sum(&new));
            prop_assert_eq!(adjusted, !sum(&new_bytes));
        }
    }
}
