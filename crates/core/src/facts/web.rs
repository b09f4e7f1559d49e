//! The port of the status page.

use crate::event::{Event, Web};

/// Holds the TCP port that the status page's process reported.
#[derive(Debug, Clone, Copy, Default)]
pub struct WebFacts {
    reported: Option<u16>,
}

impl WebFacts {
    pub(super) fn handle(&mut self, event: &Event) {
        match event {
            Event::Web(Web::Listens(port)) => self.reported = Some(*port),
            Event::Web(Web::Absent) => self.reported = None,
            _ => {}
        }
    }

    /// Returns the reported port, whether or not the settings allow it.
    pub(super) const fn reported(self) -> Option<u16> {
        self.reported
    }
}
