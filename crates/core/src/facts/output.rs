//! What the outputs reported of themselves.

use super::transition::Transition;
use crate::event::{Applied, ApplyError, ApplyErrorKind, Event, Output, in_words};
use std::collections::BTreeMap;

/// Holds the reports of all outputs: the last of each kind.
#[derive(Debug, Clone, Default)]
pub struct Outputs {
    held: BTreeMap<Output, Applied>,
    errors: BTreeMap<Output, ApplyError>,
    /// It has been reported that the kernel drops what it cannot reject.
    drops_reported: bool,
    /// Times the rule set was put into the kernel since the start.
    pub applied: u64,
}

impl Outputs {
    /// Takes a report in. `fighting`: others take our rules away as often as we put them back, so
    /// that it is no news that they were.
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
                    // Later ones replace our own.
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

    /// Returns the last success, also while it fails now.
    pub fn held(&self, output: Output) -> Option<&Applied> {
        self.held.get(&output)
    }

    /// Returns whether dnsmasq runs: its start was logged, and no stop since.
    pub fn serves(&self) -> bool {
        matches!(self.held(Output::Dnsmasq), Some(Applied::Dnsmasq { .. }))
            && self.is_well(Output::Dnsmasq)
    }

    pub fn error(&self, output: Output) -> Option<&ApplyError> {
        self.errors.get(&output)
    }

    /// Returns whether it could not do its work because another one had not.
    pub fn is_waiting(&self, output: Output) -> bool {
        self.error(output).is_some_and(|error| error.kind == ApplyErrorKind::Waiting)
    }

    /// Returns whether it has done its work once, or reported why it cannot.
    pub fn has_answered(&self, output: Output) -> bool {
        self.held.contains_key(&output) || self.errors.contains_key(&output)
    }

    /// Returns whether it holds something and has not failed since.
    pub fn is_well(&self, output: Output) -> bool {
        self.held.contains_key(&output) && !self.errors.contains_key(&output)
    }
}

/// Returns whether it is no news: switched off, waiting for another one, or a port that went while
/// we were at it, whose end is reported otherwise.
fn is_quiet(output: Output, error: &ApplyError) -> bool {
    match error.kind {
        ApplyErrorKind::Off | ApplyErrorKind::Waiting => true,
        ApplyErrorKind::Absent => output.is_essential(),
        _ => false,
    }
}
