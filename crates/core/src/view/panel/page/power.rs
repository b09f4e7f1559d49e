//! What stands there while the power button is held, and while nodes are shut down.

use super::Topic;
use crate::event::Report;
use crate::facts::Facts;
use crate::facts::host::power::Power;

/// Returns `HOLD TO POWER OFF 3`, counted down; then that it is done.
pub fn topic(facts: &Facts) -> Option<Topic> {
    if let Some(report) = facts.shutdown() {
        return Some(still_up(report));
    }
    match facts.power() {
        Power::Idle => None,
        Power::Held { left, .. } => Some(Topic::wordings([
            format!("HOLD TO POWER OFF {left}"),
            format!("POWER OFF IN {left}"),
            format!("OFF IN{left}"),
        ])),
        Power::Ordered { .. } => Some(Topic::wordings(["POWERING OFF", "OFF NOW"])),
    }
}

/// Returns `rpi3 STILL UP 25`, counted down. Of several nodes each has a second in turn.
fn still_up(report: &Report) -> Topic {
    let Report { waiting, left_s, .. } = report;
    let turn = usize::try_from(*left_s).unwrap_or(0) % waiting.len().max(1);
    match waiting.get(turn) {
        Some(name) => Topic::wordings([
            format!("{name} STILL UP {left_s}"),
            format!("{name} STILL UP"),
            format!("{name} UP {left_s}"),
            format!("{name} UP"),
            format!("{} UP {left_s}", report.waiting_total),
        ]),
        None if report.head => Topic::wordings(["POWERING OFF", "OFF NOW"]),
        None => Topic::wordings(["NODES ARE OFF", "ALL OFF"]),
    }
}
