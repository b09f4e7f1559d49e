//! Settings of the head's ports, and the ports at which neighbours and address conflicts are
//! watched.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use ipnet::{IpNet, Ipv6Net};

use super::cluster::Placement;
use super::{Desired, ipv4};
use crate::config::Settings;
use crate::event::{ConflictPlan, ConflictPort, Link, LinkIndex, Mac, NeighbourPlan, Netconf};
use crate::facts::Facts;

/// Reply to ARP only for addresses of the receiving port, so that the venue gets no reply for the
/// cluster's addresses.
const ARP_IGNORE: u8 = 1;
/// Reply to ARP for all addresses of this machine: on the cluster port, while an uplink's address
/// lies in the cluster's network.
const ARP_ANSWER: u8 = 0;
/// Send ARP requests only with addresses of the sending port.
const ARP_ANNOUNCE: u8 = 2;
/// Loose mode on uplinks: with two of them, replies may arrive by the other.
const RP_FILTER: u8 = 2;
/// A router neither accepts nor sends redirects, and accepts no source routes. The kernel combines
/// "all" with the port's value (`ip-sysctl.rst`): by AND for `accept_redirects` (while forwarding
/// is on) and `accept_source_route`, so the port's value suffices; by OR for `send_redirects`, so
/// the rule set drops those that "all" lets out.
const REDIRECTS: u8 = 0;
const SOURCE_ROUTE: u8 = 0;

/// Settings and addresses of the ports.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LinkPlan {
    pub ports: Vec<PortPlan>,
}

/// One port of the gateway. The reconciler reads, compares, then writes, settings before addresses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PortPlan {
    pub index: LinkIndex,
    pub name: String,
    /// Whether to set it up; it is never set down.
    pub up: bool,
    /// Wanted addresses, in this order. Other addresses that we added are removed; those of other
    /// programs stay.
    pub addresses: Vec<IpNet>,
    pub conf: InterfaceConf,
    /// The port's role in the nodes' IPv6; `None` leaves IPv6 as it is.
    pub ipv6: Option<Ipv6Role>,
}

/// The role of a port in the nodes' IPv6.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ipv6Role {
    Cluster,
    Uplink,
}

/// Per-interface IPv4 settings (`/proc/sys/net/ipv4/conf/IF/*`), written by `RTM_SETLINK` with
/// `IFLA_AF_SPEC` / `AF_INET` / `IFLA_INET_CONF`. `None` leaves a value as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct InterfaceConf {
    pub forwarding: Option<bool>,
    pub arp_ignore: Option<u8>,
    pub arp_announce: Option<u8>,
    pub rp_filter: Option<u8>,
    pub accept_local: Option<bool>,
    /// Ignore routes through a port without a carrier, so that the next best uplink takes over at
    /// once.
    pub ignore_routes_with_linkdown: Option<bool>,
    pub accept_redirects: Option<u8>,
    pub send_redirects: Option<u8>,
    pub accept_source_route: Option<u8>,
}

impl InterfaceConf {
    /// Returns the settings of a gateway port. With `answers_for_uplink`, the cluster port replies
    /// to ARP for an uplink's address too.
    fn of(uplink: bool, answers_for_uplink: bool) -> Self {
        Self {
            forwarding: Some(true),
            rp_filter: (uplink || answers_for_uplink).then_some(RP_FILTER),
            arp_ignore: Some(if answers_for_uplink { ARP_ANSWER } else { ARP_IGNORE }),
            arp_announce: Some(ARP_ANNOUNCE),
            accept_redirects: Some(REDIRECTS),
            send_redirects: Some(REDIRECTS),
            accept_source_route: Some(SOURCE_ROUTE),
            ..Self::default()
        }
    }

    /// Returns those of the settings that the kernel reports for a port.
    fn reported(&self, index: LinkIndex) -> Netconf {
        Netconf {
            index,
            forwarding: self.forwarding,
            rp_filter: self.rp_filter,
            arp_ignore: self.arp_ignore,
            arp_announce: self.arp_announce,
            accept_redirects: self.accept_redirects,
            send_redirects: self.send_redirects,
            accept_source_route: self.accept_source_route,
        }
    }
}

/// Returns the desired state of the gateway's ports. Uplinks come first: they must stop replying
/// for the cluster's addresses before those are added.
pub(super) fn plan(facts: &Facts, placement: &Placement) -> LinkPlan {
    let uplinks = facts.uplinks().into_iter().map(|uplink| {
        let ours = uplink.gateway.is_some_and(|gateway| gateway == placement.address.addr());
        PortPlan {
            index: uplink.link.index,
            name: uplink.link.name.clone(),
            up: false,
            addresses: Vec::new(),
            conf: InterfaceConf {
                accept_local: Some(ours),
                ignore_routes_with_linkdown: Some(true),
                ..InterfaceConf::of(true, false)
            },
            ipv6: placement.ipv6.map(|_| Ipv6Role::Uplink),
        }
    });
    let cluster = facts.cluster_port().filter(|link| link.master.is_none()).map(|link| {
        let answers_for_uplink = facts.answers_for_uplink(link.index);
        PortPlan {
            index: link.index,
            name: link.name.clone(),
            up: true,
            addresses: std::iter::once(placement.address)
                .chain(placement.retained.iter().copied())
                .chain(placement.ipv6.map(IpNet::V6))
                .chain(placement.delegated.map(|(address, _)| IpNet::V6(address)))
                .collect(),
            conf: InterfaceConf::of(false, answers_for_uplink),
            ipv6: placement.ipv6.map(|_| Ipv6Role::Cluster),
        }
    });
    LinkPlan { ports: uplinks.chain(cluster).collect() }
}

/// Returns the planned settings of the ports, in the form in which the kernel reports them.
pub fn ordered(desired: &Desired) -> Vec<Netconf> {
    let ports = desired.gateway.iter().flat_map(|gateway| &gateway.links.ports);
    ports.map(|port| port.conf.reported(port.index)).collect()
}

/// Returns the port whose neighbours are watched, and the head's IPv6 addresses there if the nodes
/// get IPv6.
pub fn neighbours(facts: &Facts, desired: &Desired) -> Option<NeighbourPlan> {
    let of_gateway = |address: Option<Ipv6Net>| address.filter(|_| desired.gateway.is_some());
    Some(NeighbourPlan {
        index: facts.roles().cluster?,
        ipv6: of_gateway(desired.cluster_ipv6),
        delegated: of_gateway(desired.cluster_delegated),
    })
}

/// Returns the cluster port and uplinks with a carrier, and the head's IPv4 addresses there, whose
/// conflicts ARP shows.
pub fn conflicts(settings: &Settings, facts: &Facts, desired: &Desired) -> ConflictPlan {
    let links = facts.kernel().links();
    let own: BTreeSet<Mac> = links.filter_map(|link| link.mac).collect();
    let cluster =
        facts.cluster_port().filter(|link| settings.gateway.enabled && link.master.is_none());
    let cluster = cluster.zip(ipv4(desired.cluster_address));
    let cluster = cluster.and_then(|(link, net)| conflict_port(link, vec![net.addr()]));
    let uplinks = facts.uplinks().into_iter();
    let uplinks = uplinks.filter_map(|uplink| {
        let net = uplink.address.and_then(ipv4)?;
        conflict_port(uplink.link, vec![net.addr()])
    });
    ConflictPlan {
        ports: cluster.into_iter().chain(uplinks).collect(),
        own: own.into_iter().collect(),
    }
}

/// Returns a port and its addresses to check for conflicts; `None` without a carrier or an address.
fn conflict_port(link: &Link, addresses: Vec<Ipv4Addr>) -> Option<ConflictPort> {
    let mac = link.mac.filter(|_| link.carrier && !addresses.is_empty())?;
    Some(ConflictPort { index: link.index, mac, addresses })
}
