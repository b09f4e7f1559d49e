//! The measurements of the figure `decide`, for builds up to e2443dc, which were one crate with a
//! state instead of facts, and policies instead of decisions. Put it into `examples/` of such a
//! tree, allow `unwrap_used` and `indexing_slicing` there, build it with `cargo build --release
//! --example decide`, and pass its path to `make bench BENCH=decide` in `BRAMBLEGATE_BASE_DECIDE`.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bramblegate::board::Board;
use bramblegate::config::{Settings, load};
use bramblegate::event::{self, Event, NodeId, Probe, Round};
use bramblegate::policy::{Desired, acknowledge, decide};
use bramblegate::render;
use bramblegate::state::State;

struct World {
    settings: Settings,
    state: State,
    node: NodeId,
    now: event::Instant,
    up: bool,
    before: Desired,
    awaited: acknowledge::Awaited,
}

fn settings() -> String {
    let mut text = "board = \"emulated\"\n[uplink]\ninterfaces = [\"eth1\"]\nprobe = \"off\"\n[cluster]\ninterface = \"eth0\"\naddress = \"10.21.0.1/16\"\n[lcd]\nbus = \"off\"\n[led]\ndevice = \"off\"\n[health]\nfailure_threshold = 1\nsuccess_threshold = 1\nflap_changes = 1000\n".to_owned();
    for number in 1..=40 {
        let _ = write!(
            text,
            "[[group]]\nname = \"rack{number}\"\nslots = \"1-250\"\naddress = \"10.21.{number}.{{slot}}\"\n"
        );
    }
    text
}

impl World {
    fn new(acknowledged: bool) -> Self {
        let board = Board::built_in("emulated").unwrap();
        let settings = load(&[("bench", &settings())], &board).unwrap();
        let now = event::Instant::from_boot(Duration::from_secs(100));
        let mut state = State::new(Arc::new(settings.clone()), now);
        for event in [
            Event::Dump(event::Dump::Begin),
            Event::Link(event::Change::Present(event::Link::wired(2, "eth0"))),
            Event::Link(event::Change::Present(event::Link::wired(3, "eth1"))),
            Event::Dump(event::Dump::End),
        ] {
            state.apply(&event, now);
        }
        let ids: Vec<NodeId> = state.nodes().iter().map(|node| node.id).collect();
        let rtt = Some(Duration::from_micros(300));
        let up = ids.iter().map(|node| Round { node: *node, rtt, first_lost: false }).collect();
        state.apply(&Event::Probe(Probe::Nodes(up)), now);
        let now = now + Duration::from_secs(200);
        let dead = ids
            .iter()
            .step_by(5)
            .map(|node| Round { node: *node, rtt: None, first_lost: true })
            .collect();
        state.apply(&Event::Probe(Probe::Nodes(dead)), now);
        let before = decide(&settings, &state);
        if acknowledged {
            let known = acknowledge::everything(&state, &before);
            state.apply(&Event::Acknowledged(known), now);
            assert!(state.acknowledged().len() >= 2000);
        }
        assert_eq!(state.nodes().down().count(), 2000);
        Self {
            node: ids[7],
            settings,
            state,
            now,
            up: true,
            before,
            awaited: acknowledge::Awaited::new(BTreeSet::new()),
        }
    }

    fn change(&mut self) -> Duration {
        self.up = !self.up;
        self.now = self.now + Duration::from_millis(300);
        let round = Round {
            node: self.node,
            rtt: self.up.then_some(Duration::from_micros(300)),
            first_lost: !self.up,
        };
        let begin = Instant::now();
        let reported = self.state.apply(&Event::Probe(Probe::Nodes(vec![round])), self.now);
        let mut desired = decide(&self.settings, &self.state);
        if let Some(known) = self.awaited.remaining(&self.state, &desired) {
            self.state.apply(&Event::Acknowledged(known), self.now);
            desired = decide(&self.settings, &self.state);
        }
        let (settings, state) = (&self.settings, &self.state);
        let rendered = (
            render::page::playlist(settings, state, &desired),
            render::light::lights(settings, state, &desired),
            render::status::snapshot(settings, state, &desired),
            render::status_line(state, &desired),
            render::journal::records(&reported, Some(&self.before), &desired, state),
        );
        let passed = begin.elapsed();
        assert_eq!(reported.len(), 1, "{reported:?}");
        drop(rendered);
        self.before = desired;
        passed
    }
}

/// Prints one line for each setup: the median of so many changes, in microseconds.
fn main() {
    for (name, acknowledged) in [("new", false), ("acknowledged", true)] {
        let mut world = World::new(acknowledged);
        let mut times: Vec<f64> = (0..200).map(|_| world.change().as_secs_f64() * 1e6).collect();
        times.sort_by(f64::total_cmp);
        println!("{name} {:.2}", times[times.len() / 2]);
    }
}
