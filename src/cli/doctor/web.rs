//! The status page: its server, its port, access from the venue, its password.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use ipnet::IpNet;

use super::sockets::{self, is_running};
use super::{CheckContext, Finding, FindingCode, Rank};
use crate::cli::machine::Machine;
// PROGRAM has 15 bytes, the most that the kernel keeps of a process's name.
use crate::cli::web::{FILE as PASSWORD, PROGRAM as SERVER, UNIT, UNIT_FILE};
use crate::config::{Allow, Public, Transport, WebAddress};
use crate::watch::web;

const DROP_INS: &str = "/etc/bramblegate/bramblegate.toml.d";

/// Finds what keeps users from the status page.
pub fn page(context: &CheckContext<'_>) -> Vec<Finding> {
    let (machine, web) = (context.machine, &context.settings.web);
    if !web.enabled {
        return Vec::new();
    }
    if !is_running(machine, SERVER) {
        return stopped(machine).into_iter().collect();
    }
    let port = web::read(&machine.path(&web.port_file.to_string_lossy()));
    let Some(port) = port.filter(|port| answers(context, *port)) else {
        let text = format!("{SERVER} runs, but the status page does not answer");
        return vec![Finding::of(FindingCode::HostWebSilent, text)];
    };
    [other_port(context, port), closed_to_venue(context), missing_password(context)]
        .into_iter()
        .flatten()
        .collect()
}

/// Describes a page that does not run. A hint if its unit was never enabled: by default the
/// settings have the page on.
fn stopped(machine: &Machine) -> Option<Finding> {
    if machine.is_enabled(UNIT) {
        let text = format!("{SERVER} does not run: no one sees the status page");
        return Some(Finding::of(FindingCode::HostWebStopped, text));
    }
    let text = "the status page is on in the settings, and its server has not been switched on";
    let found = Finding::of(FindingCode::HostWebStopped, text);
    machine.exists(UNIT_FILE).then(|| found.ranked(Rank::Hint))
}

/// Returns whether the page's server answers at its port.
fn answers(context: &CheckContext<'_>, port: u16) -> bool {
    let mut at = context.settings.web.listen.iter().filter_map(|place| match place {
        WebAddress::At(at) if at.port() == port && !at.ip().is_unspecified() => Some(at.ip()),
        _ => None,
    });
    let address = at.next().unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST));
    context.machine.page_answers(SocketAddr::new(address, port))
}

/// Finds a page that is not at the first port of the settings.
fn other_port(context: &CheckContext<'_>, port: u16) -> Option<Finding> {
    let settings = context.settings;
    let mut leads = settings.forwards.iter().filter(|forward| forward.transport == Transport::Tcp);
    let first = settings.web.listen.first()?.port();
    // The user has forwarded this port to a node.
    if first == port || leads.any(|forward| forward.listen == first) {
        return None;
    }
    let listeners = sockets::listeners(context.machine);
    let other = listeners.iter().find(|listener| listener.tcp && listener.port == first);
    let Some(other) = other else {
        let text = format!("the status page is at port {port}, though port {first} is free");
        let remedy = format!("`sudo systemctl restart {SERVER}`");
        return Some(Finding::new(FindingCode::HostWebPort, text, remedy));
    };
    let owner = other.owner(context.machine);
    let name = owner.as_ref().map_or("another program".to_owned(), ToString::to_string);
    let text = format!("the status page is at port {port}, because {name} has port {first}");
    let remedy = format!(
        "{}. Then `sudo systemctl restart {SERVER}`. To leave the page there, write web.listen = \
         [{port}]",
        sockets::stop(context.machine, owner.as_ref())
    );
    Some(Finding::new(FindingCode::HostWebPort, text, remedy))
}

/// Finds that `uplink.allow` keeps the venue from the page.
fn closed_to_venue(context: &CheckContext<'_>) -> Option<Finding> {
    let allow = &context.settings.uplink.allow;
    if allow.contains(&Allow::Web) {
        return None;
    }
    let mut words: Vec<String> = allow.iter().map(allow_entry).collect();
    words.push("\"web\"".to_owned());
    let text = "the nodes see the status page; the venue does not, because uplink.allow does not \
                have \"web\"";
    let remedy = format!(
        "`sudo mkdir -p {DROP_INS} && echo 'uplink.allow = [{}]' | sudo tee {DROP_INS}/web.toml \
         && sudo systemctl reload bramblegate`",
        words.join(", ")
    );
    Some(Finding::new(FindingCode::HostWebNotAllowed, text, remedy))
}

/// Formats an entry of `uplink.allow` as in the settings.
fn allow_entry(allow: &Allow) -> String {
    match *allow {
        Allow::Ssh => "\"ssh\"".to_owned(),
        Allow::Icmp => "\"icmp\"".to_owned(),
        Allow::Mdns => "\"mdns\"".to_owned(),
        Allow::Web => "\"web\"".to_owned(),
        Allow::Tcp(first, last) => port_range("tcp", first, last),
        Allow::Udp(first, last) => port_range("udp", first, last),
    }
}

/// Formats ports as in `uplink.allow`.
fn port_range(transport: &str, first: u16, last: u16) -> String {
    if first == last {
        format!("\"{transport}:{first}\"")
    } else {
        format!("\"{transport}:{first}-{last}\"")
    }
}

/// Finds that a needed password is not set: the page shows nothing without it, or the settings name
/// networks for orders.
fn missing_password(context: &CheckContext<'_>) -> Option<Finding> {
    let settings = context.settings;
    let usual = [IpNet::V4(settings.cluster.address.trunc())];
    let is_closed = settings.web.public == Public::Off;
    let is_wanted = !settings.web.admin_from.is_empty() && settings.web.admin_from != usual;
    if context.machine.exists(PASSWORD) || !(is_closed || is_wanted) {
        return None;
    }
    let text = if is_closed {
        "the status page shows nothing without a log-in, and no password is set"
    } else {
        "web.admin_from names networks for orders, and no password is set"
    };
    let found = Finding::of(FindingCode::HostWebNoPassword, text);
    Some(if is_closed { found } else { found.ranked(Rank::Hint) })
}
