//! What the sources are to look at and ask, given the settings and the facts.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};

use crate::config::{NodeProbe, Settings};
use crate::policy::ruleset::{COMMENT_FORWARDED, COMMENT_MASQUERADE, TABLE};
use crate::policy::{Desired, subnet};
use crate::source::firewall::FirewallWatch;
use crate::source::probe::{NodeProbePlan, NodeTarget, UplinkProbePlan, UplinkTarget};
use crate::source::wayout::WayOutPlan;
use crate::state::State;
use crate::state::uplink::UplinkView;

/// Every uplink with an address and a way out; without a way out only after a renewal would have brought one.
pub fn uplink_probes(settings: &Settings, state: &State) -> UplinkProbePlan {
    let uplinks = state.uplinks();
    let ready = uplinks.iter().filter(|u| u.has_default_route || state.is_routeless(u.link.index));
    let targets = ready.filter_map(|uplink| {
        Some(UplinkTarget {
            index: uplink.link.index,
            name: uplink.link.name.clone(),
            source: uplink.address?.addr(),
            resolvers: resolvers(state, uplink),
            generation: uplink.generation,
        })
    });
    UplinkProbePlan { targets: targets.collect(), probe: settings.uplink.probe.clone() }
}

/// The uplink's own, else the machine's, else its gateway: most home routers resolve names.
fn resolvers(state: &State, uplink: &UplinkView<'_>) -> Vec<IpAddr> {
    let known = &state.vitals().resolvers;
    let own = known.get(&uplink.link.index).filter(|servers| !servers.is_empty());
    let machine = known.get(&0).filter(|servers| !servers.is_empty());
    own.or(machine).cloned().unwrap_or_else(|| uplink.gateway.into_iter().collect())
}

/// The nodes that have an address and something to be asked. Those that were found are pinged.
pub fn node_probes(settings: &Settings, state: &State) -> NodeProbePlan {
    let written: HashMap<&str, &[NodeProbe]> =
        settings.nodes.iter().map(|node| (node.name.as_str(), node.probes.as_slice())).collect();
    let nodes = state.nodes().iter().filter_map(|node| {
        let probes = written.get(node.name.as_str()).copied().unwrap_or(&[NodeProbe::Icmp]);
        let address = node.address.filter(|_| !probes.is_empty())?;
        Some(NodeTarget { node: node.id, address, probes: probes.to_vec() })
    });
    NodeProbePlan {
        nodes: nodes.collect(),
        interval: settings.health.interval,
        port: state.cluster_port().map(|port| port.name.clone()),
    }
}

/// Asked again whenever anything in the kernel changed.
pub fn way_out(settings: &Settings, state: &State, desired: &Desired) -> Option<WayOutPlan> {
    let port = state.cluster_port().filter(|_| settings.gateway.enabled)?;
    let net = desired.cluster_address;
    let node = settings.nodes.iter().filter_map(|node| node.address).find(|address| net.contains(address));
    let other = net.hosts().find(|address| *address != net.addr());
    let source: Ipv4Addr = node.or(other)?;
    Some(WayOutPlan { from_port: port.index, source, generation: state.facts_generation() })
}

/// What the firewall's source is to recognise.
pub fn firewall_watch(settings: &Settings, state: &State, own_port: u32) -> FirewallWatch {
    let placement = subnet::place(settings, state);
    let carrying = state.uplinks().into_iter().filter(|uplink| uplink.address.is_some());
    FirewallWatch {
        table: TABLE,
        own_port,
        cluster_port: state.cluster_port().map(|port| port.name.clone()),
        cluster_networks: placement.networks(),
        uplinks: carrying.map(|uplink| uplink.link.name.clone()).collect(),
        forwarded: COMMENT_FORWARDED,
        postrouted: COMMENT_MASQUERADE,
    }
}
