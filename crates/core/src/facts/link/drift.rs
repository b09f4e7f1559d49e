//! External changes to our ports that await repair, and what could not be written down of how they
//! were before.

use std::time::Duration;

use super::port::Roles;
use crate::event::{Applied, Instant, LinkIndex, Output};
use crate::facts::context::Context;
use crate::facts::transition::Transition;

/// What could not be written down is tried again after this long, and with each change before.
const RECORD_AGAIN: Duration = Duration::from_secs(60);

/// Holds what others undid of the ports.
#[derive(Debug, Clone, Default)]
pub(super) struct Drift {
    /// Reported when it has been put back, or never: an interface that goes is switched off first.
    undone: Vec<(LinkIndex, String)>,
    /// When to try again to write down how the ports were.
    record_at: Option<Instant>,
}

impl Drift {
    /// Returns once that it is time to try again to write down how the ports were.
    pub fn record_is_due(&mut self, now: Instant) -> bool {
        self.record_at.take_if(|at| *at <= now).is_some()
    }

    /// Returns the next moment at which time alone changes something.
    pub fn next_deadline(&self) -> Option<Instant> {
        self.record_at
    }

    /// Notes that another program undid our work on a port.
    pub fn note(&mut self, context: Context<'_>, index: LinkIndex, what: String) {
        if context.puts_back() {
            self.undone.push((index, what));
        }
    }

    /// Forgets what was undone on ports that are none any more: it is not put back.
    pub fn retain_ports(&mut self, roles: &Roles) {
        self.undone.retain(|(index, _)| roles.is_port(*index));
    }

    /// Takes in that an output holds what it should; returns what has been put back with it.
    pub fn applied(&mut self, output: Output, applied: &Applied, now: Instant) -> Vec<Transition> {
        if output != Output::Link {
            return Vec::new();
        }
        let unkept = matches!(applied, Applied::Link { unkept: Some(_) });
        self.record_at = unkept.then(|| now + RECORD_AGAIN);
        let undone = std::mem::take(&mut self.undone).into_iter();
        undone.map(|(_, what)| Transition::Disturbed { output, what, by: None }).collect()
    }
}
