//! The ports at which nodes are heard, and at which it is found out whether another board has an
//! address of the head's.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use super::{Desired, ipv4};
use crate::config::Settings;
use crate::event::{ConflictPlan, ConflictPort, Link, Mac, NeighbourPlan};
use crate::facts::Facts;

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
