//! What the LEDs say.

use crate::config::Settings;
use crate::decide::Desired;
use crate::decide::alert::node::health::{is_known_down, known_groups};
use crate::decide::alert::{Alert, Severity};
use crate::event::{Applied, Output};
use crate::facts::State;
use crate::facts::node::{NodeHealth, NodeState};
use crate::panel::{Colour, Pattern, Signal};

/// No stick has more LEDs than this: three channels of 64.
pub const MAX_LEDS: usize = 192;

const fn signal(colour: Colour, pattern: Pattern) -> Signal {
    Signal { colour, pattern }
}

/// Colour and rhythm of a severity: the rhythm alone tells them apart, for those who do not see the
/// colour.
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
        NodeHealth::Unknown | NodeHealth::Booting | NodeHealth::Maintenance => {
            of_severity(Severity::Notice)
        }
        NodeHealth::Degraded => of_severity(Severity::Warning),
        NodeHealth::Down => of_severity(Severity::Fault),
    }
}

/// One signal for each LED: the first is the cluster, the others are the nodes in the order of the
/// settings; at most [`MAX_LEDS`]. Where nodes outnumber the LEDs of a stick, an LED is a group, or
/// an equal share of the groups or nodes, and tells how the worst of them is.
///
/// Brightness, night and `led.animate = false` (the patterns stand still: for measurements) are the
/// indicator's: it is told the pattern all the same, and so is the status.
pub fn lights(_settings: &Settings, state: &State, desired: &Desired) -> Vec<Signal> {
    let urgency = desired.alerts.iter().map(Alert::urgency).max().unwrap_or(Severity::Ok);
    let cluster = of_severity(urgency);
    let nodes = state.nodes();
    let others = match leds(state) {
        Some(leds) if leds < nodes.total() => shared(state, leds),
        _ => nodes.iter().map(|node| of_node(reported(state, node))).take(MAX_LEDS - 1).collect(),
    };
    std::iter::once(cluster).chain(others).collect()
}

/// How many LEDs a stick has beside the cluster's; `None` while that is not known. A lamp of one
/// LED is told them all: it shows the first.
fn leds(state: &State) -> Option<usize> {
    match state.outputs().held(Output::Indicator) {
        Some(Applied::Indicator { leds, .. }) => {
            Some(usize::from(*leds).min(MAX_LEDS)).filter(|leds| *leds > 1).map(|leds| leds - 1)
        }
        _ => None,
    }
}

/// As many signals as there are LEDs, or groups; nodes without one are one group more.
fn shared(state: &State, leds: usize) -> Vec<Signal> {
    let nodes = state.nodes();
    let grouped = nodes.groups().iter().any(|counts| counts.total() > 0);
    let worst = if grouped {
        of_groups(state)
    } else {
        nodes.iter().map(|node| Some(reported(state, node))).collect()
    };
    let count = leds.min(worst.len()).max(1);
    let share = |led: usize| {
        worst.get(led * worst.len() / count..(led + 1) * worst.len() / count).unwrap_or_default()
    };
    let worst_in = |share: &[Option<NodeHealth>]| {
        share.iter().copied().flatten().max_by_key(|health| gravity(*health))
    };
    (0..count).map(|led| worst_in(share(led)).map_or(Signal::DARK, of_node)).collect()
}

/// How the worst of each group is, and of the nodes without one where there are any; `None` for a
/// group without nodes.
fn of_groups(state: &State) -> Vec<Option<NodeHealth>> {
    let nodes = state.nodes();
    let known = known_groups(state);
    let worst = |count: &dyn Fn(NodeHealth) -> usize, group: Option<usize>| {
        let there = NodeHealth::ALL.into_iter().filter(|health| count(*health) > 0);
        there
            .map(|health| eased(health, known.contains(&group)))
            .max_by_key(|health| gravity(*health))
    };
    let groups = nodes.groups();
    let mut all: Vec<Option<NodeHealth>> = groups
        .iter()
        .enumerate()
        .map(|(place, counts)| worst(&|health| counts.of(health), Some(place)))
        .collect();
    let grouped = |health: NodeHealth| groups.iter().map(|counts| counts.of(health)).sum::<usize>();
    let unknown_clients =
        worst(&|health| nodes.count(health).saturating_sub(grouped(health)), None);
    all.extend(unknown_clients.map(Some));
    all
}

/// A node's health as it alarms.
fn reported(state: &State, node: &NodeState) -> NodeHealth {
    eased(node.health, node.health == NodeHealth::Down && is_known_down(state, node))
}

/// A death that people know of alarms as much as a warning, as [`Alert::urgency`] has it.
fn eased(health: NodeHealth, known: bool) -> NodeHealth {
    if known && health == NodeHealth::Down { NodeHealth::Degraded } else { health }
}

/// What is worse has more of it.
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
