//! The sources' tasks, and the channels by which they learn what to look at.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::sync::Arc;

use tokio::sync::{Notify, mpsc, watch};

use crate::config::Settings;
use crate::event::Event;
use crate::policy::Desired;
use crate::source::firewall::FirewallWatch;
use crate::source::probe::{NodeProbePlan, UplinkProbePlan};
use crate::source::wayout::WayOutPlan;
use crate::source::{firewall, hotplug, netlink, probe, resolvers, signals, vitals, wayout};
use crate::state::State;

use super::plans;

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
pub fn spawn(events: &mpsc::Sender<Event>, failed: &mpsc::Sender<Failure>, alarm: Arc<Notify>) -> Plans {
    let (uplinks, uplinks_seen) = watch::channel(UplinkProbePlan::default());
    let (nodes, nodes_seen) = watch::channel(NodeProbePlan::default());
    let (way_out, way_out_seen) = watch::channel(None);
    let (firewall, firewall_seen) = watch::channel(FirewallWatch::default());
    let (vitals, vitals_seen) = watch::channel(false);
    let start = Start { failed };
    start.source("signals", true, signals::run(events.clone()));
    start.source("netlink", true, netlink::run(events.clone()));
    start.source("firewall", false, firewall::run(events.clone(), firewall_seen, alarm));
    start.source("resolvers", false, resolvers::run(events.clone()));
    start.source("way out", false, wayout::run(way_out_seen, events.clone()));
    start.source("uplink probe", false, probe::run_uplinks(uplinks_seen, events.clone()));
    start.source("node probe", false, probe::run_nodes(nodes_seen, events.clone()));
    start.source("hot plug", false, hotplug::run(events.clone()));
    start.source("vitals", false, vitals::run(events.clone(), vitals_seen));
    Plans { uplinks, nodes, way_out, firewall, vitals }
}

struct Start<'a> {
    failed: &'a mpsc::Sender<Failure>,
}

impl Start<'_> {
    fn source<F>(&self, source: &'static str, essential: bool, task: F)
    where
        F: Future<Output = io::Result<Infallible>> + Send + 'static,
    {
        let failed = self.failed.clone();
        tokio::spawn(async move {
            let Err(error) = task.await;
            // Nobody listens any more when the daemon itself ends.
            let _ = failed.send(Failure { source, essential, error }).await;
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
