//! Counts broadcast DHCP requests on the wire that our own server should have received, but did not
//! log.
//!
//! Two tasks read wire and log, and on a busy machine either may lag by any time. So no clock
//! decides which came first, only this: packets queued in the socket arrived after its queue was
//! last empty, and if the log got no line since then, no line is about them.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Counts the requests since our own server last logged one; shared by the two tasks.
#[derive(Debug, Clone, Default)]
pub struct Questions(Arc<Mutex<Unheard>>);

/// Holds the number of requests that our server did not log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Unheard {
    pub questions: u64,
    /// Number of lines that the server has logged.
    pub lines: u64,
}

impl Questions {
    fn lock(&self) -> MutexGuard<'_, Unheard> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds requests that arrived when our server had logged `lines` lines or more. They are
    /// ignored if it has logged another line since, which may be about them.
    pub(super) fn count(&self, more: u64, lines: u64) {
        let mut unheard = self.lock();
        if unheard.lines == lines {
            unheard.questions += more;
        }
    }

    /// Resets the count: our server has logged a line, or has just started.
    pub fn heard(&self) {
        let mut unheard = self.lock();
        *unheard = Unheard { questions: 0, lines: unheard.lines + 1 };
    }

    /// Returns the current count.
    pub fn unheard(&self) -> Unheard {
        *self.lock()
    }
}
