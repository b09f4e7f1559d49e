//! What probes found: rounds of nodes, and whether the internet is behind an uplink.

use std::net::{IpAddr, Ipv4Addr};

use ipnet::IpNet;

use super::node::{HealthChange, NodeHealth, Origin};
use super::{Facts, Transition};
use crate::event::{
    Instant, LinkIndex, NodeId, PortalSource, Reachability, Round, Route, UplinkNews,
};

impl Facts {
    /// Rounds come by the thousand and nearly all only confirm what is known: nothing but the nodes
    /// is looked at, unless time has come for more.
    pub(super) fn apply_rounds(&mut self, rounds: &[Round], now: Instant) -> Vec<Transition> {
        let due = self.next_deadline().is_some_and(|at| at <= now);
        self.now = now;
        let (awaited, silences) = (self.nodes.unanswered().1, self.nodes.silences());
        let mut transitions = Vec::new();
        for round in rounds {
            let is_anothers = round.rtt.is_some()
                && (self.answers_elsewhere(round.node)
                    || self.nodes.another_answers_for(round.node));
            let round = Round { rtt: round.rtt.filter(|_| !is_anothers), ..*round };
            if round.rtt.is_none() && self.says_nothing(round.node, self.cable) {
                continue;
            }
            let change = self.nodes.round(&round, &self.settings.health, now);
            transitions.extend(change.and_then(|change| self.health_changed(round.node, change)));
        }
        let behind_another_health = transitions.is_empty() && self.nodes.silences() != silences;
        if self.nodes.unanswered().1 > awaited || behind_another_health {
            transitions.push(Transition::NodesAwaited);
        }
        if due {
            transitions.extend(self.refresh());
        }
        transitions
    }

    /// Silence says nothing of a node that has never answered, if there is no cable, or if nobody
    /// said that it would: what was found may not answer a ping by its nature.
    fn says_nothing(&self, node: NodeId, cable: bool) -> bool {
        let never = self.nodes.get(node).filter(|node| node.health == NodeHealth::Unknown);
        never.is_some_and(|node| !cable || node.origin == Origin::Found)
    }

    /// Returns whether whoever has this node's address is not behind the cluster port: the head
    /// itself, or, once the cluster has moved, a computer of the venue.
    fn answers_elsewhere(&self, node: NodeId) -> bool {
        let address = self.nodes.get(node).and_then(|node| node.address);
        address.is_some_and(|address| {
            self.facts.is_local(IpAddr::V4(address)) || self.has_left(address)
        })
    }

    /// Returns whether the cluster port has IPv4 addresses, and neither their networks nor a route
    /// by that port hold this one.
    fn has_left(&self, address: Ipv4Addr) -> bool {
        let Some(port) = self.roles.cluster else { return false };
        let address = IpAddr::V4(address);
        let networks = || self.facts.addresses(port).iter().map(|held| held.address);
        let by_route = |route: &Route| {
            route.index == port
                && route.destination.prefix_len() > 0
                && route.destination.contains(&address)
        };
        networks().any(|net| matches!(net, IpNet::V4(_)))
            && !networks().any(|net| net.contains(&address))
            && !self.facts.routes().any(by_route)
    }

    /// Nodes that are silent may be starting, or nobody can hear them: which of them are down will
    /// be seen.
    pub fn nodes_may_start(&self) -> bool {
        !self.cable || self.nodes.may_start(&self.settings.health, self.now)
    }

    /// What is told of a node whose health is another.
    pub(super) fn health_changed(&self, id: NodeId, change: HealthChange) -> Option<Transition> {
        let HealthChange { from, to, why } = change;
        self.nodes.get(id).map(|node| Transition::NodeHealth {
            name: node.name.clone(),
            from,
            to,
            why,
        })
    }

    /// Nodes whose time to boot is over.
    pub(super) fn expire_nodes(&mut self) -> Vec<Transition> {
        let expired = self.nodes.expire(&self.settings.health, self.now);
        expired.into_iter().filter_map(|(id, change)| self.health_changed(id, change)).collect()
    }

    /// Takes in what was learned of an uplink beside what the kernel says; the alerts and the
    /// status say it.
    pub(super) fn apply_uplink_news(&mut self, news: &UplinkNews) -> Vec<Transition> {
        let (UplinkNews::Acquisition { index, .. } | UplinkNews::Portal { index, .. }) = news;
        let Some(memory) = self.uplinks.get_mut(index) else { return Vec::new() };
        match news {
            UplinkNews::Acquisition { state, .. } => memory.acquisition = *state,
            UplinkNews::Portal { by: PortalSource::Probe, url, .. } => {
                memory.portal.clone_from(url)
            }
            UplinkNews::Portal { by: PortalSource::Lease, url, .. } => {
                memory.portal_leased.clone_from(url)
            }
        }
        Vec::new()
    }

    pub(super) fn apply_reachability(
        &mut self,
        index: LinkIndex,
        to: Reachability,
    ) -> Vec<Transition> {
        let Some(memory) = self.uplinks.get_mut(&index) else { return Vec::new() };
        if memory.address.is_none() || memory.reachability == Some(to) {
            return Vec::new();
        }
        memory.reachability = Some(to);
        let port = self.facts.link(index).map_or_else(String::new, |link| link.name.clone());
        vec![Transition::Reachability { port, to }]
    }
}
