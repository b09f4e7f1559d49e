//! The task that supervises a dnsmasq process.

mod hang;
mod names;

use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tracing::{debug, trace};

use super::Forgotten;
use super::child::{self, Running};
use super::error::DnsmasqError;
use super::folder;
use super::lease_store::LeaseStore;
use super::log_parser::{self, LogParser};
use super::port;
use super::pulse::{Pulse, Sign};
use super::reclaim;
use super::transfers::Transfers;
use crate::event::{Applied, ApplyError, ApplyReport, Event, Output};
use crate::files::folder::Folder;
use crate::supervise::{Backoff, CrashLoop, ExitCause};
use crate::sync::reached;
use crate::view::dhcp::Files;
use crate::watch::dhcp::Questions;
use crate::watch::dhcp::leases::Watch;

/// Pauses before a restart.
const BACKOFF: Backoff =
    Backoff::new(Duration::from_millis(50), Duration::from_secs(10)).reset_after(STABLE);
/// The longest pause after a kill by another process.
const KILLED_PAUSE: Duration = Duration::from_millis(400);
/// Limit on exits not caused by a kill.
const CRASH_LOOP: CrashLoop = CrashLoop::new(3, Duration::from_secs(60));
/// Timeout for the line that logs the start, which takes milliseconds.
const START: Duration = Duration::from_secs(5);
/// A process that ran this long is stable.
const STABLE: Duration = Duration::from_secs(10);
/// Interval of checks whether another process still holds the DNS port.
const PORT_CHECK: Duration = Duration::from_secs(5);

/// Supervises one dnsmasq process at a time.
#[derive(Debug)]
pub struct Supervisor {
    folder: PathBuf,
    events: mpsc::Sender<Event>,
    log_parser: LogParser,
    store: LeaseStore,
    leases: Option<Watch>,
    transfers: Transfers,
    desired: Option<Files>,
    /// The files of the running process.
    applied: Option<Files>,
    running: Option<Running>,
    /// When the process was started.
    since: Instant,
    /// The process has logged its start.
    started: bool,
    last_line: String,
    crashes: CrashLoop,
    /// Why names are not served, though desired.
    without_names: Option<String>,
    backoff: Backoff,
    /// When [`Self::on_timer`] is due.
    timer: Option<Instant>,
    /// The failure last reported.
    failure: Option<ApplyError>,
    /// The failure to copy the leases was reported.
    disk_failed: bool,
    /// The health check.
    pulse: Option<Pulse>,
    signs: (mpsc::Sender<Sign>, mpsc::Receiver<Sign>),
    /// Until when the process must log something in response to a signal.
    signal_deadline: Option<Instant>,
    /// The signal was sent because a DNS query got no reply.
    unanswered: bool,
    /// The lost queries were reported.
    blocked_reported: bool,
    /// DHCP requests of nodes on the wire.
    questions: Questions,
    /// None of those requests reaches the process.
    deaf: bool,
    /// How many reloads may still follow to update the names of leases.
    reloads_left: u8,
}

enum Wake {
    /// A new desired state, or false once the sender is dropped.
    Desired(bool),
    Line(String),
    Exited(io::Result<ExitStatus>),
    LeasesWritten,
    Timer,
    Sign(Sign),
    SignalIgnored,
    Forget(Forgotten),
    /// A restart waits for the end of TFTP transfers.
    CheckTransfers,
}

impl Supervisor {
    pub fn new(
        folder: PathBuf,
        state_directory: &Path,
        events: mpsc::Sender<Event>,
        questions: Questions,
    ) -> Self {
        Self {
            store: LeaseStore::new(folder.join("leases"), state_directory),
            folder,
            events,
            log_parser: LogParser::default(),
            leases: None,
            transfers: Transfers::default(),
            desired: None,
            applied: None,
            running: None,
            since: Instant::now(),
            started: false,
            last_line: String::new(),
            crashes: CRASH_LOOP,
            without_names: None,
            backoff: BACKOFF,
            timer: None,
            failure: None,
            disk_failed: false,
            pulse: None,
            signs: mpsc::channel(4),
            signal_deadline: None,
            unanswered: false,
            blocked_reported: false,
            questions,
            deaf: false,
            reloads_left: 0,
        }
    }

    /// Supervises dnsmasq until the sender of `desired` is dropped.
    pub async fn run(
        mut self,
        mut desired: watch::Receiver<Option<Files>>,
        mut requests: mpsc::UnboundedReceiver<Forgotten>,
    ) {
        loop {
            match self.next(&mut desired, &mut requests).await {
                Wake::Desired(false) => break,
                Wake::Desired(true) => {
                    let files = desired.borrow_and_update().clone();
                    self.apply(files).await;
                }
                Wake::Line(line) => self.on_line(&line).await,
                Wake::Exited(status) => self.on_exit(status).await,
                Wake::LeasesWritten => self.copy_leases().await,
                Wake::Timer => self.on_timer().await,
                Wake::Sign(sign) => self.on_sign(sign).await,
                Wake::SignalIgnored => self.on_hang("it does not answer").await,
                Wake::Forget(node) => self.forget(node).await,
                Wake::CheckTransfers => self.apply(self.desired.clone()).await,
            }
        }
        self.stop().await;
    }

    async fn next(
        &mut self,
        desired: &mut watch::Receiver<Option<Files>>,
        requests: &mut mpsc::UnboundedReceiver<Forgotten>,
    ) -> Wake {
        let (running, leases, signs) =
            (self.running.as_mut(), self.leases.as_mut(), &mut self.signs.1);
        let logged = async {
            match running {
                Some(running) => running.next().await,
                None => std::future::pending().await,
            }
        };
        let written = async {
            let changed = match leases {
                Some(watch) => watch.changed().await.is_ok(),
                None => false,
            };
            if !changed {
                // Without a watch no change is ever reported.
                std::future::pending::<()>().await;
            }
        };
        tokio::select! {
            changed = desired.changed() => Wake::Desired(changed.is_ok()),
            logged = logged => logged.map_or_else(Wake::Exited, Wake::Line),
            () = written => Wake::LeasesWritten,
            () = reached(self.timer) => Wake::Timer,
            Some(sign) = signs.recv() => Wake::Sign(sign),
            () = reached(self.signal_deadline) => Wake::SignalIgnored,
            () = reached(self.transfers.next_check()) => Wake::CheckTransfers,
            Some(node) = requests.recv() => Wake::Forget(node),
        }
    }
}

impl Supervisor {
    /// Brings dnsmasq to the desired files, by a reload or a restart if they changed.
    async fn apply(&mut self, files: Option<Files>) {
        self.desired = files;
        let Some(desired) = self.desired.clone() else {
            self.stop().await;
            folder::clear(&self.folder);
            self.report(Ok(Applied::Done)).await;
            return;
        };
        let applied = self.applied.as_ref().filter(|_| self.running.is_some());
        if applied.is_some_and(|applied| applied.has_main_of(&desired)) {
            self.transfers.restarted();
            return self.update(desired).await;
        }
        // Transfers delay a restart only while the server's address and port stay the same.
        let stays = applied
            .filter(|applied| (applied.address, &applied.port) == (desired.address, &desired.port))
            .cloned();
        let (server, head) = (self.running.as_ref().and_then(Running::id), desired.address.addr());
        if let Some(applied) =
            stays.filter(|_| self.transfers.delays_restart(server, head, Instant::now()))
        {
            let meanwhile = desired.with_main_of(applied);
            if self.applied.as_ref() != Some(&meanwhile) {
                self.update(meanwhile).await;
            }
            return;
        }
        self.backoff.reset();
        self.restart().await;
    }

    /// Writes the files and reloads dnsmasq. If they cannot be written, it is retried.
    async fn update(&mut self, desired: Files) {
        if let Err(error) = self.write(&desired) {
            return self.fail(DnsmasqError::NotWritten(error).into()).await;
        }
        if !self.reclaim(&desired) {
            return self.restart().await;
        }
        self.expect_names(&desired);
        self.running.iter().for_each(Running::reload);
        self.applied = Some(desired);
        if self.started && self.failure.is_some() {
            self.backoff.reset();
            self.settle().await;
        }
    }

    /// Takes addresses that the settings newly assign to a node from the nodes that have them.
    /// Returns whether that needs no restart.
    fn reclaim(&mut self, desired: &Files) -> bool {
        let homes = &desired.nodes.homes;
        if homes.is_empty()
            || self.applied.as_ref().is_some_and(|applied| applied.nodes.homes == *homes)
        {
            return true;
        }
        reclaim::take_back(desired, &self.store.entries()).unwrap_or_else(|error| {
            let text = "a board may get the address that the settings give it only when another's lease ends";
            self.emit(log_parser::trouble(format!("{text}: {error}")));
            true
        })
    }

    /// Forgets the address of a node, and releases its lease.
    async fn forget(&mut self, (mac, reply): Forgotten) {
        let mut result = self.store.forget(mac);
        if let Some(applied) = self.applied.as_ref().filter(|_| self.running.is_some()) {
            let entries = self.store.entries();
            let leases: Vec<_> = entries.iter().filter(|entry| entry.mac == mac).collect();
            result = result.and(reclaim::release(&applied.port, applied.address.addr(), &leases));
        }
        self.rewrite().await;
        let _ = reply.send(result.map_err(|error| format!("not forgotten for good: {error}")));
    }

    /// Reports success, or, in a crash loop, waits until the process is stable.
    async fn settle(&mut self) {
        let without_names = self.without_names.clone();
        self.timer = if self.crashes.is_looping() {
            Some(self.since + STABLE)
        } else {
            without_names.is_some().then(|| Instant::now() + PORT_CHECK)
        };
        if !self.crashes.is_looping() {
            self.report(Ok(Applied::Dnsmasq { without_names })).await;
        }
    }

    async fn restart(&mut self) {
        self.end().await;
        self.transfers.restarted();
        self.timer = None;
        let Some(desired) = self.desired.clone() else { return };
        if let Err(error) = self.start(&desired) {
            self.fail(error.into()).await;
        }
    }

    fn start(&mut self, desired: &Files) -> Result<(), DnsmasqError> {
        let program = child::program().ok_or(DnsmasqError::NotInstalled)?;
        let head = desired.address.addr();
        let serves_names = desired.config != desired.config_without_names;
        let is_taken = serves_names
            && port::try_dns(head).is_err_and(|error| error.kind() == io::ErrorKind::AddrInUse);
        self.without_names = is_taken.then(|| {
            format!("another program has port 53 on {head} (`sudo bramblegate doctor` names it)")
        });
        Folder::make(&self.folder, 0o700)?;
        if self.leases.is_none() {
            self.leases = Watch::open(&self.folder.join("leases"))
                .inspect_err(|error| debug!(%error, "the leases cannot be watched, so no copy of them is kept"))
                .ok();
        }
        let (leases, damage) =
            self.store.prepare(desired.address, desired.range, &desired.nodes.homes)?;
        self.write(desired)?;
        self.log_parser.remember(&leases);
        for text in damage {
            self.emit(log_parser::trouble(text));
        }
        let running = Running::start(&program, &self.folder.join("main"), self.questions.clone())
            .map_err(|source| DnsmasqError::NotStarted { program, source })?;
        self.reclaim(desired);
        (self.running, self.applied) = (Some(running), Some(desired.clone()));
        (self.since, self.started) = (Instant::now(), false);
        self.timer = Some(self.since + START);
        self.last_line.clear();
        Ok(())
    }

    fn write(&self, files: &Files) -> io::Result<()> {
        let away = self.store.away(files.address, files.range);
        let hosts = self.store.reservations(&files.nodes.hosts, &away, &files.nodes.lease);
        folder::write(&self.folder, files, &hosts, self.without_names.is_none())
    }

    async fn on_line(&mut self, line: &str) {
        let Some((part, text)) = log_parser::split(line) else {
            debug!(line, "not a line of dnsmasq's");
            return;
        };
        trace!(target: "dnsmasq", "{part}: {text}");
        self.on_response();
        self.transfers.on_line(part, text, Instant::now());
        // A present node takes precedence over an absent one; it repeats its request within
        // seconds.
        if text.contains("no address available") && self.store.let_go() {
            return self.rewrite().await;
        }
        if text.starts_with("started, version") {
            self.started = true;
            self.set_deaf(false).await;
            self.start_pulse();
            return self.settle().await;
        }
        self.follow_names(text);
        text.clone_into(&mut self.last_line);
        // The last line of a failed start becomes part of the error.
        if let Some(event) = self.log_parser.event(line).filter(|_| self.started) {
            self.emit(event);
        }
    }

    async fn on_exit(&mut self, status: io::Result<ExitStatus>) {
        (self.pulse, self.signal_deadline) = (None, None);
        let how = status.as_ref().map_or_else(ToString::to_string, ToString::to_string);
        let cause =
            self.running.take().zip(status.ok()).map_or(ExitCause::Own, |(running, status)| {
                running.sweep();
                running.cause(status)
            });
        let killed = cause == ExitCause::Killed;
        if !self.started {
            let why =
                if self.last_line.is_empty() { "it printed no reason" } else { &self.last_line };
            let error = if port::is_dhcp_taken(why) {
                DnsmasqError::DhcpPortTaken
            } else {
                DnsmasqError::EndsAtOnce { why: why.to_owned(), how }
            };
            self.fail(error.into()).await;
            return;
        }
        // Sent, not emitted: this is the only record of the interruption, so it must not be lost.
        let _ = self
            .events
            .send(log_parser::trouble(cause.sentence("dnsmasq", &how, &self.last_line)))
            .await;
        // A kill by another process is no crash. One by the OOM killer counts as such, since it
        // will happen again.
        debug!(%how, ?cause, "dnsmasq ended");
        if !killed && self.crashes.ended(Instant::now()) {
            let why = self.last_line.clone();
            self.report(Err(DnsmasqError::EndsAgain { why, how }.into())).await;
        }
        if self.backoff.ran_well(self.since.elapsed()) {
            self.backoff.reset();
        }
        let pause =
            if killed { self.backoff.pause_within(KILLED_PAUSE) } else { self.backoff.pause() };
        debug!(?pause, "dnsmasq is started again after a pause");
        self.timer = Some(Instant::now() + pause);
    }

    /// Reports an error unless it is the one reported last, and schedules a retry.
    async fn fail(&mut self, error: ApplyError) {
        debug!(error = %error.message, pause = ?self.backoff.upcoming(), "dnsmasq is not as it should be; tried again");
        if self.failure.as_ref() != Some(&error) {
            self.report(Err(error)).await;
        }
        self.timer = Some(Instant::now() + self.backoff.pause());
    }

    /// Handles the timer: a start that timed out, a retry, the end of a crash loop, or a check
    /// whether the DNS port is free.
    async fn on_timer(&mut self) {
        if self.running.is_some() {
            if !self.started {
                self.end().await;
                return self
                    .fail(DnsmasqError::StartsTooLong { seconds: START.as_secs() }.into())
                    .await;
            }
            if let Some(desired) =
                self.desired.clone().filter(|desired| self.applied.as_ref() != Some(desired))
            {
                return self.apply(Some(desired)).await;
            }
            if self.crashes.is_looping() && self.since.elapsed() >= STABLE {
                self.crashes.reset();
                return self.settle().await;
            }
        }
        let without_names = self
            .applied
            .as_ref()
            .filter(|_| self.running.is_some() && self.without_names.is_some());
        if without_names.is_some_and(|files| port::try_dns(files.address.addr()).is_err()) {
            self.timer = Some(Instant::now() + PORT_CHECK);
        } else {
            self.restart().await;
        }
    }

    /// Reports new leases, copies the leases to the disk, and updates the reservations of absent
    /// nodes.
    async fn copy_leases(&mut self) {
        let Some(watch) = &mut self.leases else { return };
        let leases = watch.read().await;
        // dnsmasq is still writing the file, so the copy on the disk stays.
        if !leases.damaged.is_empty() {
            debug!(damaged = leases.damaged.len(), "the leases are not whole; not copied");
            return;
        }
        for event in self.log_parser.new_leases(&leases) {
            self.emit(event);
        }
        let applied = self.applied.clone();
        let away = |store: &LeaseStore| {
            applied.as_ref().map(|applied| store.away(applied.address, applied.range))
        };
        let before = away(&self.store);
        let homes = applied.as_ref().map_or(&[][..], |applied| &applied.nodes.homes);
        let copied = self.store.copy(&leases, homes);
        if away(&self.store) != before {
            self.rewrite().await;
        }
        match copied {
            Ok(_) => self.disk_failed = false,
            Err(error) if !self.disk_failed => {
                self.disk_failed = true;
                let path = self.store.copy_path().display();
                self.emit(log_parser::trouble(format!(
                    "{path} cannot be written, so leases would not outlive a power cut: {error}"
                )));
            }
            Err(_) => {}
        }
    }

    /// Updates the running process after the set of absent nodes changed.
    async fn rewrite(&mut self) {
        if let Some(applied) = self.applied.clone().filter(|_| self.running.is_some()) {
            self.update(applied).await;
        }
    }

    /// Ends dnsmasq and copies its leases to the disk.
    async fn stop(&mut self) {
        self.set_deaf(false).await;
        self.timer = None;
        self.transfers.restarted();
        if self.running.is_some() {
            self.end().await;
            self.copy_leases().await;
        }
        self.applied = None;
        self.crashes.reset();
    }

    async fn end(&mut self) {
        (self.pulse, self.signal_deadline) = (None, None);
        if let Some(running) = self.running.take() {
            running.end().await;
        }
    }

    async fn report(&mut self, result: Result<Applied, ApplyError>) {
        self.failure = result.as_ref().err().cloned();
        let _ =
            self.events.send(Event::Applied(ApplyReport { output: Output::Dnsmasq, result })).await;
    }

    /// Sends a record without waiting; it is dropped if the queue is full.
    fn emit(&self, event: Event) {
        if let Err(error) = self.events.try_send(event) {
            debug!(%error, "the loop has no room for a line of dnsmasq's");
        }
    }
}
