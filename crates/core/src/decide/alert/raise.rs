//! Which alerts the facts raise.

use crate::config::Settings;
use crate::decide::alert::{
    dhcp, firewall, forward, host, inventory, link, names, node, routing, uplink,
};
use crate::event::{ApplyErrorKind, LinkIndex, Output};
use crate::facts::State;
use crate::facts::link::mirror::HeldAddress;

use super::{Alert, AlertCode, Subject};
use crate::decide::Overlap;
use crate::decide::cluster::Placement;

/// All alerts, the most severe first, then by code and text.
pub fn alerts(settings: &Settings, state: &State, placement: &Placement) -> Vec<Alert> {
    let mut raised = Vec::new();
    if state.is_synced() {
        uplink::alerts(settings, state, &mut raised);
        enslaved(state, &mut raised);
        if settings.gateway.enabled {
            gateway(settings, state, &mut raised);
            names::alerts(settings, state, &mut raised);
            overlap(settings, state, placement, &mut raised);
            routing::rules(state, placement, &mut raised);
            routing::failover(state, &mut raised);
            dhcp::other_server(state, &mut raised);
            dhcp::held(state, &mut raised);
            dhcp::exhausted(settings, state, &mut raised);
            forward::forwards(settings, state, placement, &mut raised);
            link::without_role(state, &mut raised);
            link::drops(state, placement, &mut raised);
        }
    }
    node::alerts(settings, state, &mut raised);
    inventory::alerts(state, &mut raised);
    ornaments(state, &mut raised);
    host::alerts(settings, state, &mut raised);
    for alert in raised.iter_mut().filter(|_| !state.acknowledged().is_empty()) {
        alert.acknowledged |= state.acknowledged().contains(&alert.id());
    }
    raised.sort_by(|a, b| {
        b.severity.cmp(&a.severity).then(a.code.cmp(&b.code)).then(a.text.cmp(&b.text))
    });
    raised
}

/// Returns an alert of a code that has no more than one at a time.
pub(crate) fn alert(code: AlertCode, what: impl Into<String>) -> Alert {
    Alert::new(code, Subject::Whole, what)
}

/// Returns an alert about a port of the head.
pub(crate) fn of_port(code: AlertCode, port: &str, what: impl Into<String>) -> Alert {
    Alert::new(code, Subject::Port(port.to_owned()), what)
}

/// Who finds no room in the kernel's table of neighbours is neither reached nor given an address.
fn neighbours(state: &State, raised: &mut Vec<Alert>) {
    let Some((count, max)) = state.vitals().neighbours else { return };
    let text = format!(
        "the kernel's table of neighbours is nearly full ({count} of {max}), and nodes beyond it are neither reached nor given addresses: raise it (sudo sysctl -w net.ipv4.neigh.default.gc_thresh3={}, and in /etc/sysctl.d/ for the next start)",
        max.saturating_mul(4)
    );
    raised.push(alert(AlertCode::GatewayNeighbours, text));
}

/// Other boards that have an address of the head: who asks for it reaches one or the other.
fn conflicts(state: &State, raised: &mut Vec<Alert>) {
    for conflict in &state.vitals().conflicts {
        let Some(port) = state.facts().link(conflict.port) else { continue };
        let (port, by, address) = (&port.name, conflict.by, conflict.address);
        if state.roles().cluster == Some(conflict.port) {
            let text = format!(
                "{by} on the cluster port {port} has the head's own address {address} too, so nodes reach one or the other"
            );
            raised.push(alert(AlertCode::GatewayAddressTaken, text));
        } else {
            let text = format!(
                "{by} has {address} too, the head's address on {port}, so the venue reaches one or the other: ask the venue for another \
                 address (a DHCP client gets one by asking again)"
            );
            raised.push(of_port(AlertCode::UplinkAddressTaken, port, text));
        }
    }
}

fn enslaved(state: &State, raised: &mut Vec<Alert>) {
    let roles = state.roles();
    for (index, master) in &roles.enslaved {
        let (Some(port), Some(master)) = (state.facts().link(*index), state.facts().link(*master))
        else {
            continue;
        };
        let of_cluster = roles.cluster == Some(master.index);
        let (port, master) = (&port.name, &master.name);
        let text = if of_cluster {
            format!(
                "{port} is a port of {master}, which leads to the nodes: name another uplink, or take it out (sudo ip link set {port} nomaster)"
            )
        } else {
            format!("{port} is a port of {master}: name {master} in the settings instead")
        };
        // Another uplink may do in its place; without the cluster's port nothing works.
        let code = if roles.cluster == Some(*index) {
            AlertCode::GatewayPortEnslaved
        } else {
            AlertCode::UplinkEnslaved
        };
        raised.push(of_port(code, port, text).shown_as(format!("{port} IN {master}")));
    }
    for index in roles.uplinks.iter().chain(roles.cluster.as_ref()) {
        let Some(port) = state.facts().link(*index) else { continue };
        let vlan = state
            .facts()
            .links()
            .find(|link| link.parent == Some(*index) && link.kind.as_deref() == Some("vlan"));
        // An untagged network beside tagged ones is in order; one that has no address is likely a
        // mistake.
        if let Some(vlan) =
            vlan.filter(|vlan| has_address(state, vlan.index) && !has_address(state, *index))
        {
            let (port, vlan) = (&port.name, &vlan.name);
            let text =
                format!("{port} only carries the VLAN {vlan}: name {vlan} in the settings instead");
            raised.push(
                of_port(AlertCode::UplinkEnslaved, port, text).shown_as(format!("{port} HAS VLAN")),
            );
        }
    }
}

fn has_address(state: &State, index: LinkIndex) -> bool {
    state.facts().addresses(index).iter().any(HeldAddress::is_usable)
}

fn gateway(settings: &Settings, state: &State, raised: &mut Vec<Alert>) {
    let outputs = state.outputs();
    for (output, code) in [
        (Output::Firewall, AlertCode::GatewayNotLoaded),
        (Output::Link, AlertCode::GatewayLink),
        (Output::Routing, AlertCode::GatewayRouting),
    ] {
        let silent = |kind| matches!(kind, ApplyErrorKind::Absent | ApplyErrorKind::Waiting);
        if let Some(error) = outputs.error(output).filter(|error| !silent(error.kind)) {
            raised.push(alert(code, error.message.clone()));
        }
    }
    if let Some(by) = &state.firewall().fight {
        let by = by.as_deref().unwrap_or("another program");
        let text = format!("{by} takes our rules away as often as we put them back");
        raised.push(alert(AlertCode::GatewayDisturbed, text));
    }
    firewall::blocked(state, raised);
    conflicts(state, raised);
    if let Some((count, max)) = state.vitals().conntrack {
        if max > 0 && u64::from(count) * 100 >= u64::from(max) * 80 {
            let text = format!(
                "the connection table is {} % full ({count} of {max})",
                u64::from(count) * 100 / u64::from(max)
            );
            raised.push(alert(AlertCode::GatewayConntrack, text));
        }
    }
    neighbours(state, raised);
    match state.cluster_port() {
        None => {
            let text = format!(
                "the cluster port {} is not there: plug it in, or name another as cluster.interface (bramblegate detect lists the ports)",
                settings.cluster.interface
            );
            raised.push(alert(AlertCode::GatewayPortAbsent, text));
        }
        Some(port) if port.up && state.facts().is_empty_bridge(port) => {
            let text = no_port(&port.name);
            raised.push(alert(AlertCode::GatewayPortNoCarrier, text));
        }
        // Before it is switched on, which we do, nobody can tell.
        Some(port) if port.up && !port.carrier => {
            let text = format!("no cable in the cluster port {}: is the switch on?", port.name);
            raised.push(alert(AlertCode::GatewayPortNoCarrier, text));
        }
        Some(_) => {}
    }
}

/// Says what a bridge lacks that has no ports.
pub(crate) fn no_port(bridge: &str) -> String {
    format!(
        "the bridge {bridge} has no port: put one into it (sudo ip link set PORT up master {bridge})"
    )
}

fn overlap(settings: &Settings, state: &State, placement: &Placement, raised: &mut Vec<Alert>) {
    let home = settings.cluster.address;
    if let Some((index, address)) = placement.clash {
        let port = state.facts().link(index).map_or("an uplink", |link| link.name.as_str());
        let text = if placement.overlap == Overlap::Renumbered {
            format!(
                "the venue leased {address} on {port}, an address of the cluster: the cluster has moved to {}",
                placement.address
            )
        } else {
            format!(
                "the venue leased {address} on {port}, an address of the cluster, and every alternative is taken too: add one to cluster.alternatives"
            )
        };
        let [a, b, c, _] = home.network().octets();
        raised.push(alert(AlertCode::UplinkClash, text).shown_as(format!("CLASH {a}.{b}.{c}")));
    }
    match placement.overlap {
        Overlap::None => {}
        // Without a port there is nothing to keep apart; a port that was renamed has the address
        // for a moment more.
        Overlap::Routed if state.cluster_port().is_none() => {}
        Overlap::Routed => {
            let text =
                format!("the venue uses {} too: policy routing keeps both working", home.trunc());
            raised.push(alert(AlertCode::GatewayOverlap, text));
        }
        Overlap::Renumbered => {
            let whom = left_behind(settings);
            let text = format!("the cluster moved from {home} to {}{whom}", placement.address);
            raised.push(alert(AlertCode::GatewayRenumbered, text));
        }
    }
}

/// Who will not follow the cluster by itself: nodes with an address of the settings that they do
/// not get by DHCP.
fn left_behind(settings: &Settings) -> String {
    /// More names help nobody.
    const NAMED: usize = 5;
    let served = settings.cluster.dhcp.is_some();
    let left =
        |node: &&crate::config::Node| node.address.is_some() && !(served && node.mac.is_some());
    let names: Vec<&str> =
        settings.nodes.iter().filter(left).map(|node| node.name.as_str()).collect();
    let more = match names.len().saturating_sub(NAMED) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let named = names.get(..NAMED).unwrap_or(&names).join(", ");
    match (names.is_empty(), served) {
        (true, true) => "; its nodes follow within minutes".to_owned(),
        (true, false) => String::new(),
        (false, true) => {
            format!(
                "; left behind with static addresses: {named}{more}; the others follow within minutes"
            )
        }
        (false, false) => format!("; left behind with static addresses: {named}{more}"),
    }
}

/// A panel that is not there is no alarm; one that fails is told, and so is a status socket that is
/// not where it should be.
fn ornaments(state: &State, raised: &mut Vec<Alert>) {
    for (output, code) in [
        (Output::Display, AlertCode::LcdError),
        (Output::Indicator, AlertCode::LedError),
        (Output::Status, AlertCode::HostStatusSocket),
    ] {
        let error = state.outputs().error(output);
        if let Some(error) =
            error.filter(|e| !matches!(e.kind, ApplyErrorKind::Absent | ApplyErrorKind::Off))
        {
            raised.push(alert(code, error.message.clone()));
        }
    }
}
