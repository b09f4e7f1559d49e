//! The last reports of the outputs.

use super::transition::Transition;
use crate::event::{Applied, ApplyError, ApplyErrorKind, Event, Output, in_words};
use std::collections::BTreeMap;

/// Holds the last report of each output.
#[derive(Debug, Clone, Default)]
pub struct Outputs {
    held: BTreeMap<Output, Applied>,
    errors: BTreeMap<Output, ApplyError>,
    /// The transition was sent that this kernel drops connections which it cannot reject.
    drops_reported: bool,
    /// Number of times the rule set was loaded since the start.
    pub applied: u64,
}

impl Outputs {
    /// Processes a report. `fighting`: another program keeps removing our rules, so that loading
    /// them again is not reported.
    pub(super) fn handle(&mut self, event: &Event, fighting: bool) -> Vec<Transition> {
        let Event::Applied(report) = event else { return Vec::new() };
        let mut transitions = match &report.result {
            Ok(applied) => self.succeeded(report.output, applied),
            Err(error) => self.failed(report.output, error),
        };
        if fighting {
            transitions.retain(|change| !matches!(change, Transition::RulesetApplied { .. }));
        }
        transitions
    }

    fn succeeded(&mut self, output: Output, applied: &Applied) -> Vec<Transition> {
        let mut transitions = Vec::new();
        if self.errors.remove(&output).is_some_and(|error| !is_quiet(output, &error)) {
            transitions.push(Transition::OutputHealed { output });
        }
        match applied {
            Applied::Firewall { adopted, flow_table, rejects, owned, .. } => {
                self.applied += 1;
                let before = match self.held(output) {
                    Some(Applied::Firewall { flow_table, .. }) => *flow_table,
                    _ => None,
                };
                transitions.push(Transition::RulesetApplied {
                    generation: self.applied,
                    // Later rule sets replace the one of this run.
                    adopted: *adopted && self.applied == 1,
                    flow_table: flow_table.filter(|loaded| before != Some(*loaded)),
                    rejects: rejects.filter(|rejects| {
                        !rejects && !std::mem::replace(&mut self.drops_reported, true)
                    }),
                    owned: *owned,
                });
            }
            Applied::Display { blind: true, .. } if !self.is_blind(output) => {
                transitions.push(Transition::DisplayBlind)
            }
            Applied::Routing { drifted: true } => {
                let what = "the list of routing rules was changed or flushed".to_owned();
                transitions.push(Transition::Disturbed { output, what, by: None });
            }
            Applied::Conntrack { deleted } if *deleted > 0 => {
                transitions.push(Transition::ConntrackFlushed { deleted: *deleted });
            }
            _ => {}
        }
        self.held.insert(output, applied.clone());
        transitions
    }

    fn is_blind(&self, output: Output) -> bool {
        matches!(self.held(output), Some(Applied::Display { blind: true, .. }))
    }

    fn failed(&mut self, output: Output, error: &ApplyError) -> Vec<Transition> {
        let error = &ApplyError { kind: error.kind, message: in_words(&error.message) };
        let known = self.errors.insert(output, error.clone());
        if is_quiet(output, error) || known.as_ref() == Some(error) {
            return Vec::new();
        }
        vec![Transition::OutputFailed { output, message: error.message.clone() }]
    }

    /// Returns the last success, even if the output has failed since.
    pub fn held(&self, output: Output) -> Option<&Applied> {
        self.held.get(&output)
    }

    /// Returns whether dnsmasq runs: that was its last success, and it has not failed since.
    pub fn serves(&self) -> bool {
        matches!(self.held(Output::Dnsmasq), Some(Applied::Dnsmasq { .. }))
            && self.is_well(Output::Dnsmasq)
    }

    pub fn error(&self, output: Output) -> Option<&ApplyError> {
        self.errors.get(&output)
    }

    /// Returns whether it is waiting for another output.
    pub fn is_waiting(&self, output: Output) -> bool {
        self.error(output).is_some_and(|error| error.kind == ApplyErrorKind::Waiting)
    }

    /// Returns whether it has succeeded or failed at least once.
    pub fn has_answered(&self, output: Output) -> bool {
        self.held.contains_key(&output) || self.errors.contains_key(&output)
    }

    /// Returns whether its last report was a success.
    pub fn is_well(&self, output: Output) -> bool {
        self.held.contains_key(&output) && !self.errors.contains_key(&output)
    }
}

/// Returns whether an error is not reported: the output is switched off or waits for another one,
/// or its port vanished, which is reported elsewhere.
fn is_quiet(output: Output, error: &ApplyError) -> bool {
    match error.kind {
        ApplyErrorKind::Off | ApplyErrorKind::Waiting => true,
        ApplyErrorKind::Absent => output.is_essential(),
        _ => false,
    }
}
