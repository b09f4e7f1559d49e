//! What others undid of the ports and is being put back, and what could not be written down of how
//! they were before.

use std::time::Duration;

use crate::event::{Applied, ApplyReport, Instant, LinkIndex, Output};
use crate::facts::{Facts, Transition};

/// What could not be written down is tried again after this long, and with each change before.
const RECORD_AGAIN: Duration = Duration::from_secs(60);

/// See the module.
#[derive(Debug, Clone, Default)]
pub(crate) struct Drift {
    /// told when it has been put back, or never: an interface that goes is switched off first
    drifted: Vec<(LinkIndex, String)>,
    /// when to try again to write down how the ports were
    record_at: Option<Instant>,
}

impl Drift {
    pub fn record_is_due(&mut self, now: Instant) -> bool {
        self.record_at.take_if(|at| *at <= now).is_some()
    }

    pub fn deadline(&self) -> Option<Instant> {
        self.record_at
    }
}

impl Facts {
    /// Somebody undid our work on a port.
    pub(crate) fn note_undone(&mut self, index: LinkIndex, what: String) {
        if self.settings.gateway.enabled && self.stop.is_none() {
            self.drift.drifted.push((index, what));
        }
    }

    /// What was undone on ports that are none any more is not put back.
    pub(crate) fn forget_undone(&mut self) {
        self.drift.drifted.retain(|(index, _)| self.roles.is_port(*index));
    }

    pub(crate) fn apply_report(&mut self, report: &ApplyReport) -> Vec<Transition> {
        let mut transitions = self.outputs.apply(report);
        // The address that it waits for may be there now.
        let ports_set = report.output == Output::Link && report.result.is_ok();
        self.revisions.routing += u64::from(ports_set && self.outputs.is_waiting(Output::Routing));
        let routed = report.output == Output::Routing && report.result.is_ok();
        self.conntrack_orders += u64::from(routed && self.detour.takes_the_cut());
        if self.firewall.fight.is_some() {
            transitions
                .retain(|transitions| !matches!(transitions, Transition::RulesetApplied { .. }));
        }
        if let (Output::Link, Ok(applied)) = (report.output, &report.result) {
            let drifted = std::mem::take(&mut self.drift.drifted).into_iter();
            transitions.extend(drifted.map(|(_, what)| Transition::Disturbed {
                output: Output::Link,
                what,
                by: None,
            }));
            let unkept = matches!(applied, Applied::Link { unkept: Some(_) });
            self.drift.record_at = unkept.then(|| self.now + RECORD_AGAIN);
        }
        transitions
    }
}
