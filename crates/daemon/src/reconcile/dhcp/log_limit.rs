//! Keeps what nodes can make dnsmasq say from filling the journal. Pure: moments are arguments.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tokio::time::Instant;

use crate::event::{Mac, ServerLog, ServerLogKind};

/// A window of the limit. In each, identical texts are logged once, at most `MOST` of a kind, and
/// at most `KINDS` kinds.
const WINDOW: Duration = Duration::from_secs(60);
const MOST: usize = 20;
const KINDS: usize = 16;
/// How many first words of a text make its kind.
const TELLING: usize = 4;

/// What was logged lately, of each matter that nodes can bring about at will.
#[derive(Debug, Clone, Default)]
pub struct LogRateLimiter {
    refused: Window,
    exhausted: Window,
    trouble: Window,
}

#[derive(Debug, Clone, Default)]
struct Window {
    since: Option<Instant>,
    logged: BTreeSet<(Option<Mac>, String)>,
    kinds: BTreeMap<String, Kind>,
}

/// Texts that differ in names and numbers only.
#[derive(Debug, Clone, Copy, Default)]
struct Kind {
    /// one of them was logged in this window
    logged: bool,
    held_back: u64,
}

impl LogRateLimiter {
    /// Returns what is to be logged now; with how many of its kind were not.
    pub fn pass(&mut self, mut logged: ServerLog, now: Instant) -> Option<ServerLog> {
        let lately = match logged.what {
            // An address that is new is a change, reported once by the part that knows the
            // addresses.
            ServerLogKind::Leased => return Some(logged),
            ServerLogKind::Refused => &mut self.refused,
            ServerLogKind::Exhausted => &mut self.exhausted,
            ServerLogKind::Trouble => &mut self.trouble,
        };
        if lately.since.is_none_or(|since| now.saturating_duration_since(since) >= WINDOW) {
            lately.begin(now);
        }
        let full = lately.logged.len() >= MOST;
        let kind = lately.kind(&logged.text);
        let first = !std::mem::replace(&mut kind.logged, true);
        let before = std::mem::take(&mut kind.held_back);
        if full && !first || !lately.logged.insert((logged.mac, logged.text.clone())) {
            lately.kind(&logged.text).held_back = before + 1;
            return None;
        }
        if before > 0 {
            logged.text += &format!(" (and {before} more like this before)");
        }
        Some(logged)
    }
}

impl Window {
    fn begin(&mut self, now: Instant) {
        self.since = Some(now);
        self.logged.clear();
        // What was held back waits for the next of its kind.
        self.kinds.retain(|_, kind| kind.held_back > 0);
        if self.kinds.len() >= KINDS {
            self.kinds.clear();
        }
        self.kinds.iter_mut().for_each(|(_, kind)| kind.logged = false);
    }

    /// Returns of which kind a text is; of too many kinds the later ones are one.
    fn kind(&mut self, text: &str) -> &mut Kind {
        // Addresses, files, numbers and most names are not what they have in common.
        let common =
            |word: &&str| word.trim_end_matches(':').bytes().all(|byte| byte.is_ascii_alphabetic());
        let words: Vec<&str> = text.split_whitespace().filter(common).take(TELLING).collect();
        let mut kind = words.join(" ");
        if self.kinds.len() >= KINDS && !self.kinds.contains_key(&kind) {
            kind.clear();
        }
        self.kinds.entry(kind).or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str) -> ServerLog {
        ServerLog {
            what: ServerLogKind::Refused,
            text: text.to_owned(),
            mac: Some(Mac([2; 6])),
            address: None,
        }
    }

    #[test]
    fn the_same_is_reported_once_a_minute_with_how_often_it_was() {
        let (mut restraint, begin) = (LogRateLimiter::default(), Instant::now());
        let reported: Vec<ServerLog> =
            (0..300).filter_map(|_| restraint.pass(refused("no"), begin)).collect();
        assert_eq!(reported, [refused("no")]);
        let later = restraint.pass(refused("no"), begin + WINDOW).map(|logged| logged.text);
        assert_eq!(later.as_deref(), Some("no (and 299 more like this before)"));
    }

    #[test]
    fn of_things_that_always_differ_no_more_than_some_are_reported_and_other_kinds_go_on() {
        let (mut restraint, now) = (LogRateLimiter::default(), Instant::now());
        let reported = (0..300)
            .filter_map(|number| restraint.pass(refused(&format!("no {number}")), now))
            .count();
        assert_eq!(reported, MOST);
        assert!(
            restraint
                .pass(ServerLog { what: ServerLogKind::Trouble, ..refused("no") }, now)
                .is_some()
        );
        assert!(
            restraint
                .pass(ServerLog { what: ServerLogKind::Leased, ..refused("yes") }, now)
                .is_some()
        );
    }

    #[test]
    fn what_is_held_back_is_counted_with_its_own_kind() {
        let (mut restraint, begin) = (LogRateLimiter::default(), Instant::now());
        let mut report = |text: &str, now| {
            let trouble = ServerLog { what: ServerLogKind::Trouble, ..refused(text) };
            restraint.pass(trouble, now).map(|logged| logged.text)
        };
        let full = "dnsmasq: Maximum number of concurrent DNS queries reached (max: 150)";
        for _ in 0..10 {
            report(full, begin);
        }
        for number in 0..MOST + 5 {
            report(&format!("dnsmasq: failed sending /srv/tftp/{number} to 192.168.50.101"), begin);
        }
        let other = "dnsmasq: cannot read /etc/ethers";
        assert_eq!(
            report(other, begin).as_deref(),
            Some(other),
            "a flood of one kind keeps no other from being said"
        );
        let later = begin + WINDOW;
        assert_eq!(report(full, later).unwrap(), format!("{full} (and 9 more like this before)"));
        let sent = report("dnsmasq: failed sending /srv/tftp/x to 192.168.50.7", later).unwrap();
        assert!(sent.ends_with("(and 6 more like this before)"), "{sent}");
        assert_eq!(report(other, later).as_deref(), Some(other), "none of them was held back");
    }

    #[test]
    fn however_many_kinds_there_are_what_is_reported_in_a_window_is_bounded() {
        let (mut restraint, now) = (LogRateLimiter::default(), Instant::now());
        let texts = (0..300).map(|number| {
            (0..5)
                .map(|place| [b'a' + (number >> place & 15) as u8])
                .fold(String::new(), |text, letter| format!("{text} {}", letter[0] as char))
        });
        assert!(
            texts.filter_map(|text| restraint.pass(refused(&text), now)).count()
                <= MOST + KINDS + 1
        );
    }
}
