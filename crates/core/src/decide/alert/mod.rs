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
    /// One line of plain English, with the remedy where there is one.
    pub text: String,
    /// Short text for the LCD's second row: `CLASH 192.168.50`. Pages split it where a row is too
    /// short.
    pub panel: String,
    /// The operator has acknowledged it: it is shown, but no longer alarms.
    pub acknowledged: bool,
}

impl Alert {
    /// Returns an alert with its code's severity and panel text. The code's remedy, if any, follows
    /// `what`.
    pub fn new(code: AlertCode, subject: Subject, what: impl Into<String>) -> Self {
        // Not truncated: half a number would be another number. The pages make it fit.
        let panel = code.panel(&subject);
        Self::worded(code, subject, what, panel)
    }

    /// Returns an alert with a panel text that depends on more than its subject.
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

    /// Returns an alert of a code that is raised at most once.
    pub fn whole(code: AlertCode, what: impl Into<String>) -> Self {
        Self::new(code, Subject::Whole, what)
    }

    /// Returns an alert about a port of the head.
    pub fn of_port(code: AlertCode, port: &str, what: impl Into<String>) -> Self {
        Self::new(code, Subject::Port(port.to_owned()), what)
    }

    /// Returns the alert with a severity that depends on the facts.
    pub fn graded(self, severity: Severity) -> Self {
        Self { severity, ..self }
    }

    /// Returns the alert with a panel text that depends on more than its subject.
    pub fn shown_as(self, panel: impl Into<String>) -> Self {
        Self { panel: panel.into(), ..self }
    }

    /// Returns the identity of the alert across decisions.
    pub fn id(&self) -> AlertId {
        AlertId { code: self.code, subject: self.subject.clone() }
    }

    /// Returns the severity for lights and alarms: at most a warning once acknowledged.
    pub fn urgency(&self) -> Severity {
        if self.acknowledged { self.severity.min(Severity::Warning) } else { self.severity }
    }
}

/// Returns the first `limit` of `names`, and how many of `total` are not among them.
pub(crate) fn listed<S: AsRef<str>>(names: &[S], total: usize, limit: usize) -> String {
    let first: Vec<&str> = names.iter().take(limit).map(AsRef::as_ref).collect();
    let more = match total.saturating_sub(first.len()) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    format!("{}{more}", first.join(", "))
}
