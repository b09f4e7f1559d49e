//! Parses the expressions of other programs' rules, as far as they determine whether a packet
//! passes.

use bramblegate_netlink::{Attributes, attributes};

/// A register as an index of 4-byte units; the 16-byte registers 1 to 4 overlap units 0, 4, 8 and
/// 12.
pub type Register = u32;

/// Lists the expressions of a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Expression {
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
    /// Matches a value within these inclusive bounds.
    Range {
        register: Register,
        inverted: bool,
        first: Vec<u8>,
        last: Vec<u8>,
    },
    /// An iptables match on a mask of connection states.
    States {
        mask: u16,
        inverted: bool,
    },
    /// An iptables match on TCP or UDP ports.
    Ports(Ports),
    /// An iptables match on address types, as masks of `1 << RTN_*`; 0 means any.
    AddressTypes {
        source: u16,
        destination: u16,
        inverted: [bool; 2],
    },
    /// An iptables match on an ICMP type; 255 means any.
    IcmpType {
        number: u8,
        inverted: bool,
    },
    /// Exempts the packet from connection tracking, and so from NAT.
    Untracked,
    /// May or may not match.
    Unknown,
    /// Does not affect the packet: counter, log, mark, …
    Neutral,
}

/// Holds the ports of an iptables match.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ports {
    /// `IPPROTO_*`; `None` if another expression of the rule selects it.
    pub protocol: Option<u8>,
    pub source: Option<PortRanges>,
    pub destination: Option<PortRanges>,
    /// Either source or destination has to match, not both.
    pub either: bool,
    /// TCP flags: mask, expected value, and whether the match is inverted.
    pub tcp_flags: Option<(u8, u8, bool)>,
}

/// Holds port ranges with inclusive bounds; if inverted, none may contain the port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PortRanges {
    pub ranges: Vec<(u16, u16)>,
    pub inverted: bool,
}

/// Keys of `meta` and `ct`: `NFT_META_*`, `NFT_CT_*` (`linux/netfilter/nf_tables.h`).
pub const META_PROTOCOL: u32 = 1;
pub const META_IIF: u32 = 4;
pub const META_OIF: u32 = 5;
pub const META_IIFNAME: u32 = 6;
pub const META_OIFNAME: u32 = 7;
pub const META_IIFTYPE: u32 = 8;
pub const META_OIFTYPE: u32 = 9;
pub const META_NFPROTO: u32 = 15;
pub const META_L4PROTO: u32 = 16;
pub const META_BRI_IIFNAME: u32 = 17;
pub const META_BRI_OIFNAME: u32 = 18;
pub const CT_STATE: u32 = 0;
pub const CT_DIRECTION: u32 = 1;
pub const CT_STATUS: u32 = 2;

/// Lists the sources that a register is loaded from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What {
    /// `NFT_META_*`.
    Meta(u32),
    /// `NFT_CT_*`.
    Ct(u32),
    /// Header (0 link, 1 network, 2 transport), offset, length.
    Payload(u32, u32, u32),
    /// `fib … type` of the source or destination address.
    AddressType {
        source: bool,
    },
    Other,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    Accept,
    Drop,
    Return,
    Jump(String),
    Goto(String),
    /// A queue, or an unknown verdict.
    Other,
}

/// Expressions without match or verdict.
const NEUTRAL: [&str; 5] = ["counter", "log", "objref", "dup", "flow_offload"];
/// iptables targets without verdict.
const NEUTRAL_TARGETS: [&str; 10] =
    ["LOG", "NFLOG", "MARK", "CONNMARK", "TCPMSS", "TRACE", "CLASSIFY", "DSCP", "AUDIT", "CT"];
const NEUTRAL_MATCHES: [&str; 1] = ["comment"];

impl Expression {
    /// Parses one element of `NFTA_RULE_EXPRESSIONS`.
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
            // NAT ends the chain and accepts the packet.
            "nat" | "masq" | "redir" => Self::Verdict(Verdict::Accept),
            "queue" | "tproxy" => Self::Verdict(Verdict::Other),
            "range" => range(&data).unwrap_or(Self::Unknown),
            "fib" => load(&data, 1, fib(&data), false),
            "match" => iptables_match(&data),
            "target" => {
                xtables_target(&data.text(1).unwrap_or_default(), data.value(3).unwrap_or_default())
            }
            "notrack" => Self::Untracked,
            "rt" | "socket" | "hash" | "numgen" | "exthdr" | "osf" | "xfrm" | "tunnel"
            | "byteorder" => {
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
    // Only mask and xor are evaluated, not other operations (attribute 6) such as shifts.
    if data.be32(6).unwrap_or(0) != 0 {
        return Some(Expression::Load { to: place(data.be32(2)?), what: What::Other });
    }
    let bytes = |kind| Some(data.nest(kind).value(1)?.to_vec());
    Some(Expression::Bitwise {
        from: place(data.be32(1)?),
        to: place(data.be32(2)?),
        mask: bytes(4)?,
        xor: bytes(5)?,
    })
}

fn compare(data: &Attributes<'_>) -> Option<Expression> {
    let value = data.nest(3).value(1)?.to_vec();
    Some(Expression::Compare {
        register: place(data.be32(1)?),
        operator: data.be32(2)?,
        data: value,
    })
}

fn lookup(data: &Attributes<'_>) -> Option<Expression> {
    Some(Expression::Lookup {
        set: data.text(1)?,
        register: place(data.be32(2)?),
        // Destination register 0 (the verdict) makes it a verdict map.
        verdicts: data.be32(3) == Some(0),
        inverted: data.be32(5).unwrap_or(0) & 1 != 0,
    })
}

fn range(data: &Attributes<'_>) -> Option<Expression> {
    let bytes = |kind| Some(data.nest(kind).value(1)?.to_vec());
    Some(Expression::Range {
        register: place(data.be32(1)?),
        inverted: data.be32(2)? != 0,
        first: bytes(3)?,
        last: bytes(4)?,
    })
}

/// Parses `fib saddr type` and `fib daddr type`, with or without interface:
/// `NFT_FIB_RESULT_ADDRTYPE`.
fn fib(data: &Attributes<'_>) -> Option<What> {
    const ADDRESS_TYPE: u32 = 3;
    match (data.be32(2)?, data.be32(3)? & 3) {
        (ADDRESS_TYPE, 1) => Some(What::AddressType { source: true }),
        (ADDRESS_TYPE, 2) => Some(What::AddressType { source: false }),
        _ => None,
    }
}

/// Parses `struct nft_verdict` (`NFTA_VERDICT_*`).
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

/// `XT_CONNTRACK_STATE_UNTRACKED`.
pub const XT_UNTRACKED: u16 = 0x100;

/// Parses an iptables match of the nf_tables compatibility layer.
fn iptables_match(data: &Attributes<'_>) -> Expression {
    let revision = data.be32(2).unwrap_or(0);
    xtables_match(&data.text(1).unwrap_or_default(), revision, data.value(3).unwrap_or_default())
}

/// Parses an iptables match: `conntrack` (`struct xt_conntrack_mtinfo3`), `state`, `tcp`, `udp`,
/// `multiport`, `icmp`, `icmp6` and `addrtype`. Others are unknown.
pub fn xtables_match(name: &str, revision: u32, info: &[u8]) -> Expression {
    match name {
        "conntrack" => match (u16_at(info, 146), u16_at(info, 148), u16_at(info, 150)) {
            // `XT_CONNTRACK_STATE` alone.
            (Some(1), Some(inverted), Some(mask)) => {
                Expression::States { mask, inverted: inverted & 1 != 0 }
            }
            _ => Expression::Unknown,
        },
        "state" => u16_at(info, 0).map_or(Expression::Unknown, |mask| {
            // `XT_STATE_UNTRACKED`, another bit than in `conntrack`.
            let untracked = if mask & 0x40 != 0 { XT_UNTRACKED } else { 0 };
            Expression::States { mask: mask & 0x3f | untracked, inverted: false }
        }),
        "udp" => ports(info, 17).map_or(Expression::Unknown, Expression::Ports),
        "tcp" => ports(info, 6).map_or(Expression::Unknown, Expression::Ports),
        "multiport" if revision == 1 => {
            multiport(info).map_or(Expression::Unknown, Expression::Ports)
        }
        "icmp" | "icmp6" => match info {
            // The type with any code.
            [number, 0, 255, inverted, ..] => {
                Expression::IcmpType { number: *number, inverted: inverted & 1 != 0 }
            }
            _ => Expression::Unknown,
        },
        "addrtype" if revision == 1 => match (u16_at(info, 0), u16_at(info, 2), info.get(4..)) {
            (Some(source), Some(destination), Some([flags, ..])) => Expression::AddressTypes {
                source,
                destination,
                inverted: [flags & 1 != 0, flags & 2 != 0],
            },
            _ => Expression::Unknown,
        },
        name if NEUTRAL_MATCHES.contains(&name) => Expression::Neutral,
        _ => Expression::Unknown,
    }
}

/// Returns the effect of an iptables target, by its name; for `CT` (`struct xt_ct_target_info`)
/// also by its flag `XT_CT_NOTRACK`.
pub fn xtables_target(name: &str, info: &[u8]) -> Expression {
    let untracked = || info.first_chunk().is_some_and(|flags| u16::from_ne_bytes(*flags) & 1 != 0);
    match name {
        "REJECT" | "DROP" => Expression::Verdict(Verdict::Drop),
        "ACCEPT" | "DNAT" | "SNAT" | "MASQUERADE" | "REDIRECT" => {
            Expression::Verdict(Verdict::Accept)
        }
        "NOTRACK" => Expression::Untracked,
        "CT" if untracked() => Expression::Untracked,
        target if NEUTRAL_TARGETS.contains(&target) => Expression::Neutral,
        _ => Expression::Verdict(Verdict::Other),
    }
}

/// Parses `struct xt_udp` and `struct xt_tcp`: ranges of source and destination ports, then fields
/// of TCP only.
fn ports(info: &[u8], protocol: u8) -> Option<Ports> {
    let range = |first: usize, inverted: bool| {
        Some(PortRanges {
            ranges: vec![(u16_at(info, first)?, u16_at(info, first + 2)?)],
            inverted,
        })
    };
    let [option, mask, set, inverted] = match protocol {
        17 => [0, 0, 0, *info.get(8)?],
        _ => *info.get(8..)?.first_chunk()?,
    };
    // A match on a TCP option is not evaluated.
    (option == 0).then_some(())?;
    Some(Ports {
        protocol: Some(protocol),
        source: Some(range(0, inverted & 1 != 0)?),
        destination: Some(range(4, inverted & 2 != 0)?),
        either: false,
        tcp_flags: (mask != 0).then_some((mask, set, inverted & 4 != 0)),
    })
}

/// Parses a `struct xt_multiport_v1` (`linux/netfilter/xt_multiport.h`).
fn multiport(info: &[u8]) -> Option<Ports> {
    const PLACES: usize = 15;
    let (flags, count) = (*info.first()?, usize::from(*info.get(1)?));
    let port = |place: usize| u16_at(info, 2 + 2 * place);
    let joins = |place: usize| info.get(2 + 2 * PLACES + place).is_some_and(|flag| *flag != 0);
    let inverted = info.get(2 + 3 * PLACES).is_some_and(|flag| *flag != 0);
    let mut ranges = Vec::new();
    let mut place = 0;
    while place < count.min(PLACES) {
        let first = port(place)?;
        let last = if joins(place) { port(place + 1)? } else { first };
        place += 1 + usize::from(joins(place));
        ranges.push((first, last));
    }
    let set = PortRanges { ranges, inverted };
    let (source, destination) = match flags {
        0 => (Some(set), None),
        1 => (None, Some(set)),
        2 => (Some(set.clone()), Some(set)),
        _ => return None,
    };
    Some(Ports { protocol: None, source, destination, either: flags == 2, tcp_flags: None })
}

/// Returns the number at an offset, in host byte order.
pub fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..)?.first_chunk().map(|bytes| u16::from_ne_bytes(*bytes))
}

/// Converts `NFT_REG_1` to `NFT_REG_4` (16 bytes) and `NFT_REG32_00` and following (4 bytes) to an
/// index of 4-byte units.
fn place(register: u32) -> Register {
    if register < 8 { register.saturating_sub(1).saturating_mul(4) } else { register - 8 }
}
