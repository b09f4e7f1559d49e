//! Which outputs are to look at the kernel again, though what they should hold is what it was.

use std::collections::BTreeSet;

use crate::event::Output;

/// Holds the outputs of which others undid something, or whose order is to be carried out once
/// more. A component notes them where it sees that; with the next plan their reconcilers are rung.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Resyncs(BTreeSet<Output>);

impl Resyncs {
    /// Notes an output.
    pub(super) fn note(&mut self, output: Output) {
        self.0.insert(output);
    }

    /// Adds what a component noted.
    pub(super) fn join(&mut self, noted: Self) {
        self.0.extend(noted.0);
    }

    /// Returns whether the output's reconciler is to look again.
    pub fn contains(&self, output: Output) -> bool {
        self.0.contains(&output)
    }
}
