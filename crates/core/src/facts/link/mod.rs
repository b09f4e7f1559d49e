//! The head's ports: their state in the kernel, their roles, and drift caused by other programs.

mod drift;
pub mod mirror;
mod netconf;
pub mod port;
pub mod roleless;

use std::net::IpAddr;

use ipnet::IpNet;

use super::context::Context;
use super::resync::Resyncs;
use super::transition::Transition;
use crate::config::Settings;
use crate::event::ROUTE_PROTOCOL;
use crate::event::{
    Address, ApplyReport, Change, Dump, Event, Instant, Link, LinkIndex, Mac, Neighbour, Netconf,
    Output, Route, Rule, Vital,
};
use drift::Drift;
use mirror::{HeldAddress, KernelFacts};
use netconf::{Forwarding, NAMES};
use port::Roles;
use roleless::Others;

/// Holds the kernel's state of the network, the roles of the ports, and drift.
#[derive(Debug, Clone, Default)]
pub struct Links {
    kernel: KernelFacts,
    synced: bool,
    roles: Roles,
    /// Ports without a role.
    others: Others,
    forwarding: Forwarding,
    /// Settings that the last plan applies to ports.
    ordered: Vec<Netconf>,
    /// Addresses that Bramblegate added to ports: (port, address).
    added: Vec<(String, IpNet)>,
    drift: Drift,
    generation: u64,
    resyncs: Resyncs,
}

impl Links {
    /// Applies new settings.
    pub(super) fn reload(&mut self, settings: &Settings) {
        self.roles = Roles::of(settings, &self.kernel);
        self.others = Others::of(settings, &self.kernel, &self.roles);
        self.resyncs.note(Output::Link);
    }

    /// Processes kernel events, the saved state of ports, and reports of their reconciler.
    /// `clashing`: an uplink holds an address of the cluster.
    pub(super) fn handle(
        &mut self,
        event: &Event,
        context: Context<'_>,
        clashing: bool,
    ) -> Vec<Transition> {
        match event {
            Event::Link(_)
            | Event::Address(_)
            | Event::Route(_)
            | Event::Rule(_)
            | Event::Dump(_) => return self.handle_kernel(event, context, clashing),
            Event::Anycast(change) => {
                self.kernel.apply_anycast(change);
            }
            Event::Delegated(change) => {
                self.kernel.apply_delegated(change);
            }
            Event::Netconf(netconf) => self.handle_netconf(netconf, context),
            Event::Ipv6ForwardingOff(index) => self.handle_ipv6_off(*index, context),
            Event::Vital(Vital::Added(added)) => {
                self.added.clone_from(added);
                self.claim_added();
            }
            Event::Vital(Vital::Opened(ports)) => self.forwarding.restore(ports),
            Event::Applied(ApplyReport { output, result: Ok(applied) }) => {
                return self.drift.applied(*output, applied, context.now);
            }
            _ => {}
        }
        Vec::new()
    }

    /// Recomputes what depends on the kernel's state and on time.
    pub(super) fn refresh(&mut self, context: Context<'_>) {
        self.forwarding.refresh(context, &self.kernel, &self.roles);
        if self.drift.take_due_save(context.now) {
            self.resyncs.note(Output::Link);
        }
    }

    /// Returns the next time at which the state changes without an event.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.drift.next_deadline()
    }

    fn handle_kernel(
        &mut self,
        event: &Event,
        context: Context<'_>,
        clashing: bool,
    ) -> Vec<Transition> {
        self.generation += 1;
        let may_lose_routes = matches!(
            event,
            Event::Link(_) | Event::Address(Change::Gone(_)) | Event::Dump(Dump::End)
        );
        let ours = may_lose_routes.then(|| self.kernel.count_of_protocol(ROUTE_PROTOCOL));
        let transitions = match event {
            Event::Dump(Dump::Begin) => {
                self.kernel.begin_listing();
                Vec::new()
            }
            Event::Dump(Dump::End) => self.end_listing(context.settings),
            Event::Link(change) => self.handle_link(change, context),
            Event::Address(change) => {
                self.handle_address(change, context, clashing);
                Vec::new()
            }
            Event::Route(change) => {
                self.handle_route(change);
                Vec::new()
            }
            Event::Rule(change) => {
                self.handle_rule(change);
                Vec::new()
            }
            _ => Vec::new(),
        };
        self.claim_added();
        if ours.is_some_and(|before| self.kernel.count_of_protocol(ROUTE_PROTOCOL) < before) {
            // The kernel removed routes of ours along with an address or a port.
            self.resyncs.note(Output::Routing);
        }
        transitions
    }

    fn end_listing(&mut self, settings: &Settings) -> Vec<Transition> {
        let before = self.count_of_cluster_addresses();
        let forgot = self.kernel.end_listing();
        if self.count_of_cluster_addresses() < before {
            // The removal message was lost in an overrun.
            self.resyncs.note(Output::Link);
        }
        let first = !std::mem::replace(&mut self.synced, true);
        self.others = Others::of(settings, &self.kernel, &self.roles);
        if forgot || first {
            self.assign_roles(settings, None).into_iter().collect()
        } else {
            Vec::new()
        }
    }

    fn count_of_cluster_addresses(&self) -> usize {
        self.roles.cluster.map_or(0, |port| self.kernel.addresses(port).len())
    }

    fn handle_link(&mut self, change: &Change<Link>, context: Context<'_>) -> Vec<Transition> {
        let (Change::Present(reported) | Change::Gone(reported)) = change;
        let known = self.kernel.link(reported.index).cloned();
        if !self.kernel.apply_link(change) {
            return Vec::new();
        }
        if matches!(change, Change::Gone(_)) {
            // It may reappear with the same index before the reconciler runs, without our settings.
            if self.roles.is_port(reported.index) {
                self.resyncs.note(Output::Link);
            }
        }
        if let Change::Present(link) = change {
            // The reconciler sets the cluster port up again.
            if Some(link.index) == self.roles.cluster && !link.up {
                self.resyncs.note(Output::Link);
                if known.as_ref().is_some_and(|link| link.up) {
                    let what = format!("the cluster interface {} was switched off", link.name);
                    self.drift.note(context, link.index, what);
                }
            }
        }
        // Only named ports affect the roles; there may be hundreds of others.
        let named = known.iter().chain([reported]).any(|l| port::is_named(context.settings, l));
        let transition =
            if named { self.assign_roles(context.settings, known.as_ref()) } else { None };
        if !self.kernel.is_listing() {
            self.others = Others::of(context.settings, &self.kernel, &self.roles);
        }
        transition.into_iter().collect()
    }

    /// Recomputes the roles. `known`: the previous state of the interface that changed, which may
    /// have vanished or been renamed.
    fn assign_roles(&mut self, settings: &Settings, known: Option<&Link>) -> Option<Transition> {
        let roles = Roles::of(settings, &self.kernel);
        let before = std::mem::replace(&mut self.roles, roles);
        self.drift.retain_ports(&self.roles);
        if before.cluster == self.roles.cluster {
            return None;
        }
        let link = match (self.roles.cluster, before.cluster) {
            (Some(index), _) => self.kernel.link(index),
            (None, gone) => known.filter(|link| Some(link.index) == gone),
        };
        let port =
            link.map_or_else(|| "the cluster interface".to_owned(), |link| link.name.clone());
        Some(Transition::ClusterPort { port, present: self.roles.cluster.is_some() })
    }

    fn handle_address(&mut self, change: &Change<Address>, context: Context<'_>, clashing: bool) {
        let changed = self.kernel.apply_address(change, context.now);
        let (Change::Gone(gone), true) = (change, changed) else { return };
        if Some(gone.index) != self.roles.cluster || self.roles.is_enslaved(gone.index) {
            return;
        }
        self.resyncs.note(Output::Link);
        if IpNet::V4(context.settings.cluster.address) == gone.address && !clashing {
            let what = format!("address {} was removed from the cluster interface", gone.address);
            self.drift.note(context, gone.index, what);
        }
    }

    /// Marks the addresses that Bramblegate added as ours. A removed one is forgotten: if it is
    /// added again, another program did it.
    fn claim_added(&mut self) {
        let (kernel, synced) = (&mut self.kernel, self.synced);
        self.added.retain(|(name, address)| {
            let port = kernel.links().find(|link| link.name == *name).map(|link| link.index);
            port.is_some_and(|port| kernel.claim(port, *address)) || !synced
        });
    }

    fn handle_route(&mut self, change: &Change<Route>) {
        if let (Change::Gone(route), true) = (change, self.kernel.apply_route(change)) {
            if route.protocol == ROUTE_PROTOCOL {
                self.resyncs.note(Output::Routing);
            }
        }
    }

    fn handle_rule(&mut self, change: &Change<Rule>) {
        if let (Change::Gone(rule), true) = (change, self.kernel.apply_rule(change)) {
            if rule.protocol == ROUTE_PROTOCOL {
                self.resyncs.note(Output::Routing);
            }
        }
    }

    fn handle_netconf(&mut self, reported: &Netconf, context: Context<'_>) {
        let index = reported.index;
        let known = self.kernel.netconf(index).map(netconf::values).unwrap_or_default();
        // The settings of ports are polled, and mostly unchanged.
        self.generation += u64::from(self.kernel.apply_netconf(reported));
        if context.stopping || !self.is_gateway_port(context.settings, index) {
            return;
        }
        let Some(ordered) = self.ordered.iter().find(|conf| conf.index == index) else { return };
        let port = self.kernel.link(index).map_or_else(String::new, |link| link.name.clone());
        let values = netconf::values(ordered).into_iter().zip(netconf::values(reported)).zip(known);
        for (name, ((ordered, reported), known)) in NAMES.into_iter().zip(values) {
            let (Some(ordered), Some(reported)) = (ordered, reported) else { continue };
            if reported == ordered {
                continue;
            }
            // Even if the ordered value was never reported: the kernel reports nothing about a port
            // that is down.
            self.resyncs.note(Output::Link);
            if known == Some(ordered) {
                self.drift.note(context, index, netconf::undone(name, reported, &port));
            }
        }
    }

    /// The nodes' IPv6 needs what was switched off, by another program or by bramblegate-clat at its
    /// end: the reconciler compares again.
    fn handle_ipv6_off(&mut self, index: LinkIndex, context: Context<'_>) {
        let settings = context.settings;
        let is_ours = index == Netconf::ALL && settings.gateway.enabled
            || self.is_gateway_port(settings, index);
        if is_ours && settings.cluster.ipv6.is_some() && !context.stopping {
            self.resyncs.note(Output::Link);
        }
    }

    /// Notes the complete settings that the plan applies to ports; a different value reported later
    /// is drift.
    pub(super) fn note_ordered(&mut self, ordered: Vec<Netconf>) {
        self.ordered = ordered;
    }

    /// Returns whether the gateway configures this port.
    fn is_gateway_port(&self, settings: &Settings, index: LinkIndex) -> bool {
        settings.gateway.enabled && self.roles.is_port(index) && !self.roles.is_enslaved(index)
    }

    /// Returns the ports that the gateway configures, uplinks first.
    pub(super) fn gateway_ports(&self, settings: &Settings) -> impl Iterator<Item = LinkIndex> {
        let ports = self.roles.uplinks.iter().chain(&self.roles.cluster).copied();
        ports.filter(|index| self.is_gateway_port(settings, *index))
    }

    pub fn kernel(&self) -> &KernelFacts {
        &self.kernel
    }

    pub fn roles(&self) -> &Roles {
        &self.roles
    }

    /// Returns the ports without a role.
    pub fn others(&self) -> &Others {
        &self.others
    }

    /// Returns whether the first dump has ended, so that the mirror is complete.
    pub fn is_synced(&self) -> bool {
        self.synced
    }

    /// Returns a count of the kernel's changes, each of which may invalidate earlier lookups.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    pub(super) fn take_resyncs(&mut self) -> Resyncs {
        std::mem::take(&mut self.resyncs)
    }

    /// Returns the cluster port, if it exists and is usable.
    pub fn cluster_port(&self) -> Option<&Link> {
        self.kernel.link(self.roles.cluster?)
    }

    /// Returns the ports with an address and without a role. A port whose bridge or VLAN is missing
    /// in the settings is left out, as it has an alert of its own.
    pub fn ports_without_role(&self) -> impl Iterator<Item = (&Link, &HeldAddress)> {
        self.others.addressed(&self.kernel, &self.roles)
    }

    /// Returns whether IPv4 forwarding is on at the cluster port and at every uplink.
    pub fn is_forwarding_by_all(&self) -> bool {
        self.roles.cluster.is_some_and(|index| self.kernel.is_forwarding(index))
            && self.roles.uplinks.iter().all(|index| self.kernel.is_forwarding(*index))
    }

    /// Returns `net.ipv4.ip_forward`.
    pub fn is_forwarding_everywhere(&self) -> bool {
        self.kernel.is_forwarding(Netconf::ALL)
    }

    /// Returns whether this uplink's packets are forwarded only for the cluster: the kernel did not
    /// forward them before Bramblegate, and no program set `net.ipv4.ip_forward` (as Docker does).
    pub fn is_forwarded_for_us(&self, link: &Link) -> bool {
        !self.is_forwarding_everywhere()
            && (self.forwarding.was_enabled(link) || !self.kernel.is_forwarding(link.index))
    }

    /// Returns whether forwarding is on at all these ports. Ports that are down or have no IPv4 are
    /// ignored, as the kernel reports nothing about them.
    pub(super) fn forwards_by(&self, mut ports: impl Iterator<Item = LinkIndex>) -> bool {
        ports.all(|index| {
            let down = !self.kernel.link(index).is_some_and(|link| link.up);
            down || self.kernel.netconf(index).is_none_or(|conf| conf.forwarding == Some(true))
        })
    }

    /// Returns address, hardware address and reachability of a neighbour on the cluster port whose
    /// hardware address is a valid unicast one.
    pub(super) fn heard_board(&self, heard: &Neighbour) -> Option<(IpAddr, Mac, bool)> {
        let mac = heard.mac?;
        let unicast = mac.0.first().is_some_and(|first| first & 1 == 0) && mac.0 != [0; 6];
        let here = unicast && self.roles.cluster == Some(heard.index);
        here.then_some((heard.address, mac, heard.reachable))
    }
}
