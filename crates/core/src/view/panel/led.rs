//! Signals of the LEDs.

use crate::decide::Desired;
use crate::decide::alert::node::health::{acknowledged_groups, is_down_acknowledged};
use crate::decide::alert::{Alert, Severity};
use crate::event::{Applied, Output};
use crate::facts::Facts;
use crate::facts::node::{Counts, NodeHealth, NodeState};
use crate::panel::{Colour, Pattern, Signal};

/// Maximum number of LEDs of a stick: three channels of 64.
pub const MAX_LEDS: usize = 192;

/// Returns a signal with this colour and pattern.
const fn signal(colour: Colour, pattern: Pattern) -> Signal {
    Signal { colour, pattern }
}

/// Returns the signal of a severity. The patterns differ too, for users who cannot distinguish the
/// colours.
pub const fn of_severity(severity: Severity) -> Signal {
    match severity {
        Severity::Ok => signal(Colour::GREEN, Pattern::Breathe),
        Severity::Notice => signal(Colour::BLUE, Pattern::QuickBreathe),
        Severity::Warning => signal(Colour::AMBER, Pattern::DoubleBlink),
        Severity::Fault => signal(Colour::RED, Pattern::FastBlink),
    }
}

/// Returns the signal of a node's health.
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

/// Returns one signal per LED: the first is the cluster, the others are the nodes in the order of
/// the settings; at most [`MAX_LEDS`]. If nodes outnumber the LEDs of a stick, an LED is a group,
/// or an equal share of the groups or nodes, and shows the worst of them.
///
/// Brightness, night and `led.animate = false` (steady light, for measurements) are applied by the
/// indicator: the pattern is the same here and in the status.
pub fn lights(facts: &Facts, desired: &Desired) -> Vec<Signal> {
    let urgency = desired.alerts.iter().map(Alert::urgency).max().unwrap_or(Severity::Ok);
    let cluster = of_severity(urgency);
    let nodes = facts.nodes();
    let mut lights = Vec::with_capacity(MAX_LEDS.min(nodes.total() + 1));
    lights.push(cluster);
    match leds(facts) {
        Some(leds) if leds < nodes.total() => lights.extend(shared_lights(facts, leds)),
        _ => {
            let shown = nodes.iter().map(|node| of_node(shown(facts, node)));
            lights.extend(shown.take(MAX_LEDS - 1));
        }
    }
    lights
}

/// Returns the number of a stick's LEDs for nodes; `None` while it is unknown, and for a single
/// LED, which shows the first signal.
fn leds(facts: &Facts) -> Option<usize> {
    let Some(Applied::Indicator { leds, .. }) = facts.outputs().held(Output::Indicator) else {
        return None;
    };
    let leds = usize::from(*leds).min(MAX_LEDS);
    (leds > 1).then(|| leds - 1)
}

/// Returns at most one signal per LED: groups, or nodes without groups, in equal shares. Nodes
/// without a group form one more group.
fn shared_lights(facts: &Facts, leds: usize) -> Vec<Signal> {
    let nodes = facts.nodes();
    let grouped = nodes.groups().iter().any(|counts| counts.total() > 0);
    let healths = if grouped {
        group_healths(facts)
    } else {
        nodes.iter().map(|node| Some(shown(facts, node))).collect()
    };
    let count = leds.min(healths.len()).max(1);
    let bound = |led: usize| led * healths.len() / count;
    let shares = (0..count).map(|led| healths.get(bound(led)..bound(led + 1)).unwrap_or_default());
    // A share without nodes is dark.
    let signal = |share: &[_]| worst(share.iter().copied().flatten()).map_or(Signal::DARK, of_node);
    shares.map(signal).collect()
}

/// Returns the most severe of these.
fn worst(healths: impl Iterator<Item = NodeHealth>) -> Option<NodeHealth> {
    healths.max_by_key(|health| rank(*health))
}

/// Returns the worst health of each group, and of the nodes without a group if there are any;
/// `None` for an empty group.
fn group_healths(facts: &Facts) -> Vec<Option<NodeHealth>> {
    let (nodes, acknowledged) = (facts.nodes(), acknowledged_groups(facts));
    let groups = nodes.groups();
    let of_group = |place: usize, counts: &Counts| {
        let acknowledged = acknowledged.contains(&Some(place));
        let present = NodeHealth::ALL.into_iter().filter(|health| counts.of(*health) > 0);
        worst(present.map(|health| led_health(health, acknowledged)))
    };
    let mut all: Vec<Option<NodeHealth>> =
        groups.iter().enumerate().map(|(place, counts)| of_group(place, counts)).collect();
    let grouped = |health: NodeHealth| groups.iter().map(|counts| counts.of(health)).sum::<usize>();
    let without_group =
        NodeHealth::ALL.into_iter().filter(|health| nodes.count(*health) > grouped(*health));
    let acknowledged = acknowledged.contains(&None);
    all.extend(worst(without_group.map(|health| led_health(health, acknowledged))).map(Some));
    all
}

/// Returns a node's health for the LED.
fn shown(facts: &Facts, node: &NodeState) -> NodeHealth {
    led_health(node.health, node.health == NodeHealth::Down && is_down_acknowledged(facts, node))
}

/// Returns a health for the LED: an acknowledged node that is down counts as a warning, as in
/// [`Alert::urgency`].
fn led_health(health: NodeHealth, acknowledged: bool) -> NodeHealth {
    if acknowledged && health == NodeHealth::Down { NodeHealth::Degraded } else { health }
}

/// Returns a rank that is higher for a worse health.
const fn rank(health: NodeHealth) -> u8 {
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
    fn severities_have_distinct_colours_and_moving_patterns() {
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
