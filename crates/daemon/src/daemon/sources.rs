//! The sources' tasks, and the channels by which they learn what to look at.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::sync::{Mutex, mpsc, watch};
use tokio::time::Instant;

use crate::config::{Buttons, Settings};
use crate::event::{Event, LinkIndex};
use crate::policy::Desired;
use crate::sink::dnsmasq;
use crate::source::conflict::ConflictPlan;
use crate::source::control::{self, Request};
use crate::source::dhcp::uplink::ListeningPlan;
use crate::source::dhcp::{DhcpWatchPlan, Questions};
use crate::source::firewall::FirewallWatch;
use crate::source::probe::{NodeProbePlan, UplinkProbePlan};
use crate::source::signals::Signals;
use crate::source::vitals::VitalsPlan;
use crate::source::wayout::WayOutPlan;
use crate::source::{
    alarm, buttons, conflict, dhcp, firewall, host, hotplug, leases, netlink, probe, resolvers, signals, time, vitals,
    wayout,
};
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
    node_probes: plans::NodeProbes,
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

/// Starts all sources: at once those without which nothing can be decided or our rules would be unwatched, the others when
/// [`Plans::begin_the_rest`] says so. `run_directory` outlives a restart; orders are taken at the control socket.
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
    at_once.source("signals", true, move || signals::run(Arc::clone(&caught), sender.clone()));
    let sender = events.clone();
    at_once.source("netlink", true, move || netlink::run(sender.clone()));
    let sender = events.clone();
    at_once.source("firewall", false, move || firewall::run(sender.clone(), firewall_seen.clone()));
    let later = Start { failed, after: Some(rest_begins) };
    let sender = events.clone();
    later.source("neighbours", false, move || netlink::run_neighbours(neighbours_seen.clone(), sender.clone()));
    later.source("control socket", false, move || control::run(control_seen.clone(), orders.clone()));
    let sender = events.clone();
    later.source("resolvers", false, move || resolvers::run(sender.clone()));
    let sender = events.clone();
    later.source("sshd's settings", false, move || host::run(sender.clone()));
    let sender = events.clone();
    later.source("way out", false, move || wayout::run(way_out_seen.clone(), sender.clone()));
    let leases_file = dnsmasq::leases(run_directory);
    let (sender, run_directory) = (events.clone(), run_directory.to_owned());
    later.source("another DHCP server", false, move || {
        dhcp::run(other_dhcp_seen.clone(), sender.clone(), run_directory.clone(), asked.clone())
    });
    let sender = events.clone();
    later.source("the uplinks' DHCP", false, move || dhcp::uplink::run(listening_seen.clone(), sender.clone()));
    let sender = events.clone();
    later.source("uplink probe", false, move || probe::run_uplinks(uplinks_seen.clone(), sender.clone()));
    let sender = events.clone();
    later.source("node probe", false, move || probe::run_nodes(nodes_seen.clone(), sender.clone()));
    let sender = events.clone();
    later.source("hot plug", false, move || hotplug::run(sender.clone()));
    let sender = events.clone();
    later.source("leases", false, move || leases::run(sender.clone(), leases_file.clone()));
    let sender = events.clone();
    later.source("time servers", false, move || time::run(sender.clone(), time_at_seen.clone()));
    let sender = events.clone();
    later.source("address conflicts", false, move || conflict::run(conflicts_seen.clone(), sender.clone()));
    let sender = events.clone();
    later.source("vitals", false, move || vitals::run(sender.clone(), vitals_seen.clone()));
    let sender = events.clone();
    later.source("buttons", false, move || buttons::run(sender.clone(), buttons_seen.clone()));
    let node_probes = plans::NodeProbes::default();
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
    /// Runs a source for as long as the daemon lives. One that ends, or panics, is told and begun again, backing off.
    fn source<Task, Run>(&self, source: &'static str, essential: bool, task: Task)
    where
        Task: Fn() -> Run + Send + 'static,
        Run: Future<Output = io::Result<Infallible>> + Send + 'static,
    {
        // Boxed: the runtime's machinery around a task is made once, not once for each source.
        let begin: Begin = Box::new(move || Box::pin(task()));
        tokio::spawn(keep(source, essential, begin, self.failed.clone(), self.after.clone()));
    }
}

/// Begins a source.
type Begin = Box<dyn Fn() -> BoxFuture<'static, io::Result<Infallible>> + Send>;

/// See [`Start::source`].
async fn keep(
    source: &'static str,
    essential: bool,
    begin: Begin,
    failed: mpsc::Sender<Failure>,
    after: Option<watch::Receiver<bool>>,
) {
    if let Some(mut after) = after {
        if after.wait_for(|begins| *begins).await.is_err() {
            return;
        }
    }
    let mut endings = Endings::default();
    loop {
        let began = Instant::now();
        let error = match tokio::spawn(begin()).await {
            Ok(Err(error)) => error,
            Err(ended) => io::Error::other(ended.to_string()),
        };
        // The daemon itself ends: nobody listens any more.
        if error.kind() == io::ErrorKind::BrokenPipe {
            return;
        }
        let (news, pause) = endings.add(began.elapsed(), error.to_string());
        if news && failed.send(Failure { source, essential, error }).await.is_err() {
            return;
        }
        alarm::until(Instant::now() + pause).await;
    }
}

/// How a source ended before.
#[derive(Debug, Default)]
struct Endings {
    told: String,
    pause: Option<Duration>,
}

impl Endings {
    /// It ended after it `ran` for so long: whether that is worth telling, and how long to wait. One that ran for long ran
    /// well: a device that is pulled once a week is told each time, and looked for at once.
    fn add(&mut self, ran: Duration, error: String) -> (bool, Duration) {
        if ran >= LAST_PAUSE {
            *self = Self::default();
        }
        let news = self.told != error;
        self.told = error;
        let pause = self.pause.map_or(FIRST_PAUSE, |pause| (pause * 2).min(LAST_PAUSE));
        self.pause = Some(pause);
        (news, pause)
    }
}

impl Plans {
    /// The first decision is carried out: nothing is in its way any more.
    pub fn begin_the_rest(&self) {
        set(&self.rest, true);
    }

    /// The control socket is made again where somebody took its file away.
    pub fn renew_control(&self) {
        if !self.control.borrow().exists() {
            self.control.send_modify(|_| {});
        }
    }

    /// Hands out what changed.
    pub fn publish(&mut self, settings: &Settings, state: &State, desired: &Desired, firewall_port: u32) {
        set(&self.uplinks, plans::uplink_probes(settings, state));
        set(&self.nodes, self.node_probes.plan(settings, state));
        set(&self.way_out, plans::way_out(settings, state, desired));
        set(&self.listening, plans::listening(state));
        set(&self.other_dhcp, plans::other_dhcp(settings, state));
        set(&self.firewall, plans::firewall_watch(settings, state, firewall_port));
        set(&self.vitals, plans::vitals(settings, state));
        set(&self.buttons, settings.buttons.clone());
        set(&self.conflicts, plans::conflicts(settings, state, desired));
        set(&self.time_at, plans::time_at(settings, desired));
        set(&self.neighbours, state.roles().cluster);
        set(&self.control, settings.control.socket.clone());
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_that_fails_at_once_is_told_once_and_one_that_ran_well_each_time() {
        let (mut endings, at_once, gone) = (Endings::default(), Duration::ZERO, || "there is no chip".to_owned());
        assert_eq!(endings.add(at_once, gone()), (true, Duration::from_secs(1)));
        assert_eq!(endings.add(at_once, gone()), (false, Duration::from_secs(2)));
        assert_eq!(endings.add(at_once, "it is taken".to_owned()), (true, Duration::from_secs(4)));
        let waits: Vec<u64> = (0..6).map(|_| endings.add(at_once, gone()).1.as_secs()).collect();
        assert_eq!(waits, [8, 16, 32, 60, 60, 60]);
        assert_eq!(endings.add(Duration::from_secs(3600), gone()), (true, Duration::from_secs(1)));
        assert_eq!(endings.add(at_once, gone()), (false, Duration::from_secs(2)));
    }
}
