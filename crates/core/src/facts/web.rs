//! Where the status page is.

use crate::event::{Event, Web};

/// Holds what the status page's process reported of itself.
#[derive(Debug, Clone, Copy, Default)]
pub struct WebFacts {
    reported: Option<u16>,
}

impl WebFacts {
    /// Takes an event in.
    pub(super) fn handle(&mut self, event: &Event) {
        match event {
            Event::Web(Web::Listens(port)) => self.reported = Some(*port),
            Event::Web(Web::Absent) => self.reported = None,
            _ => {}
        }
    }

    /// Returns the port that was reported, wherever it is.
    pub(super) const fn reported(self) -> Option<u16> {
        self.reported
    }
}
