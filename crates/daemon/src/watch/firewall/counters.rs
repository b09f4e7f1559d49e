//! Reads our own counters: forwarded packets should reach postrouting, and drops are reported.

use std::net::IpAddr;

use bramblegate_netlink::netfilter::{
    GET_ELEMENTS, GET_RULE, INET, NFTABLES, RULE_CHAIN, RULE_EXPRESSIONS, RULE_TABLE, RULE_USERDATA,
};
use bramblegate_netlink::{Message, NetlinkError, Request, Socket};

use super::FirewallWatch;
use super::expression::{Expression, Verdict};
use super::foreign;
use crate::event::{Dropped, RuleCount};

/// `NFTA_COUNTER_*`.
const COUNTER_BYTES: u16 = 1;
const COUNTER_PACKETS: u16 = 2;

/// The comment of rules, and their packet count since they were loaded.
pub type Counted = (String, u64);

/// Holds packet counts since the rule set was loaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    pub forwarded: u64,
    pub postrouted: u64,
}

impl Counts {
    /// Returns the sums over the rules with the comments that `watch` names.
    pub fn of(rules: &[RuleCount], watch: &FirewallWatch) -> Self {
        Self { forwarded: sum(rules, watch.forwarded), postrouted: sum(rules, watch.postrouted) }
    }
}

/// Returns the counters of `table`, summed by chain and comment; leaves out rules without counter
/// or comment.
pub fn rules(socket: &mut Socket, table: &str) -> Result<Vec<RuleCount>, NetlinkError> {
    let request = Request::netfilter(NFTABLES, GET_RULE, INET).dump().text(RULE_TABLE, table);
    let mut sums: Vec<RuleCount> = Vec::new();
    for rule in socket.dump(&request, |message| counted(message, table))?.items {
        let known = sums
            .iter_mut()
            .find(|known| (&known.chain, &known.purpose) == (&rule.chain, &rule.purpose));
        match known {
            Some(known) => {
                known.packets = known.packets.saturating_add(rule.packets);
                known.bytes = known.bytes.saturating_add(rule.bytes);
            }
            None => sums.push(rule),
        }
    }
    Ok(sums)
}

/// Returns the packets dropped by rules of `table`, summed by comment; leaves out zeros.
pub fn drops(socket: &mut Socket, table: &str) -> Result<Vec<Counted>, NetlinkError> {
    let request = Request::netfilter(NFTABLES, GET_RULE, INET).dump().text(RULE_TABLE, table);
    let dropping = socket.dump(&request, |message| {
        let (_, _, expressions) = foreign::rule(message)?;
        let drops = expressions.contains(&Expression::Verdict(Verdict::Drop));
        counted(message, table).filter(|_| drops)
    })?;
    let mut sums: Vec<Counted> = Vec::new();
    for rule in dropping.items.into_iter().filter(|rule| rule.packets > 0) {
        match sums.iter_mut().find(|(known, _)| *known == rule.purpose) {
            Some((_, sum)) => *sum = sum.saturating_add(rule.packets),
            None => sums.push((rule.purpose, rule.packets)),
        }
    }
    Ok(sums)
}

/// Returns the packets dropped by the rules with these comments, without examples.
pub fn dropped(rules: &[RuleCount], drops: &[(&'static str, &'static str)]) -> Vec<Dropped> {
    let dropped = |(comment, _): &(&str, &str)| Dropped {
        purpose: (*comment).to_owned(),
        packets: sum(rules, comment),
        example: None,
    };
    drops.iter().map(dropped).collect()
}

/// Returns whether a count has changed.
pub fn moved(dropped: &[Dropped], before: &[Dropped]) -> bool {
    dropped.iter().any(|rule| rule.packets != packets_of(before, &rule.purpose))
}

fn packets_of(dropped: &[Dropped], purpose: &str) -> u64 {
    dropped.iter().find(|known| known.purpose == purpose).map_or(0, |known| known.packets)
}

/// Adds an example source, from the set of recent ones, where a count has changed since `before`.
pub fn with_examples(
    socket: &mut Socket,
    watch: &FirewallWatch,
    dropped: &[Dropped],
    before: &[Dropped],
) -> Vec<Dropped> {
    let mut all = dropped.to_vec();
    for (rule, (_, set)) in all.iter_mut().zip(watch.drops) {
        if rule.packets > 0 && rule.packets != packets_of(before, &rule.purpose) {
            rule.example = example(socket, watch.table, set);
        }
    }
    all
}

/// Returns the smallest address in a set: any would do, but a stable choice causes no change.
fn example(socket: &mut Socket, table: &str, set: &str) -> Option<IpAddr> {
    let request =
        Request::netfilter(NFTABLES, GET_ELEMENTS, INET).dump().text(1, table).text(2, set);
    let elements = socket.dump(&request, |message| foreign::elements(message, &[])).ok()?.items;
    let addresses = elements.into_iter().filter_map(|element| {
        let foreign::Key::At(key) = element.key else { return None };
        match key.len() {
            4 => <[u8; 4]>::try_from(key).ok().map(IpAddr::from),
            _ => <[u8; 16]>::try_from(key).ok().map(IpAddr::from),
        }
    });
    addresses.min()
}

fn sum(rules: &[RuleCount], comment: &str) -> u64 {
    let matching = rules.iter().filter(|rule| rule.purpose == comment);
    matching.fold(0, |sum: u64, rule| sum.saturating_add(rule.packets))
}

/// Parses the counter of a rule of `table`, if it has one and a comment.
fn counted(message: &Message<'_>, table: &str) -> Option<RuleCount> {
    let rule = message.attributes();
    if rule.text(RULE_TABLE).as_deref() != Some(table) {
        return None;
    }
    let purpose = comment(rule.value(RULE_USERDATA)?)?;
    let chain = rule.text(RULE_CHAIN)?.to_string();
    let (packets, bytes) = rule.nest(RULE_EXPRESSIONS).find_map(|element| {
        let expression = element.nest();
        let counter = expression.nest(2);
        (expression.text(1).as_deref() == Some("counter"))
            .then(|| Some((counter.be64(COUNTER_PACKETS)?, counter.be64(COUNTER_BYTES)?)))?
    })?;
    Some(RuleCount { chain, purpose, packets, bytes })
}

/// Returns the comment in a rule's userdata: type 0, length, zero-terminated text.
fn comment(userdata: &[u8]) -> Option<String> {
    let mut rest = userdata;
    while let [kind, length, after @ ..] = rest {
        let value = after.get(..usize::from(*length))?;
        if *kind == 0 {
            let text = value.strip_suffix(&[0]).unwrap_or(value);
            return Some(String::from_utf8_lossy(text).into_owned());
        }
        rest = after.get(usize::from(*length)..)?;
    }
    None
}

/// Returns whether new connections were forwarded but none reached postrouting.
pub fn suspicious(before: Option<Counts>, now: Option<Counts>) -> bool {
    let (Some(before), Some(now)) = (before, now) else { return false };
    now.forwarded > before.forwarded && now.postrouted == before.postrouted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_comment_is_found_after_other_userdata() {
        assert_eq!(comment(&[1, 2, 9, 9, 0, 3, b'h', b'i', 0]).as_deref(), Some("hi"));
        assert_eq!(comment(&[0, 9, b'x']), None);
        assert_eq!(comment(&[]), None);
    }

    #[test]
    fn forwarding_without_postrouting_is_suspicious() {
        let at = |forwarded, postrouted| Some(Counts { forwarded, postrouted });
        assert!(suspicious(at(1, 1), at(3, 1)));
        assert!(!suspicious(at(1, 1), at(3, 2)));
        assert!(!suspicious(at(1, 1), at(1, 1)));
        assert!(!suspicious(at(9, 9), at(2, 2)), "a new rule set begins at zero");
        assert!(!suspicious(None, at(3, 0)));
    }
}
