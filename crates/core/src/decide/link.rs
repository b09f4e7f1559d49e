//! What the head's ports are set to; those at which nodes are heard, and at which it is found out
//! whether another board has an address of the head's.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use ipnet::IpNet;

use super::cluster::Placement;
use super::{Desired, ipv4};
use crate::config::Settings;
use crate::event::{ConflictPlan, ConflictPort, Link, LinkIndex, Mac, NeighbourPlan, Netconf};
use crate::facts::Facts;

/// Answers ARP only for addresses of the port that was asked: never the venue's for one of the
/// cluster.
const ARP_IGNORE: u8 = 1;
/// Answers ARP for all addresses of this machine: on the cluster port, while an uplink's lies in
/// the cluster's network.
const ARP_ANSWER: u8 = 0;
/// Asks by ARP only with addresses of the port that asks.
const ARP_ANNOUNCE: u8 = 2;
/// Loose, on uplinks: with two of them answers may come by the other.
const RP_FILTER: u8 = 2;
/// A router neither follows redirects nor sends them, and takes no route from a packet's options.
/// The kernel takes "all" and the port's value together: by AND for `accept_redirects` (while
/// forwarding is on) and `accept_source_route`, so that the port's is enough; by OR for
/// `send_redirects` (`ip-sysctl.rst`), so that the rule set drops those that "all" lets out.
const REDIRECTS: u8 = 0;
const SOURCE_ROUTE: u8 = 0;

/// Interface settings and addresses.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LinkPlan {
    pub ports: Vec<PortPlan>,
}

/// One interface of ours. The reconciler reads, compares, then writes; settings come before
/// addresses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PortPlan {
    pub index: LinkIndex,
    pub name: String,
    /// switch it on (never off)
    pub up: bool,
    /// to be there, in this order; others that are ours go, those of others are never touched
    pub addresses: Vec<IpNet>,
    pub conf: InterfaceConf,
    /// the part that the port has where the nodes get IPv6; `None`: IPv6 is left as it is
    pub ipv6: Option<Ipv6Role>,
}

/// The part of a port in the nodes' IPv6.
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
    /// a route through a port without a carrier is passed over: the next best uplink takes its
    /// place at once
    pub ignore_routes_with_linkdown: Option<bool>,
    pub accept_redirects: Option<u8>,
    pub send_redirects: Option<u8>,
    pub accept_source_route: Option<u8>,
}

impl InterfaceConf {
    /// Returns what a port of the gateway is set to. `answers_for_uplink`: as the cluster port it
    /// answers ARP for an uplink's address too.
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

    /// Returns the settings as the kernel reports them of a port; it reports not all.
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

/// Returns what the ports of ours should hold. Uplinks first: they must no longer answer for the
/// cluster's addresses when those are added.
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

/// Returns the settings that are ordered for ports, as the kernel reports them.
pub fn ordered(desired: &Desired) -> Vec<Netconf> {
    let ports = desired.gateway.iter().flat_map(|gateway| &gateway.links.ports);
    ports.map(|port| port.conf.reported(port.index)).collect()
}

/// Returns the port whose neighbours are heard, and the head's IPv6 address there, where the nodes
/// get IPv6.
pub fn neighbours(facts: &Facts, desired: &Desired) -> Option<NeighbourPlan> {
    let ipv6 = desired.cluster_ipv6.filter(|_| desired.gateway.is_some());
    Some(NeighbourPlan { index: facts.roles().cluster?, ipv6 })
}

/// Returns the ports of cluster and uplinks with a carrier, and the head's addresses there:
/// those of IPv4, which ARP shows.
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

/// Returns a port whose addresses are asked for; `None` without a cable or an address.
fn conflict_port(link: &Link, addresses: Vec<Ipv4Addr>) -> Option<ConflictPort> {
    let mac = link.mac.filter(|_| link.carrier && !addresses.is_empty())?;
    Some(ConflictPort { index: link.index, mac, addresses })
}
