//! The rule set in nft syntax, exactly as `nft list table` (1.0.6 and later) would list it, but for counter values.

use std::fmt::{self, Display, Formatter};

use super::{
    Action, Base, Chain, ChainKind, Family, Hook, Match, Rule, Ruleset, SAMPLE_SECONDS, SAMPLE_SIZE, Side, TABLE,
    TABLE_COMMENT, Transport,
};
use crate::policy::entrance::MARK_ENTRANCE;

/// The portable form: replaces the table as a whole when given to `nft -f`. Without the table's flags, which old nft
/// cannot read, and without the flow table, which needs a kernel that has them and devices that exist.
impl Display for Ruleset {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(f, "# portable form: in the kernel the table has the flags owner and persist where it knows them")?;
        if let Some(table) = &self.flow_table {
            writeln!(f, "# and a flow table of these devices where it can: {}", quoted_list(&table.devices))?;
        }
        writeln!(f, "table inet {TABLE}\ndelete table inet {TABLE}")?;
        self.without_flow_table().table(f, false)
    }
}

/// The form that is loaded: [`Ruleset::kernel`].
#[derive(Debug, Clone, Copy)]
pub struct KernelForm<'a> {
    ruleset: &'a Ruleset,
    flags: bool,
}

impl Ruleset {
    /// As the kernel holds it: with the flow table and, if `flags`, with the table's flags owner and persist.
    pub fn kernel(&self, flags: bool) -> KernelForm<'_> {
        KernelForm { ruleset: self, flags }
    }

    fn table(&self, f: &mut Formatter<'_>, flags: bool) -> fmt::Result {
        writeln!(f, "table inet {TABLE} {{")?;
        writeln!(f, "\tcomment \"{TABLE_COMMENT}\"")?;
        if flags {
            writeln!(f, "\tflags owner,persist")?;
        }
        for name in &self.samples {
            writeln!(f, "\tset {name} {{\n\t\ttype ipv4_addr\n\t\tsize {SAMPLE_SIZE}")?;
            writeln!(f, "\t\tflags dynamic,timeout\n\t\ttimeout {}m\n\t}}\n", SAMPLE_SECONDS / 60)?;
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

/// nft names a priority by a well-known one that is no farther off.
const NEAR: u32 = 10;

impl Display for Base {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let (kind, name, origin) = match (self.kind, self.hook) {
            (ChainKind::Filter, Hook::Prerouting) => ("filter", "mangle", -150),
            (ChainKind::Filter, _) => ("filter", "filter", 0),
            (ChainKind::Route, _) => ("route", "mangle", -150),
            (ChainKind::Nat, Hook::Prerouting) => ("nat", "dstnat", -100),
            (ChainKind::Nat, Hook::Postrouting) => ("nat", "srcnat", 100),
            (ChainKind::Nat, _) => ("nat", "", 0),
        };
        let hook = match self.hook {
            Hook::Input => "input",
            Hook::Output => "output",
            Hook::Forward => "forward",
            Hook::Prerouting => "prerouting",
            Hook::Postrouting => "postrouting",
        };
        write!(f, "type {kind} hook {hook} priority ")?;
        let offset = self.priority.saturating_sub(origin);
        match offset {
            _ if name.is_empty() || offset.unsigned_abs() > NEAR => write!(f, "{}", self.priority)?,
            0 => write!(f, "{name}")?,
            below if below < 0 => write!(f, "{name} - {}", below.unsigned_abs())?,
            above => write!(f, "{name} + {above}")?,
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
            // nft names the counter of a set's element and that of the rule alike: the rule's has to come last.
            Action::Sample(_) => write!(f, "{} counter comment \"{comment}\"", self.action),
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
            Self::Source(net) if net.prefix_len() == 32 => write!(f, "ip saddr {}", net.addr()),
            Self::Source(net) => write!(f, "ip saddr {net}"),
            Self::Destination(address) => write!(f, "ip daddr {address}"),
            Self::Towards(net) if net.prefix_len() == 32 => write!(f, "ip daddr {}", net.addr()),
            Self::Towards(net) => write!(f, "ip daddr {net}"),
            Self::ToThisMachine => write!(f, "fib daddr type local"),
            Self::FromThisMachine => write!(f, "fib saddr type local"),
            Self::Loopback => write!(f, "ip daddr 127.0.0.0/8"),
            Self::Destination6(net) => write!(f, "ip6 daddr {net}"),
            Self::Protocol4(2) => write!(f, "ip protocol igmp"),
            Self::Protocol4(number) => write!(f, "ip protocol {number}"),
            Self::Established => write!(f, "ct state established,related"),
            Self::New => write!(f, "ct state new"),
            Self::Remembered(bit) => write!(f, "ct mark & {bit:#010x} == {bit:#010x}"),
            Self::Entered(mark) => write!(f, "ct mark & {MARK_ENTRANCE:#010x} == {mark:#010x}"),
            Self::Invalid => write!(f, "ct state invalid"),
            Self::Opener => write!(f, "ct direction original"),
            Self::Answer => write!(f, "ct direction reply"),
            Self::Assured => write!(f, "ct status assured"),
            Self::Unconfirmed => write!(f, "ct status ! confirmed"),
            Self::Redirected => write!(f, "ct status dnat"),
            Self::Port(transport, side, first, last) => {
                let transport = match transport {
                    Transport::Tcp => "tcp",
                    Transport::Udp => "udp",
                };
                let side = match side {
                    Side::Source => "sport",
                    Side::Destination => "dport",
                };
                write!(f, "{transport} {side} {first}")?;
                if first == last { Ok(()) } else { write!(f, "-{last}") }
            }
            Self::Icmp(5) => write!(f, "icmp type redirect"),
            Self::Icmp(8) => write!(f, "icmp type echo-request"),
            Self::Icmp(number) => write!(f, "icmp type {number}"),
            Self::Icmp6(types) => match types.as_slice() {
                [one] => write!(f, "icmpv6 type {}", Icmp6(*one)),
                many => {
                    let names: Vec<String> = many.iter().map(|number| Icmp6(*number).to_string()).collect();
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
            Self::Sample(set) => write!(f, "update @{set} {{ ip saddr }}"),
            Self::Masquerade => write!(f, "masquerade"),
            Self::Remember(bit) => write!(f, "ct mark set ct mark | {bit:#010x}"),
            Self::Mark(bit) => write!(f, "meta mark set meta mark | {bit:#010x}"),
            Self::Reset => write!(f, "reject with tcp reset"),
            Self::Unreachable => write!(f, "reject with icmpx admin-prohibited"),
            Self::Redirect(address, port) => write!(f, "dnat ip to {address}:{port}"),
            Self::ClampMss => write!(f, "tcp option maxseg size set rt mtu"),
            Self::Offload(table) => write!(f, "flow add @{table}"),
        }
    }
}

/// nft's names of ICMPv6 types.
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

/// An interface's name as an nft string. The kernel forbids '/', ':' and white space in names; a quote cannot be
/// written in nft at all, and an asterisk at the end would be a wildcard.
fn quoted(name: &str) -> String {
    let plain = name.replace('"', "?");
    match plain.strip_suffix('*') {
        Some(stem) => format!("\"{stem}\\*\""),
        None => format!("\"{plain}\""),
    }
}

fn quoted_list(names: &[String]) -> String {
    names.iter().map(|name| quoted(name)).collect::<Vec<_>>().join(", ")
}
