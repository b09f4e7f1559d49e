//! Alerts of outputs that could not be applied.

use crate::decide::alert::{Alert, AlertCode};
use crate::event::{ApplyErrorKind, Output};
use crate::facts::Facts;

/// Raises errors of the gateway's own outputs.
pub fn gateway(facts: &Facts, raised: &mut Vec<Alert>) {
    let outputs = [
        (Output::Firewall, AlertCode::GatewayNotLoaded),
        (Output::Link, AlertCode::GatewayLink),
        (Output::Routing, AlertCode::GatewayRouting),
    ];
    for (output, code) in outputs {
        // A missing port has an alert of its own.
        failed(facts, output, code, &[ApplyErrorKind::Absent, ApplyErrorKind::Waiting], raised);
    }
}

/// Raises errors of the panel and of the status socket. A panel that is not connected raises no
/// alert.
pub fn optional(facts: &Facts, raised: &mut Vec<Alert>) {
    let outputs = [
        (Output::Display, AlertCode::LcdError),
        (Output::Indicator, AlertCode::LedError),
        (Output::Status, AlertCode::HostStatusSocket),
    ];
    for (output, code) in outputs {
        failed(facts, output, code, &[ApplyErrorKind::Absent, ApplyErrorKind::Off], raised);
    }
}

/// Raises the output's error, unless its kind is no fault.
fn failed(
    facts: &Facts,
    output: Output,
    code: AlertCode,
    no_fault: &[ApplyErrorKind],
    raised: &mut Vec<Alert>,
) {
    let error = facts.outputs().error(output).filter(|error| !no_fault.contains(&error.kind));
    raised.extend(error.map(|error| Alert::whole(code, error.message.clone())));
}
