//! The state of the daemon, split into one component per subject. [`Facts::apply`] processes an
//! event and returns what changed; it never reads a clock.
//!
//! Each component is a state machine: `handle` processes an event, `refresh` recomputes what
//! depends on other components and on time, `next_deadline` returns when time alone changes
//! something. A component gets the others that it depends on as arguments. Events and time reach
//! the components in a fixed order, each after those whose current state it reads:
//!
//! outputs, links, uplinks, venues, routing, firewall, host, power, shutdown, web, share, cluster,
//! nodes, dhcp, acknowledgements.

mod alert;
mod answers;
mod cluster;
mod context;
pub mod dhcp;
mod firewall;
pub(crate) mod host;
pub mod link;
pub mod node;
pub mod output;
mod resync;
mod routing;
pub mod share;
pub mod transition;
pub mod uplink;
pub mod venue;
mod web;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::config::Settings;
pub use crate::event::ROUTE_PROTOCOL;
use crate::event::{Dhcp, Event, Instant, Lease, LinkIndex, Netconf, Probe, Stop};
use alert::Acknowledgements;
use cluster::Cluster;
pub use cluster::{Delegation, RETIREMENT_GRACE};
use context::Context;
use dhcp::DhcpFacts;
pub use firewall::FirewallFacts;
use host::power::Power;
use host::shutdown::Shutdown;
pub use host::{TimeFacts, Trouble, Vitals};
use link::Links;
use node::Nodes;
use output::Outputs;
pub use resync::Resyncs;
use routing::Routing;
use share::ShareFacts;
pub use transition::Transition;
use uplink::Uplinks;
pub use uplink::{BETTER_UPLINK_TIME, OFFLINE_TIME};
use venue::Venues;
use web::WebFacts;

/// Holds the complete state of the daemon, one component per subject.
#[derive(Debug, Clone)]
pub struct Facts {
    settings: Arc<Settings>,
    now: Instant,
    started: Instant,
    stop: Option<Stop>,
    outputs: Outputs,
    links: Links,
    uplinks: Uplinks,
    venues: Venues,
    routing: Routing,
    firewall: FirewallFacts,
    host: Vitals,
    power: Power,
    shutdown: Shutdown,
    cluster: Cluster,
    nodes: Nodes,
    dhcp: DhcpFacts,
    web: WebFacts,
    shares: ShareFacts,
    acknowledgements: Acknowledgements,
    /// Collected since the last [`Facts::take_resyncs`].
    resyncs: Resyncs,
    /// Counts events after which more than the nodes' health may have changed.
    generation: u64,
}

impl Facts {
    /// Creates the state at the start, when only the settings are known.
    pub fn new(settings: Arc<Settings>, now: Instant) -> Self {
        let mut nodes = Nodes::default();
        nodes.reload(&settings, now);
        Self {
            settings,
            now,
            started: now,
            stop: None,
            outputs: Outputs::default(),
            links: Links::default(),
            uplinks: Uplinks::new(now),
            venues: Venues::default(),
            routing: Routing::default(),
            firewall: FirewallFacts::default(),
            host: Vitals::new(),
            power: Power::default(),
            shutdown: Shutdown::default(),
            cluster: Cluster::default(),
            nodes,
            dhcp: DhcpFacts::default(),
            web: WebFacts::default(),
            shares: ShareFacts::default(),
            acknowledgements: Acknowledgements::default(),
            resyncs: Resyncs::default(),
            generation: 0,
        }
    }

    /// Applies new settings and keeps all other state.
    pub fn reload(&mut self, settings: Arc<Settings>, now: Instant) -> Vec<Transition> {
        self.now = now;
        self.links.reload(&settings);
        self.uplinks.reload(&settings);
        self.nodes.reload(&settings, now);
        self.settings = settings;
        let mut transitions = vec![Transition::Reloaded];
        transitions.extend(self.refresh());
        self.acknowledgements.follow(&self.nodes);
        self.generation += 1;
        transitions
    }

    /// Restores the nodes' names from the DHCP server's lease file of an earlier run.
    pub fn restore_names(&mut self, leases: &[Lease]) {
        self.nodes.restore_names(leases, self.now);
        self.acknowledgements.follow(&self.nodes);
        self.generation += 1;
    }

    /// Restores the nodes in maintenance that [`Nodes::drained`] returned in an earlier run.
    pub fn restore_drained(&mut self, keys: &BTreeSet<String>) {
        self.nodes.restore_drained(keys, self.now);
    }

    /// Restores the nodes that were shut down, as [`Nodes::shut_down`] returned them in an earlier
    /// run. `started`: the head was off since, so the nodes are expected to return.
    pub fn restore_shut_down(&mut self, keys: BTreeSet<String>, started: bool) {
        self.nodes.restore_shut_down(keys, started, self.now);
    }

    /// Restores the nodes' usual boot times, as [`Nodes::usual_times`] returned them in an earlier
    /// run. `is_first`: this is the first run since the machine started.
    pub fn restore_usual(&mut self, times: BTreeMap<String, u64>, is_first: bool) {
        self.nodes.restore_usual(times, is_first, self.now);
    }

    /// Notes the settings that the plan applies to the head's ports, so that drift is detected.
    pub fn note_ordered(&mut self, settings: Vec<Netconf>) {
        self.links.note_ordered(settings);
    }

    /// Processes an event at `now` and returns what changed. If the result is empty and
    /// [`Self::generation`] did not change, the event only confirmed the current state.
    pub fn apply(&mut self, event: &Event, now: Instant) -> Vec<Transition> {
        let topology_version = self.nodes.topology_version;
        // Any event also processes the deadlines that have passed.
        let is_due = self.next_deadline().is_some_and(|at| at <= now);
        self.now = now;
        if let Event::Stop(stop) = event {
            self.stop = Some(*stop);
        }
        let mut transitions = self.handle(event);
        // Probe rounds arrive by the thousand and host names with each lease renewal. Nearly all
        // only confirm the current state, so that nothing but the nodes is updated.
        let confirms = match event {
            Event::Probe(Probe::Nodes(_)) => true,
            Event::Dhcp(Dhcp::CallsItself { .. }) => {
                topology_version == self.nodes.topology_version
            }
            _ => false,
        };
        if is_due || !confirms {
            transitions.extend(self.refresh());
            self.generation += 1;
        }
        self.acknowledgements.follow(&self.nodes);
        transitions
    }

    /// Passes the event to each component.
    fn handle(&mut self, event: &Event) -> Vec<Transition> {
        let settings = Arc::clone(&self.settings);
        let context = self.context(&settings);
        let clashing = matches!(event, Event::Address(_)) && self.is_clashing();
        let mut transitions = self.outputs.handle(event, self.firewall.fight.is_some());
        transitions.extend(self.links.handle(event, context, clashing));
        transitions.extend(self.uplinks.handle(event, &self.links));
        self.venues.handle(event, self.now, &self.links);
        self.routing.handle(event, context, &self.outputs);
        transitions.extend(self.firewall.handle(event, context));
        self.host.handle(event, context);
        self.power.handle(event, self.now);
        transitions.extend(self.shutdown.handle(event, self.now));
        self.web.handle(event);
        self.shares.handle(event, context);
        self.cluster.handle(event, context, &self.links);
        transitions.extend(self.nodes.handle(event, context, &self.links));
        transitions.extend(self.dhcp.handle(event, context, &self.nodes));
        let acknowledged = self.acknowledgements.handle(event, context, self.started, &self.nodes);
        transitions.extend(acknowledged);
        transitions
    }

    /// Recomputes in each component what depends on other components and on time.
    fn refresh(&mut self) -> Vec<Transition> {
        let settings = Arc::clone(&self.settings);
        let context = self.context(&settings);
        self.links.refresh(context);
        let clashing: BTreeSet<LinkIndex> = self.clashes().map(|(index, _)| index).collect();
        let mut transitions = self.uplinks.refresh(context, &self.links, &clashing);
        self.venues.refresh(self.now, &self.links);
        self.routing.refresh(context, &self.links, &self.uplinks, &self.venues);
        self.firewall.refresh(self.now);
        self.host.refresh(self.now);
        transitions.extend(self.power.refresh(self.now));
        if let Some(transition) = self.shutdown.refresh(self.now) {
            if transition == Transition::ShutdownBrokenOff {
                transitions.extend(self.nodes.cancel_all_shutdowns(self.now));
            }
            transitions.push(transition);
        }
        self.cluster.refresh(context, &self.links, &self.uplinks, &self.nodes);
        let carrier = self.links.cluster_port().is_some_and(|port| port.carrier);
        transitions.extend(self.nodes.refresh(context, carrier));
        transitions.extend(self.dhcp.refresh(context, &self.links, &self.nodes));
        self.resyncs.join(self.links.take_resyncs());
        self.resyncs.join(self.routing.take_resyncs());
        self.resyncs.join(self.firewall.take_resyncs());
        transitions
    }

    /// Takes the outputs whose reconcilers must compare the kernel with their plan again.
    pub fn take_resyncs(&mut self) -> Resyncs {
        std::mem::take(&mut self.resyncs)
    }

    /// Returns the next time at which the state changes without an event.
    pub fn next_deadline(&self) -> Option<Instant> {
        let now = self.now;
        let deadlines = [
            self.links.next_deadline(),
            self.uplinks.next_deadline(now),
            self.venues.next_deadline(now),
            Some(self.started + venue::LISTENING_TIME),
            self.routing.next_deadline(now),
            self.firewall.next_deadline(now),
            self.host.next_deadline(),
            self.power.next_deadline(now),
            self.shutdown.next_deadline(),
            self.shares.next_deadline(),
            self.cluster.next_deadline(),
            self.nodes.next_deadline(self.settings.health.boot_grace, now),
            self.dhcp.next_deadline(),
        ];
        deadlines.into_iter().flatten().filter(|at| *at > now).min()
    }

    fn context<'a>(&self, settings: &'a Settings) -> Context<'a> {
        Context { settings, now: self.now, stopping: self.stop.is_some() }
    }
}
