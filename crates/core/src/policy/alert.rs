//! Alerts and how bad they are.

pub use crate::api::status::Severity;

/// Something a person should know.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Alert {
    pub severity: Severity,
    /// stable, begins with its subject: `node-down`, `uplink-portal`
    pub code: &'static str,
    /// one line for people, with the remedy where there is one
    pub text: String,
    /// few words for the LCD's second row: `CLASH 192.168.50`; the pages break it where a row is too short
    pub panel: String,
    /// people know of it: it is told, but alarms nobody any more
    pub acknowledged: bool,
}

impl Alert {
    /// What makes it the same alert later on: its text may hold figures that move.
    pub fn key(&self) -> String {
        format!("{} {}", self.code, self.panel)
    }

    /// How much it alarms: a fault that people know of as much as a warning.
    pub fn urgency(&self) -> Severity {
        if self.acknowledged { self.severity.min(Severity::Warning) } else { self.severity }
    }
}
