//! What people know of, and for how long.

use std::collections::BTreeSet;
use std::time::Duration;

use super::Desired;
use super::alert::Alert;
use super::alerts::nodes;
use crate::state::State;

/// After the start the alerts of before need this long to be raised again: what was not is not forgotten meanwhile.
const START_TIME: Duration = Duration::from_secs(60);

/// Alerts of nodes begin with this.
const OF_NODES: &str = "node-";

/// The keys of all that stands now, and of what people knew before.
pub fn everything(state: &State, desired: &Desired) -> BTreeSet<String> {
    BTreeSet::from_iter(standing(state, desired).chain(state.acknowledged().iter().cloned()))
}

/// An alert of many nodes stands for each of them: one that returns makes it another alert, but no news.
fn standing<'d>(state: &'d State, desired: &'d Desired) -> impl Iterator<Item = String> + 'd {
    let others = desired.alerts.iter().filter(|alert| !nodes::OF_NODES.contains(&alert.code));
    others.map(Alert::key).chain(nodes::keys(state))
}

/// What was known before the start and has not been raised since: it is waited for.
#[derive(Debug, Default)]
pub struct Awaited(BTreeSet<String>);

impl Awaited {
    /// With the keys that were kept from before.
    pub fn new(restored: BTreeSet<String>) -> Self {
        Self(restored)
    }

    /// What is still to be known when some of it has cleared: what comes again is news. `None`: nothing has cleared.
    pub fn remaining(&mut self, state: &State, desired: &Desired) -> Option<BTreeSet<String>> {
        let known = state.acknowledged();
        if known.is_empty() {
            return None;
        }
        let mut remaining = BTreeSet::from_iter(standing(state, desired).filter(|key| known.contains(key)));
        let starting = state.now().saturating_since(state.started()) < START_TIME;
        // A node that was down before may be so still: while it is awaited nobody can tell.
        let awaited = state.nodes_may_start();
        let is_waited_for = |key: &str| starting || (awaited && key.starts_with(OF_NODES));
        self.0.retain(|key| is_waited_for(key) && !remaining.contains(key));
        remaining.extend(self.0.intersection(known).cloned());
        (remaining != *known).then_some(remaining)
    }
}
