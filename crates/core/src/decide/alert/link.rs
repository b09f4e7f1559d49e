//! Alerts of the head's ports: the cluster port, bridge ports, ports without a role, and address
//! conflicts.

use crate::config::Settings;
use crate::decide::alert::{Alert, AlertCode};
use crate::event::LinkIndex;
use crate::facts::Facts;
use crate::facts::link::mirror::HeldAddress;

/// Raises what is wrong with the ports that the gateway uses or keeps closed.
pub fn alerts(settings: &Settings, facts: &Facts, raised: &mut Vec<Alert>) {
    cluster_port(settings, facts, raised);
    without_role(facts, raised);
    conflicts(facts, raised);
    neighbours(facts, raised);
}

/// Raises a cluster port that is missing or has no carrier.
fn cluster_port(settings: &Settings, facts: &Facts, raised: &mut Vec<Alert>) {
    match facts.cluster_port() {
        None => {
            let text = format!(
                "the cluster interface {} is not there: plug it in, or correct cluster.interface \
                 (bramblegate detect lists the interfaces)",
                settings.cluster.interface
            );
            raised.push(Alert::whole(AlertCode::GatewayPortAbsent, text));
        }
        Some(port) if port.up && facts.kernel().is_empty_bridge(port) => {
            let text = no_port(&port.name);
            raised.push(Alert::whole(AlertCode::GatewayPortNoCarrier, text));
        }
        // The carrier of a port that is down is unknown; the gateway sets the port up.
        Some(port) if port.up && !port.carrier => {
            let text =
                format!("no cable in the cluster interface {}: is the switch on?", port.name);
            raised.push(Alert::whole(AlertCode::GatewayPortNoCarrier, text));
        }
        Some(_) => {}
    }
}

/// Returns the text about a bridge without ports.
pub fn no_port(bridge: &str) -> String {
    format!(
        "the bridge {bridge} has no port: put one into it (sudo ip link set PORT up master \
         {bridge})"
    )
}

/// Raises configured ports that are ports of a bridge or bond, or only carry a VLAN.
pub fn enslaved(facts: &Facts, raised: &mut Vec<Alert>) {
    let roles = facts.roles();
    for (port, master) in &roles.enslaved {
        raised.extend(in_bridge(facts, *port, *master));
    }
    for port in roles.uplinks.iter().chain(roles.cluster.as_ref()) {
        raised.extend(only_vlan(facts, *port));
    }
}

/// Returns the alert that `port` is a port of `master`.
fn in_bridge(facts: &Facts, index: LinkIndex, master: LinkIndex) -> Option<Alert> {
    let cluster = facts.roles().cluster;
    let leads_to_nodes = cluster == Some(master);
    let (port, master) = (&facts.kernel().link(index)?.name, &facts.kernel().link(master)?.name);
    let text = if leads_to_nodes {
        format!(
            "{port} is a port of {master}, which leads to the nodes: name another uplink, or take \
             it out (sudo ip link set {port} nomaster)"
        )
    } else {
        format!("{port} is a port of {master}: name {master} in the settings instead")
    };
    // Another uplink may take over; without the cluster port nothing works.
    let code = if cluster == Some(index) {
        AlertCode::GatewayPortEnslaved
    } else {
        AlertCode::UplinkEnslaved
    };
    Some(Alert::of_port(code, port, text).shown_as(format!("{port} IN {master}")))
}

/// Returns the alert that a VLAN of the port has an address and the port itself none. An untagged
/// network beside tagged ones is fine.
fn only_vlan(facts: &Facts, index: LinkIndex) -> Option<Alert> {
    let port = &facts.kernel().link(index)?.name;
    let vlan = facts
        .kernel()
        .links()
        .find(|link| link.parent == Some(index) && link.kind.as_deref() == Some("vlan"))
        .filter(|vlan| has_address(facts, vlan.index) && !has_address(facts, index))?;
    let text =
        format!("{port} only carries the VLAN {0}: name {0} in the settings instead", vlan.name);
    let alert = Alert::of_port(AlertCode::UplinkEnslaved, port, text);
    Some(alert.shown_as(format!("{port} HAS VLAN")))
}

/// Returns whether the port has a usable address.
fn has_address(facts: &Facts, index: LinkIndex) -> bool {
    facts.kernel().addresses(index).iter().any(HeldAddress::is_usable)
}

/// Raises each port that has an address and no role: it is closed, perhaps unintentionally.
fn without_role(facts: &Facts, raised: &mut Vec<Alert>) {
    for (link, held) in facts.links().ports_without_role() {
        let port = &link.name;
        let text = format!(
            "{port} has the address {} and no role: it is closed except for uplink.allow, and \
             new connections from it do not reach the nodes. If it leads to the venue, add \
             \"{port}\" to uplink.interfaces; if its network may reach head and nodes, add it to \
             gateway.trust",
            held.address
        );
        raised.push(Alert::of_port(AlertCode::GatewayUnknownPort, port, text));
    }
}

/// Raises addresses of the head that another board has too: ARP requests for them reach either.
fn conflicts(facts: &Facts, raised: &mut Vec<Alert>) {
    for conflict in &facts.vitals().conflicts {
        let Some(port) = facts.kernel().link(conflict.port) else { continue };
        let (port, by, address) = (&port.name, conflict.by, conflict.address);
        if facts.roles().cluster == Some(conflict.port) {
            let text = format!(
                "{by} on the cluster interface {port} has the head's own address {address} too, \
                 so nodes reach one or the other"
            );
            raised.push(Alert::whole(AlertCode::GatewayAddressTaken, text));
        } else {
            let text = format!(
                "{by} has {address} too, the head's address on {port}, so the venue reaches one or \
                 the other: ask the venue for another address (a DHCP client gets one by asking \
                 again)"
            );
            raised.push(Alert::of_port(AlertCode::UplinkAddressTaken, port, text));
        }
    }
}

/// Raises a kernel neighbour table that is nearly full: nodes without an entry get neither packets
/// nor a lease.
fn neighbours(facts: &Facts, raised: &mut Vec<Alert>) {
    let Some((count, max)) = facts.vitals().neighbours else { return };
    let text = format!(
        "the kernel's neighbour table is nearly full ({count} of {max}); further nodes get no \
         addresses and cannot be reached: raise it (sudo sysctl -w \
         net.ipv4.neigh.default.gc_thresh3={}, and in /etc/sysctl.d/ for the next start)",
        max.saturating_mul(4)
    );
    raised.push(Alert::whole(AlertCode::GatewayNeighbours, text));
}
