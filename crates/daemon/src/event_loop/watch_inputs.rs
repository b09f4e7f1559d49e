//! What the sources are to look at and ask, given the settings and the facts.

use std::collections::{BTreeSet, HashMap};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use ipnet::{IpNet, Ipv4Net};

use crate::config::{Allow, NodeProbe, Settings, TimeServer, Transport};
use crate::decide::alert::routing;
use crate::decide::firewall::traffic;
use crate::decide::firewall::{COMMENT_FORWARDED, COMMENT_MASQUERADE, NOTED_DROPS, TABLE};
use crate::decide::{Desired, cluster, forward};
use crate::event::{Flow, Link, Mac, Way};
use crate::facts::Facts;
use crate::facts::node::NodeState;
use crate::facts::uplink::{UplinkView, leads_by_translator};
use crate::watch::dhcp::DhcpWatchPlan;
use crate::watch::firewall::FirewallWatch;
use crate::watch::host::VitalsPlan;
use crate::watch::link::conflict::{ConflictPlan, ConflictPort};
use crate::watch::probe::{NodeProbePlan, NodeTarget, UplinkProbePlan, UplinkTarget};
use crate::watch::routing::{DESTINATION, WayOutPlan};
use crate::watch::uplink::lease::ListeningPlan;

/// Every uplink with an address and a way out; without a way out only after a renewal would have
/// brought one.
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

/// The uplink's own, else the machine's, else its gateway: most home routers resolve names.
fn resolvers(facts: &Facts, uplink: &UplinkView<'_>) -> Vec<IpAddr> {
    let known = &facts.vitals().resolvers;
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

/// The nodes that have an address and something to be asked. Those that were found are pinged.
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

/// The cluster port, while addresses are to be served there and it has a carrier.
pub fn other_dhcp(settings: &Settings, facts: &Facts) -> Option<DhcpWatchPlan> {
    let (index, generation) = facts.dhcp().port()?;
    let port = facts.kernel().link(index)?;
    let (cluster, name) = (&settings.cluster, port.name.clone());
    let ours =
        std::iter::once(&cluster.address).chain(&cluster.alternatives).map(Ipv4Net::addr).collect();
    Some(DhcpWatchPlan {
        index,
        name,
        mac: port.mac?,
        generation,
        ours,
        unknown_clients: facts.nodes().unknown_boards,
    })
}

/// Returns an address of IPv4, with its network.
fn ipv4(net: IpNet) -> Option<Ipv4Net> {
    match net {
        IpNet::V4(net) => Some(net),
        IpNet::V6(_) => None,
    }
}

/// The ports of cluster and uplinks with a carrier, and the head's addresses there: those of IPv4,
/// which ARP shows.
pub fn conflicts(settings: &Settings, facts: &Facts, desired: &Desired) -> ConflictPlan {
    let links = facts.kernel().links();
    let own: BTreeSet<Mac> = links.filter_map(|link| link.mac).collect();
    let port = |link: &Link, addresses: Vec<Ipv4Addr>| {
        let mac = link.mac.filter(|_| link.carrier && !addresses.is_empty())?;
        Some(ConflictPort { index: link.index, mac, addresses })
    };
    let cluster =
        facts.cluster_port().filter(|link| settings.gateway.enabled && link.master.is_none());
    let cluster = cluster.zip(ipv4(desired.cluster_address));
    let cluster = cluster.and_then(|(link, net)| port(link, vec![net.addr()]));
    let uplinks = facts.uplinks().into_iter();
    let uplinks = uplinks.filter_map(|uplink| {
        let net = uplink.address.and_then(ipv4)?;
        port(uplink.link, vec![net.addr()])
    });
    ConflictPlan {
        ports: cluster.into_iter().chain(uplinks).collect(),
        own: own.into_iter().collect(),
    }
}

/// Where nodes would ask the head for the time, if it is to be found out: at what DHCPv4 names to
/// them.
pub fn time_at(settings: &Settings, desired: &Desired) -> Option<Ipv4Addr> {
    let asked = settings.cluster.dhcp.as_ref().is_some_and(|dhcp| dhcp.ntp == TimeServer::Auto);
    let address = ipv4(desired.cluster_address).filter(|_| asked && settings.gateway.enabled);
    address.map(|net| net.addr())
}

/// The uplinks with a carrier that have no IPv4 address to be reached at.
pub fn listening(facts: &Facts) -> Vec<ListeningPlan> {
    let is_ipv4 = |uplink: &UplinkView<'_>| matches!(uplink.address, Some(IpNet::V4(_)));
    let uplinks = facts
        .uplinks()
        .into_iter()
        .filter(|uplink| uplink.link.carrier && uplink.link.up && !is_ipv4(uplink));
    let plan = |uplink: UplinkView<'_>| {
        let (index, name) = (uplink.link.index, uplink.link.name.clone());
        Some(ListeningPlan { index, name, mac: uplink.link.mac? })
    };
    uplinks.filter_map(plan).collect()
}

/// Asked again whenever anything in the kernel changed.
pub fn way_out(settings: &Settings, facts: &Facts, desired: &Desired) -> Option<WayOutPlan> {
    let port = facts.cluster_port().filter(|_| settings.gateway.enabled)?;
    let net = desired.cluster_address;
    let mut written = settings.nodes.iter().filter_map(|node| node.address).map(IpAddr::V4);
    let node = written.find(|address| net.contains(address));
    let other = net.hosts().find(|address| *address != net.addr());
    let source = node.or(other)?;
    let mut ways = to_the_cluster(facts, port, net, source);
    ways.extend(facts.uplinks().iter().flat_map(|uplink| from_the_head(facts, uplink)));
    let narrow = narrowed(facts, port, net, &ways);
    ways.extend(narrow);
    Some(WayOutPlan { from_port: port.index, source, ways, generation: facts.links().generation() })
}

/// From the head by itself, from its address in the cluster, and what comes from an uplink: by the
/// cluster port.
fn to_the_cluster(facts: &Facts, port: &Link, net: IpNet, node: IpAddr) -> Vec<Way> {
    let addressed = facts.kernel().is_local(net.addr()) && !facts.kernel().is_local(node);
    if !addressed
        || !port.up
        || !port.carrier
        || cluster::venue_servers(facts).iter().any(|(_, server)| *server == node)
    {
        return Vec::new();
    }
    let way = |enters, from| Way {
        enters,
        from,
        to: node,
        leaves: port.index,
        uid: 0,
        ip_protocol: None,
        ports: [None; 2],
    };
    // Without a way back to its source the kernel lets nothing in.
    let leads = |uplink: &UplinkView<'_>| {
        uplink.link.carrier && matches!(uplink.gateway, Some(IpAddr::V4(_)))
    };
    let uplinks = facts.uplinks().into_iter().filter(leads);
    let entering = uplinks.map(|uplink| way(Some(uplink.link.index), Some(DESTINATION.into())));
    [way(None, None), way(None, Some(net.addr()))].into_iter().chain(entering).collect()
}

/// Answers from the uplink's address, to its gateway and beyond, by that uplink.
fn from_the_head(facts: &Facts, uplink: &UplinkView<'_>) -> Vec<Way> {
    let (Some(IpNet::V4(address)), true) = (uplink.address, uplink.link.carrier) else {
        return Vec::new();
    };
    let Some(IpAddr::V4(gateway)) = uplink.gateway else { return Vec::new() };
    let targets = [gateway, DESTINATION].map(IpAddr::V4).into_iter();
    let targets = targets.filter(|to| !facts.kernel().is_local(*to));
    let (from, leaves) = (Some(address.addr().into()), uplink.link.index);
    let way =
        |to| Way { enters: None, from, to, leaves, uid: 0, ip_protocol: None, ports: [None; 2] };
    targets.map(way).collect()
}

/// Returns the same ways for what only some rules of others take: packets of some user or protocol,
/// or to a part of the cluster. Of rules for ports of TCP and UDP only those matter that take a
/// port that is promised: others seldom mean the cluster.
fn narrowed(facts: &Facts, port: &Link, net: IpNet, ways: &[Way]) -> BTreeSet<Way> {
    /// More rules of that kind are not looked at.
    const MOST: usize = 64;
    let mut found = BTreeSet::new();
    for rule in routing::before_ours(facts) {
        let flow = &rule.flow;
        if flow.ip_protocol.is_some_and(|protocol| !LOOKED_UP.contains(&protocol)) {
            continue;
        }
        for way in ways {
            let by_cluster = way.leaves == port.index;
            let Some((ip_protocol, ports)) = promised_ports(facts, flow, by_cluster) else {
                continue;
            };
            let to = match rule.destination {
                Some(to) if way.leaves == port.index && !to.contains(&way.to) => {
                    Some(to.addr()).filter(|to| net.contains(to) && !facts.kernel().is_local(*to))
                }
                _ => Some(way.to),
            };
            // What is forwarded is root's to the kernel.
            let uid =
                flow.uids.map_or(0, |(first, _)| if way.enters.is_some() { 0 } else { first });
            found.extend(to.map(|to| Way { to, uid, ip_protocol, ports, ..*way }));
        }
        if found.len() >= MOST {
            break;
        }
    }
    found.retain(|way| !ways.contains(way));
    found
}

/// `IPPROTO_ICMP`, `IPPROTO_TCP`, `IPPROTO_UDP`: the kernel looks up no others.
const LOOKED_UP: [u8; 3] = [1, TCP, UDP];
const TCP: u8 = 6;
const UDP: u8 = 17;

/// Returns a protocol and ports, of those that are promised, that a rule for this flow takes: to
/// the nodes ssh and what ports of the head lead to, from the head what the venue may reach.
/// `None`: it takes none of them.
fn promised_ports(
    state: &Facts,
    flow: &Flow,
    to_nodes: bool,
) -> Option<(Option<u8>, [Option<u16>; 2])> {
    if flow.source_ports.is_none() && flow.destination_ports.is_none() {
        return Some((flow.ip_protocol, [None; 2]));
    }
    let settings = state.settings();
    let mut promised: Vec<(u8, u16)> = Vec::new();
    if to_nodes {
        promised.push((TCP, SSH));
        promised.extend(settings.forwards.iter().map(|forward| match forward.transport {
            Transport::Tcp => (TCP, forward.port),
            Transport::Udp => (UDP, forward.port),
        }));
    } else {
        for allow in &settings.uplink.allow {
            match *allow {
                Allow::Ssh => {
                    promised.extend(
                        state.vitals().ssh_ports.iter().chain([&SSH]).map(|port| (TCP, *port)),
                    );
                }
                Allow::Tcp(first, last) => promised.extend([(TCP, first), (TCP, last)]),
                Allow::Udp(first, last) => promised.extend([(UDP, first), (UDP, last)]),
                Allow::Icmp | Allow::Mdns => {}
            }
        }
    }
    // Who asks has any port: a rule for both takes a part of it that is not looked up.
    let (ours, theirs) = match to_nodes {
        true => (flow.destination_ports, flow.source_ports),
        false => (flow.source_ports, flow.destination_ports),
    };
    let (first, last) = ours.filter(|_| theirs.is_none())?;
    let of_protocol = |protocol: u8| flow.ip_protocol.is_none_or(|wanted| wanted == protocol);
    let taken =
        |(protocol, port): &&(u8, u16)| of_protocol(*protocol) && (first..=last).contains(port);
    let (protocol, port) = *promised.iter().find(taken)?;
    let ports = if to_nodes { [None, Some(port)] } else { [Some(port), None] };
    Some((Some(protocol), ports))
}

/// Where sshd listens on a node.
const SSH: u16 = 22;

/// Connection tracking is the gateway's, and so are the settings of its ports.
pub fn vitals(settings: &Settings, facts: &Facts) -> VitalsPlan {
    VitalsPlan {
        tables: settings.gateway.enabled,
        ports: facts.kept_netconf(),
        limits: Some(settings.vitals.clone()),
        boot_folder: settings.cluster.netboot.as_ref().map(|netboot| netboot.root.clone()),
    }
}

/// What the firewall's source is to recognise.
pub fn firewall_watch(settings: &Settings, facts: &Facts, own_port: u32) -> FirewallWatch {
    let placement = cluster::place(settings, facts);
    let carrying = facts.uplinks().into_iter().filter(|uplink| {
        uplink.address.is_some() || leads_by_translator(facts.kernel(), uplink.link.index)
    });
    let reached =
        |net: &IpNet| matches!(net, IpNet::V6(net) if !net.addr().is_unicast_link_local());
    let ipv6_uplinks =
        facts.uplinks().into_iter().filter(|uplink| uplink.addresses.iter().any(reached));
    let exit = facts
        .routing()
        .detour()
        .by()
        .or(facts.routing().way_out().flatten())
        .and_then(|index| facts.kernel().link(index));
    let cluster = facts.cluster_port();
    let vitals = facts.vitals();
    let forwards = forward::ways(settings, facts, &placement);
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
            &forwards,
        ),
        uplinks: carrying.map(|uplink| uplink.link.name.clone()).collect(),
        ipv6_uplinks: ipv6_uplinks.map(|uplink| uplink.link.name.clone()).collect(),
        exit: exit.map(|link| link.name.clone()),
        forwarded: COMMENT_FORWARDED,
        postrouted: COMMENT_MASQUERADE,
        drops: &NOTED_DROPS,
    }
}
