//! The page while the power button is held, or nodes are shutting down.

use super::Topic;
use crate::event::Report;
use crate::facts::Facts;
use crate::facts::host::power::Power;

/// Returns `HOLD TO POWER OFF 3`, counting down, then `POWERING OFF`.
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

/// Returns `rpi3 STILL UP 25`. Several nodes take turns of two seconds; if text and seconds do not
/// fit together, they alternate.
fn still_up(report: &Report) -> Topic {
    let Report { waiting, left_s, head, .. } = report;
    let turn = usize::try_from(left_s / 2).unwrap_or(0) % waiting.len().max(1);
    let Some(name) = waiting.get(turn) else {
        let wordings =
            if *head { ["POWERING OFF", "OFF NOW"] } else { ["NODES ARE OFF", "ALL OFF"] };
        return Topic::wordings(wordings);
    };
    let short = if left_s % 2 == 0 { "STILL UP".to_owned() } else { format!("UP {left_s} s") };
    let whole = [format!("{name} STILL UP {left_s}"), format!("{name} {short}")];
    // Shortened at the front, because names often differ at their end only.
    let cut = (0..name.len()).filter_map(|at| Some(format!("{} UP", name.get(at..)?)));
    Topic::wordings(whole.into_iter().chain(cut))
}
