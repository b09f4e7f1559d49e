//! What every component gets beside an event.

use crate::config::Settings;
use crate::event::Instant;

/// Holds what every component gets beside an event.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Context<'a> {
    pub settings: &'a Settings,
    /// Time of the event; components read no clock.
    pub now: Instant,
    pub stopping: bool,
}

impl Context<'_> {
    /// Returns whether changes by other programs are reverted.
    pub fn repairs_drift(&self) -> bool {
        self.settings.gateway.enabled && !self.stopping
    }
}
