//! The tasks of the event sources, and the channels that carry their plans.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::net::Ipv4Addr;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Mutex, mpsc, watch};

use crate::config::{Buttons, Settings};
use crate::decide::dhcp::others;
use crate::decide::probe::NodeProbes;
use crate::decide::routing::ways::egress;
use crate::decide::{self, Desired};
use crate::event::{
    ConflictPlan, DhcpWatchPlan, EgressPlan, Event, FirewallWatch, ListeningPlan, NeighbourPlan,
    NodeProbePlan, UplinkProbePlan, VenuePlan, VitalsPlan,
};
use crate::facts::Facts;
use crate::reconcile::dhcp as dnsmasq;
use crate::supervise::{Backoff, Ending, Restart, spawn_kept};
use crate::sync::{Closed, publish, publish_or_ring};
use crate::watch::control::{self, Request};
use crate::watch::dhcp::{Questions, leases};
use crate::watch::host::{name, time};
use crate::watch::link::conflict;
use crate::watch::service_manager::Signals;
use crate::watch::uplink::{lease, resolvers};
use crate::watch::{
    button, dhcp, firewall, host, link, node, panel, probe, routing, service_manager, share, venue,
    web,
};

/// Pauses before a failed source is restarted.
const BACKOFF: Backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(60))
    .reset_after(Duration::from_secs(60));

/// A source that ended.
#[derive(Debug)]
pub struct Failure {
    pub source: &'static str,
    /// The daemon cannot work without it.
    pub essential: bool,
    pub error: io::Error,
}

/// What the sources observe; an equal plan wakes no task.
#[derive(Debug)]
pub struct Plans {
    uplinks: watch::Sender<UplinkProbePlan>,
    nodes: watch::Sender<NodeProbePlan>,
    node_probes: NodeProbes,
    egress: watch::Sender<Option<EgressPlan>>,
    /// [`Links::generation`](crate::facts::link::Links) at the last route lookup.
    egress_generation: u64,
    other_dhcp: watch::Sender<Option<DhcpWatchPlan>>,
    listening: watch::Sender<Vec<ListeningPlan>>,
    venues: watch::Sender<Vec<VenuePlan>>,
    firewall: watch::Sender<FirewallWatch>,
    vitals: watch::Sender<VitalsPlan>,
    buttons: watch::Sender<Option<Buttons>>,
    /// Ports and addresses that no other host may use.
    conflicts: watch::Sender<ConflictPlan>,
    /// The head's address as the nodes' time server.
    time_at: watch::Sender<Option<Ipv4Addr>>,
    /// The port whose neighbour table is followed.
    neighbours: watch::Sender<Option<NeighbourPlan>>,
    /// The file into which the status page's server writes its port.
    web: watch::Sender<PathBuf>,
    /// Mount points of shared disks.
    shares: watch::Sender<Vec<PathBuf>>,
    /// Path of the control socket.
    control: watch::Sender<PathBuf>,
    /// Starts the deferred sources.
    start: watch::Sender<bool>,
}

/// Spawns all sources. Those that the first decision needs, and the firewall watch, start
/// immediately, the others at [`Plans::start_deferred`]. `run_directory` outlives a restart.
pub fn spawn(
    signals: Signals,
    events: &mpsc::Sender<Event>,
    failed: &mpsc::Sender<Failure>,
    run_directory: &Path,
    (control, requests): (&Path, mpsc::Sender<Request>),
    questions: Questions,
) -> Plans {
    let immediate = Spawner { events, failed, after: None };
    let signals = Arc::new(Mutex::new(signals));
    immediate
        .source("signals", true, move |events| service_manager::run(Arc::clone(&signals), events));
    immediate.source("netlink", true, link::run);
    let firewall = immediate
        .planned("firewall", FirewallWatch::default(), |plan, events| firewall::run(events, plan));
    let (start, started) = watch::channel(false);
    let deferred = Spawner { events, failed, after: Some(started) };
    deferred.source("resolvers", false, resolvers::run);
    deferred.source("sshd's settings", false, name::run);
    deferred.source("hot plug", false, panel::run);
    let leases_file = dnsmasq::leases(run_directory);
    deferred.source("leases", false, move |events| leases::run(events, leases_file.clone()));
    let run_directory = run_directory.to_owned();
    Plans {
        firewall,
        neighbours: deferred.planned("neighbours", None, node::run),
        control: deferred.planned("control socket", control.to_owned(), move |path, _| {
            control::run(path, requests.clone())
        }),
        egress: deferred.planned("way out", None, routing::run),
        egress_generation: 0,
        other_dhcp: deferred.planned("another DHCP server", None, move |plan, events| {
            dhcp::run(plan, events, run_directory.clone(), questions.clone())
        }),
        listening: deferred.planned("the uplinks' DHCP", Vec::new(), lease::run),
        venues: deferred.planned("what venues offer", Vec::new(), venue::run),
        uplinks: deferred.planned("uplink probe", UplinkProbePlan::default(), probe::run_uplinks),
        nodes: deferred.planned("node probe", NodeProbePlan::default(), probe::run_nodes),
        node_probes: NodeProbes::default(),
        time_at: deferred.planned("time servers", None, |plan, events| time::run(events, plan)),
        conflicts: deferred.planned("address conflicts", ConflictPlan::default(), conflict::run),
        vitals: deferred
            .planned("vitals", VitalsPlan::default(), |plan, events| host::run(events, plan)),
        shares: deferred.planned("shared disks", Vec::new(), share::run),
        web: deferred.planned("status page", PathBuf::new(), web::run),
        buttons: deferred.planned("buttons", None, |plan, events| button::run(events, plan)),
        start,
    }
}

/// Spawns sources that share a start condition.
struct Spawner<'a> {
    events: &'a mpsc::Sender<Event>,
    failed: &'a mpsc::Sender<Failure>,
    /// The sources start once this is true; `None`: immediately.
    after: Option<watch::Receiver<bool>>,
}

impl Spawner<'_> {
    /// Spawns a source that follows a plan. Returns the channel for the plan.
    fn planned<Plan, Work, Run>(
        &self,
        source: &'static str,
        first: Plan,
        work: Work,
    ) -> watch::Sender<Plan>
    where
        Plan: Send + Sync + 'static,
        Work: Fn(watch::Receiver<Plan>, mpsc::Sender<Event>) -> Run + Send + Sync + 'static,
        Run: Future<Output = io::Result<Infallible>> + Send + 'static,
    {
        let (plan, seen) = watch::channel(first);
        self.source(source, false, move |events| work(seen.clone(), events));
        plan
    }

    /// Spawns a source. If it ends or panics, it is reported and restarted with backoff.
    fn source<Work, Run>(&self, source: &'static str, essential: bool, work: Work)
    where
        Work: Fn(mpsc::Sender<Event>) -> Run + Send + Sync + 'static,
        Run: Future<Output = io::Result<Infallible>> + Send + 'static,
    {
        let (after, events, work) = (self.after.clone(), self.events.clone(), Arc::new(work));
        let restart: Restart = Box::new(move || {
            let (after, events, work) = (after.clone(), events.clone(), Arc::clone(&work));
            Box::pin(async move {
                if let Some(mut after) = after {
                    after.wait_for(|started| *started).await.map_err(|_| Closed)?;
                }
                work(events).await
            })
        });
        let failed = self.failed.clone();
        spawn_kept(source, restart, BACKOFF, move |ending| {
            report(source, essential, ending, failed.clone())
        });
    }
}

/// Reports that a source ended, unless it failed the same way before. Breaks when the receiver is
/// gone.
async fn report(
    source: &'static str,
    essential: bool,
    ending: Ending,
    failed: mpsc::Sender<Failure>,
) -> ControlFlow<()> {
    let failure = Failure { source, essential, error: ending.error };
    if ending.is_news && failed.send(failure).await.is_err() {
        return ControlFlow::Break(());
    }
    ControlFlow::Continue(())
}

impl Plans {
    /// Starts the deferred sources, once nothing can delay the first decision any more.
    pub fn start_deferred(&self) {
        publish(&self.start, true);
    }

    /// Recreates the control socket if its file was removed.
    pub fn renew_control(&self) {
        if !self.control.borrow().exists() {
            self.control.send_modify(|_| {});
        }
    }

    /// Publishes the plans that changed.
    pub fn publish(
        &mut self,
        settings: &Settings,
        facts: &Facts,
        desired: &Desired,
        firewall_port: u32,
    ) {
        publish(&self.uplinks, decide::probe::uplink_probes(settings, facts));
        publish(&self.nodes, self.node_probes.plan(settings, facts));
        // A new generation may change the result of a route lookup.
        let generation = facts.links().generation();
        let is_stale = std::mem::replace(&mut self.egress_generation, generation) != generation;
        publish_or_ring(&self.egress, egress(settings, facts, desired), is_stale);
        publish(&self.listening, decide::uplink::listening(facts));
        publish(&self.venues, decide::venue::heard(facts));
        publish(&self.other_dhcp, others::other_dhcp(settings, facts));
        publish(&self.firewall, decide::firewall_watch(settings, facts, firewall_port));
        publish(&self.vitals, decide::host::vitals(settings, facts));
        publish(&self.buttons, settings.buttons.clone());
        publish(&self.conflicts, decide::link::conflicts(settings, facts, desired));
        publish(&self.time_at, others::time_at(settings, desired));
        publish(&self.neighbours, decide::link::neighbours(facts, desired));
        publish(&self.control, settings.sockets.control.clone());
        publish(&self.shares, decide::share::watched(settings));
        publish(&self.web, settings.web.port_file.clone());
    }
}
