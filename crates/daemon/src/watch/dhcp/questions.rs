//! What nodes ask all servers for on the wire, and our own server has logged nothing of: it should
//! hear as much.
//!
//! Wire and log are read by two tasks, each in its own time: on a busy machine either is late, by
//! any time. So no clock says which came first, only what is certain: what waits at the wire came
//! after it was read to its end, and if the log had no line since then, no line speaks of it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Counts what nodes ask all servers for on the wire since our own server last logged something of
/// that.
#[derive(Debug, Clone, Default)]
pub struct Questions(Arc<Mutex<Unheard>>);

/// Questions of which our server has logged nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Unheard {
    pub questions: u64,
    /// counts up with each line that it logs
    pub lines: u64,
}

impl Questions {
    fn lock(&self) -> MutexGuard<'_, Unheard> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts what was read from the wire, all of which came when our server had logged so many
    /// lines, or later. If it has logged another since, that may have been about them.
    pub(super) fn count(&self, more: u64, lines: u64) {
        let mut unheard = self.lock();
        if unheard.lines == lines {
            unheard.questions += more;
        }
    }

    /// Notes that our server has logged something, or has only just started.
    pub fn heard(&self) {
        let mut unheard = self.lock();
        *unheard = Unheard { questions: 0, lines: unheard.lines + 1 };
    }

    /// Returns what our server has logged nothing of until now.
    pub fn unheard(&self) -> Unheard {
        *self.lock()
    }
}
