//! Alerts of the firewall: our own rules, other programs' rules that block promised traffic, and
//! what our rules drop.

use std::collections::BTreeMap;
use std::net::IpAddr;

use ipnet::IpNet;

use crate::decide::alert::{Alert, AlertCode, Part, Severity, Subject};
use crate::decide::cluster::Placement;
use crate::decide::firewall::{
    COMMENT_ELSEWHERE, COMMENT_NOT_OURS, COMMENT_ROUTER, COMMENT_SPOOFED, COMMENT_STRAY, traffic,
};
use crate::event::{Blocker, Traffic, printable_line};
use crate::facts::Facts;

/// Fill level of the connection tracking table, in percent, that raises an alert.
const CONNTRACK_FULL: u64 = 80;

/// Raises what keeps packets from their destination.
pub fn alerts(facts: &Facts, placement: &Placement, raised: &mut Vec<Alert>) {
    if let Some(by) = &facts.firewall().fight {
        let by = by.as_deref().unwrap_or("another program");
        let text = format!("{by} removes Bramblegate's rules as often as they are put back");
        raised.push(Alert::whole(AlertCode::GatewayDisturbed, text));
    }
    raised.extend(blocked(facts));
    raised.extend(facts.firewall().spare.iter().map(|(uplink, by)| blocked_spare(uplink, by)));
    promised(&facts.firewall().traffic, raised);
    raised.extend(unheard(facts));
    conntrack(facts, raised);
    drops(facts, placement, raised);
}

/// Returns the alert that another program drops the nodes' traffic on its current way out.
fn blocked(facts: &Facts) -> Option<Alert> {
    if let Some(blocker) = facts.firewall().blocker() {
        let text = format!("{} drops the nodes' traffic: {}", place(blocker), blocker.remedy);
        return Some(by_chain(blocker, text));
    }
    let text = "packets of the nodes pass Bramblegate's rules but do not leave: something else \
                on this machine drops them (try: sudo iptables-legacy -S FORWARD)";
    let alert = Alert::whole(AlertCode::GatewayBlocked, text).shown_as("BLOCKED");
    facts.firewall().swallowed.then_some(alert)
}

/// Returns the alert that another program would drop the nodes' traffic through this uplink, which
/// is not in use.
fn blocked_spare(uplink: &str, blocker: &Blocker) -> Alert {
    let text = format!(
        "{} would drop the nodes' traffic through {uplink}, which is not the way out now: {}",
        place(blocker),
        blocker.remedy
    );
    Alert::of_port(AlertCode::UplinkBlocked, uplink, text)
}

/// Returns the alert that DHCP requests do not reach dnsmasq, and no known rule explains it.
fn unheard(facts: &Facts) -> Option<Alert> {
    let firewall = facts.firewall();
    if !firewall.unheard || firewall.traffic.iter().any(|(what, _)| *what == Traffic::Addresses) {
        return None;
    }
    let text = "nodes ask for addresses on the cluster interface, but their requests do not \
                reach dnsmasq: something else on this machine drops them (look at `sudo nft list \
                ruleset`, `sudo iptables-legacy-save`, `tc filter show dev PORT ingress`)";
    let subject = Subject::Part(Part::Dhcp);
    Some(Alert::new(AlertCode::GatewayBlocked, subject, text).shown_as("BLOCKED DHCP"))
}

/// Raises a connection tracking table that is nearly full.
fn conntrack(facts: &Facts, raised: &mut Vec<Alert>) {
    let Some((count, max)) = facts.vitals().conntrack.filter(|(_, max)| *max > 0) else { return };
    let percent = u64::from(count) * 100 / u64::from(max);
    if percent >= CONNTRACK_FULL {
        let text = format!("the connection table is {percent} % full ({count} of {max})");
        raised.push(Alert::whole(AlertCode::GatewayConntrack, text));
    }
}

/// Raises one alert for each chain of another program that drops promised traffic, with all it
/// drops and each remedy once.
fn promised(blocked: &[(Traffic, Blocker)], raised: &mut Vec<Alert>) {
    let mut by_chain_of: BTreeMap<_, Vec<&(Traffic, Blocker)>> = BTreeMap::new();
    for entry in blocked {
        by_chain_of.entry((&entry.1.table, &entry.1.chain)).or_default().push(entry);
    }
    raised.extend(by_chain_of.values().filter_map(|dropped| dropped_by_chain(dropped)));
}

/// Returns the alert about one chain that drops all of `dropped`; `None` if that is empty.
fn dropped_by_chain(dropped: &[&(Traffic, Blocker)]) -> Option<Alert> {
    let (_, chain) = dropped.first()?;
    let what: Vec<String> = dropped.iter().map(|(traffic, _)| traffic::words(*traffic)).collect();
    let mut remedies: Vec<&str> = Vec::new();
    for command in dropped.iter().flat_map(|(_, blocker)| blocker.remedy.split("; ")) {
        // What makes the others take effect (`firewall-cmd --reload`) comes after all of them.
        remedies.retain(|known| *known != command);
        remedies.push(command);
    }
    let vital = dropped.iter().any(|(traffic, _)| traffic::is_vital(*traffic));
    let severity = if vital { Severity::Fault } else { Severity::Warning };
    let text = format!("{} drops {}: {}", place(chain), what.join(", "), remedies.join("; "));
    Some(by_chain(chain, text).graded(severity))
}

/// Returns an alert about the chain that drops something, if it is known.
fn by_chain(blocker: &Blocker, text: String) -> Alert {
    let parts: Vec<&str> = blocker.table.iter().chain(&blocker.chain).map(String::as_str).collect();
    let chain = printable_line(&parts.join(" ")).to_string();
    let subject = if chain.is_empty() { Subject::Whole } else { Subject::Chain(chain) };
    Alert::new(AlertCode::GatewayBlocked, subject, text).shown_as(panel(blocker))
}

/// Returns the panel text: "BLOCKED FORWARD".
fn panel(blocker: &Blocker) -> String {
    format!("BLOCKED {}", blocker.chain.as_deref().unwrap_or_default()).trim_end().to_owned()
}

/// Returns the blocking chain: "chain FORWARD of table ip filter".
fn place(blocker: &Blocker) -> String {
    match (&blocker.table, &blocker.chain) {
        (Some(table), Some(chain)) => format!("chain {chain} of table {table}"),
        _ => "another tool".to_owned(),
    }
}

/// Raises drops by our own rules that are probably unintended, or whose sender is misconfigured.
fn drops(facts: &Facts, placement: &Placement, raised: &mut Vec<Alert>) {
    for (rule, example) in facts.firewall().drops.standing() {
        let latest =
            example.map_or_else(String::new, |address| format!(", for example from {address}"));
        let (text, part) = match rule {
            COMMENT_NOT_OURS => {
                (foreign_sources(facts, placement, example, &latest), Part::Strangers)
            }
            COMMENT_SPOOFED => {
                let text = format!(
                    "Bramblegate's rules drop packets for the nodes that enter through an uplink \
                     with a source in the cluster{latest}: if that computer is yours, give it an \
                     address outside {}",
                    placement.address.trunc()
                );
                (text, Part::Forged)
            }
            COMMENT_STRAY => {
                let text = format!(
                    "Bramblegate's rules drop nodes' answers to connections that did not come \
                     through the head{latest}: the nodes have another way in; make {} their only \
                     gateway",
                    placement.address.addr()
                );
                (text, Part::Strays)
            }
            COMMENT_ELSEWHERE => {
                let text = format!(
                    "Bramblegate's rules drop traffic from an uplink to other networks of the \
                     head{latest}, because forwarding there was off before. To switch it on: \
                     sudo sysctl -w net.ipv4.ip_forward=1, and in /etc/sysctl.d/ for the next \
                     start"
                );
                (text, Part::Transit)
            }
            COMMENT_ROUTER => {
                let port =
                    facts.cluster_port().map_or("the cluster interface", |link| link.name.as_str());
                let text = format!(
                    "another device in the cluster advertises itself as an IPv6 router{latest}. \
                     The head ignores it, but nodes may send through it, past the head. Find it with \
                     `sudo tcpdump -eni {port} 'icmp6 and ip6[40] == 134'`, and stop its router \
                     advertisements"
                );
                (text, Part::Routers)
            }
            _ => continue,
        };
        raised.push(Alert::new(AlertCode::GatewayDrops, Subject::Part(part), text));
    }
}

/// Returns the text about boards on the cluster port whose source is in another network, possibly
/// one that the head has an address in.
fn foreign_sources(
    facts: &Facts,
    placement: &Placement,
    example: Option<IpAddr>,
    latest: &str,
) -> String {
    let cluster = placement.address.trunc();
    let port = facts.cluster_port().map_or("the cluster interface", |link| link.name.as_str());
    let held = facts.cluster_port().map_or(&[][..], |link| facts.kernel().addresses(link.index));
    let is_there = |net: &IpNet| example.is_some_and(|source| net.contains(&source));
    let second = held.iter().find(|held| !held.ours && is_there(&held.address));
    match second.map(|held| held.address.trunc()) {
        Some(net) => format!(
            "Bramblegate's rules drop traffic to the venue from {net} on {port}{latest}: NAT \
             covers {cluster} only. Give those boards addresses in it, or make cluster.address \
             wide enough for both networks"
        ),
        None => format!(
            "Bramblegate's rules drop traffic to the venue through {port} with a source outside \
             {cluster}{latest}: find the board (sudo tcpdump -eni {port} ip and not net \
             {cluster}) and give it an address in {cluster}"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_remedies_of_a_chain_end_with_what_makes_them_take_effect() {
        let cut = |traffic: Traffic, command: &str| {
            let remedy = format!("firewall-cmd --permanent {command}; firewall-cmd --reload");
            let (table, chain) = (Some("inet firewalld".to_owned()), Some("filter_IN".to_owned()));
            (traffic, Blocker { table, chain, remedy })
        };
        let mdns = Traffic::Venue { protocol: 17, port: 5353 };
        let blocked = [
            cut(Traffic::Addresses, "--add-interface=eth0"),
            cut(Traffic::Names, "--add-interface=eth0"),
            cut(mdns, "--add-port=5353/udp"),
        ];
        let mut raised = Vec::new();
        promised(&blocked, &mut raised);
        let texts: Vec<&str> = raised.iter().map(|alert| alert.text.as_str()).collect();
        assert!(
            matches!(texts.as_slice(), [text] if text.ends_with(
                ": firewall-cmd --permanent --add-interface=eth0; \
                 firewall-cmd --permanent --add-port=5353/udp; firewall-cmd --reload"
            )),
            "{texts:?}"
        );
    }
}
