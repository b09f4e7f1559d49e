//! Reading our own counters back: what is forwarded should arrive at postrouting.

use rustix::io::Errno;

use super::FirewallWatch;
use crate::source::nfnetlink::{Message, NFTABLES, Nested, Request, Socket, attributes};

const GET_RULE: u8 = 7;
const INET: u8 = 1;
/// `NFTA_RULE_*`
const RULE_TABLE: u16 = 1;
const RULE_EXPRESSIONS: u16 = 4;
const RULE_USERDATA: u16 = 7;
/// `NFTA_COUNTER_PACKETS`
const COUNTER_PACKETS: u16 = 2;

/// Packets since the rule set was loaded: a new one begins at zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    pub forwarded: u64,
    pub postrouted: u64,
}

/// The sums over the rules with the comments that `watch` names.
pub fn read(socket: &mut Socket, watch: &FirewallWatch) -> Result<Counts, Errno> {
    let request = Request::new(NFTABLES, GET_RULE, INET).dump().text(RULE_TABLE, watch.table);
    let rules = socket.dump(&request, |message| counted(message, watch.table))?;
    let sum = |comment: &str| {
        let matching = rules.iter().filter(|(text, _)| text == comment);
        matching.fold(0, |sum: u64, (_, packets)| sum.saturating_add(*packets))
    };
    Ok(Counts { forwarded: sum(watch.forwarded), postrouted: sum(watch.postrouted) })
}

/// Comment and packets of a rule of `table` that counts.
fn counted(message: &Message<'_>, table: &str) -> Option<(String, u64)> {
    let rule = message.attributes();
    if rule.text(RULE_TABLE).as_deref() != Some(table) {
        return None;
    }
    let comment = comment(rule.value(RULE_USERDATA)?)?;
    let packets = rule.nest(RULE_EXPRESSIONS).find_map(|element| {
        let expression = attributes(element.value);
        (expression.text(1).as_deref() == Some("counter")).then(|| expression.nest(2).be64(COUNTER_PACKETS))?
    })?;
    Some((comment, packets))
}

/// The comment in a rule's userdata: type 0, length, text with a zero at its end.
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

/// New connections were forwarded, and none of them came to postrouting.
pub fn suspicious(before: Option<Counts>, now: Option<Counts>) -> bool {
    let (Some(before), Some(now)) = (before, now) else { return false };
    now.forwarded > before.forwarded && now.postrouted == before.postrouted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_comment_is_found_behind_other_userdata() {
        assert_eq!(comment(&[1, 2, 9, 9, 0, 3, b'h', b'i', 0]).as_deref(), Some("hi"));
        assert_eq!(comment(&[0, 9, b'x']), None);
        assert_eq!(comment(&[]), None);
    }

    #[test]
    fn forwarding_without_arriving_is_suspicious() {
        let at = |forwarded, postrouted| Some(Counts { forwarded, postrouted });
        assert!(suspicious(at(1, 1), at(3, 1)));
        assert!(!suspicious(at(1, 1), at(3, 2)));
        assert!(!suspicious(at(1, 1), at(1, 1)));
        assert!(!suspicious(at(9, 9), at(2, 2)), "a new rule set begins at zero");
        assert!(!suspicious(None, at(3, 0)));
    }
}
