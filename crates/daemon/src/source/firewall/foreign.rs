//! The rule sets of other programs, as far as the forward hook leads.

use std::collections::BTreeSet;

use litemap::LiteMap;
use rustix::io::Errno;

use super::expression::{Expression, Verdict, verdict};
use crate::sort;
use crate::source::nfnetlink::{Message, NFTABLES, Nested, Request, Socket, attributes};

const GET_TABLE: u8 = 1;
const GET_CHAIN: u8 = 4;
const GET_RULE: u8 = 7;
const GET_ELEMENTS: u8 = 13;
/// `NFPROTO_INET`, `NFPROTO_IPV4`
const INET: u8 = 1;
const IPV4: u8 = 2;
/// `NF_INET_FORWARD`
const FORWARD: u32 = 2;
/// `NF_DROP`
const DROP: u32 = 0;

/// A table: family and name.
pub type TableName = (u8, String);

/// All tables that have something at the forward hook, but ours.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ruleset {
    pub tables: LiteMap<TableName, Table>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Table {
    pub chains: LiteMap<String, Chain>,
    pub sets: LiteMap<String, Vec<Element>>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Chain {
    /// hooked in at forward as a filter
    pub forward: bool,
    /// its policy is drop
    pub drops: bool,
    pub rules: Vec<Vec<Expression>>,
}

/// An element of a set: key and, in a verdict map, the verdict.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Element {
    /// `None`: an interval or a catch-all, which are not followed
    pub key: Option<Vec<u8>>,
    pub verdict: Option<Verdict>,
}

/// Netlink port of who owns our table; `None`: nobody, or there is no table.
pub fn owner(socket: &mut Socket, table: &str) -> Result<Option<u32>, Errno> {
    let mut owner = None;
    socket.ask(&Request::new(NFTABLES, GET_TABLE, INET).text(1, table), |message| {
        owner = message.attributes().be32(7);
    })?;
    Ok(owner)
}

/// Lists what others have at the forward hook; the rules only if there is a chain of theirs.
pub fn read(socket: &mut Socket, ours: &str) -> Result<Ruleset, Errno> {
    let chains = socket.dump(&Request::new(NFTABLES, GET_CHAIN, 0).dump(), chain)?;
    let mut ruleset = assemble(chains, ours);
    if ruleset.tables.is_empty() {
        return Ok(ruleset);
    }
    for family in sort::set(ruleset.tables.keys().map(|(family, _)| *family)) {
        for (table, name, expressions) in socket.dump(&Request::new(NFTABLES, GET_RULE, family).dump(), rule)? {
            if let Some(chain) = ruleset.tables.get_mut(&table).and_then(|table| table.chains.get_mut(&name)) {
                chain.rules.push(expressions);
            }
        }
    }
    for ((family, name), table) in &mut ruleset.tables {
        for set in table.used_sets() {
            let request = Request::new(NFTABLES, GET_ELEMENTS, *family).dump().text(1, name).text(2, &set);
            let elements = socket.dump(&request, |message| Some(elements(message)))?;
            table.sets.insert(set, elements.into_iter().flatten().collect());
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
        sort::set(sets)
    }
}

/// Keeps the tables with a base chain at forward.
fn assemble(chains: Vec<(TableName, String, Chain)>, ours: &str) -> Ruleset {
    let mut ruleset = Ruleset::default();
    for (table, name, chain) in chains {
        if table.1 != ours && matches!(table.0, INET | IPV4) {
            ruleset.tables.entry(table).or_default().chains.insert(name, chain);
        }
    }
    ruleset.tables.retain(|_, table| table.chains.values().any(|chain| chain.forward));
    ruleset
}

/// Reads `NFT_MSG_NEWCHAIN`.
pub fn chain(message: &Message<'_>) -> Option<(TableName, String, Chain)> {
    let chain = message.attributes();
    let hooked = chain.nest(4).be32(1) == Some(FORWARD);
    let filter = chain.text(7).is_some_and(|kind| kind == "filter");
    let drops = hooked && chain.be32(5) == Some(DROP);
    let table = (message.family()?, chain.text(1)?);
    Some((table, chain.text(3)?, Chain { forward: hooked && filter, drops, rules: Vec::new() }))
}

/// Reads `NFT_MSG_NEWRULE`: table, chain, expressions.
pub fn rule(message: &Message<'_>) -> Option<(TableName, String, Vec<Expression>)> {
    let rule = message.attributes();
    let expressions = rule.nest(4).map(|element| Expression::parse(element.value)).collect();
    Some(((message.family()?, rule.text(1)?), rule.text(2)?, expressions))
}

/// Reads `NFT_MSG_NEWSETELEM`.
pub fn elements(message: &Message<'_>) -> Vec<Element> {
    let list = message.attributes().nest(3);
    let element = |bytes: &[u8]| {
        let element = attributes(bytes);
        // An interval's end (flag 1) or a catch-all (flag 2), or a key with a second end.
        let plain = element.be32(3).unwrap_or(0) == 0 && element.value(10).is_none();
        let key = element.nest(1).value(1).filter(|_| plain).map(<[u8]>::to_vec);
        let verdict = element.nest(2).value(2).map(|nest| verdict(&attributes(nest)));
        Element { key, verdict }
    };
    list.map(|attribute| element(attribute.value)).collect()
}
