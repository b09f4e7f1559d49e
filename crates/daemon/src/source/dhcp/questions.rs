//! Whether our own server hears what nodes ask all servers for on the wire.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::time::Instant;

/// Counts the questions on the wire that our own server did not log. The wire is read with pauses, so an answer may be logged
/// before its question is counted: each question comes with the time after which it was sent.
#[derive(Debug, Clone, Default)]
pub struct Questions(Arc<Mutex<Counts>>);

#[derive(Debug, Default)]
struct Counts {
    unheard: u64,
    /// when our server last logged one
    logged: Option<Instant>,
}

impl Questions {
    /// Counts a question that was sent after `since`.
    pub fn asked(&self, since: Instant) {
        self.with(|counts| {
            if counts.logged.is_none_or(|logged| logged < since) {
                counts.unheard = counts.unheard.saturating_add(1);
            }
        });
    }

    /// Takes note that our server has logged a question at `now`: it hears.
    pub fn logged(&self, now: Instant) {
        self.with(|counts| *counts = Counts { unheard: 0, logged: Some(now) });
    }

    /// Returns how many questions in a row it did not log.
    pub fn unheard(&self) -> u64 {
        self.with(|counts| counts.unheard)
    }

    fn with<T>(&self, then: impl FnOnce(&mut Counts) -> T) -> T {
        then(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn questions_that_are_counted_after_their_answers_were_logged_are_heard() {
        let (questions, begin) = (Questions::default(), Instant::now());
        let at = |ms| begin + Duration::from_millis(ms);
        // Three nodes at once: the wire is read at 50 ms, when all of it has been answered.
        (1..=6).for_each(|ms| questions.logged(at(ms)));
        (0..6).for_each(|_| questions.asked(at(0)));
        assert_eq!(questions.unheard(), 0);
        // Later something drops what they send.
        (1..=3).for_each(|second| questions.asked(at(1000 * second)));
        assert_eq!(questions.unheard(), 3);
        questions.logged(at(4000));
        assert_eq!(questions.unheard(), 0);
    }
}
