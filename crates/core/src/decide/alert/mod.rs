//! Alerts: what users should know.

pub mod acknowledge;
mod cluster;
mod dhcp;
mod firewall;
mod forward;
mod host;
mod link;
pub mod node;
mod output;
pub mod raise;
pub mod routing;
mod share;
pub mod uplink;

pub use crate::event::alert::{AlertCode, AlertId, Part, Severity, Subject};

/// Something that the operator should know.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Alert {
    pub severity: Severity,
    pub code: AlertCode,
    pub subject: Subject,
    /// one line of plain English, with the remedy where there is one
    pub text: String,
    /// few words for the LCD's second row: `CLASH 192.168.50`; the pages break it where a row is
    /// too short
    pub panel: String,
    /// the operator knows of it: it is shown, but raises no alarm any more
    pub acknowledged: bool,
}

impl Alert {
    /// Returns an alert with its code's severity and words for the panel. A remedy that its code
    /// has follows `what`.
    pub fn new(code: AlertCode, subject: Subject, what: impl Into<String>) -> Self {
        // Not cut: half a number would be another number. The pages make it fit.
        let panel = code.panel(&subject);
        Self::worded(code, subject, what, panel)
    }

    /// Returns an alert whose words for the panel depend on more than its subject.
    pub fn worded(
        code: AlertCode,
        subject: Subject,
        what: impl Into<String>,
        panel: impl Into<String>,
    ) -> Self {
        let mut text = what.into();
        if let Some(remedy) = code.remedy() {
            text += ": ";
            text += remedy;
        }
        let (severity, panel) = (code.severity(), panel.into());
        Self { severity, code, subject, text, panel, acknowledged: false }
    }

    /// Returns an alert of a code that has no more than one at a time.
    pub fn whole(code: AlertCode, what: impl Into<String>) -> Self {
        Self::new(code, Subject::Whole, what)
    }

    /// Returns an alert about a port of the head.
    pub fn of_port(code: AlertCode, port: &str, what: impl Into<String>) -> Self {
        Self::new(code, Subject::Port(port.to_owned()), what)
    }

    /// Returns it with a severity that depends on the facts.
    pub fn graded(self, severity: Severity) -> Self {
        Self { severity, ..self }
    }

    /// Returns it with words for the panel that depend on more than its subject.
    pub fn shown_as(self, panel: impl Into<String>) -> Self {
        Self { panel: panel.into(), ..self }
    }

    /// Returns what makes it the same alert later on.
    pub fn id(&self) -> AlertId {
        AlertId { code: self.code, subject: self.subject.clone() }
    }

    /// Returns how much it alarms: an acknowledged fault as much as a warning.
    pub fn urgency(&self) -> Severity {
        if self.acknowledged { self.severity.min(Severity::Warning) } else { self.severity }
    }
}
