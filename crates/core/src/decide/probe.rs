//! Targets of the probes: whether uplinks reach the internet, and whether nodes are up.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use bramblegate_clat::Prefix;

use crate::config::{NodeProbe, Settings, UplinkProbe};
use crate::event::{LinkIndex, NodeProbePlan, NodeTarget, Path, UplinkProbePlan, UplinkTarget};
use crate::facts::Facts;
use crate::facts::node::NodeState;
use crate::facts::uplink::{
    UplinkView, ipv4_primary, ipv4_source, ipv6_primary, is_translated_by_another,
};

/// Returns a target for every uplink with an address and a default route; an uplink without a route
/// counts once a renewal would have restored it. Each is followed by further paths of the uplink,
/// which show what kind of venue it is.
pub fn uplink_probes(settings: &Settings, facts: &Facts) -> UplinkProbePlan {
    let uplinks = facts.uplinks();
    let ready = uplinks.iter().filter(|u| u.has_default_route || facts.is_routeless(u.link.index));
    let host = host(&settings.uplink.probe);
    let targets = ready.filter_map(|uplink| {
        let source = uplink.address?.addr();
        // Only an address literal of the other family needs the venue's NAT64.
        let nat64 = nat64(facts, uplink)
            .filter(|_| source.is_ipv6() && host.is_some_and(|host| host.is_ipv4()));
        let primary = UplinkTarget { nat64, ..target(facts, uplink, source) };
        Some(std::iter::once(primary).chain(paths(facts, uplink, host)))
    });
    let targets = targets.flatten().collect();
    UplinkProbePlan { targets, probe: settings.uplink.probe.clone() }
}

/// Returns the probe's host if the settings give it as an address literal.
fn host(probe: &UplinkProbe) -> Option<IpAddr> {
    match probe {
        UplinkProbe::Http { host, .. } => host.trim_matches(['[', ']']).parse().ok(),
        UplinkProbe::Ping { host } => Some(*host),
        UplinkProbe::Off => None,
    }
}

fn nat64(facts: &Facts, uplink: &UplinkView<'_>) -> Option<Prefix> {
    facts.venue(uplink.link.index)?.nat64().map(|(prefix, _)| prefix)
}

/// Returns the paths to probe beside that of the uplink's own address: IPv6 if that is IPv4, IPv4
/// if that one is deprecated, the venue's NAT64, and another program's translator.
fn paths(facts: &Facts, uplink: &UplinkView<'_>, host: Option<IpAddr>) -> Vec<UplinkTarget> {
    let (index, kernel) = (uplink.link.index, facts.kernel());
    let is_probed = |ipv4: bool| host.is_none_or(|host| host.is_ipv4() == ipv4);
    let primary_address = uplink.address.map(|net| net.addr());
    let mut targets = Vec::new();
    if let Some(source) = ipv6_source(facts, index) {
        if primary_address.is_some_and(|primary_address| primary_address.is_ipv4())
            && is_probed(false)
        {
            let path = Some(Path::Ipv6);
            targets.push(UplinkTarget { path, ..target(facts, uplink, source) });
        }
        if let Some(prefix) = nat64(facts, uplink).filter(|_| is_probed(true)) {
            let (path, nat64) = (Some(Path::Nat64(prefix)), Some(prefix));
            targets.push(UplinkTarget { path, nat64, ..target(facts, uplink, source) });
        }
    }
    let deprecated = ipv4_primary(kernel, index)
        .filter(|_| primary_address.is_some_and(|primary_address| primary_address.is_ipv6()));
    let leads = is_probed(true) && kernel.has_default_route(index, true);
    if let Some(source) = deprecated.map(|held| held.address.addr()).filter(|_| leads) {
        let path = Some(Path::Ipv4);
        targets.push(UplinkTarget { path, ..target(facts, uplink, source) });
    }
    let translators = is_translated_by_another(kernel, uplink.link) && is_probed(true);
    if let Some(source) = ipv4_source(kernel, index).filter(|_| translators) {
        let path = Some(Path::Translator);
        targets.push(UplinkTarget { path, ..target(facts, uplink, source.into()) });
    }
    targets
}

/// Returns the source address of an uplink's IPv6 traffic, if it has a default route.
fn ipv6_source(facts: &Facts, index: LinkIndex) -> Option<IpAddr> {
    ipv6_primary(facts.kernel(), index).filter(|_| leads_ipv6(facts, index)).map(IpAddr::V6)
}

/// Returns whether an uplink has an IPv6 default route.
pub(super) fn leads_ipv6(facts: &Facts, index: LinkIndex) -> bool {
    let mut routes = facts.kernel().default_routes();
    routes.any(|route| route.index == index && !route.destination.addr().is_ipv4())
}

/// Returns the target for the NAT64 discovery by an uplink's resolvers, if it has IPv6.
pub(super) fn dns64(facts: &Facts, uplink: &UplinkView<'_>) -> Option<UplinkTarget> {
    let source = ipv6_source(facts, uplink.link.index)?;
    Some(target(facts, uplink, source)).filter(|target| !target.resolvers.is_empty())
}

fn target(facts: &Facts, uplink: &UplinkView<'_>, source: IpAddr) -> UplinkTarget {
    UplinkTarget {
        index: uplink.link.index,
        name: uplink.link.name.clone(),
        source,
        resolvers: resolvers(facts, uplink),
        generation: uplink.generation,
        path: None,
        nat64: None,
    }
}

/// Returns the uplink's own resolvers, else the machine's that it can reach, else its gateway: most
/// home routers resolve names.
fn resolvers(facts: &Facts, uplink: &UplinkView<'_>) -> Vec<IpAddr> {
    let (servers_by_link, index) = (&facts.vitals().resolvers, uplink.link.index);
    if let Some(own) = servers_by_link.get(&index).filter(|servers| !servers.is_empty()) {
        return own.clone();
    }
    // The machine's resolvers may belong to another uplink: without IPv4, IPv4 ones are out of
    // reach.
    let ipv4 = ipv4_source(facts.kernel(), index).is_some();
    let ipv6 = uplink.addresses.iter().any(|net| net.addr().is_ipv6());
    let reached =
        |server: &IpAddr| server.is_loopback() || if server.is_ipv4() { ipv4 } else { ipv6 };
    let machine = servers_by_link.get(&0).into_iter().flatten().copied();
    let machine: Vec<_> = machine.filter(reached).collect();
    if machine.is_empty() { uplink.gateway.into_iter().collect() } else { machine }
}

/// Caches the nodes to probe until a node is added, removed or changed.
#[derive(Debug, Default)]
pub struct NodeProbes {
    /// The topology version, and the targets at that version.
    known: Option<(u64, Arc<Vec<NodeTarget>>)>,
}

impl NodeProbes {
    /// Returns the targets and the interval. New settings come with a new version.
    pub fn plan(&mut self, settings: &Settings, facts: &Facts) -> NodeProbePlan {
        let topology_version = facts.nodes().topology_version;
        let nodes = match &self.known {
            Some((known, nodes)) if *known == topology_version => Arc::clone(nodes),
            _ => Arc::new(targets(settings, facts)),
        };
        self.known = Some((topology_version, Arc::clone(&nodes)));
        NodeProbePlan {
            nodes,
            interval: settings.health.interval,
            timeout: settings.health.timeout,
            port: facts.cluster_port().map(|port| port.name.clone()),
        }
    }
}

/// Returns the nodes that have an address and a probe. Discovered nodes are pinged. A node that has
/// only IPv6 is probed at the first of the addresses that it made.
fn targets(settings: &Settings, facts: &Facts) -> Vec<NodeTarget> {
    let configured: HashMap<&str, (&Arc<[NodeProbe]>, Option<Duration>)> = settings
        .nodes
        .iter()
        .map(|node| (node.name.as_str(), (&node.probes, node.timeout)))
        .collect();
    let ping: Arc<[NodeProbe]> = [NodeProbe::Icmp].into();
    let node_target = |node: &NodeState| {
        if !facts.nodes().is_asked(node, settings, facts.now()) {
            return None;
        }
        let (probes, timeout) = *configured.get(node.name.as_str()).unwrap_or(&(&ping, None));
        let own_ipv6 =
            || facts.nodes().ipv6_of(node.mac.or(node.configured_mac)?).next().map(IpAddr::V6);
        let address = node.address.or_else(own_ipv6).filter(|_| !probes.is_empty())?;
        let (mac, timeout) = (node.configured_mac, milliseconds(timeout));
        Some(NodeTarget { node: node.id, address, mac, probes: Arc::clone(probes), timeout })
    };
    facts.nodes().iter().filter_map(node_target).collect()
}

fn milliseconds(time: Option<Duration>) -> u32 {
    time.map_or(0, |time| u32::try_from(time.as_millis()).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;
    use crate::config::board::Board;
    use crate::event::{Address, Change, Dump, Event, Instant, Link, Neighbour};

    /// A node that is configured by its hardware address and has no IPv4 is probed at the IPv6
    /// address that it made, until that is gone.
    #[test]
    fn an_ipv6_only_node_is_probed_at_its_own_address() {
        let text = "[uplink]\ninterfaces = [\"eth1\"]\n[cluster]\ninterface = \"eth0\"\n\
                    [cluster.dhcp]\n[cluster.ipv6]\nmode = \"auto\"\nprefix = \"fd12::/64\"\n\
                    [[node]]\nname = \"six\"\nmac = \"b8:27:eb:00:00:06\"\n";
        let board = Board::built_in("emulated").unwrap();
        let settings = config::load(&[("t", text.to_owned())], &board).unwrap();
        let mut facts = Facts::new(Arc::new(settings.clone()), Instant::default());
        let address =
            |net: &str| Event::Address(Change::Present(Address::lasting(2, net.parse().unwrap())));
        let heard = Neighbour {
            index: 2,
            address: "fd12::6".parse().unwrap(),
            mac: Some("b8:27:eb:00:00:06".parse().unwrap()),
            reachable: true,
        };
        let (came, gone) = (Change::Present(heard.clone()), Change::Gone(heard));
        for event in [
            Event::Dump(Dump::Begin),
            Event::Link(Change::Present(Link::wired(2, "eth0"))),
            address("192.168.50.1/24"),
            address("fd12::1/64"),
            Event::Dump(Dump::End),
        ] {
            facts.apply(&event, Instant::default());
        }
        let asked = |facts: &Facts| -> Vec<IpAddr> {
            targets(&settings, facts).iter().map(|target| target.address).collect()
        };
        assert!(asked(&facts).is_empty(), "nothing is known of it");
        facts.apply(&Event::Neighbour(came), Instant::default());
        assert_eq!(asked(&facts), ["fd12::6".parse::<IpAddr>().unwrap()]);
        facts.apply(&Event::Neighbour(gone), Instant::default());
        assert!(asked(&facts).is_empty());
    }
}
