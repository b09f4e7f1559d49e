//! The daemon's event loop, which connects watches, facts, decisions and reconcilers. Start reading
//! at `Daemon::main_loop`: it is the whole flow.

mod commands;
mod deferral;
mod lock;
mod malloc;
mod operator;
mod outputs;
mod reconcilers;
mod reload;
mod state_file;
mod watchers;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::yield_now;
use tokio::time::{Instant as Timer, sleep_until};

use crate::clock;
use crate::config::{OnStop, Settings};
use crate::decide::{Decider, Desired, link as link_plan};
use crate::event::{
    ApplyErrorKind, Button, Dhcp, Event, Instant, Order, Output, Probe, Stop, Vital,
};
use crate::facts::{Facts, Transition};
use crate::files::reading;
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

use deferral::Deferral;
pub use lock::{InstanceLock, LockError};
use outputs::Outputs;
use reload::Loaded;
use state_file::StateFile;
use watchers::{Failure, Plans};

/// Capacity of the event queue. A full queue blocks the sources; when a netlink socket overruns
/// meanwhile, its source dumps the kernel's tables again.
const QUEUE: usize = 4096;
/// Limit on events applied to the facts before the result is published.
const BATCH: usize = 1024;
/// Interval at which the loop renews the dead-man timer of the panel's threads; it expires after
/// `SILENCE` of `reconcile::panel::device`.
const DEAD_MAN_RENEWAL: Duration = Duration::from_secs(10);

/// How long a previous instance may take to release our table.
const RELEASE_TIMEOUT: Duration = Duration::from_secs(1);

/// Loads the settings again; the error lists every fault.
pub type Load = Arc<dyn Fn() -> Result<Settings, String> + Send + Sync>;

/// Start parameters of the daemon.
pub struct Options {
    /// Shared with the facts: up to ten thousand nodes are in memory once.
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

/// Errors that end the daemon, each with its exit code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fatal {
    /// The kernel lacks a feature: 69.
    Unsupported(String),
    /// A required socket or file cannot be created at the start: 71.
    CannotCreate(String),
    /// A capability is missing: 77.
    Denied(String),
    /// Another instance is running: 75.
    Held(String),
}

struct Daemon {
    options: Options,
    queue: mpsc::Receiver<Event>,
    failures: mpsc::Receiver<Failure>,
    /// Requests from the control socket.
    requests: mpsc::Receiver<Request>,
    /// Results of a reload: the sender for the thread that reads, the receiver for the loop.
    loaded: (mpsc::Sender<Loaded>, mpsc::Receiver<Loaded>),
    /// A reload is in progress.
    reloading: bool,
    /// Another reload was requested meanwhile; start it when this one ends.
    reload_pending: bool,
    state: StateFiles,
    /// Write errors and damage of the state files, for the journal.
    state_errors: mpsc::UnboundedReceiver<String>,
    facts: Facts,
    plans: Plans,
    outputs: Outputs,
    journal: Arc<Journal>,
    decider: Decider,
    desired: Option<Desired>,
    share_orders: ShareOrders,
    /// Transitions from before the end of the initial dump, or deferred.
    unpublished: Vec<Transition>,
    /// Rate limit on publishing changes caused by untrusted hosts.
    deferral: Deferral,
    ready: bool,
    /// The essential output that was last reported as not responding.
    overdue: Option<Output>,
    ping_at: Timer,
    /// [`Nodes::topology_version`](crate::facts::node::Nodes) at the last `malloc_trim`.
    topology_trimmed: u64,
}

/// Lists in the state directory that outlive a restart.
struct StateFiles {
    /// Acknowledged alerts, by code and subject.
    acknowledged: StateFile,
    /// Nodes in maintenance.
    drained: StateFile,
    /// Nodes that were shut down and have not come back.
    shut_down: StateFile,
    /// Usual boot times of nodes.
    usual_times: StateFile,
    /// The boot-time sample count at the last save.
    saved_samples: u64,
}

/// Runs the daemon until a signal stops it, which may already be pending.
///
/// # Errors
/// The daemon cannot start. Once it runs, a part that fails is reported and retried instead.
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
    let (report_error, state_errors) = mpsc::unbounded_channel();
    let state = StateFiles::restore(&options.state_directory, &mut facts, &report_error);
    if let Some(error) = unkept {
        let _ = report_error.send(error);
    }
    let questions = Questions::default();
    let outputs = Outputs::spawn(&options, &events, questions.clone())?;
    let (requested, requests) = mpsc::channel(16);
    let control = (options.settings.sockets.control.as_path(), requested);
    let plans =
        watchers::spawn(signals, &events, &failed, &options.run_directory, control, questions);
    let mut daemon = Daemon {
        topology_trimmed: facts.nodes().topology_version,
        share_orders: ShareOrders::new(&options.run_directory),
        options,
        queue,
        failures,
        requests,
        loaded: mpsc::channel(1),
        reloading: false,
        reload_pending: false,
        state,
        state_errors,
        facts,
        plans,
        outputs,
        journal,
        decider: Decider::default(),
        desired: None,
        unpublished: Vec::new(),
        deferral: Deferral::new(Timer::now()),
        ready: false,
        overdue: None,
        ping_at: Timer::now(),
    };
    // Rewrites the format of an earlier version.
    daemon.save_acknowledged();
    daemon.ping();
    let stop = daemon.main_loop().await?;
    daemon.stop(stop).await;
    Ok(())
}

impl StateFiles {
    /// Restores the facts from the lists that an earlier run saved, and starts their writers.
    /// Damage and write errors go to `errors`.
    fn restore(
        directory: &Path,
        facts: &mut Facts,
        errors: &mpsc::UnboundedSender<String>,
    ) -> Self {
        let open = |name| StateFile::open(directory.join(name), errors.clone());
        let mut state = Self {
            acknowledged: open(operator::ACKNOWLEDGED),
            drained: open(commands::DRAINED),
            shut_down: open(commands::SHUT_DOWN),
            usual_times: open(commands::USUAL_TIMES),
            saved_samples: 0,
        };
        let (acknowledged, ambiguous) = operator::restored(state.acknowledged.lines());
        if let Some(error) = ambiguous {
            let _ = errors.send(error);
        }
        facts.apply(&Event::Acknowledgement(acknowledged), clock::now());
        facts.restore_drained(state.drained.lines());
        commands::restore_shut_down(facts, state.shut_down.lines());
        commands::restore_usual_times(facts, state.usual_times.lines());
        let marked = commands::marked_usual_times(state.usual_times.lines());
        state.usual_times.save(&marked);
        state
    }

    /// Waits until all lists are on disk, or the disk takes too long.
    async fn finish(&mut self) {
        self.drained.finish().await;
        self.shut_down.finish().await;
        self.usual_times.finish().await;
        self.acknowledged.finish().await;
    }
}

impl Daemon {
    /// Runs the whole flow: waits for an event, applies it and all queued ones to the facts,
    /// decides once for the batch, and publishes plans and frames. Returns the reason to stop.
    async fn main_loop(&mut self) -> Result<Stop, Fatal> {
        loop {
            let Some(event) = self.next_event().await? else { continue };
            let mut transitions = std::mem::take(&mut self.unpublished);
            let (mut changed, mut deferrable) = (false, true);
            let mut next = Some(event);
            for _ in 0..BATCH {
                let Some(event) = next else { break };
                if let Event::Stop(stop) = event {
                    self.facts.apply(&event, clock::now());
                    return Ok(stop);
                }
                if self.apply(&event, &mut transitions) {
                    changed = true;
                    deferrable &= is_untrusted(&event);
                }
                next = self.queue.try_recv().ok();
            }
            changed |= !transitions.is_empty();
            if self.deferral.publishes(changed, deferrable, Timer::now()) {
                self.publish(&transitions).await;
                self.save_node_orders();
            } else {
                self.unpublished = transitions;
            }
            self.check_start()?;
        }
    }

    /// Waits for the next event. Returns `None` after work that ends here, such as a watchdog ping.
    async fn next_event(&mut self) -> Result<Option<Event>, Fatal> {
        let tick = reached(self.facts.next_deadline().map(timer));
        let publish = reached(self.deferral.publish_at());
        tokio::select! {
            // The ping is first, so that a flood of events cannot delay it.
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
            Some(error) = self.state_errors.recv() => {
                self.journal.write(&journal::not_written(&error));
                Ok(None)
            }
            Some(loaded) = self.loaded.1.recv() => {
                let mut transitions = std::mem::take(&mut self.unpublished);
                transitions.extend(self.finish_reload(loaded).await);
                self.publish(&transitions).await;
                self.save_node_orders();
                self.check_start()?;
                Ok(None)
            }
            Some(request) = self.requests.recv() => {
                self.handle_request(request).await;
                Ok(None)
            }
        }
    }

    /// Renews the panel's dead-man timer, and the service manager's watchdog if all essential
    /// outputs respond.
    fn ping(&mut self) {
        let interval = service_manager::watchdog_interval()
            .map_or(DEAD_MAN_RENEWAL, |watchdog| watchdog.min(DEAD_MAN_RENEWAL));
        self.ping_at = next_aligned(interval);
        self.outputs.renew_dead_man();
        self.journal.expect(self.options.settings.nodes.len());
        self.journal.report_left_out();
        // Each change of topology rebuilt lists of all nodes. Trimming here, not at each change,
        // costs once for many that come together.
        let topology_version = self.facts.nodes().topology_version;
        if std::mem::replace(&mut self.topology_trimmed, topology_version) != topology_version {
            malloc::trim();
        }
        match self.outputs.overdue() {
            None => {
                self.overdue = None;
                service_manager::watchdog();
            }
            // The loop runs but an output hangs: let the watchdog expire, so that the service
            // manager restarts the daemon.
            Some(output) => {
                if self.overdue.replace(output) != Some(output) {
                    self.journal.write(&journal::overdue(output));
                }
            }
        }
    }

    /// Applies one event to the facts, or carries it out. Returns whether outputs may change.
    fn apply(&mut self, event: &Event, transitions: &mut Vec<Transition>) -> bool {
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
        let changed = generation != self.facts.generation() || !reported.is_empty();
        transitions.extend(reported);
        changed
    }

    /// Decides, and publishes the result to the network, then to the panel, the journal and the
    /// sources. Before the initial dump has ended it only stores the transitions.
    async fn publish(&mut self, transitions: &[Transition]) {
        if !self.facts.links().is_synced() {
            self.unpublished = transitions.to_vec();
            return;
        }
        let desired = self.decider.decide(&self.options.settings, &self.facts);
        self.drop_ended_acknowledgements(&desired);
        self.facts.note_ordered(link_plan::ordered(&desired));
        let settings = &self.options.settings;
        let before = self.desired.as_ref();
        self.outputs.order(&desired, &self.facts.take_resyncs());
        let firewall_port = self.outputs.firewall_port();
        if before.is_none() {
            // The first rules are in the kernel, and watched, before anything is drawn or logged.
            self.plans.publish(settings, &self.facts, &desired, firewall_port);
            yield_now().await;
            // Names are restored before the sources report nodes, so that each node keeps its name.
            let Options { run_directory, state_directory, .. } = &self.options;
            let files = [dhcp::leases(run_directory), dhcp::copied_leases(state_directory)];
            self.facts.restore_names(&leases::kept(&files));
            self.plans.start_deferred();
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

    /// Reports READY once the gateway is up.
    ///
    /// # Errors
    /// The kernel refused the firewall or the link settings before that.
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
                // An instance that was just killed may not have released the table yet.
                Some(error)
                    if error.kind == ApplyErrorKind::Held && self.uptime() >= RELEASE_TIMEOUT =>
                {
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

    fn uptime(&self) -> Duration {
        self.facts.now().saturating_since(self.facts.started())
    }

    /// Logs a source that failed.
    ///
    /// # Errors
    /// The daemon cannot work without that source.
    fn source_failed(&mut self, failure: &Failure) -> Result<(), Fatal> {
        if failure.essential {
            return Err(Fatal::CannotCreate(format!("{}: {}", failure.source, failure.error)));
        }
        self.journal.write(&journal::source_failed(failure.source, &failure.error.to_string()));
        Ok(())
    }

    /// Saves the state and stops the outputs. Only a termination with `on_stop = "remove"` removes
    /// the gateway from the kernel; otherwise the next instance adopts it.
    async fn stop(mut self, stop: Stop) {
        // A task that waits for room in the queue would never end.
        self.queue.close();
        service_manager::stopping();
        self.journal.write(&journal::stopping(stop));
        self.state.finish().await;
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

/// Returns whether any host at the cluster port can cause an unlimited number of these events.
const fn is_untrusted(event: &Event) -> bool {
    matches!(
        event,
        Event::Neighbour(_)
            | Event::Lease(_)
            | Event::Dhcp(Dhcp::CallsItself { .. } | Dhcp::ServerLog(_))
    )
}

/// Converts a deadline on the boot clock to the runtime's clock.
fn timer(deadline: Instant) -> Timer {
    Timer::now() + deadline.saturating_since(clock::now())
}
