//! What the firewall watch looks for in other programs' rules.

use ipnet::IpNet;

use super::traffic;
use super::{COMMENT_FORWARDED, COMMENT_MASQUERADE, ForwardedPort, NOTED_DROPS, TABLE};
use crate::config::Settings;
use crate::decide::cluster::Placement;
use crate::event::FirewallWatch;
use crate::facts::Facts;
use crate::facts::uplink::leads_by_translator;

/// Returns what the firewall watch has to recognise; `own_port` is the reconciler's netlink port.
pub fn watch(
    settings: &Settings,
    facts: &Facts,
    placement: &Placement,
    forwards: &[ForwardedPort],
    own_port: u32,
) -> FirewallWatch {
    let carrying = facts.uplinks().into_iter().filter(|uplink| {
        uplink.address.is_some() || leads_by_translator(facts.kernel(), uplink.link.index)
    });
    let reached =
        |net: &IpNet| matches!(net, IpNet::V6(net) if !net.addr().is_unicast_link_local());
    let ipv6_uplinks =
        facts.uplinks().into_iter().filter(|uplink| uplink.addresses.iter().any(reached));
    let egress = facts
        .routing()
        .detour()
        .by()
        .or(facts.routing().egress().flatten())
        .and_then(|index| facts.kernel().link(index));
    let cluster = facts.cluster_port();
    let vitals = facts.vitals();
    let head = placement.address;
    FirewallWatch {
        table: TABLE,
        own_port,
        cluster_port: cluster.map(|port| port.name.clone()),
        bridge: cluster.is_some_and(|port| port.kind.as_deref() == Some("bridge")),
        cluster_networks: placement.networks(),
        head: Some(head),
        traffic: traffic::promised(
            settings,
            head,
            vitals.time.served,
            &vitals.ssh_ports,
            facts.web_port(),
            forwards,
        ),
        uplinks: carrying.map(|uplink| uplink.link.name.clone()).collect(),
        ipv6_uplinks: ipv6_uplinks.map(|uplink| uplink.link.name.clone()).collect(),
        egress: egress.map(|link| link.name.clone()),
        forwarded: COMMENT_FORWARDED,
        postrouted: COMMENT_MASQUERADE,
        drops: &NOTED_DROPS,
    }
}
