//! The facts and nothing else. [`Facts::apply`] takes an event in and says what changed; it never
//! reads a clock.

use std::collections::BTreeMap;
mod alert;
mod answers;
mod cluster;
pub mod dhcp;
mod firewall;
pub(crate) mod host;
pub mod link;
pub mod node;
pub mod output;
mod probe;
mod routing;
pub mod transition;
pub mod uplink;

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;

use crate::config::{Settings, UplinkProbe};
use crate::event::{
    Address, Change, Dump, Event, Instant, Link, LinkIndex, Probe, Route, Rule, Stop,
};
use crate::facts::link::port;
pub use cluster::RETIREMENT_GRACE;
use cluster::RetiringSubnets;
use dhcp::DhcpFacts;
pub use firewall::FirewallFacts;
use host::power::Power;
pub use host::{Revisions, TimeFacts, Trouble, Vitals};
use link::drift::Drift;
use link::mirror::KernelFacts;
use link::port::Roles;
use link::roleless::Others;
use node::Nodes;
use output::Outputs;
use routing::detour::Detour;
pub use transition::Transition;
use uplink::{UplinkMemory, ipv4_source, leads_by_translator, primary};

/// A better uplink takes row 1 after it has been good for this long.
pub const BETTER_UPLINK_TIME: Duration = Duration::from_secs(5);
/// Without an uplink for this long the notice becomes a warning.
pub const OFFLINE_TIME: Duration = Duration::from_secs(60);
/// `rtm_protocol` / `FRA_PROTOCOL` of every route and rule of ours.
pub const ROUTE_PROTOCOL: u8 = 98;

/// Everything the daemon knows.
#[derive(Debug, Clone)]
pub struct Facts {
    settings: Arc<Settings>,
    now: Instant,
    started: Instant,
    facts: KernelFacts,
    synced: bool,
    roles: Roles,
    /// ports without a role
    others: Others,
    /// uplinks on which forwarding was off when we first saw them in that role
    opened: BTreeSet<LinkIndex>,
    /// the cluster port has a cable
    cable: bool,
    uplinks: BTreeMap<LinkIndex, UplinkMemory>,
    active: Option<LinkIndex>,
    offline_since: Option<Instant>,
    egress: Option<(LinkIndex, Ipv4Addr)>,
    detour: Detour,
    refused_since: Option<Instant>,
    stale_sources: Vec<Ipv4Addr>,
    conntrack_orders: u64,
    clashing: bool,
    /// addresses of uplinks that our server had given to nodes: the clash outlives their leases,
    /// which are taken back as the cluster moves
    given_twice: Vec<(LinkIndex, Ipv4Addr)>,
    retiring: RetiringSubnets,
    nodes: Nodes,
    dhcp: DhcpFacts,
    outputs: Outputs,
    firewall: FirewallFacts,
    vitals: Vitals,
    acknowledgements: alert::Acknowledgements,
    power: Power,
    revisions: Revisions,
    drift: Drift,
    facts_generation: u64,
    stop: Option<Stop>,
}

impl Facts {
    /// Nothing is known yet.
    pub fn new(settings: Arc<Settings>, now: Instant) -> Self {
        let mut nodes = Nodes::default();
        nodes.reload(&settings, now);
        Self {
            settings,
            now,
            started: now,
            facts: KernelFacts::default(),
            synced: false,
            roles: Roles::default(),
            others: Others::default(),
            opened: BTreeSet::new(),
            cable: false,
            uplinks: BTreeMap::new(),
            active: None,
            offline_since: Some(now),
            egress: None,
            detour: Detour::default(),
            refused_since: None,
            stale_sources: Vec::new(),
            conntrack_orders: 0,
            clashing: false,
            given_twice: Vec::new(),
            retiring: RetiringSubnets::default(),
            nodes,
            dhcp: DhcpFacts::default(),
            outputs: Outputs::default(),
            firewall: FirewallFacts::default(),
            vitals: Vitals { ssh_ports: vec![22], ..Vitals::default() },
            acknowledgements: alert::Acknowledgements::default(),
            power: Power::default(),
            revisions: Revisions::default(),
            drift: Drift::default(),
            facts_generation: 0,
            stop: None,
        }
    }

    /// Takes new settings; what is known stays known.
    pub fn reload(&mut self, settings: Arc<Settings>, now: Instant) -> Vec<Transition> {
        self.settings = Arc::clone(&settings);
        self.now = now;
        self.nodes.reload(&settings, now);
        self.roles = Roles::of(&settings, &self.facts);
        self.others = Others::of(&settings, &self.facts, &self.roles);
        self.revisions.link += 1;
        if settings.uplink.probe == UplinkProbe::Off {
            // Nobody asks any more: the last answer would stand for ever.
            self.uplinks.iter_mut().for_each(|(_, memory)| memory.reachability = None);
        }
        let mut transitions = vec![Transition::Reloaded];
        transitions.extend(self.refresh());
        transitions
    }

    /// Takes an event in at `now` and says what changed.
    pub fn apply(&mut self, event: &Event, now: Instant) -> Vec<Transition> {
        if let Event::Probe(Probe::Nodes(rounds)) = event {
            return self.apply_rounds(rounds, now);
        }
        self.now = now;
        let of_the_kernel = matches!(
            event,
            Event::Link(_)
                | Event::Address(_)
                | Event::Route(_)
                | Event::Rule(_)
                | Event::Netconf(_)
                | Event::Dump(_)
        );
        self.facts_generation += u64::from(of_the_kernel);
        let may_lose_routes = matches!(
            event,
            Event::Link(_) | Event::Address(Change::Gone(_)) | Event::Dump(Dump::End)
        );
        let ours = may_lose_routes.then(|| self.facts.count_of_protocol(ROUTE_PROTOCOL));
        let mut transitions = match event {
            Event::Dump(Dump::Begin) => {
                self.facts.begin_listing();
                Vec::new()
            }
            Event::Dump(Dump::End) => self.end_listing(),
            Event::Link(change) => self.apply_link(change),
            Event::Address(change) => self.apply_address(change),
            Event::Route(change) => self.apply_route(change),
            Event::Rule(change) => self.apply_rule(change),
            Event::Netconf(netconf) => self.apply_netconf(netconf),
            Event::Probe(Probe::Uplink { index, reachability }) => {
                self.apply_reachability(*index, *reachability)
            }
            Event::Uplink(news) => self.apply_uplink_news(news),
            Event::Probe(Probe::Denied { probe, denied }) => {
                self.vitals.probe_denied(probe, *denied);
                Vec::new()
            }
            Event::Neighbour(change) => self.apply_neighbour(change),
            Event::Lease(change) => self.apply_lease(change),
            Event::Order(order) => self.apply_order(order),
            Event::Dhcp(dhcp) => self.apply_dhcp(dhcp),
            Event::Firewall(firewall) => self.apply_firewall(firewall),
            Event::Vital(vital) => self.apply_vital(vital),
            Event::Applied(report) => self.apply_report(report),
            Event::Acknowledgement(change) => self.apply_acknowledgement(change),
            Event::Button(button) => {
                self.power.apply(*button, now);
                Vec::new()
            }
            Event::Stop(stop) => {
                self.stop = Some(*stop);
                Vec::new()
            }
            Event::Overrun
            | Event::Tick
            | Event::Reload
            | Event::Hotplug(_)
            | Event::Probe(Probe::Nodes(_)) => Vec::new(),
        };
        if of_the_kernel {
            self.claim_added();
        }
        if ours.is_some_and(|before| self.facts.count_of_protocol(ROUTE_PROTOCOL) < before) {
            // The kernel dropped routes of ours along with an address or a port.
            self.revisions.routing += 1;
        }
        transitions.extend(self.refresh());
        transitions
    }

    fn end_listing(&mut self) -> Vec<Transition> {
        let held = |facts: &KernelFacts, port: Option<LinkIndex>| {
            port.map_or(0, |port| facts.addresses(port).len())
        };
        let before = held(&self.facts, self.roles.cluster);
        let forgot = self.facts.end_listing();
        if held(&self.facts, self.roles.cluster) < before {
            // Nobody told of it: the kernel's messages were lost.
            self.revisions.link += 1;
        }
        let first = !std::mem::replace(&mut self.synced, true);
        self.others = Others::of(&self.settings, &self.facts, &self.roles);
        if forgot || first { self.links_changed(None) } else { Vec::new() }
    }

    fn apply_link(&mut self, change: &Change<Link>) -> Vec<Transition> {
        let (Change::Present(transitions) | Change::Gone(transitions)) = change;
        let known = self.facts.link(transitions.index).cloned();
        if !self.facts.apply_link(change) {
            return Vec::new();
        }
        if matches!(change, Change::Gone(_)) {
            // It may come back under its old number before anybody looks, with nothing of ours on
            // it.
            self.revisions.link += u64::from(self.roles.is_port(transitions.index));
        }
        if let Change::Present(link) = change {
            // Somebody switched the cluster port off: the applier switches it on again.
            if Some(link.index) == self.roles.cluster && !link.up {
                self.revisions.link += 1;
                if known.as_ref().is_some_and(|link| link.up) {
                    self.note_undone(
                        link.index,
                        format!("the cluster port {} was switched off", link.name),
                    );
                }
            }
        }
        // Of all others, of which there may be hundreds, no role depends.
        let named = [known.as_ref(), Some(transitions)]
            .into_iter()
            .flatten()
            .any(|link| port::is_named(&self.settings, link));
        let transitions = if named { self.links_changed(known.as_ref()) } else { Vec::new() };
        if !self.facts.is_listing() {
            self.others = Others::of(&self.settings, &self.facts, &self.roles);
        }
        transitions
    }

    /// `known`: the interface that changed, as it was before; it may be gone by now, or have
    /// another name.
    fn links_changed(&mut self, known: Option<&Link>) -> Vec<Transition> {
        let roles = Roles::of(&self.settings, &self.facts);
        let before = std::mem::replace(&mut self.roles, roles);
        self.forget_undone();
        if before.cluster == self.roles.cluster {
            return Vec::new();
        }
        let link = match (self.roles.cluster, before.cluster) {
            (Some(index), _) => self.facts.link(index),
            (None, gone) => known.filter(|link| Some(link.index) == gone),
        };
        let port = link.map_or_else(|| "the cluster port".to_owned(), |link| link.name.clone());
        vec![Transition::ClusterPort { port, present: self.roles.cluster.is_some() }]
    }

    fn apply_address(&mut self, change: &Change<Address>) -> Vec<Transition> {
        let changed = self.facts.apply_address(change, self.now);
        let (Change::Gone(gone), true) = (change, changed) else { return Vec::new() };
        if Some(gone.index) != self.roles.cluster || self.is_enslaved(gone.index) {
            return Vec::new();
        }
        self.revisions.link += 1;
        if IpNet::V4(self.settings.cluster.address) == gone.address && !self.is_clashing() {
            self.note_undone(
                gone.index,
                format!("address {} was removed from the cluster port", gone.address),
            );
        }
        Vec::new()
    }

    /// Knows the addresses that we gave to ports as ours. One that has gone is forgotten: who adds
    /// it again is somebody else.
    fn claim_added(&mut self) {
        let (facts, synced) = (&mut self.facts, self.synced);
        self.vitals.added.retain(|(name, address)| {
            let port = facts.links().find(|link| link.name == *name).map(|link| link.index);
            port.is_some_and(|port| facts.claim(port, IpNet::V4(*address))) || !synced
        });
    }

    fn apply_route(&mut self, change: &Change<Route>) -> Vec<Transition> {
        if let (Change::Gone(route), true) = (change, self.facts.apply_route(change)) {
            self.revisions.routing += u64::from(route.protocol == ROUTE_PROTOCOL);
        }
        Vec::new()
    }

    fn apply_rule(&mut self, change: &Change<Rule>) -> Vec<Transition> {
        if let (Change::Gone(rule), true) = (change, self.facts.apply_rule(change)) {
            self.revisions.routing += u64::from(rule.protocol == ROUTE_PROTOCOL);
        }
        Vec::new()
    }

    /// Brings everything that follows from facts and time up to date.
    fn refresh(&mut self) -> Vec<Transition> {
        let mut transitions = Vec::new();
        self.uplinks.retain(|index, _| self.roles.uplinks.contains(index));
        for index in self.roles.uplinks.clone() {
            let Some(link) = self.facts.link(index) else { continue };
            let clash = self.lease_clash(index).is_some();
            let memory = self.uplinks.entry(index).or_insert_with(|| UplinkMemory::new(self.now));
            transitions.extend(memory.refresh(link, &self.facts, clash, self.now));
        }
        transitions.extend(self.choose_active());
        self.watch_forwarding();
        transitions.extend(self.watch_dhcp());
        self.watch_detour();
        self.watch_egress();
        self.watch_exit();
        self.revisions.firewall += u64::from(self.firewall.repair_is_due(self.now));
        self.firewall.drops.refresh(self.now);
        self.revisions.link += u64::from(self.drift.record_is_due(self.now));
        self.vitals.refresh(self.now);
        transitions.extend(self.power.refresh(self.now));
        let offline = !self.uplinks.values().any(|memory| memory.address.is_some());
        self.offline_since = offline.then(|| self.offline_since.unwrap_or(self.now));
        let clashing = self.is_clashing();
        let moved = std::mem::replace(&mut self.clashing, clashing) != clashing;
        self.given_twice = self.given_twice();
        self.watch_former(moved);
        let cable = self.cluster_port().is_some_and(|port| port.carrier);
        if cable && !self.cable {
            self.nodes.cable_comes(self.now);
        }
        self.cable = cable;
        transitions.extend(self.expire_nodes());
        transitions.extend(self.sweep_nodes());
        self.watch_range();
        transitions
    }

    /// Row 1 moves at once when its address is lost, else after a better uplink has been good for a
    /// while.
    fn choose_active(&mut self) -> Vec<Transition> {
        let shown =
            self.roles.uplinks.iter().copied().filter(|index| !self.is_translators_port(*index));
        let best = shown.min_by_key(|index| self.rank(*index));
        let keep = self.active.filter(|active| {
            let Some(memory) = self.uplinks.get(active) else { return false };
            if self.is_translators_port(*active) {
                return false;
            }
            let shown = memory.shown_address(self.now).is_some();
            let better_is_good = best
                .and_then(|best| self.uplinks.get(&best))
                .and_then(UplinkMemory::settled_since)
                .is_some_and(|since| self.now.saturating_since(since) >= BETTER_UPLINK_TIME);
            shown && (memory.is_renewing(self.now) || !better_is_good)
        });
        let next = keep.or(best);
        if next == self.active {
            return Vec::new();
        }
        let name = |index: Option<LinkIndex>| {
            index.and_then(|i| self.facts.link(i)).map(|link| link.name.clone())
        };
        let transitions = Transition::ActiveUplink { from: name(self.active), to: name(next) };
        self.active = next;
        vec![transitions]
    }

    /// Returns whether this is a program's port to an address translator (RFC 6877), by which
    /// nobody reaches the head.
    fn is_translators_port(&self, index: LinkIndex) -> bool {
        let made = |link: &Link| matches!(link.kind.as_deref(), Some("tun" | "dummy"));
        let unshown =
            || primary(&self.facts, index).is_none() && leads_by_translator(&self.facts, index);
        self.facts.link(index).is_some_and(made) && unshown()
    }

    /// Smaller is better: an address with the best default route, then carrier, then the order of
    /// the settings. Metrics are compared within a family only: the kernel never chooses between
    /// routes of two. An uplink with IPv4 comes first, for by that one the nodes leave.
    fn rank(&self, index: LinkIndex) -> (bool, bool, bool, bool, u32, usize) {
        let place = self.roles.uplinks.iter().position(|i| *i == index).unwrap_or(usize::MAX);
        let Some(memory) = self.uplinks.get(&index) else {
            return (true, true, true, true, u32::MAX, place);
        };
        let address = memory.shown_address(self.now);
        let route = self.facts.default_route_of(index, address);
        let carrier = memory.state > uplink::UplinkState::NoCarrier;
        let ipv6 = matches!(address, Some(IpNet::V6(_)));
        (
            address.is_none(),
            !carrier,
            route.is_none(),
            ipv6,
            route.map_or(u32::MAX, |route| route.metric),
            place,
        )
    }

    /// When the best IPv4 default route moves to another uplink and the old one keeps its address,
    /// connections that were translated to it are stuck: order their deletion.
    fn watch_egress(&mut self) {
        let best = self
            .facts
            .default_routes()
            .filter(|r| {
                matches!(r.destination, IpNet::V4(_))
                    && self.roles.uplinks.contains(&r.index)
                    && self.facts.link(r.index).is_some_and(|link| link.carrier)
            })
            .min_by_key(|r| r.metric)
            .map(|r| r.index);
        let Some(index) = self.detour().or(best) else { return };
        let Some(address) = ipv4_source(&self.facts, index) else { return };
        if let Some((old_index, old_address)) = self.egress.replace((index, address)) {
            let kept = self
                .facts
                .addresses(old_index)
                .iter()
                .any(|h| h.address.addr() == IpAddr::V4(old_address));
            if old_index != index && kept {
                self.stale_sources = vec![old_address];
                self.conntrack_orders += 1;
                self.detour.cut_again();
            }
        }
    }

    /// The next moment at which time alone changes something.
    pub fn next_deadline(&self) -> Option<Instant> {
        let now = self.now;
        let uplinks = self.uplinks.values().filter_map(|memory| memory.next_deadline(now));
        let better = self
            .uplinks
            .values()
            .filter_map(UplinkMemory::settled_since)
            .map(|since| since + BETTER_UPLINK_TIME);
        let offline = self
            .offline_since
            .map(|since| since + OFFLINE_TIME)
            .into_iter()
            .chain(self.exit_deadline());
        let nodes = self
            .nodes
            .next_deadline()
            .into_iter()
            .chain(self.nodes.sweep_at())
            .chain(self.retiring.deadline());
        let nodes = nodes
            .chain(self.want_deadline())
            .chain(self.detour_deadlines())
            .chain(self.nodes.flood_deadlines());
        let machine = self.vitals.deadline().into_iter().chain(self.power.deadline(now));
        let repairs = self.firewall.deadlines().chain(self.drift.deadline());
        let network = uplinks.chain(better).chain(offline).chain(repairs);
        network.chain(nodes).chain(machine).filter(|at| *at > now).min()
    }
}
