//! Paths that packets must take whatever rules other programs add. The kernel is asked about them
//! periodically.

use std::collections::BTreeSet;
use std::net::IpAddr;

use ipnet::IpNet;

use crate::config::{Allow, Settings, Transport};
use crate::decide::cluster::venue_servers;
use crate::decide::{Desired, ROUTE_PROTOCOL, RULE_PREFERENCE};
use crate::event::{EgressPlan, Flow, INTERNET, Link, LinkIndex, Rule, Way};
use crate::facts::Facts;
use crate::facts::uplink::UplinkView;

/// Our last preference; later rules find none of our packets left.
pub const LAST_PREFERENCE: u32 = RULE_PREFERENCE + 99;
/// `IPPROTO_ICMP`, `IPPROTO_TCP`, `IPPROTO_UDP`: a kernel route query accepts no others.
const QUERYABLE: [u8; 3] = [1, TCP, UDP];
const TCP: u8 = 6;
const UDP: u8 = 17;
/// The port of sshd on a node.
const SSH: u16 = 22;
/// Multicast DNS (RFC 6762): some replies go out from the head's address by unicast.
const MDNS: u16 = 5353;
/// Limit on additional paths derived from rules of other programs.
const MAX_WAYS: usize = 64;

/// Returns the paths to query from the kernel.
pub fn egress(settings: &Settings, facts: &Facts, desired: &Desired) -> Option<EgressPlan> {
    let port = facts.cluster_port().filter(|_| settings.gateway.enabled)?;
    let net = desired.cluster_address;
    let mut configured = settings.nodes.iter().filter_map(|node| node.address).map(IpAddr::V4);
    let node = configured.find(|address| net.contains(address));
    let other = net.hosts().find(|address| *address != net.addr());
    let source = node.or(other)?;
    let mut ways = cluster_ways(facts, port, net, source);
    ways.extend(facts.uplinks().iter().flat_map(|uplink| reply_ways(facts, uplink)));
    let narrow = narrowed_ways(facts, port, net, &ways);
    ways.extend(narrow);
    ways.extend(partial_ways(facts, port, net, source));
    Some(EgressPlan { from_port: port.index, source, ways })
}

/// Returns the paths by the cluster port: from the head without a source, from its cluster address,
/// and forwarded from each uplink.
fn cluster_ways(facts: &Facts, port: &Link, net: IpNet, node: IpAddr) -> Vec<Way> {
    let addressed = facts.kernel().is_local(net.addr()) && !facts.kernel().is_local(node);
    if !addressed
        || !port.up
        || !port.carrier
        || venue_servers(facts).iter().any(|(_, server)| *server == node)
    {
        return Vec::new();
    }
    // The kernel drops incoming packets without a route back to their source.
    let uplinks = facts.uplinks().into_iter().filter(has_way_out);
    let entering = uplinks.map(|uplink| Way {
        enters: Some(uplink.link.index),
        ..Way::new(Some(INTERNET.into()), node, port.index)
    });
    let own = [None, Some(net.addr())].map(|from| Way::new(from, node, port.index));
    own.into_iter().chain(entering).collect()
}

/// Returns whether an uplink has a carrier and an IPv4 gateway.
fn has_way_out(uplink: &UplinkView<'_>) -> bool {
    uplink.link.carrier && matches!(uplink.gateway, Some(IpAddr::V4(_)))
}

/// Returns the paths of replies from the uplink's address, to its gateway and beyond, by that
/// uplink.
fn reply_ways(facts: &Facts, uplink: &UplinkView<'_>) -> Vec<Way> {
    let (Some(IpNet::V4(address)), true) = (uplink.address, uplink.link.carrier) else {
        return Vec::new();
    };
    let Some(IpAddr::V4(gateway)) = uplink.gateway else { return Vec::new() };
    let targets = [gateway, INTERNET].map(IpAddr::V4).into_iter();
    let targets = targets.filter(|to| !facts.kernel().is_local(*to));
    let (from, leaves) = (Some(address.addr().into()), uplink.link.index);
    targets.map(|to| Way::new(from, to, leaves)).collect()
}

/// Returns the ways out for parts of the nodes' traffic that a rule of another program selects: a
/// protocol, a port, a type of service, some nodes. The way out of the rest is queried separately.
fn partial_ways(facts: &Facts, port: &Link, net: IpNet, node: IpAddr) -> BTreeSet<Way> {
    let Some(leaves) = facts.routing().detour().by().or_else(|| facts.main_egress()) else {
        return BTreeSet::new();
    };
    rules_of_others(facts)
        .filter_map(|rule| partial_way(facts, (port, net, node, leaves), rule))
        .take(MAX_WAYS)
        .collect()
}

/// Returns the way out for the part of the nodes' traffic that a rule selects.
fn partial_way(
    facts: &Facts,
    (port, net, node, leaves): (&Link, IpNet, IpAddr, LinkIndex),
    rule: &Rule,
) -> Option<Way> {
    let flow = &rule.flow;
    let from = selected_node(facts, rule, net, node)?;
    let ports = [flow.source_ports, flow.destination_ports].map(|range| Some(range?.0));
    // TCP stands for all protocols with ports.
    let with_ports = ports.iter().any(Option::is_some).then_some(TCP);
    let ip_protocol = flow.ip_protocol.or(with_ports);
    let tos = flow.tos.unwrap_or(0);
    let outward = Way::new(Some(from), INTERNET.into(), leaves);
    let way = Way { enters: Some(port.index), ip_protocol, ports, tos, ..outward };
    let queryable = ip_protocol.is_none_or(|protocol| QUERYABLE.contains(&protocol));
    let part = from != node || ip_protocol.is_some() || tos != 0;
    (queryable && part && takes_of_nodes(rule, &port.name, &way)).then_some(way)
}

/// Returns a node address that the rule may select: `node` if that is one, else another in the
/// network; `None` if the rule selects none of the network.
fn selected_node(facts: &Facts, rule: &Rule, net: IpNet, node: IpAddr) -> Option<IpAddr> {
    match rule.source {
        Some(source) if !source.contains(&node) => {
            let first = source.addr();
            let is_node = net.contains(&first) && !facts.kernel().is_local(first);
            is_node.then_some(first)
        }
        _ => Some(node),
    }
}

/// Returns variants of `ways` for what a rule of another program selects: one user or protocol, or
/// a part of the cluster. Of rules for TCP and UDP ports only those matter that select a port we
/// promise to keep reachable: others rarely concern the cluster.
fn narrowed_ways(facts: &Facts, port: &Link, net: IpNet, ways: &[Way]) -> BTreeSet<Way> {
    let mut found = BTreeSet::new();
    for rule in before_ours(facts) {
        let flow = &rule.flow;
        if flow.ip_protocol.is_some_and(|protocol| !QUERYABLE.contains(&protocol)) {
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
            // To the kernel, forwarded packets have uid 0.
            let uid =
                flow.uids.map_or(0, |(first, _)| if way.enters.is_some() { 0 } else { first });
            let tos = flow.tos.unwrap_or(0);
            found.extend(to.map(|to| Way { to, uid, ip_protocol, ports, tos, ..*way }));
        }
        if found.len() >= MAX_WAYS {
            break;
        }
    }
    found.retain(|way| !ways.contains(way));
    found
}

/// Returns the IPv4 rules of other programs that precede our last.
pub fn before_ours(facts: &Facts) -> impl Iterator<Item = &Rule> {
    rules_of_others(facts).filter(|rule| rule.preference <= LAST_PREFERENCE)
}

/// Returns the IPv4 rules of other programs.
pub fn rules_of_others(facts: &Facts) -> impl Iterator<Item = &Rule> {
    facts.kernel().rules().iter().filter(|rule| !rule.ipv6 && rule.protocol != ROUTE_PROTOCOL)
}

/// Returns whether the rule selects packets of nodes like `way`, which enter by `port`.
pub fn takes_of_nodes(rule: &Rule, port: &str, way: &Way) -> bool {
    takes(rule, way)
        && rule.input.as_ref().is_none_or(|input| input == port)
        && rule.output.is_none()
        && rule.mark.is_none_or(|(mark, _)| mark == 0)
}

/// Returns whether the rule selects packets like `way`.
pub fn takes(rule: &Rule, way: &Way) -> bool {
    let flow = &rule.flow;
    let of_addresses =
        contains_address(rule.destination, Some(way.to)) && contains_address(rule.source, way.from);
    let [source, destination] = way.ports;
    of_addresses
        && is_within(flow.uids, Some(way.uid))
        && flow.tos.is_none_or(|tos| tos == way.tos)
        && flow.ip_protocol.is_none_or(|protocol| way.ip_protocol == Some(protocol))
        && is_within(flow.source_ports, source)
        && is_within(flow.destination_ports, destination)
}

/// Returns whether a selector matches this address; one without a network matches all.
fn contains_address(net: Option<IpNet>, address: Option<IpAddr>) -> bool {
    net.is_none_or(|net| address.is_some_and(|address| net.contains(&address)))
}

/// Returns whether a selector matches this number; one without a range matches all.
fn is_within<N: PartialOrd>(range: Option<(N, N)>, number: Option<N>) -> bool {
    let Some((first, last)) = range else { return true };
    number.is_some_and(|number| (first..=last).contains(&number))
}

/// Returns a protocol and ports, of those we promise to keep reachable, that this flow selects:
/// towards nodes ssh and the targets of forwarded ports, from the head what the venue may reach.
/// `None`: the flow selects none of them.
fn promised_ports(
    facts: &Facts,
    flow: &Flow,
    to_nodes: bool,
) -> Option<(Option<u8>, [Option<u16>; 2])> {
    if flow.source_ports.is_none() && flow.destination_ports.is_none() {
        return Some((flow.ip_protocol, [None; 2]));
    }
    let settings = facts.settings();
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
                        facts.vitals().ssh_ports.iter().chain([&SSH]).map(|port| (TCP, *port)),
                    );
                }
                Allow::Web => promised.extend(facts.web_port().map(|port| (TCP, port))),
                Allow::Tcp(first, last) => promised.extend([(TCP, first), (TCP, last)]),
                Allow::Udp(first, last) => promised.extend([(UDP, first), (UDP, last)]),
                Allow::Mdns => promised.push((UDP, MDNS)),
                Allow::Icmp => {}
            }
        }
    }
    // The client's port is arbitrary: a rule for both ports selects a part that is not queried.
    let (ours, theirs) = if to_nodes {
        (flow.destination_ports, flow.source_ports)
    } else {
        (flow.source_ports, flow.destination_ports)
    };
    let (first, last) = ours.filter(|_| theirs.is_none())?;
    let of_protocol = |protocol: u8| flow.ip_protocol.is_none_or(|wanted| wanted == protocol);
    let taken =
        |(protocol, port): &&(u8, u16)| of_protocol(*protocol) && (first..=last).contains(port);
    let (protocol, port) = *promised.iter().find(taken)?;
    let ports = if to_nodes { [None, Some(port)] } else { [Some(port), None] };
    Some((Some(protocol), ports))
}
