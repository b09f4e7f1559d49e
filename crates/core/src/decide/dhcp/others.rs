//! Where other DHCP servers are searched for, and where the nodes' time server is.

use std::net::Ipv4Addr;

use ipnet::Ipv4Net;

use crate::config::{Settings, TimeServer};
use crate::decide::{Desired, ipv4};
use crate::event::DhcpWatchPlan;
use crate::facts::Facts;

/// Returns the cluster port, while it has a carrier and DHCP is to be served there.
pub fn other_dhcp(settings: &Settings, facts: &Facts) -> Option<DhcpWatchPlan> {
    let (index, generation) = facts.dhcp().port()?;
    let port = facts.kernel().link(index)?;
    let (cluster, name) = (&settings.cluster, port.name.clone());
    let ours = std::iter::once(&cluster.address)
        .chain(&cluster.fallback_addresses)
        .map(Ipv4Net::addr)
        .collect();
    Some(DhcpWatchPlan {
        index,
        name,
        mac: port.mac?,
        generation,
        ours,
        unknown_clients: facts.nodes().unknown_boards,
    })
}

/// Returns the address that DHCPv4 offers to nodes as their time server, if it is the head and has
/// to be checked.
pub fn time_at(settings: &Settings, desired: &Desired) -> Option<Ipv4Addr> {
    let asked = settings.cluster.dhcp.as_ref().is_some_and(|dhcp| dhcp.ntp == TimeServer::Auto);
    let address = ipv4(desired.cluster_address).filter(|_| asked && settings.gateway.enabled);
    address.map(|net| net.addr())
}
