//! The task itself: one dnsmasq at a time.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use super::child::{self, Running};
use super::death::Death;
use super::keep::Keep;
use super::port;
use super::said::{self, Listener};
use super::steadiness::Steadiness;
use crate::event::{Applied, ApplyError, ApplyErrorKind, ApplyReport, Event, Output};
use crate::render::dnsmasq::Files;
use crate::source::alarm;
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
}

enum Happening {
    Wanted(bool),
    Line(String),
    Ended(io::Result<ExitStatus>),
    LeasesWritten,
    Due,
}

impl Supervisor {
    pub fn new(folder: PathBuf, state_directory: &Path, events: mpsc::Sender<Event>) -> Self {
        Self {
            keep: Keep::new(folder.join("leases"), state_directory),
            folder,
            events,
            listener: Listener::default(),
            leases: None,
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
        }
    }

    /// Until nobody holds the other end of `desired`.
    pub async fn run(mut self, mut desired: watch::Receiver<Option<Files>>) {
        loop {
            match self.next(&mut desired).await {
                Happening::Wanted(false) => break,
                Happening::Wanted(true) => {
                    let files = desired.borrow_and_update().clone();
                    self.want(files).await;
                }
                Happening::Line(line) => self.hear(&line).await,
                Happening::Ended(status) => self.ended(status).await,
                Happening::LeasesWritten => self.copy_leases().await,
                Happening::Due => self.look_again().await,
            }
        }
        self.stop().await;
    }

    async fn next(&mut self, desired: &mut watch::Receiver<Option<Files>>) -> Happening {
        let (running, leases, due) = (self.running.as_mut(), self.leases.as_mut(), self.due);
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
        let rings = async {
            match due {
                Some(due) => alarm::until(due).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            changed = desired.changed() => Happening::Wanted(changed.is_ok()),
            said = says => said.map_or_else(Happening::Ended, Happening::Line),
            () = written => Happening::LeasesWritten,
            () = rings => Happening::Due,
        }
    }
}

impl Supervisor {
    /// Brings dnsmasq to what is wanted: by a restart, by reading its files again, or not at all.
    async fn want(&mut self, files: Option<Files>) {
        self.wanted = files;
        let Some(wanted) = self.wanted.clone() else {
            self.stop().await;
            self.put_away();
            self.report(Ok(Applied::Done)).await;
            return;
        };
        let same_main = |given: &Files| {
            let main = |files: &Files| (files.config.clone(), files.config_without_names.clone(), files.address);
            main(given) == main(&wanted)
        };
        if self.running.is_some() && self.given.as_ref().is_some_and(same_main) {
            self.update(wanted).await;
        } else {
            self.pause = FIRST_PAUSE;
            self.restart().await;
        }
    }

    /// Gives the running one other files to read; tried again if they cannot be written.
    async fn update(&mut self, wanted: Files) {
        if let Err(error) = self.write(&wanted) {
            return self.fail(not_written(&error)).await;
        }
        self.running.iter().for_each(Running::reload);
        self.given = Some(wanted);
        if self.started && self.failure.is_some() {
            self.pause = FIRST_PAUSE;
            self.settle().await;
        }
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

    /// Its files go, but not the leases: who has one has it also while nothing is served, be it for a cable that is out.
    fn put_away(&self) {
        for file in fs::read_dir(&self.folder).into_iter().flatten().flatten() {
            if file.file_name() != "leases" {
                let _ = fs::remove_file(file.path());
            }
        }
    }

    async fn restart(&mut self) {
        self.end().await;
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
        fs::create_dir_all(&self.folder).map_err(|error| not_written(&error))?;
        if self.leases.is_none() {
            self.leases = Watch::open(&self.folder.join("leases")).ok();
        }
        let (leases, damage) = self.keep.prepare(wanted.address).map_err(|error| not_written(&error))?;
        self.write(wanted).map_err(|error| not_written(&error))?;
        self.listener.remember(&leases);
        for text in damage {
            self.tell(said::trouble(text));
        }
        let running = Running::start(&program, &self.folder.join("main")).map_err(|error| ApplyError {
            kind: ApplyErrorKind::Failed,
            message: format!("{} cannot be started: {error}", program.display()),
        })?;
        (self.running, self.given) = (Some(running), Some(wanted.clone()));
        (self.since, self.started) = (Instant::now(), false);
        self.due = Some(self.since + START);
        self.last_words.clear();
        Ok(())
    }

    /// Writes the files; the main one and the options as the port allows.
    fn write(&self, files: &Files) -> io::Result<()> {
        let (main, options) = match self.without_names {
            None => (&files.config, &files.options),
            Some(_) => (&files.config_without_names, &files.options_without_names),
        };
        let hosts = format!("{}{}", files.nodes.hosts, self.keep.reservations(&files.nodes.hosts));
        for (name, text) in [
            ("main", main.as_str()),
            ("options", options),
            ("servers", &files.servers),
            ("hosts", &hosts),
            ("names", &files.nodes.names),
        ] {
            let path = self.folder.join(name);
            if fs::read(&path).ok().as_deref() != Some(text.as_bytes()) {
                // In one step: dnsmasq may be reading.
                let new = self.folder.join("new");
                fs::write(&new, text)?;
                fs::rename(&new, &path)?;
            }
        }
        Ok(())
    }

    async fn hear(&mut self, line: &str) {
        let Some((_, text)) = said::split(line) else { return };
        if text.starts_with("started, version") {
            self.started = true;
            return self.settle().await;
        }
        text.clone_into(&mut self.last_words);
        // What it says before it ends at its start becomes the error itself.
        if let Some(event) = self.listener.hear(line).filter(|_| self.started) {
            self.tell(event);
        }
    }

    async fn ended(&mut self, status: io::Result<ExitStatus>) {
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
                return self.update(wanted).await;
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
        match self.keep.copy(&leases) {
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

    /// Ends dnsmasq, with its leases on the disk.
    async fn stop(&mut self) {
        self.due = None;
        if self.running.is_some() {
            self.end().await;
            self.copy_leases().await;
        }
        self.given = None;
        self.steadiness.ran_well();
    }

    async fn end(&mut self) {
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
