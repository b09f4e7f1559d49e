//! What the state answers: everything that policy, pages and status read of it.

use std::net::Ipv4Addr;

use ipnet::{IpNet, Ipv4Net};

use crate::config::Settings;
use crate::event::{Instant, Link, LinkIndex, Reachability, Stop};

use super::host::power::Power;
use super::link::mirror::{HeldAddress, KernelFacts};
use super::link::port::Roles;
use super::node::Nodes;
use super::output::Outputs;
use super::uplink::{UplinkMemory, UplinkView};
use super::{Facts, FirewallFacts, OFFLINE_TIME, Revisions, Vitals};

impl Facts {
    /// Our own addresses in the cluster, of the settings.
    pub fn own_addresses(&self) -> impl Iterator<Item = Ipv4Net> + '_ {
        std::iter::once(self.settings.cluster.address)
            .chain(self.settings.cluster.alternatives.iter().copied())
    }

    /// The address leased to this uplink that is the cluster port's own, or a node's; one that we
    /// put there when it was the cluster's port is no lease. One that a renewal dropped a moment
    /// ago counts: the cluster does not move back and forth for it.
    pub fn lease_clash(&self, index: LinkIndex) -> Option<Ipv4Addr> {
        let cluster = &self.settings.cluster;
        let renewing = self.uplinks.get(&index).filter(|memory| memory.lost_at.is_some());
        let held =
            self.facts.addresses(index).iter().filter(|held| !held.ours).map(|held| held.address);
        held.chain(renewing.and_then(|memory| memory.address))
            .filter_map(|address| match address {
                IpNet::V4(net) => Some(net.addr()),
                IpNet::V6(_) => None,
            })
            .find(|address| {
                let given = || {
                    let before = self.given_twice.contains(&(index, *address));
                    before || self.nodes.is_leased(*address, cluster.address)
                };
                self.is_written(*address) || cluster.address.contains(address) && given()
            })
    }

    /// The settings give this address to the head or to a node.
    fn is_written(&self, address: Ipv4Addr) -> bool {
        address == self.settings.cluster.address.addr() || self.nodes.is_home(address)
    }

    /// Addresses leased to uplinks that our server gave to nodes.
    pub(super) fn given_twice(&self) -> Vec<(LinkIndex, Ipv4Addr)> {
        let clashes =
            self.roles.uplinks.iter().filter_map(|index| Some((*index, self.lease_clash(*index)?)));
        clashes.filter(|(_, address)| !self.is_written(*address)).collect()
    }

    /// An uplink holds an address of the cluster.
    pub fn is_clashing(&self) -> bool {
        self.roles.uplinks.iter().any(|index| self.lease_clash(*index).is_some())
    }

    fn view<'a>(&'a self, link: &'a Link, memory: &'a UplinkMemory) -> UplinkView<'a> {
        let address = memory.shown_address(self.now);
        let route = self.facts.default_route_of(link.index, address);
        let held = self.facts.addresses(link.index);
        let others = held
            .iter()
            .filter(|h| h.is_usable() && !h.ours)
            .map(|h| h.address)
            .filter(|a| Some(*a) != address);
        let primary = held.iter().find(|h| Some(h.address) == address);
        let online = memory.reachability == Some(Reachability::Online);
        UplinkView {
            link,
            state: memory.state,
            settled: memory.settled,
            since: memory.since,
            address,
            addresses: address.into_iter().chain(others).collect(),
            gateway: route.and_then(|route| route.gateway),
            has_default_route: route.is_some(),
            valid_until: primary.and_then(|h| h.valid_until),
            reachability: memory.reachability,
            generation: memory.generation,
            searching_since: memory.searching_since,
            not_renewed_since: primary.and_then(HeldAddress::not_renewed_since),
            acquisition: memory.acquisition,
            portal_url: memory
                .portal
                .as_ref()
                .or(memory.portal_leased.as_ref())
                .filter(|_| !online),
        }
    }

    /// All uplinks that exist, in the order of the settings.
    pub fn uplinks(&self) -> Vec<UplinkView<'_>> {
        let known = self
            .roles
            .uplinks
            .iter()
            .filter_map(|i| Some((self.facts.link(*i)?, self.uplinks.get(i)?)));
        known.map(|(link, memory)| self.view(link, memory)).collect()
    }

    /// The uplink whose address stands on row 1 (or would).
    pub fn active(&self) -> Option<UplinkView<'_>> {
        let index = self.active?;
        Some(self.view(self.facts.link(index)?, self.uplinks.get(&index)?))
    }

    /// The cluster port, if it exists and is usable.
    pub fn cluster_port(&self) -> Option<&Link> {
        self.facts.link(self.roles.cluster?)
    }

    /// IPv4 forwarding is on at the cluster port and at every uplink, as the kernel says.
    pub fn forwarding(&self) -> bool {
        let on = |index: &LinkIndex| {
            self.facts.netconf(*index).is_some_and(|n| n.forwarding == Some(true))
        };
        self.roles.cluster.as_ref().is_some_and(on) && self.roles.uplinks.iter().all(on)
    }

    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The moment of the last event.
    pub fn now(&self) -> Instant {
        self.now
    }

    pub fn started(&self) -> Instant {
        self.started
    }

    /// The first dump has ended: what is not known does not exist.
    pub fn is_synced(&self) -> bool {
        self.synced
    }

    pub fn facts(&self) -> &KernelFacts {
        &self.facts
    }

    pub fn roles(&self) -> &Roles {
        &self.roles
    }

    pub fn nodes(&self) -> &Nodes {
        &self.nodes
    }

    pub fn outputs(&self) -> &Outputs {
        &self.outputs
    }

    pub fn firewall(&self) -> &FirewallFacts {
        &self.firewall
    }

    pub fn vitals(&self) -> &Vitals {
        &self.vitals
    }

    /// The power button, as it is held or was.
    pub fn power(&self) -> Power {
        self.power
    }

    pub fn revisions(&self) -> Revisions {
        self.revisions
    }

    /// Counts up with all that the kernel tells: what was asked of it before may have another
    /// answer now.
    pub fn facts_generation(&self) -> u64 {
        self.facts_generation
    }

    /// Translated sources whose connections are stuck, and the number of that order.
    pub fn stale_sources(&self) -> (&[Ipv4Addr], u64) {
        (&self.stale_sources, self.conntrack_orders)
    }

    /// This uplink has an address and no default route, for longer than a renewal takes.
    pub fn is_routeless(&self, index: LinkIndex) -> bool {
        self.uplinks.get(&index).is_some_and(|memory| memory.is_routeless(self.now))
    }

    /// Uplinks have addresses, but for longer than a renewal takes none of IPv4, to which the nodes
    /// could be masqueraded.
    pub fn is_ipv6_only(&self) -> bool {
        let addressed = || self.uplinks.values().filter(|memory| memory.address.is_some());
        addressed().next().is_some() && addressed().all(|memory| memory.is_ipv6_only(self.now))
    }

    /// Without any uplink since.
    pub fn offline_since(&self) -> Option<Instant> {
        self.offline_since
    }

    /// Without any uplink for longer than [`OFFLINE_TIME`].
    pub fn offline_for_long(&self) -> bool {
        self.offline_since.is_some_and(|since| self.now.saturating_since(since) >= OFFLINE_TIME)
    }

    /// Whether the internet answered through the active uplink.
    pub fn reachability(&self) -> Option<Reachability> {
        self.uplinks.get(&self.active?)?.reachability
    }

    pub fn stopping(&self) -> Option<Stop> {
        self.stop
    }
}
