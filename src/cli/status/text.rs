//! The status as people read it.

use serde_json::Value;

use super::client::View;

/// So many nodes are listed; of more, those that are not up come first.
const MOST_NODES: usize = 40;

const RESET: &str = "\x1b[0m";
const BOLD: &str = "\x1b[1m";
const DIM: &str = "\x1b[2m";
const GREEN: &str = "\x1b[32m";
const BLUE: &str = "\x1b[34m";
const AMBER: &str = "\x1b[33m";
const RED: &str = "\x1b[31m";

/// Text that may be coloured.
struct Page {
    text: String,
    colours: bool,
}

impl Page {
    /// One row: a name, and what there is to say of it.
    fn row(&mut self, name: &str, parts: &[String]) {
        let parts: Vec<&str> = parts.iter().map(String::as_str).filter(|part| !part.is_empty()).collect();
        let name = self.paint(DIM, &format!("{name:<9}"));
        self.text.push_str(&format!("{name} {}\n", parts.join("  ")));
    }

    fn paint(&self, colour: &str, text: &str) -> String {
        if self.colours && !text.is_empty() { format!("{colour}{text}{RESET}") } else { text.to_owned() }
    }

    /// A word in the colour of how well it is.
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

/// The whole page.
pub fn page(view: &View, colours: bool) -> String {
    let status = view.now();
    let mut page = Page { text: String::new(), colours };
    let severity = text(&status, "/severity");
    page.row(
        "status",
        &[
            page.word(&severity),
            format!("version {}", text(&status, "/version")),
            format!("running {}", age(number(&status, "/uptime_s").unwrap_or(0))),
        ],
    );
    for alert in list(&status, "/alerts") {
        let known = alert.pointer("/acknowledged").and_then(Value::as_bool) == Some(true);
        let known = if known { page.paint(DIM, " (acknowledged)") } else { String::new() };
        let line = format!("{}: {}{known}", page.word(&text(alert, "/severity")), text(alert, "/text"));
        page.row("", &[line]);
    }
    uplinks(&mut page, &status);
    gateway(&mut page, &status);
    nodes(&mut page, &status);
    host(&mut page, &status);
    panel(&mut page, &status);
    page.text
}

/// What the machine tells of itself.
fn host(page: &mut Page, status: &Value) {
    let load = status.pointer("/host/load").and_then(Value::as_f64).map(|load| format!("load {load:.1}"));
    let figure = |path: &str, before: &str, after: &str| match number(status, path) {
        Some(figure) => format!("{before}{figure}{after}"),
        None => String::new(),
    };
    let parts = [
        figure("/host/temperature_c", "", " degrees"),
        load.unwrap_or_default(),
        figure("/host/memory_available_percent", "memory ", " % free"),
        figure("/host/disk_free_percent", "disk ", " % free"),
    ];
    if parts.iter().any(|part| !part.is_empty()) {
        page.row("host", &parts);
    }
}

fn uplinks(page: &mut Page, status: &Value) {
    let active = text(status, "/uplink/interface");
    if list(status, "/uplinks").next().is_none() {
        page.row("uplink", &[page.word("absent")]);
    }
    for uplink in list(status, "/uplinks") {
        let interface = text(uplink, "/interface");
        let name = if interface == active { "uplink" } else { "" };
        let address = text(uplink, "/address");
        let others: Vec<String> =
            list(uplink, "/addresses").filter_map(Value::as_str).filter(|a| *a != address).map(str::to_owned).collect();
        let gateway = labelled(uplink, "/gateway", "gateway ");
        let lease = number(uplink, "/lease_left_s").map(|left| format!("lease {}", age(left))).unwrap_or_default();
        let late =
            number(uplink, "/not_renewed_s").map(|late| format!("not renewed for {}", age(late))).unwrap_or_default();
        let since = number(uplink, "/since_s").map(|since| page.paint(DIM, &format!("for {}", age(since))));
        page.row(
            name,
            &[
                interface,
                page.word(&text(uplink, "/state")),
                page.paint(BOLD, &address),
                others.join(" "),
                gateway,
                lease,
                page.paint(AMBER, &late),
                since.unwrap_or_default(),
            ],
        );
        let portal = text(uplink, "/portal_url");
        if !portal.is_empty() {
            page.row("", &[format!("log in at {portal}")]);
        }
    }
}

fn gateway(page: &mut Page, status: &Value) {
    let yes_no = |path: &str| match status.pointer(path).and_then(Value::as_bool) {
        Some(true) => page.word("yes"),
        Some(false) => page.word("no"),
        None => page.word("unknown"),
    };
    let times = |path: &str, word: &str| match number(status, path) {
        Some(0) | None => String::new(),
        Some(times) => format!("{word} {times}x"),
    };
    let overlap = text(status, "/gateway/overlap");
    let parts = [
        format!("forwarding {}", yes_no("/gateway/forwarding")),
        format!("masquerade {}", yes_no("/gateway/masquerade")),
        if overlap == "none" { String::new() } else { format!("overlap {overlap}") },
        times("/gateway/applied", "applied"),
        times("/gateway/repaired", "repaired"),
    ];
    page.row("gateway", &parts);
    if status.pointer("/gateway/blocked_by").is_some_and(Value::is_object) {
        let names = [text(status, "/gateway/blocked_by/table"), text(status, "/gateway/blocked_by/chain")].join(" ");
        let by = if names.trim().is_empty() { "something unseen" } else { names.trim() };
        let line = format!("{} by {by}: {}", page.paint(RED, "blocked"), text(status, "/gateway/blocked_by/remedy"));
        page.row("", &[line]);
    }
    let is_ipv6 = |address: &Value| address.as_str().is_some_and(|address| address.contains(':'));
    let there = list(status, "/uplinks").any(|uplink| list(uplink, "/addresses").any(is_ipv6));
    if there && status.pointer("/gateway/ipv6_forwarding").and_then(Value::as_bool) == Some(false) {
        page.row("", &["IPv6 is not forwarded: nodes get none yet".to_owned()]);
    }
}

fn nodes(page: &mut Page, status: &Value) {
    let count = |path: &str| number(status, path).unwrap_or(0);
    let interface = text(status, "/cluster/interface");
    page.row(
        "cluster",
        &[
            if interface.is_empty() { page.word("absent") } else { interface },
            text(status, "/cluster/address"),
            format!("{}/{} up", count("/cluster/up"), count("/cluster/total")),
            format!("dhcp {}", text(status, "/cluster/dhcp")),
        ],
    );
    let mut nodes: Vec<&Value> = list(status, "/nodes").collect();
    let total = nodes.len();
    if total > MOST_NODES {
        nodes.sort_by_key(|node| text(node, "/health") == "up");
    }
    let width = nodes.iter().take(MOST_NODES).map(|node| text(node, "/name").chars().count()).max().unwrap_or(0);
    for node in nodes.into_iter().take(MOST_NODES) {
        let health = text(node, "/health");
        let padding = " ".repeat(8_usize.saturating_sub(health.len()));
        let rtt = number(node, "/rtt_us").filter(|_| health == "up").map(round_trip).unwrap_or_default();
        let since = number(node, "/since_s").map(|since| page.paint(DIM, &format!("for {}", age(since))));
        page.row(
            "",
            &[
                format!("{:<width$}", text(node, "/name")),
                format!("{:<15}", text(node, "/address")),
                format!("{}{padding}", page.word(&health)),
                format!("{rtt:>8}"),
                since.unwrap_or_default(),
                text(node, "/stage"),
            ],
        );
    }
    if total > MOST_NODES {
        page.row("", &[format!("and {} more (--json has them all)", total - MOST_NODES)]);
    }
}

fn panel(page: &mut Page, status: &Value) {
    let lcd = text(status, "/panel/lcd/state");
    let lines: Vec<String> =
        list(status, "/panel/lcd/lines").filter_map(Value::as_str).map(|line| format!("[{line}]")).collect();
    let errors = match number(status, "/panel/lcd/errors") {
        None | Some(0) => String::new(),
        Some(1) => "1 bus error".to_owned(),
        Some(errors) => format!("{errors} bus errors"),
    };
    page.row("lcd", &[page.word(&lcd), lines.join(" "), page.paint(AMBER, &errors)]);
    let led = text(status, "/panel/led/state");
    page.row("led", &[page.word(&led), text(status, "/panel/led/colour"), text(status, "/panel/led/pattern")]);
}

/// The text at a path; empty for null, and without control characters: names come from outside.
fn text(value: &Value, path: &str) -> String {
    value.pointer(path).and_then(Value::as_str).unwrap_or_default().chars().filter(|c| !c.is_control()).collect()
}

fn labelled(value: &Value, path: &str, label: &str) -> String {
    let found = text(value, path);
    if found.is_empty() { found } else { format!("{label}{found}") }
}

fn number(value: &Value, path: &str) -> Option<u64> {
    value.pointer(path)?.as_u64()
}

fn list<'v>(value: &'v Value, path: &str) -> impl Iterator<Item = &'v Value> {
    value.pointer(path).and_then(Value::as_array).into_iter().flatten()
}

/// `42 s`, `7 min`, `3 h 5 min`, `12 d 4 h`.
pub fn age(seconds: u64) -> String {
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    match seconds {
        0..=119 => format!("{seconds} s"),
        120..=7199 => format!("{minutes} min"),
        7200..=172_799 => format!("{hours} h {} min", minutes % 60),
        _ => format!("{days} d {} h", hours % 24),
    }
}

/// `310 µs`, `4.2 ms`.
pub fn round_trip(microseconds: u64) -> String {
    match microseconds {
        0..=999 => format!("{microseconds} µs"),
        _ => format!("{}.{} ms", microseconds / 1000, microseconds % 1000 / 100),
    }
}
