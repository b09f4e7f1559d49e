//! Events about nodes: neighbours on the cluster port, leases, rounds of probes, and orders of
//! users.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

use ipnet::IpNet;

use super::{HealthChange, NodeHealth, NodeState, Nodes, Origin};
use crate::config::Settings;
use crate::event::{
    Change, Dhcp, Event, Instant, Lease, Neighbour, NodeId, Order, Probe, Report, Round, Route,
    Vital,
};
use crate::facts::context::Context;
use crate::facts::link::Links;
use crate::facts::transition::Transition;

impl Nodes {
    pub(crate) fn handle(
        &mut self,
        event: &Event,
        context: Context<'_>,
        links: &Links,
    ) -> Vec<Transition> {
        let Context { settings, now, .. } = context;
        let transition = match event {
            Event::Probe(Probe::Nodes(rounds)) => {
                return self.handle_rounds(rounds, context, links);
            }
            Event::Neighbour(change) => return self.handle_neighbour(change, context, links),
            Event::Lease(Change::Present(lease)) => {
                let found = self.leased(lease, settings, now);
                found.and_then(|id| self.found(id))
            }
            Event::Lease(Change::Gone(lease)) => {
                self.lease_ended(lease, settings, now).map(forgotten)
            }
            Event::Dhcp(Dhcp::CallsItself { mac, name }) => {
                let found = self.advertises_name(*mac, name, settings, now);
                found.and_then(|id| self.found(id))
            }
            Event::Dhcp(Dhcp::Boots { address, file }) => self.handle_boot(*address, file, context),
            Event::Order(Order::Shutdown(report)) => return self.handle_shutdown(report, now),
            Event::Order(order) => self.handle_order(order, now),
            Event::Vital(Vital::Host { name, .. }) => {
                self.set_head(name, settings, now);
                None
            }
            _ => None,
        };
        transition.into_iter().collect()
    }

    /// Processes the deadlines that have passed. `carrier`: the cluster port has one.
    pub(crate) fn refresh(&mut self, context: Context<'_>, carrier: bool) -> Vec<Transition> {
        let Context { settings, now, .. } = context;
        if carrier && !self.carrier {
            self.note_carrier(now);
        }
        self.carrier = carrier;
        let mut expired = self.expire(&settings.health, now);
        let (names, missing) = self.take_missing(settings.health.boot_grace, now);
        expired.extend(missing);
        let changed =
            expired.into_iter().filter_map(|(id, change)| self.health_changed(id, change));
        let mut transitions: Vec<Transition> = changed.collect();
        transitions.extend((!names.is_empty()).then_some(Transition::NodesMissing { names }));
        transitions.extend(self.sweep(settings, now).into_iter().map(forgotten));
        transitions
    }

    /// Returns the next time after `now` at which the state changes without an event.
    pub(crate) fn next_deadline(&self, grace: Duration, now: Instant) -> Option<Instant> {
        let back = self.return_deadline(grace);
        let health = self.boot_deadline().into_iter().chain(back).chain(self.sweep_at());
        health.chain(self.flood_deadlines()).filter(|at| *at > now).min()
    }

    /// Processes rounds of probes, which arrive by the thousand and mostly change nothing.
    fn handle_rounds(
        &mut self,
        rounds: &[Round],
        context: Context<'_>,
        links: &Links,
    ) -> Vec<Transition> {
        let (awaited, silences) = (self.unanswered().1, self.silences());
        let mut transitions = Vec::new();
        for round in rounds {
            let is_anothers = round.rtt.is_some()
                && (self.is_outside_cluster(round.node, links)
                    || self.another_answers_for(round.node));
            let round = Round { rtt: round.rtt.filter(|_| !is_anothers), ..*round };
            if round.rtt.is_none() && self.is_silence_meaningless(round.node) {
                continue;
            }
            let change = self.round(&round, &context.settings.health, context.now);
            transitions.extend(change.and_then(|change| self.health_changed(round.node, change)));
        }
        let behind_another_health = transitions.is_empty() && self.silences() != silences;
        if self.unanswered().1 > awaited || behind_another_health {
            transitions.push(Transition::NodesAwaited);
        }
        transitions
    }

    /// Returns whether a missing reply is ignored: the node has never replied, and either there is
    /// no carrier, or it is a found one, which may be configured not to reply to pings.
    fn is_silence_meaningless(&self, node: NodeId) -> bool {
        let never = self.get(node).filter(|node| node.health == NodeHealth::Unknown);
        never.is_some_and(|node| !self.carrier || node.origin == Origin::Found)
    }

    /// Returns whether this node's address belongs to the head itself, or, once the cluster has
    /// moved, to a computer of the venue.
    fn is_outside_cluster(&self, node: NodeId, links: &Links) -> bool {
        let address = self.get(node).and_then(|node| node.address);
        address.is_some_and(|address| links.kernel().is_local(address) || has_left(address, links))
    }

    fn handle_neighbour(
        &mut self,
        change: &Change<Neighbour>,
        context: Context<'_>,
        links: &Links,
    ) -> Vec<Transition> {
        let Context { settings, now, .. } = context;
        let (Change::Present(reported) | Change::Gone(reported)) = change;
        if let IpAddr::V6(address) = reported.address {
            let heard = links.heard_board(reported).map(|(_, mac, _)| mac);
            let mac = heard.filter(|_| matches!(change, Change::Present(_)));
            if self.ipv6.set(address, mac) {
                self.topology_version += 1;
            }
            return Vec::new();
        }
        if matches!(change, Change::Gone(_)) || reported.mac.is_none() {
            self.unseen(reported.address, settings, now);
            return Vec::new();
        }
        let Some(heard) = links.heard_board(reported) else { return Vec::new() };
        if self.by_mac(heard.1).is_none() {
            self.unknown_boards += 1;
        }
        let found = self.seen(heard, settings, now);
        found.into_iter().filter_map(|id| self.found(id)).collect()
    }

    /// Processes a node's request for a boot file.
    fn handle_boot(
        &mut self,
        address: IpAddr,
        file: &str,
        context: Context<'_>,
    ) -> Option<Transition> {
        let id = self.by_address(address)?.id;
        // Shown relative to the boot file folder.
        let root = context.settings.cluster.netboot.as_ref().map(|netboot| netboot.root.as_path());
        let inside = root.and_then(|root| Path::new(file).strip_prefix(root).ok()?.to_str());
        match self.boots(id, inside.unwrap_or(file), context.now) {
            Some(change) => self.health_changed(id, change),
            None => self.get(id).map(|node| Transition::NodeStage { name: node.name.clone() }),
        }
    }

    /// Processes a user's order to begin or end maintenance.
    fn handle_order(&mut self, order: &Order, now: Instant) -> Option<Transition> {
        let (name, drained) = match order {
            Order::Drain(name) => (name, true),
            Order::Resume(name) => (name, false),
            Order::Acknowledge | Order::NextPage | Order::Forget(_) | Order::Shutdown(_) => {
                return None;
            }
        };
        self.note_drained(name, drained);
        let id = self.by_name(name)?.id;
        let change = self.set_maintenance(id, drained, now)?;
        self.health_changed(id, change)
    }

    /// Processes a progress report of a shutdown.
    fn handle_shutdown(&mut self, report: &Report, now: Instant) -> Vec<Transition> {
        let mut changes: Vec<_> =
            report.going.iter().filter_map(|name| self.begin_shutdown(name, now)).collect();
        changes.extend(report.staying.iter().filter_map(|name| self.cancel_shutdown(name, now)));
        changes.into_iter().filter_map(|(id, change)| self.health_changed(id, change)).collect()
    }

    /// Restores the nodes' names from the DHCP server's lease file of an earlier run.
    pub(crate) fn restore_names(&mut self, leases: &[Lease], now: Instant) {
        let mut named: Vec<&Lease> =
            leases.iter().filter(|lease| lease.host_name.is_some()).collect();
        // Sorted, so that each insertion appends to the map.
        named.sort_by(|a, b| a.host_name.cmp(&b.host_name));
        named.into_iter().for_each(|lease| self.restore_name(lease, now));
    }

    /// Restores the nodes in maintenance that [`Nodes::drained`] returned in an earlier run.
    pub(crate) fn restore_drained(&mut self, keys: &BTreeSet<String>, now: Instant) {
        for key in keys {
            self.handle_order(&Order::Drain(key.clone()), now);
        }
    }

    /// Returns whether silent nodes may still be booting, or cannot be probed, so that it is not
    /// known yet which of them are down.
    pub(crate) fn are_awaited(&self, settings: &Settings, now: Instant) -> bool {
        !self.carrier || self.may_start(&settings.health, now)
    }

    /// Returns the transition of a node whose health changed.
    pub(super) fn health_changed(&self, id: NodeId, change: HealthChange) -> Option<Transition> {
        let HealthChange { from, to, why } = change;
        let name = self.get(id)?.name.clone();
        Some(Transition::NodeHealth { name, from, to, why })
    }

    fn found(&self, id: NodeId) -> Option<Transition> {
        let node = self.get(id)?;
        Some(Transition::NodeFound {
            name: node.name.clone(),
            mac: node.mac,
            address: node.address,
        })
    }
}

/// Returns whether the cluster port has IPv4 addresses, and neither their networks nor a route by
/// that port include this one.
fn has_left(address: IpAddr, links: &Links) -> bool {
    let Some(port) = links.roles().cluster else { return false };
    let networks = || links.kernel().addresses(port).iter().map(|held| held.address);
    let by_route = |route: &Route| {
        route.index == port
            && route.destination.prefix_len() > 0
            && route.destination.contains(&address)
    };
    networks().any(|net| matches!(net, IpNet::V4(_)))
        && !networks().any(|net| net.contains(&address))
        && !links.kernel().routes().any(by_route)
}

fn forgotten(node: NodeState) -> Transition {
    Transition::NodeForgotten { name: node.name }
}
