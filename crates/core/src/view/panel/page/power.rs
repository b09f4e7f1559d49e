//! What stands there while the power button is held.

use super::Topic;
use crate::facts::Facts;
use crate::facts::host::power::Power;

/// Returns `HOLD TO POWER OFF 3`, counted down; then that it is done.
pub fn topic(facts: &Facts) -> Option<Topic> {
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
