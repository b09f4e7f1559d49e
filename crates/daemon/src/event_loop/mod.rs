//! The loop of the daemon: the only place that ties watches, facts, decisions and reconcilers
//! together. Begin with `Daemon::main_loop`, which is the whole flow.

mod commands;
mod lock;
mod malloc;
mod operator;
mod outputs;
mod reconcilers;
mod reload;
mod state_file;
mod watchers;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::yield_now;
use tokio::time::{Instant as Timer, sleep_until};

use crate::clock;
use crate::config::{OnStop, Settings};
use crate::decide::alert::acknowledge;
use crate::decide::{Decider, Desired, link as link_plan};
use crate::event::{
    ApplyErrorKind, Button, Dhcp, Event, Instant, Order, Output, Probe, Stop, Vital,
};
use crate::facts::{Facts, Transition};
use crate::files::reading;
use crate::pace::Pace;
use crate::reconcile::dhcp;
use crate::reconcile::journal::{Journal, LogOptions, write_details};
use crate::reconcile::link;
use crate::reconcile::service_manager;
use crate::reconcile::share::ShareOrders;
use crate::sync::{next_aligned, reached};
use crate::view::journal;
use crate::watch::control::Request;
use crate::watch::dhcp::Questions;
use crate::watch::dhcp::leases;
use crate::watch::host::name;
use crate::watch::service_manager::Signals;

pub use lock::{InstanceLock, LockError};
use outputs::Outputs;
use reload::Loaded;
use state_file::StateFile;
use watchers::{Failure, Plans};

/// Events that may wait while the loop works; the sources are held up beyond that, and list anew
/// when the kernel overruns.
const QUEUE: usize = 4096;
/// At most this many events are taken in before outputs see the result.
const BATCH: usize = 1024;
/// What strangers bring about is worked out at once so many times in a row, and then no more often
/// than this.
const AT_ONCE: u32 = 16;
const SPACING: Duration = Duration::from_millis(500);
/// How often the loop shows the devices' threads that it lives; after `SILENCE` of
/// `reconcile::panel::device` they take it for dead.
const RENEWAL: Duration = Duration::from_secs(10);

/// Bounds how long a previous instance may take to release our table.
const LETTING_GO: Duration = Duration::from_secs(1);

/// Reads the settings anew; the error names every fault.
pub type Load = Arc<dyn Fn() -> Result<Settings, String> + Send + Sync>;

/// What the daemon is started with.
pub struct Options {
    /// shared with the facts: ten thousand nodes are kept once
    pub settings: Arc<Settings>,
    pub load: Load,
    pub state_directory: PathBuf,
    pub run_directory: PathBuf,
    pub log: LogOptions,
}

impl std::fmt::Debug for Options {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Options").field("settings", &self.settings).finish_non_exhaustive()
    }
}

/// Why the daemon cannot go on; each has an exit code of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fatal {
    /// the kernel lacks something: 69
    Unsupported(String),
    /// something that is needed cannot be made at the start: 71
    CannotCreate(String),
    /// a capability is missing: 77
    Denied(String),
    /// another instance runs: 75
    Held(String),
}

struct Daemon {
    options: Options,
    queue: mpsc::Receiver<Event>,
    failures: mpsc::Receiver<Failure>,
    /// orders of the control socket
    requests: mpsc::Receiver<Request>,
    /// settings that were read again: (for the thread that reads, for the loop)
    loaded: (mpsc::Sender<Loaded>, mpsc::Receiver<Loaded>),
    /// they are being read
    reading: bool,
    /// once more when that has ended
    read_again: bool,
    /// the persisted set of nodes in maintenance
    drained: StateFile,
    /// the nodes that were shut down and are not back
    shut_down: StateFile,
    /// how long nodes take after the machine was started
    usual: StateFile,
    /// how often such a time was learned, when they were kept last
    learned: u64,
    /// the alerts that users know of, by code and subject
    known: StateFile,
    /// errors of those two, for the journal
    lost: mpsc::UnboundedReceiver<String>,
    facts: Facts,
    plans: Plans,
    outputs: Outputs,
    journal: Arc<Journal>,
    decider: Decider,
    desired: Option<Desired>,
    share_orders: ShareOrders,
    /// changes of fact from before the first listing's end, or that wait for `publish_at`
    unpublished: Vec<Transition>,
    /// how often what strangers bring about is worked out anew, and when next
    pace: Pace,
    publish_at: Option<Timer>,
    ready: bool,
    /// an essential output that does not answer, as last reported
    overdue: Option<Output>,
    ping_at: Timer,
    /// [`Nodes::topology_version`](crate::facts::node::Nodes) at the last `malloc_trim`
    topology_trimmed: u64,
}

/// Runs until it is asked to stop, by a signal that may have come already.
///
/// # Errors
/// What keeps it from starting. Afterwards nothing does: a part that fails is shown and tried
/// again.
pub async fn run(mut options: Options, signals: Signals) -> Result<(), Fatal> {
    malloc::limit_arenas();
    let journal = Arc::new(Journal::open(&options.log));
    write_details(&journal, &options.log);
    options.settings = Arc::new(malloc::compact(&options.settings));
    let (events, queue) = mpsc::channel(QUEUE);
    let (failed, failures) = mpsc::channel(16);
    let mut facts = Facts::new(Arc::clone(&options.settings), clock::now());
    if let Ok(head) = reading::within(reading::PATIENCE, name::read) {
        facts.apply(&Event::Vital(head), clock::now());
    }
    facts.apply(&Event::Vital(Vital::Added(link::added(&options.state_directory))), clock::now());
    facts.apply(&Event::Vital(Vital::Opened(link::opened(&options.state_directory))), clock::now());
    let (ipv6, unkept) = link::ipv6_for(&options.settings, &options.state_directory, None);
    facts.apply(&Event::Vital(ipv6), clock::now());
    let places = [operator::ACKNOWLEDGED, commands::DRAINED, commands::SHUT_DOWN, commands::USUAL]
        .map(|name| options.state_directory.join(name));
    let [known, drained, shut_down, usual] = places.each_ref().map(|path| state_file::read(path));
    let (acknowledged, unclear) = operator::restored(&known.lines);
    facts.apply(&Event::Acknowledgement(acknowledged), clock::now());
    facts.restore_drained(&drained.lines);
    commands::restore_shut_down(&mut facts, &shut_down.lines);
    commands::restore_usual(&mut facts, &usual.lines);
    let (ordered, requests) = mpsc::channel(16);
    let (reported, lost) = mpsc::unbounded_channel();
    let damages = [&known, &drained, &shut_down, &usual].map(|kept| kept.damage.clone());
    for damage in damages.into_iter().chain([unclear, unkept]).flatten() {
        let _ = reported.send(damage);
    }
    let [known_place, drained_place, shut_down_place, usual_place] = places;
    let asked = Questions::default();
    let outputs = Outputs::spawn(&options, &events, asked.clone())?;
    let control = (options.settings.sockets.control.as_path(), ordered);
    let plans = watchers::spawn(signals, &events, &failed, &options.run_directory, control, asked);
    let mut daemon = Daemon {
        topology_trimmed: facts.nodes().topology_version,
        share_orders: ShareOrders::new(&options.run_directory),
        options,
        queue,
        failures,
        requests,
        loaded: mpsc::channel(1),
        reading: false,
        read_again: false,
        drained: StateFile::spawn(drained_place, &drained, reported.clone()),
        shut_down: StateFile::spawn(shut_down_place, &shut_down, reported.clone()),
        usual: StateFile::spawn(usual_place, &usual, reported.clone()),
        learned: 0,
        known: StateFile::spawn(known_place, &known, reported),
        lost,
        facts,
        plans,
        outputs,
        journal,
        decider: Decider::default(),
        desired: None,
        unpublished: Vec::new(),
        pace: Pace::new(AT_ONCE, SPACING, Timer::now()),
        publish_at: None,
        ready: false,
        overdue: None,
        ping_at: Timer::now(),
    };
    // In the form of today, if an earlier version kept it.
    daemon.remember();
    daemon.ping();
    let stop = daemon.main_loop().await?;
    daemon.stop(stop).await;
    Ok(())
}

impl Daemon {
    /// Runs the whole flow: waits for an event, takes it and what waits behind it into the facts,
    /// decides once for all of them, and hands out plans and pictures. Returns why it ends.
    async fn main_loop(&mut self) -> Result<Stop, Fatal> {
        loop {
            let Some(event) = self.next_event().await? else { continue };
            let mut transitions = std::mem::take(&mut self.unpublished);
            let (mut news, mut can_wait) = (false, true);
            let mut next = Some(event);
            for _ in 0..BATCH {
                let Some(event) = next else { break };
                if let Event::Stop(stop) = event {
                    self.facts.apply(&event, clock::now());
                    return Ok(stop);
                }
                if self.take(&event, &mut transitions).await {
                    news = true;
                    can_wait &= is_of_strangers(&event);
                }
                next = self.queue.try_recv().ok();
            }
            if can_wait && self.waits() && (news || !transitions.is_empty()) {
                self.unpublished = transitions;
            } else if news || !transitions.is_empty() {
                self.publish_at = None;
                self.publish(&transitions).await;
                self.keep_orders();
            }
            self.check_start()?;
        }
    }

    /// Returns whether what strangers bring about is to wait a moment: the first time it does not.
    fn waits(&mut self) -> bool {
        let now = Timer::now();
        let at = self.publish_at.unwrap_or_else(|| self.pace.next(now));
        self.publish_at = (at > now).then_some(at);
        self.publish_at.is_some()
    }

    /// Waits for whatever comes first. `None`: only the watchdog's turn.
    async fn next_event(&mut self) -> Result<Option<Event>, Fatal> {
        let tick = reached(self.facts.next_deadline().map(timer));
        let publish = reached(self.publish_at);
        tokio::select! {
            // The ping first: no flood of events may hold it up.
            biased;
            () = sleep_until(self.ping_at) => {
                self.ping();
                Ok(None)
            }
            event = self.queue.recv() => Ok(event),
            () = tick => Ok(Some(Event::Tick)),
            () = publish => Ok(Some(Event::Tick)),
            Some(failure) = self.failures.recv() => {
                self.source_failed(&failure)?;
                Ok(None)
            }
            Some(what) = self.lost.recv() => {
                self.journal.write(&journal::not_written(&what));
                Ok(None)
            }
            Some(loaded) = self.loaded.1.recv() => {
                let mut transitions = std::mem::take(&mut self.unpublished);
                transitions.extend(self.finish_reload(loaded).await);
                self.publish(&transitions).await;
                self.keep_orders();
                self.check_start()?;
                Ok(None)
            }
            Some(request) = self.requests.recv() => {
                self.order(request).await;
                Ok(None)
            }
        }
    }

    /// Reports to the panel that the main loop lives, and to the service manager if the essential
    /// outputs live too.
    fn ping(&mut self) {
        let interval =
            service_manager::watchdog_interval().map_or(RENEWAL, |allowed| allowed.min(RENEWAL));
        self.ping_at = next_aligned(interval);
        self.outputs.renew_dead_man();
        self.journal.expect(self.options.settings.nodes.len());
        self.journal.report_left_out();
        // Who came or went made lists of all nodes anew; not each time: many come together.
        let topology_version = self.facts.nodes().topology_version;
        if std::mem::replace(&mut self.topology_trimmed, topology_version) != topology_version {
            malloc::trim();
        }
        match self.outputs.overdue() {
            None => {
                self.overdue = None;
                service_manager::watchdog();
            }
            // The loop lives, the gateway does not: only the service manager can begin it again.
            Some(output) => {
                if self.overdue.replace(output) != Some(output) {
                    self.journal.write(&journal::overdue(output));
                }
            }
        }
    }

    /// Takes one event in. Returns whether outputs may differ now.
    async fn take(&mut self, event: &Event, transitions: &mut Vec<Transition>) -> bool {
        match event {
            Event::Reload => {
                self.begin_reload();
                return false;
            }
            Event::Order(Order::Acknowledge) => {
                transitions.extend(self.acknowledge());
                return true;
            }
            Event::Button(Button::Next) => {
                self.outputs.next_page();
                return false;
            }
            Event::Hotplug(device) => self.outputs.hotplug(device),
            _ => {}
        }
        let generation = self.facts.generation();
        let reported = self.facts.apply(event, clock::now());
        self.outputs.nodes_changed(&self.facts, &reported);
        if let Event::Probe(Probe::Nodes(rounds)) = event {
            self.outputs.round_trips(&self.facts, rounds);
        }
        let news = generation != self.facts.generation() || !reported.is_empty();
        transitions.extend(reported);
        news
    }

    /// Works out what should be true and hands it to everybody it concerns; the network half first.
    async fn publish(&mut self, transitions: &[Transition]) {
        if !self.facts.links().is_synced() {
            self.unpublished = transitions.to_vec();
            return;
        }
        let settings = &self.options.settings;
        let desired = self.decider.decide(settings, &self.facts);
        if let Some(standing) = acknowledge::still_standing(&self.facts, &desired) {
            let known = self.facts.acknowledged().len();
            self.facts.apply(&Event::Acknowledgement(standing), clock::now());
            if self.facts.acknowledged().len() != known {
                self.remember();
            }
        }
        self.facts.note_ordered(link_plan::ordered(&desired));
        let settings = &self.options.settings;
        let before = self.desired.as_ref();
        self.outputs.order(&desired, &self.facts.take_resyncs());
        let firewall_port = self.outputs.firewall_port();
        if before.is_none() {
            // The first rules are in the kernel, and watched, before anything is drawn or logged.
            self.plans.publish(settings, &self.facts, &desired, firewall_port);
            yield_now().await;
            // Before any board is heard: who had a name has it.
            let Options { run_directory, state_directory, .. } = &self.options;
            let files = [dhcp::leases(run_directory), dhcp::copied_leases(state_directory)];
            self.facts.restore_names(&leases::kept(&files));
            self.plans.begin_the_rest();
        }
        self.outputs.show(settings, &self.facts, &desired);
        for record in journal::records(transitions, before, &desired, &self.facts) {
            self.journal.write(&record);
        }
        self.plans.publish(settings, &self.facts, &desired, firewall_port);
        self.desired = Some(desired);
        self.order_shares();
        if transitions.contains(&Transition::PowerOffOrdered) {
            self.power_off();
        }
    }

    /// Reports READY when the gateway stands.
    fn check_start(&mut self) -> Result<(), Fatal> {
        if self.ready || !self.facts.links().is_synced() {
            return Ok(());
        }
        let reports = self.facts.outputs();
        for output in [Output::Firewall, Output::Link] {
            match reports.error(output) {
                Some(error) if error.kind == ApplyErrorKind::Unsupported => {
                    return Err(Fatal::Unsupported(error.message.clone()));
                }
                Some(error) if error.kind == ApplyErrorKind::Denied => {
                    return Err(Fatal::Denied(error.message.clone()));
                }
                // One that was just killed may need a moment to let go.
                Some(error) if error.kind == ApplyErrorKind::Held && self.age() >= LETTING_GO => {
                    return Err(Fatal::Held(error.message.clone()));
                }
                _ => {}
            }
        }
        if !self.options.settings.gateway.enabled || self.facts.stands() {
            self.ready = true;
            service_manager::ready();
            malloc::trim();
        }
        Ok(())
    }

    fn age(&self) -> Duration {
        self.facts.now().saturating_since(self.facts.started())
    }

    fn source_failed(&mut self, failure: &Failure) -> Result<(), Fatal> {
        if failure.essential {
            return Err(Fatal::CannotCreate(format!("{}: {}", failure.source, failure.error)));
        }
        self.journal.write(&journal::source_failed(failure.source, &failure.error.to_string()));
        Ok(())
    }

    /// Ends everything. A restart leaves everything as it is: the next instance adopts it.
    async fn stop(mut self, stop: Stop) {
        // Who waits for room in it would never end.
        self.queue.close();
        service_manager::stopping();
        self.journal.write(&journal::stopping(stop));
        self.drained.finish().await;
        self.shut_down.finish().await;
        self.usual.finish().await;
        self.known.finish().await;
        let settings = &self.options.settings;
        let remove = settings.gateway.on_stop == OnStop::Remove && stop == Stop::Terminated;
        let errors = self
            .outputs
            .stop(stop, remove, &self.options.state_directory, settings.lcd.geometry)
            .await;
        for error in errors {
            self.journal.write(&journal::not_put_back(&error));
        }
    }
}

/// Returns whether strangers can cause as many of these events as they like, from the cluster port.
const fn is_of_strangers(event: &Event) -> bool {
    matches!(
        event,
        Event::Neighbour(_)
            | Event::Lease(_)
            | Event::Dhcp(Dhcp::CallsItself { .. } | Dhcp::ServerLog(_))
    )
}

/// Returns a moment of the boot clock as one that the runtime can wait for.
fn timer(deadline: Instant) -> Timer {
    Timer::now() + deadline.saturating_since(clock::now())
}
