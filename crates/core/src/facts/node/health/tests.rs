//! Health of one node, and of 750 nodes for an hour.

use super::*;
use crate::config::board::Board;
use crate::config::{Settings, load};
use crate::event::Instant;

const NAME: &str = "rpi1";
const QUICK: Duration = Duration::from_micros(300);

fn settings(count: usize, more: &str) -> Settings {
    let mut text =
        "uplink.interfaces = [\"eth1\"]\ncluster.interface = \"eth0\"\ncluster.address = \"10.21.0.1/16\"\n".to_owned();
    text += more;
    for number in 1..=count {
        text += &format!(
            "[[node]]\nname = \"rpi{number}\"\naddress = \"10.21.{}.{}\"\n",
            1 + number / 250,
            1 + number % 250
        );
    }
    load(&[("t", text)], &Board::built_in("emulated").unwrap()).unwrap()
}

/// A node that is probed every 300 ms.
struct Story {
    nodes: Nodes,
    id: NodeId,
    settings: Settings,
    now: Instant,
    transitions: Vec<(NodeHealth, Option<Trouble>)>,
}

impl Story {
    fn new(more: &str) -> Self {
        let settings = settings(1, more);
        let mut nodes = Nodes::default();
        let now = Instant::from_boot(Duration::from_secs(100));
        nodes.reload(&settings, now);
        let id = nodes.by_name(NAME).unwrap().id;
        Self { nodes, id, settings, now, transitions: Vec::new() }
    }

    fn note(&mut self, change: Option<HealthChange>) {
        self.transitions.extend(change.map(|change| (change.to, change.why)));
    }

    fn round(&mut self, rtt: Option<Duration>, first_lost: bool) {
        self.now = self.now + Duration::from_millis(300);
        let round = Round { node: self.id, rtt, first_lost };
        let change = self.nodes.round(&round, &self.settings.health, self.now);
        self.note(change);
    }

    fn answered(&mut self, rounds: usize) -> &mut Self {
        (0..rounds).for_each(|_| self.round(Some(QUICK), false));
        self
    }

    fn silent(&mut self, rounds: usize) -> &mut Self {
        (0..rounds).for_each(|_| self.round(None, true));
        self
    }

    fn health(&self) -> NodeHealth {
        self.nodes.get(self.id).unwrap().health
    }

    /// Takes the changes since the last call.
    fn transitions(&mut self) -> Vec<NodeHealth> {
        std::mem::take(&mut self.transitions).into_iter().map(|(health, _)| health).collect()
    }
}

#[test]
fn a_new_node_is_up_at_once_then_thresholds_apply() {
    let mut story = Story::new("");
    story.answered(1).silent(2).answered(1).silent(2).answered(1);
    assert_eq!(story.transitions(), [NodeHealth::Up], "never three in a row");
    story.silent(3).answered(1).silent(1).answered(1);
    assert_eq!(story.transitions(), [NodeHealth::Down]);
    story.answered(1);
    assert_eq!(story.transitions(), [NodeHealth::Up]);
}

#[test]
fn a_node_without_a_reply_is_awaited_for_a_minute() {
    let mut story = Story::new("");
    story.silent(2);
    assert_eq!(story.nodes.unanswered().1, 0, "it has not been asked often enough");
    // 60 s are 200 rounds.
    story.silent(197);
    assert_eq!(
        (story.transitions(), story.health(), story.nodes.unanswered().1),
        (vec![], NodeHealth::Unknown, 1)
    );
    story.silent(1);
    assert_eq!((story.transitions(), story.nodes.unanswered().1), (vec![NodeHealth::Down], 0));
}

#[test]
fn a_late_node_is_up_at_its_first_reply() {
    let mut story = Story::new("");
    story.silent(100).answered(1).silent(3);
    assert_eq!(story.transitions(), [NodeHealth::Up, NodeHealth::Down]);
    assert_eq!(story.nodes.unanswered().1, 0);
}

#[test]
fn the_boot_grace_begins_at_carrier_up_and_is_configurable() {
    let mut story = Story::new("health.boot_grace = \"3s\"\n");
    story.silent(9);
    story.nodes.note_carrier(story.now);
    story.silent(9);
    assert_eq!(story.transitions(), []);
    story.silent(1);
    assert_eq!(story.transitions(), [NodeHealth::Down]);
    story.nodes.note_carrier(story.now);
    story.silent(1);
    assert_eq!(story.transitions(), [], "who is down stays so");
    let mut story = Story::new("health.boot_grace = \"0ms\"\n");
    story.silent(3);
    assert_eq!(story.transitions(), [NodeHealth::Down]);
}

#[test]
fn a_node_in_maintenance_or_booting_is_not_awaited() {
    let mut story = Story::new("");
    story.silent(5);
    story.nodes.set_maintenance(story.id, true, story.now);
    assert_eq!(story.nodes.unanswered().1, 0);
    story.nodes.set_maintenance(story.id, false, story.now);
    assert_eq!(story.nodes.unanswered().1, 1);
    story.nodes.boots(story.id, "kernel8.img", story.now);
    assert_eq!(story.nodes.unanswered().1, 0);
}

#[test]
fn slow_has_hysteresis() {
    let mut story = Story::new("");
    // The first reply includes address resolution.
    story.round(Some(Duration::from_millis(90)), false);
    story.answered(20);
    assert_eq!(story.transitions(), [NodeHealth::Up]);
    (0..40).for_each(|_| story.round(Some(Duration::from_millis(60)), false));
    assert_eq!(story.transitions, [(NodeHealth::Degraded, Some(Trouble::Slow))]);
    story.transitions.clear();
    // Within the hysteresis it does not change.
    (0..40).for_each(|_| story.round(Some(Duration::from_millis(45)), false));
    assert_eq!(story.transitions(), []);
    story.answered(20);
    assert_eq!(story.transitions(), [NodeHealth::Up]);
}

#[test]
fn lossy_has_hysteresis() {
    let mut story = Story::new("");
    story.answered(10);
    let lossy = |story: &mut Story, every: usize, rounds: usize| {
        (0..rounds).for_each(|round| story.round(Some(QUICK), round % every == 0));
    };
    lossy(&mut story, 5, 200);
    assert_eq!(story.transitions(), [NodeHealth::Up], "a fifth is below the threshold");
    lossy(&mut story, 2, 64);
    assert_eq!(story.transitions, [(NodeHealth::Degraded, Some(Trouble::Lossy))]);
    story.transitions.clear();
    lossy(&mut story, 4, 200);
    assert_eq!(story.transitions(), [], "a quarter is too much still");
    lossy(&mut story, 10, 100);
    assert_eq!(story.transitions(), [NodeHealth::Up]);
}

#[test]
fn a_recovered_node_is_not_lossy() {
    let mut story = Story::new("");
    story.answered(100).silent(200).answered(10);
    assert_eq!(story.transitions(), [NodeHealth::Up, NodeHealth::Down, NodeHealth::Up]);
}

#[test]
fn only_a_node_that_replies_has_a_round_trip_time() {
    let mut story = Story::new("");
    let rtt = |story: &Story| story.nodes.get(story.id).unwrap().rtt;
    story.answered(5).silent(1);
    assert_eq!(rtt(&story), Some(QUICK), "one lost round is no end");
    story.silent(3);
    assert_eq!((story.transitions(), rtt(&story)), (vec![NodeHealth::Up, NodeHealth::Down], None));
    story.answered(5);
    assert_eq!(rtt(&story), Some(QUICK));
    story.nodes.set_maintenance(story.id, true, story.now);
    story.silent(5);
    assert_eq!(rtt(&story), None, "nor has one that is worked on");
    story.answered(5);
    story.nodes.boots(story.id, "kernel8.img", story.now);
    assert_eq!(rtt(&story), None);
}

#[test]
fn disabled_thresholds_are_ignored() {
    let mut story = Story::new("health.degraded_rtt = \"off\"\nhealth.degraded_loss = \"off\"\n");
    (0..200).for_each(|_| story.round(Some(Duration::from_millis(99)), true));
    assert_eq!(story.transitions(), [NodeHealth::Up]);
}

#[test]
fn flapping_is_reported_once_and_ends_after_half_of_the_window() {
    let mut story = Story::new("");
    story.answered(1);
    for _ in 0..20 {
        story.silent(3).answered(2);
    }
    let transitions = story.transitions();
    assert_eq!(transitions.last(), Some(&NodeHealth::Degraded));
    assert_eq!(
        transitions.iter().filter(|health| **health == NodeHealth::Down).count(),
        3,
        "the sixth change is the last reported"
    );
    assert_eq!(story.nodes.get(story.id).unwrap().trouble(), Some(Trouble::Flapping));
    // 60 s are 200 rounds.
    story.answered(198);
    assert_eq!(story.health(), NodeHealth::Degraded);
    story.answered(3);
    assert_eq!(story.transitions(), [NodeHealth::Up]);
    story.silent(3);
    assert_eq!(story.transitions(), [NodeHealth::Down], "what was before is forgotten");
}

#[test]
fn a_flapping_node_that_stays_silent_is_down_in_the_end() {
    let mut story = Story::new("");
    story.answered(1);
    for _ in 0..5 {
        story.silent(3).answered(2);
    }
    story.transitions.clear();
    story.silent(210);
    assert_eq!(story.transitions(), [NodeHealth::Down]);
}

#[test]
fn rare_changes_are_no_flapping() {
    let mut story = Story::new("");
    story.answered(1);
    // Down and up again every minute.
    for _ in 0..40 {
        story.silent(3).answered(197);
    }
    assert!(!story.transitions().contains(&NodeHealth::Degraded));
}

#[test]
fn a_booting_node_raises_no_alarm_and_is_up_at_its_first_reply() {
    let mut story = Story::new("");
    let change = story.nodes.boots(story.id, "bootcode.bin", story.now);
    story.note(change);
    story.silent(100);
    let change = story.nodes.boots(story.id, "kernel8.img", story.now);
    story.note(change);
    assert_eq!(story.nodes.get(story.id).unwrap().stage(), Some("kernel8.img"));
    assert_eq!(story.transitions(), [NodeHealth::Booting]);
    story.answered(1);
    assert_eq!(story.transitions(), [NodeHealth::Up]);
    assert_eq!(
        (story.nodes.get(story.id).unwrap().stage(), story.nodes.boot_deadline()),
        (None, None)
    );
}

#[test]
fn booting_times_out_after_three_minutes() {
    for (rounds, end) in [(0, NodeHealth::Unknown), (10, NodeHealth::Down)] {
        let mut story = Story::new("");
        let begun = story.now;
        story.nodes.boots(story.id, "kernel8.img", begun);
        story.silent(rounds);
        assert_eq!(story.nodes.boot_deadline(), Some(begun + BOOTING_TIME));
        assert_eq!(story.nodes.expire(&story.settings.health, begun + (BOOTING_TIME - QUICK)), []);
        let ended = story.nodes.expire(&story.settings.health, begun + BOOTING_TIME);
        assert_eq!(ended.len(), 1);
        assert_eq!((story.health(), story.nodes.boot_deadline()), (end, None));
    }
}

#[test]
fn maintenance_hides_the_health_until_its_end() {
    let mut story = Story::new("");
    story.answered(5);
    let change = story.nodes.set_maintenance(story.id, true, story.now);
    story.note(change);
    story.silent(50);
    assert_eq!(story.transitions(), [NodeHealth::Up, NodeHealth::Maintenance]);
    let change = story.nodes.set_maintenance(story.id, false, story.now);
    story.note(change);
    assert_eq!(story.transitions(), [NodeHealth::Down]);
    story.answered(2);
    assert_eq!(story.transitions(), [NodeHealth::Up]);
}

#[test]
fn a_node_takes_few_bytes() {
    println!(
        "a node: {} bytes, of which for its health: {}",
        size_of::<NodeState>(),
        size_of::<Watch>()
    );
    assert!(size_of::<Watch>() <= 32);
    assert!(size_of::<NodeState>() <= 184);
}

/// Probes 750 healthy nodes every 300 ms for an hour with 5 % loss and the default thresholds.
#[test]
fn an_hour_of_750_nodes_with_five_percent_loss_raises_no_alarm() {
    let settings = settings(750, "");
    let mut nodes = Nodes::default();
    nodes.reload(&settings, Instant::from_boot(Duration::ZERO));
    let ids: Vec<NodeId> = nodes.iter().map(|node| node.id).collect();
    let mut seed = 0x2545_f491_4f6c_dd1d_u64;
    let mut lost = || {
        // xorshift64
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed % 20 == 0
    };
    let (mut first_losses, mut failed, mut alarms) = (0, 0, Vec::new());
    for round in 0..12_000_u64 {
        let now = Instant::from_boot(Duration::from_millis(300 * round));
        for id in &ids {
            let first_lost = lost();
            let answered = !first_lost || !lost() || !lost();
            (first_losses, failed) =
                (first_losses + u64::from(first_lost), failed + u64::from(!answered));
            let round = Round { node: *id, rtt: answered.then_some(QUICK), first_lost };
            alarms.extend(
                nodes
                    .round(&round, &settings.health, now)
                    .filter(|change| change.to != NodeHealth::Up),
            );
        }
    }
    println!("{first_losses} first tries and {failed} rounds of 9,000,000 lost");
    assert!(first_losses > 440_000 && failed > 900, "the loss was there");
    assert_eq!(alarms, []);
    assert_eq!(nodes.count(NodeHealth::Up), 750);
}
