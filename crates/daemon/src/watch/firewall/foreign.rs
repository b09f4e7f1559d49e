//! Reads the rule sets of other programs, at all hooks that our packets pass.

use std::collections::{BTreeMap, BTreeSet};

use bramblegate_netlink::netfilter::{
    ARP, BRIDGE, GET_CHAIN, GET_ELEMENTS, GET_RULE, GET_SET, GET_TABLE, INET, IPV4, IPV6, NETDEV,
    NFTABLES,
};
use bramblegate_netlink::{Message, NetlinkError, Request, Socket, attributes};
use tracing::debug;

use super::expression::{Expression, Verdict, verdict};

/// `NF_DROP`.
const DROP: u32 = 0;
/// `NFT_TABLE_F_DORMANT`: the table is inactive.
const DORMANT: u32 = 1;
/// `NFT_SET_ELEM_INTERVAL_END`, `NFT_SET_ELEM_CATCHALL`.
const INTERVAL_END: u32 = 1;
const CATCH_ALL: u32 = 2;

/// Family and name of a table.
pub type TableName = (u8, String);

/// Holds all tables except ours with a base chain at a hook of IP, ARP, bridge or netdev.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ruleset {
    pub tables: BTreeMap<TableName, Table>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Table {
    pub chains: BTreeMap<String, Chain>,
    pub sets: BTreeMap<String, Vec<Element>>,
    /// A table of iptables-legacy, which nf_tables does not list.
    pub legacy: bool,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Chain {
    /// The hook of a base chain; `None` for a regular chain.
    pub base: Option<Base>,
    /// The policy is drop.
    pub drops: bool,
    pub rules: Vec<Vec<Expression>>,
}

/// Describes the hook of a base chain.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Base {
    /// `NF_INET_*`, `NF_ARP_*`, `NF_BR_*` or `NF_NETDEV_*`, by the table's family.
    pub hook: u32,
    pub priority: i32,
    /// Interfaces of an ingress or egress hook.
    pub devices: Vec<String>,
}

/// Holds an element of a set: a key and, in a verdict map, its verdict.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Element {
    pub key: Key,
    pub verdict: Option<Verdict>,
}

/// Describes the key of an element.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Key {
    /// A value; in an interval set, the start of an interval.
    At(Vec<u8>),
    /// The end of an interval, exclusive.
    End(Vec<u8>),
    /// Concatenated fields, each with its first and last value.
    Fields(Vec<(Vec<u8>, Vec<u8>)>),
    /// The catch-all element.
    All,
    /// Could not be parsed.
    Unclear,
}

/// Returns the netlink port ID of our table's owner; `None` if it has none or does not exist.
pub fn owner(socket: &mut Socket, table: &str) -> Result<Option<u32>, NetlinkError> {
    let mut owner = None;
    socket.request(&Request::netfilter(NFTABLES, GET_TABLE, INET).text(1, table), |message| {
        owner = message.attributes().be32(7);
    })?;
    Ok(owner)
}

/// Reads the tables of other programs; rules and sets only if they have a base chain.
pub fn read(socket: &mut Socket, ours: &str) -> Result<Ruleset, NetlinkError> {
    let chains = socket.dump(&Request::netfilter(NFTABLES, GET_CHAIN, 0).dump(), chain)?;
    let mut ruleset = assemble(chains.items, ours);
    if ruleset.tables.is_empty() {
        return Ok(ruleset);
    }
    for table in socket.dump(&Request::netfilter(NFTABLES, GET_TABLE, 0).dump(), dormant)?.items {
        ruleset.tables.remove(&table);
    }
    for family in BTreeSet::from_iter(ruleset.tables.keys().map(|(family, _)| *family)) {
        for (table, name, expressions) in
            socket.dump(&Request::netfilter(NFTABLES, GET_RULE, family).dump(), rule)?.items
        {
            if let Some(chain) =
                ruleset.tables.get_mut(&table).and_then(|table| table.chains.get_mut(&name))
            {
                chain.rules.push(expressions);
            }
        }
    }
    for ((family, name), table) in &mut ruleset.tables {
        for set in table.used_sets() {
            let mut widths = Vec::new();
            let request =
                Request::netfilter(NFTABLES, GET_SET, *family).text(1, name).text(2, &set);
            let result = socket.request(&request, |message| widths = field_widths(message));
            if let Err(error) = result {
                // Probably deleted in between; then it has no elements either.
                debug!(%name, %set, %error, "a set of another program is not described");
            }
            let request = Request::netfilter(NFTABLES, GET_ELEMENTS, *family)
                .dump()
                .text(1, name)
                .text(2, &set);
            table
                .sets
                .insert(set, socket.dump(&request, |message| elements(message, &widths))?.items);
        }
    }
    Ok(ruleset)
}

impl Table {
    fn used_sets(&self) -> BTreeSet<String> {
        let expressions = self.chains.values().flat_map(|chain| &chain.rules).flatten();
        let sets = expressions.filter_map(|expression| match expression {
            Expression::Lookup { set, .. } => Some(set.clone()),
            _ => None,
        });
        BTreeSet::from_iter(sets)
    }
}

/// Groups the chains of other programs by table, and drops tables without a base chain.
fn assemble(chains: Vec<(TableName, String, Chain)>, ours: &str) -> Ruleset {
    let mut ruleset = Ruleset::default();
    for (table, name, chain) in chains {
        let is_ours = table.0 == INET && table.1 == ours;
        if !is_ours && matches!(table.0, INET | IPV4 | IPV6 | ARP | NETDEV | BRIDGE) {
            ruleset.tables.entry(table).or_default().chains.insert(name, chain);
        }
    }
    ruleset.tables.retain(|_, table| table.chains.values().any(|chain| chain.base.is_some()));
    ruleset
}

/// Parses `NFT_MSG_NEWTABLE` of a dormant table.
fn dormant(message: &Message<'_>) -> Option<TableName> {
    let table = message.attributes();
    let is_dormant = table.be32(2).unwrap_or(0) & DORMANT != 0;
    Some((message.family()?, table.text(1)?)).filter(|_| is_dormant)
}

/// Parses `NFT_MSG_NEWCHAIN`.
pub fn chain(message: &Message<'_>) -> Option<(TableName, String, Chain)> {
    let chain = message.attributes();
    let hook = chain.nest(4);
    let base = hook.be32(1).map(|number| Base {
        hook: number,
        priority: hook.be32(2).map_or(0, |priority| i32::from_ne_bytes(priority.to_ne_bytes())),
        devices: hook
            .text(3)
            .into_iter()
            .chain(hook.nest(4).map(|device| text(device.value)))
            .collect(),
    });
    let drops = base.is_some() && chain.be32(5) == Some(DROP);
    let table = (message.family()?, chain.text(1)?);
    Some((table, chain.text(3)?, Chain { base, drops, rules: Vec::new() }))
}

/// Decodes a string up to its terminating zero.
pub fn text(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(bytes.get(..end).unwrap_or_default()).into_owned()
}

/// Parses `NFT_MSG_NEWRULE` into table, chain and expressions.
pub fn rule(message: &Message<'_>) -> Option<(TableName, String, Vec<Expression>)> {
    let rule = message.attributes();
    let expressions = rule.nest(4).map(|element| Expression::parse(element.value)).collect();
    Some(((message.family()?, rule.text(1)?), rule.text(2)?, expressions))
}

/// Parses the field lengths in `NFT_MSG_NEWSET` (`NFTA_SET_DESC_CONCAT`); empty unless keys are
/// concatenations.
pub fn field_widths(message: &Message<'_>) -> Vec<usize> {
    let fields = message.attributes().nest(9).nest(2);
    fields.filter_map(|field| usize::try_from(attributes(field.value).be32(1)?).ok()).collect()
}

/// Splits a concatenation into fields, each of which starts at a register of four bytes.
fn fields(first: &[u8], last: &[u8], widths: &[usize]) -> Option<Vec<(Vec<u8>, Vec<u8>)>> {
    let mut at = 0_usize;
    let mut fields = Vec::new();
    for width in widths {
        let place = at..at.checked_add(*width)?;
        fields.push((first.get(place.clone())?.to_vec(), last.get(place)?.to_vec()));
        at = at.checked_add(width.checked_next_multiple_of(4)?)?;
    }
    (!fields.is_empty()).then_some(fields)
}

/// Parses `NFT_MSG_NEWSETELEM` of a set with these field lengths.
pub fn elements(message: &Message<'_>, widths: &[usize]) -> Vec<Element> {
    let list = message.attributes().nest(3);
    list.map(|attribute| element(attribute.value, widths)).collect()
}

/// Parses one element of a set.
fn element(bytes: &[u8], widths: &[usize]) -> Element {
    let element = attributes(bytes);
    let flags = element.be32(3).unwrap_or(0);
    let first = element.nest(1).value(1);
    // Only concatenations have `NFTA_SET_ELEM_KEY_END`.
    let has_end = element.value(10).is_some();
    let last = element.nest(10).value(1);
    let key = match (first, last) {
        _ if flags & CATCH_ALL != 0 => Key::All,
        (Some(first), Some(last)) => fields(first, last, widths).map_or(Key::Unclear, Key::Fields),
        (Some(key), None) if flags & INTERVAL_END != 0 => Key::End(key.to_vec()),
        (Some(key), None) if !has_end => Key::At(key.to_vec()),
        _ => Key::Unclear,
    };
    let verdict = element.nest(2).value(2).map(|nest| verdict(&attributes(nest)));
    Element { key, verdict }
}
