//! Alerts of routing: other programs' rules that misroute packets, and failover to another uplink.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use crate::api::clat;
use crate::decide::alert::{Alert, AlertCode, Severity, Subject};
use crate::decide::cluster::Placement;
use crate::decide::routing::ways::{
    LAST_PREFERENCE, before_ours, rules_of_others, takes, takes_of_nodes,
};
use crate::decide::{RULE_PREFERENCE, TABLE_UPLINK};
use crate::event::{Astray, LinkIndex, Rule};
use crate::facts::Facts;
use crate::facts::link::mirror::TABLE_MAIN;

/// The kernel's table of local addresses (`RT_TABLE_LOCAL`).
const TABLE_LOCAL: u32 = 255;

/// Raises misrouted packets, and a failover between uplinks.
pub fn alerts(facts: &Facts, placement: &Placement, raised: &mut Vec<Alert>) {
    astray(facts, placement, raised);
    raised.extend(failover(facts));
}

/// Raises each rule of another program that misroutes the head's or the nodes' packets, and each
/// address that two uplinks have.
fn astray(facts: &Facts, placement: &Placement, raised: &mut Vec<Alert>) {
    let mut by_rule: BTreeMap<Option<&Rule>, Vec<&Astray>> = BTreeMap::new();
    let mut of_nodes: BTreeMap<Option<&Rule>, &Astray> = BTreeMap::new();
    let mut duplicates = BTreeSet::new();
    for astray in facts.astray().filter(|astray| !is_refused(facts, astray)) {
        if is_way_out(facts, astray) {
            // Through another uplink the nodes still get out.
            if astray.by.is_none_or(|by| !facts.roles().uplinks.contains(&by)) {
                of_nodes.entry(deciding_rule(facts, astray)).or_insert(astray);
            }
        } else if let Some(same) = duplicate_address(facts, astray) {
            duplicates.insert(same);
        } else {
            by_rule.entry(deciding_rule(facts, astray)).or_default().push(astray);
        }
    }
    for (rule, all) in by_rule {
        let takes_of_nodes = of_nodes.remove(&rule).is_some();
        raised.push(rule_alert(facts, placement, rule, (&all, takes_of_nodes)));
    }
    raised.extend(of_nodes.iter().filter_map(|(rule, astray)| part_alert(facts, *rule, astray)));
    for (address, used, unused) in duplicates {
        let text = format!(
            "{used} and {unused} have the same address {address}, so the head answers through \
             {used} only: unplug one of the two, or ask one venue for another address"
        );
        raised.push(Alert::of_port(AlertCode::UplinkAddressTaken, unused, text));
    }
}

/// Returns whether `uplink-no-exit` covers it: where the nodes' packets are refused, the reverse
/// path filter refuses the replies too.
fn is_refused(facts: &Facts, astray: &Astray) -> bool {
    facts.routing().egress() == Some(None) && astray.by.is_none() && astray.way.enters.is_some()
}

/// Returns an address that two uplinks have, the uplink by which its replies leave, and the other.
fn duplicate_address<'a>(facts: &'a Facts, astray: &Astray) -> Option<(IpAddr, &'a str, &'a str)> {
    let (from, by) = (astray.way.from?, astray.by?);
    let is_from = |address: IpAddr| address == from;
    let holds = facts.kernel().addresses(by).iter().any(|held| is_from(held.address.addr()));
    let uplinks = &facts.roles().uplinks;
    if !holds || !uplinks.contains(&by) || !uplinks.contains(&astray.way.leaves) {
        return None;
    }
    Some((from, port_name(facts, by)?, port_name(facts, astray.way.leaves)?))
}

/// Returns the name of a port, if it exists.
fn port_name(facts: &Facts, index: LinkIndex) -> Option<&str> {
    facts.kernel().link(index).map(|link| link.name.as_str())
}

/// Returns the command that restores the rule for the main table, if none is left, for example
/// after a script flushed all rules.
pub fn restore_main_rule(facts: &Facts) -> Option<&'static str> {
    // A flush keeps the rule for the local table.
    let flushed = leads_to(facts, TABLE_LOCAL) && !leads_to(facts, TABLE_MAIN);
    flushed.then_some("sudo ip rule add preference 32766 lookup main")
}

/// Returns whether a rule of another program looks into this table without suppressing routes.
fn leads_to(facts: &Facts, table: u32) -> bool {
    rules_of_others(facts).any(|rule| rule.table == table && rule.suppress.is_none())
}

/// Returns the alert about one rule of another program (`None`: unknown) that misroutes `all`, and
/// with `takes_of_nodes` part of the nodes' internet traffic.
fn rule_alert(
    facts: &Facts,
    placement: &Placement,
    rule: Option<&Rule>,
    (all, takes_of_nodes): (&[&Astray], bool),
) -> Alert {
    let net = placement.address.trunc();
    let to_cluster = all.iter().any(|astray| is_cluster(facts, astray));
    let mut selectors: Vec<String> = to_cluster.then(|| format!("to {net}")).into_iter().collect();
    for astray in all.iter().filter(|astray| !is_cluster(facts, astray)) {
        let selector = astray.way.from.map(|from| format!("from {from}"));
        selectors.extend(selector.filter(|selector| !selectors.contains(selector)));
    }
    let what = match (to_cluster, selectors.len()) {
        (true, 1) => format!("takes traffic to the nodes' network {net}"),
        (true, _) => format!(
            "takes traffic to the nodes' network {net}, and the head's answers to the venue"
        ),
        (false, _) => "takes the head's answers to the venue".to_owned(),
    };
    let leaves_by = all.first().and_then(|astray| port_name(facts, astray.by?));
    let place = leaves_by
        .map_or_else(|| "refuses it".to_owned(), |port| format!("sends it through {port}"));
    let severity = if to_cluster { Severity::Fault } else { Severity::Warning };
    let Some(rule) = rule else {
        let text =
            format!("another program's routing rule {what} and {place}: look for it in `ip rule`");
        let alert = Alert::whole(AlertCode::GatewayRule, text);
        return alert.graded(severity).shown_as("ROUTING RULE");
    };
    if let Some(cluster) = facts.cluster_port().filter(|_| takes_of_nodes) {
        selectors.push(format!("iif {}{}", cluster.name, selector(rule)));
    }
    let preference = rule.preference;
    let table = if rule.table == 0 { String::new() } else { format!(" (table {})", rule.table) };
    let remedy = bypass(preference, &selectors);
    let text =
        format!("another program's routing rule {preference}{table} {what} and {place}: {remedy}");
    Alert::new(AlertCode::GatewayRule, Subject::Rule(preference), text).graded(severity)
}

/// Returns the alert about a rule of another program that sends part of the nodes' internet traffic
/// past the uplinks.
fn part_alert(facts: &Facts, rule: Option<&Rule>, astray: &Astray) -> Option<Alert> {
    let cluster = &facts.cluster_port()?.name;
    let Some(rule) = rule else {
        let text = "another program's routing rule leads a part of what the nodes send by no \
                    uplink: look for it in `ip rule`";
        let alert = Alert::whole(AlertCode::GatewayRule, text);
        return Some(alert.graded(Severity::Warning).shown_as("ROUTING RULE"));
    };
    let preference = rule.preference;
    let table = if rule.table == 0 { String::new() } else { format!(" (table {})", rule.table) };
    let part = selector(rule);
    // Later rules of ours stay right after the next lease.
    let target = if preference <= RULE_PREFERENCE {
        format!("goto {RULE_PREFERENCE}")
    } else {
        "lookup main".to_owned()
    };
    let past = match preference.checked_sub(1).filter(|before| *before > 0) {
        Some(before) => format!(
            "lead it past (sudo ip rule add preference {before} iif {cluster}{part} {target})"
        ),
        None => "take the rule away".to_owned(),
    };
    let text = match astray.by.and_then(|by| port_name(facts, by)) {
        Some(port) => format!(
            "another program's routing rule {preference}{table} sends a part of what the nodes \
             send ({}) by {port}, not by an uplink, and untranslated: if it is to go there, add \
             {port} to uplink.interfaces; if not, {past}",
            part.trim_start()
        ),
        None => format!(
            "another program's routing rule {preference}{table} refuses a part of what the nodes \
             send ({}): {past}",
            part.trim_start()
        ),
    };
    let alert = Alert::new(AlertCode::GatewayRule, Subject::Rule(preference), text);
    Some(alert.graded(Severity::Warning))
}

/// Returns the selectors of a rule for the nodes' packets, in the syntax of ip-rule(8), each after
/// a space.
fn selector(rule: &Rule) -> String {
    let flow = &rule.flow;
    let from = rule.source.map_or_else(String::new, |source| format!(" from {source}"));
    // DSCP bits beyond the TOS field have a keyword of their own.
    let tos = flow.tos.map_or_else(String::new, |tos| match tos {
        0..=0x1c => format!(" tos {tos:#04x}"),
        _ => format!(" dscp {}", tos >> 2),
    });
    let protocol = flow.ip_protocol.map_or_else(String::new, |protocol| match protocol {
        1 => " ipproto icmp".to_owned(),
        6 => " ipproto tcp".to_owned(),
        17 => " ipproto udp".to_owned(),
        _ => format!(" ipproto {protocol}"),
    });
    let (source, destination) =
        (ports("sport", flow.source_ports), ports("dport", flow.destination_ports));
    format!("{from}{tos}{protocol}{source}{destination}")
}

/// Returns a port selector as `ip rule` writes it.
fn ports(word: &str, range: Option<(u16, u16)>) -> String {
    match range {
        Some((first, last)) if first == last => format!(" {word} {first}"),
        Some((first, last)) => format!(" {word} {first}-{last}"),
        None => String::new(),
    }
}

/// Returns the remedy: rules that send these selectors past another program's rule, to our first
/// one, which stays right after the next lease.
fn bypass(preference: u32, selectors: &[String]) -> String {
    let behind = format!("give it a preference above {LAST_PREFERENCE}");
    let Some(before) = preference.checked_sub(1).filter(|before| *before > 0) else {
        return behind;
    };
    let commands: Vec<String> = selectors
        .iter()
        .map(|selector| {
            format!("sudo ip rule add preference {before} {selector} goto {RULE_PREFERENCE}")
        })
        .collect();
    format!("route that traffic past it ({}), or {behind}", commands.join(" && "))
}

/// Returns whether it is about the nodes' way to the internet.
fn is_way_out(facts: &Facts, astray: &Astray) -> bool {
    astray.way.enters.is_some() && astray.way.enters == facts.roles().cluster
}

/// Returns whether it is about packets to the nodes, rather than from the head to the venue.
fn is_cluster(facts: &Facts, astray: &Astray) -> bool {
    facts.roles().cluster == Some(astray.way.leaves)
}

/// Returns the rule of another program that decided: the first that looks into the table of the
/// route, or, if no route was found, the first that refuses.
fn deciding_rule<'a>(facts: &'a Facts, astray: &Astray) -> Option<&'a Rule> {
    let mut rules: Vec<&Rule> = if is_way_out(facts, astray) {
        let port = facts.cluster_port().map_or("", |port| port.name.as_str());
        rules_of_others(facts).filter(|rule| takes_of_nodes(rule, port, &astray.way)).collect()
    } else {
        before_ours(facts).filter(|rule| takes(rule, &astray.way)).collect()
    };
    rules.retain(|rule| rule.preference > 0 || rule.table != TABLE_LOCAL);
    let of_table = |table| rules.iter().find(|rule| rule.table == table).copied();
    match astray.table {
        Some(table) => of_table(table),
        None => of_table(0).or_else(|| rules.first().copied()),
    }
}

/// Returns the alert that the nodes use another uplink than the head because the preferred one has
/// no internet.
fn failover(facts: &Facts) -> Option<Alert> {
    let (by, main) = (facts.routing().detour().by()?, facts.main_egress()?);
    let (by, port) = (port_name(facts, by)?, port_name(facts, main)?);
    let text = if by == clat::DEVICE {
        format!(
            "IPv4 on {port} does not answer, so nodes and head leave through the translator ({by})"
        )
    } else {
        format!(
            "{port} has no internet, so the nodes leave through {by}; the head itself still uses \
             {port}"
        )
    };
    facts
        .routing()
        .detour()
        .has_no_internet(main)
        .then(|| Alert::of_port(AlertCode::UplinkFailover, by, text))
}

/// Returns the command that keeps the nodes' traffic on the uplink, ahead of all rules of other
/// programs.
pub fn bypass_command(facts: &Facts) -> Option<String> {
    let (cluster, uplink) = (facts.cluster_port()?, facts.active()?.link.index);
    let others = rules_of_others(facts).map(|rule| rule.preference);
    let first = others.filter(|preference| *preference > 0).min().unwrap_or(u32::MAX);
    let before = first.saturating_sub(1).clamp(1, LAST_PREFERENCE + 1);
    let table = TABLE_UPLINK + uplink;
    Some(format!("sudo ip rule add preference {before} iif {} lookup {table}", cluster.name))
}
