//! What every output holds, and what of it changed since the last moment.

use std::collections::BTreeMap;
use std::time::Duration;

use bramblegate::policy::{self, Desired};
use bramblegate::render::{light, page};
use bramblegate::state::State;

use crate::difference;

/// Texts of the outputs as last told, by name.
pub struct Outputs {
    whole_rules: bool,
    known: BTreeMap<&'static str, String>,
}

impl Outputs {
    pub fn new(whole_rules: bool) -> Self {
        Self { whole_rules, known: BTreeMap::new() }
    }

    /// Names each output that changed, with its new text; of the rule set, only the lines that changed.
    pub fn changes(&mut self, state: &State, journal: &[String]) -> String {
        let desired = policy::decide(state.settings(), state);
        let mut told = String::new();
        for (name, text) in all(state, &desired) {
            let before = self.known.insert(name, text.clone());
            let first = before.is_none();
            let before = before.unwrap_or_default();
            if before == text || name == "rules" && first && !self.whole_rules {
                continue;
            }
            told += &match name {
                "rules" | "status" => block(name, &difference(&before, &text)),
                _ if text.is_empty() => block(name, "none"),
                _ => block(name, &text),
            };
        }
        if !journal.is_empty() {
            told += &block("journal", &journal.join("\n"));
        }
        if told.is_empty() { "nothing changes\n".to_owned() } else { told }
    }
}

/// One line stands beside its name; more stand below it.
fn block(name: &str, text: &str) -> String {
    match text.trim_end().lines().collect::<Vec<_>>().as_slice() {
        [line] => format!("{name}: {line}\n"),
        lines => format!("{name}:\n{}", lines.iter().map(|line| format!("    {line}\n")).collect::<String>()),
    }
}

fn all(state: &State, desired: &Desired) -> Vec<(&'static str, String)> {
    let alerts = desired.alerts.iter().map(|alert| format!("{} {}: {}\n", alert.severity, alert.code, alert.text));
    vec![
        ("severity", desired.severity.to_string()),
        ("alerts", alerts.collect()),
        ("panel", panel(state, desired)),
        ("lights", lights(state, desired)),
        ("ports", ports(desired)),
        ("routing", routing(state, desired)),
        ("rules", rules(desired)),
    ]
}

/// A line for each page: its rows, and how long it stands.
fn panel(state: &State, desired: &Desired) -> String {
    let pages = page::playlist(state.settings(), state, desired).pages;
    let lines = pages.iter().map(|page| {
        let rows: String = page.frame.lines().iter().map(|row| format!("|{row}")).collect();
        if page.dwell == Duration::MAX { format!("{rows}|\n") } else { format!("{rows}| {:?}\n", page.dwell) }
    });
    lines.collect()
}

/// The cluster's light; then those of the nodes, for sticks with several.
fn lights(state: &State, desired: &Desired) -> String {
    let names = [("#00ff00", "green"), ("#0000ff", "blue"), ("#ffa000", "amber"), ("#ff0000", "red")];
    let signals = light::lights(state.settings(), state, desired);
    let words = signals.iter().map(|signal| {
        let colour = signal.colour.to_string();
        let name = names.iter().find(|(code, _)| *code == colour).map_or(colour.as_str(), |(_, name)| name);
        format!("{name} {}", signal.pattern.name())
    });
    words.collect::<Vec<_>>().join(", ")
}

fn ports(desired: &Desired) -> String {
    let Some(gateway) = &desired.gateway else { return "left alone".to_owned() };
    let lines = gateway.links.ports.iter().map(|port| {
        let nets = |nets: &[ipnet::Ipv4Net]| nets.iter().map(|net| format!(" {net}")).collect::<String>();
        let conf = &port.conf;
        let mut line = port.name.clone();
        line += if port.up { " up" } else { "" };
        line += &nets(&port.addresses);
        if !port.release.is_empty() {
            line += &format!(" without{}", nets(&port.release));
        }
        for (name, value) in [
            ("forwarding", conf.forwarding.map(u8::from)),
            ("arp_ignore", conf.arp_ignore),
            ("arp_announce", conf.arp_announce),
            ("rp_filter", conf.rp_filter),
            ("accept_local", conf.accept_local.map(u8::from)),
        ] {
            if let Some(value) = value {
                line += &format!(" {name}={value}");
            }
        }
        line + "\n"
    });
    lines.collect()
}

/// As `ip rule` and `ip route` would list them.
fn routing(state: &State, desired: &Desired) -> String {
    let Some(gateway) = &desired.gateway else { return String::new() };
    let name = |index| state.facts().link(index).map_or_else(|| format!("#{index}"), |link| link.name.clone());
    let mut text = String::new();
    for rule in &gateway.routing.rules {
        text += &format!("{}: ", rule.preference);
        for (word, value) in [
            ("from", rule.source.map(|net| net.to_string())),
            ("to", rule.destination.map(|net| net.to_string())),
            ("iif", rule.input.clone()),
            ("oif", rule.output.clone()),
        ] {
            if let Some(value) = value {
                text += &format!("{word} {value} ");
            }
        }
        text += &format!("lookup {}\n", rule.table);
    }
    for route in &gateway.routing.routes {
        text += &format!("table {}: {}", route.table, route.destination);
        if let Some(gateway) = route.gateway {
            text += &format!(" via {gateway}");
        }
        text += &format!(" dev {}", name(route.index));
        if let Some(source) = route.preferred_source {
            text += &format!(" src {source}");
        }
        text += "\n";
    }
    text
}

/// Without the counters, which say nothing here.
fn rules(desired: &Desired) -> String {
    let Some(gateway) = &desired.gateway else { return String::new() };
    gateway.firewall.ruleset.to_string().replace('\t', "  ").replace(" counter", "")
}
