//! Values of which some bits are not known, compared as the kernel compares them.

use std::cmp::Ordering;

use super::expression::Verdict;
use super::foreign::{Element, Key};
use super::packet::Bytes;

/// Three-valued logic.
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

/// What is masked away is known to be zero.
pub fn masked(value: &Bytes, mask: &[u8], xor: &[u8]) -> Bytes {
    let value = value.part(0, mask.len());
    let bits = value.value.iter().zip(mask).zip(xor.iter().chain(std::iter::repeat(&0)));
    Bytes {
        value: bits.map(|((byte, mask), xor)| (byte & mask) ^ xor).collect(),
        known: value.known.iter().zip(mask).map(|(known, mask)| known | !mask).collect(),
    }
}

/// Compares the first bytes of a value with `data`, by the operator's number (`NFT_CMP_*`).
pub fn compare(value: &Bytes, operator: u32, data: &[u8]) -> Truth {
    let Bytes { value, known } = value.part(0, data.len());
    // The least and the greatest that it can be.
    let least: Vec<u8> = value.iter().zip(&known).map(|(byte, known)| byte & known).collect();
    let most: Vec<u8> = value.iter().zip(&known).map(|(byte, known)| byte | !known).collect();
    let (least, most) = (least.as_slice().cmp(data), most.as_slice().cmp(data));
    let differs = value.iter().zip(&known).zip(data).any(|((byte, known), data)| (byte ^ data) & known != 0);
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
        0 => equal,
        1 => equal.not(),
        2 => below,
        3 => above.not(),
        4 => above,
        5 => below.not(),
        _ => Truth::Maybe,
    }
}

/// Looks a value up in a set.
pub fn find(value: &Bytes, elements: &[Element]) -> (Truth, Option<Verdict>) {
    let intervals = elements.iter().any(|element| matches!(element.key, Key::End(_)));
    let mut best = Truth::No;
    if intervals {
        return within(value, elements);
    }
    for element in elements {
        let Key::At(key) = &element.key else {
            best = best.or(Truth::Maybe);
            continue;
        };
        // Of several fields only the first is held here; numbers fill whole registers.
        let several = key.len().next_multiple_of(4) > value.value.len().next_multiple_of(4);
        match compare(value, 0, key.get(..value.value.len().min(key.len())).unwrap_or_default()) {
            Truth::Yes if !several && !value.value.is_empty() => return (Truth::Yes, element.verdict.clone()),
            Truth::No => {}
            _ => best = Truth::Maybe,
        }
    }
    (best, None)
}

/// Looks a value up in a set of intervals.
fn within(value: &Bytes, elements: &[Element]) -> (Truth, Option<Verdict>) {
    let mut edges: Vec<(&[u8], bool, Option<&Verdict>)> = Vec::new();
    for element in elements {
        match &element.key {
            Key::At(key) => edges.push((key, true, element.verdict.as_ref())),
            Key::End(key) => edges.push((key, false, None)),
            Key::Unclear => return (Truth::Maybe, None),
        }
    }
    edges.sort_by(|a, b| a.0.cmp(b.0).then(a.1.cmp(&b.1)));
    let mut found = (Truth::No, None);
    for (key, begins, verdict) in edges {
        match compare(value, 5, key) {
            Truth::Yes => found = (Truth::from(begins), verdict.filter(|_| begins).cloned()),
            Truth::No => break,
            Truth::Maybe => return (Truth::Maybe, None),
        }
    }
    found
}
