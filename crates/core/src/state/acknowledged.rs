//! The alerts that people know of: they are still told, but alarm nobody any more.

use std::collections::BTreeSet;

use super::{State, Transition};

impl State {
    /// Keys of the alerts that people know of.
    pub fn acknowledged(&self) -> &BTreeSet<String> {
        &self.acknowledged
    }

    /// What people knew of when the daemon last ran.
    pub fn restore_acknowledged(&mut self, keys: BTreeSet<String>) {
        self.acknowledged = keys;
    }

    pub(super) fn apply_acknowledged(&mut self, keys: &BTreeSet<String>) -> Vec<Transition> {
        let news: Vec<String> = keys.difference(&self.acknowledged).cloned().collect();
        self.acknowledged.clone_from(keys);
        if news.is_empty() { Vec::new() } else { vec![Transition::Acknowledged { alerts: news }] }
    }
}
