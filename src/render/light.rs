//! What the LEDs say.

use crate::config::Settings;
use crate::panel::{Colour, Pattern, Signal};
use crate::policy::Desired;
use crate::policy::alert::Severity;
use crate::state::State;
use crate::state::node::NodeHealth;

/// No stick has more LEDs than this: three channels of 64.
pub const MAX_LEDS: usize = 192;

const fn signal(colour: Colour, pattern: Pattern) -> Signal {
    Signal { colour, pattern }
}

/// Colour and rhythm of a severity: the rhythm alone tells them apart, for those who do not see the colour.
pub const fn of_severity(severity: Severity) -> Signal {
    match severity {
        Severity::Ok => signal(Colour::GREEN, Pattern::Breathe),
        Severity::Notice => signal(Colour::BLUE, Pattern::QuickBreathe),
        Severity::Warning => signal(Colour::AMBER, Pattern::DoubleBlink),
        Severity::Fault => signal(Colour::RED, Pattern::FastBlink),
    }
}

/// Colour and rhythm of a node's health.
pub const fn of_node(health: NodeHealth) -> Signal {
    match health {
        NodeHealth::Up => of_severity(Severity::Ok),
        NodeHealth::Unknown | NodeHealth::Booting | NodeHealth::Maintenance => of_severity(Severity::Notice),
        NodeHealth::Degraded => of_severity(Severity::Warning),
        NodeHealth::Down => of_severity(Severity::Fault),
    }
}

/// One signal for each LED: the first is the cluster, the others are the nodes in the order of the settings; at most
/// [`MAX_LEDS`].
///
/// Brightness, night and `led.animate = false` (the patterns stand still: for measurements) are the indicator's: it is told
/// the pattern all the same, and so is the status.
pub fn lights(_settings: &Settings, state: &State, desired: &Desired) -> Vec<Signal> {
    let cluster = of_severity(desired.severity);
    let nodes = state.nodes().iter().map(|node| of_node(node.health));
    std::iter::once(cluster).chain(nodes).take(MAX_LEDS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Severity; 4] = [Severity::Ok, Severity::Notice, Severity::Warning, Severity::Fault];

    #[test]
    fn no_two_severities_share_a_rhythm_or_a_colour_and_none_stands_still() {
        for (place, severity) in ALL.into_iter().enumerate() {
            let this = of_severity(severity);
            assert!(this.pattern.period().is_some(), "{severity} stands still");
            for other in ALL.into_iter().skip(place + 1).map(of_severity) {
                assert_ne!(this.pattern, other.pattern);
                assert_ne!(this.colour, other.colour);
            }
        }
    }
}
