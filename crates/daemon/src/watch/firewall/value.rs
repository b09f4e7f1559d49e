//! Partially known values, compared like in the kernel.

use std::cmp::Ordering;

use super::expression::{Register, Verdict};
use super::foreign::{Element, Key};
use super::packet::Bytes;

/// Size of all registers (`NFT_REG32_00` to `NFT_REG32_15`), and of one, in bytes.
const REGISTERS: usize = 64;
const REGISTER: usize = 4;
/// Maximum size of a loaded value: an interface name or an IPv6 address.
const MAX_VALUE: usize = 16;

/// Holds the partially known registers of a rule. Values in adjacent registers form one key (a
/// concatenation).
#[derive(Debug, Clone)]
pub struct Registers(Bytes);

impl Registers {
    pub fn new() -> Self {
        Self(Bytes::unknown(REGISTERS))
    }

    /// Loads a value; the kernel pads its last register with zeros. An empty value is one of
    /// unknown length, which makes [`MAX_VALUE`] bytes unknown.
    pub fn load(&mut self, register: Register, value: &Bytes) {
        let at = Self::offset(register);
        let length = value.value.len().next_multiple_of(REGISTER);
        match length {
            0 => self.0.set_masked(at, &[0; MAX_VALUE], &[0; MAX_VALUE]),
            _ => {
                self.0.set_masked(at, &vec![0; length], &vec![0xff; length]);
                self.0.set_masked(at, &value.value, &value.known);
            }
        }
    }

    /// Returns `length` bytes starting at a register.
    pub fn read(&self, register: Register, length: usize) -> Bytes {
        self.0.part(Self::offset(register), length)
    }

    fn offset(register: Register) -> usize {
        usize::try_from(register).unwrap_or(usize::MAX).saturating_mul(REGISTER)
    }
}

/// Holds a value of three-valued logic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Truth {
    Yes,
    No,
    Maybe,
}

impl From<bool> for Truth {
    fn from(yes: bool) -> Self {
        if yes { Self::Yes } else { Self::No }
    }
}

impl Truth {
    pub const fn not(self) -> Self {
        match self {
            Self::Yes => Self::No,
            Self::No => Self::Yes,
            Self::Maybe => Self::Maybe,
        }
    }

    pub const fn not_if(self, inverted: bool) -> Self {
        if inverted { self.not() } else { self }
    }

    pub const fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::No, _) | (_, Self::No) => Self::No,
            (Self::Yes, Self::Yes) => Self::Yes,
            _ => Self::Maybe,
        }
    }

    pub const fn or(self, other: Self) -> Self {
        self.not().and(other.not()).not()
    }
}

/// Applies mask and xor to a value; masked bits become known.
pub fn masked(value: &Bytes, mask: &[u8], xor: &[u8]) -> Bytes {
    let value = value.part(0, mask.len());
    let bits = value.value.iter().zip(mask).zip(xor.iter().chain(std::iter::repeat(&0)));
    Bytes {
        value: bits.map(|((byte, mask), xor)| (byte & mask) ^ xor).collect(),
        known: value.known.iter().zip(mask).map(|(known, mask)| known | !mask).collect(),
    }
}

/// Operators `NFT_CMP_*` (`linux/netfilter/nf_tables.h`).
pub const EQUAL: u32 = 0;
pub const NOT_EQUAL: u32 = 1;
const LESS: u32 = 2;
const LESS_OR_EQUAL: u32 = 3;
const GREATER: u32 = 4;
const GREATER_OR_EQUAL: u32 = 5;

/// Compares the first bytes of a value with `data`, by an operator (`NFT_CMP_*`).
pub fn compare(value: &Bytes, operator: u32, data: &[u8]) -> Truth {
    let Bytes { value, known } = value.part(0, data.len());
    // The smallest and the largest possible value.
    let least: Vec<u8> = value.iter().zip(&known).map(|(byte, known)| byte & known).collect();
    let most: Vec<u8> = value.iter().zip(&known).map(|(byte, known)| byte | !known).collect();
    let (least, most) = (least.as_slice().cmp(data), most.as_slice().cmp(data));
    let differs =
        value.iter().zip(&known).zip(data).any(|((byte, known), data)| (byte ^ data) & known != 0);
    let equal = match (differs, known.iter().all(|known| *known == 0xff)) {
        (true, _) => Truth::No,
        (false, true) => Truth::Yes,
        (false, false) => Truth::Maybe,
    };
    let below = match (least, most) {
        (_, Ordering::Less) => Truth::Yes,
        (Ordering::Equal | Ordering::Greater, _) => Truth::No,
        _ => Truth::Maybe,
    };
    let above = match (least, most) {
        (Ordering::Greater, _) => Truth::Yes,
        (_, Ordering::Equal | Ordering::Less) => Truth::No,
        _ => Truth::Maybe,
    };
    match operator {
        EQUAL => equal,
        NOT_EQUAL => equal.not(),
        LESS => below,
        LESS_OR_EQUAL => above.not(),
        GREATER => above,
        GREATER_OR_EQUAL => below.not(),
        _ => Truth::Maybe,
    }
}

/// Returns whether a value is within these inclusive bounds.
pub fn in_range(value: &Bytes, first: &[u8], last: &[u8]) -> Truth {
    compare(value, GREATER_OR_EQUAL, first).and(compare(value, LESS_OR_EQUAL, last))
}

/// Looks up the key that starts at a register in a set. Returns whether it matches, and the verdict
/// of the element.
pub fn find(
    registers: &Registers,
    register: Register,
    elements: &[Element],
) -> (Truth, Option<Verdict>) {
    let intervals = elements.iter().any(|element| matches!(element.key, Key::End(_)));
    let found = if intervals {
        within(registers, register, elements)
    } else {
        among(registers, register, elements)
    };
    let rest = elements.iter().find(|element| element.key == Key::All);
    match (found.0, rest) {
        (Truth::No, Some(rest)) => (Truth::Yes, rest.verdict.clone()),
        _ => found,
    }
}

/// Looks up in a set of single values, or of ranges of concatenated fields.
fn among(
    registers: &Registers,
    register: Register,
    elements: &[Element],
) -> (Truth, Option<Verdict>) {
    let mut best = Truth::No;
    for element in elements {
        let here = match &element.key {
            Key::At(key) if key.is_empty() => Truth::Maybe,
            Key::At(key) => compare(&registers.read(register, key.len()), EQUAL, key),
            Key::Fields(fields) => in_ranges(registers, register, fields),
            Key::Unclear => Truth::Maybe,
            Key::End(_) | Key::All => Truth::No,
        };
        match here {
            Truth::Yes => return (Truth::Yes, element.verdict.clone()),
            Truth::No => {}
            Truth::Maybe => best = Truth::Maybe,
        }
    }
    (best, None)
}

/// Returns whether each field is within its range; each field starts at a register.
fn in_ranges(registers: &Registers, register: Register, fields: &[(Vec<u8>, Vec<u8>)]) -> Truth {
    let (mut truth, mut at) = (Truth::Yes, register);
    for (first, last) in fields {
        let value = registers.read(at, first.len());
        truth = truth.and(in_range(&value, first, last));
        at = at.saturating_add(u32::try_from(first.len().div_ceil(REGISTER)).unwrap_or(u32::MAX));
    }
    truth
}

/// Looks up in a set of intervals.
fn within(
    registers: &Registers,
    register: Register,
    elements: &[Element],
) -> (Truth, Option<Verdict>) {
    let mut edges: Vec<(&[u8], bool, Option<&Verdict>)> = Vec::new();
    for element in elements {
        match &element.key {
            Key::At(key) => edges.push((key, true, element.verdict.as_ref())),
            Key::End(key) => edges.push((key, false, None)),
            Key::All => {}
            Key::Fields(_) | Key::Unclear => return (Truth::Maybe, None),
        }
    }
    edges.sort_by(|a, b| a.0.cmp(b.0).then(a.1.cmp(&b.1)));
    let mut found = (Truth::No, None);
    for (key, begins, verdict) in edges {
        match compare(&registers.read(register, key.len()), GREATER_OR_EQUAL, key) {
            Truth::Yes => found = (Truth::from(begins), verdict.filter(|_| begins).cloned()),
            Truth::No => break,
            Truth::Maybe => return (Truth::Maybe, None),
        }
    }
    found
}
