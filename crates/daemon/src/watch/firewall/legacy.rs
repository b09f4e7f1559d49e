//! iptables' older kernel interface (`linux/netfilter_ipv4/ip_tables.h`,
//! `linux/netfilter_ipv6/ip6_tables.h`), which nf_tables neither lists nor announces. Only tables
//! that are there are read: to ask for one makes it.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

use rustix::net::{AddressFamily, SocketFlags, SocketType, ipproto, socket_with};

use super::expression::{Expression, Verdict, What, xtables_match, xtables_target};
use super::foreign::{Base, Chain, IPV4, IPV6, Ruleset, Table};

/// Where a process that may not read that sees which tables the kernel's modules hold.
const MODULES: &str = "/proc/modules";
/// `IPT_SO_GET_INFO`, `IPT_SO_GET_ENTRIES`
const GET_INFO: libc::c_int = 64;
const GET_ENTRIES: libc::c_int = 65;
/// Bytes of `struct ipt_getinfo` and of the head of `struct ipt_get_entries`, which are the same of
/// IPv6.
const INFO: usize = 84;
const ENTRIES: usize = 40;
/// Bytes of `struct xt_entry_match` and `xt_entry_target`, and of a name in them.
const PART: usize = 32;
const NAME: usize = 29;
const HOOKS: usize = 5;
/// `-NF_DROP - 1`, `-NF_ACCEPT - 1`, `XT_RETURN`
const DROP: i32 = -1;
const ACCEPT: i32 = -2;
const RETURN: i32 = -5;
/// Rules beyond this many bytes are not read.
const MOST: usize = 16 << 20;
/// Tables and their priorities (`NF_IP_PRI_*`); source translation has another than the rest of its
/// table.
const TABLES: [(&str, i32); 5] =
    [("raw", -300), ("mangle", -150), ("nat", -100), ("filter", 0), ("security", 50)];
const SOURCE_NAT: i32 = 100;
/// Behind the name of a table that nf_tables has too.
pub const LEGACY_SUFFIX: &str = " (legacy)";
const CHAINS: [&str; HOOKS] = ["PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING"];

/// Holds what differs between IPv4 and IPv6.
#[derive(Debug, PartialEq, Eq)]
struct Kind {
    /// `NFPROTO_*`
    family: u8,
    socket: AddressFamily,
    level: libc::c_int,
    /// names of the tables of this thread's network namespace; for root alone
    names: &'static str,
    /// what the names of the kernel's modules begin with
    module: &'static str,
    /// bytes of `struct ipt_ip` or `struct ip6t_ip6`, with which an entry begins
    head: usize,
    /// bytes of an address there
    address: usize,
    /// where source and destination are in the network header
    places: [u32; 2],
    /// where `nfcache`, and behind it `target_offset`, `next_offset` and `comefrom`, begins
    rest: usize,
    /// where the counters begin
    counters: usize,
    /// bytes of `struct ipt_entry` or `struct ip6t_entry`
    entry: usize,
    /// where the flags are, before what is inverted
    flags: usize,
    /// the flag of `--goto`
    goes: u8,
    /// the flag of a rule for fragments, or for a kind of service (TOS)
    unread: u8,
    /// the flag without which the protocol says nothing, where there is one
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
        places: [12, 16],
        rest: 84,
        counters: 96,
        entry: 112,
        flags: 82,
        goes: 0x02,
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
        places: [8, 24],
        rest: 136,
        counters: 152,
        entry: 168,
        flags: 131,
        goes: 0x04,
        unread: 0x02,
        has_protocol: 0x01,
    },
];

/// Holds a table as the kernel gives it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listing {
    kind: &'static Kind,
    name: &'static str,
    info: Vec<u8>,
    /// without the counters, which move
    entries: Vec<u8>,
}

/// Returns the tables that are there; those that may not be read are not.
pub fn read() -> Vec<Listing> {
    KINDS.iter().flat_map(tables).collect()
}

/// Returns the tables of one kind.
fn tables(kind: &'static Kind) -> Vec<Listing> {
    let names = fs::read_to_string(kind.names);
    let there = TABLES.iter().filter(|(name, _)| is_there(kind, &names, name));
    there.filter_map(|(name, _)| listing(kind, name).ok()).collect()
}

/// Returns whether a table is there, by the list of tables, or where that may not be read by the
/// list of modules.
fn is_there(kind: &Kind, names: &io::Result<String>, name: &str) -> bool {
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
    ask((&socket, kind), GET_INFO, &mut info)?;
    let size = u32_at(&info, 80).map_or(0, |size| size as usize);
    if size > MOST {
        return Err(io::ErrorKind::OutOfMemory.into());
    }
    let mut entries = vec![0; ENTRIES + size];
    entries.iter_mut().zip(name.bytes()).for_each(|(place, byte)| *place = byte);
    let length = u32::try_from(size).unwrap_or(0).to_ne_bytes();
    entries.iter_mut().skip(32).zip(length).for_each(|(place, byte)| *place = byte);
    ask((&socket, kind), GET_ENTRIES, &mut entries)?;
    let mut entries = entries.split_off(ENTRIES);
    let mut at = 0;
    while let Some(next) = u16_at(&entries, at + kind.rest + 6).filter(|next| *next > 0) {
        entries.iter_mut().skip(at + kind.counters).take(16).for_each(|byte| *byte = 0);
        at += usize::from(next);
    }
    Ok(Listing { kind, name, info, entries })
}

fn ask((socket, kind): (&OwnedFd, &Kind), option: libc::c_int, bytes: &mut [u8]) -> io::Result<()> {
    let mut length = libc::socklen_t::try_from(bytes.len()).map_err(io::Error::other)?;
    // SAFETY: the kernel writes at most `length` bytes, which is what there is.
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

/// Adds the tables to those of nf_tables. One of the same name is another: it gets its place beside
/// it.
pub fn add(ruleset: &mut Ruleset, listings: Vec<Listing>) {
    for listing in listings {
        let (table, name, family) = (listing.table(), listing.name, listing.kind.family);
        // The same names as iptables on nf_tables has; where both are there a word keeps them
        // apart.
        let taken = ruleset.tables.contains_key(&(family, name.to_owned()));
        let name = if taken { format!("{name}{LEGACY_SUFFIX}") } else { name.to_owned() };
        ruleset.tables.insert((family, name), table);
    }
}

/// Reads any bytes as a table's entries.
pub fn parse_any(bytes: &[u8]) -> Vec<Listing> {
    let info = bytes.get(..INFO).unwrap_or_default().to_vec();
    let of = |kind| Listing { kind, name: "filter", info: info.clone(), entries: bytes.to_vec() };
    KINDS.iter().map(of).collect()
}

impl Listing {
    /// Returns the chains; built-in ones begin at the hooks' entries, others behind a target
    /// `ERROR` with their name.
    fn table(&self) -> Table {
        let mut heads: BTreeMap<usize, String> = BTreeMap::new();
        let mut policies: BTreeMap<usize, ()> = BTreeMap::new();
        let mut bases: BTreeMap<String, usize> = BTreeMap::new();
        let valid = u32_at(&self.info, 32).unwrap_or(0);
        for (hook, chain) in CHAINS.iter().enumerate().filter(|(hook, _)| valid >> hook & 1 == 1) {
            let (Some(entry), Some(underflow)) =
                (u32_at(&self.info, 36 + 4 * hook), u32_at(&self.info, 56 + 4 * hook))
            else {
                continue;
            };
            heads.insert(entry as usize, (*chain).to_owned());
            policies.insert(underflow as usize, ());
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
            if policies.contains_key(&at) {
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
        // Where addresses of senders are translated: POSTROUTING and INPUT.
        let source = self.name == "nat" && matches!(hook, 1 | 4);
        let hook = u32::try_from(hook).unwrap_or(0);
        Base { hook, priority: if source { SOURCE_NAT } else { priority }, devices: Vec::new() }
    }

    fn next(&self, at: usize) -> Option<usize> {
        u16_at(&self.entries, at + self.kind.rest + 6)
            .map(usize::from)
            .filter(|next| *next >= self.kind.entry)
    }

    /// Returns where an entry's target begins.
    fn offset(&self, at: usize) -> Option<usize> {
        u16_at(&self.entries, at + self.kind.rest + 4).map(usize::from)
    }

    /// Returns an entry's flags.
    fn flags(&self, at: usize) -> Option<u8> {
        self.entries.get(at + self.kind.flags).copied()
    }

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

    /// Returns the name of a chain that begins after this entry.
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
                        // `--goto` is a flag of the entry.
                        let goes = self.flags(at).is_some_and(|flags| flags & self.kind.goes != 0);
                        let verdict = if goes { Verdict::Goto } else { Verdict::Jump };
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

    /// Reads a `struct ipt_ip` or `struct ip6t_ip6` as expressions: two addresses and their masks,
    /// two ports and theirs, protocol, flags, and what of it is inverted.
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
            let operator = u32::from(inverted & bit != 0);
            let (mask, xor) = (mask.to_vec(), vec![0; mask.len()]);
            rule.push(Expression::Load { to: 0, what });
            rule.push(Expression::Bitwise { from: 0, to: 0, mask, xor });
            rule.push(Expression::Compare { register: 0, operator, data: data.to_vec() });
        };
        let (length, [source, destination]) = (kind.address, kind.places);
        let part = |place: usize, length: usize| ip.get(place..place + length);
        let address = |place| What::Payload(1, place, u32::try_from(length).unwrap_or(0));
        test(address(source), part(0, length)?, part(2 * length, length)?, 8);
        test(address(destination), part(length, length)?, part(3 * length, length)?, 16);
        let ports = 4 * length;
        test(What::Meta(6), part(ports, 16)?, part(ports + 32, 16)?, 1);
        test(What::Meta(7), part(ports + 16, 16)?, part(ports + 48, 16)?, 2);
        let protocol = u16_at(ip, ports + 64)?.to_ne_bytes();
        let counts = kind.has_protocol == 0 || flags & kind.has_protocol != 0;
        if counts && protocol != [0, 0] {
            let number = u8::try_from(u16::from_ne_bytes(protocol)).ok()?;
            test(What::Meta(16), &[number], &[0xff], 0x40);
        }
        if flags & kind.unread != 0 {
            rule.push(Expression::Unknown);
        }
        Some(rule)
    }
}

/// Returns a match or target: name, revision, data, and what follows it.
fn part(bytes: &[u8]) -> Option<(String, u32, &[u8], &[u8])> {
    let size = usize::from(u16_at(bytes, 0)?);
    let (this, rest) = bytes.split_at_checked(size).filter(|_| size >= PART)?;
    Some((text(this.get(2..2 + NAME)?), u32::from(*this.get(31)?), this.get(PART..)?, rest))
}

fn text(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(bytes.get(..end).unwrap_or_default()).into_owned()
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..)?.first_chunk().map(|bytes| u16::from_ne_bytes(*bytes))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|bytes| u32::from_ne_bytes(*bytes))
}
