//! What people know of, and for how long.

use std::collections::BTreeSet;
use std::time::Duration;

use super::Desired;
use super::alert::Alert;
use crate::state::State;

/// After the start the alerts of before need this long to be raised again: nothing is forgotten meanwhile.
const START_TIME: Duration = Duration::from_secs(60);

/// Alerts of nodes begin with this.
const OF_NODES: &str = "node-";

/// The keys of all that stands now, and of what people knew before.
pub fn everything(state: &State, desired: &Desired) -> BTreeSet<String> {
    desired.alerts.iter().map(Alert::key).chain(state.acknowledged().iter().cloned()).collect()
}

/// What is still to be known when some of it has cleared: what comes again is news. `None`: nothing has cleared.
pub fn remaining(state: &State, desired: &Desired) -> Option<BTreeSet<String>> {
    let known = state.acknowledged();
    if known.is_empty() || state.now().saturating_since(state.started()) < START_TIME {
        return None;
    }
    let mut standing: BTreeSet<String> = desired.alerts.iter().filter(|a| a.acknowledged).map(Alert::key).collect();
    if state.nodes_may_start() {
        // One that was down before may be so still: nobody can tell yet.
        standing.extend(known.iter().filter(|key| key.starts_with(OF_NODES)).cloned());
    }
    (standing != *known).then_some(standing)
}
