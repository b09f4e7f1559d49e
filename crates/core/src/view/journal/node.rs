//! Records of nodes: discovery, removal, health, maintenance.

use super::{Kind, Record};
use crate::facts::Transition;
use crate::facts::node::{NodeHealth, Trouble};

/// Returns the record of a node's transition; `None` for any other.
pub(super) fn record(transition: &Transition) -> Option<Record> {
    match transition {
        Transition::NodeFound { name, mac, address } => {
            let at = address.map(|address| format!(" at {address}")).unwrap_or_default();
            let board = mac.map(|mac| format!(" ({mac})")).unwrap_or_default();
            let record = Record::new(Kind::NodeFound, format!("{name}{board} was found{at}"));
            Some(record.with("NODE", name).with_known("ADDRESS", *address))
        }
        Transition::NodeForgotten { name } => Some(
            Record::new(Kind::NodeForgotten, format!("{name} is forgotten")).with("NODE", name),
        ),
        Transition::NodeHealth { name, from, to, why } => health(name, *from, *to, *why),
        _ => None,
    }
}

/// Returns the record of a node's new health; `None` if it is not worth one.
fn health(name: &str, from: NodeHealth, to: NodeHealth, why: Option<Trouble>) -> Option<Record> {
    let (kind, message) = match (from, to) {
        (_, NodeHealth::Maintenance) => {
            (Kind::NodeDrained, format!("{name} is in maintenance: alerts are muted"))
        }
        (NodeHealth::Maintenance, NodeHealth::Unknown | NodeHealth::Up) => {
            (Kind::NodeDrained, format!("{name} is no longer in maintenance"))
        }
        (_, NodeHealth::Unknown) => return None,
        (NodeHealth::Down, NodeHealth::Up) => (Kind::NodeUp, format!("{name} is up again")),
        (_, NodeHealth::Up) => (Kind::NodeUp, format!("{name} is up")),
        (_, NodeHealth::Down) => (Kind::NodeDown, format!("{name} is down")),
        (_, NodeHealth::Booting) => (Kind::NodeBooting, format!("{name} is booting")),
        (_, NodeHealth::Degraded) => {
            (Kind::NodeDegraded, format!("{name} is degraded{}", trouble(why)))
        }
    };
    Some(Record::new(kind, message).with("NODE", name).with("HEALTH", to.name()))
}

/// Returns why a node is degraded, as the end of a sentence.
const fn trouble(why: Option<Trouble>) -> &'static str {
    match why {
        Some(Trouble::Flapping) => ": it goes down and comes back again and again",
        Some(Trouble::Lossy) => ": it leaves many probes unanswered",
        Some(Trouble::Slow) => ": it answers slowly",
        None => "",
    }
}
