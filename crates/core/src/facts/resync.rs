//! Outputs that must be reconciled again although their plan did not change.

use std::collections::BTreeSet;

use crate::event::Output;

/// Collects the outputs that another program changed, or whose plan must be applied once more. The
/// next plan wakes their reconcilers.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Resyncs(BTreeSet<Output>);

impl Resyncs {
    pub(super) fn note(&mut self, output: Output) {
        self.0.insert(output);
    }

    /// Adds the outputs that a component noted.
    pub(super) fn join(&mut self, noted: Self) {
        self.0.extend(noted.0);
    }

    pub fn contains(&self, output: Output) -> bool {
        self.0.contains(&output)
    }
}
