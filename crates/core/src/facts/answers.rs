//! Queries of the facts for decisions, pages and status: accessors of the components, and what
//! several components determine together.

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
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Returns the time of the last event.
    pub fn now(&self) -> Instant {
        self.now
    }

    /// Returns when the daemon started.
    pub fn started(&self) -> Instant {
        self.started
    }

    /// Returns why the daemon is stopping, if it is.
    pub fn stopping(&self) -> Option<Stop> {
        self.stop
    }

    pub fn outputs(&self) -> &Outputs {
        &self.outputs
    }

    /// Returns the head's ports.
    pub fn links(&self) -> &Links {
        &self.links
    }

    pub fn kernel(&self) -> &KernelFacts {
        self.links.kernel()
    }

    /// Returns the roles of the ports.
    pub fn roles(&self) -> &Roles {
        self.links.roles()
    }

    /// Returns the cluster port, if it exists and is usable.
    pub fn cluster_port(&self) -> Option<&Link> {
        self.links.cluster_port()
    }

    pub fn routing(&self) -> &Routing {
        &self.routing
    }

    pub fn firewall(&self) -> &FirewallFacts {
        &self.firewall
    }

    /// Returns the TCP port of the status page, if its process runs and the settings allow it.
    pub fn web_port(&self) -> Option<u16> {
        self.web.reported().filter(|port| self.settings.web.may_listen(*port))
    }

    pub fn vitals(&self) -> &Vitals {
        &self.host
    }

    /// Returns the state of the power button.
    pub fn power(&self) -> Power {
        self.power
    }

    /// Returns the progress of the nodes' shutdown, if one is running.
    pub fn shutdown(&self) -> Option<&Report> {
        self.shutdown.report()
    }

    pub fn shares(&self) -> &ShareFacts {
        &self.shares
    }

    pub fn nodes(&self) -> &Nodes {
        &self.nodes
    }

    /// Returns the DHCP state of the cluster port.
    pub fn dhcp(&self) -> &DhcpFacts {
        &self.dhcp
    }

    /// Returns the acknowledged alerts.
    pub fn acknowledged(&self) -> &BTreeSet<AlertId> {
        self.acknowledgements.known()
    }

    /// Returns the nodes whose alert of this code, one about nodes' health, is acknowledged.
    pub fn acknowledged_nodes(&self, code: AlertCode) -> &BTreeSet<NodeId> {
        self.acknowledgements.nodes(code)
    }

    /// Returns whether all acknowledged alerts are raised, and none that an earlier run saved is
    /// still awaited. `all_stand` checks the nodes of a code about nodes' health, `stands` any other
    /// alert.
    pub fn all_acknowledged_stand(
        &self,
        stands: impl Fn(&AlertId) -> bool,
        all_stand: impl Fn(AlertCode, &BTreeSet<NodeId>) -> bool,
    ) -> bool {
        self.acknowledgements.all_stand(stands, all_stand)
    }

    /// Returns a count of the events and deadlines after which more than the nodes' health may have
    /// changed.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// Returns all uplinks that exist, in the order of the settings.
    pub fn uplinks(&self) -> Vec<UplinkView<'_>> {
        let ports = self.roles().uplinks.iter();
        ports.filter_map(|index| self.uplinks.view(*index, &self.links, self.now)).collect()
    }

    /// Returns the state of an uplink's venue; `None` without a carrier.
    pub fn venue(&self, index: LinkIndex) -> Option<&VenueMemory> {
        self.venues.get(index)
    }

    /// Returns whether the first router advertisement may still be on its way after the start.
    pub fn is_listening(&self) -> bool {
        self.now < self.started + LISTENING_TIME
    }

    /// Returns the active uplink, whose address is shown on row 1.
    pub fn active(&self) -> Option<UplinkView<'_>> {
        self.uplinks.view(self.uplinks.active()?, &self.links, self.now)
    }

    /// Returns whether this uplink has had an address and no default route for longer than a
    /// renewal takes.
    pub fn is_routeless(&self, index: LinkIndex) -> bool {
        self.uplinks.get(index).is_some_and(|memory| memory.is_routeless(self.now))
    }

    /// Returns whether uplinks have addresses, but for longer than a renewal takes no IPv4 address
    /// to masquerade the nodes.
    pub fn is_ipv6_only(&self) -> bool {
        self.uplinks.is_ipv6_only(self.now)
    }

    /// Returns since when no uplink has an address.
    pub fn offline_since(&self) -> Option<Instant> {
        self.uplinks.offline_since()
    }

    /// Returns whether no uplink has had an address for [`OFFLINE_TIME`].
    pub fn offline_for_long(&self) -> bool {
        self.offline_since().is_some_and(|since| self.now.saturating_since(since) >= OFFLINE_TIME)
    }

    /// Returns the uplink by which the nodes' traffic would leave without our rules, if any.
    pub fn main_egress(&self) -> Option<LinkIndex> {
        self.routing.main_egress(&self.links)
    }

    /// Returns whether the kernel rejects the nodes' traffic to the internet, although an uplink
    /// has a default route and everything is configured, for longer than a change of venue takes.
    pub fn is_without_exit(&self) -> bool {
        self.routing.is_without_exit(self.now)
    }

    /// Returns the flows that the kernel would misroute, for longer than it takes to add our rules.
    pub fn astray(&self) -> impl Iterator<Item = &Astray> {
        self.routing.astray(self.now)
    }

    /// Returns the head's addresses in the cluster that the settings give.
    pub fn own_addresses(&self) -> impl Iterator<Item = IpNet> + '_ {
        cluster::own_addresses(&self.settings)
    }

    /// Returns the nodes' IPv6 network; `None`: they get no IPv6.
    pub fn cluster_ipv6(&self) -> Option<Ipv6Net> {
        self.cluster.ipv6(&self.settings, &self.links)
    }

    /// Returns the delegated prefix that the nodes use, if any.
    pub fn delegation(&self) -> Option<cluster::Delegation> {
        self.cluster.delegation()
    }

    /// Returns prefixes that were delegated before and are not now.
    pub fn previous_delegations(&self) -> impl Iterator<Item = Ipv6Net> + '_ {
        self.cluster.previous_delegations()
    }

    /// Returns whether the nodes have, or had, addresses of a delegated prefix.
    pub fn had_delegation(&self) -> bool {
        self.cluster.had_delegation()
    }

    /// Returns the IPv6 networks that the nodes lose now.
    pub fn withdrawn_networks(&self) -> impl Iterator<Item = Ipv6Net> + '_ {
        self.cluster.withdrawn()
    }

    /// Returns the nodes' saved unique local network, whether or not it is in use.
    pub fn kept_ipv6(&self) -> Option<Ipv6Net> {
        self.cluster.kept_ipv6()
    }

    /// Returns whether the kernel forwarded IPv6 on all ports before Bramblegate changed it.
    pub fn forwarded_ipv6(&self) -> bool {
        self.cluster.forwarded_ipv6()
    }

    /// Returns whether a node may still use the subnet of this address of the cluster port.
    pub fn is_in_use(&self, net: IpNet) -> bool {
        self.cluster.is_in_use(net, self.now)
    }

    /// Returns an address of this uplink that is also the head's in the cluster, or a node's;
    /// addresses that Bramblegate added itself do not count.
    pub fn lease_clash(&self, index: LinkIndex) -> Option<IpAddr> {
        self.cluster.lease_clash(index, &self.settings, &self.links, &self.uplinks, &self.nodes)
    }

    /// Returns the uplinks that hold an address of the cluster, each with the first such address.
    pub(super) fn clashes(&self) -> impl Iterator<Item = (LinkIndex, IpAddr)> + '_ {
        self.cluster.clashes(&self.settings, &self.links, &self.uplinks, &self.nodes).into_iter()
    }

    pub fn is_clashing(&self) -> bool {
        self.clashes().next().is_some()
    }

    /// Returns whether `index` is the cluster port and must reply to ARP requests for an uplink's
    /// address, which the nodes send as the venue uses the same network.
    pub fn answers_for_uplink(&self, index: LinkIndex) -> bool {
        self.roles().cluster == Some(index) && self.cluster_answers_for_uplink()
    }

    pub(super) fn cluster_answers_for_uplink(&self) -> bool {
        cluster::is_uplink_looked_for(&self.settings, &self.uplinks, &self.nodes)
            && !self.is_clashing()
    }

    /// Returns the ports that the gateway configures; none while it is disabled.
    pub fn gateway_ports(&self) -> impl Iterator<Item = LinkIndex> + '_ {
        self.links.gateway_ports(&self.settings)
    }

    /// Returns whether the gateway is ready (READY): the rule set is loaded, forwarding is on, and
    /// the reconcilers of ports and routing have each reported once. An address, route or rule that
    /// the kernel rejects, or that waits for another event, is reported but does not delay READY.
    pub fn stands(&self) -> bool {
        self.outputs.is_well(Output::Firewall)
            && self.outputs.has_answered(Output::Link)
            && self.outputs.has_answered(Output::Routing)
            && self.links.forwards_by(self.gateway_ports())
    }
}
