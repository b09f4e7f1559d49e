//! What the demo says, at a pace that can be read.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Each caption is the newest for so long.
const HOLD: Duration = Duration::from_secs(2);

/// The captions on the screen, and those that wait until the newest has been read.
#[derive(Debug)]
pub struct Captions {
    shown: Vec<String>,
    pending: VecDeque<String>,
    /// When the newest came.
    since: Instant,
}

impl Captions {
    pub fn new(now: Instant) -> Self {
        Self { shown: Vec::new(), pending: VecDeque::new(), since: now }
    }

    /// Adds a caption behind those that wait.
    pub fn add(&mut self, text: String, now: Instant) {
        self.pending.push_back(text);
        self.advance(now);
    }

    /// Shows a caption at once: a key was pressed. What waits is shown before it.
    pub fn interrupt(&mut self, text: String, now: Instant) {
        self.shown.extend(self.pending.drain(..));
        self.shown.push(text);
        self.since = now;
    }

    /// Shows the next one, if the newest has been read.
    pub fn advance(&mut self, now: Instant) {
        if self.shown.is_empty() || now.saturating_duration_since(self.since) >= HOLD {
            if let Some(next) = self.pending.pop_front() {
                self.shown.push(next);
                self.since = now;
            }
        }
    }

    /// Returns whether all have been shown for long enough.
    pub fn are_read(&self, now: Instant) -> bool {
        self.pending.is_empty() && now.saturating_duration_since(self.since) >= HOLD
    }

    /// Returns those on the screen, the newest last.
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
