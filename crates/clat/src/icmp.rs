//! Types, codes and pointers of ICMP (RFC 792) and ICMPv6 (RFC 4443), and their translation
//! (RFC 7915, sections 4.2 and 5.2).

use crate::DropReason;
use crate::bytes::byte;
use crate::direction::Direction;

/// The length of a header, in octets; a quoted packet follows it in errors.
pub const HEADER: usize = 8;
/// The minimum length of a quoted packet that extensions follow, in octets (RFC 4884, section 5).
pub const LEAST_BEFORE_EXTENSIONS: usize = 128;

/// Types of ICMP.
pub mod v4 {
    pub const ECHO_REPLY: u8 = 0;
    pub const UNREACHABLE: u8 = 3;
    pub const ECHO: u8 = 8;
    pub const TIME_EXCEEDED: u8 = 11;
    pub const PARAMETER_PROBLEM: u8 = 12;
    /// The code of [`UNREACHABLE`] that reports an MTU (RFC 1191).
    pub const FRAGMENTATION_NEEDED: u8 = 4;
}

/// Types of ICMPv6.
pub mod v6 {
    pub const UNREACHABLE: u8 = 1;
    pub const TOO_BIG: u8 = 2;
    pub const TIME_EXCEEDED: u8 = 3;
    pub const PARAMETER_PROBLEM: u8 = 4;
    pub const ECHO: u8 = 128;
    pub const ECHO_REPLY: u8 = 129;
}

/// The meaning of the four octets after the checksum of an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Field {
    /// Nothing, or the length of the quoted packet.
    Unused,
    /// An MTU, in octets.
    Mtu,
    /// The offset of the faulty octet in the quoted header, already translated.
    Pointer(u8),
}

/// The type, code and field of an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kind {
    pub kind: u8,
    pub code: u8,
    pub field: Field,
}

/// Returns the translated type of an echo request or reply.
pub fn echo(kind: u8, direction: Direction) -> Option<u8> {
    match (direction, kind) {
        (Direction::ToV6, v4::ECHO) => Some(v6::ECHO),
        (Direction::ToV6, v4::ECHO_REPLY) => Some(v6::ECHO_REPLY),
        (Direction::ToV4, v6::ECHO) => Some(v4::ECHO),
        (Direction::ToV4, v6::ECHO_REPLY) => Some(v4::ECHO_REPLY),
        _ => None,
    }
}

/// Returns whether a message that is translated in this direction is an error, which quotes a
/// packet.
pub fn is_error(kind: u8, direction: Direction) -> bool {
    match direction {
        Direction::ToV6 => is_error_v4(kind),
        Direction::ToV4 => is_error_v6(kind),
    }
}

/// Returns whether an ICMP message is an error (RFC 1122, section 3.2.2).
pub fn is_error_v4(kind: u8) -> bool {
    matches!(kind, 3 | 4 | 5 | 11 | 12)
}

/// Returns whether an ICMPv6 message is an error (RFC 4443, section 2.1).
pub fn is_error_v6(kind: u8) -> bool {
    kind < 128
}

/// Translates type, code and field of an ICMP error (RFC 7915, section 4.2).
pub fn error_to_v6(message: &[u8]) -> Result<Kind, DropReason> {
    let (kind, code) = (byte(message, 0)?, byte(message, 1)?);
    let to = |kind, code, field| Ok(Kind { kind, code, field });
    match (kind, code) {
        // Protocol unreachable becomes a pointer to the next header field.
        (v4::UNREACHABLE, 2) => to(v6::PARAMETER_PROBLEM, 1, Field::Pointer(6)),
        (v4::UNREACHABLE, 3) => to(v6::UNREACHABLE, 4, Field::Unused),
        (v4::UNREACHABLE, v4::FRAGMENTATION_NEEDED) => to(v6::TOO_BIG, 0, Field::Mtu),
        (v4::UNREACHABLE, 0 | 1 | 5..=8 | 11 | 12) => to(v6::UNREACHABLE, 0, Field::Unused),
        (v4::UNREACHABLE, 9 | 10 | 13 | 15) => to(v6::UNREACHABLE, 1, Field::Unused),
        (v4::TIME_EXCEEDED, code) => to(v6::TIME_EXCEEDED, code, Field::Unused),
        (v4::PARAMETER_PROBLEM, 0 | 2) => {
            let pointer = match byte(message, 4)? {
                same @ (0 | 1) => same,
                2 | 3 => 4,
                8 => 7,
                9 => 6,
                12..=15 => 8,
                16..=19 => 24,
                _ => return Err(DropReason::Icmp(kind, code)),
            };
            to(v6::PARAMETER_PROBLEM, 0, Field::Pointer(pointer))
        }
        _ => Err(DropReason::Icmp(kind, code)),
    }
}

/// Translates type, code and field of an ICMPv6 error (RFC 7915, section 5.2).
pub fn error_to_v4(message: &[u8]) -> Result<Kind, DropReason> {
    let (kind, code) = (byte(message, 0)?, byte(message, 1)?);
    let to = |kind, code, field| Ok(Kind { kind, code, field });
    match (kind, code) {
        (v6::UNREACHABLE, 0 | 2 | 3) => to(v4::UNREACHABLE, 1, Field::Unused),
        (v6::UNREACHABLE, 1) => to(v4::UNREACHABLE, 10, Field::Unused),
        (v6::UNREACHABLE, 4) => to(v4::UNREACHABLE, 3, Field::Unused),
        (v6::TOO_BIG, _) => to(v4::UNREACHABLE, v4::FRAGMENTATION_NEEDED, Field::Mtu),
        (v6::TIME_EXCEEDED, code) => to(v4::TIME_EXCEEDED, code, Field::Unused),
        (v6::PARAMETER_PROBLEM, 1) => to(v4::UNREACHABLE, 2, Field::Unused),
        (v6::PARAMETER_PROBLEM, 0) => {
            let high = message.get(4..7).is_none_or(|high| high.iter().any(|byte| *byte != 0));
            let pointer = match byte(message, 7)? {
                _ if high => return Err(DropReason::Icmp(kind, code)),
                same @ (0 | 1) => same,
                4 | 5 => 2,
                6 => 9,
                7 => 8,
                8..=23 => 12,
                24..=39 => 16,
                _ => return Err(DropReason::Icmp(kind, code)),
            };
            to(v4::PARAMETER_PROBLEM, 0, Field::Pointer(pointer))
        }
        _ => Err(DropReason::Icmp(kind, code)),
    }
}

/// Splits an error's body into the quoted packet and the extensions. `words` is the error's length
/// field, in units of `unit` octets; 0 without extensions (RFC 4884).
pub fn split_extensions(message: &[u8], words: u8, unit: usize) -> (&[u8], &[u8]) {
    let body = message.get(HEADER..).unwrap_or_default();
    let length = usize::from(words) * unit;
    match body.split_at_checked(length) {
        Some((quoted, extensions)) if length > 0 => (quoted, extensions),
        _ => (body, &[]),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
mod tests {
    use super::*;

    /// RFC 7915, sections 4.2 and 5.2: types and codes not listed there are dropped.
    #[test]
    fn translates_the_types_of_the_rfc_and_no_others() {
        let there = |kind: u8, code: u8| error_to_v6(&[kind, code, 0, 0, 0, 0, 0, 0]).is_ok();
        let codes = |kind| (0..=255).filter(|code| there(kind, *code)).collect::<Vec<u8>>();
        assert_eq!(codes(3), [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 15]);
        assert_eq!(codes(12), [0, 2]);
        assert_eq!(codes(11).len(), 256);
        for kind in (0..=255).filter(|kind| ![3, 11, 12].contains(kind)) {
            assert_eq!(codes(kind), [], "{kind}");
        }
        let back = |kind: u8, code: u8| error_to_v4(&[kind, code, 0, 0, 0, 0, 0, 0]).is_ok();
        let codes = |kind| (0..=255).filter(|code| back(kind, *code)).collect::<Vec<u8>>();
        assert_eq!(codes(1), [0, 1, 2, 3, 4]);
        assert_eq!(codes(4), [0, 1]);
        assert_eq!((codes(2).len(), codes(3).len()), (256, 256));
        for kind in (0..=255).filter(|kind| !(1..=4).contains(kind)) {
            assert_eq!(codes(kind), [], "{kind}");
        }
    }

    /// RFC 7915, figures 3 and 6.
    #[test]
    fn translates_pointers() {
        let to_v6 = |pointer| error_to_v6(&[12, 0, 0, 0, pointer, 0, 0, 0]).ok().map(|k| k.field);
        let to_v4 = |pointer| error_to_v4(&[4, 0, 0, 0, 0, 0, 0, pointer]).ok().map(|k| k.field);
        let table =
            [(0, 0), (1, 1), (2, 4), (3, 4), (8, 7), (9, 6), (12, 8), (15, 8), (16, 24), (19, 24)];
        for (from, to) in table {
            assert_eq!(to_v6(from), Some(Field::Pointer(to)), "{from}");
        }
        for from in [4, 5, 6, 7, 10, 11, 20, 255] {
            assert_eq!(to_v6(from), None, "{from}");
        }
        let table =
            [(0, 0), (1, 1), (4, 2), (5, 2), (6, 9), (7, 8), (8, 12), (23, 12), (24, 16), (39, 16)];
        for (from, to) in table {
            assert_eq!(to_v4(from), Some(Field::Pointer(to)), "{from}");
        }
        for from in [2, 3, 40, 255] {
            assert_eq!(to_v4(from), None, "{from}");
        }
        assert!(error_to_v4(&[4, 0, 0, 0, 0, 0, 1, 4]).is_err());
    }
}
