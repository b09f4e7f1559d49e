//! The parts about the head: address, alerts, uplinks, gateway, vitals.

use std::net::IpAddr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bramblegate_api::Word;
use bramblegate_api::client::Known;
use bramblegate_api::status::{
    Node, NodeHealth, Severity, Shutdown, Snapshot, Uplink, UplinkState,
};
use maud::{Markup, html};

use super::words::{Words, text};

/// The language of the daemon's texts, for screen readers.
pub(super) const DAEMON: &str = "en";

/// Draws the overall severity, and whether the state is stale.
pub(super) fn state(known: &Known, words: &Words) -> Markup {
    let severity = known.snapshot.as_deref().map(|snapshot| &snapshot.severity);
    html! {
        @if let Some(severity) = severity.filter(|_| known.lost.is_none()) {
            span class={ "severity " (class(severity)) } { (text(severity, words.severity)) }
        }
        @if let Some(snapshot) = known.snapshot.as_deref().filter(|_| known.lost.is_none()) {
            " " p.glance { (glance(snapshot, words)) }
        }
        @if severity.is_none() {
            p.lost { (words.not_started) }
        } @else if let Some((_, since)) = &known.lost {
            p.lost { (words.lost) " " small { "(" (words.since) " " (moment(*since)) ")" } }
        } @else if let Some(shutdown) = known.snapshot.as_deref().and_then(|all| all.shutdown.as_ref()) {
            (shutting_down(shutdown, words))
        }
    }
}

/// Draws the progress of a shutdown.
fn shutting_down(shutdown: &Shutdown, words: &Words) -> Markup {
    let Shutdown { waiting, waiting_total, .. } = shutdown;
    html! {
        p.ending {
            (words.shutting_down)
            @if *waiting_total > 0 { " " (words.still_up) ": " (waiting_total) }
            @if !waiting.is_empty() {
                " (" (waiting.join(", ")) @if waiting.len() < *waiting_total { ", …" } ")"
            }
        }
    }
}

/// Summarizes the cluster in one line.
fn glance(snapshot: &Snapshot, words: &Words) -> String {
    let (up, total) = (snapshot.cluster.up, snapshot.cluster.total);
    let uplink = &snapshot.uplink;
    let way = match &uplink.interface {
        Some(name) if uplink.state == UplinkState::Online => {
            format!("{} {name}", words.internet_by)
        }
        Some(name) => format!("{name}: {}", text(&uplink.state, words.uplink)),
        None => words.no_uplink.to_owned(),
    };
    format!("{up} {} {total} {} · {way}", words.of, words.nodes_up)
}

/// Returns the CSS class of a severity; an unknown one counts as a warning.
pub(super) fn class(severity: &Word<Severity>) -> &'static str {
    severity.known().map_or("warning", Severity::name)
}

/// Draws the address to ssh to, large.
pub(super) fn address(snapshot: &Snapshot, words: &Words) -> Markup {
    let Some(address) = snapshot.uplink.address.map(|net| net.addr().to_string()) else {
        return html! { p.dim { (words.no_address) } };
    };
    html! {
        p.ssh { (line(&format!("ssh {address}"), words)) }
        details {
            summary { (words.ssh_nodes) }
            @if let Some(node) = node_address(snapshot) {
                p { (line(&format!("ssh -J {} {node}", jump(&address)), words)) }
            }
            p { (line(&format!("ssh {address} bramblegate ssh-config > ~/.ssh/bramble"), words)) }
        }
    }
}

/// Draws a command line with a button to copy it.
fn line(line: &str, words: &Words) -> Markup {
    html! {
        code { (line) }
        " "
        button type="button" data-copy=(line) hidden { (words.copy) }
    }
}

/// Returns the address of a node as an example, preferably of one that is up.
fn node_address(snapshot: &Snapshot) -> Option<&IpAddr> {
    let mut up = snapshot.nodes.iter().filter(|node| node.health == NodeHealth::Up);
    let address = up.find_map(Node::reached_at);
    address.or_else(|| snapshot.nodes.iter().find_map(Node::reached_at))
}

/// Returns a jump host for ssh(1), an IPv6 address in brackets.
fn jump(address: &str) -> String {
    if address.contains(':') { format!("[{address}]") } else { address.to_owned() }
}

/// Draws the alerts, most severe first, each with its remedy.
pub(super) fn alerts(snapshot: &Snapshot, words: &Words) -> Markup {
    if snapshot.alerts.is_empty() {
        return html! { p.dim { (words.nothing_wrong) } };
    }
    html! {
        ul {
            @for alert in &snapshot.alerts {
                li class={ "alert " (class(&alert.severity)) } {
                    b { (text(&alert.severity, words.severity)) }
                    " " span lang=(DAEMON) { (alert.text) } " "
                    small { (alert.code) @if alert.acknowledged { ", " (words.acknowledged) } }
                }
            }
        }
    }
}

/// Draws the uplinks, the active one marked.
pub(super) fn uplinks(snapshot: &Snapshot, at: Option<SystemTime>, words: &Words) -> Markup {
    if snapshot.uplinks.is_empty() {
        return html! { p.dim { (words.no_uplink) } };
    }
    html! {
        ul {
            @for uplink in &snapshot.uplinks {
                li.active[uplink.interface == snapshot.uplink.interface] { (one_uplink(uplink, at, words)) }
            }
        }
    }
}

fn one_uplink(uplink: &Uplink, at: Option<SystemTime>, words: &Words) -> Markup {
    let portal = uplink
        .portal_url
        .as_ref()
        .filter(|url| url.starts_with("http://") || url.starts_with("https://"));
    html! {
        b { @if let Some(interface) = &uplink.interface { (interface) } }
        " " (text(&uplink.state, words.uplink))
        @if let Some(venue) = &uplink.venue {
            br; (words.venue) " " (text(venue, words.venue_of))
            @for reason in uplink.venue_reasons.iter().flatten() { br; small lang=(DAEMON) { (reason) } }
        }
        @for address in uplink.addresses.iter().flatten() { br; code { (address) } }
        @if let Some(gateway) = &uplink.gateway { br; (words.router) " " code { (gateway) } }
        @if let Some(end) = after(at, uplink.lease_left_s) { br; (words.lease_left) " " (until(end)) }
        @if let Some(url) = portal {
            br; a href=(url) rel="noreferrer noopener" { (words.open_portal) }
        }
    }
}

/// Draws the gateway's state, as read back from the kernel.
pub(super) fn gateway(snapshot: &Snapshot, words: &Words) -> Markup {
    let gateway = &snapshot.gateway;
    let nat = match gateway.masquerade {
        Some(true) => words.yes,
        Some(false) => words.no,
        None => words.unknown,
    };
    let forwarding = if gateway.forwarding { words.yes } else { words.no };
    html! {
        dl {
            dt { (words.nat) } dd { (nat) }
            dt { (words.forwarding) } dd { (forwarding) }
            dt { (words.overlap) } dd { (text(&gateway.overlap, words.overlap_of)) }
            dt { (words.repaired) } dd { (gateway.repaired) "×" }
            dt { (words.subnet) }
            dd { @match snapshot.cluster.address { Some(net) => code { (net) }, None => (words.unknown) } }
            dt { (words.dhcp) } dd { (text(&snapshot.cluster.dhcp, words.dhcp_of)) }
            @if let Some(blocker) = &gateway.blocked_by {
                dt { (words.blocked) }
                dd {
                    @for name in [&blocker.table, &blocker.chain].into_iter().flatten() { code { (name) } " " }
                    br; span lang=(DAEMON) { (blocker.remedy) }
                }
            }
        }
    }
}

/// Draws the head's vitals.
pub(super) fn host(snapshot: &Snapshot, words: &Words) -> Markup {
    let Some(host) = &snapshot.host else { return html! { p.dim { (words.unknown) } } };
    let percent = |share: Option<u8>| share.map(|share| format!("{share} %"));
    let rows = [
        (words.temperature, host.temperature_c.map(|degrees| format!("{degrees} °C"))),
        (words.load, host.load.map(|load| words.number(&format!("{load:.2}")))),
        (words.memory_free, percent(host.memory_available_percent)),
        (words.disk_free, percent(host.disk_free_percent)),
    ];
    html! {
        dl {
            @for (name, value) in rows {
                @if let Some(value) = value { dt { (name) } dd { (value) } }
            }
        }
        @if host.under_voltage == Some(true) { p.lost { (words.under_voltage) } }
        @if host.read_only == Some(true) { p.lost { (words.read_only) } }
    }
}

/// Returns the moment that is `seconds` after `at`.
fn after(at: Option<SystemTime>, seconds: Option<u64>) -> Option<SystemTime> {
    at?.checked_add(Duration::from_secs(seconds?))
}

/// Returns the moment that is `age` seconds before `at`.
pub(super) fn before(at: Option<SystemTime>, age: u64) -> Option<SystemTime> {
    at?.checked_sub(Duration::from_secs(age))
}

/// Draws how long ago a moment was; the script keeps it up to date.
pub(super) fn moment(moment: SystemTime) -> Markup {
    html! { time data-since=(unix(moment)) {} }
}

fn until(moment: SystemTime) -> Markup {
    html! { time data-until=(unix(moment)) {} }
}

fn unix(moment: SystemTime) -> u64 {
    moment.duration_since(UNIX_EPOCH).map_or(0, |passed| passed.as_secs())
}
