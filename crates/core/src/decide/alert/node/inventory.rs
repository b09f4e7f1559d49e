//! Alerts of boards with a wrong place, address or name.

use std::collections::BTreeMap;

use super::NAMED;
use crate::decide::alert::{Alert, AlertCode, Severity, Subject, listed};
use crate::event::Mac;
use crate::facts::Facts;
use crate::facts::node::{NameConflict, NodeState, Nodes, Origin, WrongDevice};

/// Raises boards in another's place, or with another's address or name.
pub fn alerts(facts: &Facts, raised: &mut Vec<Alert>) {
    let nodes = facts.nodes();
    raised.extend(nodes.misplaced().take(NAMED).map(|misplaced| swapped(&misplaced)));
    raised.extend(duplicate_addresses(nodes));
    raised.extend(name_conflicts(nodes));
    raised.extend(named_as_the_head(facts));
    raised.extend(flood(facts));
}

/// Returns the alerts that a device keeps changing its hardware address or its host name.
fn flood(facts: &Facts) -> Vec<Alert> {
    let Some(flood) = facts.nodes().flood(facts.now()) else { return Vec::new() };
    let unknown_clients = flood.unknown_clients.map(|count| unknown_clients(facts, count));
    let name_flapping = flood.restless.map(|mac| name_flapping(facts, mac));
    unknown_clients.into_iter().chain(name_flapping).collect()
}

/// Returns the alert that `count` or more boards are seen but not listed, because the limit is
/// reached.
fn unknown_clients(facts: &Facts, count: u64) -> Alert {
    let port = facts.cluster_port().map_or("the cluster interface", |port| &port.name);
    let most = Nodes::most_found(facts.settings());
    let text = format!(
        "{port} is flooded from unknown hardware addresses: {count} or more are not listed, \
         because the limit is {most}. Find their cable (the switch's lights, its address table, \
         tcpdump -i {port} -e arp) and unplug it. Nodes in the settings and nodes with a lease \
         are not affected"
    );
    Alert::of_port(AlertCode::NodeFlood, port, text)
}

/// Returns the alert that a board keeps changing its host name.
fn name_flapping(facts: &Facts, mac: Mac) -> Alert {
    let name = facts.nodes().by_mac(mac).map_or_else(|| mac.to_string(), |node| node.name.clone());
    let text = format!(
        "{name} ({mac}) keeps changing its host name: check its DHCP client, or name it with \
         `bramblegate nodes adopt`"
    );
    // The name is what changes, so the panel shows the hardware address.
    Alert::new(AlertCode::NodeFlood, Subject::Board(mac), text).shown_as(format!("NAMES {mac}"))
}

/// Returns the alert that a configured node has the head's host name: the head may have been
/// renamed after the settings were checked.
fn named_as_the_head(facts: &Facts) -> Option<Alert> {
    let label = facts.vitals().host_name.split('.').next().unwrap_or_default();
    let node = facts.nodes().by_name(label).filter(|node| node.origin == Origin::Settings)?;
    let text = format!("{} is the head's own host name", node.name);
    Some(Alert::new(AlertCode::NodeNamedAsHead, Subject::Node(node.name.clone()), text))
}

/// Returns the alert that a board replies at the address of another node.
fn swapped(misplaced: &WrongDevice<'_>) -> Alert {
    let WrongDevice { address, mac, owner, node } = misplaced;
    let wanted = owner.configured_mac.map_or_else(String::new, |mac| mac.to_string());
    let text = match node.filter(|node| node.origin == Origin::Settings) {
        Some(node) => format!(
            "{address} belongs to {}, but the board of {} ({mac}) answers there, so the two seem \
             swapped: put them back, or exchange their mac in the settings",
            owner.name, node.name
        ),
        None => format!(
            "{address} belongs to {}, but another board ({mac}, not {wanted}) answers there: if \
             it replaces the old one, write its mac into the settings; if not, give it another \
             address",
            owner.name
        ),
    };
    Alert::new(AlertCode::NodeSwapped, Subject::Node(owner.name.clone()), text)
}

/// Returns the alerts about addresses that two boards have, up to [`NAMED`].
fn duplicate_addresses(nodes: &Nodes) -> impl Iterator<Item = Alert> + '_ {
    nodes.address_conflicts().take(NAMED).map(|(address, conflict)| {
        let (one, other) = conflict.boards;
        let text = format!("two boards have the address {address} ({one} and {other})");
        Alert::new(AlertCode::NodeDuplicateAddress, Subject::Address(address), text)
    })
}

/// Returns one alert per name, however many boards claim it: fresh systems share a default name.
fn name_conflicts(nodes: &Nodes) -> Vec<Alert> {
    let mut by_name: BTreeMap<&str, (NameConflict<'_>, Vec<&NodeState>)> = BTreeMap::new();
    for conflict in nodes.name_conflict() {
        let name = conflict.holder.map_or(conflict.wanted, |holder| &holder.name);
        let node = conflict.node;
        by_name.entry(name).or_insert_with(|| (conflict, Vec::new())).1.push(node);
    }
    let first = by_name.into_iter().take(NAMED);
    first.map(|(name, (conflict, others))| name_taken(name, &conflict, &others)).collect()
}

/// Returns the alert that `others` claim a name that is taken.
fn name_taken(name: &str, conflict: &NameConflict<'_>, others: &[&NodeState]) -> Alert {
    let names: Vec<&str> = others.iter().take(NAMED).map(|node| node.name.as_str()).collect();
    let listed = listed(&names, others.len(), NAMED);
    let whose = match conflict.holder {
        Some(_) => "",
        None if conflict.is_heads => " (the head's own name)",
        None => " (kept for a board that is away)",
    };
    let text = format!(
        "{} more call themselves {name}{whose} and are listed as {listed}: give each its own host \
         name, or name it with `bramblegate nodes rename`",
        others.len()
    );
    // Between boards that are not configured it is only untidy.
    let named = conflict.holder.is_some_and(|holder| holder.origin == Origin::Settings);
    let severity = if named { Severity::Warning } else { Severity::Notice };
    Alert::new(AlertCode::NodeDuplicateName, Subject::Node(name.to_owned()), text).graded(severity)
}
