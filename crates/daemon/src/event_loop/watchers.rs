//! The sources' tasks, and the channels by which they learn what to look at.

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

/// Pauses before a source that ended is begun again.
const PAUSES: Backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(60))
    .reset_after(Duration::from_secs(60));

/// A source that ended.
#[derive(Debug)]
pub struct Failure {
    pub source: &'static str,
    /// without it there is nothing to do
    pub essential: bool,
    pub error: io::Error,
}

/// What the sources are to look at; an equal plan wakes no task.
#[derive(Debug)]
pub struct Plans {
    uplinks: watch::Sender<UplinkProbePlan>,
    nodes: watch::Sender<NodeProbePlan>,
    node_probes: NodeProbes,
    egress: watch::Sender<Option<EgressPlan>>,
    /// [`Links::generation`](crate::facts::link::Links) that the kernel was asked at
    egress_asked_at: u64,
    other_dhcp: watch::Sender<Option<DhcpWatchPlan>>,
    listening: watch::Sender<Vec<ListeningPlan>>,
    venues: watch::Sender<Vec<VenuePlan>>,
    firewall: watch::Sender<FirewallWatch>,
    vitals: watch::Sender<VitalsPlan>,
    buttons: watch::Sender<Option<Buttons>>,
    /// the ports and addresses that no other host may have
    conflicts: watch::Sender<ConflictPlan>,
    /// where nodes would ask the head for the time
    time_at: watch::Sender<Option<Ipv4Addr>>,
    /// the port whose neighbours are heard
    neighbours: watch::Sender<Option<NeighbourPlan>>,
    /// where the status page's server writes its port
    web: watch::Sender<PathBuf>,
    /// mount points of shared disks
    shares: watch::Sender<Vec<PathBuf>>,
    /// where orders are taken
    control: watch::Sender<PathBuf>,
    /// what the first decision did not need may begin
    rest: watch::Sender<bool>,
}

/// Starts all sources: at once those without which nothing can be decided or our rules would be
/// unwatched, the others when [`Plans::begin_the_rest`] says so. `run_directory` outlives a
/// restart; orders are taken at the control socket.
pub fn spawn(
    signals: Signals,
    events: &mpsc::Sender<Event>,
    failed: &mpsc::Sender<Failure>,
    run_directory: &Path,
    (control, orders): (&Path, mpsc::Sender<Request>),
    asked: Questions,
) -> Plans {
    let at_once = Start { events, failed, after: None };
    let caught = Arc::new(Mutex::new(signals));
    at_once
        .source("signals", true, move |events| service_manager::run(Arc::clone(&caught), events));
    at_once.source("netlink", true, link::run);
    let firewall = at_once
        .planned("firewall", FirewallWatch::default(), |plan, events| firewall::run(events, plan));
    let (rest, rest_begins) = watch::channel(false);
    let later = Start { events, failed, after: Some(rest_begins) };
    later.source("resolvers", false, resolvers::run);
    later.source("sshd's settings", false, name::run);
    later.source("hot plug", false, panel::run);
    let leases_file = dnsmasq::leases(run_directory);
    later.source("leases", false, move |events| leases::run(events, leases_file.clone()));
    let run_directory = run_directory.to_owned();
    Plans {
        firewall,
        neighbours: later.planned("neighbours", None, node::run),
        control: later.planned("control socket", control.to_owned(), move |place, _| {
            control::run(place, orders.clone())
        }),
        egress: later.planned("way out", None, routing::run),
        egress_asked_at: 0,
        other_dhcp: later.planned("another DHCP server", None, move |plan, events| {
            dhcp::run(plan, events, run_directory.clone(), asked.clone())
        }),
        listening: later.planned("the uplinks' DHCP", Vec::new(), lease::run),
        venues: later.planned("what venues offer", Vec::new(), venue::run),
        uplinks: later.planned("uplink probe", UplinkProbePlan::default(), probe::run_uplinks),
        nodes: later.planned("node probe", NodeProbePlan::default(), probe::run_nodes),
        node_probes: NodeProbes::default(),
        time_at: later.planned("time servers", None, |plan, events| time::run(events, plan)),
        conflicts: later.planned("address conflicts", ConflictPlan::default(), conflict::run),
        vitals: later
            .planned("vitals", VitalsPlan::default(), |plan, events| host::run(events, plan)),
        shares: later.planned("shared disks", Vec::new(), share::run),
        web: later.planned("status page", PathBuf::new(), web::run),
        buttons: later.planned("buttons", None, |plan, events| button::run(events, plan)),
        rest,
    }
}

/// Starts sources.
struct Start<'a> {
    events: &'a mpsc::Sender<Event>,
    failed: &'a mpsc::Sender<Failure>,
    /// not before this is true
    after: Option<watch::Receiver<bool>>,
}

impl Start<'_> {
    /// Runs a source that is given what to look at, by the channel that is returned.
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

    /// Runs a source for as long as the daemon lives. One that ends, or panics, is reported and
    /// begun again, backing off.
    fn source<Work, Run>(&self, source: &'static str, essential: bool, work: Work)
    where
        Work: Fn(mpsc::Sender<Event>) -> Run + Send + Sync + 'static,
        Run: Future<Output = io::Result<Infallible>> + Send + 'static,
    {
        let (after, events, work) = (self.after.clone(), self.events.clone(), Arc::new(work));
        let begin: Restart = Box::new(move || {
            let (after, events, work) = (after.clone(), events.clone(), Arc::clone(&work));
            Box::pin(async move {
                may_begin(after).await?;
                work(events).await
            })
        });
        let failed = self.failed.clone();
        spawn_kept(source, begin, PAUSES, move |ending| {
            report(source, essential, ending, failed.clone())
        });
    }
}

/// Waits until a source may begin.
async fn may_begin(after: Option<watch::Receiver<bool>>) -> io::Result<()> {
    if let Some(mut after) = after {
        after.wait_for(|begins| *begins).await.map_err(|_| Closed)?;
    }
    Ok(())
}

/// Reports that a source ended, if that is news; breaks when the receiver is gone.
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
    /// Starts the other watches once the first decision is carried out: nothing is in its way any
    /// more.
    pub fn begin_the_rest(&self) {
        publish(&self.rest, true);
    }

    /// Makes the control socket again where its file was removed.
    pub fn renew_control(&self) {
        if !self.control.borrow().exists() {
            self.control.send_modify(|_| {});
        }
    }

    /// Hands out what changed.
    pub fn publish(
        &mut self,
        settings: &Settings,
        facts: &Facts,
        desired: &Desired,
        firewall_port: u32,
    ) {
        publish(&self.uplinks, decide::probe::uplink_probes(settings, facts));
        publish(&self.nodes, self.node_probes.plan(settings, facts));
        // What was asked before may have another answer now.
        let generation = facts.links().generation();
        let news = std::mem::replace(&mut self.egress_asked_at, generation) != generation;
        publish_or_ring(&self.egress, egress(settings, facts, desired), news);
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
