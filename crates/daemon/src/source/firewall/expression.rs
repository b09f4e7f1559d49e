//! The expressions of another program's rules, as far as they matter for whether a packet gets through.

use crate::source::nfnetlink::{Attributes, Nested, attributes};

/// A register, by its place of 4 bytes; the 16-byte registers 1 to 4 lie over places 0, 4, 8 and 12.
pub type Register = u32;

/// One expression of a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Expression {
    /// loads something known by its number; `None`: something that is not known here
    Load {
        to: Register,
        what: What,
    },
    Bitwise {
        from: Register,
        to: Register,
        mask: Vec<u8>,
        xor: Vec<u8>,
    },
    Compare {
        register: Register,
        operator: u32,
        data: Vec<u8>,
    },
    Lookup {
        register: Register,
        set: String,
        inverted: bool,
        verdicts: bool,
    },
    Verdict(Verdict),
    /// an iptables match on connection states: mask of states it is for, and whether the packet's must not be of it
    States {
        mask: u16,
        inverted: bool,
    },
    /// may or may not match
    Unknown,
    /// says nothing about the packet: counter, log, mark, …
    Neutral,
}

/// What is loaded into a register.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What {
    /// `NFT_META_*`
    Meta(u32),
    /// `NFT_CT_*`
    Ct(u32),
    /// header (1 network, 2 transport), offset, length
    Payload(u32, u32, u32),
    Other,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    Accept,
    Drop,
    Return,
    Jump(String),
    Goto(String),
    /// a queue, or what is not known
    Other,
}

/// Expressions that neither test the packet nor decide about it.
const NEUTRAL: [&str; 9] = ["counter", "log", "notrack", "nat", "masq", "redir", "objref", "dup", "flow_offload"];
/// iptables targets that decide nothing in the filter table.
const NEUTRAL_TARGETS: [&str; 9] = ["LOG", "NFLOG", "MARK", "CONNMARK", "TCPMSS", "TRACE", "CLASSIFY", "DSCP", "AUDIT"];
const NEUTRAL_MATCHES: [&str; 1] = ["comment"];

impl Expression {
    /// Reads one element of `NFTA_RULE_EXPRESSIONS`.
    pub fn parse(element: &[u8]) -> Self {
        let expression = attributes(element);
        let data = expression.nest(2);
        let name = expression.text(1).unwrap_or_default();
        match name.as_str() {
            "meta" => load(&data, 1, data.be32(2).map(What::Meta), data.value(3).is_some()),
            "ct" => load(&data, 1, data.be32(2).map(What::Ct), data.value(4).is_some()),
            "payload" => load(&data, 1, payload(&data), data.value(5).is_some()),
            "bitwise" => bitwise(&data).unwrap_or(Self::Unknown),
            "cmp" => compare(&data).unwrap_or(Self::Unknown),
            "lookup" => lookup(&data).unwrap_or(Self::Unknown),
            "immediate" => match data.nest(2).value(2) {
                Some(nest) => Self::Verdict(verdict(&attributes(nest))),
                None => load(&data, 1, Some(What::Other), false),
            },
            "reject" => Self::Verdict(Verdict::Drop),
            "queue" | "tproxy" => Self::Verdict(Verdict::Other),
            "match" => iptables_match(&data),
            "target" => match data.text(1).unwrap_or_default().as_str() {
                "REJECT" | "DROP" => Self::Verdict(Verdict::Drop),
                "ACCEPT" => Self::Verdict(Verdict::Accept),
                target if NEUTRAL_TARGETS.contains(&target) => Self::Neutral,
                _ => Self::Verdict(Verdict::Other),
            },
            "rt" | "fib" | "socket" | "hash" | "numgen" | "exthdr" | "osf" | "xfrm" | "tunnel" | "byteorder" => {
                load(&data, if name == "byteorder" { 2 } else { 1 }, Some(What::Other), false)
            }
            name if NEUTRAL.contains(&name) => Self::Neutral,
            _ => Self::Unknown,
        }
    }
}

fn load(data: &Attributes<'_>, to: u16, what: Option<What>, writes: bool) -> Expression {
    match (data.be32(to), what) {
        _ if writes => Expression::Neutral,
        (Some(to), what) => Expression::Load { to: place(to), what: what.unwrap_or(What::Other) },
        (None, _) => Expression::Unknown,
    }
}

fn payload(data: &Attributes<'_>) -> Option<What> {
    Some(What::Payload(data.be32(2)?, data.be32(3)?, data.be32(4)?))
}

fn bitwise(data: &Attributes<'_>) -> Option<Expression> {
    // Operations other than mask and xor (shifts: attribute 6) are not followed.
    if data.be32(6).unwrap_or(0) != 0 {
        return Some(Expression::Load { to: place(data.be32(2)?), what: What::Other });
    }
    let bytes = |kind| Some(data.nest(kind).value(1)?.to_vec());
    Some(Expression::Bitwise { from: place(data.be32(1)?), to: place(data.be32(2)?), mask: bytes(4)?, xor: bytes(5)? })
}

fn compare(data: &Attributes<'_>) -> Option<Expression> {
    let value = data.nest(3).value(1)?.to_vec();
    Some(Expression::Compare { register: place(data.be32(1)?), operator: data.be32(2)?, data: value })
}

fn lookup(data: &Attributes<'_>) -> Option<Expression> {
    Some(Expression::Lookup {
        set: data.text(1)?,
        register: place(data.be32(2)?),
        // Register 0 takes a verdict: a verdict map.
        verdicts: data.be32(3) == Some(0),
        inverted: data.be32(5).unwrap_or(0) & 1 != 0,
    })
}

/// Reads `struct nft_verdict` (`NFTA_VERDICT_*`).
pub fn verdict(data: &Attributes<'_>) -> Verdict {
    let code = data.be32(1).map(|code| i32::from_ne_bytes(code.to_ne_bytes()));
    match (code, data.text(2)) {
        (Some(0), _) => Verdict::Drop,
        (Some(1), _) => Verdict::Accept,
        (Some(-5), _) => Verdict::Return,
        (Some(-3), Some(chain)) => Verdict::Jump(chain),
        (Some(-4), Some(chain)) => Verdict::Goto(chain),
        _ => Verdict::Other,
    }
}

/// `conntrack` (`struct xt_conntrack_mtinfo3`) and `state`; others are not followed.
fn iptables_match(data: &Attributes<'_>) -> Expression {
    let name = data.text(1).unwrap_or_default();
    let info = data.value(3).unwrap_or_default();
    let u16_at = |offset: usize| info.get(offset..)?.first_chunk().map(|bytes| u16::from_ne_bytes(*bytes));
    match name.as_str() {
        "conntrack" => match (u16_at(146), u16_at(148), u16_at(150)) {
            // XT_CONNTRACK_STATE alone
            (Some(1), Some(inverted), Some(mask)) => Expression::States { mask, inverted: inverted & 1 != 0 },
            _ => Expression::Unknown,
        },
        "state" => u16_at(0).map_or(Expression::Unknown, |mask| Expression::States { mask, inverted: false }),
        name if NEUTRAL_MATCHES.contains(&name) => Expression::Neutral,
        _ => Expression::Unknown,
    }
}

/// `NFT_REG_1` to `NFT_REG_4` (16 bytes) and `NFT_REG32_00` and on (4 bytes) as places of 4 bytes.
fn place(register: u32) -> Register {
    if register < 8 { register.saturating_sub(1).saturating_mul(4) } else { register - 8 }
}
