//! Runs the moments of a story: events, the deadlines between them, and the simulated kernel.

use std::sync::Arc;
use std::time::Duration;

use bramblegate::board::Board;
use bramblegate::cli::run::unset::SHOW_ONLY;
use bramblegate::config::{self, Settings, Unset};
use bramblegate::decide::alert::Severity;
use bramblegate::decide::alert::acknowledge;
use bramblegate::decide::{self, Desired};
use bramblegate::event::{Event, Instant, Order};
use bramblegate::facts::{Facts, Transition};
use bramblegate::panel::{Frame, Signal};
use bramblegate::view::journal::{self, Record};
use bramblegate::view::panel::{led, page};

use crate::file::{Case, Moment};
use crate::kernel::Kernel;
use crate::outputs::Outputs;
use crate::words::Reader;

/// The uptime of the machine when the daemon starts.
const START: Instant = Instant::from_boot(Duration::from_secs(20));

pub struct Simulation {
    board: String,
    reader: Reader,
    facts: Facts,
    kernel: Kernel,
    outputs: Outputs,
    now: Instant,
    desired: Option<Desired>,
    /// Not published yet: the first listing has not ended.
    held: Vec<Transition>,
    journal: Vec<String>,
}

impl Simulation {
    pub fn begin(case: &Case) -> Result<Self, String> {
        let mut sim = Self {
            board: case.board.clone(),
            reader: Reader::default(),
            facts: Facts::new(first(case)?, START),
            kernel: Kernel::default(),
            outputs: Outputs::new(case.whole_rules),
            now: START,
            desired: None,
            held: Vec::new(),
            journal: Vec::new(),
        };
        if !case.begin.is_empty() {
            sim.happen(&case.begin, None)?;
            sim.outputs.changes(&sim.facts, &std::mem::take(&mut sim.journal));
        }
        Ok(sim)
    }

    /// Advances the time to the moment, then applies its events; returns the changes of every
    /// output since the last one.
    pub fn play(&mut self, moment: &Moment) -> Result<String, String> {
        self.wait(START + moment.time)?;
        self.happen(&moment.events, moment.settings.as_deref())?;
        let journal = std::mem::take(&mut self.journal);
        Ok(self.outputs.changes(&self.facts, &journal))
    }

    /// Returns the display's first page, the light, and the state, now.
    pub fn face(&self) -> (Frame, Signal, Severity) {
        let desired = decide::decide(self.facts.settings(), &self.facts);
        let playlist = page::playlist(self.facts.settings(), &self.facts, &desired);
        (playlist.pages[0].frame.clone(), led::of_severity(desired.severity), desired.severity)
    }

    fn happen(&mut self, events: &str, new_settings: Option<&str>) -> Result<(), String> {
        for event in self.reader.events(events, self.facts.nodes())? {
            if event == Event::Reload {
                let text = new_settings.ok_or("a reload needs settings")?;
                let reported = self.facts.reload(settings(&self.board, text)?, self.now);
                self.held.extend(reported);
                self.settle()?;
            } else {
                self.report(&event)?;
            }
        }
        Ok(())
    }

    fn wait(&mut self, until: Instant) -> Result<(), String> {
        while let Some(at) = self.facts.next_deadline().filter(|at| *at <= until) {
            if at <= self.now {
                return Err(format!("the deadline {at:?} is not after {:?}", self.now));
            }
            self.now = at;
            self.report(&Event::Tick)?;
        }
        self.now = until;
        Ok(())
    }

    fn report(&mut self, event: &Event) -> Result<(), String> {
        // Like in the daemon: only the decision knows the current alerts.
        let shown = self.desired.as_ref().filter(|_| *event == Event::Order(Order::Acknowledge));
        let known = shown
            .map(|desired| Event::Acknowledgement(acknowledge::all_standing(&self.facts, desired)));
        let reported = self.facts.apply(known.as_ref().unwrap_or(event), self.now);
        self.held.extend(reported);
        if let Event::Stop(stop) = event {
            self.write_down(&[journal::stopping(*stop)]);
            return Ok(());
        }
        self.settle()
    }

    /// Applies plans until the state is as desired; a plan that never settles is a defect. Like in
    /// the daemon, there is no plan before the first listing has ended.
    fn settle(&mut self) -> Result<(), String> {
        if !self.facts.links().is_synced() {
            return Ok(());
        }
        for _ in 0..6 {
            let desired = decide::decide(self.facts.settings(), &self.facts);
            if let Some(standing) = acknowledge::still_standing(&self.facts, &desired) {
                self.facts.apply(&Event::Acknowledgement(standing), self.now);
            }
            self.facts.note_ordered(decide::link::ordered(&desired));
            let reported = std::mem::take(&mut self.held);
            let records = journal::records(&reported, self.desired.as_ref(), &desired, &self.facts);
            self.write_down(&records);
            let rung = self.facts.take_resyncs();
            let events = self.kernel.obey(&self.facts, &desired, &rung);
            self.desired = Some(desired);
            if events.is_empty() {
                return Ok(());
            }
            for event in events {
                let reported = self.facts.apply(&event, self.now);
                self.held.extend(reported);
            }
        }
        Err("what is desired changes with every obedience".to_owned())
    }

    /// Returns a line per record: priority, message, fields. Of a rule set only the fact of a
    /// change: its text is another output.
    fn write_down(&mut self, records: &[Record]) {
        for record in records {
            let message = record.message.lines().next().unwrap_or_default();
            let fields: Vec<String> =
                record.fields.iter().map(|(name, value)| format!("{name}={value}")).collect();
            let priority = format!("{:?}", record.priority).to_lowercase();
            self.journal.push(format!("{priority}: {message} [{}]", fields.join(" ")));
        }
    }
}

/// Returns a story's initial settings; those of a head that is not set up are the daemon's
/// defaults.
fn first(case: &Case) -> Result<Arc<Settings>, String> {
    let Some(why) = &case.unset else { return settings(&case.board, &case.settings) };
    let mut shown = settings(&case.board, SHOW_ONLY)?;
    let boot_file = (!why.is_empty()).then(|| Unset::BootFile(why.clone()));
    Arc::make_mut(&mut shown).unset = Some(boot_file.unwrap_or(Unset::NoFile));
    Ok(shown)
}

fn settings(board: &str, text: &str) -> Result<Arc<Settings>, String> {
    let board = Board::built_in(board).map_err(|error| error.to_string())?;
    let faults = |faults: Vec<config::Fault>| {
        faults.iter().map(|fault| format!("{fault}\n")).collect::<String>()
    };
    config::load(&[("settings", text)], &board).map(Arc::new).map_err(faults)
}
