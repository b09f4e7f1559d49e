//! Changes to our ports by other programs that await repair, and retries of saving the ports'
//! previous state.

use std::time::Duration;

use super::port::Roles;
use crate::event::{Applied, Instant, LinkIndex, Output};
use crate::facts::context::Context;
use crate::facts::transition::Transition;

/// Retry interval for saving the ports' previous state; each change retries earlier.
const SAVE_RETRY: Duration = Duration::from_secs(60);

/// Holds the changes to our ports by other programs.
#[derive(Debug, Clone, Default)]
pub(super) struct Drift {
    /// Reported once repaired. Not before, as a vanishing interface is set down first.
    pending: Vec<(LinkIndex, String)>,
    /// When to retry saving the ports' previous state.
    save_at: Option<Instant>,
}

impl Drift {
    /// Returns whether a retry of saving is due, and clears it.
    pub fn take_due_save(&mut self, now: Instant) -> bool {
        self.save_at.take_if(|at| *at <= now).is_some()
    }

    /// Returns when saving is to be retried.
    pub fn next_deadline(&self) -> Option<Instant> {
        self.save_at
    }

    /// Notes that another program changed our configuration of a port.
    pub fn note(&mut self, context: Context<'_>, index: LinkIndex, what: String) {
        if context.repairs_drift() {
            self.pending.push((index, what));
        }
    }

    /// Forgets changes to former ports, which are not repaired.
    pub fn retain_ports(&mut self, roles: &Roles) {
        self.pending.retain(|(index, _)| roles.is_port(*index));
    }

    /// Processes a success of the ports' reconciler; returns what it has repaired.
    pub fn applied(&mut self, output: Output, applied: &Applied, now: Instant) -> Vec<Transition> {
        if output != Output::Link {
            return Vec::new();
        }
        let unsaved = matches!(applied, Applied::Link { unkept: Some(_) });
        self.save_at = unsaved.then(|| now + SAVE_RETRY);
        let repaired = std::mem::take(&mut self.pending).into_iter();
        repaired.map(|(_, what)| Transition::Disturbed { output, what, by: None }).collect()
    }
}
