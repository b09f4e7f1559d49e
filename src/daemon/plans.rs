//! What the sources are to look at and ask, given the settings and the facts.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use ipnet::Ipv4Net;

use crate::config::{NodeProbe, Settings};
use crate::policy::ruleset::{COMMENT_FORWARDED, COMMENT_MASQUERADE, TABLE};
use crate::policy::{Desired, subnet};
use crate::source::dhcp::DhcpWatchPlan;
use crate::source::firewall::FirewallWatch;
use crate::source::probe::{NodeProbePlan, NodeTarget, UplinkProbePlan, UplinkTarget};
use crate::source::vitals::VitalsPlan;
use crate::source::wayout::WayOutPlan;
use crate::state::State;
use crate::state::node::NodeState;
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

/// The nodes to ask, worked out only when somebody came, went or changed.
#[derive(Debug, Default)]
pub struct NodeProbes {
    /// layout of the nodes, and who they were then
    known: Option<(u64, Arc<Vec<NodeTarget>>)>,
}

impl NodeProbes {
    /// New settings come with a new layout.
    pub fn plan(&mut self, settings: &Settings, state: &State) -> NodeProbePlan {
        let layout = state.nodes().layout;
        let nodes = match &self.known {
            Some((known, nodes)) if *known == layout => Arc::clone(nodes),
            _ => Arc::new(targets(settings, state)),
        };
        self.known = Some((layout, Arc::clone(&nodes)));
        NodeProbePlan {
            nodes,
            interval: settings.health.interval,
            timeout: settings.health.timeout,
            port: state.cluster_port().map(|port| port.name.clone()),
        }
    }
}

/// The nodes that have an address and something to be asked. Those that were found are pinged.
fn targets(settings: &Settings, state: &State) -> Vec<NodeTarget> {
    let written: HashMap<&str, (&Arc<[NodeProbe]>, Option<Duration>)> =
        settings.nodes.iter().map(|node| (node.name.as_str(), (&node.probes, node.timeout))).collect();
    let found: Arc<[NodeProbe]> = [NodeProbe::Icmp].into();
    let target = |node: &NodeState| {
        if !state.nodes().is_asked(node, settings, state.now()) {
            return None;
        }
        let (probes, timeout) = *written.get(node.name.as_str()).unwrap_or(&(&found, None));
        let address = node.address.filter(|_| !probes.is_empty())?;
        let (mac, timeout) = (node.written_mac, milliseconds(timeout));
        Some(NodeTarget { node: node.id, address, mac, probes: Arc::clone(probes), timeout })
    };
    state.nodes().iter().filter_map(target).collect()
}

fn milliseconds(time: Option<Duration>) -> u32 {
    time.map_or(0, |time| u32::try_from(time.as_millis()).unwrap_or(u32::MAX))
}

/// The cluster port, while addresses are to be served there and it has a carrier.
pub fn other_dhcp(settings: &Settings, state: &State) -> Option<DhcpWatchPlan> {
    let (index, generation) = state.dhcp_port()?;
    let port = state.facts().link(index)?;
    let (cluster, name) = (&settings.cluster, port.name.clone());
    let ours = std::iter::once(&cluster.address).chain(&cluster.alternatives).map(Ipv4Net::addr).collect();
    Some(DhcpWatchPlan { index, name, mac: port.mac?, generation, ours, strangers: state.strangers() })
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

/// Connection tracking is the gateway's, and so are the settings of its ports.
pub fn vitals(settings: &Settings, state: &State) -> VitalsPlan {
    VitalsPlan {
        tables: settings.gateway.enabled,
        ports: state.kept_netconf(),
        limits: Some(settings.vitals.clone()),
        boot_folder: settings.cluster.netboot.as_ref().map(|netboot| netboot.root.clone()),
    }
}

/// What the firewall's source is to recognise.
pub fn firewall_watch(settings: &Settings, state: &State, own_port: u32) -> FirewallWatch {
    let placement = subnet::place(settings, state);
    let carrying = state.uplinks().into_iter().filter(|uplink| uplink.address.is_some());
    let exit = state.vitals().way_out.flatten().and_then(|index| state.facts().link(index));
    FirewallWatch {
        table: TABLE,
        own_port,
        cluster_port: state.cluster_port().map(|port| port.name.clone()),
        cluster_networks: placement.networks(),
        uplinks: carrying.map(|uplink| uplink.link.name.clone()).collect(),
        exit: exit.map(|link| link.name.clone()),
        forwarded: COMMENT_FORWARDED,
        postrouted: COMMENT_MASQUERADE,
    }
}
