//! Simulates packets through the chains of other programs, at every hook that they pass, to find
//! those that drop required traffic. Only certain drops count: a rule that may match is assumed to
//! match if it accepts, and not to if it drops. Drops missed here show in the counters.

use bramblegate_netlink::netfilter::{ARP, BRIDGE, INET, IPV4, IPV6, NETDEV};
use ipnet::Ipv4Net;

use super::expression::{
    CT_DIRECTION, CT_STATE, CT_STATUS, Expression, META_BRI_IIFNAME, META_BRI_OIFNAME, META_IIF,
    META_IIFNAME, META_IIFTYPE, META_L4PROTO, META_NFPROTO, META_OIF, META_OIFNAME, META_OIFTYPE,
    META_PROTOCOL, PortRanges, Ports, Verdict, What, XT_UNTRACKED,
};
use super::foreign::{Base, Ruleset, Table, TableName};
use super::packet::{Bytes, ESTABLISHED, Packet, Port, Stage, Topology, UNTRACKED};
use super::value::{EQUAL, Registers, Truth, compare, find, in_range, masked};
use crate::event::Traffic;
use crate::packet::{ETHERTYPE_ARP, ETHERTYPE_IPV4, ETHERTYPE_IPV6, TCP, UDP};

/// Maximum depth of jumps, as in the kernel (`NFT_JUMP_STACK_SIZE`).
const MAX_DEPTH: usize = 16;
/// Limit on rules evaluated per packet, so that a looping rule set ends.
const BUDGET: usize = 100_000;
/// `NF_IP_PRI_CONNTRACK`: conntrack has run after this priority, at prerouting and output.
pub const CONNTRACK: i32 = -200;
/// `NF_CT_STATE_INVALID_BIT`: the state of a packet before that.
const INVALID: u16 = 1;

/// Describes the chain that drops a packet, with what the remedy text needs.
#[derive(Debug)]
pub struct Found<'a> {
    pub name: &'a TableName,
    pub table: &'a Table,
    /// The base chain that leads there.
    pub base_name: &'a str,
    pub base: &'a Base,
    /// The chain that drops.
    pub culprit: String,
    /// No rule matched, and the base chain's policy is drop.
    pub by_policy: bool,
    pub traffic: Traffic,
    /// The cluster's network.
    pub cluster: Option<Ipv4Net>,
    /// Packets of this traffic that pass the base chain, with their stage.
    pub passing: Vec<(Stage, &'a Packet)>,
}

/// Returns the first chain of another program that drops one of the packets.
pub fn first_drop<'a>(
    ruleset: &'a Ruleset,
    topology: &Topology,
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
                    cluster: topology.head.map(|head| head.trunc()),
                    passing: packets.iter().filter_map(at_stage).collect(),
                });
            }
        }
    }
    None
}

/// Simulates a packet through a base chain; `None` if it does not pass there.
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
    let needs_tracking =
        needs_nat(traffic) && here == Stage::Prerouting && view.tracking == Tracking::NotYet;
    Some(Trace { table, packet, view, needs_tracking, budget: BUDGET }.chain(base_name, 0))
}

/// Returns whether the traffic needs NAT, and so connection tracking.
const fn needs_nat(traffic: Traffic) -> bool {
    matches!(
        traffic,
        Traffic::Forwarding | Traffic::Datagrams | Traffic::ForwardingIpv6 | Traffic::Port { .. }
    )
}

/// Returns the stage at which a base chain of this family sees the packet; `None` if it does not.
fn stage(family: u8, base: &Base, packet: &Packet) -> Option<Stage> {
    use Stage::{Egress, Forward, Ingress, Input, Output, Postrouting, Prerouting};
    let at =
        |port: &Option<Port>| port.as_ref().is_some_and(|port| base.devices.contains(&port.name));
    let bridge = |port: &Option<Port>| port.as_ref().is_some_and(|port| port.bridge);
    let (enters, leaves) = (packet.input.is_some(), packet.output.is_some());
    let stage = match (family, base.hook) {
        (NETDEV, 0) if at(&packet.input) => Ingress,
        (NETDEV, 1) if at(&packet.output) => Egress,
        (ARP, 0) if packet.arp && enters => Input,
        (ARP, 1) if packet.arp && leaves => Output,
        (BRIDGE, 0) if bridge(&packet.input) => Prerouting,
        (BRIDGE, 1) if bridge(&packet.input) => Input,
        (BRIDGE, 3) if bridge(&packet.output) => Output,
        (BRIDGE, 4) if bridge(&packet.output) => Postrouting,
        (INET | IPV4 | IPV6, _) if packet.arp => return None,
        (IPV4, _) if packet.ipv6 => return None,
        (IPV6, _) if !packet.ipv6 => return None,
        (INET, 5) if at(&packet.input) => Ingress,
        (INET | IPV4 | IPV6, 0) if enters => Prerouting,
        (INET | IPV4 | IPV6, 1) if enters && !leaves => Input,
        (INET | IPV4 | IPV6, 2) if enters && leaves => Forward,
        (INET | IPV4 | IPV6, 3) if leaves && !enters => Output,
        (INET | IPV4 | IPV6, 4) if leaves => Postrouting,
        _ => return None,
    };
    (packet.only.is_empty() || packet.only.contains(&stage)).then_some(stage)
}

/// Describes what a base chain can see of a packet.
#[derive(Debug, Clone, Copy)]
struct View {
    /// `NFPROTO_*`, as in `meta nfproto`.
    family: u8,
    input: bool,
    output: bool,
    /// Interfaces are bridge members, whose names are unknown.
    members: bool,
    tracking: Tracking,
}

/// Describes whether conntrack has processed the packet.
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

/// Holds the possible outcomes of a chain.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Ends {
    accepted: bool,
    /// The chain that drops.
    dropped: Option<String>,
    /// No rule decided.
    through: bool,
}

/// Simulates one packet through the chains of one table.
struct Trace<'a> {
    table: &'a Table,
    packet: &'a Packet,
    view: View,
    /// The packet needs conntrack, so exempting it amounts to a drop.
    needs_tracking: bool,
    budget: usize,
}

impl Trace<'_> {
    fn chain(&mut self, name: &str, depth: usize) -> Ends {
        let mut ends = Ends::default();
        let table = self.table;
        let chain = table.chains.get(name).filter(|_| depth < MAX_DEPTH);
        for rule in chain.iter().flat_map(|chain| &chain.rules) {
            self.budget = self.budget.saturating_sub(1);
            if self.budget == 0 {
                ends.accepted = true;
                return ends;
            }
            let (truth, Some(verdict)) = self.rule(rule) else { continue };
            if truth == Truth::No {
                continue;
            }
            // Whether evaluation continues with the next rule even if this one matches.
            let continues = match verdict {
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
            if truth == Truth::Yes && !continues {
                return ends;
            }
        }
        ends.through = true;
        ends
    }

    /// Evaluates another chain and merges its outcomes. Returns whether the packet may return from
    /// it.
    fn enter(&mut self, target: &str, depth: usize, ends: &mut Ends) -> bool {
        let inner = self.chain(target, depth + 1);
        ends.accepted |= inner.accepted;
        ends.dropped = ends.dropped.take().or(inner.dropped);
        inner.through
    }

    /// Returns whether the rule matches, and its verdict.
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
                    in_range(&value, first, last).not_if(*inverted)
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
                    // iptables uses another bit than nf_tables.
                    Some(UNTRACKED) => Truth::from((mask & XT_UNTRACKED != 0) != *inverted),
                    Some(state) => {
                        Truth::from((mask & (state | self.nat_states()) != 0) != *inverted)
                    }
                    None => Truth::Maybe,
                },
                Expression::Ports(ports) => self.ports(ports),
                Expression::AddressTypes { source, destination, inverted } => {
                    let [from, to] = self.packet.kinds;
                    has_type(*source, from)
                        .not_if(inverted[0])
                        .and(has_type(*destination, to).not_if(inverted[1]))
                }
                Expression::IcmpType { number, inverted } => {
                    let same = compare(&self.packet.transport.part(0, 1), EQUAL, &[*number]);
                    if *number == u8::MAX { Truth::Yes } else { same }.not_if(*inverted)
                }
                Expression::Verdict(verdict) => return (truth, Some(verdict.clone())),
                Expression::Untracked if self.needs_tracking => {
                    return (truth, Some(Verdict::Drop));
                }
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

    /// Returns the `NF_CT_STATE_BIT` at this hook; `None` if unknown.
    const fn state(&self) -> Option<u16> {
        match self.view.tracking {
            Tracking::Done => Some(self.packet.state),
            Tracking::NotYet => Some(INVALID),
            Tracking::Unclear => None,
        }
    }

    /// Returns `XT_CONNTRACK_STATE_SNAT` and `_DNAT`, which iptables treats as states.
    const fn nat_states(&self) -> u16 {
        const SOURCE: u32 = 1 << 4;
        const DESTINATION: u32 = 1 << 5;
        if !matches!(self.view.tracking, Tracking::Done) {
            return 0;
        }
        let source = if self.packet.status & SOURCE != 0 { 1 << 6 } else { 0 };
        let destination = if self.packet.status & DESTINATION != 0 { 1 << 7 } else { 0 };
        source | destination
    }

    /// Returns the value that an expression loads; `None` if the packet has none, so that the rule
    /// does not match.
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
            What::Meta(META_PROTOCOL) => Some(Bytes::known(protocol.to_vec())),
            What::Meta(META_IIF) => self.index(input),
            What::Meta(META_OIF) => self.index(output),
            What::Meta(META_IIFNAME) => name_of(input, self.view.members),
            What::Meta(META_OIFNAME) => name_of(output, self.view.members),
            // `ARPHRD_ETHER`: ARP is simulated on Ethernet only.
            What::Meta(META_IIFTYPE | META_OIFTYPE) if packet.arp => {
                Some(Bytes::known(1_u16.to_ne_bytes().to_vec()))
            }
            What::Meta(META_NFPROTO) => Some(Bytes::known(vec![self.view.family])),
            What::Meta(META_L4PROTO) if packet.arp => None,
            What::Meta(META_L4PROTO) => Some(Bytes::known(vec![packet.protocol])),
            What::Meta(META_BRI_IIFNAME) => name_of(input.filter(|port| port.bridge), false),
            What::Meta(META_BRI_OIFNAME) => name_of(output.filter(|port| port.bridge), false),
            What::Ct(CT_STATE) => Some(self.state().map_or_else(Bytes::default, |state| {
                Bytes::known(u32::from(state).to_ne_bytes().to_vec())
            })),
            What::Ct(_) if self.view.tracking == Tracking::NotYet => None,
            What::Ct(_) if packet.state == UNTRACKED => None,
            What::Ct(CT_DIRECTION) if self.view.tracking == Tracking::Done => {
                Some(Bytes::known(vec![u8::from(packet.state == ESTABLISHED)]))
            }
            What::Ct(CT_STATUS) if self.view.tracking == Tracking::Done => {
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

    /// Returns the value of `iif` or `oif`.
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
        let flags = ports.tcp_flags.map_or(Truth::Yes, |(mask, set, inverted)| {
            let flags = masked(&packet.transport.part(13, 1), &[mask], &[0]);
            compare(&flags, EQUAL, &[set]).not_if(inverted)
        });
        let matching = if ports.either { source.or(destination) } else { source.and(destination) };
        matching.and(flags)
    }

    /// Returns whether the port at this offset of the transport header is in the ranges.
    fn is_port_within(&self, ranges: &Option<PortRanges>, at: usize) -> Truth {
        let Some(PortRanges { ranges, inverted }) = ranges else { return Truth::Yes };
        let port = self.packet.transport.part(at, 2);
        let inside = ranges.iter().fold(Truth::No, |found, (first, last)| {
            found.or(in_range(&port, &first.to_be_bytes(), &last.to_be_bytes()))
        });
        inside.not_if(*inverted)
    }
}

/// Returns the value of `iifname` or `oifname`, unknown for bridge `members`.
fn name_of(port: Option<&Port>, members: bool) -> Option<Bytes> {
    match port {
        Some(port) if !members => Some(Bytes::known(padded(&port.name))),
        Some(_) => Some(Bytes::default()),
        None => None,
    }
}

/// Returns whether an address type (`RTN_*`) is in the mask; 0 means any.
fn has_type(mask: u16, kind: Option<u8>) -> Truth {
    match kind {
        _ if mask == 0 => Truth::Yes,
        Some(kind) => Truth::from(mask >> kind.min(15) & 1 == 1),
        None => Truth::Maybe,
    }
}

/// Returns an interface name as in the kernel, padded to 16 bytes.
fn padded(name: &str) -> Vec<u8> {
    let mut bytes: Vec<u8> = name.bytes().take(15).collect();
    bytes.resize(16, 0);
    bytes
}
