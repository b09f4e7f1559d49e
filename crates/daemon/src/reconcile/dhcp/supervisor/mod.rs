//! The task itself: one dnsmasq at a time.

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
use super::log_parser::{self, Listener};
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

/// Pauses before dnsmasq is started again.
const PAUSES: Backoff =
    Backoff::new(Duration::from_millis(50), Duration::from_secs(10)).reset_after(LONG);
/// The longest pause when it was killed.
const KILLED_PAUSE: Duration = Duration::from_millis(400);
/// Bounds the ends of its own doing: more within this time are a crash loop.
const CRASH_LOOP: CrashLoop = CrashLoop::new(3, Duration::from_secs(60));
/// It says that it has started within milliseconds; who has not after this long never will.
const START: Duration = Duration::from_secs(5);
/// A process that ran so long ran well.
const LONG: Duration = Duration::from_secs(10);
/// A port that another process has is tried again so often.
const LOOK_AGAIN: Duration = Duration::from_secs(5);

/// Runs dnsmasq as it should be.
#[derive(Debug)]
pub struct Supervisor {
    folder: PathBuf,
    events: mpsc::Sender<Event>,
    listener: Listener,
    keep: LeaseStore,
    leases: Option<Watch>,
    transfers: Transfers,
    /// what is wanted
    wanted: Option<Files>,
    /// what the running one was given
    given: Option<Files>,
    running: Option<Running>,
    since: Instant,
    /// it has logged its start
    started: bool,
    last_words: String,
    crashes: CrashLoop,
    /// names are not served, though wanted
    without_names: Option<String>,
    pauses: Backoff,
    due: Option<Instant>,
    failure: Option<ApplyError>,
    /// the disk took no copy: reported once
    disk_failed: bool,
    /// asks whether it answers
    pulse: Option<Pulse>,
    signs: (mpsc::Sender<Sign>, mpsc::Receiver<Sign>),
    /// it was given a signal, and has to say something until then
    signalled: Option<Instant>,
    /// why it was asked by a signal: our questions go unanswered, and whether that was reported
    unanswered: bool,
    blocked_reported: bool,
    /// what nodes ask for on the wire
    asked: Questions,
    /// it heard none of it
    deaf: bool,
    /// so often may its files still be read once more for the names of leases
    readings: u8,
}

enum Happening {
    Wanted(bool),
    Line(String),
    Ended(io::Result<ExitStatus>),
    LeasesWritten,
    Due,
    Sign(Sign),
    SignalIgnored,
    Forgotten(Forgotten),
    /// a restart waits for files that are being sent
    Waiting,
}

impl Supervisor {
    pub fn new(
        folder: PathBuf,
        state_directory: &Path,
        events: mpsc::Sender<Event>,
        asked: Questions,
    ) -> Self {
        Self {
            keep: LeaseStore::new(folder.join("leases"), state_directory),
            folder,
            events,
            listener: Listener::default(),
            leases: None,
            transfers: Transfers::default(),
            wanted: None,
            given: None,
            running: None,
            since: Instant::now(),
            started: false,
            last_words: String::new(),
            crashes: CRASH_LOOP,
            without_names: None,
            pauses: PAUSES,
            due: None,
            failure: None,
            disk_failed: false,
            pulse: None,
            signs: mpsc::channel(4),
            signalled: None,
            unanswered: false,
            blocked_reported: false,
            asked,
            deaf: false,
            readings: 0,
        }
    }

    /// Supervises dnsmasq until the other end of `desired` is closed.
    pub async fn run(
        mut self,
        mut desired: watch::Receiver<Option<Files>>,
        mut orders: mpsc::UnboundedReceiver<Forgotten>,
    ) {
        loop {
            match self.next(&mut desired, &mut orders).await {
                Happening::Wanted(false) => break,
                Happening::Wanted(true) => {
                    let files = desired.borrow_and_update().clone();
                    self.want(files).await;
                }
                Happening::Line(line) => self.hear(&line).await,
                Happening::Ended(status) => self.ended(status).await,
                Happening::LeasesWritten => self.copy_leases().await,
                Happening::Due => self.look_again().await,
                Happening::Sign(sign) => self.seen(sign).await,
                Happening::SignalIgnored => self.hung("it does not answer").await,
                Happening::Forgotten(board) => self.forget(board).await,
                Happening::Waiting => self.want(self.wanted.clone()).await,
            }
        }
        self.stop().await;
    }

    async fn next(
        &mut self,
        desired: &mut watch::Receiver<Option<Files>>,
        orders: &mut mpsc::UnboundedReceiver<Forgotten>,
    ) -> Happening {
        let (running, leases, due) = (self.running.as_mut(), self.leases.as_mut(), self.due);
        let (signs, signalled) = (&mut self.signs.1, self.signalled);
        let ignored = reached(signalled);
        let says = async {
            match running {
                Some(running) => running.next().await,
                None => std::future::pending().await,
            }
        };
        let written = async {
            let seen = match leases {
                Some(watch) => watch.changed().await.is_ok(),
                None => false,
            };
            if !seen {
                // Where it cannot be watched there is nothing to wait for.
                std::future::pending::<()>().await;
            }
        };
        let (rings, looks) = (reached(due), reached(self.transfers.look_at()));
        tokio::select! {
            changed = desired.changed() => Happening::Wanted(changed.is_ok()),
            logged = says => logged.map_or_else(Happening::Ended, Happening::Line),
            () = written => Happening::LeasesWritten,
            () = rings => Happening::Due,
            Some(sign) = signs.recv() => Happening::Sign(sign),
            () = ignored => Happening::SignalIgnored,
            () = looks => Happening::Waiting,
            Some(board) = orders.recv() => Happening::Forgotten(board),
        }
    }
}

impl Supervisor {
    /// Brings dnsmasq to what is wanted: by a restart, by reading its files again, or not at all.
    async fn want(&mut self, files: Option<Files>) {
        self.wanted = files;
        let Some(wanted) = self.wanted.clone() else {
            self.stop().await;
            folder::clear(&self.folder);
            self.report(Ok(Applied::Done)).await;
            return;
        };
        let given = self.given.as_ref().filter(|_| self.running.is_some());
        if given.is_some_and(|given| given.has_main_of(&wanted)) {
            self.transfers.settled();
            return self.update(wanted).await;
        }
        // A server at another address, or port, serves no node that is loading a file.
        let stays = given
            .filter(|given| (given.address, &given.port) == (wanted.address, &wanted.port))
            .cloned();
        let (server, head) = (self.running.as_ref().and_then(Running::id), wanted.address.addr());
        if let Some(given) = stays.filter(|_| self.transfers.hold_up(server, head, Instant::now()))
        {
            let meanwhile = wanted.with_main_of(given);
            if self.given.as_ref() != Some(&meanwhile) {
                self.update(meanwhile).await;
            }
            return;
        }
        self.pauses.reset();
        self.restart().await;
    }

    /// Gives the running one other files to read; tried again if they cannot be written.
    async fn update(&mut self, wanted: Files) {
        if let Err(error) = self.write(&wanted) {
            return self.fail(DnsmasqError::NotWritten(error).into()).await;
        }
        if !self.reclaim(&wanted) {
            return self.restart().await;
        }
        self.expect_names(&wanted);
        self.running.iter().for_each(Running::reload);
        self.given = Some(wanted);
        if self.started && self.failure.is_some() {
            self.pauses.reset();
            self.settle().await;
        }
    }

    /// Takes what the settings give to a board from others who have it, where the settings have
    /// changed. `false`: dnsmasq has to start anew for that.
    fn reclaim(&mut self, wanted: &Files) -> bool {
        let homes = &wanted.nodes.homes;
        if homes.is_empty() || self.given.as_ref().is_some_and(|given| given.nodes.homes == *homes)
        {
            return true;
        }
        reclaim::take_back(wanted, &self.keep.entries()).unwrap_or_else(|error| {
            let text = "a board may get the address that the settings give it only when another's lease ends";
            self.emit(log_parser::trouble(format!("{text}: {error}")));
            true
        })
    }

    /// Forgets where a board was, and ends its lease.
    async fn forget(&mut self, (mac, reply): Forgotten) {
        let mut result = self.keep.forget(mac);
        if let Some(given) = self.given.as_ref().filter(|_| self.running.is_some()) {
            let entries = self.keep.entries();
            let leases: Vec<_> = entries.iter().filter(|entry| entry.mac == mac).collect();
            result = result.and(reclaim::release(&given.port, given.address.addr(), &leases));
        }
        self.rewrite().await;
        let _ = reply.send(result.map_err(|error| format!("not forgotten for good: {error}")));
    }

    /// Reports that it runs and has what is wanted. One that has ended too often must run well for
    /// a while first.
    async fn settle(&mut self) {
        let without_names = self.without_names.clone();
        self.due = if self.crashes.is_looping() {
            Some(self.since + LONG)
        } else {
            without_names.is_some().then(|| Instant::now() + LOOK_AGAIN)
        };
        if !self.crashes.is_looping() {
            self.report(Ok(Applied::Dnsmasq { without_names })).await;
        }
    }

    async fn restart(&mut self) {
        self.end().await;
        self.transfers.settled();
        self.due = None;
        let Some(wanted) = self.wanted.clone() else { return };
        if let Err(error) = self.start(&wanted) {
            self.fail(error.into()).await;
        }
    }

    fn start(&mut self, wanted: &Files) -> Result<(), DnsmasqError> {
        let program = child::program().ok_or(DnsmasqError::NotInstalled)?;
        let taken = if wanted.config == wanted.config_without_names {
            None
        } else {
            port::try_dns(wanted.address.addr())
                .err()
                .filter(|error| error.kind() == io::ErrorKind::AddrInUse)
        };
        self.without_names = taken.map(|_| {
            let head = wanted.address.addr();
            format!("another program has port 53 on {head} (`sudo bramblegate doctor` names it)")
        });
        Folder::make(&self.folder, 0o700)?;
        if self.leases.is_none() {
            self.leases = Watch::open(&self.folder.join("leases"))
                .inspect_err(|error| debug!(%error, "the leases cannot be watched, so no copy of them is kept"))
                .ok();
        }
        let (leases, damage) =
            self.keep.prepare(wanted.address, wanted.range, &wanted.nodes.homes)?;
        self.write(wanted)?;
        self.listener.remember(&leases);
        for text in damage {
            self.emit(log_parser::trouble(text));
        }
        let running = Running::start(&program, &self.folder.join("main"), self.asked.clone())
            .map_err(|source| DnsmasqError::NotStarted { program, source })?;
        self.reclaim(wanted);
        (self.running, self.given) = (Some(running), Some(wanted.clone()));
        (self.since, self.started) = (Instant::now(), false);
        self.due = Some(self.since + START);
        self.last_words.clear();
        Ok(())
    }

    fn write(&self, files: &Files) -> io::Result<()> {
        let away = self.keep.away(files.address, files.range);
        let hosts = self.keep.reservations(&files.nodes.hosts, &away, &files.nodes.lease);
        folder::write(&self.folder, files, &hosts, self.without_names.is_none())
    }

    async fn hear(&mut self, line: &str) {
        let Some((part, text)) = log_parser::split(line) else {
            debug!(line, "not a line of dnsmasq's");
            return;
        };
        trace!(target: "dnsmasq", "{part}: {text}");
        self.answered_signal();
        self.transfers.heard(part, text, Instant::now());
        // A board that is here needs an address more than one that was; it asks again within
        // seconds.
        if text.contains("no address available") && self.keep.let_go() {
            return self.rewrite().await;
        }
        if text.starts_with("started, version") {
            self.started = true;
            self.hears(true).await;
            self.ask_for_its_pulse();
            return self.settle().await;
        }
        self.follow_names(text);
        text.clone_into(&mut self.last_words);
        // What it says before it ends at its start becomes the error itself.
        if let Some(event) = self.listener.hear(line).filter(|_| self.started) {
            self.emit(event);
        }
    }

    async fn ended(&mut self, status: io::Result<ExitStatus>) {
        (self.pulse, self.signalled) = (None, None);
        let how = status.as_ref().map_or_else(ToString::to_string, ToString::to_string);
        let cause =
            self.running.take().zip(status.ok()).map_or(ExitCause::Own, |(running, status)| {
                running.sweep();
                running.cause(status)
            });
        let killed = cause == ExitCause::Killed;
        if !self.started {
            let why =
                if self.last_words.is_empty() { "it printed no reason" } else { &self.last_words };
            let error = if port::is_dhcp_taken(why) {
                DnsmasqError::DhcpPortTaken
            } else {
                DnsmasqError::EndsAtOnce { why: why.to_owned(), how }
            };
            self.fail(error.into()).await;
            return;
        }
        // Not one record more or less: no other part reports that names and addresses were gone for
        // a moment.
        let _ = self
            .events
            .send(log_parser::trouble(cause.sentence("dnsmasq", &how, &self.last_words)))
            .await;
        // A process that was killed did not end by itself; who takes more memory than there is
        // will do so again.
        debug!(%how, ?cause, "dnsmasq ended");
        if !killed && self.crashes.ended(Instant::now()) {
            let why = self.last_words.clone();
            self.report(Err(DnsmasqError::EndsAgain { why, how }.into())).await;
        }
        if self.pauses.ran_well(self.since.elapsed()) {
            self.pauses.reset();
        }
        let pause =
            if killed { self.pauses.pause_within(KILLED_PAUSE) } else { self.pauses.pause() };
        debug!(?pause, "dnsmasq is started again after a pause");
        self.due = Some(Instant::now() + pause);
    }

    /// Notes that it could not be started: reported once for each reason, and tried again.
    async fn fail(&mut self, error: ApplyError) {
        debug!(error = %error.message, pause = ?self.pauses.upcoming(), "dnsmasq is not as it should be; tried again");
        if self.failure.as_ref() != Some(&error) {
            self.report(Err(error)).await;
        }
        self.due = Some(Instant::now() + self.pauses.pause());
    }

    /// Tries again what is due: to start, to write, or whether the port of DNS is free now; or sees
    /// that it runs well.
    async fn look_again(&mut self) {
        if self.running.is_some() {
            if !self.started {
                self.end().await;
                return self
                    .fail(DnsmasqError::StartsTooLong { seconds: START.as_secs() }.into())
                    .await;
            }
            if let Some(wanted) =
                self.wanted.clone().filter(|wanted| self.given.as_ref() != Some(wanted))
            {
                return self.want(Some(wanted)).await;
            }
            if self.crashes.is_looping() && self.since.elapsed() >= LONG {
                self.crashes.reset();
                return self.settle().await;
            }
        }
        let taken =
            self.given.as_ref().filter(|_| self.running.is_some() && self.without_names.is_some());
        if taken.is_some_and(|files| port::try_dns(files.address.addr()).is_err()) {
            self.due = Some(Instant::now() + LOOK_AGAIN);
        } else {
            self.restart().await;
        }
    }

    async fn copy_leases(&mut self) {
        let Some(watch) = &mut self.leases else { return };
        let leases = watch.read().await;
        // Nothing was lost on the disk by what is being written in memory.
        if !leases.damaged.is_empty() {
            debug!(damaged = leases.damaged.len(), "the leases are not whole; not copied");
            return;
        }
        for event in self.listener.given(&leases) {
            self.emit(event);
        }
        let given = self.given.clone();
        let away =
            |keep: &LeaseStore| given.as_ref().map(|given| keep.away(given.address, given.range));
        let before = away(&self.keep);
        let copied =
            self.keep.copy(&leases, given.as_ref().map_or(&[], |given| &given.nodes.homes));
        if away(&self.keep) != before {
            self.rewrite().await;
        }
        match copied {
            Ok(_) => self.disk_failed = false,
            Err(error) if !self.disk_failed => {
                self.disk_failed = true;
                let place = self.keep.place().display().to_string();
                self.emit(log_parser::trouble(format!(
                    "{place} cannot be written, so leases would not outlive a power cut: {error}"
                )));
            }
            Err(_) => {}
        }
    }

    /// Writes the files of the running one again, for others are away now.
    async fn rewrite(&mut self) {
        if let Some(given) = self.given.clone().filter(|_| self.running.is_some()) {
            self.update(given).await;
        }
    }

    /// Ends dnsmasq, with its leases on the disk.
    async fn stop(&mut self) {
        self.hears(true).await;
        self.due = None;
        self.transfers.settled();
        if self.running.is_some() {
            self.end().await;
            self.copy_leases().await;
        }
        self.given = None;
        self.crashes.reset();
    }

    async fn end(&mut self) {
        (self.pulse, self.signalled) = (None, None);
        if let Some(running) = self.running.take() {
            running.end().await;
        }
    }

    async fn report(&mut self, result: Result<Applied, ApplyError>) {
        self.failure = result.as_ref().err().cloned();
        let _ =
            self.events.send(Event::Applied(ApplyReport { output: Output::Dnsmasq, result })).await;
    }

    /// Sends a record. The loop is not waited for: it may be lost.
    fn emit(&self, event: Event) {
        if let Err(error) = self.events.try_send(event) {
            debug!(%error, "the loop has no room for a line of dnsmasq's");
        }
    }
}
