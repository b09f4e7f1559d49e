//! The cost of one change of a node's health, through facts, decision and views: with 10,000 nodes
//! and with 40; and with 2,000 alerts of nodes that are down, none or all of them acknowledged.
//! Takes turns with another build if `BRAMBLEGATE_BASE_DECIDE` names its driver
//! (`benches/peers/decide.rs`).

use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bramblegate::board::Board;
use bramblegate::config::{Settings, load};
use bramblegate::decide::alert::acknowledge;
use bramblegate::decide::{Decider, Desired};
use bramblegate::event::{self, Event, NodeId, Probe, Round};
use bramblegate::facts::{Facts, Transition};
use bramblegate::view;
use bramblegate_lab::{Error, Result};

use crate::lab::{fail, median};
use crate::sweep::settings;
use crate::table::Row;

/// The variable that names the driver of the build to compare with.
const BASE: &str = "BRAMBLEGATE_BASE_DECIDE";
const TURNS: usize = 5;
/// The number of changes per turn.
const CHANGES: usize = 200;
/// One in so many of the 10,000 nodes is down: 2,000 of them.
const DOWN: usize = 5;

pub fn measure() -> Result<Vec<Row>> {
    let base = std::env::var_os(BASE).map(PathBuf::from);
    let mut many = World::new(40, 250)?;
    let mut few = World::new(4, 10)?;
    let (mut fresh, mut known) = (World::new(40, 250)?, World::new(40, 250)?);
    fresh.kill()?;
    known.kill()?;
    known.acknowledge()?;
    let mut ours = [const { Vec::new() }; 4];
    let mut theirs = [const { Vec::new() }; 2];
    for _ in 0..TURNS {
        let worlds = [&mut many, &mut few, &mut fresh, &mut known];
        for (times, world) in ours.iter_mut().zip(worlds) {
            times.extend((0..CHANGES).map(|_| world.change().as_secs_f64() * 1e6));
        }
        if let Some(base) = &base {
            for (times, time) in theirs.iter_mut().zip(driven(base)?) {
                times.push(time);
            }
        }
    }
    let [many, few, fresh, known] = ours.map(|times| median(&times));
    let row = Row::new("change of a node's health decided and rendered, 10,000 nodes", many, "us")
        .against("with 40", few);
    let mut rows = vec![row.target("<= 2x that of 40", many <= 2.0 * few)];
    let names = ["the same, 2,000 nodes down", "the same, 2,000 nodes down and acknowledged"];
    for ((name, ours), theirs) in names.into_iter().zip([fresh, known]).zip(theirs) {
        let row = Row::new(name, ours, "us");
        rows.push(if theirs.is_empty() {
            row
        } else {
            let before = median(&theirs);
            row.against("the other build", before).target("<= 0.5x", ours <= 0.5 * before)
        });
    }
    Ok(rows)
}

/// Returns the measurements of the other build's driver: two lines, each a name and microseconds.
fn driven(driver: &PathBuf) -> Result<Vec<f64>> {
    let output = Command::new(driver).output().map_err(fail(&driver.to_string_lossy()))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let times: Vec<f64> =
        text.lines().filter_map(|line| line.rsplit_once(' ')?.1.parse().ok()).collect();
    if times.len() == 2 { Ok(times) } else { Err(Error(format!("{BASE}: {text:?}"))) }
}

/// The pure half of the gateway.
struct World {
    settings: Settings,
    facts: Facts,
    node: NodeId,
    now: event::Instant,
    up: bool,
    decider: Decider,
    before: Option<Desired>,
}

impl World {
    /// Returns a cluster whose nodes are all up.
    fn new(groups: u32, slots: u32) -> Result<Self> {
        let board = Board::built_in("emulated").map_err(|_| Error("no emulated board".into()))?;
        let text = settings(
            groups,
            slots,
            "failure_threshold = 1\nsuccess_threshold = 1\nflap_changes = 1000",
        );
        let settings = load(&[("bench", text)], &board).map_err(|_| Error("settings".into()))?;
        let now = event::Instant::from_boot(Duration::from_secs(100));
        let mut facts = Facts::new(Arc::new(settings.clone()), now);
        let port =
            |index, name| Event::Link(event::Change::Present(event::Link::wired(index, name)));
        for event in [
            Event::Dump(event::Dump::Begin),
            port(2, "eth0"),
            port(3, "eth1"),
            Event::Dump(event::Dump::End),
        ] {
            facts.apply(&event, now);
        }
        let ids: Vec<NodeId> = facts.nodes().iter().map(|node| node.id).collect();
        let node = ids.get(7).copied().unwrap_or_default();
        let mut world = Self {
            settings,
            facts,
            node,
            now,
            up: true,
            decider: Decider::default(),
            before: None,
        };
        world.take(ids.into_iter().map(|node| round(node, true)).collect());
        // Long enough for all timers to have expired.
        world.now = world.now + Duration::from_secs(200);
        world.facts.apply(&Event::Tick, world.now);
        world.publish(&[]);
        Ok(world)
    }

    /// Takes every fifth node down.
    fn kill(&mut self) -> Result<()> {
        let ids: Vec<NodeId> = self.facts.nodes().iter().map(|node| node.id).collect();
        self.take(ids.into_iter().step_by(DOWN).map(|node| round(node, false)).collect());
        self.publish(&[]);
        match self.facts.nodes().down().count() {
            2000 => Ok(()),
            other => Err(Error(format!("{other} nodes are down"))),
        }
    }

    /// Acknowledges all alerts.
    fn acknowledge(&mut self) -> Result<()> {
        let desired = self.before.as_ref().ok_or_else(|| Error("nothing is decided".into()))?;
        let made = acknowledge::all_standing(&self.facts, desired);
        self.facts.apply(&Event::Acknowledgement(made), self.now);
        match self.facts.acknowledged().len() {
            2000.. => Ok(()),
            other => Err(Error(format!("{other} alerts are acknowledged"))),
        }
    }

    /// Takes one node down, or up again.
    fn change(&mut self) -> Duration {
        self.up = !self.up;
        self.now = self.now + Duration::from_millis(300);
        let rounds = vec![round(self.node, self.up)];
        let begin = Instant::now();
        let reported = self.take(rounds);
        self.publish(&reported);
        let passed = begin.elapsed();
        assert_eq!(reported.len(), 1, "{reported:?}");
        passed
    }

    fn take(&mut self, rounds: Vec<Round>) -> Vec<Transition> {
        self.facts.apply(&Event::Probe(Probe::Nodes(rounds)), self.now)
    }

    /// Decides and renders, as the daemon does after each change.
    fn publish(&mut self, reported: &[Transition]) {
        let desired = self.decider.decide(&self.settings, &self.facts);
        if let Some(standing) = acknowledge::still_standing(&self.facts, &desired) {
            self.facts.apply(&Event::Acknowledgement(standing), self.now);
        }
        let (settings, facts) = (&self.settings, &self.facts);
        let rendered = (
            view::panel::page::playlist(settings, facts, &desired),
            view::panel::led::lights(facts, &desired),
            view::status::snapshot(settings, facts, &desired),
            view::status_line(facts, &desired),
            view::journal::records(reported, self.before.as_ref(), &desired, facts),
        );
        std::hint::black_box(rendered);
        self.before = Some(desired);
    }
}

fn round(node: NodeId, up: bool) -> Round {
    Round { node, rtt: up.then_some(Duration::from_micros(300)), first_lost: !up }
}
