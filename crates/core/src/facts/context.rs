//! What every component may know beside an event.

use crate::config::Settings;
use crate::event::Instant;

/// Holds what every component may know beside an event.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Context<'a> {
    pub settings: &'a Settings,
    /// When the event came: nothing here reads a clock.
    pub now: Instant,
    /// The daemon is about to end.
    pub stopping: bool,
}

impl Context<'_> {
    /// Returns whether what others undo of our work is put back.
    pub fn puts_back(&self) -> bool {
        self.settings.gateway.enabled && !self.stopping
    }
}
