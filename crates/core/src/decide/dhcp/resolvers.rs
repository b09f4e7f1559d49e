//! Who resolves the names that are not the nodes': the venue's resolvers, as they change.

use std::net::IpAddr;

use crate::config::Settings;
use crate::decide::cluster::Placement;
use crate::event::LinkIndex;
use crate::facts::Facts;

/// A resolver, and the port through which alone it can be reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upstream {
    pub address: IpAddr,
    /// where an overlap gives the same address to us or to a node
    pub port: Option<String>,
}

/// Returns the active uplink's resolvers, else the machine's, else those of another uplink; and
/// where there is none, the settings' fallback.
///
/// Not all of them at once: dnsmasq prefers the first to answer, which may be a portal's on an
/// uplink that leads nowhere.
pub fn upstreams(settings: &Settings, facts: &Facts, placement: &Placement) -> Vec<Upstream> {
    let known = &facts.vitals().resolvers;
    let active =
        facts.active().filter(|uplink| uplink.address.is_some()).map(|uplink| uplink.link.index);
    let others = facts
        .uplinks()
        .into_iter()
        .filter(|uplink| uplink.address.is_some())
        .map(|uplink| uplink.link.index);
    // What the machine's file names is reached by the active uplink.
    let lists = active.into_iter().map(|index| (index, Some(index))).chain([(0, active)]);
    let lists = lists.chain(others.map(|index| (index, Some(index))));
    let through = |(list, uplink): (LinkIndex, Option<LinkIndex>)| -> Vec<Upstream> {
        let servers = known.get(&list).into_iter().flatten();
        servers.filter_map(|server| upstream(*server, uplink, facts, placement)).collect()
    };
    let fallback = settings.cluster.dns.iter().flat_map(|dns| &dns.fallback_servers);
    let fallback =
        || fallback.filter_map(|server| upstream(*server, None, facts, placement)).collect();
    lists.map(through).find(|servers| !servers.is_empty()).unwrap_or_else(fallback)
}

/// Returns how a resolver is asked; `None` for ourselves, and for what is only an address on one
/// wire.
fn upstream(
    address: IpAddr,
    uplink: Option<LinkIndex>,
    facts: &Facts,
    placement: &Placement,
) -> Option<Upstream> {
    let link_local = match address {
        IpAddr::V4(address) => address.is_link_local(),
        IpAddr::V6(address) => address.is_unicast_link_local(),
    };
    if address.is_loopback() || address.is_unspecified() || link_local {
        return None;
    }
    let within = placement.networks().iter().any(|net| net.contains(&address));
    let uplink = uplink
        .and_then(|index| facts.uplinks().into_iter().find(|uplink| uplink.link.index == index));
    if facts.kernel().is_local(address) {
        // Ours too; but the router of the venue that has it resolves names, as most routers do.
        let routers = uplink.filter(|uplink| within && uplink.gateway == Some(address));
        return routers.map(|uplink| Upstream { address, port: Some(uplink.link.name.clone()) });
    }
    Some(Upstream {
        address,
        port: uplink.filter(|_| within).map(|uplink| uplink.link.name.clone()),
    })
}
