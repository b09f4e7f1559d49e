//! What events say of the nodes: who is heard on the cluster port, who has a lease, what rounds of
//! probes found, and what users order about nodes.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

use ipnet::IpNet;

use super::{HealthChange, NodeHealth, NodeState, Nodes, Origin};
use crate::config::Settings;
use crate::event::{
    Change, Dhcp, Event, Instant, Lease, Neighbour, NodeId, Order, Probe, Round, Route, Vital,
};
use crate::facts::context::Context;
use crate::facts::link::Links;
use crate::facts::transition::Transition;

impl Nodes {
    /// Takes an event in.
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
                let found = self.calls_itself(*mac, name, settings, now);
                found.and_then(|id| self.found(id))
            }
            Event::Dhcp(Dhcp::Boots { address, file }) => self.handle_boot(*address, file, context),
            Event::Order(Order::Shutdown(report)) => {
                let mut going: Vec<_> =
                    report.going.iter().filter_map(|name| self.goes(name, now)).collect();
                going.extend(report.staying.iter().filter_map(|name| self.stays(name, now)));
                let changed = |(id, change)| self.health_changed(id, change);
                return going.into_iter().filter_map(changed).collect();
            }
            Event::Order(order) => self.handle_order(order, now),
            Event::Vital(Vital::Host { name, .. }) => {
                self.set_head(name, settings, now);
                None
            }
            _ => None,
        };
        transition.into_iter().collect()
    }

    /// Lets time pass. `cable`: the cluster port has one.
    pub(crate) fn refresh(&mut self, context: Context<'_>, cable: bool) -> Vec<Transition> {
        let Context { settings, now, .. } = context;
        if cable && !self.cable {
            self.cable_comes(now);
        }
        self.cable = cable;
        let mut expired = self.expire(&settings.health, now);
        let (names, missing) = self.give_up_returns(settings.health.boot_grace, now);
        expired.extend(missing);
        let changed =
            expired.into_iter().filter_map(|(id, change)| self.health_changed(id, change));
        let mut transitions: Vec<Transition> = changed.collect();
        transitions.extend((!names.is_empty()).then_some(Transition::NodesMissing { names }));
        transitions.extend(self.sweep(settings, now).into_iter().map(forgotten));
        transitions
    }

    /// Returns the next moment after `now` at which time alone changes something.
    pub(crate) fn next_deadline(&self, grace: Duration, now: Instant) -> Option<Instant> {
        let back = self.return_deadline(grace);
        let health = self.boot_deadline().into_iter().chain(back).chain(self.sweep_at());
        health.chain(self.flood_deadlines()).filter(|at| *at > now).min()
    }

    /// Takes rounds of probes in. They come by the thousand and nearly all only confirm what is
    /// known.
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
                && (self.answers_elsewhere(round.node, links)
                    || self.another_answers_for(round.node));
            let round = Round { rtt: round.rtt.filter(|_| !is_anothers), ..*round };
            if round.rtt.is_none() && self.says_nothing(round.node) {
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

    /// Returns whether silence says nothing of a node: it has never answered, and there is no
    /// cable, or it was never expected to. What was found may not answer a ping by its nature.
    fn says_nothing(&self, node: NodeId) -> bool {
        let never = self.get(node).filter(|node| node.health == NodeHealth::Unknown);
        never.is_some_and(|node| !self.cable || node.origin == Origin::Found)
    }

    /// Returns whether the device with this node's address is not behind the cluster port: the head
    /// itself, or, once the cluster has moved, a computer of the venue.
    fn answers_elsewhere(&self, node: NodeId, links: &Links) -> bool {
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
            if self.ipv6.take(address, mac) {
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

    /// Takes in that a node fetches a file to boot from.
    fn handle_boot(
        &mut self,
        address: IpAddr,
        file: &str,
        context: Context<'_>,
    ) -> Option<Transition> {
        let id = self.by_address(address)?.id;
        // Every file of ours is in this folder.
        let root = context.settings.cluster.netboot.as_ref().map(|netboot| netboot.root.as_path());
        let inside = root.and_then(|root| Path::new(file).strip_prefix(root).ok()?.to_str());
        match self.boots(id, inside.unwrap_or(file), context.now) {
            Some(change) => self.health_changed(id, change),
            None => self.get(id).map(|node| Transition::NodeStage { name: node.name.clone() }),
        }
    }

    /// Takes in what a user orders of a node.
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

    /// Takes in leases of an earlier run, in which the server wrote down who has which name.
    pub(crate) fn restore_names(&mut self, leases: &[Lease], now: Instant) {
        let mut named: Vec<&Lease> =
            leases.iter().filter(|lease| lease.host_name.is_some()).collect();
        // In their order they go to the end of the map, and move nothing.
        named.sort_by(|a, b| a.host_name.cmp(&b.host_name));
        named.into_iter().for_each(|lease| self.restore_name(lease, now));
    }

    /// Takes in orders of an earlier run: these nodes are worked on; as [`Nodes::drained`] returned
    /// them.
    pub(crate) fn restore_drained(&mut self, keys: &BTreeSet<String>, now: Instant) {
        for key in keys {
            self.handle_order(&Order::Drain(key.clone()), now);
        }
    }

    /// Returns whether nodes that are silent may be starting, or cannot be heard: which of
    /// them are down will be seen.
    pub(crate) fn are_awaited(&self, settings: &Settings, now: Instant) -> bool {
        !self.cable || self.may_start(&settings.health, now)
    }

    /// Returns the transition of a node whose health is another.
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
/// that port hold this one.
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
