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
use crate::decide::Desired;
use crate::event::{Event, LinkIndex};
use crate::facts::Facts;
use crate::reconcile::dhcp as dnsmasq;
use crate::supervise::{Backoff, Ending, Restart, spawn_kept};
use crate::sync::{Closed, publish};
use crate::watch::control::{self, Request};
use crate::watch::dhcp::leases;
use crate::watch::dhcp::{DhcpWatchPlan, Questions};
use crate::watch::firewall::FirewallWatch;
use crate::watch::host::VitalsPlan;
use crate::watch::host::{name, time};
use crate::watch::link::conflict;
use crate::watch::link::conflict::ConflictPlan;
use crate::watch::probe::{NodeProbePlan, UplinkProbePlan};
use crate::watch::routing::WayOutPlan;
use crate::watch::service_manager::Signals;
use crate::watch::uplink::lease::ListeningPlan;
use crate::watch::uplink::resolvers;
use crate::watch::{
    button, dhcp, firewall, host, link, node, panel, probe, routing, service_manager,
};

use super::watch_inputs;

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

/// What the sources are to look at; an equal plan wakes nobody.
#[derive(Debug)]
pub struct Plans {
    uplinks: watch::Sender<UplinkProbePlan>,
    nodes: watch::Sender<NodeProbePlan>,
    node_probes: watch_inputs::NodeProbes,
    way_out: watch::Sender<Option<WayOutPlan>>,
    other_dhcp: watch::Sender<Option<DhcpWatchPlan>>,
    listening: watch::Sender<Vec<ListeningPlan>>,
    firewall: watch::Sender<FirewallWatch>,
    vitals: watch::Sender<VitalsPlan>,
    buttons: watch::Sender<Option<Buttons>>,
    /// the ports and addresses that nobody else may have
    conflicts: watch::Sender<ConflictPlan>,
    /// where nodes would ask the head for the time
    time_at: watch::Sender<Option<Ipv4Addr>>,
    /// the port whose neighbours are heard
    neighbours: watch::Sender<Option<LinkIndex>>,
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
    let (uplinks, uplinks_seen) = watch::channel(UplinkProbePlan::default());
    let (nodes, nodes_seen) = watch::channel(NodeProbePlan::default());
    let (way_out, way_out_seen) = watch::channel(None);
    let (other_dhcp, other_dhcp_seen) = watch::channel(None);
    let (listening, listening_seen) = watch::channel(Vec::new());
    let (firewall, firewall_seen) = watch::channel(FirewallWatch::default());
    let (vitals, vitals_seen) = watch::channel(VitalsPlan::default());
    let (buttons, buttons_seen) = watch::channel(None);
    let (conflicts, conflicts_seen) = watch::channel(ConflictPlan::default());
    let (time_at, time_at_seen) = watch::channel(None);
    let (neighbours, neighbours_seen) = watch::channel(None);
    let (control, control_seen) = watch::channel(control.to_owned());
    let (rest, rest_begins) = watch::channel(false);
    let at_once = Start { failed, after: None };
    let sender = events.clone();
    let caught = Arc::new(Mutex::new(signals));
    at_once
        .source("signals", true, move || service_manager::run(Arc::clone(&caught), sender.clone()));
    let sender = events.clone();
    at_once.source("netlink", true, move || link::run(sender.clone()));
    let sender = events.clone();
    at_once.source("firewall", false, move || firewall::run(sender.clone(), firewall_seen.clone()));
    let later = Start { failed, after: Some(rest_begins) };
    let sender = events.clone();
    later.source("neighbours", false, move || node::run(neighbours_seen.clone(), sender.clone()));
    later.source("control socket", false, move || {
        control::run(control_seen.clone(), orders.clone())
    });
    let sender = events.clone();
    later.source("resolvers", false, move || resolvers::run(sender.clone()));
    let sender = events.clone();
    later.source("sshd's settings", false, move || name::run(sender.clone()));
    let sender = events.clone();
    later.source("way out", false, move || routing::run(way_out_seen.clone(), sender.clone()));
    let leases_file = dnsmasq::leases(run_directory);
    let (sender, run_directory) = (events.clone(), run_directory.to_owned());
    later.source("another DHCP server", false, move || {
        dhcp::run(other_dhcp_seen.clone(), sender.clone(), run_directory.clone(), asked.clone())
    });
    let sender = events.clone();
    later.source("the uplinks' DHCP", false, move || {
        crate::watch::uplink::lease::run(listening_seen.clone(), sender.clone())
    });
    let sender = events.clone();
    later.source("uplink probe", false, move || {
        probe::run_uplinks(uplinks_seen.clone(), sender.clone())
    });
    let sender = events.clone();
    later.source("node probe", false, move || probe::run_nodes(nodes_seen.clone(), sender.clone()));
    let sender = events.clone();
    later.source("hot plug", false, move || panel::run(sender.clone()));
    let sender = events.clone();
    later.source("leases", false, move || leases::run(sender.clone(), leases_file.clone()));
    let sender = events.clone();
    later.source("time servers", false, move || time::run(sender.clone(), time_at_seen.clone()));
    let sender = events.clone();
    later.source("address conflicts", false, move || {
        conflict::run(conflicts_seen.clone(), sender.clone())
    });
    let sender = events.clone();
    later.source("vitals", false, move || host::run(sender.clone(), vitals_seen.clone()));
    let sender = events.clone();
    later.source("buttons", false, move || button::run(sender.clone(), buttons_seen.clone()));
    let node_probes = watch_inputs::NodeProbes::default();
    Plans {
        uplinks,
        nodes,
        node_probes,
        way_out,
        other_dhcp,
        listening,
        firewall,
        vitals,
        buttons,
        conflicts,
        time_at,
        neighbours,
        control,
        rest,
    }
}

struct Start<'a> {
    failed: &'a mpsc::Sender<Failure>,
    /// not before this is true
    after: Option<watch::Receiver<bool>>,
}

impl Start<'_> {
    /// Runs a source for as long as the daemon lives. One that ends, or panics, is reported and
    /// begun again, backing off.
    fn source<Work, Run>(&self, source: &'static str, essential: bool, work: Work)
    where
        Work: Fn() -> Run + Send + Sync + 'static,
        Run: Future<Output = io::Result<Infallible>> + Send + 'static,
    {
        let (after, work) = (self.after.clone(), Arc::new(work));
        let begin: Restart = Box::new(move || {
            let (after, work) = (after.clone(), Arc::clone(&work));
            Box::pin(async move {
                may_begin(after).await?;
                work().await
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

/// Reports that a source ended, if that is news; breaks when nobody listens any more.
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
    /// The first decision is carried out: nothing is in its way any more.
    pub fn begin_the_rest(&self) {
        publish(&self.rest, true);
    }

    /// The control socket is made again where somebody took its file away.
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
        publish(&self.uplinks, watch_inputs::uplink_probes(settings, facts));
        publish(&self.nodes, self.node_probes.plan(settings, facts));
        publish(&self.way_out, watch_inputs::way_out(settings, facts, desired));
        publish(&self.listening, watch_inputs::listening(facts));
        publish(&self.other_dhcp, watch_inputs::other_dhcp(settings, facts));
        publish(&self.firewall, watch_inputs::firewall_watch(settings, facts, firewall_port));
        publish(&self.vitals, watch_inputs::vitals(settings, facts));
        publish(&self.buttons, settings.buttons.clone());
        publish(&self.conflicts, watch_inputs::conflicts(settings, facts, desired));
        publish(&self.time_at, watch_inputs::time_at(settings, desired));
        publish(&self.neighbours, facts.roles().cluster);
        publish(&self.control, settings.sockets.control.clone());
    }
}
