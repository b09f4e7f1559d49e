//! What the outputs reported of themselves.

use std::collections::BTreeMap;

use crate::event::{Applied, ApplyError, ApplyErrorKind, ApplyReport, Output};

use super::transition::Transition;

/// Reports of all outputs: the last of each kind.
#[derive(Debug, Clone, Default)]
pub struct Outputs {
    held: BTreeMap<Output, Applied>,
    errors: BTreeMap<Output, ApplyError>,
    /// times the rule set was put into the kernel since the start
    pub applied: u64,
}

impl Outputs {
    /// Takes a report in.
    pub fn apply(&mut self, report: &ApplyReport) -> Vec<Transition> {
        match &report.result {
            Ok(applied) => self.succeeded(report.output, applied),
            Err(error) => self.failed(report.output, error),
        }
    }

    fn succeeded(&mut self, output: Output, applied: &Applied) -> Vec<Transition> {
        let mut told = Vec::new();
        if self.errors.remove(&output).is_some_and(|error| !is_quiet(output, &error)) {
            told.push(Transition::OutputHealed { output });
        }
        match applied {
            Applied::Firewall { adopted, flow_table, owned, .. } => {
                self.applied += 1;
                told.push(Transition::RulesetApplied {
                    generation: self.applied,
                    adopted: *adopted,
                    flow_table: *flow_table,
                    owned: *owned,
                });
            }
            Applied::Conntrack { deleted } if *deleted > 0 => {
                told.push(Transition::ConntrackFlushed { deleted: *deleted });
            }
            _ => {}
        }
        self.held.insert(output, applied.clone());
        told
    }

    fn failed(&mut self, output: Output, error: &ApplyError) -> Vec<Transition> {
        let known = self.errors.insert(output, error.clone());
        if is_quiet(output, error) || known.as_ref() == Some(error) {
            return Vec::new();
        }
        vec![Transition::OutputFailed { output, message: error.message.clone() }]
    }

    /// The last success, also while it fails now.
    pub fn held(&self, output: Output) -> Option<&Applied> {
        self.held.get(&output)
    }

    pub fn error(&self, output: Output) -> Option<&ApplyError> {
        self.errors.get(&output)
    }

    /// It holds something and has not failed since.
    pub fn is_well(&self, output: Output) -> bool {
        self.held.contains_key(&output) && !self.errors.contains_key(&output)
    }
}

/// Whether it is no news: switched off, or a port that went while we were at it, whose end is told otherwise.
fn is_quiet(output: Output, error: &ApplyError) -> bool {
    error.kind == ApplyErrorKind::Off || error.kind == ApplyErrorKind::Absent && output.is_essential()
}
