//! The status as text for users.

use std::fmt::Display;

use ipnet::IpNet;

use crate::api::Text;
use crate::api::status::{
    Gateway, Host, NodeHealth, Overlap, Panel as PanelStatus, Shutdown, Snapshot, Uplink,
};

/// Limit on listed nodes; of more, those that are not up come first.
const MAX_NODES: usize = 40;

const ROUTED: &str = "the venue uses the cluster's subnet: both work";
const RENUMBERED: &str = "the venue uses the cluster's subnet: the cluster has moved to another";

const RESET: &str = "\x1b[0m";
const BOLD: &str = "\x1b[1m";
const DIM: &str = "\x1b[2m";
const GREEN: &str = "\x1b[32m";
const BLUE: &str = "\x1b[34m";
const AMBER: &str = "\x1b[33m";
const RED: &str = "\x1b[31m";

/// Width of the column of names, with the blank after it.
const INDENT: usize = 10;
/// A narrower terminal is treated as this wide.
const MIN_COLUMNS: usize = 40;

/// Text that may be coloured.
struct Page {
    text: String,
    colours: bool,
    /// Longest row; `None`: unlimited.
    columns: Option<usize>,
}

impl Page {
    /// Adds a row: a name, and its parts. If it is too wide for the terminal, its age ("for 12 s")
    /// is left out, and then it is wrapped.
    fn row(&mut self, name: &str, parts: &[String]) {
        let room = self.columns.map_or(usize::MAX, |columns| columns.max(MIN_COLUMNS) - INDENT);
        let mut parts: Vec<&str> =
            parts.iter().map(String::as_str).filter(|part| !part.is_empty()).collect();
        let needed = |parts: &[&str]| parts.iter().map(|part| width(part) + 2).sum::<usize>();
        if needed(&parts).saturating_sub(2) > room {
            parts.retain(|part| !plain(part).starts_with("for "));
        }
        let mut lines = vec![String::new()];
        for part in parts {
            let last = lines.last().map_or(0, |line| width(line));
            if last > 0 && last + 2 + width(part) <= room {
                append(&mut lines, "  ", part);
                continue;
            }
            if last > 0 {
                lines.push(String::new());
            }
            for word in part.split_inclusive(' ') {
                let last = lines.last().map_or(0, |line| width(line));
                if last > 0 && last + width(word.trim_end()) > room {
                    lines.push(String::new());
                }
                append(&mut lines, "", word);
            }
        }
        for (number, line) in lines.iter().enumerate() {
            let name = if number == 0 { name } else { "" };
            let name = self.paint(DIM, &format!("{name:<9}"));
            let line = if number + 1 < lines.len() { line.trim_end() } else { line };
            self.text.push_str(&format!("{name} {line}\n"));
        }
    }

    fn paint(&self, colour: &str, text: &str) -> String {
        if self.colours && !text.is_empty() {
            format!("{colour}{text}{RESET}")
        } else {
            text.to_owned()
        }
    }

    /// Returns a word in the colour of its severity.
    fn word(&self, word: &str) -> String {
        let colour = match word {
            "ok" | "online" | "up" | "yes" | "serving" => GREEN,
            "notice" | "addressed" | "searching" | "unknown" | "booting" | "maintenance" => BLUE,
            "warning" | "portal" | "no-dhcp" | "no-carrier" | "degraded" | "absent" => AMBER,
            "fault" | "clash" | "down" | "error" | "no" => RED,
            _ => "",
        };
        self.paint(colour, word)
    }
}

fn append(lines: &mut [String], between: &str, text: &str) {
    if let Some(line) = lines.last_mut() {
        line.push_str(between);
        line.push_str(text);
    }
}

/// Returns a text without colour sequences.
pub(super) fn plain(text: &str) -> String {
    let mut parts = text.split("\x1b[");
    let first = parts.next().unwrap_or_default().to_owned();
    first
        + &parts.map(|part| part.split_once('m').map_or(part, |(_, text)| text)).collect::<String>()
}

/// Returns the width of a text, in columns.
pub(super) fn width(text: &str) -> usize {
    plain(text).chars().count()
}

/// Returns the whole page; no row is wider than `columns`.
pub fn page(status: &Snapshot, colours: bool, columns: Option<usize>) -> String {
    let mut page = Page { text: String::new(), colours, columns };
    page.row(
        "status",
        &[
            page.word(&status.severity.to_string()),
            format!("version {}", status.version),
            format!("running {}", age(status.uptime_s)),
        ],
    );
    for alert in &status.alerts {
        let known =
            if alert.acknowledged { page.paint(DIM, " (acknowledged)") } else { String::new() };
        let line = format!("{}: {}{known}", page.word(&alert.severity.to_string()), alert.text);
        page.row("", &[line]);
    }
    uplinks(&mut page, status);
    gateway(&mut page, &status.gateway);
    ipv6(&mut page, status);
    nodes(&mut page, status);
    status.shutdown.iter().for_each(|status| shutdown(&mut page, status));
    status.host.iter().for_each(|status| host(&mut page, status));
    panel(&mut page, &status.panel);
    page.text
}

/// Adds the progress of a shutdown of the nodes.
fn shutdown(page: &mut Page, shutdown: &Shutdown) {
    let parts = [
        format!("{} still up", shutdown.waiting_total),
        shutdown.waiting.join(" "),
        format!("{} s left", shutdown.left_s),
        if shutdown.head { "then the head".to_owned() } else { String::new() },
    ];
    page.row("shutdown", &parts);
}

/// Adds the vitals of the head.
fn host(page: &mut Page, host: &Host) {
    let parts = [
        between("", host.temperature_c, " degrees"),
        host.load.map(|load| format!("load {load:.1}")).unwrap_or_default(),
        between("memory ", host.memory_available_percent, " % free"),
        between("disk ", host.disk_free_percent, " % free"),
    ];
    if parts.iter().any(|part| !part.is_empty()) {
        page.row("host", &parts);
    }
}

fn uplinks(page: &mut Page, status: &Snapshot) {
    if status.uplinks.is_empty() {
        page.row("uplink", &[page.word("absent")]);
    }
    for uplink in &status.uplinks {
        let name = if uplink.interface == status.uplink.interface { "uplink" } else { "" };
        page.row(name, &uplink_parts(page, uplink));
        if let Some(venue) = &uplink.venue {
            let reasons = uplink.venue_reasons.iter().flatten().map(ToString::to_string);
            page.row(
                "",
                &[format!("venue {venue}")].into_iter().chain(reasons).collect::<Vec<_>>(),
            );
        }
        if let Some(portal) = &uplink.portal_url {
            page.row("", &[format!("log in at {portal}")]);
        }
    }
}

fn uplink_parts(page: &Page, uplink: &Uplink) -> [String; 8] {
    let is_other = |address: &&IpNet| Some(**address) != uplink.address;
    let others: Vec<String> =
        uplink.addresses.iter().flatten().filter(is_other).map(ToString::to_string).collect();
    [
        between("", uplink.interface.as_ref(), ""),
        page.word(&uplink.state.to_string()),
        page.paint(BOLD, &between("", uplink.address, "")),
        others.join(" "),
        between("gateway ", uplink.gateway, ""),
        between("lease ", uplink.lease_left_s.map(age), ""),
        page.paint(AMBER, &between("not renewed for ", uplink.not_renewed_s.map(age), "")),
        page.paint(DIM, &between("for ", uplink.since_s.map(age), "")),
    ]
}

fn gateway(page: &mut Page, gateway: &Gateway) {
    let yes_no = |fact: Option<bool>| {
        page.word(fact.map_or("unknown", |fact| if fact { "yes" } else { "no" }))
    };
    let parts = [
        format!("forwarding {}", yes_no(Some(gateway.forwarding))),
        format!("NAT {}", yes_no(gateway.masquerade)),
        times("rules written", gateway.applied),
        times("repaired", gateway.repaired),
    ];
    page.row("gateway", &parts);
    match gateway.overlap.known() {
        Some(Overlap::None) => {}
        Some(Overlap::Routed) => page.row("", &[ROUTED.to_owned()]),
        Some(Overlap::Renumbered) => page.row("", &[RENUMBERED.to_owned()]),
        None => page.row("", &[format!("overlap {}", gateway.overlap)]),
    }
    if let Some(by) = &gateway.blocked_by {
        let names: Vec<&str> =
            [&by.table, &by.chain].into_iter().flatten().map(|name| &**name).collect();
        let culprit =
            if names.is_empty() { "something unseen".to_owned() } else { names.join(" ") };
        let line = format!("{} by {culprit}: {}", page.paint(RED, "blocked"), by.remedy);
        page.row("", &[line]);
    }
}

/// Formats how often something was done: "rules written once".
fn times(what: &str, times: u64) -> String {
    match times {
        0 => String::new(),
        1 => format!("{what} once"),
        times => format!("{what} {times} times"),
    }
}

/// Adds that IPv6 is not forwarded, if an uplink has it.
fn ipv6(page: &mut Page, status: &Snapshot) {
    let is_ipv6 = |address: &IpNet| matches!(address, IpNet::V6(_));
    let there = status.uplinks.iter().any(|uplink| uplink.addresses.iter().flatten().any(is_ipv6));
    if there && status.gateway.ipv6_forwarding == Some(false) {
        page.row("", &["IPv6 is not forwarded: cluster.ipv6 is off".to_owned()]);
    }
}

fn nodes(page: &mut Page, status: &Snapshot) {
    let cluster = &status.cluster;
    page.row(
        "cluster",
        &[
            cluster.interface.as_ref().map_or_else(|| page.word("absent"), ToString::to_string),
            between("", cluster.address, ""),
            format!("{}/{} up", cluster.up, cluster.total),
            format!("dhcp {}", cluster.dhcp),
        ],
    );
    let mut nodes: Vec<_> = status.nodes.iter().collect();
    let total = nodes.len();
    if total > MAX_NODES {
        nodes.sort_by_key(|node| node.health == NodeHealth::Up);
    }
    nodes.truncate(MAX_NODES);
    let width = nodes.iter().map(|node| node.name.chars().count()).max().unwrap_or(0);
    for node in nodes {
        let health = node.health.to_string();
        let padding = " ".repeat(8_usize.saturating_sub(health.len()));
        let rtt = node
            .rtt_us
            .filter(|_| node.health == NodeHealth::Up)
            .map(round_trip)
            .unwrap_or_default();
        page.row(
            "",
            &[
                format!("{:<width$}", node.name),
                format!("{:<15}", between("", node.reached_at(), "")),
                format!("{}{padding}", page.word(&health)),
                format!("{rtt:>8}"),
                page.paint(DIM, &format!("for {}", age(node.since_s))),
                between("", node.stage.as_ref(), ""),
            ],
        );
    }
    if total > MAX_NODES {
        page.row("", &[format!("and {} more (--json has them all)", total - MAX_NODES)]);
    }
}

fn panel(page: &mut Page, panel: &PanelStatus) {
    let bracketed = |line: &Text| format!("[{line}]");
    let lines: Vec<String> = panel.lcd.lines.iter().flatten().map(bracketed).collect();
    let errors = match panel.lcd.errors {
        0 => String::new(),
        1 => "1 bus error".to_owned(),
        errors => format!("{errors} bus errors"),
    };
    page.row(
        "lcd",
        &[page.word(&panel.lcd.state.to_string()), lines.join(" "), page.paint(AMBER, &errors)],
    );
    let (colour, pattern) = (panel.led.colour.as_ref(), panel.led.pattern.as_ref());
    page.row(
        "led",
        &[
            page.word(&panel.led.state.to_string()),
            between("", colour, ""),
            between("", pattern, ""),
        ],
    );
}

/// Formats a value between two texts; empty without a value.
fn between(before: &str, value: Option<impl Display>, after: &str) -> String {
    value.map(|value| format!("{before}{value}{after}")).unwrap_or_default()
}

/// Formats an age: `42 s`, `7 min`, `3 h 5 min`, `12 d 4 h`.
pub fn age(seconds: u64) -> String {
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    match seconds {
        0..=119 => format!("{seconds} s"),
        120..=7199 => format!("{minutes} min"),
        7200..=172_799 => format!("{hours} h {} min", minutes % 60),
        _ => format!("{days} d {} h", hours % 24),
    }
}

/// Formats a round-trip time: `310 µs`, `4.2 ms`.
pub fn round_trip(microseconds: u64) -> String {
    match microseconds {
        0..=999 => format!("{microseconds} µs"),
        _ => format!("{}.{} ms", microseconds / 1000, microseconds % 1000 / 100),
    }
}
