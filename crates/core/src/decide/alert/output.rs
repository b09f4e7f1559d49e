//! Alerts of outputs that do not hold what they should.

use crate::decide::alert::{Alert, AlertCode};
use crate::event::{ApplyErrorKind, Output};
use crate::facts::Facts;

/// Raises what keeps the gateway's own outputs from working.
pub fn gateway(facts: &Facts, raised: &mut Vec<Alert>) {
    let outputs = [
        (Output::Firewall, AlertCode::GatewayNotLoaded),
        (Output::Link, AlertCode::GatewayLink),
        (Output::Routing, AlertCode::GatewayRouting),
    ];
    for (output, code) in outputs {
        // A port that is not there has an alert of its own.
        failed(facts, output, code, &[ApplyErrorKind::Absent, ApplyErrorKind::Waiting], raised);
    }
}

/// Raises a panel that fails and a status socket that is not where it should be. A panel that is
/// not there raises no alert.
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

/// Raises the output's error, unless it is of a kind that is no fault.
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
