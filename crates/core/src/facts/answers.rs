//! What decisions, pages and status ask of the facts: each component, and what only several of them
//! know together.

use std::collections::BTreeSet;
use std::net::IpAddr;

use ipnet::{IpNet, Ipv6Net};

use crate::config::Settings;
use crate::event::alert::AlertCode;
use crate::event::{AlertId, Astray, Instant, Link, LinkIndex, NodeId, Output, Report, Stop};

use super::cluster;
use super::dhcp::DhcpFacts;
use super::host::power::Power;
use super::link::Links;
use super::link::mirror::KernelFacts;
use super::link::port::Roles;
use super::node::Nodes;
use super::output::Outputs;
use super::routing::Routing;
use super::share::ShareFacts;
use super::uplink::{OFFLINE_TIME, UplinkView};
use super::venue::{LISTENING_TIME, VenueMemory};
use super::{Facts, FirewallFacts, Vitals};

impl Facts {
    /// Returns the settings.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Returns the moment of the last event.
    pub fn now(&self) -> Instant {
        self.now
    }

    /// Returns when the daemon started.
    pub fn started(&self) -> Instant {
        self.started
    }

    /// Returns why the daemon is about to end, if it is.
    pub fn stopping(&self) -> Option<Stop> {
        self.stop
    }

    /// Returns what the outputs reported of themselves.
    pub fn outputs(&self) -> &Outputs {
        &self.outputs
    }

    /// Returns the head's ports.
    pub fn links(&self) -> &Links {
        &self.links
    }

    /// Returns what the kernel holds.
    pub fn kernel(&self) -> &KernelFacts {
        self.links.kernel()
    }

    /// Returns which port plays which role.
    pub fn roles(&self) -> &Roles {
        self.links.roles()
    }

    /// Returns the cluster port, if it exists and is usable.
    pub fn cluster_port(&self) -> Option<&Link> {
        self.links.cluster_port()
    }

    /// Returns by which ways packets leave.
    pub fn routing(&self) -> &Routing {
        &self.routing
    }

    /// Returns what was seen of the firewall.
    pub fn firewall(&self) -> &FirewallFacts {
        &self.firewall
    }

    /// Returns the TCP port of the status page, where its process is and may have that port.
    pub fn web_port(&self) -> Option<u16> {
        self.web.reported().filter(|port| self.settings.web.may_listen(*port))
    }

    /// Returns the head's vitals.
    pub fn vitals(&self) -> &Vitals {
        &self.host
    }

    /// Returns the power button, as it is held or was.
    pub fn power(&self) -> Power {
        self.power
    }

    /// Returns how far the shutdown of the nodes has come, if one runs.
    pub fn shutdown(&self) -> Option<&Report> {
        self.shutdown.report()
    }

    /// Returns how the shared disks are.
    pub fn shares(&self) -> &ShareFacts {
        &self.shares
    }

    /// Returns the nodes.
    pub fn nodes(&self) -> &Nodes {
        &self.nodes
    }

    /// Returns what was seen of DHCP on the cluster port.
    pub fn dhcp(&self) -> &DhcpFacts {
        &self.dhcp
    }

    /// Returns the alerts that users know of.
    pub fn acknowledged(&self) -> &BTreeSet<AlertId> {
        self.acknowledgements.known()
    }

    /// Returns the nodes of which users know an alert of this code, one of nodes' health.
    pub fn acknowledged_nodes(&self, code: AlertCode) -> &BTreeSet<NodeId> {
        self.acknowledgements.nodes(code)
    }

    /// Returns whether every alert that users know of stands, and none of them is waited for since
    /// the start.
    pub fn all_acknowledged_stand(
        &self,
        stands: impl Fn(&AlertId) -> bool,
        all_stand: impl Fn(AlertCode, &BTreeSet<NodeId>) -> bool,
    ) -> bool {
        self.acknowledgements.all_stand(stands, all_stand)
    }

    /// Returns a count that goes up whenever more may have changed than what probes say of nodes,
    /// also by time alone.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// Returns all uplinks that exist, in the order of the settings.
    pub fn uplinks(&self) -> Vec<UplinkView<'_>> {
        let ports = self.roles().uplinks.iter();
        ports.filter_map(|index| self.uplinks.view(*index, &self.links, self.now)).collect()
    }

    /// Returns what is remembered of the venue of an uplink; `None` without a carrier, or where
    /// nothing was heard.
    pub fn venue(&self, index: LinkIndex) -> Option<&VenueMemory> {
        self.venues.get(index)
    }

    /// Returns whether so little time has passed since the start that what a venue offers may not
    /// have been heard yet.
    pub fn is_listening(&self) -> bool {
        self.now < self.started + LISTENING_TIME
    }

    /// Returns the uplink whose address stands on row 1 (or would).
    pub fn active(&self) -> Option<UplinkView<'_>> {
        self.uplinks.view(self.uplinks.active()?, &self.links, self.now)
    }

    /// Returns whether this uplink has an address and no default route, for longer than a renewal
    /// takes.
    pub fn is_routeless(&self, index: LinkIndex) -> bool {
        self.uplinks.get(index).is_some_and(|memory| memory.is_routeless(self.now))
    }

    /// Returns whether uplinks have addresses, but for longer than a renewal takes none of IPv4, to
    /// which the nodes could be masqueraded.
    pub fn is_ipv6_only(&self) -> bool {
        self.uplinks.is_ipv6_only(self.now)
    }

    /// Returns since when there is no uplink.
    pub fn offline_since(&self) -> Option<Instant> {
        self.uplinks.offline_since()
    }

    /// Returns whether there is no uplink for longer than [`OFFLINE_TIME`].
    pub fn offline_for_long(&self) -> bool {
        self.offline_since().is_some_and(|since| self.now.saturating_since(since) >= OFFLINE_TIME)
    }

    /// Returns the uplink that the nodes' traffic would leave by without our rules, if it leaves by
    /// one.
    pub fn main_egress(&self) -> Option<LinkIndex> {
        self.routing.main_egress(&self.links)
    }

    /// Returns whether the kernel refuses what the nodes send to the internet, though an uplink has
    /// a default route and all is set, for longer than a change of venue takes.
    pub fn is_without_exit(&self) -> bool {
        self.routing.is_without_exit(self.now)
    }

    /// Returns the ways that packets would not go as they have to, for longer than it takes to put
    /// our own rules there.
    pub fn astray(&self) -> impl Iterator<Item = &Astray> {
        self.routing.astray(self.now)
    }

    /// Returns our own addresses in the cluster, of the settings.
    pub fn own_addresses(&self) -> impl Iterator<Item = IpNet> + '_ {
        cluster::own_addresses(&self.settings)
    }

    /// Returns the nodes' IPv6 network; `None`: they get no IPv6.
    pub fn cluster_ipv6(&self) -> Option<Ipv6Net> {
        self.cluster.ipv6(&self.settings, &self.links)
    }

    /// Returns the prefix that a venue delegated, where the nodes are to have it.
    pub fn delegation(&self) -> Option<cluster::Delegation> {
        self.cluster.delegation()
    }

    /// Returns whether the nodes have, or had, addresses of a delegated prefix.
    pub fn had_delegation(&self) -> bool {
        self.cluster.had_delegation()
    }

    /// Returns the unique local network that is kept for the nodes, whether they get it or not.
    pub fn kept_ipv6(&self) -> Option<Ipv6Net> {
        self.cluster.kept_ipv6()
    }

    /// Returns whether the kernel forwarded IPv6 between all ports before us.
    pub fn forwarded_ipv6(&self) -> bool {
        self.cluster.forwarded_ipv6()
    }

    /// Returns whether a node may still use the subnet of this address of ours on the cluster port.
    pub fn is_in_use(&self, net: IpNet) -> bool {
        self.cluster.is_in_use(net, self.now)
    }

    /// Returns the address leased to this uplink that is the cluster port's own, or a node's; one
    /// that we put there when it was the cluster's port is no lease.
    pub fn lease_clash(&self, index: LinkIndex) -> Option<IpAddr> {
        self.cluster.lease_clash(index, &self.settings, &self.links, &self.uplinks, &self.nodes)
    }

    /// Returns the uplinks that hold an address of the cluster, each with the first such address.
    pub(super) fn clashes(&self) -> impl Iterator<Item = (LinkIndex, IpAddr)> + '_ {
        self.cluster.clashes(&self.settings, &self.links, &self.uplinks, &self.nodes).into_iter()
    }

    /// Returns whether an uplink holds an address of the cluster.
    pub fn is_clashing(&self) -> bool {
        self.clashes().next().is_some()
    }

    /// Returns whether `index` is the cluster port and answers ARP for an uplink's address: one
    /// that the nodes look for on their own wire, as the venue uses the same network.
    pub fn answers_for_uplink(&self, index: LinkIndex) -> bool {
        self.roles().cluster == Some(index) && self.cluster_answers_for_uplink()
    }

    pub(super) fn cluster_answers_for_uplink(&self) -> bool {
        cluster::is_uplink_looked_for(&self.settings, &self.uplinks, &self.nodes)
            && !self.is_clashing()
    }

    /// Returns the ports on which the gateway has its settings, for as long as it is enabled.
    pub fn gateway_ports(&self) -> impl Iterator<Item = LinkIndex> + '_ {
        self.links.gateway_ports(&self.settings)
    }

    /// Returns whether the gateway stands, so that READY need not wait any longer: the rule set is
    /// in the kernel, forwarding is on wherever it is to be, and routes and rules of ours are
    /// there. Addresses, routes and rules that the kernel does not take, or that wait for what may
    /// never come, are reported and delay no client that waits for us.
    pub fn stands(&self) -> bool {
        self.outputs.is_well(Output::Firewall)
            && self.outputs.has_answered(Output::Link)
            && self.outputs.has_answered(Output::Routing)
            && self.links.forwards_by(self.gateway_ports())
    }
}
