//! The sources' tasks, and the channels by which they learn what to look at.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Mutex, Notify, mpsc, watch};
use tokio::time::sleep;

use crate::config::Settings;
use crate::event::Event;
use crate::policy::Desired;
use crate::source::firewall::FirewallWatch;
use crate::source::probe::{NodeProbePlan, UplinkProbePlan};
use crate::source::signals::Signals;
use crate::source::wayout::WayOutPlan;
use crate::source::{firewall, hotplug, netlink, probe, resolvers, signals, vitals, wayout};
use crate::state::State;

use super::plans;

/// How long to wait before a source that ended is begun again: at first, and at most.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LAST_PAUSE: Duration = Duration::from_secs(60);

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
    way_out: watch::Sender<Option<WayOutPlan>>,
    firewall: watch::Sender<FirewallWatch>,
    vitals: watch::Sender<bool>,
}

/// Starts all sources. `alarm` rings when somebody else touches our rules.
pub fn spawn(
    signals: Signals,
    events: &mpsc::Sender<Event>,
    failed: &mpsc::Sender<Failure>,
    alarm: Arc<Notify>,
) -> Plans {
    let (uplinks, uplinks_seen) = watch::channel(UplinkProbePlan::default());
    let (nodes, nodes_seen) = watch::channel(NodeProbePlan::default());
    let (way_out, way_out_seen) = watch::channel(None);
    let (firewall, firewall_seen) = watch::channel(FirewallWatch::default());
    let (vitals, vitals_seen) = watch::channel(false);
    let start = Start { failed };
    let sender = events.clone();
    let caught = Arc::new(Mutex::new(signals));
    start.source("signals", true, move || signals::run(Arc::clone(&caught), sender.clone()));
    let sender = events.clone();
    start.source("netlink", true, move || netlink::run(sender.clone()));
    let sender = events.clone();
    start.source("firewall", false, move || firewall::run(sender.clone(), firewall_seen.clone(), Arc::clone(&alarm)));
    let sender = events.clone();
    start.source("resolvers", false, move || resolvers::run(sender.clone()));
    let sender = events.clone();
    start.source("way out", false, move || wayout::run(way_out_seen.clone(), sender.clone()));
    let sender = events.clone();
    start.source("uplink probe", false, move || probe::run_uplinks(uplinks_seen.clone(), sender.clone()));
    let sender = events.clone();
    start.source("node probe", false, move || probe::run_nodes(nodes_seen.clone(), sender.clone()));
    let sender = events.clone();
    start.source("hot plug", false, move || hotplug::run(sender.clone()));
    let sender = events.clone();
    start.source("vitals", false, move || vitals::run(sender.clone(), vitals_seen.clone()));
    Plans { uplinks, nodes, way_out, firewall, vitals }
}

struct Start<'a> {
    failed: &'a mpsc::Sender<Failure>,
}

impl Start<'_> {
    /// Runs a source for as long as the daemon lives. One that ends, or panics, is told and begun again, backing off.
    fn source<Task, Run>(&self, source: &'static str, essential: bool, task: Task)
    where
        Task: Fn() -> Run + Send + 'static,
        Run: Future<Output = io::Result<Infallible>> + Send + 'static,
    {
        let failed = self.failed.clone();
        tokio::spawn(async move {
            let mut pause = FIRST_PAUSE;
            let mut told = String::new();
            loop {
                let error = match tokio::spawn(task()).await {
                    Ok(Err(error)) => error,
                    Err(ended) => io::Error::other(ended.to_string()),
                };
                // The daemon itself ends: nobody listens any more.
                if error.kind() == io::ErrorKind::BrokenPipe {
                    return;
                }
                let text = error.to_string();
                let news = told != text;
                told = text;
                if news && failed.send(Failure { source, essential, error }).await.is_err() {
                    return;
                }
                sleep(pause).await;
                pause = (pause * 2).min(LAST_PAUSE);
            }
        });
    }
}

impl Plans {
    /// Hands out what changed.
    pub fn publish(&self, settings: &Settings, state: &State, desired: &Desired, firewall_port: u32) {
        set(&self.uplinks, plans::uplink_probes(settings, state));
        set(&self.nodes, plans::node_probes(settings, state));
        set(&self.way_out, plans::way_out(settings, state, desired));
        set(&self.firewall, plans::firewall_watch(settings, state, firewall_port));
        set(&self.vitals, settings.gateway.enabled);
    }
}

fn set<T: PartialEq>(channel: &watch::Sender<T>, value: T) {
    channel.send_if_modified(|held| {
        let differs = *held != value;
        if differs {
            *held = value;
        }
        differs
    });
}
