//! Ports that no setting names, and what our own rules dropped.

use std::sync::Arc;

use super::{CheckContext, Finding};
use crate::clock;
use crate::event::{AlertCode, Dump, Event};
use crate::facts::Facts;

/// A port that has an address and no role is closed by the rules.
pub fn unknown_ports(context: &CheckContext<'_>) -> Vec<Finding> {
    if !context.settings.gateway.enabled {
        return Vec::new();
    }
    let mut state = Facts::new(Arc::new(context.settings.clone()), clock::now());
    let network = context.machine.network();
    for event in
        std::iter::once(Event::Dump(Dump::Begin)).chain(network).chain([Event::Dump(Dump::End)])
    {
        state.apply(&event, clock::now());
    }
    let ports = state.links().ports_without_role();
    let finding = |(link, held): (
        &crate::event::Link,
        &crate::facts::link::mirror::HeldAddress,
    )| {
        let port = &link.name;
        Finding::new(
            AlertCode::GatewayUnknownPort,
            format!(
                "{port} has the address {} and no role: the rules close it but for uplink.allow",
                held.address
            ),
            format!(
                "add \"{port}\" to uplink.interfaces if it leads to the venue, to gateway.trust if its network may reach head \
                 and nodes"
            ),
        )
    };
    ports.map(finding).collect()
}

/// What our rules dropped since they were loaded: most of it is what they are for.
pub fn drops(context: &CheckContext<'_>) -> Vec<Finding> {
    let dropped = context.machine.drops();
    if dropped.is_empty() {
        return Vec::new();
    }
    let each = dropped.iter().map(|(comment, packets)| {
        format!("{packets} ({})", comment.strip_prefix("bramblegate: ").unwrap_or(comment))
    });
    let text = format!(
        "packets that our own rules dropped since they were loaded: {}",
        each.collect::<Vec<_>>().join(", ")
    );
    let remedy = "if something does not get through and its number grows, it is that rule: bramblegate print ruleset --kernel";
    vec![Finding::new(AlertCode::GatewayDrops, text, remedy)]
}
