//! The task itself: one dnsmasq at a time.

mod hang;

use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use super::Forgotten;
use super::child::{self, Running};
use super::death::Death;
use super::folder;
use super::keep::Keep;
use super::port;
use super::pulse::{Pulse, Sign};
use super::reclaim;
use super::said::{self, Listener};
use super::steadiness::Steadiness;
use super::transfers::Transfers;
use crate::event::{Applied, ApplyError, ApplyErrorKind, ApplyReport, Event, Output};
use crate::render::dnsmasq::Files;
use crate::source::alarm;
use crate::source::dhcp::Questions;
use crate::source::folder::Folder;
use crate::source::leases::Watch;

/// How long it waits before dnsmasq is started again: at first, at most when somebody killed it, and at most when it does
/// not bear its life.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const KILLED_PAUSE: Duration = Duration::from_millis(400);
const LAST_PAUSE: Duration = Duration::from_secs(10);
/// It says that it has started within milliseconds; who has not after this long never will.
const START: Duration = Duration::from_secs(5);
/// Whoever ran so long ran well.
const LONG: Duration = Duration::from_secs(10);
/// A port that somebody else has is tried again so often.
const LOOK_AGAIN: Duration = Duration::from_secs(5);

/// Runs dnsmasq as it should be.
#[derive(Debug)]
pub struct Supervisor {
    folder: PathBuf,
    events: mpsc::Sender<Event>,
    listener: Listener,
    keep: Keep,
    leases: Option<Watch>,
    transfers: Transfers,
    /// what is wanted
    wanted: Option<Files>,
    /// what the running one was given
    given: Option<Files>,
    running: Option<Running>,
    since: Instant,
    /// it said that it has started
    started: bool,
    last_words: String,
    steadiness: Steadiness,
    /// names are not served, though wanted
    without_names: Option<String>,
    pause: Duration,
    due: Option<Instant>,
    failure: Option<ApplyError>,
    /// the disk took no copy: said once
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
    pub fn new(folder: PathBuf, state_directory: &Path, events: mpsc::Sender<Event>, asked: Questions) -> Self {
        Self {
            keep: Keep::new(folder.join("leases"), state_directory),
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
            steadiness: Steadiness::default(),
            without_names: None,
            pause: FIRST_PAUSE,
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
        }
    }

    /// Until nobody holds the other end of `desired`.
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
        let ignored = async {
            match signalled {
                Some(until) => alarm::until(until).await,
                None => std::future::pending().await,
            }
        };
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
            said = says => said.map_or_else(Happening::Ended, Happening::Line),
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
        // A server at another address, or port, is nobody's who is loading a file.
        let stays = given.filter(|given| (given.address, &given.port) == (wanted.address, &wanted.port)).cloned();
        let (server, head) = (self.running.as_ref().and_then(Running::id), wanted.address.addr());
        if let Some(given) = stays.filter(|_| self.transfers.hold_up(server, head, Instant::now())) {
            let meanwhile = wanted.with_main_of(given);
            if self.given.as_ref() != Some(&meanwhile) {
                self.update(meanwhile).await;
            }
            return;
        }
        self.pause = FIRST_PAUSE;
        self.restart().await;
    }

    /// Gives the running one other files to read; tried again if they cannot be written.
    async fn update(&mut self, wanted: Files) {
        if let Err(error) = self.write(&wanted) {
            return self.fail(not_written(&error)).await;
        }
        if !self.reclaim(&wanted) {
            return self.restart().await;
        }
        self.running.iter().for_each(Running::reload);
        self.given = Some(wanted);
        if self.started && self.failure.is_some() {
            self.pause = FIRST_PAUSE;
            self.settle().await;
        }
    }

    /// Takes what the settings give to a board from others who have it, where the settings have changed. `false`: dnsmasq has to
    /// start anew for that.
    fn reclaim(&mut self, wanted: &Files) -> bool {
        let homes = &wanted.nodes.homes;
        if homes.is_empty() || self.given.as_ref().is_some_and(|given| given.nodes.homes == *homes) {
            return true;
        }
        reclaim::take_back(wanted, &self.keep.entries()).unwrap_or_else(|error| {
            let text = "a board may get the address that the settings give it only when another's lease ends";
            self.tell(said::trouble(format!("{text}: {error}")));
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

    /// It runs and has what is wanted. One that has ended too often must show first that it bears its life.
    async fn settle(&mut self) {
        let without_names = self.without_names.clone();
        self.due = if self.steadiness.is_lost() {
            Some(self.since + LONG)
        } else {
            without_names.is_some().then(|| Instant::now() + LOOK_AGAIN)
        };
        if !self.steadiness.is_lost() {
            self.report(Ok(Applied::Dnsmasq { without_names })).await;
        }
    }

    async fn restart(&mut self) {
        self.end().await;
        self.transfers.settled();
        self.due = None;
        let Some(wanted) = self.wanted.clone() else { return };
        if let Err(error) = self.start(&wanted) {
            self.fail(error).await;
        }
    }

    fn start(&mut self, wanted: &Files) -> Result<(), ApplyError> {
        let program = child::program().ok_or_else(|| ApplyError {
            kind: ApplyErrorKind::Absent,
            message: "dnsmasq is not installed, so the nodes get no addresses and names from here: sudo apt install dnsmasq-base"
                .to_owned(),
        })?;
        let taken = if wanted.config == wanted.config_without_names {
            None
        } else {
            port::try_dns(wanted.address.addr()).err().filter(|error| error.kind() == io::ErrorKind::AddrInUse)
        };
        self.without_names = taken.map(|_| {
            let head = wanted.address.addr();
            format!("another program has port 53 on {head} (`sudo bramblegate doctor` names it)")
        });
        Folder::make(&self.folder, 0o700).map_err(|error| not_written(&error))?;
        if self.leases.is_none() {
            self.leases = Watch::open(&self.folder.join("leases")).ok();
        }
        let (leases, damage) = self
            .keep
            .prepare(wanted.address, wanted.range, &wanted.nodes.homes)
            .map_err(|error| not_written(&error))?;
        self.write(wanted).map_err(|error| not_written(&error))?;
        self.listener.remember(&leases);
        for text in damage {
            self.tell(said::trouble(text));
        }
        let running =
            Running::start(&program, &self.folder.join("main"), self.asked.clone()).map_err(|error| ApplyError {
                kind: ApplyErrorKind::Failed,
                message: format!("{} cannot be started: {error}", program.display()),
            })?;
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
        let Some((part, text)) = said::split(line) else { return };
        self.answered_signal();
        self.transfers.heard(part, text, Instant::now());
        // Whoever is here needs an address more than whoever was; it asks again within seconds.
        if text.contains("no address available") && self.keep.let_go() {
            return self.rewrite().await;
        }
        if text.starts_with("started, version") {
            self.started = true;
            self.hears(true).await;
            self.ask_for_its_pulse();
            return self.settle().await;
        }
        text.clone_into(&mut self.last_words);
        // What it says before it ends at its start becomes the error itself.
        if let Some(event) = self.listener.hear(line).filter(|_| self.started) {
            self.tell(event);
        }
    }

    async fn ended(&mut self, status: io::Result<ExitStatus>) {
        (self.pulse, self.signalled) = (None, None);
        let lacked_memory = self.running.take().is_some_and(|running| {
            running.sweep();
            running.lacked_memory()
        });
        let how = status.as_ref().map_or_else(ToString::to_string, ToString::to_string);
        let death = status.map_or(Death::Own, |status| Death::of(status, lacked_memory));
        let killed = death == Death::Killed;
        if !self.started {
            let why = if self.last_words.is_empty() { "it says nothing" } else { &self.last_words };
            let message = format!("dnsmasq does not start: {why} ({how})");
            self.fail(ApplyError { kind: ApplyErrorKind::Failed, message }).await;
            return;
        }
        // Not one record more or less: nobody else tells that names and addresses were gone for a moment.
        let _ = self.events.send(said::trouble(death.words(&how, &self.last_words))).await;
        // Who was killed by somebody did not end by itself; who takes more memory than there is will do so again.
        if !killed && self.steadiness.ended(Instant::now()) {
            let message = format!("dnsmasq ends again and again ({how}), last with: {}", self.last_words);
            self.report(Err(ApplyError { kind: ApplyErrorKind::Failed, message })).await;
        }
        if self.since.elapsed() >= LONG {
            self.pause = FIRST_PAUSE;
        }
        self.due = Some(Instant::now() + self.pause);
        self.pause = (self.pause * 2).min(if killed { KILLED_PAUSE } else { LAST_PAUSE });
    }

    /// It could not be started: said once for each reason, and tried again.
    async fn fail(&mut self, error: ApplyError) {
        if self.failure.as_ref() != Some(&error) {
            self.report(Err(error)).await;
        }
        self.due = Some(Instant::now() + self.pause);
        self.pause = (self.pause * 2).min(LAST_PAUSE);
    }

    /// Time to try again: to start, to write, or whether the port of DNS is free now; or to see that it runs well.
    async fn look_again(&mut self) {
        if self.running.is_some() {
            if !self.started {
                self.end().await;
                let message = format!("dnsmasq does not start: it has not said so within {} s", START.as_secs());
                return self.fail(ApplyError { kind: ApplyErrorKind::Failed, message }).await;
            }
            if let Some(wanted) = self.wanted.clone().filter(|wanted| self.given.as_ref() != Some(wanted)) {
                return self.want(Some(wanted)).await;
            }
            if self.steadiness.is_lost() && self.since.elapsed() >= LONG {
                self.steadiness.ran_well();
                return self.settle().await;
            }
        }
        let taken = self.given.as_ref().filter(|_| self.running.is_some() && self.without_names.is_some());
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
            return;
        }
        for event in self.listener.given(&leases) {
            self.tell(event);
        }
        let given = self.given.clone();
        let away = |keep: &Keep| given.as_ref().map(|given| keep.away(given.address, given.range));
        let before = away(&self.keep);
        let copied = self.keep.copy(&leases, given.as_ref().map_or(&[], |given| &given.nodes.homes));
        if away(&self.keep) != before {
            self.rewrite().await;
        }
        match copied {
            Ok(_) => self.disk_failed = false,
            Err(error) if !self.disk_failed => {
                self.disk_failed = true;
                let place = self.keep.place().display().to_string();
                self.tell(said::trouble(format!(
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
        self.steadiness.ran_well();
    }

    async fn end(&mut self) {
        (self.pulse, self.signalled) = (None, None);
        if let Some(running) = self.running.take() {
            running.end().await;
        }
    }

    async fn report(&mut self, result: Result<Applied, ApplyError>) {
        self.failure = result.as_ref().err().cloned();
        let _ = self.events.send(Event::Applied(ApplyReport { output: Output::Dnsmasq, result })).await;
    }

    /// A record more or less: the loop is not waited for.
    fn tell(&self, event: Event) {
        let _ = self.events.try_send(event);
    }
}

fn not_written(error: &io::Error) -> ApplyError {
    ApplyError { kind: ApplyErrorKind::Failed, message: format!("dnsmasq's files cannot be written: {error}") }
}

/// Waits for a time; for ever if there is none.
async fn reached(time: Option<Instant>) {
    match time {
        Some(time) => alarm::until(time).await,
        None => std::future::pending().await,
    }
}
