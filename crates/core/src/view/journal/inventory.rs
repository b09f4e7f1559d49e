//! Records of who comes and goes, and of orders.

use super::{Kind, Record};
use crate::facts::Transition;
use crate::facts::node::NodeHealth;

/// `None`: it is about something else.
pub(super) fn record(transition: &Transition) -> Option<Record> {
    let worked_on =
        |name: &str, what: &str| Record::new(Kind::NodeDrained, format!("{name} {what}"));
    match transition {
        Transition::NodeFound { name, mac, address } => {
            let at = address.map(|address| format!(" at {address}")).unwrap_or_default();
            let board = mac.map(|mac| format!(" ({mac})")).unwrap_or_default();
            let record = Record::new(Kind::NodeFound, format!("{name}{board} was found{at}"))
                .with("NODE", name);
            Some(match address {
                Some(address) => record.with("ADDRESS", address),
                None => record,
            })
        }
        Transition::NodeForgotten { name } => Some(
            Record::new(Kind::NodeForgotten, format!("{name} is forgotten")).with("NODE", name),
        ),
        Transition::NodeHealth { name, to: NodeHealth::Maintenance, .. } => Some(
            worked_on(name, "is worked on: it raises no alarm")
                .with("NODE", name)
                .with("HEALTH", "maintenance"),
        ),
        Transition::NodeHealth {
            name,
            from: NodeHealth::Maintenance,
            to: to @ (NodeHealth::Unknown | NodeHealth::Up),
            ..
        } => Some(
            worked_on(name, "is worked on no longer").with("NODE", name).with("HEALTH", to.name()),
        ),
        _ => None,
    }
}
