//! Keeps what nodes can make dnsmasq say from filling the journal. Pure: moments are arguments.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::time::Instant;

use crate::event::{Mac, Said, Saying};

/// Within this long each thing is said once, and of each kind no more than so many.
const WINDOW: Duration = Duration::from_secs(60);
const MOST: usize = 20;

/// What was said lately, of each kind that nodes can bring about at will.
#[derive(Debug, Clone, Default)]
pub struct Restraint {
    refused: Lately,
    trouble: Lately,
}

#[derive(Debug, Clone, Default)]
struct Lately {
    since: Option<Instant>,
    said: BTreeSet<(Option<Mac>, String)>,
    held_back: u64,
}

impl Restraint {
    /// What is to be said now; with how many of its kind were not.
    pub fn pass(&mut self, mut said: Said, now: Instant) -> Option<Said> {
        let lately = match said.what {
            // An address that is new is a change, told once by whoever knows the addresses.
            Saying::Leased => return Some(said),
            Saying::Refused => &mut self.refused,
            Saying::Trouble => &mut self.trouble,
        };
        if lately.since.is_none_or(|since| now.saturating_duration_since(since) >= WINDOW) {
            lately.since = Some(now);
            lately.said.clear();
        }
        if lately.said.len() >= MOST || !lately.said.insert((said.mac, said.text.clone())) {
            lately.held_back += 1;
            return None;
        }
        match std::mem::take(&mut lately.held_back) {
            0 => {}
            more => said.text += &format!(" (and {more} more like this before)"),
        }
        Some(said)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str) -> Said {
        Said { what: Saying::Refused, text: text.to_owned(), mac: Some(Mac([2; 6])), address: None }
    }

    #[test]
    fn the_same_is_said_once_a_minute_with_how_often_it_was() {
        let (mut restraint, begin) = (Restraint::default(), Instant::now());
        let told: Vec<Said> = (0..300).filter_map(|_| restraint.pass(refused("no"), begin)).collect();
        assert_eq!(told, [refused("no")]);
        let later = restraint.pass(refused("no"), begin + WINDOW).map(|said| said.text);
        assert_eq!(later.as_deref(), Some("no (and 299 more like this before)"));
    }

    #[test]
    fn of_things_that_always_differ_no_more_than_some_are_said_and_other_kinds_go_on() {
        let (mut restraint, now) = (Restraint::default(), Instant::now());
        let told = (0..300).filter_map(|number| restraint.pass(refused(&format!("no {number}")), now)).count();
        assert_eq!(told, MOST);
        assert!(restraint.pass(Said { what: Saying::Trouble, ..refused("no") }, now).is_some());
        assert!(restraint.pass(Said { what: Saying::Leased, ..refused("yes") }, now).is_some());
    }
}
