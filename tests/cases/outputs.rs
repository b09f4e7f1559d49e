//! The content of every output, and its changes since the last moment.

use std::collections::BTreeMap;
use std::time::Duration;

use bramblegate::decide::dhcp::WithdrawalPlan;
use bramblegate::decide::{self, Desired, Ipv6Role};
use bramblegate::event::Stop;
use bramblegate::facts::Facts;
use bramblegate::panel::{Frame, Playlist, Signal};
use bramblegate::view::panel::{led, page};
use bramblegate::view::share;
use bramblegate::view::status;
use bramblegate::view::status_line;
use serde_json::Value;

use crate::difference;

/// The last shown texts of the outputs, by name.
pub struct Outputs {
    whole_rules: bool,
    known: BTreeMap<&'static str, String>,
}

impl Outputs {
    pub fn new(whole_rules: bool) -> Self {
        Self { whole_rules, known: BTreeMap::new() }
    }

    /// Returns each changed output by name, with its new text; of the rule set, only the changed
    /// lines.
    pub fn changes(&mut self, facts: &Facts, journal: &[String]) -> String {
        let desired = decide::decide(facts.settings(), facts);
        let mut reported = String::new();
        for (name, text) in all(facts, &desired) {
            let before = self.known.insert(name, text.clone());
            let first = before.is_none();
            let before = before.unwrap_or_default();
            if before == text
                || name == "rules" && first && !self.whole_rules
                || name == "status" && first
            {
                continue;
            }
            reported += &match name {
                "rules" => block(name, &difference(&before, &text)),
                "status" => block(name, &news(&before, &text)),
                _ if text.is_empty() => block(name, "none"),
                _ => block(name, &text),
            };
        }
        if !journal.is_empty() {
            reported += &block("journal", &journal.join("\n"));
        }
        if reported.is_empty() { "nothing changes\n".to_owned() } else { reported }
    }
}

/// Returns the lines that are new.
fn news(before: &str, text: &str) -> String {
    let known: Vec<&str> = before.lines().collect();
    text.lines().filter(|line| !known.contains(line)).map(|line| format!("{line}\n")).collect()
}

/// Formats one line beside its name, more lines below it.
fn block(name: &str, text: &str) -> String {
    match text.trim_end().lines().collect::<Vec<_>>().as_slice() {
        [line] => format!("{name}: {line}\n"),
        lines => format!(
            "{name}:\n{}",
            lines.iter().map(|line| format!("    {line}\n")).collect::<String>()
        ),
    }
}

fn all(facts: &Facts, desired: &Desired) -> Vec<(&'static str, String)> {
    let settings = facts.settings();
    let alerts = desired.alerts.iter().map(|alert| {
        let known = if alert.acknowledged { " (acknowledged)" } else { "" };
        format!("{} {}{known}: {}\n", alert.severity, alert.code, alert.text)
    });
    let mut all = vec![
        ("severity", desired.severity.to_string()),
        ("alerts", alerts.collect()),
        ("panel", panel(facts, &page::playlist(settings, facts, desired))),
        ("lights", lights(&led::lights(facts, desired))),
        ("status line", status_line(facts, desired)),
        ("status", status(facts, &status::snapshot(settings, facts, desired))),
        ("ports", ports(desired)),
        ("routing", routing(facts, desired)),
        ("translator", translator(desired)),
        ("nat64 for the nodes", pref64(desired)),
        ("rules", rules(desired)),
    ];
    if let Some(plan) = desired.gateway.as_ref().and_then(|gateway| gateway.withdrawal.as_ref()) {
        all.push(("withdrawn from the nodes", withdrawal(plan)));
    }
    if !settings.shares.is_empty() {
        all.push(("exports", exports(facts)));
    }
    all
}

/// Returns what root's unit would write now, without the line with the program's name.
fn exports(facts: &Facts) -> String {
    let shares = facts.settings().shares.iter();
    let shares: Vec<_> =
        shares.filter(|share| facts.shares().disk(&share.path).is_some()).collect();
    let text = share::exports(&shares, &decide::share::networks(facts)).unwrap_or_default();
    text.lines().filter(|line| !line.starts_with('#')).map(|line| format!("{line}\n")).collect()
}

/// Returns a line for each page: its rows, and its duration.
fn panel(facts: &Facts, playlist: &Playlist) -> String {
    let rows =
        |frame: &Frame| frame.lines().iter().map(|row| format!("|{row}")).collect::<String>();
    if let Some(stop) = facts.stopping() {
        return match stop {
            Stop::Restart => "as it is".to_owned(),
            _ => format!("{}|", rows(&page::last_words(facts.settings().lcd.geometry, Some(stop)))),
        };
    }
    let lines = playlist.pages.iter().map(|page| {
        let rows = rows(&page.frame);
        if page.dwell == Duration::MAX {
            format!("{rows}|\n")
        } else {
            format!("{rows}| {:?}\n", page.dwell)
        }
    });
    lines.collect()
}

/// Returns the cluster's light; then those of the nodes, for sticks with several LEDs.
pub fn lights(signals: &[Signal]) -> String {
    let names =
        [("#00ff00", "green"), ("#0000ff", "blue"), ("#ffa000", "amber"), ("#ff0000", "red")];
    let words = signals.iter().map(|signal| {
        let colour = signal.colour.to_string();
        let name = names
            .iter()
            .find(|(code, _)| *code == colour)
            .map_or(colour.as_str(), |(_, name)| name);
        format!("{name} {}", signal.pattern.name())
    });
    words.collect::<Vec<_>>().join(", ")
}

/// Returns a line for each value of the snapshot, without ages and counters, and what other outputs
/// show.
fn status(facts: &Facts, snapshot: &status::Snapshot) -> String {
    let mut line = snapshot.at(facts.now());
    line.nodes = status::nodes(facts).iter().map(|node| node.at(facts.now())).collect();
    let value = serde_json::to_value(&line).unwrap();
    let mut lines = Vec::new();
    flatten(&mut lines, "", &value);
    lines.join("\n")
}

fn flatten(lines: &mut Vec<String>, path: &str, value: &Value) {
    const ELSEWHERE: [&str; 14] = [
        "schema",
        "type",
        "version",
        "uptime_s",
        "severity",
        "alerts",
        "since_s",
        "lease_left_s",
        "rtt_us",
        "loss_percent",
        "bytes",
        "bus_time_us",
        "backlight",
        "led",
    ];
    match value {
        Value::Object(members) => {
            for (name, value) in
                members.iter().filter(|(name, _)| !ELSEWHERE.contains(&name.as_str()))
            {
                flatten(
                    lines,
                    &format!("{path}{}{name}", if path.is_empty() { "" } else { "." }),
                    value,
                );
            }
        }
        Value::Array(values) if values.iter().any(Value::is_object) => {
            for (place, value) in values.iter().enumerate() {
                let name = value.get("name").or(value.get("interface")).and_then(Value::as_str);
                flatten(
                    lines,
                    &format!("{path}.{}", name.map_or(place.to_string(), str::to_owned)),
                    value,
                );
            }
        }
        value => lines.push(format!("{path} = {value}")),
    }
}

fn ports(desired: &Desired) -> String {
    let Some(gateway) = &desired.gateway else { return "left alone".to_owned() };
    let lines = gateway.links.ports.iter().map(|port| {
        let nets =
            |nets: &[ipnet::IpNet]| nets.iter().map(|net| format!(" {net}")).collect::<String>();
        let conf = &port.conf;
        let mut line = port.name.clone();
        line += if port.up { " up" } else { "" };
        line += &nets(&port.addresses);
        for (name, value) in [
            ("forwarding", conf.forwarding.map(u8::from)),
            ("arp_ignore", conf.arp_ignore),
            ("arp_announce", conf.arp_announce),
            ("rp_filter", conf.rp_filter),
            ("accept_local", conf.accept_local.map(u8::from)),
            ("ignore_routes_with_linkdown", conf.ignore_routes_with_linkdown.map(u8::from)),
            ("accept_redirects", conf.accept_redirects),
            ("send_redirects", conf.send_redirects),
            ("accept_source_route", conf.accept_source_route),
        ] {
            if let Some(value) = value {
                line += &format!(" {name}={value}");
            }
        }
        line += match port.ipv6 {
            None => "",
            Some(Ipv6Role::Cluster) => " ipv6=cluster",
            Some(Ipv6Role::Uplink) => " ipv6=uplink",
        };
        line + "\n"
    });
    lines.collect()
}

/// Returns the rules and routes like `ip rule` and `ip route` list them.
fn routing(facts: &Facts, desired: &Desired) -> String {
    let Some(gateway) = &desired.gateway else { return String::new() };
    let name = |index| {
        facts.kernel().link(index).map_or_else(|| format!("#{index}"), |link| link.name.clone())
    };
    let mut text = String::new();
    for rule in &gateway.routing.rules {
        text += &format!("{}: ", rule.preference);
        for (word, value) in [
            ("from", rule.source.map(|net| net.to_string())),
            ("to", rule.destination.map(|net| net.to_string())),
            ("fwmark", rule.mark.map(|(mark, mask)| format!("{mark:#x}/{mask:#x}"))),
            ("iif", rule.input.clone()),
            ("oif", rule.output.clone()),
        ] {
            if let Some(value) = value {
                text += &format!("{word} {value} ");
            }
        }
        text += &format!("lookup {}", rule.table);
        text += &rule
            .suppress
            .map_or_else(String::new, |length| format!(" suppress_prefixlength {length}"));
        text += "\n";
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
        text += &route.mtu.map_or_else(String::new, |mtu| format!(" mtu {mtu}"));
        text += "\n";
    }
    text
}

/// Returns the order for the translator.
fn translator(desired: &Desired) -> String {
    let order = desired.gateway.as_ref().and_then(|gateway| gateway.clat.order());
    order.map_or_else(String::new, |order| {
        format!("{} to {} by {}\n", order.mode, order.prefix, order.uplink)
    })
}

/// Returns the NAT64 prefix that is advertised to the nodes.
fn pref64(desired: &Desired) -> String {
    let plan = desired.gateway.as_ref().and_then(|gateway| gateway.pref64.as_ref());
    plan.map_or_else(String::new, |plan| format!("{} by {}\n", plan.prefix, plan.port))
}

/// Returns the networks that the last advertisements withdraw.
fn withdrawal(plan: &WithdrawalPlan) -> String {
    let after = if plan.is_router { "stays the router" } else { "no router" };
    let networks = plan.networks.iter();
    networks.map(|net| format!("{net} by {}, {after}\n", plan.port)).collect()
}

/// Without the counters, which are irrelevant here.
fn rules(desired: &Desired) -> String {
    let Some(gateway) = &desired.gateway else { return String::new() };
    gateway.firewall.ruleset.to_string().replace('\t', "  ").replace(" counter", "")
}
