//! Encodes matches and actions as nf_tables expressions, in the forms that nft itself uses.

use std::ffi::{CStr, c_void};
use std::net::IpAddr;
use std::ptr::NonNull;

use ipnet::IpNet;
use nftnl::expr::{
    Bitwise, Cmp, CmpOp, Counter, Expression, Immediate, Masquerade, Meta, Nat, NatType, Register,
    Verdict,
};
use nftnl::nftnl_sys as sys;
use nftnl::set::{Set, SetKey};
use nftnl::{ProtoFamily, Rule as Kernel, Table, expr::Lookup as LookupAnonymous};

use super::raw::{allocated, name_of_interface, protocol, text};
use crate::decide::firewall::{
    self, Action, DataKind, Family, Field, Key, Lookup, Match, Rule, Side, Transport,
};
use crate::decide::routing::entrance::MARK_ENTRANCE;
use crate::packet::{ICMP, ICMPV6, TCP};

const REGISTER: u32 = libc::NFT_REG_1 as u32;
const NETWORK_HEADER: u32 = 1;
const TRANSPORT_HEADER: u32 = 2;
const SYN: u8 = 2;
const RST: u8 = 4;
const ACK: u8 = 16;
/// `NFT_META_IIFKIND` (`linux/netfilter/nf_tables.h`), `IFNAMSIZ` bytes.
const META_INPUT_KIND: i32 = 26;
/// Length of a port's name, bytes.
const NAME: u32 = libc::IFNAMSIZ as u32;
/// `NFT_HASH_JENKINS`
const JENKINS: u32 = 0;
/// `NFT_DYNSET_OP_UPDATE`
const UPDATE: u32 = 1;
/// `IP_CT_DIR_ORIGINAL`, `IP_CT_DIR_REPLY`
const ORIGINAL: u8 = 0;
const REPLY: u8 = 1;
/// `NF_CT_STATE_INVALID_BIT`, `NF_CT_STATE_BIT(IP_CT_ESTABLISHED)` and `(IP_CT_RELATED)`
const STATE_INVALID: u32 = 1;
const STATE_ESTABLISHED_RELATED: u32 = 2 | 4;
/// `NFT_FIB_RESULT_ADDRTYPE`, `NFTA_FIB_F_SADDR`, `NFTA_FIB_F_DADDR`, and `RTN_LOCAL` of
/// `linux/rtnetlink.h`
const FIB_ADDRESS_TYPE: u32 = 3;
const FIB_SOURCE: u32 = 1;
const FIB_DESTINATION: u32 = 2;
const LOCAL: u32 = 2;
/// `NFT_REG_VERDICT`
const VERDICT: u32 = 0;
/// 32-bit words in a register of `NFT_REG_1` …
const WORDS: u32 = 4;
/// Bytes in a word.
const WORD: u32 = 4;
/// `IPS_DST_NAT`
const STATUS_DNAT: u32 = 32;
/// `IPS_ASSURED`, `IPS_CONFIRMED`
const STATUS_ASSURED: u32 = 4;
const STATUS_CONFIRMED: u32 = 8;

/// `NFT_REJECT_TCP_RST`, `NFT_REJECT_ICMPX_UNREACH`, `NFT_REJECT_ICMPX_ADMIN_PROHIBITED` of
/// `linux/netfilter/nf_tables.h`
const REJECT_RESET: u32 = 1;
const REJECT_ICMPX: u32 = 2;
const ICMPX_PROHIBITED: u8 = 3;

/// The key of a set of ICMPv6 types, with nft's type number, so that nft lists them by name.
pub struct Icmp6Type(u8);

impl SetKey for Icmp6Type {
    const TYPE: u32 = 29;
    const LEN: u32 = 1;

    fn data(&self) -> Box<[u8]> {
        Box::new([self.0])
    }
}

/// Returns the anonymous set that a rule needs, if any. `id` must be unique within the batch.
pub fn set_of<'a>(rule: &Rule, id: u32, table: &'a Table) -> Option<Set<'a, Icmp6Type>> {
    let types = rule.matches.iter().find_map(|test| match test {
        Match::Icmp6(types) if types.len() > 1 => Some(types),
        _ => None,
    })?;
    let mut set = Set::new(c"__set%d", id, table, ProtoFamily::Inet);
    types.iter().for_each(|number| set.add(&Icmp6Type(*number)));
    Some(set)
}

/// Fills a kernel rule with the expressions of `rule`. `set` is its anonymous set, `sets` are the
/// table's.
pub fn fill(
    kernel: &mut Kernel<'_>,
    rule: &Rule,
    set: Option<&Set<'_, Icmp6Type>>,
    sets: &[firewall::Set],
) {
    let mut writer = Writer { rule: kernel, family: None, transport: None, sets };
    for test in &rule.matches {
        writer.test(test, set);
    }
    if let Action::Sample(family, set) = rule.action {
        writer.sample(family, set);
    }
    writer.rule.add_expr(&Counter);
    writer.action(&rule.action);
}

/// Writes the expressions of a rule. Tracks which family and transport they have already matched.
struct Writer<'r, 'k> {
    rule: &'r mut Kernel<'k>,
    family: Option<Family>,
    transport: Option<u8>,
    sets: &'r [firewall::Set],
}

impl Writer<'_, '_> {
    fn test(&mut self, test: &Match, set: Option<&Set<'_, Icmp6Type>>) {
        match test {
            Match::Input(name) => self.interface(&Meta::IifName, name),
            Match::Output(name) => self.interface(&Meta::OifName, name),
            Match::InputKind(kind) => {
                self.load_meta(REGISTER, META_INPUT_KIND, NAME);
                self.equal(&name_of_interface(kind));
            }
            Match::InputBegins(beginning) => {
                self.rule.add_expr(&Meta::IifName);
                self.equal(beginning.as_bytes());
            }
            Match::Family(family) => self.family(*family),
            Match::Source(net) => self.network(Side::Source, *net),
            Match::Destination(address) => self.network(Side::Destination, (*address).into()),
            Match::Towards(net) => self.network(Side::Destination, *net),
            Match::In(lookup) => self.look_up(lookup, None),
            Match::NotIn(lookup) => {
                let inverted = Value::U32(libc::NFT_LOOKUP_F_INV as u32);
                self.look_up(lookup, Some((sys::NFTNL_EXPR_LOOKUP_FLAGS, inverted)));
            }
            Match::Protocol(transport) => self.transport(protocol(*transport)),
            Match::ToThisMachine => self.address_is_local(FIB_DESTINATION),
            Match::FromThisMachine => self.address_is_local(FIB_SOURCE),
            Match::Loopback => {
                self.family(Family::Ipv4);
                self.prefix(16, &[127, 0, 0, 0], &[0xff, 0, 0, 0]);
            }
            Match::Protocol4(number) => {
                self.family(Family::Ipv4);
                self.load(NETWORK_HEADER, 9, 1);
                self.equal(&[*number]);
            }
            Match::Established => {
                self.bits(libc::NFT_CT_STATE, STATE_ESTABLISHED_RELATED, CmpOp::Neq)
            }
            Match::Remembered(bit) => self.remembered(*bit, *bit),
            Match::Entered(mark) => self.remembered(MARK_ENTRANCE, *mark),
            Match::Invalid => self.bits(libc::NFT_CT_STATE, STATE_INVALID, CmpOp::Neq),
            Match::Opener => self.direction(ORIGINAL),
            Match::Answer => self.direction(REPLY),
            Match::Assured => self.bits(libc::NFT_CT_STATUS, STATUS_ASSURED, CmpOp::Neq),
            Match::Redirected => self.bits(libc::NFT_CT_STATUS, STATUS_DNAT, CmpOp::Neq),
            Match::Unconfirmed => self.bits(libc::NFT_CT_STATUS, STATUS_CONFIRMED, CmpOp::Eq),
            Match::Port(transport, side, first, last) => {
                self.port(*transport, *side, *first, *last)
            }
            Match::Icmp(number) => self.icmp(Family::Ipv4, ICMP, *number),
            Match::Icmp6(types) => match (types.as_slice(), set) {
                ([one], _) => self.icmp(Family::Ipv6, ICMPV6, *one),
                (_, Some(set)) => {
                    self.family(Family::Ipv6);
                    self.transport(ICMPV6);
                    self.load(TRANSPORT_HEADER, 0, 1);
                    self.rule.add_expr(&LookupAnonymous::new(set));
                }
                (_, None) => {}
            },
            Match::TcpOpening => self.tcp_flags(SYN | RST, SYN),
            Match::TcpOngoing => self.tcp_flags(SYN, 0),
            Match::TcpRefusal => self.tcp_flags(RST | ACK, RST),
            Match::TcpAnswer => self.tcp_flags(SYN | ACK, SYN | ACK),
            Match::SocketBound => {
                let key = [
                    (sys::NFTNL_EXPR_SOCKET_KEY, Value::U32(2)),
                    (sys::NFTNL_EXPR_SOCKET_DREG, REG),
                ];
                self.rule.add_expr(&Raw { name: c"socket", values: &key });
                self.equal(&[0]);
            }
        }
    }

    fn action(&mut self, action: &Action) {
        match *action {
            Action::Accept => self.rule.add_expr(&Verdict::Accept),
            Action::Drop => self.rule.add_expr(&Verdict::Drop),
            Action::Goto(chain) => self.rule.add_expr(&Verdict::Goto { chain: text(chain) }),
            Action::Jump(chain) => self.rule.add_expr(&Verdict::Jump { chain: text(chain) }),
            // Written before the counter, by `fill`.
            Action::Sample(..) => {}
            Action::Masquerade => self.rule.add_expr(&Masquerade),
            Action::Remember(bit) => {
                self.add_bit(c"ct", (sys::NFTNL_EXPR_CT_KEY, libc::NFT_CT_MARK as u32), bit);
            }
            Action::Mark(bit) => {
                self.add_bit(c"meta", (sys::NFTNL_EXPR_META_KEY, libc::NFT_META_MARK as u32), bit);
            }
            Action::Reset => self.reject(REJECT_RESET, 0),
            Action::Unreachable => self.reject(REJECT_ICMPX, ICMPX_PROHIBITED),
            Action::Redirect(address, port) => self.redirect(address, port),
            Action::RedirectBy(family, ref lookup) => self.redirect_by(family, lookup),
            Action::Decide(ref lookup) => {
                self.look_up(lookup, Some((sys::NFTNL_EXPR_LOOKUP_DREG, Value::U32(VERDICT))));
            }
            Action::ClampMss => self.clamp_mss(),
            Action::Offload(table) => {
                let name = text(table);
                let values = [(sys::NFTNL_EXPR_FLOW_TABLE_NAME, Value::Text(&name))];
                self.rule.add_expr(&Raw { name: c"flow_offload", values: &values });
            }
        }
    }

    fn reject(&mut self, kind: u32, code: u8) {
        let values = [
            (sys::NFTNL_EXPR_REJECT_TYPE, Value::U32(kind)),
            (sys::NFTNL_EXPR_REJECT_CODE, Value::U8(code)),
        ];
        self.rule.add_expr(&Raw { name: c"reject", values: &values });
    }

    /// Sets a bit of a mark: load, set, store.
    fn add_bit(&mut self, expression: &'static CStr, key: (u32, u32), bit: u32) {
        let (attribute, key) = key;
        let (to, from) = match expression.to_bytes() {
            b"ct" => (sys::NFTNL_EXPR_CT_DREG, sys::NFTNL_EXPR_CT_SREG),
            _ => (sys::NFTNL_EXPR_META_DREG, sys::NFTNL_EXPR_META_SREG),
        };
        self.rule.add_expr(&Raw {
            name: expression,
            values: &[(attribute, Value::U32(key)), (to, REG)],
        });
        self.rule.add_expr(&Bitwise::new(!bit, bit));
        self.rule.add_expr(&Raw {
            name: expression,
            values: &[(attribute, Value::U32(key)), (from, REG)],
        });
    }

    fn direction(&mut self, direction: u8) {
        self.load_ct(libc::NFT_CT_DIRECTION);
        self.equal(&[direction]);
    }

    /// Compares the masked connection mark.
    fn remembered(&mut self, mask: u32, mark: u32) {
        self.load_ct(libc::NFT_CT_MARK);
        self.rule.add_expr(&Bitwise::new(mask, 0u32));
        self.rule.add_expr(&Cmp::new(CmpOp::Eq, mark));
    }

    /// Adds `fib saddr type local` or `fib daddr type local`.
    fn address_is_local(&mut self, which: u32) {
        let values = [
            (sys::NFTNL_EXPR_FIB_RESULT, Value::U32(FIB_ADDRESS_TYPE)),
            (sys::NFTNL_EXPR_FIB_FLAGS, Value::U32(which)),
            (sys::NFTNL_EXPR_FIB_DREG, REG),
        ];
        self.rule.add_expr(&Raw { name: c"fib", values: &values });
        self.equal(&LOCAL.to_ne_bytes());
    }

    /// Adds the source address to a set. If the set is full, evaluation of this rule ends here, so
    /// a drop has to be a separate rule.
    fn sample(&mut self, family: Family, set: &str) {
        self.family(family);
        self.load_address(REGISTER, family, Side::Source);
        let name = text(set);
        let values = [
            (sys::NFTNL_EXPR_DYNSET_SREG_KEY, REG),
            (sys::NFTNL_EXPR_DYNSET_OP, Value::U32(UPDATE)),
            (sys::NFTNL_EXPR_DYNSET_SET_NAME, Value::Text(&name)),
        ];
        self.rule.add_expr(&Raw { name: c"dynset", values: &values });
    }

    fn redirect(&mut self, address: IpAddr, port: u16) {
        match address {
            IpAddr::V4(address) => {
                self.rule.add_expr(&Immediate::new(address.octets(), Register::Reg1))
            }
            IpAddr::V6(address) => {
                self.rule.add_expr(&Immediate::new(address.octets(), Register::Reg1))
            }
        }
        self.rule.add_expr(&Immediate::new(port.to_be_bytes(), Register::Reg2));
        self.rule.add_expr(&Nat {
            nat_type: NatType::DNat,
            family: match address {
                IpAddr::V4(_) => ProtoFamily::Ipv4,
                IpAddr::V6(_) => ProtoFamily::Ipv6,
            },
            ip_register: Register::Reg1,
            port_register: Some(Register::Reg2),
        });
    }

    /// Translates to the map's data: an address, and a port in the next register if the map has
    /// one.
    fn redirect_by(&mut self, family: Family, lookup: &Lookup) {
        self.look_up(lookup, Some((sys::NFTNL_EXPR_LOOKUP_DREG, REG)));
        let (protocol, words) = match family {
            Family::Ipv4 => (libc::NFPROTO_IPV4, 1),
            Family::Ipv6 => (libc::NFPROTO_IPV6, 4),
        };
        let data =
            self.sets.iter().find(|set| set.name == lookup.set).and_then(|set| set.data.as_ref());
        let ports = matches!(data, Some(DataKind::Values(kinds)) if kinds.len() > 1);
        let mut values = vec![
            (sys::NFTNL_EXPR_NAT_TYPE, Value::U32(libc::NFT_NAT_DNAT as u32)),
            (sys::NFTNL_EXPR_NAT_FAMILY, Value::U32(protocol as u32)),
            (sys::NFTNL_EXPR_NAT_REG_ADDR_MIN, REG),
        ];
        if ports {
            values.push((sys::NFTNL_EXPR_NAT_REG_PROTO_MIN, Value::U32(register(words))));
        }
        self.rule.add_expr(&Raw { name: c"nat", values: &values });
    }

    /// Loads the key and looks it up in the set. `attribute` is a further attribute of the lookup.
    fn look_up(&mut self, lookup: &Lookup, attribute: Option<(u32, Value<'_>)>) {
        match &lookup.key {
            Key::Fields(fields) => {
                self.load_fields(fields, 0);
            }
            Key::RoundRobin { modulus } => self.count_round(*modulus),
            Key::Hash { fields, modulus, seed } => self.hash(fields, *modulus, *seed),
        }
        let name = text(&lookup.set);
        let mut values = vec![
            (sys::NFTNL_EXPR_LOOKUP_SREG, REG),
            (sys::NFTNL_EXPR_LOOKUP_SET, Value::Text(&name)),
        ];
        values.extend(attribute);
        self.rule.add_expr(&Raw { name: c"lookup", values: &values });
    }

    /// Loads fields into consecutive registers, starting after `first` words. Returns their length
    /// in bytes, where each of several fields is padded to whole words.
    fn load_fields(&mut self, fields: &[Field], first: u32) -> u32 {
        // The protocol checks come first, since they use the register too.
        fields.iter().for_each(|field| self.protocol_of(*field));
        let mut words = first;
        let mut length = 0;
        for field in fields {
            length = self.load_field(*field, register(words));
            words += length.div_ceil(WORD);
        }
        if fields.len() == 1 { length } else { (words - first) * WORD }
    }

    fn count_round(&mut self, modulus: u32) {
        let values = [
            (sys::NFTNL_EXPR_NG_DREG, REG),
            (sys::NFTNL_EXPR_NG_TYPE, Value::U32(libc::NFT_NG_INCREMENTAL as u32)),
            (sys::NFTNL_EXPR_NG_MODULUS, Value::U32(modulus)),
        ];
        self.rule.add_expr(&Raw { name: c"numgen", values: &values });
    }

    /// Loads the hash of the fields; these use the registers after the first.
    fn hash(&mut self, fields: &[Field], modulus: u32, seed: u32) {
        let length = self.load_fields(fields, WORDS);
        let values = [
            (sys::NFTNL_EXPR_HASH_TYPE, Value::U32(JENKINS)),
            (sys::NFTNL_EXPR_HASH_SREG, Value::U32(register(WORDS))),
            (sys::NFTNL_EXPR_HASH_DREG, REG),
            (sys::NFTNL_EXPR_HASH_LEN, Value::U32(length)),
            (sys::NFTNL_EXPR_HASH_MODULUS, Value::U32(modulus)),
            (sys::NFTNL_EXPR_HASH_SEED, Value::U32(seed)),
        ];
        self.rule.add_expr(&Raw { name: c"hash", values: &values });
    }

    /// Matches the protocol that has this field.
    fn protocol_of(&mut self, field: Field) {
        match field {
            Field::Source(family) | Field::Destination(family) => self.family(family),
            Field::Port(transport, _) => self.transport(protocol(transport)),
            Field::Transport | Field::Input | Field::Output => {}
        }
    }

    /// Loads a field. Returns its length in bytes.
    fn load_field(&mut self, field: Field, register: u32) -> u32 {
        match field {
            Field::Source(family) => self.load_address(register, family, Side::Source),
            Field::Destination(family) => self.load_address(register, family, Side::Destination),
            Field::Port(_, side) => self.load_to(register, TRANSPORT_HEADER, port_at(side), 2),
            Field::Transport => self.load_meta(register, libc::NFT_META_L4PROTO, 1),
            Field::Input => self.load_meta(register, libc::NFT_META_IIFNAME, NAME),
            Field::Output => self.load_meta(register, libc::NFT_META_OIFNAME, NAME),
        }
    }

    /// Loads a field of connection tracking (`NFT_CT_*`).
    fn load_ct(&mut self, key: i32) {
        let key = Value::U32(key as u32);
        let values = [(sys::NFTNL_EXPR_CT_KEY, key), (sys::NFTNL_EXPR_CT_DREG, REG)];
        self.rule.add_expr(&Raw { name: c"ct", values: &values });
    }

    fn load_meta(&mut self, register: u32, key: i32, length: u32) -> u32 {
        let values = [
            (sys::NFTNL_EXPR_META_KEY, Value::U32(key as u32)),
            (sys::NFTNL_EXPR_META_DREG, Value::U32(register)),
        ];
        self.rule.add_expr(&Raw { name: c"meta", values: &values });
        length
    }

    fn network(&mut self, side: Side, net: IpNet) {
        let family = Family::of(net.addr());
        self.family(family);
        let (offset, _) = address_at(family, side);
        match net {
            IpNet::V4(net) => self.prefix(offset, &net.addr().octets(), &net.netmask().octets()),
            IpNet::V6(net) => self.prefix(offset, &net.addr().octets(), &net.netmask().octets()),
        }
    }

    /// Compares the name padded to `IFNAMSIZ`: the kernel has a fast path for 16 bytes.
    fn interface(&mut self, key: &Meta, name: &str) {
        self.rule.add_expr(key);
        self.equal(&name_of_interface(name));
    }

    fn family(&mut self, family: Family) {
        if self.family.replace(family) != Some(family) {
            self.rule.add_expr(&Meta::NfProto);
            self.equal(&[match family {
                Family::Ipv4 => libc::NFPROTO_IPV4 as u8,
                Family::Ipv6 => libc::NFPROTO_IPV6 as u8,
            }]);
        }
    }

    fn transport(&mut self, protocol: u8) {
        if self.transport.replace(protocol) != Some(protocol) {
            self.rule.add_expr(&Meta::L4Proto);
            self.equal(&[protocol]);
        }
    }

    /// Compares a masked address in the network header.
    fn prefix(&mut self, offset: u32, address: &[u8], mask: &[u8]) {
        self.load(NETWORK_HEADER, offset, address.len() as u32);
        if mask.iter().any(|byte| *byte != 0xff) {
            let zeros = vec![0u8; mask.len()];
            self.rule.add_expr(&Bitwise::new(mask, zeros.as_slice()));
        }
        let wanted: Vec<u8> =
            address.iter().zip(mask).map(|(address, mask)| address & mask).collect();
        self.equal(&wanted);
    }

    fn port(&mut self, transport: Transport, side: Side, first: u16, last: u16) {
        self.transport(protocol(transport));
        self.load(TRANSPORT_HEADER, port_at(side), 2);
        if first == last {
            self.equal(&first.to_be_bytes());
        } else {
            self.rule.add_expr(&Cmp::new(CmpOp::Gte, first.to_be_bytes().as_slice()));
            self.rule.add_expr(&Cmp::new(CmpOp::Lte, last.to_be_bytes().as_slice()));
        }
    }

    fn icmp(&mut self, family: Family, protocol: u8, number: u8) {
        self.family(family);
        self.transport(protocol);
        self.load(TRANSPORT_HEADER, 0, 1);
        self.equal(&[number]);
    }

    fn tcp_flags(&mut self, mask: u8, wanted: u8) {
        self.transport(TCP);
        self.load(TRANSPORT_HEADER, 13, 1);
        self.rule.add_expr(&Bitwise::new(mask, 0u8));
        self.equal(&[wanted]);
    }

    /// Tests bits of a conntrack field: any of them set (`Neq`) or none (`Eq`).
    fn bits(&mut self, key: i32, bits: u32, any_or_none: CmpOp) {
        self.load_ct(key);
        self.rule.add_expr(&Bitwise::new(bits, 0u32));
        self.rule.add_expr(&Cmp::new(any_or_none, 0u32));
    }

    /// Clamps the MSS: `rt mtu`, in network order, to TCP option 2 (maximum segment size), two
    /// bytes at offset 2. The kernel uses the smaller MTU of both directions, and never increases
    /// the option.
    fn clamp_mss(&mut self) {
        let load = [(sys::NFTNL_EXPR_RT_KEY, Value::U32(3)), (sys::NFTNL_EXPR_RT_DREG, REG)];
        let turn = [
            (sys::NFTNL_EXPR_BYTEORDER_SREG, REG),
            (sys::NFTNL_EXPR_BYTEORDER_DREG, REG),
            (sys::NFTNL_EXPR_BYTEORDER_OP, Value::U32(libc::NFT_BYTEORDER_HTON as u32)),
            (sys::NFTNL_EXPR_BYTEORDER_LEN, Value::U32(2)),
            (sys::NFTNL_EXPR_BYTEORDER_SIZE, Value::U32(2)),
        ];
        let write = [
            (sys::NFTNL_EXPR_EXTHDR_SREG, REG),
            (sys::NFTNL_EXPR_EXTHDR_TYPE, Value::U8(2)),
            (sys::NFTNL_EXPR_EXTHDR_OFFSET, Value::U32(2)),
            (sys::NFTNL_EXPR_EXTHDR_LEN, Value::U32(2)),
            (sys::NFTNL_EXPR_EXTHDR_OP, Value::U32(1)),
        ];
        self.rule.add_expr(&Raw { name: c"rt", values: &load });
        self.rule.add_expr(&Raw { name: c"byteorder", values: &turn });
        self.rule.add_expr(&Raw { name: c"exthdr", values: &write });
    }

    fn load(&mut self, base: u32, offset: u32, length: u32) {
        self.load_to(REGISTER, base, offset, length);
    }

    fn load_address(&mut self, register: u32, family: Family, side: Side) -> u32 {
        let (offset, length) = address_at(family, side);
        self.load_to(register, NETWORK_HEADER, offset, length)
    }

    /// Loads a part of a header. Returns its length in bytes.
    fn load_to(&mut self, register: u32, base: u32, offset: u32, length: u32) -> u32 {
        let values = [
            (sys::NFTNL_EXPR_PAYLOAD_DREG, Value::U32(register)),
            (sys::NFTNL_EXPR_PAYLOAD_BASE, Value::U32(base)),
            (sys::NFTNL_EXPR_PAYLOAD_OFFSET, Value::U32(offset)),
            (sys::NFTNL_EXPR_PAYLOAD_LEN, Value::U32(length)),
        ];
        self.rule.add_expr(&Raw { name: c"payload", values: &values });
        length
    }

    fn equal(&mut self, data: &[u8]) {
        self.rule.add_expr(&Cmp::new(CmpOp::Eq, data));
    }
}

/// A libnftnl expression by name and attributes, for those without a type in the `nftnl` crate.
struct Raw<'a> {
    name: &'static CStr,
    values: &'a [(u32, Value<'a>)],
}

enum Value<'a> {
    U8(u8),
    U32(u32),
    Text(&'a CStr),
}

const REG: Value<'static> = Value::U32(REGISTER);

impl Expression for Raw<'_> {
    fn to_expr(&self, _rule: &Kernel) -> NonNull<sys::nftnl_expr> {
        // SAFETY: the name is a C string. Every libnftnl since 1.1.1 has all names used here, so null
        // means out of memory.
        let expr = allocated(unsafe { sys::nftnl_expr_alloc(self.name.as_ptr()) });
        for (attribute, value) in self.values {
            let (data, length): (*const c_void, usize) = match value {
                Value::U8(number) => (std::ptr::from_ref(number).cast(), 1),
                Value::U32(number) => (std::ptr::from_ref(number).cast(), 4),
                Value::Text(text) => (text.as_ptr().cast(), text.count_bytes() + 1),
            };
            // SAFETY: `data` points to `length` bytes, the size of this attribute, which libnftnl
            // copies.
            unsafe { sys::nftnl_expr_set(expr.as_ptr(), *attribute as u16, data, length as u32) };
        }
        expr
    }
}

/// Returns the offset and the length of an address in the network header.
const fn address_at(family: Family, side: Side) -> (u32, u32) {
    match (family, side) {
        (Family::Ipv4, Side::Source) => (12, 4),
        (Family::Ipv4, Side::Destination) => (16, 4),
        (Family::Ipv6, Side::Source) => (8, 16),
        (Family::Ipv6, Side::Destination) => (24, 16),
    }
}

/// Returns the offset of a port in the header of TCP or UDP.
const fn port_at(side: Side) -> u32 {
    match side {
        Side::Source => 0,
        Side::Destination => 2,
    }
}

/// Returns the kernel's number of the register that begins after `words`: aligned ones have their
/// 128-bit number.
const fn register(words: u32) -> u32 {
    match words % WORDS {
        0 => REGISTER + words / WORDS,
        _ => libc::NFT_REG32_00 as u32 + words,
    }
}
