//! Captions of the demo, at a readable pace.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Minimum time for which each caption is the newest.
const HOLD: Duration = Duration::from_secs(2);

/// The captions on the screen, and pending ones.
#[derive(Debug)]
pub struct Captions {
    shown: Vec<String>,
    pending: VecDeque<String>,
    /// When the newest was shown.
    since: Instant,
}

impl Captions {
    pub fn new(now: Instant) -> Self {
        Self { shown: Vec::new(), pending: VecDeque::new(), since: now }
    }

    /// Adds a caption after the pending ones.
    pub fn add(&mut self, text: String, now: Instant) {
        self.pending.push_back(text);
        self.advance(now);
    }

    /// Shows a caption at once, after all pending ones, since a key was pressed.
    pub fn interrupt(&mut self, text: String, now: Instant) {
        self.shown.extend(self.pending.drain(..));
        self.shown.push(text);
        self.since = now;
    }

    /// Shows the next pending caption, if the newest has been shown for [`HOLD`].
    pub fn advance(&mut self, now: Instant) {
        if self.shown.is_empty() || now.saturating_duration_since(self.since) >= HOLD {
            if let Some(next) = self.pending.pop_front() {
                self.shown.push(next);
                self.since = now;
            }
        }
    }

    /// Returns whether all captions have been shown for [`HOLD`].
    pub fn are_read(&self, now: Instant) -> bool {
        self.pending.is_empty() && now.saturating_duration_since(self.since) >= HOLD
    }

    /// Returns the captions on the screen, the newest last.
    pub fn shown(&self) -> &[String] {
        &self.shown
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn captions_that_come_together_are_shown_two_seconds_each_and_a_key_at_once() {
        let start = Instant::now();
        let at = |seconds: u64| start + Duration::from_secs(seconds);
        let mut captions = Captions::new(start);
        for text in ["one", "two", "three"] {
            captions.add(text.to_owned(), start);
        }
        assert_eq!(captions.shown(), ["one"]);
        captions.advance(start + Duration::from_millis(1999));
        assert_eq!(captions.shown(), ["one"]);
        captions.advance(at(2));
        captions.advance(at(3));
        assert_eq!(captions.shown(), ["one", "two"]);
        captions.interrupt("key".to_owned(), at(3));
        assert_eq!(captions.shown(), ["one", "two", "three", "key"]);
        assert!(!captions.are_read(at(4)) && captions.are_read(at(5)));
    }
}
