//! Upstream resolvers: the venue's, as they change.

use std::net::IpAddr;

use crate::config::Settings;
use crate::decide::cluster::Placement;
use crate::event::LinkIndex;
use crate::facts::Facts;

/// A resolver, and the only port through which it is reachable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upstream {
    pub address: IpAddr,
    /// Set where, in an overlap, the head or a node has the same address.
    pub port: Option<String>,
}

/// Returns the active uplink's resolvers, else the machine's, else those of another uplink, else
/// the settings' fallback.
///
/// Never a mixture: dnsmasq prefers the fastest, which may be a portal on an uplink without
/// internet.
pub fn upstreams(settings: &Settings, facts: &Facts, placement: &Placement) -> Vec<Upstream> {
    let resolvers = &facts.vitals().resolvers;
    let active =
        facts.active().filter(|uplink| uplink.address.is_some()).map(|uplink| uplink.link.index);
    let others = facts
        .uplinks()
        .into_iter()
        .filter(|uplink| uplink.address.is_some())
        .map(|uplink| uplink.link.index);
    // The servers in the machine's file are reached by the active uplink.
    let lists = active.into_iter().map(|index| (index, Some(index))).chain([(0, active)]);
    let lists = lists.chain(others.map(|index| (index, Some(index))));
    let through = |(list, uplink): (LinkIndex, Option<LinkIndex>)| -> Vec<Upstream> {
        let servers = resolvers.get(&list).into_iter().flatten();
        servers.filter_map(|server| upstream(*server, uplink, facts, placement)).collect()
    };
    let fallback = settings.cluster.dns.iter().flat_map(|dns| &dns.fallback_servers);
    let fallback =
        || fallback.filter_map(|server| upstream(*server, None, facts, placement)).collect();
    lists.map(through).find(|servers| !servers.is_empty()).unwrap_or_else(fallback)
}

/// Returns how to reach a resolver; `None` for the head itself and for link-local addresses.
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
        // The head has this address too, but as the venue's router it most likely resolves names.
        let routers = uplink.filter(|uplink| within && uplink.gateway == Some(address));
        return routers.map(|uplink| Upstream { address, port: Some(uplink.link.name.clone()) });
    }
    Some(Upstream {
        address,
        port: uplink.filter(|_| within).map(|uplink| uplink.link.name.clone()),
    })
}
