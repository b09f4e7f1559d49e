//! Would another program's rules drop what we forward? Two packets are followed through its chains: the first one of a
//! TCP connection from the cluster to the uplink, and the answer. Only what is certain counts: a rule that may match
//! and drop is passed by, a rule that may match and accept is taken to accept. What is missed here shows in counters.

use std::cmp::Ordering;

use ipnet::Ipv4Net;
use litemap::LiteMap;

use super::expression::{Expression, Register, Verdict, What};
use super::foreign::{Element, Ruleset, Table};
use super::remedy;
use crate::event::Blocker;

/// `NFT_JUMP_STACK_SIZE`: the kernel allows no more.
const DEPTH: usize = 16;
/// Rules looked at for one packet; more is a maze.
const BUDGET: usize = 100_000;

/// The way between cluster and uplink: names and indices of the ports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Way {
    pub cluster: (String, Option<u32>),
    pub uplink: (String, Option<u32>),
    pub network: Option<Ipv4Net>,
}

/// The first chain of others that drops what we forward.
pub fn blocker(ruleset: &Ruleset, way: &Way) -> Option<Blocker> {
    ruleset.tables.iter().find_map(|(name, table)| {
        let bases = table.chains.iter().filter(|(_, chain)| chain.forward);
        let blocking = bases.into_iter().find_map(|(base, chain)| {
            [false, true].into_iter().find_map(|reply| {
                let mut walk = Walk { table, packet: Packet { way, reply }, may_pass: false, budget: BUDGET };
                match walk.chain(base, 0) {
                    End::Dropped(culprit) if !walk.may_pass => Some(culprit),
                    End::Through if chain.drops && !walk.may_pass => Some(base.clone()),
                    _ => None,
                }
            })
        })?;
        let remedy = remedy::remedy(name, table, &blocking, way);
        Some(Blocker { table: Some(remedy::table_name(name)), chain: Some(blocking), remedy })
    })
}

/// One of the two packets.
#[derive(Debug, Clone, Copy)]
struct Packet<'a> {
    way: &'a Way,
    reply: bool,
}

/// What a register holds.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Value {
    Known(Vec<u8>),
    /// bytes from this offset of some address of the cluster, seen through a mask
    Cluster(usize, Vec<u8>),
    Unknown,
}

/// Three-valued logic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Truth {
    Yes,
    No,
    Maybe,
}

impl From<bool> for Truth {
    fn from(yes: bool) -> Self {
        if yes { Self::Yes } else { Self::No }
    }
}

/// How a chain ended.
#[derive(Debug, Clone, PartialEq, Eq)]
enum End {
    Accepted,
    /// in this chain
    Dropped(String),
    /// nothing was decided
    Through,
}

struct Walk<'a> {
    table: &'a Table,
    packet: Packet<'a>,
    /// some rule on the way may have accepted
    may_pass: bool,
    budget: usize,
}

impl Walk<'_> {
    fn chain(&mut self, name: &str, depth: usize) -> End {
        let Some(chain) = self.table.chains.get(name).filter(|_| depth < DEPTH) else { return End::Through };
        for rule in &chain.rules {
            self.budget = self.budget.saturating_sub(1);
            if self.budget == 0 {
                return End::Accepted;
            }
            let (truth, verdict) = self.rule(rule);
            let (end, leaves) = match (truth, verdict) {
                (Truth::No, _) | (_, None) => continue,
                (_, Some(Verdict::Accept | Verdict::Other)) => (End::Accepted, true),
                (_, Some(Verdict::Drop)) => (End::Dropped(name.to_owned()), true),
                (_, Some(Verdict::Return)) => (End::Through, true),
                (_, Some(Verdict::Jump(target))) => (self.chain(&target, depth + 1), false),
                (_, Some(Verdict::Goto(target))) => (self.chain(&target, depth + 1), true),
            };
            match (truth, &end) {
                (Truth::Yes, End::Through) if !leaves => {}
                (Truth::Yes, _) => return end,
                // What is only possible: an acceptance, or the way past the rest of this chain, is remembered.
                (_, End::Accepted) => self.may_pass = true,
                (_, End::Through) if leaves => self.may_pass = true,
                _ => {}
            }
        }
        End::Through
    }

    /// Does the rule match, and what does it decide then?
    fn rule(&self, rule: &[Expression]) -> (Truth, Option<Verdict>) {
        let mut registers: LiteMap<Register, Value> = LiteMap::new();
        let mut truth = Truth::Yes;
        for expression in rule {
            let here = match expression {
                Expression::Load { to, what } => {
                    registers.insert(*to, self.packet.value(*what));
                    Truth::Yes
                }
                Expression::Bitwise { from, to, mask, xor } => {
                    let value = registers.get(from).map_or(Value::Unknown, |value| masked(value, mask, xor));
                    registers.insert(*to, value);
                    Truth::Yes
                }
                Expression::Compare { register, operator, data } => {
                    let value = registers.get(register).unwrap_or(&Value::Unknown);
                    self.packet.compare(value, *operator, data)
                }
                Expression::Lookup { register, set, inverted, verdicts } => {
                    let value = registers.get(register).unwrap_or(&Value::Unknown);
                    let elements = self.table.sets.get(set).map(Vec::as_slice).unwrap_or_default();
                    let (found, verdict) = find(value, elements);
                    if *verdicts && found != Truth::No {
                        let sure = if found == Truth::Yes { truth } else { Truth::Maybe };
                        return (sure, Some(verdict.unwrap_or(Verdict::Other)));
                    }
                    if *inverted { not(found) } else { found }
                }
                Expression::States { mask, inverted } => Truth::from((mask & self.packet.state() != 0) != *inverted),
                Expression::Verdict(verdict) => return (truth, Some(verdict.clone())),
                Expression::Unknown => Truth::Maybe,
                Expression::Neutral => Truth::Yes,
            };
            truth = match (truth, here) {
                (_, Truth::No) => return (Truth::No, None),
                (Truth::Yes, Truth::Yes) => Truth::Yes,
                _ => Truth::Maybe,
            };
        }
        (truth, None)
    }
}

fn not(truth: Truth) -> Truth {
    match truth {
        Truth::Yes => Truth::No,
        Truth::No => Truth::Yes,
        Truth::Maybe => Truth::Maybe,
    }
}

fn masked(value: &Value, mask: &[u8], xor: &[u8]) -> Value {
    match value {
        Value::Known(bytes) => {
            let bits = bytes.iter().zip(mask).zip(xor);
            Value::Known(bits.map(|((byte, mask), xor)| (byte & mask) ^ xor).collect())
        }
        Value::Cluster(offset, seen) if xor.iter().all(|byte| *byte == 0) => {
            Value::Cluster(*offset, seen.iter().zip(mask).map(|(seen, mask)| seen & mask).collect())
        }
        _ => Value::Unknown,
    }
}

/// Looks a value up among plain keys.
fn find(value: &Value, elements: &[Element]) -> (Truth, Option<Verdict>) {
    let Value::Known(bytes) = value else { return (Truth::Maybe, None) };
    let equal = |key: &Vec<u8>| key.iter().zip(bytes).all(|(key, byte)| key == byte) && key.len() >= bytes.len();
    match elements.iter().find(|element| element.key.as_ref().is_some_and(equal)) {
        Some(element) => (Truth::Yes, element.verdict.clone()),
        None if elements.iter().any(|element| element.key.is_none()) => (Truth::Maybe, None),
        None => (Truth::No, None),
    }
}

impl Packet<'_> {
    /// `NF_CT_STATE_BIT`: new, or established.
    fn state(&self) -> u16 {
        if self.reply { 2 } else { 8 }
    }

    fn value(&self, what: What) -> Value {
        let (input, output) = match self.reply {
            false => (&self.way.cluster, &self.way.uplink),
            true => (&self.way.uplink, &self.way.cluster),
        };
        let index = |port: &(String, Option<u32>)| port.1.map(|index| index.to_ne_bytes().to_vec());
        let known = match what {
            What::Meta(1) => Some(vec![0x08, 0x00]),
            What::Meta(4) => index(input),
            What::Meta(5) => index(output),
            What::Meta(6) => Some(padded(&input.0)),
            What::Meta(7) => Some(padded(&output.0)),
            What::Meta(15) => Some(vec![2]),
            What::Meta(16) | What::Payload(1, 9, 1) => Some(vec![6]),
            What::Ct(0) => Some(u32::from(self.state()).to_ne_bytes().to_vec()),
            What::Ct(1) => Some(vec![u8::from(self.reply)]),
            // Seen both ways, assured, confirmed, source changed: never the destination.
            What::Ct(2) => Some(if self.reply { 0x19e_u32 } else { 0 }.to_ne_bytes().to_vec()),
            What::Payload(2, 13, 1) => Some(vec![if self.reply { 0x10 } else { 0x02 }]),
            _ => None,
        };
        match (known, what) {
            (Some(bytes), _) => Value::Known(bytes),
            (None, What::Payload(1, offset, length)) => self.address(offset, length),
            _ => Value::Unknown,
        }
    }

    /// Bytes of the IPv4 header that lie within the cluster's address.
    fn address(&self, offset: u32, length: u32) -> Value {
        let begins = if self.reply { 16 } else { 12 };
        match offset.checked_sub(begins) {
            Some(inside) if inside.saturating_add(length) <= 4 => {
                Value::Cluster(inside as usize, vec![0xff; length as usize])
            }
            _ => Value::Unknown,
        }
    }

    fn compare(&self, value: &Value, operator: u32, data: &[u8]) -> Truth {
        let ordering = match value {
            Value::Known(bytes) => bytes.get(..data.len()).unwrap_or(bytes).cmp(data),
            Value::Cluster(offset, mask) if operator <= 1 => {
                let equal = self.cluster_is(*offset, mask, data);
                return if operator == 0 { equal } else { not(equal) };
            }
            _ => return Truth::Maybe,
        };
        Truth::from(match operator {
            0 => ordering == Ordering::Equal,
            1 => ordering != Ordering::Equal,
            2 => ordering == Ordering::Less,
            3 => ordering != Ordering::Greater,
            4 => ordering == Ordering::Greater,
            5 => ordering != Ordering::Less,
            _ => return Truth::Maybe,
        })
    }

    /// Is an address of the cluster, seen through the mask, this? Certain where the mask shows only its network's bits.
    fn cluster_is(&self, offset: usize, mask: &[u8], data: &[u8]) -> Truth {
        let Some(network) = self.way.network else { return Truth::Maybe };
        let (address, netmask) = (network.network().octets(), network.netmask().octets());
        let known = address.iter().zip(&netmask).skip(offset);
        let mut truth = Truth::Yes;
        for (((address, netmask), mask), data) in known.zip(mask).zip(data) {
            if (address ^ data) & netmask & mask != 0 {
                return Truth::No;
            }
            if mask & !netmask != 0 {
                truth = Truth::Maybe;
            }
        }
        truth
    }
}

/// An interface's name as the kernel holds it: 16 bytes.
fn padded(name: &str) -> Vec<u8> {
    let mut bytes: Vec<u8> = name.bytes().take(15).collect();
    bytes.resize(16, 0);
    bytes
}
