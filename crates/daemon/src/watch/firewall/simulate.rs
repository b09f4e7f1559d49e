//! Finds out whether another program's rules drop what has to get through. Packets are followed
//! through its chains, at every hook that they pass. Only what is certain counts: a rule that may
//! match and drop is passed by, a rule that may match and accept is taken to accept. What is missed
//! here shows in counters.

use ipnet::Ipv4Net;

use super::expression::{Expression, PortRanges, Ports, Verdict, What, XT_UNTRACKED};
use super::foreign::{ARP, BRIDGE, Base, INET, IPV4, IPV6, NETDEV, Ruleset, Table, TableName};
use super::packet::{Bytes, ESTABLISHED, Packet, Place, Port, Stage, UNTRACKED};
use super::value::{Registers, Truth, compare, find, masked};
use crate::event::Traffic;
use crate::packet::{ETHERTYPE_ARP, ETHERTYPE_IPV4, ETHERTYPE_IPV6, TCP, UDP};

/// `NFT_JUMP_STACK_SIZE`: the kernel allows no more.
const DEPTH: usize = 16;
/// Rules looked at for one packet; more is a maze.
const BUDGET: usize = 100_000;
/// `NF_IP_PRI_CONNTRACK`: from here on connections are known, where a packet comes in or is made.
pub const CONNTRACK: i32 = -200;
/// `NF_CT_STATE_INVALID_BIT`: what a packet is before.
const INVALID: u16 = 1;

/// Names the chain that drops a packet, and what a remedy has to know of it.
#[derive(Debug)]
pub struct Found<'a> {
    pub name: &'a TableName,
    pub table: &'a Table,
    /// the hooked chain that leads there
    pub base_name: &'a str,
    pub base: &'a Base,
    /// the chain that drops
    pub culprit: String,
    /// nothing matched: it is the hooked chain's policy
    pub by_policy: bool,
    pub traffic: Traffic,
    /// the cluster's network
    pub cluster: Option<Ipv4Net>,
    /// what of this traffic passes the hooked chain, and where it is
    pub passing: Vec<(Stage, &'a Packet)>,
}

/// Returns the first chain of others that drops one of the packets.
pub fn first_drop<'a>(
    ruleset: &'a Ruleset,
    place: &Place,
    traffic: Traffic,
    packets: &'a [Packet],
) -> Option<Found<'a>> {
    for packet in packets {
        for (name, table) in &ruleset.tables {
            for (base_name, chain) in &table.chains {
                let Some(base) = &chain.base else { continue };
                let Some(ends) = follow(name.0, table, base_name, base, packet, traffic) else {
                    continue;
                };
                if ends.accepted || (ends.through && !chain.drops) {
                    continue;
                }
                let at_stage = |packet| Some((stage(name.0, base, packet)?, packet));
                return Some(Found {
                    name,
                    table,
                    base_name,
                    base,
                    by_policy: ends.dropped.is_none(),
                    culprit: ends.dropped.unwrap_or_else(|| base_name.clone()),
                    traffic,
                    cluster: place.head.map(|head| head.trunc()),
                    passing: packets.iter().filter_map(at_stage).collect(),
                });
            }
        }
    }
    None
}

/// Follows a packet through a hooked chain; `None`: it never gets there.
fn follow(
    family: u8,
    table: &Table,
    base_name: &str,
    base: &Base,
    packet: &Packet,
    traffic: Traffic,
) -> Option<Ends> {
    let here = stage(family, base, packet)?;
    let view = View::of(family, base, here, packet.ipv6);
    let translated =
        is_translated(traffic) && here == Stage::Prerouting && view.tracking == Tracking::NotYet;
    Some(Trace { table, packet, view, translated, budget: BUDGET }.chain(base_name, 0))
}

/// Returns whether it gets through by translation of addresses, which takes connection tracking.
const fn is_translated(traffic: Traffic) -> bool {
    matches!(
        traffic,
        Traffic::Forwarding | Traffic::Datagrams | Traffic::ForwardingIpv6 | Traffic::Port { .. }
    )
}

/// Returns where a chain of this family, hooked in like this, sees the packet; `None`: it never
/// does.
fn stage(family: u8, base: &Base, packet: &Packet) -> Option<Stage> {
    use Stage::{Egress, Forward, Ingress, Input, Output, Postrouting, Prerouting};
    let at =
        |port: &Option<Port>| port.as_ref().is_some_and(|port| base.devices.contains(&port.name));
    let bridge = |port: &Option<Port>| port.as_ref().is_some_and(|port| port.bridge);
    let (comes, leaves) = (packet.input.is_some(), packet.output.is_some());
    let stage = match (family, base.hook) {
        (NETDEV, 0) if at(&packet.input) => Ingress,
        (NETDEV, 1) if at(&packet.output) => Egress,
        (ARP, 0) if packet.arp && comes => Input,
        (ARP, 1) if packet.arp && leaves => Output,
        (BRIDGE, 0) if bridge(&packet.input) => Prerouting,
        (BRIDGE, 1) if bridge(&packet.input) => Input,
        (BRIDGE, 3) if bridge(&packet.output) => Output,
        (BRIDGE, 4) if bridge(&packet.output) => Postrouting,
        (INET | IPV4 | IPV6, _) if packet.arp => return None,
        (IPV4, _) if packet.ipv6 => return None,
        (IPV6, _) if !packet.ipv6 => return None,
        (INET, 5) if at(&packet.input) => Ingress,
        (INET | IPV4 | IPV6, 0) if comes => Prerouting,
        (INET | IPV4 | IPV6, 1) if comes && !leaves => Input,
        (INET | IPV4 | IPV6, 2) if comes && leaves => Forward,
        (INET | IPV4 | IPV6, 3) if leaves && !comes => Output,
        (INET | IPV4 | IPV6, 4) if leaves => Postrouting,
        _ => return None,
    };
    (packet.only.is_empty() || packet.only.contains(&stage)).then_some(stage)
}

/// Holds what can be seen of a packet where a chain is hooked in.
#[derive(Debug, Clone, Copy)]
struct View {
    /// `NFPROTO_*`, as the expression `meta nfproto` gives it
    family: u8,
    input: bool,
    output: bool,
    /// the names that a bridge's members have instead
    members: bool,
    tracking: Tracking,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Tracking {
    Done,
    NotYet,
    Unclear,
}

impl View {
    fn of(family: u8, base: &Base, stage: Stage, ipv6: bool) -> Self {
        use Stage::{Egress, Forward, Ingress, Input, Output, Postrouting, Prerouting};
        let early = matches!(stage, Prerouting | Output) && base.priority <= CONNTRACK;
        let tracking = match family {
            BRIDGE => Tracking::Unclear,
            INET | IPV4 | IPV6 if stage != Ingress && !early => Tracking::Done,
            NETDEV if stage == Egress => Tracking::Done,
            _ => Tracking::NotYet,
        };
        Self {
            family: match family {
                INET if ipv6 => IPV6,
                INET => IPV4,
                family => family,
            },
            input: matches!(stage, Ingress | Prerouting | Input | Forward | Postrouting),
            output: matches!(stage, Forward | Output | Postrouting | Egress),
            members: family == BRIDGE,
            tracking,
        }
    }
}

/// Holds how a chain may end.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Ends {
    accepted: bool,
    /// in this chain
    dropped: Option<String>,
    /// nothing was decided
    through: bool,
}

/// Follows one packet through the chains of one table.
struct Trace<'a> {
    table: &'a Table,
    packet: &'a Packet,
    view: View,
    /// it is lost unless its connection is tracked from here on
    translated: bool,
    budget: usize,
}

impl Trace<'_> {
    fn chain(&mut self, name: &str, depth: usize) -> Ends {
        let mut ends = Ends::default();
        let table = self.table;
        let rules =
            table.chains.get(name).filter(|_| depth < DEPTH).map(|chain| chain.rules.as_slice());
        for rule in rules.unwrap_or_default() {
            self.budget = self.budget.saturating_sub(1);
            if self.budget == 0 {
                ends.accepted = true;
                return ends;
            }
            let (truth, Some(verdict)) = self.rule(rule) else { continue };
            if truth == Truth::No {
                continue;
            }
            // Whether the next rule is reached though this one matches.
            let goes_on = match verdict {
                Verdict::Accept | Verdict::Other => {
                    ends.accepted = true;
                    false
                }
                Verdict::Drop => {
                    ends.dropped.get_or_insert_with(|| name.to_owned());
                    false
                }
                Verdict::Return => {
                    ends.through = true;
                    false
                }
                Verdict::Jump(target) => self.enter(&target, depth, &mut ends),
                Verdict::Goto(target) => {
                    ends.through |= self.enter(&target, depth, &mut ends);
                    false
                }
            };
            if truth == Truth::Yes && !goes_on {
                return ends;
            }
        }
        ends.through = true;
        ends
    }

    /// Follows another chain; whether the packet may come back from it undecided.
    fn enter(&mut self, target: &str, depth: usize, ends: &mut Ends) -> bool {
        let there = self.chain(target, depth + 1);
        ends.accepted |= there.accepted;
        ends.dropped = ends.dropped.take().or(there.dropped);
        there.through
    }

    /// Returns whether the rule matches, and what it decides then.
    fn rule(&self, rule: &[Expression]) -> (Truth, Option<Verdict>) {
        let mut registers = Registers::new();
        let mut truth = Truth::Yes;
        for expression in rule {
            let here = match expression {
                Expression::Load { to, what } => {
                    let Some(value) = self.value(*what) else { return (Truth::No, None) };
                    registers.load(*to, &value);
                    Truth::Yes
                }
                Expression::Bitwise { from, to, mask, xor } => {
                    let value = masked(&registers.read(*from, mask.len()), mask, xor);
                    registers.load(*to, &value);
                    Truth::Yes
                }
                Expression::Compare { register, operator, data } => {
                    compare(&registers.read(*register, data.len()), *operator, data)
                }
                Expression::Range { register, inverted, first, last } => {
                    let value = registers.read(*register, first.len().max(last.len()));
                    compare(&value, 5, first).and(compare(&value, 3, last)).not_if(*inverted)
                }
                Expression::Lookup { register, set, inverted, verdicts } => {
                    let elements = self.table.sets.get(set).map(Vec::as_slice).unwrap_or_default();
                    let (found, verdict) = find(&registers, *register, elements);
                    if *verdicts && found != Truth::No {
                        return (truth.and(found), Some(verdict.unwrap_or(Verdict::Other)));
                    }
                    found.not_if(*inverted)
                }
                Expression::States { mask, inverted } => match self.state() {
                    // nf_tables has another bit for it than iptables.
                    Some(UNTRACKED) => Truth::from((mask & XT_UNTRACKED != 0) != *inverted),
                    Some(state) => {
                        Truth::from((mask & (state | self.translated()) != 0) != *inverted)
                    }
                    None => Truth::Maybe,
                },
                Expression::Ports(ports) => self.ports(ports),
                Expression::AddressTypes { source, destination, inverted } => {
                    let [from, to] = self.packet.kinds;
                    of_kind(*source, from)
                        .not_if(inverted[0])
                        .and(of_kind(*destination, to).not_if(inverted[1]))
                }
                Expression::IcmpType { number, inverted } => {
                    let same = compare(&self.packet.transport.part(0, 1), 0, &[*number]);
                    if *number == u8::MAX { Truth::Yes } else { same }.not_if(*inverted)
                }
                Expression::Verdict(verdict) => return (truth, Some(verdict.clone())),
                Expression::Untracked if self.translated => return (truth, Some(Verdict::Drop)),
                Expression::Untracked => Truth::Yes,
                Expression::Unknown => Truth::Maybe,
                Expression::Neutral => Truth::Yes,
            };
            truth = truth.and(here);
            if truth == Truth::No {
                return (Truth::No, None);
            }
        }
        (truth, None)
    }

    /// Returns the `NF_CT_STATE_BIT` here; `None`: not known.
    const fn state(&self) -> Option<u16> {
        match self.view.tracking {
            Tracking::Done => Some(self.packet.state),
            Tracking::NotYet => Some(INVALID),
            Tracking::Unclear => None,
        }
    }

    /// Returns `XT_CONNTRACK_STATE_SNAT` and `_DNAT`: iptables counts translations among the
    /// states.
    const fn translated(&self) -> u16 {
        const SOURCE: u32 = 1 << 4;
        const DESTINATION: u32 = 1 << 5;
        if !matches!(self.view.tracking, Tracking::Done) {
            return 0;
        }
        let source = if self.packet.status & SOURCE != 0 { 1 << 6 } else { 0 };
        let destination = if self.packet.status & DESTINATION != 0 { 1 << 7 } else { 0 };
        source | destination
    }

    /// Returns what an expression loads. `None`: there is no such thing, and the rule does not
    /// match.
    fn value(&self, what: What) -> Option<Bytes> {
        let packet = self.packet;
        let input = packet.input.as_ref().filter(|_| self.view.input);
        let output = packet.output.as_ref().filter(|_| self.view.output);
        let ethertype = match (packet.arp, packet.ipv6) {
            (true, _) => ETHERTYPE_ARP,
            (false, true) => ETHERTYPE_IPV6,
            (false, false) => ETHERTYPE_IPV4,
        };
        let protocol = ethertype.to_be_bytes();
        match what {
            What::Meta(1) => Some(Bytes::known(protocol.to_vec())),
            What::Meta(4) => self.index(input),
            What::Meta(5) => self.index(output),
            What::Meta(6) => name_of(input, self.view.members),
            What::Meta(7) => name_of(output, self.view.members),
            // ARPHRD_ETHER: others have no ARP that would matter here.
            What::Meta(8 | 9) if packet.arp => Some(Bytes::known(1_u16.to_ne_bytes().to_vec())),
            What::Meta(15) => Some(Bytes::known(vec![self.view.family])),
            What::Meta(16) if packet.arp => None,
            What::Meta(16) => Some(Bytes::known(vec![packet.protocol])),
            What::Meta(17) => name_of(input.filter(|port| port.bridge), false),
            What::Meta(18) => name_of(output.filter(|port| port.bridge), false),
            What::Ct(0) => Some(self.state().map_or_else(Bytes::default, |state| {
                Bytes::known(u32::from(state).to_ne_bytes().to_vec())
            })),
            What::Ct(_) if self.view.tracking == Tracking::NotYet => None,
            What::Ct(_) if packet.state == UNTRACKED => None,
            What::Ct(1) if self.view.tracking == Tracking::Done => {
                Some(Bytes::known(vec![u8::from(packet.state == ESTABLISHED)]))
            }
            What::Ct(2) if self.view.tracking == Tracking::Done => {
                Some(Bytes::known(packet.status.to_ne_bytes().to_vec()))
            }
            What::Payload(0, 12, 2) => Some(Bytes::known(protocol.to_vec())),
            What::Payload(1, offset, length) => {
                Some(packet.network.part(offset as usize, length as usize))
            }
            What::Payload(2, ..) if packet.arp => None,
            What::Payload(2, offset, length) => {
                Some(packet.transport.part(offset as usize, length as usize))
            }
            What::AddressType { source } => {
                let [from, to] = packet.kinds;
                let kind = if source { from } else { to };
                Some(kind.map_or_else(Bytes::default, |kind| {
                    Bytes::known(u32::from(kind).to_ne_bytes().to_vec())
                }))
            }
            _ => Some(Bytes::default()),
        }
    }

    /// Returns what `iif` and `oif` load.
    fn index(&self, port: Option<&Port>) -> Option<Bytes> {
        match port {
            Some(port) if !self.view.members => {
                Some(port.index.map_or_else(Bytes::default, |index| {
                    Bytes::known(index.to_ne_bytes().to_vec())
                }))
            }
            Some(_) => Some(Bytes::default()),
            None => None,
        }
    }

    fn ports(&self, ports: &Ports) -> Truth {
        let packet = self.packet;
        let has_ports = matches!(packet.protocol, TCP | UDP);
        if !has_ports || ports.protocol.is_some_and(|protocol| protocol != packet.protocol) {
            return Truth::No;
        }
        let (source, destination) =
            (self.is_port_within(&ports.source, 0), self.is_port_within(&ports.destination, 2));
        let flags = ports.tcp_flags.map_or(Truth::Yes, |(looked_at, set, inverted)| {
            let seen = masked(&packet.transport.part(13, 1), &[looked_at], &[0]);
            compare(&seen, 0, &[set]).not_if(inverted)
        });
        let matching = if ports.either { source.or(destination) } else { source.and(destination) };
        matching.and(flags)
    }

    /// Returns whether the port at this offset of the transport header is in the ranges.
    fn is_port_within(&self, ranges: &Option<PortRanges>, at: usize) -> Truth {
        let Some(PortRanges { ranges, inverted }) = ranges else { return Truth::Yes };
        let port = self.packet.transport.part(at, 2);
        let inside = ranges.iter().fold(Truth::No, |found, (first, last)| {
            found.or(compare(&port, 5, &first.to_be_bytes()).and(compare(
                &port,
                3,
                &last.to_be_bytes(),
            )))
        });
        inside.not_if(*inverted)
    }
}

/// Returns what `iifname` and `oifname` load; a bridge's `members` have names that are not known.
fn name_of(port: Option<&Port>, members: bool) -> Option<Bytes> {
    match port {
        Some(port) if !members => Some(Bytes::known(padded(&port.name))),
        Some(_) => Some(Bytes::default()),
        None => None,
    }
}

/// Returns whether an address of this kind (`RTN_*`) is in the mask; 0 is any.
fn of_kind(mask: u16, kind: Option<u8>) -> Truth {
    match kind {
        _ if mask == 0 => Truth::Yes,
        Some(kind) => Truth::from(mask >> kind.min(15) & 1 == 1),
        None => Truth::Maybe,
    }
}

/// Returns an interface's name as the kernel holds it: 16 bytes.
fn padded(name: &str) -> Vec<u8> {
    let mut bytes: Vec<u8> = name.bytes().take(15).collect();
    bytes.resize(16, 0);
    bytes
}
