//! Where the cluster's subnet is: at its home address, or moved to avoid the venue's.

use std::net::IpAddr;

use ipnet::{IpNet, Ipv6Net};

pub use crate::config::keep_host;
use crate::config::{Ipv6Prefix, Settings};
use crate::event::LinkIndex;
use crate::facts::Facts;
use crate::facts::link::mirror::TABLE_MAIN;

use super::{Overlap, ROUTE_PROTOCOL};

/// Limit on subnets tried of a delegated prefix.
const SUBNETS_TRIED: u128 = 16;

/// The head's addresses in the cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placement {
    pub address: IpNet,
    /// Retired addresses, kept until no node uses their subnets.
    pub retained: Vec<IpNet>,
    pub overlap: Overlap,
    /// An uplink holds an address of the cluster: (interface, address).
    pub clash: Option<(LinkIndex, IpAddr)>,
    /// The head's address in the nodes' IPv6 network. It stays when the IPv4 address moves.
    pub ipv6: Option<Ipv6Net>,
    /// The head's address in a network that the venue delegated, and the delegating uplink.
    pub delegated: Option<(Ipv6Net, LinkIndex)>,
}

impl Placement {
    /// Returns the current networks of the cluster.
    pub fn networks(&self) -> Vec<IpNet> {
        std::iter::once(&self.address).chain(&self.retained).map(IpNet::trunc).collect()
    }
}

/// Returns where the cluster is: at home, or at the first alternative without a clash.
pub fn place(settings: &Settings, facts: &Facts) -> Placement {
    let clash = facts
        .roles()
        .uplinks
        .iter()
        .find_map(|index| facts.lease_clash(*index).map(|address| (*index, address)));
    let home = IpNet::V4(settings.cluster.address);
    let mut alternatives = settings.cluster.fallback_addresses.iter().copied().map(IpNet::V4);
    let mut alternative = || alternatives.find(|net| !is_taken(facts, *net));
    let address = clash.and_then(|_| alternative()).unwrap_or(home);
    let overlap = if address != home {
        Overlap::Renumbered
    } else if is_taken(facts, address) || venue_server_in(facts, address) {
        Overlap::Routed
    } else {
        Overlap::None
    };
    let ipv6 = facts.cluster_ipv6().and_then(heads_ipv6);
    let delegated = facts.delegation().filter(|_| ipv6.is_some()).and_then(|delegation| {
        let net = delegated_network(facts, delegation.prefix)?;
        Some((heads_ipv6(net)?, delegation.uplink))
    });
    Placement { address, retained: retained(facts, address), overlap, clash, ipv6, delegated }
}

/// Returns the /64 of a delegated prefix for the nodes: the one that the DHCPv6 client put on the
/// cluster port, else the last one that no other port uses, because clients assign from the first.
fn delegated_network(facts: &Facts, prefix: Ipv6Net) -> Option<Ipv6Net> {
    let port = facts.roles().cluster?;
    let by_client = facts.kernel().addresses(port).iter().find_map(|held| match held.address {
        IpNet::V6(net) if !held.ours && net.prefix_len() == 64 && prefix.contains(&net) => {
            Some(net.trunc())
        }
        _ => None,
    });
    by_client.or_else(|| {
        let last = u128::from(prefix.broadcast()) >> 64;
        let networks = (0..SUBNETS_TRIED).map(|nth| (last - nth) << 64);
        let networks = networks.filter_map(|bits| Ipv6Net::new(bits.into(), 64).ok());
        networks
            .take_while(|net| prefix.contains(net))
            .find(|net| !is_taken(facts, IpNet::V6(*net)))
    })
}

/// Returns the IPv6 network that the settings give the nodes, if an uplink has an address in it. Of
/// a network that was made, only a forged advertisement can name a part.
pub fn overlapping_ipv6(facts: &Facts, placement: &Placement) -> Option<Ipv6Net> {
    let net = placement.ipv6?;
    let is_given = matches!(facts.settings().cluster.ipv6, Some(Ipv6Prefix::Given(_)));
    let uplinks = facts.uplinks();
    let mut held = uplinks.iter().flat_map(|uplink| &uplink.addresses);
    (is_given && held.any(|held| IpNet::V6(net).contains(&held.addr()))).then_some(net)
}

/// Returns the head's address in the nodes' IPv6 network: the first after the subnet-router anycast
/// address (RFC 4291 2.6.1).
fn heads_ipv6(net: Ipv6Net) -> Option<Ipv6Net> {
    let first = u128::from(net.network()) | 1;
    Ipv6Net::new(first.into(), net.prefix_len()).ok()
}

/// Returns our addresses on the cluster port, other than `address`, whose subnets nodes still use
/// and no other port does.
fn retained(facts: &Facts, address: IpNet) -> Vec<IpNet> {
    let own = facts.own_addresses().filter(|net| *net != address);
    own.filter(|net| facts.is_in_use(*net) && !is_taken(facts, *net)).collect()
}

/// Returns whether another port has an address in this network, or a route that overlaps it.
/// Routes to everything do not count, nor our own leftovers on a port that was the cluster's.
pub fn is_taken(facts: &Facts, net: IpNet) -> bool {
    let cluster = facts.roles().cluster;
    let network = net.trunc();
    let overlaps = |other: IpNet| other.contains(&network) || network.contains(&other);
    let by_route = facts.kernel().routes().any(|route| {
        route.table == TABLE_MAIN
            && Some(route.index) != cluster
            && !facts.kernel().is_of_ours(route)
            && route.protocol != ROUTE_PROTOCOL
            && !leads_everywhere(route.destination)
            && overlaps(route.destination)
    });
    let others =
        facts.kernel().links().filter(|link| Some(link.index) != cluster && !link.loopback);
    by_route
        || others
            .flat_map(|link| facts.kernel().addresses(link.index))
            .any(|held| !held.ours && network.contains(&held.address.addr()))
}

/// Returns whether a route's destination is everything, or as much of it as VPNs use instead of a
/// default route: 0.0.0.0/1 and 128.0.0.0/1, or 2000::/3 (RFC 4291, section 2.5.4).
const fn leads_everywhere(destination: IpNet) -> bool {
    match destination {
        IpNet::V4(net) => net.prefix_len() <= 1,
        IpNet::V6(net) => net.prefix_len() <= 3,
    }
}

/// Returns whether a gateway or resolver of the venue has an address in this network.
fn venue_server_in(facts: &Facts, net: IpNet) -> bool {
    venue_servers(facts).into_iter().any(|(_, server)| net.contains(&server))
}

/// Returns the venue's IPv4 gateways and resolvers, each with the uplink that reaches it.
pub fn venue_servers(facts: &Facts) -> Vec<(LinkIndex, IpAddr)> {
    let active = facts.active().map(|uplink| uplink.link.index);
    let mut servers = Vec::new();
    for uplink in facts.uplinks().iter().filter(|uplink| uplink.address.is_some()) {
        let index = uplink.link.index;
        let resolvers = facts.vitals().resolvers.get(&index).into_iter().flatten().copied();
        let machine = facts.vitals().resolvers.get(&0).into_iter().flatten().copied();
        let machine = machine.filter(|_| active == Some(index));
        for server in uplink.gateway.into_iter().chain(resolvers).chain(machine) {
            let is_news = !server.is_loopback() && !servers.contains(&(index, server));
            if server.is_ipv4() && is_news {
                servers.push((index, server));
            }
        }
    }
    servers
}
