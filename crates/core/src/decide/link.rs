//! The ports at which it is found out whether another board has an address of the head's.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use ipnet::IpNet;

use super::Desired;
use crate::config::Settings;
use crate::event::{ConflictPlan, ConflictPort, Link, Mac};
use crate::facts::Facts;

/// Returns the ports of cluster and uplinks with a carrier, and the head's addresses there.
pub fn conflicts(settings: &Settings, facts: &Facts, desired: &Desired) -> ConflictPlan {
    let links = facts.kernel().links();
    let own: BTreeSet<Mac> = links.filter_map(|link| link.mac).collect();
    let port = |link: &Link, addresses: Vec<Ipv4Addr>| {
        let mac = link.mac.filter(|_| link.carrier && !addresses.is_empty())?;
        Some(ConflictPort { index: link.index, mac, addresses })
    };
    let cluster =
        facts.cluster_port().filter(|link| settings.gateway.enabled && link.master.is_none());
    let cluster = cluster.and_then(|link| port(link, vec![desired.cluster_address.addr()]));
    let uplinks = facts.uplinks().into_iter().filter_map(|uplink| match uplink.address {
        Some(IpNet::V4(net)) => port(uplink.link, vec![net.addr()]),
        _ => None,
    });
    ConflictPlan {
        ports: cluster.into_iter().chain(uplinks).collect(),
        own: own.into_iter().collect(),
    }
}
