//! Forwarded ports that a program of the head listens on as well.

use super::sockets::listeners;
use super::{Finding, Patient};
use crate::config::Transport;
use crate::policy::forwards::{name, target};

/// Who listens where a forward takes what comes from the venue.
pub fn hidden_listeners(patient: &Patient<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    if patient.settings.forwards.is_empty() {
        return findings;
    }
    let listeners = listeners(patient.machine);
    for forward in &patient.settings.forwards {
        let tcp = forward.transport == Transport::Tcp;
        let here = listeners
            .iter()
            .find(|listener| listener.tcp == tcp && listener.port == forward.listen && !listener.address.is_loopback());
        let Some(listener) = here else { continue };
        let who = listener.owner(patient.machine).unwrap_or_else(|| "a program".to_owned());
        let (port, to) = (name(forward), target(forward));
        findings.push(Finding::new(
            "node-forward-hides",
            format!("{who} listens on {port} of the head, but for the venue that port leads to {to}: the forward wins"),
            "if the venue is to reach that program, choose another forward.listen",
        ));
    }
    findings
}
