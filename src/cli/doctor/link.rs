//! Ports without a role, swapped cables, and drops of our own rules.

use std::net::Ipv4Addr;

use super::{CheckContext, Finding, FindingCode};
use crate::api::status::{Snapshot, Uplink, UplinkState};
use crate::cli::machine::Machine;
use crate::event::{AlertCode, Link, Mac};
use crate::facts::link::mirror::HeldAddress;

/// Finds ports that have an address and no role: the rules close them.
pub fn unknown_ports(context: &CheckContext<'_>) -> Vec<Finding> {
    if !context.settings.gateway.enabled {
        return Vec::new();
    }
    context.facts().links().ports_without_role().map(unknown_port).collect()
}

/// Describes a port with an address and without a role.
fn unknown_port((link, held): (&Link, &HeldAddress)) -> Finding {
    let port = &link.name;
    Finding::new(
        AlertCode::GatewayUnknownPort,
        format!(
            "{port} has the address {} and no role: the rules close it, except for \
             uplink.allow",
            held.address
        ),
        format!(
            "add \"{port}\" to uplink.interfaces if it leads to the venue, to gateway.trust \
             if its network may reach head \
             and nodes"
        ),
    )
}

/// Shows what our rules dropped since they were loaded; most of it is intended.
pub fn drops(context: &CheckContext<'_>) -> Vec<Finding> {
    let dropped = context.machine.drops();
    if dropped.is_empty() {
        return Vec::new();
    }
    let each = dropped.iter().map(|(comment, packets)| {
        format!("{packets} ({})", comment.strip_prefix("bramblegate: ").unwrap_or(comment))
    });
    let text = format!(
        "packets that Bramblegate's own rules dropped since they were loaded: {}",
        each.collect::<Vec<_>>().join(", ")
    );
    let remedy = "if something does not get through and a number grows, that rule is the cause: \
                  bramblegate print ruleset --kernel";
    vec![Finding::new(AlertCode::GatewayDrops, text, remedy)]
}

/// Finds another DHCP server on the cluster port, and whether that means swapped cables.
pub fn swapped(context: &CheckContext<'_>) -> Vec<Finding> {
    let Some(cluster) = context.cluster_port() else { return Vec::new() };
    let status = context.machine.status(&context.settings.sockets.status).unwrap_or_default();
    let foreign = foreign_server(&status);
    let wired = context.uplinks().into_iter().filter(|name| !is_wireless(context.machine, name));
    let evidence = wired.filter_map(|uplink| {
        let node = node_seen_at(context, &uplink, foreign.is_some());
        let silent = foreign.is_some() && is_silent(&status, &uplink);
        let why = match node {
            Some(node) => format!("the node {node} was seen at {uplink}"),
            None if silent => {
                format!(
                    "a DHCP server answers on the cluster interface {cluster}, and none on any \
                     uplink, though {uplink} has a cable"
                )
            }
            None => return None,
        };
        Some((uplink, why))
    });
    match (evidence.into_iter().next(), foreign) {
        (Some((uplink, why)), _) => vec![Finding::new(
            FindingCode::GatewayPortsSwapped,
            format!("the cables of cluster and uplink are swapped: {why}"),
            format!(
                "move the cable in {cluster} to {uplink}, and the one in {uplink} to {cluster}"
            ),
        )],
        (None, Some(text)) => vec![Finding::new(
            AlertCode::GatewayForeignDhcp,
            text,
            format!(
                "is the cable in {cluster} the one to the nodes? If it is, switch off DHCP on \
                 that server or unplug it"
            ),
        )],
        (None, None) => Vec::new(),
    }
}

/// Returns the text of the daemon's alert about another DHCP server.
fn foreign_server(status: &Snapshot) -> Option<String> {
    let alert =
        status.alerts.iter().find(|alert| alert.code == AlertCode::GatewayForeignDhcp.name())?;
    // Without its remedy: the one here is more precise.
    alert.text.split(": ").next().map(str::to_owned)
}

/// Returns whether this uplink has a cable, and no uplink at all has found a DHCP server.
fn is_silent(status: &Snapshot, uplink: &str) -> bool {
    let here =
        status.uplinks.iter().any(|of| of.interface.as_deref() == Some(uplink) && is_waiting(of));
    here && status.uplinks.iter().all(|of| is_waiting(of) || is_disconnected(of))
}

/// Returns whether an uplink has no cable, or is absent.
fn is_disconnected(uplink: &Uplink) -> bool {
    matches!(uplink.state.known(), Some(UplinkState::Absent | UplinkState::NoCarrier))
}

/// Returns whether an uplink with a cable has no address yet.
fn is_waiting(uplink: &Uplink) -> bool {
    matches!(uplink.state.known(), Some(UplinkState::Searching | UplinkState::NoDhcp))
}

/// Returns a node that is a neighbour on this port, by its hardware address. By its IP address only
/// if `suspected`, as the venue may have the same subnet.
fn node_seen_at(context: &CheckContext<'_>, port: &str, suspected: bool) -> Option<String> {
    let table = context.machine.read("/proc/net/arp").unwrap_or_default();
    let met: Vec<(Ipv4Addr, Mac)> =
        table.lines().skip(1).filter_map(|line| neighbour(line, port)).collect();
    let node = context.settings.nodes.iter().find(|node| {
        met.iter().any(|(address, mac)| match node.mac {
            Some(own) => own == *mac,
            None => suspected && node.address == Some(*address),
        })
    })?;
    Some(node.name.clone())
}

/// Parses a line of `/proc/net/arp` (proc(5)) about a neighbour that has answered: IP HW-type Flags
/// HW-address Mask Device.
fn neighbour(line: &str, port: &str) -> Option<(Ipv4Addr, Mac)> {
    let fields: Vec<&str> = line.split_whitespace().collect();
    let flags = u32::from_str_radix(fields.get(2)?.strip_prefix("0x")?, 16).ok()?;
    let complete = flags & 2 != 0 && fields.get(5) == Some(&port);
    complete.then_some((fields.first()?.parse().ok()?, fields.get(3)?.parse().ok()?))
}

/// Returns whether a port is wireless, by its usual name or its driver.
pub fn is_wireless(machine: &Machine, name: &str) -> bool {
    name.starts_with("wl") || machine.exists(&format!("/sys/class/net/{name}/phy80211"))
}
