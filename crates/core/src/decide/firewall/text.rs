//! The rule set in nft syntax, as `nft list table` lists it, without counter values. nft 1.1 lists
//! comparisons of TCP flags and priorities of nat at output differently, but reads these forms.

use std::fmt::{self, Display, Formatter};
use std::net::IpAddr;

use super::{
    Action, Base, Chain, ChainKind, Data, DataKind, Family, Field, Hook, Item, Key, Kind, Match,
    Rule, Ruleset, Set, Side, TABLE, TABLE_COMMENT, Transport, Verdict,
};
use crate::decide::routing::entrance::MARK_ENTRANCE;

/// The portable form: replaces the whole table when given to `nft -f`. It omits the table's flags,
/// which old nft cannot parse, and the flow table, which needs kernel support and existing devices.
impl Display for Ruleset {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "# portable form: in the kernel the table has the flags owner and persist where it \
             knows them"
        )?;
        if let Some(table) = &self.flow_table {
            writeln!(
                f,
                "# and a flow table of these devices where it can: {}",
                quoted_list(&table.devices)
            )?;
        }
        writeln!(f, "table inet {TABLE}\ndelete table inet {TABLE}")?;
        self.without_flow_table().table(f, false)
    }
}

/// The form that is loaded: see [`Ruleset::kernel`].
#[derive(Debug, Clone, Copy)]
pub struct KernelForm<'a> {
    ruleset: &'a Ruleset,
    flags: bool,
}

impl Ruleset {
    /// Returns the form that the kernel holds: with the flow table and, if `flags`, the table flags
    /// owner and persist.
    pub fn kernel(&self, flags: bool) -> KernelForm<'_> {
        KernelForm { ruleset: self, flags }
    }

    fn table(&self, f: &mut Formatter<'_>, flags: bool) -> fmt::Result {
        writeln!(f, "table inet {TABLE} {{")?;
        writeln!(f, "\tcomment \"{TABLE_COMMENT}\"")?;
        if flags {
            writeln!(f, "\tflags owner,persist")?;
        }
        for set in &self.sets {
            writeln!(f, "{set}")?;
        }
        if let Some(table) = &self.flow_table {
            writeln!(f, "\tflowtable {} {{", table.name)?;
            writeln!(f, "\t\thook ingress priority filter")?;
            writeln!(f, "\t\tdevices = {{ {} }}", quoted_list(&table.devices))?;
            writeln!(f, "\t}}\n")?;
        }
        for (index, chain) in self.chains.iter().enumerate() {
            if index > 0 {
                writeln!(f)?;
            }
            write!(f, "{chain}")?;
        }
        writeln!(f, "}}")
    }
}

impl Display for KernelForm<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        self.ruleset.table(f, self.flags)
    }
}

impl Display for Chain {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(f, "\tchain {} {{", self.name)?;
        if let Some(base) = &self.base {
            writeln!(f, "\t\t{base}")?;
        }
        for rule in &self.rules {
            writeln!(f, "\t\t{rule}")?;
        }
        writeln!(f, "\t}}")
    }
}

/// Priorities that nft names in the family `inet`, and the hook for those that are valid at one
/// only (nft(8), "Standard priority names").
const PRIORITIES: [(&str, i32, Option<Hook>); 6] = [
    ("raw", -300, None),
    ("mangle", -150, None),
    ("dstnat", -100, Some(Hook::Prerouting)),
    ("filter", 0, None),
    ("security", 50, None),
    ("srcnat", 100, Some(Hook::Postrouting)),
];

/// The largest offset at which nft names a priority relative to a standard one.
const MAX_OFFSET: u32 = 10;

impl Base {
    /// Returns the nearby standard priority and the offset from it.
    fn near_standard(&self) -> Option<(&'static str, i32)> {
        PRIORITIES.iter().find_map(|&(name, priority, hook)| {
            let offset = self.priority.saturating_sub(priority);
            let fits = hook.is_none_or(|hook| hook == self.hook);
            (fits && offset.unsigned_abs() <= MAX_OFFSET).then_some((name, offset))
        })
    }
}

impl Display for Base {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            ChainKind::Filter => "filter",
            ChainKind::Route => "route",
            ChainKind::Nat => "nat",
        };
        let hook = match self.hook {
            Hook::Input => "input",
            Hook::Output => "output",
            Hook::Forward => "forward",
            Hook::Prerouting => "prerouting",
            Hook::Postrouting => "postrouting",
        };
        write!(f, "type {kind} hook {hook} priority ")?;
        match self.near_standard() {
            None => write!(f, "{}", self.priority)?,
            Some((name, 0)) => write!(f, "{name}")?,
            Some((name, below)) if below < 0 => write!(f, "{name} - {}", below.unsigned_abs())?,
            Some((name, above)) => write!(f, "{name} + {above}")?,
        }
        write!(f, "; policy accept;")
    }
}

impl Display for Rule {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for test in &self.matches {
            write!(f, "{test} ")?;
        }
        let comment = self.comment.replace('"', "'");
        match self.action {
            // nft gives the counter of a set element and that of the rule the same syntax: the
            // rule's must come last.
            Action::Sample(..) => write!(f, "{} counter comment \"{comment}\"", self.action),
            _ => write!(f, "counter {} comment \"{comment}\"", self.action),
        }
    }
}

impl Display for Match {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Input(name) => write!(f, "iifname {}", quoted(name)),
            Self::Output(name) => write!(f, "oifname {}", quoted(name)),
            Self::InputKind(kind) => write!(f, "meta iifkind \"{kind}\""),
            Self::InputBegins(beginning) => write!(f, "iifname \"{beginning}*\""),
            Self::Family(Family::Ipv4) => write!(f, "meta nfproto ipv4"),
            Self::Family(Family::Ipv6) => write!(f, "meta nfproto ipv6"),
            Self::Source(net) => {
                write!(f, "{} {}", Field::Source(Family::of(net.addr())), Item::Addresses(*net))
            }
            Self::Destination(address) => {
                write!(f, "{} {address}", Field::Destination(Family::of(*address)))
            }
            Self::Towards(net) => write!(
                f,
                "{} {}",
                Field::Destination(Family::of(net.addr())),
                Item::Addresses(*net)
            ),
            Self::In(lookup) => write!(f, "{} @{}", lookup.key, lookup.set),
            Self::NotIn(lookup) => write!(f, "{} != @{}", lookup.key, lookup.set),
            Self::ToThisMachine => write!(f, "fib daddr type local"),
            Self::FromThisMachine => write!(f, "fib saddr type local"),
            Self::Loopback => write!(f, "ip daddr 127.0.0.0/8"),
            Self::Protocol4(2) => write!(f, "ip protocol igmp"),
            Self::Protocol4(number) => write!(f, "ip protocol {number}"),
            Self::Established => write!(f, "ct state established,related"),
            Self::Remembered(bit) => write!(f, "ct mark & {bit:#010x} == {bit:#010x}"),
            Self::Entered(mark) => write!(f, "ct mark & {MARK_ENTRANCE:#010x} == {mark:#010x}"),
            Self::Invalid => write!(f, "ct state invalid"),
            Self::Opener => write!(f, "ct direction original"),
            Self::Answer => write!(f, "ct direction reply"),
            Self::Assured => write!(f, "ct status assured"),
            Self::Unconfirmed => write!(f, "ct status ! confirmed"),
            Self::Redirected => write!(f, "ct status dnat"),
            Self::Protocol(transport) => write!(f, "meta l4proto {transport}"),
            Self::Port(transport, side, first, last) => {
                write!(f, "{} {}", Field::Port(*transport, *side), Item::Ports(*first, *last))
            }
            Self::Icmp(5) => write!(f, "icmp type redirect"),
            Self::Icmp(8) => write!(f, "icmp type echo-request"),
            Self::Icmp(number) => write!(f, "icmp type {number}"),
            Self::Icmp6(types) => match types.as_slice() {
                [one] => write!(f, "icmpv6 type {}", Icmp6(*one)),
                many => {
                    let names: Vec<String> =
                        many.iter().map(|number| Icmp6(*number).to_string()).collect();
                    write!(f, "icmpv6 type {{ {} }}", names.join(", "))
                }
            },
            Self::TcpOpening => write!(f, "tcp flags syn / syn,rst"),
            Self::TcpOngoing => write!(f, "tcp flags ! syn"),
            Self::TcpAnswer => write!(f, "tcp flags syn,ack / syn,ack"),
            Self::TcpRefusal => write!(f, "tcp flags rst / rst,ack"),
            Self::SocketBound => write!(f, "socket wildcard 0"),
        }
    }
}

impl Display for Action {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Accept => write!(f, "accept"),
            Self::Drop => write!(f, "drop"),
            Self::Goto(chain) => write!(f, "goto {chain}"),
            Self::Jump(chain) => write!(f, "jump {chain}"),
            Self::Sample(Family::Ipv4, set) => write!(f, "update @{set} {{ ip saddr }}"),
            Self::Sample(Family::Ipv6, set) => write!(f, "update @{set} {{ ip6 saddr }}"),
            Self::Masquerade => write!(f, "masquerade"),
            Self::Remember(bit) => write!(f, "ct mark set ct mark | {bit:#010x}"),
            Self::Mark(bit) => write!(f, "meta mark set meta mark | {bit:#010x}"),
            Self::Reset => write!(f, "reject with tcp reset"),
            Self::Unreachable => write!(f, "reject with icmpx admin-prohibited"),
            Self::Redirect(IpAddr::V4(address), port) => write!(f, "dnat ip to {address}:{port}"),
            Self::Redirect(IpAddr::V6(address), port) => {
                write!(f, "dnat ip6 to [{address}]:{port}")
            }
            Self::RedirectBy(family, lookup) => {
                write!(f, "dnat {family} to {} map @{}", lookup.key, lookup.set)
            }
            Self::Decide(lookup) => write!(f, "{} vmap @{}", lookup.key, lookup.set),
            Self::ClampMss => write!(f, "tcp option maxseg size set rt mtu"),
            Self::Offload(table) => write!(f, "flow add @{table}"),
        }
    }
}

impl Display for Set {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let word = if self.data.is_some() { "map" } else { "set" };
        writeln!(f, "\t{word} {} {{\n\t\t{}", self.name, self.types())?;
        if let Some(size) = self.size {
            writeln!(f, "\t\tsize {size}")?;
        }
        // Without other flags, `timeout` implies its flag.
        let timeout = self.timeout.is_some();
        let flags =
            [(self.constant, "constant"), (self.dynamic, "dynamic"), (self.interval, "interval")];
        let mut flags: Vec<&str> =
            flags.iter().filter_map(|(set, name)| set.then_some(*name)).collect();
        if !flags.is_empty() {
            flags.extend(timeout.then_some("timeout"));
            writeln!(f, "\t\tflags {}", flags.join(","))?;
        }
        if let Some(seconds) = self.timeout {
            writeln!(f, "\t\ttimeout {}", duration(seconds))?;
        }
        self.list_elements(f)?;
        writeln!(f, "\t}}")
    }
}

impl Set {
    /// Returns the declaration of the types: by name, or by `typeof` examples if one of them has no
    /// name.
    fn types(&self) -> String {
        let by_example = self.key.iter().any(|kind| matches!(kind, Kind::Number(_)));
        let (word, kind): (_, fn(&Kind) -> String) =
            if by_example { ("typeof", Kind::example) } else { ("type", Kind::to_string) };
        let all = |kinds: &[Kind]| kinds.iter().map(kind).collect::<Vec<_>>().join(CONCATENATION);
        let key = all(&self.key);
        match &self.data {
            None => format!("{word} {key}"),
            Some(DataKind::Verdict) => format!("{word} {key} : verdict"),
            Some(DataKind::Values(kinds)) => format!("{word} {key} : {}", all(kinds)),
        }
    }

    /// Writes the elements, wrapped as nft 1.1 wraps them, ordered by key. (nft orders
    /// concatenations differently.)
    fn list_elements(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let in_line = match (self.key.as_slice(), &self.data) {
            ([Kind::Port], None) => 5,
            ([Kind::Ipv4], None) => 2,
            _ => 1,
        };
        for (place, (key, data)) in self.elements.iter().enumerate() {
            match place {
                0 => write!(f, "\t\telements = {{ ")?,
                place if place % in_line == 0 => write!(f, ",\n\t\t\t     ")?,
                _ => write!(f, ", ")?,
            }
            write!(f, "{}", list(key, CONCATENATION))?;
            if let Some(data) = data {
                write!(f, " : {data}")?;
            }
        }
        if self.elements.is_empty() { Ok(()) } else { writeln!(f, " }}") }
    }
}

/// The separator between fields of a concatenation.
const CONCATENATION: &str = " . ";

/// Returns a time as nft writes it: `1h30m`.
fn duration(seconds: u64) -> String {
    let units = [
        (seconds / 86_400, 'd'),
        (seconds / 3600 % 24, 'h'),
        (seconds / 60 % 60, 'm'),
        (seconds % 60, 's'),
    ];
    units
        .iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, unit)| format!("{count}{unit}"))
        .collect()
}

impl Kind {
    /// Returns an expression of this type, for `typeof`.
    fn example(&self) -> String {
        match self {
            Self::Ipv4 => Field::Destination(Family::Ipv4).to_string(),
            Self::Ipv6 => Field::Destination(Family::Ipv6).to_string(),
            Self::Port => Field::Port(Transport::Tcp, Side::Destination).to_string(),
            Self::Transport => Field::Transport.to_string(),
            Self::Interface => Field::Input.to_string(),
            Self::Number(modulus) => Key::RoundRobin { modulus: *modulus }.to_string(),
        }
    }
}

impl Display for Kind {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ipv4 => "ipv4_addr",
            Self::Ipv6 => "ipv6_addr",
            Self::Port => "inet_service",
            Self::Transport => "inet_proto",
            Self::Interface => "ifname",
            Self::Number(_) => "integer",
        })
    }
}

impl Display for Item {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Addresses(net) if net.prefix_len() == net.max_prefix_len() => {
                write!(f, "{}", net.addr())
            }
            Self::Addresses(net) => write!(f, "{net}"),
            Self::Ports(first, last) if first == last => write!(f, "{first}"),
            Self::Ports(first, last) => write!(f, "{first}-{last}"),
            Self::Transport(transport) => write!(f, "{transport}"),
            Self::Interface(name) => f.write_str(&quoted(name)),
            Self::Number(number) => write!(f, "{number}"),
        }
    }
}

impl Display for Data {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Verdict(Verdict::Accept) => f.write_str("accept"),
            Self::Verdict(Verdict::Drop) => f.write_str("drop"),
            Self::Verdict(Verdict::Goto(chain)) => write!(f, "goto {chain}"),
            Self::Verdict(Verdict::Jump(chain)) => write!(f, "jump {chain}"),
            Self::Values(items) => f.write_str(&list(items, CONCATENATION)),
        }
    }
}

impl Display for Key {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fields(fields) => f.write_str(&list(fields, CONCATENATION)),
            Self::RoundRobin { modulus } => write!(f, "numgen inc mod {modulus}"),
            Self::Hash { fields, modulus, seed } => {
                let fields = list(fields, CONCATENATION);
                write!(f, "jhash {fields} mod {modulus} seed {seed:#x}")
            }
        }
    }
}

impl Display for Field {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Source(family) => write!(f, "{family} saddr"),
            Self::Destination(family) => write!(f, "{family} daddr"),
            Self::Port(transport, Side::Source) => write!(f, "{transport} sport"),
            Self::Port(transport, Side::Destination) => write!(f, "{transport} dport"),
            Self::Transport => f.write_str("meta l4proto"),
            Self::Input => f.write_str("iifname"),
            Self::Output => f.write_str("oifname"),
        }
    }
}

/// Writes the protocol keyword of the family.
impl Display for Family {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ipv4 => "ip",
            Self::Ipv6 => "ip6",
        })
    }
}

impl Display for Transport {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        })
    }
}

/// The nft name of an ICMPv6 type.
struct Icmp6(u8);

impl Display for Icmp6 {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let name = match self.0 {
            128 => "echo-request",
            130 => "mld-listener-query",
            131 => "mld-listener-report",
            132 => "mld-listener-done",
            133 => "nd-router-solicit",
            134 => "nd-router-advert",
            135 => "nd-neighbor-solicit",
            136 => "nd-neighbor-advert",
            137 => "nd-redirect",
            143 => "mld2-listener-report",
            number => return write!(f, "{number}"),
        };
        f.write_str(name)
    }
}

/// Returns an interface name as an nft string. The kernel forbids '/', ':' and white space in
/// names. nft has no escape for a quote, and would take a trailing asterisk as a wildcard.
fn quoted(name: &str) -> String {
    let plain = name.replace('"', "?");
    match plain.strip_suffix('*') {
        Some(stem) => format!("\"{stem}\\*\""),
        None => format!("\"{plain}\""),
    }
}

/// Returns names as nft strings, separated by commas.
fn quoted_list(names: &[String]) -> String {
    names.iter().map(|name| quoted(name)).collect::<Vec<_>>().join(", ")
}

/// Returns the items, separated by `between`.
fn list<T: Display>(items: &[T], between: &str) -> String {
    items.iter().map(T::to_string).collect::<Vec<_>>().join(between)
}
