//! Whom the probes ask: uplinks whether the internet is behind them, nodes whether they live.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::config::{NodeProbe, Settings};
use crate::event::{NodeProbePlan, NodeTarget, UplinkProbePlan, UplinkTarget};
use crate::facts::Facts;
use crate::facts::node::NodeState;
use crate::facts::uplink::UplinkView;

/// Returns every uplink with an address and a way out; without a way out only after a renewal would
/// have brought one.
pub fn uplink_probes(settings: &Settings, facts: &Facts) -> UplinkProbePlan {
    let uplinks = facts.uplinks();
    let ready = uplinks.iter().filter(|u| u.has_default_route || facts.is_routeless(u.link.index));
    let targets = ready.filter_map(|uplink| {
        Some(UplinkTarget {
            index: uplink.link.index,
            name: uplink.link.name.clone(),
            source: uplink.address?.addr(),
            resolvers: resolvers(facts, uplink),
            generation: uplink.generation,
        })
    });
    UplinkProbePlan { targets: targets.collect(), probe: settings.uplink.probe.clone() }
}

/// Returns the uplink's own, else the machine's, else its gateway: most home routers resolve names.
fn resolvers(facts: &Facts, uplink: &UplinkView<'_>) -> Vec<IpAddr> {
    let known = &facts.vitals().resolvers;
    let own = known.get(&uplink.link.index).filter(|servers| !servers.is_empty());
    let machine = known.get(&0).filter(|servers| !servers.is_empty());
    own.or(machine).cloned().unwrap_or_else(|| uplink.gateway.into_iter().collect())
}

/// Holds the nodes to ask, worked out only when a node came, went or changed.
#[derive(Debug, Default)]
pub struct NodeProbes {
    /// layout of the nodes, and who they were then
    known: Option<(u64, Arc<Vec<NodeTarget>>)>,
}

impl NodeProbes {
    /// Returns whom to ask, and how often. New settings come with a new layout.
    pub fn plan(&mut self, settings: &Settings, facts: &Facts) -> NodeProbePlan {
        let layout = facts.nodes().layout;
        let nodes = match &self.known {
            Some((known, nodes)) if *known == layout => Arc::clone(nodes),
            _ => Arc::new(targets(settings, facts)),
        };
        self.known = Some((layout, Arc::clone(&nodes)));
        NodeProbePlan {
            nodes,
            interval: settings.health.interval,
            timeout: settings.health.timeout,
            port: facts.cluster_port().map(|port| port.name.clone()),
        }
    }
}

/// Returns the nodes that have an address and something to be asked. Those that were found are
/// pinged.
fn targets(settings: &Settings, facts: &Facts) -> Vec<NodeTarget> {
    let written: HashMap<&str, (&Arc<[NodeProbe]>, Option<Duration>)> = settings
        .nodes
        .iter()
        .map(|node| (node.name.as_str(), (&node.probes, node.timeout)))
        .collect();
    let found: Arc<[NodeProbe]> = [NodeProbe::Icmp].into();
    let target = |node: &NodeState| {
        if !facts.nodes().is_asked(node, settings, facts.now()) {
            return None;
        }
        let (probes, timeout) = *written.get(node.name.as_str()).unwrap_or(&(&found, None));
        let address = node.address.filter(|_| !probes.is_empty())?;
        let (mac, timeout) = (node.written_mac, milliseconds(timeout));
        Some(NodeTarget { node: node.id, address, mac, probes: Arc::clone(probes), timeout })
    };
    facts.nodes().iter().filter_map(target).collect()
}

fn milliseconds(time: Option<Duration>) -> u32 {
    time.map_or(0, |time| u32::try_from(time.as_millis()).unwrap_or(u32::MAX))
}
