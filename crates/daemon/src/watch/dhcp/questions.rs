//! What nodes ask all servers for on the wire, and our own server has logged nothing of: it should
//! hear as much.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// What is read from the wire so soon after our server logged something may have been asked before:
/// it is read now and then only.
const AFTER_A_LINE: Duration = Duration::from_millis(500);

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
    logged: Option<Instant>,
}

impl Questions {
    fn lock(&self) -> MutexGuard<'_, Unheard> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts what was read from the wire just now.
    pub(super) fn count(&self, more: u64) {
        let mut unheard = self.lock();
        if unheard.logged.is_none_or(|at| at.elapsed() >= AFTER_A_LINE) {
            unheard.questions += more;
        }
    }

    /// Notes that our server has logged something, or has only just started.
    pub fn heard(&self) {
        let mut unheard = self.lock();
        *unheard = Unheard { questions: 0, lines: unheard.lines + 1, logged: Some(Instant::now()) };
    }

    /// Returns what our server has logged nothing of until now.
    pub fn unheard(&self) -> Unheard {
        *self.lock()
    }
}
