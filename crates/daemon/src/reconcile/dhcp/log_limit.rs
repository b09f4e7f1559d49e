//! Limits the log lines of dnsmasq that nodes can cause, so that they do not fill the journal.
//! Pure: the current time is an argument.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tokio::time::Instant;

use crate::event::{Mac, ServerLog, ServerLogKind};

/// Length of a window. In each, identical texts are logged once, and at most `MOST` texts, plus the
/// first of each kind of at most `KINDS`.
const WINDOW: Duration = Duration::from_secs(60);
const MOST: usize = 20;
const KINDS: usize = 16;
/// Number of leading words that define the kind of a text.
const KIND_WORDS: usize = 4;

/// The records of the current window, by category.
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

/// Texts that differ only in names and numbers.
#[derive(Debug, Clone, Copy, Default)]
struct Kind {
    /// One of them was logged in this window.
    logged: bool,
    suppressed: u64,
}

impl LogRateLimiter {
    /// Returns the record to log, with the number of suppressed ones of its kind, or `None` to
    /// suppress it.
    pub fn pass(&mut self, mut record: ServerLog, now: Instant) -> Option<ServerLog> {
        let window = match record.what {
            // The caller reports each new lease once.
            ServerLogKind::Leased => return Some(record),
            ServerLogKind::Refused => &mut self.refused,
            ServerLogKind::Exhausted => &mut self.exhausted,
            ServerLogKind::Trouble => &mut self.trouble,
        };
        if window.since.is_none_or(|since| now.saturating_duration_since(since) >= WINDOW) {
            window.begin(now);
        }
        let full = window.logged.len() >= MOST;
        let kind = window.kind(&record.text);
        let first = !std::mem::replace(&mut kind.logged, true);
        let suppressed = std::mem::take(&mut kind.suppressed);
        if full && !first || !window.logged.insert((record.mac, record.text.clone())) {
            window.kind(&record.text).suppressed = suppressed + 1;
            return None;
        }
        if suppressed > 0 {
            record.text += &format!(" (and {suppressed} more like this before)");
        }
        Some(record)
    }
}

impl Window {
    fn begin(&mut self, now: Instant) {
        self.since = Some(now);
        self.logged.clear();
        // The count of suppressed texts is kept until the next of its kind.
        self.kinds.retain(|_, kind| kind.suppressed > 0);
        if self.kinds.len() >= KINDS {
            self.kinds.clear();
        }
        self.kinds.iter_mut().for_each(|(_, kind)| kind.logged = false);
    }

    /// Returns the kind of a text. Beyond [`KINDS`], all new kinds share one.
    fn kind(&mut self, text: &str) -> &mut Kind {
        // Skips addresses, files, numbers and most names.
        let is_plain =
            |word: &&str| word.trim_end_matches(':').bytes().all(|byte| byte.is_ascii_alphabetic());
        let words: Vec<&str> = text.split_whitespace().filter(is_plain).take(KIND_WORDS).collect();
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
    fn identical_texts_are_logged_once_a_minute_with_their_number() {
        let (mut limiter, begin) = (LogRateLimiter::default(), Instant::now());
        let reported: Vec<ServerLog> =
            (0..300).filter_map(|_| limiter.pass(refused("no"), begin)).collect();
        assert_eq!(reported, [refused("no")]);
        let later = limiter.pass(refused("no"), begin + WINDOW).map(|logged| logged.text);
        assert_eq!(later.as_deref(), Some("no (and 299 more like this before)"));
    }

    #[test]
    fn differing_texts_are_limited_and_other_categories_are_not_affected() {
        let (mut limiter, now) = (LogRateLimiter::default(), Instant::now());
        let reported = (0..300)
            .filter_map(|number| limiter.pass(refused(&format!("no {number}")), now))
            .count();
        assert_eq!(reported, MOST);
        assert!(
            limiter
                .pass(ServerLog { what: ServerLogKind::Trouble, ..refused("no") }, now)
                .is_some()
        );
        assert!(
            limiter
                .pass(ServerLog { what: ServerLogKind::Leased, ..refused("yes") }, now)
                .is_some()
        );
    }

    #[test]
    fn suppressed_texts_are_counted_by_kind() {
        let (mut limiter, begin) = (LogRateLimiter::default(), Instant::now());
        let mut report = |text: &str, now| {
            let trouble = ServerLog { what: ServerLogKind::Trouble, ..refused(text) };
            limiter.pass(trouble, now).map(|logged| logged.text)
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
            "a flood of one kind suppresses no other"
        );
        let later = begin + WINDOW;
        assert_eq!(report(full, later).unwrap(), format!("{full} (and 9 more like this before)"));
        let sent = report("dnsmasq: failed sending /srv/tftp/x to 192.168.50.7", later).unwrap();
        assert!(sent.ends_with("(and 6 more like this before)"), "{sent}");
        assert_eq!(report(other, later).as_deref(), Some(other), "none of them was suppressed");
    }

    #[test]
    fn a_window_is_bounded_for_any_number_of_kinds() {
        let (mut limiter, now) = (LogRateLimiter::default(), Instant::now());
        let texts = (0..300).map(|number| {
            (0..5)
                .map(|place| [b'a' + (number >> place & 15) as u8])
                .fold(String::new(), |text, letter| format!("{text} {}", letter[0] as char))
        });
        assert!(
            texts.filter_map(|text| limiter.pass(refused(&text), now)).count() <= MOST + KINDS + 1
        );
    }
}
