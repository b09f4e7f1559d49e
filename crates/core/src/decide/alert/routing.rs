//! The ways that packets take: other programs' routing rules that lead them astray, and uplinks
//! that stand in for another.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};

use ipnet::IpNet;

use super::raise::of_port;
use crate::decide::alert::Alert;
use crate::decide::alert::{Severity, Subject};
use crate::decide::cluster::Placement;
use crate::decide::{ROUTE_PROTOCOL, RULE_PREFERENCE};
use crate::event::alert::AlertCode;
use crate::event::{Astray, Rule};
use crate::facts::State;
use crate::facts::link::mirror::TABLE_MAIN;

/// The last preference of ours; what comes after it finds nothing of ours left to do.
const LAST_PREFERENCE: u32 = RULE_PREFERENCE + 99;

/// For each rule of others that leads packets of the head's networks astray: which, and what to do.
pub fn rules(state: &State, placement: &Placement, raised: &mut Vec<Alert>) {
    let mut by_rule: BTreeMap<Option<&Rule>, Vec<&Astray>> = BTreeMap::new();
    let mut twice = BTreeSet::new();
    // Where the nodes' own packets are refused, so is what answers them (rp_filter):
    // `uplink-no-exit` says so.
    let refused = state.vitals().way_out == Some(None);
    let unsaid = state
        .astray()
        .iter()
        .filter(|astray| !(refused && astray.by.is_none() && astray.way.enters.is_some()));
    for astray in unsaid {
        if let Some(same) = held_twice(state, astray) {
            twice.insert(same);
            continue;
        }
        by_rule.entry(culprit(state, astray)).or_default().push(astray);
    }
    for (rule, all) in by_rule {
        raised.push(rule_alert(state, placement, rule, &all));
    }
    for (address, used, unused) in twice {
        let text = format!(
            "{used} and {unused} have the same address {address}, so the head answers by {used} \
             only: pull one of the two, or ask one venue for another address"
        );
        raised.push(of_port(AlertCode::UplinkAddressTaken, unused, text));
    }
}

/// Returns an address that two uplinks have, the one by which its answers leave, and the other.
fn held_twice<'a>(state: &'a State, astray: &Astray) -> Option<(Ipv4Addr, &'a str, &'a str)> {
    let (from, by) = (astray.way.from?, astray.by?);
    let holds =
        state.facts().addresses(by).iter().any(|held| held.address.addr() == IpAddr::V4(from));
    let uplinks = &state.roles().uplinks;
    let name = |index| state.facts().link(index).map(|link| link.name.as_str());
    let both = holds && uplinks.contains(&by) && uplinks.contains(&astray.way.leaves);
    both.then_some(())?;
    Some((from, name(by)?, name(astray.way.leaves)?))
}

/// What brings the rule for the main table back, where none is left: a script that flushes all
/// rules does that.
pub fn main_table(state: &State) -> Option<&'static str> {
    let rules = || {
        state.facts().rules().iter().filter(|rule| !rule.ipv6 && rule.protocol != ROUTE_PROTOCOL)
    };
    let leads = |table| rules().any(|rule| rule.table == table && rule.suppress.is_none());
    // A flush leaves the one for the machine's own addresses.
    (leads(LOCAL) && !leads(TABLE_MAIN)).then_some("sudo ip rule add preference 32766 lookup main")
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
        (true, _) => format!(
            "takes what goes to the nodes' network {net}, and the head's answers to the venue"
        ),
        (false, _) => "takes the head's answers to the venue".to_owned(),
    };
    let place = all.first().and_then(|astray| astray.by).and_then(|by| state.facts().link(by));
    let place =
        place.map_or_else(|| "refuses it".to_owned(), |link| format!("sends it by {}", link.name));
    let severity = if to_cluster { Severity::Fault } else { Severity::Warning };
    let Some(rule) = rule else {
        let text =
            format!("another program's routing rule {what} and {place}: look for it in `ip rule`");
        return Alert::new(AlertCode::GatewayRule, Subject::Whole, text)
            .graded(severity)
            .shown_as("ROUTING RULE");
    };
    let preference = rule.preference;
    let table = if rule.table == 0 { String::new() } else { format!(" (table {})", rule.table) };
    let remedy = match preference.checked_sub(1).filter(|before| *before > 0) {
        // To the first of our rules: they know the way, also after another lease.
        Some(before) => {
            let commands: Vec<String> = selectors
                .iter()
                .map(|selector| {
                    format!(
                        "sudo ip rule add preference {before} {selector} goto {RULE_PREFERENCE}"
                    )
                })
                .collect();
            format!(
                "lead that past it ({}), or give it a preference above {LAST_PREFERENCE}",
                commands.join(" && ")
            )
        }
        None => format!("give it a preference above {LAST_PREFERENCE}"),
    };
    let text =
        format!("another program's routing rule {preference}{table} {what} and {place}: {remedy}");
    Alert::new(AlertCode::GatewayRule, Subject::Rule(preference), text).graded(severity)
}

/// It goes to the nodes, rather than from the head to the venue.
fn is_cluster(state: &State, astray: &Astray) -> bool {
    state.roles().cluster == Some(astray.way.leaves)
}

/// Returns the IPv4 rules of others that come before the last of ours.
pub fn before_ours(state: &State) -> impl Iterator<Item = &Rule> {
    let before_us = |rule: &&Rule| {
        !rule.ipv6 && rule.protocol != ROUTE_PROTOCOL && rule.preference <= LAST_PREFERENCE
    };
    state.facts().rules().iter().filter(before_us)
}

/// The rule of others that decided: the first that looks into that table, or, where nothing was
/// found, the first that refuses.
fn culprit<'a>(state: &'a State, astray: &Astray) -> Option<&'a Rule> {
    let mut rules: Vec<&Rule> = before_ours(state).filter(|rule| takes(rule, astray)).collect();
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
    let (from, to) = (astray.way.from.map(IpAddr::V4), Some(IpAddr::V4(astray.way.to)));
    let addresses = holds(rule.destination, to) && holds(rule.source, from);
    let flow = &rule.flow;
    let whose = flow.uids.is_none_or(|(first, last)| (first..=last).contains(&astray.way.uid));
    let of_protocol =
        flow.ip_protocol.is_none_or(|protocol| astray.way.ip_protocol == Some(protocol));
    let ranges = [flow.source_ports, flow.destination_ports].into_iter().zip(astray.way.ports);
    let mut ports = ranges.map(|(range, port)| {
        range.is_none_or(|(first, last)| port.is_some_and(|port| (first..=last).contains(&port)))
    });
    addresses && whose && of_protocol && ports.all(|taken| taken)
}

/// The nodes go out by another uplink than the head, as the preferred one has no internet.
pub fn failover(state: &State, raised: &mut Vec<Alert>) {
    let name = |index| state.facts().link(index).map(|link| link.name.as_str());
    let (Some(by), Some(main)) = (state.detour(), state.main_exit()) else { return };
    let (Some(by), Some(port), true) = (name(by), name(main), state.has_no_internet(main)) else {
        return;
    };
    let text = format!(
        "{port} has no internet, so the nodes go out by {by}; the head itself still uses {port}"
    );
    raised.push(of_port(AlertCode::UplinkFailover, by, text));
}

/// What keeps the nodes' traffic off another port, ahead of all rules of others.
pub fn around(state: &State) -> Option<String> {
    let (cluster, uplink) = (state.cluster_port()?, state.active()?.link.index);
    let others =
        state.facts().rules().iter().filter(|rule| !rule.ipv6 && rule.protocol != ROUTE_PROTOCOL);
    let first = others.map(|rule| rule.preference).filter(|preference| *preference > 0).min();
    let before = first.unwrap_or(u32::MAX).saturating_sub(1).clamp(1, LAST_PREFERENCE + 1);
    let table = crate::decide::TABLE_UPLINK + uplink;
    Some(format!("sudo ip rule add preference {before} iif {} lookup {table}", cluster.name))
}
