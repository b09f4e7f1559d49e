//! The ways that packets take: other programs' routing rules that lead them astray, and uplinks that stand in for another.

use std::collections::BTreeMap;
use std::net::IpAddr;

use ipnet::IpNet;

use super::{Alert, Severity, alert};
use crate::event::{Astray, Rule};
use crate::policy::subnet::Placement;
use crate::policy::{ROUTE_PROTOCOL, RULE_PREFERENCE};
use crate::state::State;

/// On the panel, where the rule that decides is not known.
pub const UNKNOWN_RULE: &str = "ROUTING RULE";

/// The last preference of ours; what comes after it finds nothing of ours left to do.
const LAST_PREFERENCE: u32 = RULE_PREFERENCE + 99;

/// For each rule of others that leads packets of the head's networks astray: which, and what to do.
pub fn rules(state: &State, placement: &Placement, raised: &mut Vec<Alert>) {
    let mut by_rule: BTreeMap<Option<&Rule>, Vec<&Astray>> = BTreeMap::new();
    for astray in state.astray() {
        by_rule.entry(culprit(state, astray)).or_default().push(astray);
    }
    for (rule, all) in by_rule {
        raised.push(rule_alert(state, placement, rule, &all));
    }
}

fn rule_alert(state: &State, placement: &Placement, rule: Option<&Rule>, all: &[&Astray]) -> Alert {
    let net = placement.address.trunc();
    let to_cluster = all.iter().any(|astray| is_cluster(state, astray));
    let mut selectors: Vec<String> = to_cluster.then(|| format!("to {net}")).into_iter().collect();
    for astray in all.iter().filter(|astray| !is_cluster(state, astray)) {
        let selector = astray.way.from.map(|from| format!("from {from}"));
        selectors.extend(selector.filter(|selector| !selectors.contains(selector)));
    }
    let what = match (to_cluster, selectors.len()) {
        (true, 1) => format!("takes what goes to the nodes' network {net}"),
        (true, _) => format!("takes what goes to the nodes' network {net}, and the head's answers to the venue"),
        (false, _) => "takes the head's answers to the venue".to_owned(),
    };
    let place = all.first().and_then(|astray| astray.by).and_then(|by| state.facts().link(by));
    let place = place.map_or_else(|| "refuses it".to_owned(), |link| format!("sends it by {}", link.name));
    let severity = if to_cluster { Severity::Fault } else { Severity::Warning };
    let Some(rule) = rule else {
        let text = format!("another program's routing rule {what} and {place}: look for it in `ip rule`");
        return alert(severity, "gateway-rule", text, UNKNOWN_RULE);
    };
    let preference = rule.preference;
    let table = if rule.table == 0 { String::new() } else { format!(" (table {})", rule.table) };
    let remedy = match preference.checked_sub(1).filter(|before| *before > 0) {
        // To the first of our rules: they know the way, also after another lease.
        Some(before) => {
            let commands: Vec<String> = selectors
                .iter()
                .map(|selector| format!("sudo ip rule add preference {before} {selector} goto {RULE_PREFERENCE}"))
                .collect();
            format!("lead that past it ({}), or give it a preference above {LAST_PREFERENCE}", commands.join(" && "))
        }
        None => format!("give it a preference above {LAST_PREFERENCE}"),
    };
    let text = format!("another program's routing rule {preference}{table} {what} and {place}: {remedy}");
    alert(severity, "gateway-rule", text, format!("RULE {preference}"))
}

/// It goes to the nodes, rather than from the head to the venue.
fn is_cluster(state: &State, astray: &Astray) -> bool {
    state.roles().cluster == Some(astray.way.leaves)
}

/// The rule of others that decided: the first that looks into that table, or, where nothing was found, the first that refuses.
fn culprit<'a>(state: &'a State, astray: &Astray) -> Option<&'a Rule> {
    let before_us = |rule: &&Rule| !rule.ipv6 && rule.protocol != ROUTE_PROTOCOL && rule.preference <= LAST_PREFERENCE;
    let mut rules: Vec<&Rule> =
        state.facts().rules().iter().filter(before_us).filter(|rule| takes(rule, astray)).collect();
    rules.retain(|rule| rule.preference > 0 || rule.table != LOCAL);
    let of_table = |table| rules.iter().find(|rule| rule.table == table).copied();
    match astray.table {
        Some(table) => of_table(table),
        None => of_table(0).or_else(|| rules.first().copied()),
    }
}

/// The table of the machine's own addresses.
const LOCAL: u32 = 255;

fn takes(rule: &Rule, astray: &Astray) -> bool {
    let holds = |net: Option<IpNet>, address: Option<IpAddr>| {
        net.is_none_or(|net| address.is_some_and(|address| net.contains(&address)))
    };
    holds(rule.destination, Some(astray.way.to.into())) && holds(rule.source, astray.way.from.map(IpAddr::V4))
}

/// The nodes go out by another uplink than the head, as the preferred one has no internet.
pub fn failover(state: &State, raised: &mut Vec<Alert>) {
    let name = |index| state.facts().link(index).map(|link| link.name.as_str());
    let (Some(by), Some(main)) = (state.detour(), state.main_exit()) else { return };
    let (Some(by), Some(port), true) = (name(by), name(main), state.has_no_internet(main)) else { return };
    let text = format!("{port} has no internet, so the nodes go out by {by}; the head itself still uses {port}");
    raised.push(alert(Severity::Notice, "uplink-failover", text, format!("NODES BY {by}")));
}

/// What keeps the nodes' traffic off another port, ahead of all rules of others.
pub fn around(state: &State) -> Option<String> {
    let (cluster, uplink) = (state.cluster_port()?, state.active()?.link.index);
    let others = state.facts().rules().iter().filter(|rule| !rule.ipv6 && rule.protocol != ROUTE_PROTOCOL);
    let first = others.map(|rule| rule.preference).filter(|preference| *preference > 0).min();
    let before = first.unwrap_or(u32::MAX).saturating_sub(1).clamp(1, LAST_PREFERENCE + 1);
    let table = crate::policy::TABLE_UPLINK + uplink;
    Some(format!("sudo ip rule add preference {before} iif {} lookup {table}", cluster.name))
}
