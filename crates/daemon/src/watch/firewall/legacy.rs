//! Reads the tables of iptables-legacy (`linux/netfilter_ipv4/ip_tables.h`,
//! `linux/netfilter_ipv6/ip6_tables.h`), which nf_tables neither lists nor announces. Reads
//! existing tables only, since a query would create a missing one.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

use bramblegate_netlink::netfilter::{IPV4, IPV6};
use rustix::net::{AddressFamily, SocketFlags, SocketType, ipproto, socket_with};

use super::expression::{
    Expression, META_IIFNAME, META_L4PROTO, META_OIFNAME, Verdict, What, u16_at, xtables_match,
    xtables_target,
};
use super::foreign::{Base, Chain, Ruleset, Table, text};
use super::value::{EQUAL, NOT_EQUAL};

/// Lists the loaded modules, one per table, for processes that may not read [`Kind::names`].
const MODULES: &str = "/proc/modules";
/// `IPT_SO_GET_INFO`, `IPT_SO_GET_ENTRIES`.
const GET_INFO: libc::c_int = 64;
const GET_ENTRIES: libc::c_int = 65;
/// Size of `struct ipt_getinfo` and of the header of `struct ipt_get_entries`, equal for IPv6, in
/// bytes.
const INFO: usize = 84;
const ENTRIES: usize = 40;
/// Size of `struct xt_entry_match` and `xt_entry_target`, and of a name in them, in bytes.
const PART: usize = 32;
const NAME: usize = 29;
const HOOKS: usize = 5;
/// `-NF_DROP - 1`, `-NF_ACCEPT - 1`, `XT_RETURN`.
const DROP: i32 = -1;
const ACCEPT: i32 = -2;
const RETURN: i32 = -5;
/// Maximum size of a table in bytes; larger ones are not read.
const MAX_SIZE: usize = 16 << 20;
/// Tables and their priorities (`NF_IP_PRI_*`); source NAT has a different one than the rest of its
/// table.
const TABLES: [(&str, i32); 5] =
    [("raw", -300), ("mangle", -150), ("nat", -100), ("filter", 0), ("security", 50)];
const SOURCE_NAT: i32 = 100;
/// Appended to the name of a table that nf_tables has too.
pub const LEGACY_SUFFIX: &str = " (legacy)";
const CHAINS: [&str; HOOKS] = ["PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING"];

/// Describes the differences between IPv4 and IPv6.
#[derive(Debug, PartialEq, Eq)]
struct Kind {
    /// `NFPROTO_*`.
    family: u8,
    socket: AddressFamily,
    level: libc::c_int,
    /// File with the table names of this thread's network namespace, readable by root only.
    names: &'static str,
    /// Prefix of the kernel modules' names.
    module: &'static str,
    /// Size of `struct ipt_ip` or `struct ip6t_ip6`, with which an entry begins.
    head: usize,
    /// Size of an address in it.
    address: usize,
    /// Offsets of source and destination in the network header.
    offsets: [u32; 2],
    /// Offset of `nfcache`; `target_offset`, `next_offset` and `comefrom` follow it.
    rest: usize,
    /// Offset of the counters.
    counters: usize,
    /// Size of `struct ipt_entry` or `struct ip6t_entry`.
    entry: usize,
    /// Offset of the flags; the inversion flags follow them.
    flags: usize,
    /// Flag of `--goto`.
    goto: u8,
    /// Flag of a match that is not evaluated here: fragments, or TOS.
    unread: u8,
    /// Flag that the protocol field is valid; 0 if it always is.
    has_protocol: u8,
}

const KINDS: [Kind; 2] = [
    Kind {
        family: IPV4,
        socket: AddressFamily::INET,
        level: libc::IPPROTO_IP,
        names: "/proc/thread-self/net/ip_tables_names",
        module: "iptable_",
        head: 84,
        address: 4,
        offsets: [12, 16],
        rest: 84,
        counters: 96,
        entry: 112,
        flags: 82,
        goto: 0x02,
        unread: 0x01,
        has_protocol: 0,
    },
    Kind {
        family: IPV6,
        socket: AddressFamily::INET6,
        level: libc::IPPROTO_IPV6,
        names: "/proc/thread-self/net/ip6_tables_names",
        module: "ip6table_",
        head: 136,
        address: 16,
        offsets: [8, 24],
        rest: 136,
        counters: 152,
        entry: 168,
        flags: 131,
        goto: 0x04,
        unread: 0x02,
        has_protocol: 0x01,
    },
];

/// Holds a table in the kernel's format.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listing {
    kind: &'static Kind,
    name: &'static str,
    info: Vec<u8>,
    /// With the counters set to zero, so that listings can be compared.
    entries: Vec<u8>,
}

/// Returns the existing tables that can be read.
pub fn read() -> Vec<Listing> {
    KINDS.iter().flat_map(tables).collect()
}

/// Returns the tables of one kind.
fn tables(kind: &'static Kind) -> Vec<Listing> {
    let names = fs::read_to_string(kind.names);
    let existing = TABLES.iter().filter(|(name, _)| exists(kind, &names, name));
    existing.filter_map(|(name, _)| listing(kind, name).ok()).collect()
}

/// Returns whether a table exists, according to the list of tables or, without permission to read
/// that, the list of modules.
fn exists(kind: &Kind, names: &io::Result<String>, name: &str) -> bool {
    match &names {
        Ok(names) => names.lines().any(|line| line == name),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            let module = format!("{}{name} ", kind.module);
            fs::read_to_string(MODULES)
                .is_ok_and(|modules| modules.lines().any(|line| line.starts_with(&module)))
        }
        Err(_) => false,
    }
}

fn listing(kind: &'static Kind, name: &'static str) -> io::Result<Listing> {
    let protocol = Some(ipproto::RAW);
    let socket = socket_with(kind.socket, SocketType::RAW, SocketFlags::CLOEXEC, protocol)?;
    let mut info = vec![0; INFO];
    info.iter_mut().zip(name.bytes()).for_each(|(place, byte)| *place = byte);
    get_option((&socket, kind), GET_INFO, &mut info)?;
    let size = u32_at(&info, 80).map_or(0, |size| size as usize);
    if size > MAX_SIZE {
        return Err(io::ErrorKind::OutOfMemory.into());
    }
    let mut entries = vec![0; ENTRIES + size];
    entries.iter_mut().zip(name.bytes()).for_each(|(place, byte)| *place = byte);
    let length = u32::try_from(size).unwrap_or(0).to_ne_bytes();
    entries.iter_mut().skip(32).zip(length).for_each(|(place, byte)| *place = byte);
    get_option((&socket, kind), GET_ENTRIES, &mut entries)?;
    let mut entries = entries.split_off(ENTRIES);
    let mut at = 0;
    while let Some(next) = u16_at(&entries, at + kind.rest + 6).filter(|next| *next > 0) {
        entries.iter_mut().skip(at + kind.counters).take(16).for_each(|byte| *byte = 0);
        at += usize::from(next);
    }
    Ok(Listing { kind, name, info, entries })
}

/// Calls getsockopt(2), with the request in `bytes`.
fn get_option(
    (socket, kind): (&OwnedFd, &Kind),
    option: libc::c_int,
    bytes: &mut [u8],
) -> io::Result<()> {
    let mut length = libc::socklen_t::try_from(bytes.len()).map_err(io::Error::other)?;
    // SAFETY: the kernel writes at most `length` bytes, the size of `bytes`.
    let done = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            kind.level,
            option,
            bytes.as_mut_ptr().cast(),
            &raw mut length,
        )
    };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Adds the tables to those of nf_tables.
pub fn add(ruleset: &mut Ruleset, listings: Vec<Listing>) {
    for listing in listings {
        let (table, name, family) = (listing.table(), listing.name, listing.kind.family);
        // iptables-nft uses the same names; a suffix distinguishes the two.
        let taken = ruleset.tables.contains_key(&(family, name.to_owned()));
        let name = if taken { format!("{name}{LEGACY_SUFFIX}") } else { name.to_owned() };
        ruleset.tables.insert((family, name), table);
    }
}

/// Uses arbitrary bytes as the entries of tables, for fuzzing.
pub fn parse_any(bytes: &[u8]) -> Vec<Listing> {
    let info = bytes.get(..INFO).unwrap_or_default().to_vec();
    let of = |kind| Listing { kind, name: "filter", info: info.clone(), entries: bytes.to_vec() };
    KINDS.iter().map(of).collect()
}

impl Listing {
    /// Parses the chains. Built-in ones begin at the entry offsets of the hooks, user-defined ones
    /// after a target `ERROR` with their name.
    fn table(&self) -> Table {
        let mut heads: BTreeMap<usize, String> = BTreeMap::new();
        let mut policies: BTreeSet<usize> = BTreeSet::new();
        let mut bases: BTreeMap<String, usize> = BTreeMap::new();
        let valid = u32_at(&self.info, 32).unwrap_or(0);
        for (hook, chain) in CHAINS.iter().enumerate().filter(|(hook, _)| valid >> hook & 1 == 1) {
            let (Some(entry), Some(underflow)) =
                (u32_at(&self.info, 36 + 4 * hook), u32_at(&self.info, 56 + 4 * hook))
            else {
                continue;
            };
            heads.insert(entry as usize, (*chain).to_owned());
            policies.insert(underflow as usize);
            bases.insert((*chain).to_owned(), hook);
        }
        let offsets = self.offsets();
        for at in &offsets {
            if let Some(name) = self.user_chain(*at) {
                heads.insert(at + self.next(*at).unwrap_or(0), name);
            }
        }
        let mut table = Table { legacy: true, ..Table::default() };
        let mut current: Option<String> = None;
        for at in offsets {
            if let Some(name) = heads.get(&at) {
                let base = bases.get(name).map(|hook| self.base(*hook));
                table.chains.insert(name.clone(), Chain { base, drops: false, rules: Vec::new() });
                current = Some(name.clone());
            }
            if self.user_chain(at).is_some() {
                continue;
            }
            let Some(chain) = current.as_ref().and_then(|name| table.chains.get_mut(name)) else {
                continue;
            };
            let rule = self.rule(at, &heads);
            if policies.contains(&at) {
                chain.drops = rule == [Expression::Verdict(Verdict::Drop)];
            } else {
                chain.rules.push(rule);
            }
        }
        table
    }

    fn base(&self, hook: usize) -> Base {
        let priority =
            TABLES.iter().find(|(name, _)| *name == self.name).map_or(0, |(_, priority)| *priority);
        // INPUT and POSTROUTING translate source addresses.
        let is_snat = self.name == "nat" && matches!(hook, 1 | 4);
        let hook = u32::try_from(hook).unwrap_or(0);
        Base { hook, priority: if is_snat { SOURCE_NAT } else { priority }, devices: Vec::new() }
    }

    /// Returns an entry's size.
    fn next(&self, at: usize) -> Option<usize> {
        u16_at(&self.entries, at + self.kind.rest + 6)
            .map(usize::from)
            .filter(|next| *next >= self.kind.entry)
    }

    /// Returns the offset of the target in an entry.
    fn offset(&self, at: usize) -> Option<usize> {
        u16_at(&self.entries, at + self.kind.rest + 4).map(usize::from)
    }

    fn flags(&self, at: usize) -> Option<u8> {
        self.entries.get(at + self.kind.flags).copied()
    }

    /// Returns the offsets of all entries.
    fn offsets(&self) -> Vec<usize> {
        let first = (!self.entries.is_empty()).then_some(0);
        let all = std::iter::successors(first, |at| Some(at + self.next(*at)?));
        all.take_while(|at| at + self.kind.entry <= self.entries.len()).collect()
    }

    fn target(&self, at: usize) -> Option<(String, &[u8])> {
        let offset = self.offset(at)?;
        part(self.entries.get(at + offset..at + self.next(at)?)?)
            .map(|(name, _, data, _)| (name, data))
    }

    /// Returns the name of a user-defined chain that begins after this entry.
    fn user_chain(&self, at: usize) -> Option<String> {
        let (name, data) = self.target(at)?;
        (name == "ERROR").then(|| text(data.get(..30).unwrap_or(data)))
    }

    fn rule(&self, at: usize, heads: &BTreeMap<usize, String>) -> Vec<Expression> {
        let mut rule = self.head(at).unwrap_or_else(|| vec![Expression::Unknown]);
        let (offset, next) = (self.offset(at), self.next(at).unwrap_or(0));
        let mut matches = offset
            .and_then(|offset| self.entries.get(at + self.kind.entry..at + offset))
            .unwrap_or_default();
        while let Some((name, revision, data, rest)) = part(matches) {
            rule.push(xtables_match(&name, revision, data));
            matches = rest;
        }
        let standard = |verdict| Some(Expression::Verdict(verdict));
        let target = match self.target(at) {
            Some((name, data)) if name.is_empty() => {
                match u32_at(data, 0).map(|code| i32::from_ne_bytes(code.to_ne_bytes())) {
                    Some(DROP) => standard(Verdict::Drop),
                    Some(ACCEPT) => standard(Verdict::Accept),
                    Some(RETURN) => standard(Verdict::Return),
                    Some(to) if usize::try_from(to).is_ok_and(|to| to == at + next) => None,
                    Some(to) => {
                        let chain = usize::try_from(to).ok().and_then(|to| heads.get(&to));
                        let goto = self.flags(at).is_some_and(|flags| flags & self.kind.goto != 0);
                        let verdict = if goto { Verdict::Goto } else { Verdict::Jump };
                        standard(chain.map_or(Verdict::Other, |chain| verdict(chain.clone())))
                    }
                    None => standard(Verdict::Other),
                }
            }
            Some((name, data)) => Some(xtables_target(&name, data)),
            None => standard(Verdict::Other),
        };
        rule.extend(target);
        rule
    }

    /// Parses a `struct ipt_ip` or `struct ip6t_ip6` into expressions: two addresses and their
    /// masks, two interfaces and theirs, protocol, flags and inversion flags.
    fn head(&self, at: usize) -> Option<Vec<Expression>> {
        let kind = self.kind;
        let ip = self.entries.get(at..at + kind.head)?;
        let flags = self.flags(at)?;
        let inverted = *ip.get(kind.flags + 1)?;
        let mut rule = Vec::new();
        let mut test = |what: What, data: &[u8], mask: &[u8], bit: u8| {
            if mask.iter().all(|byte| *byte == 0) {
                return;
            }
            let operator = if inverted & bit != 0 { NOT_EQUAL } else { EQUAL };
            let (mask, xor) = (mask.to_vec(), vec![0; mask.len()]);
            rule.push(Expression::Load { to: 0, what });
            rule.push(Expression::Bitwise { from: 0, to: 0, mask, xor });
            rule.push(Expression::Compare { register: 0, operator, data: data.to_vec() });
        };
        let (length, [source, destination]) = (kind.address, kind.offsets);
        let part = |place: usize, length: usize| ip.get(place..place + length);
        let address = |place| What::Payload(1, place, u32::try_from(length).unwrap_or(0));
        test(address(source), part(0, length)?, part(2 * length, length)?, 8);
        test(address(destination), part(length, length)?, part(3 * length, length)?, 16);
        let ports = 4 * length;
        test(What::Meta(META_IIFNAME), part(ports, 16)?, part(ports + 32, 16)?, 1);
        test(What::Meta(META_OIFNAME), part(ports + 16, 16)?, part(ports + 48, 16)?, 2);
        let protocol = u16_at(ip, ports + 64)?.to_ne_bytes();
        let has_protocol = kind.has_protocol == 0 || flags & kind.has_protocol != 0;
        if has_protocol && protocol != [0, 0] {
            let number = u8::try_from(u16::from_ne_bytes(protocol)).ok()?;
            test(What::Meta(META_L4PROTO), &[number], &[0xff], 0x40);
        }
        if flags & kind.unread != 0 {
            rule.push(Expression::Unknown);
        }
        Some(rule)
    }
}

/// Splits off a match or target: name, revision, data, and the remaining bytes.
fn part(bytes: &[u8]) -> Option<(String, u32, &[u8], &[u8])> {
    let size = usize::from(u16_at(bytes, 0)?);
    let (this, rest) = bytes.split_at_checked(size).filter(|_| size >= PART)?;
    Some((text(this.get(2..2 + NAME)?), u32::from(*this.get(31)?), this.get(PART..)?, rest))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|bytes| u32::from_ne_bytes(*bytes))
}
