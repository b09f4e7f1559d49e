//! What the LEDs show.

use crate::decide::Desired;
use crate::decide::alert::node::health::{is_known_down, known_groups};
use crate::decide::alert::{Alert, Severity};
use crate::event::{Applied, Output};
use crate::facts::Facts;
use crate::facts::node::{Counts, NodeHealth, NodeState};
use crate::panel::{Colour, Pattern, Signal};

/// LEDs of a stick, at most: three channels of 64.
pub const MAX_LEDS: usize = 192;

/// Returns a signal of this colour and rhythm.
const fn signal(colour: Colour, pattern: Pattern) -> Signal {
    Signal { colour, pattern }
}

/// Returns the colour and rhythm of a severity. The rhythm alone sets them apart, for those who do
/// not see the colour.
pub const fn of_severity(severity: Severity) -> Signal {
    match severity {
        Severity::Ok => signal(Colour::GREEN, Pattern::Breathe),
        Severity::Notice => signal(Colour::BLUE, Pattern::QuickBreathe),
        Severity::Warning => signal(Colour::AMBER, Pattern::DoubleBlink),
        Severity::Fault => signal(Colour::RED, Pattern::FastBlink),
    }
}

/// Returns the colour and rhythm of a node's health.
pub const fn of_node(health: NodeHealth) -> Signal {
    match health {
        NodeHealth::Up => of_severity(Severity::Ok),
        NodeHealth::Unknown | NodeHealth::Booting | NodeHealth::Maintenance => {
            of_severity(Severity::Notice)
        }
        NodeHealth::Degraded => of_severity(Severity::Warning),
        NodeHealth::Down => of_severity(Severity::Fault),
    }
}

/// Returns one signal for each LED: the first is the cluster, the others are the nodes in the order
/// of the settings; at most [`MAX_LEDS`]. Where nodes outnumber the LEDs of a stick, an LED is a
/// group, or an equal share of the groups or nodes, and shows the worst of them.
///
/// Brightness, night and `led.animate = false` (the patterns stand still: for measurements) are the
/// indicator's business: the pattern is the same, here and in the status.
pub fn lights(facts: &Facts, desired: &Desired) -> Vec<Signal> {
    let urgency = desired.alerts.iter().map(Alert::urgency).max().unwrap_or(Severity::Ok);
    let cluster = of_severity(urgency);
    let nodes = facts.nodes();
    let mut lights = Vec::with_capacity(MAX_LEDS.min(nodes.total() + 1));
    lights.push(cluster);
    match leds(facts) {
        Some(leds) if leds < nodes.total() => lights.extend(shared(facts, leds)),
        _ => {
            let shown = nodes.iter().map(|node| of_node(shown(facts, node)));
            lights.extend(shown.take(MAX_LEDS - 1));
        }
    }
    lights
}

/// Returns how many LEDs a stick has beside the cluster's; `None` while that is not known, and for
/// a lamp of one LED, which shows the first signal of all.
fn leds(facts: &Facts) -> Option<usize> {
    let Some(Applied::Indicator { leds, .. }) = facts.outputs().held(Output::Indicator) else {
        return None;
    };
    let leds = usize::from(*leds).min(MAX_LEDS);
    (leds > 1).then(|| leds - 1)
}

/// Returns as many signals as there are LEDs, or groups; nodes without one are one group more.
fn shared(facts: &Facts, leds: usize) -> Vec<Signal> {
    let nodes = facts.nodes();
    let grouped = nodes.groups().iter().any(|counts| counts.total() > 0);
    let healths = if grouped {
        of_groups(facts)
    } else {
        nodes.iter().map(|node| Some(shown(facts, node))).collect()
    };
    let count = leds.min(healths.len()).max(1);
    let bound = |led: usize| led * healths.len() / count;
    let shares = (0..count).map(|led| healths.get(bound(led)..bound(led + 1)).unwrap_or_default());
    // Dark where a share has no node.
    let signal = |share: &[_]| worst(share.iter().copied().flatten()).map_or(Signal::DARK, of_node);
    shares.map(signal).collect()
}

/// Returns the gravest of these.
fn worst(healths: impl Iterator<Item = NodeHealth>) -> Option<NodeHealth> {
    healths.max_by_key(|health| gravity(*health))
}

/// Returns how the worst of each group is, and of the nodes without one where there are any; `None`
/// for a group without nodes.
fn of_groups(facts: &Facts) -> Vec<Option<NodeHealth>> {
    let (nodes, known) = (facts.nodes(), known_groups(facts));
    let groups = nodes.groups();
    let of_group = |place: usize, counts: &Counts| {
        let known = known.contains(&Some(place));
        let there = NodeHealth::ALL.into_iter().filter(|health| counts.of(*health) > 0);
        worst(there.map(|health| eased(health, known)))
    };
    let mut all: Vec<Option<NodeHealth>> =
        groups.iter().enumerate().map(|(place, counts)| of_group(place, counts)).collect();
    let grouped = |health: NodeHealth| groups.iter().map(|counts| counts.of(health)).sum::<usize>();
    let without_group =
        NodeHealth::ALL.into_iter().filter(|health| nodes.count(*health) > grouped(*health));
    let known = known.contains(&None);
    all.extend(worst(without_group.map(|health| eased(health, known))).map(Some));
    all
}

/// Returns a node's health as it alarms.
fn shown(facts: &Facts, node: &NodeState) -> NodeHealth {
    eased(node.health, node.health == NodeHealth::Down && is_known_down(facts, node))
}

/// Returns a health as it alarms: one that is down and acknowledged as much as a warning, as
/// [`Alert::urgency`] has it.
fn eased(health: NodeHealth, acknowledged: bool) -> NodeHealth {
    if acknowledged && health == NodeHealth::Down { NodeHealth::Degraded } else { health }
}

/// Returns a rank: what is worse has a higher one.
const fn gravity(health: NodeHealth) -> u8 {
    match health {
        NodeHealth::Up => 0,
        NodeHealth::Maintenance => 1,
        NodeHealth::Booting => 2,
        NodeHealth::Unknown => 3,
        NodeHealth::Degraded => 4,
        NodeHealth::Down => 5,
    }
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
