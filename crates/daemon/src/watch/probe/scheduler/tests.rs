//! Stories of scheduler, with nodes that answer as they are reported and a clock that is only a
//! number.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use super::*;
use crate::config::NodeProbe;

const RTT: Duration = Duration::from_micros(300);

fn ms(count: u64) -> Duration {
    Duration::from_millis(count)
}

fn id(slot: usize) -> NodeId {
    NodeId { slot: u32::try_from(slot).unwrap(), generation: 0 }
}

fn address(slot: usize) -> IpAddr {
    Ipv4Addr::from(0x0a15_0000 + u32::try_from(slot).unwrap()).into()
}

fn plan(slots: impl IntoIterator<Item = usize>, probes: &[NodeProbe]) -> NodeProbePlan {
    let target = |slot| NodeTarget {
        node: id(slot),
        address: address(slot),
        mac: None,
        probes: probes.into(),
        timeout: 0,
    };
    let nodes: Vec<_> = slots.into_iter().map(target).collect();
    NodeProbePlan { nodes: Arc::new(nodes), interval: ms(300), timeout: ms(100), port: None }
}

/// The cluster: what is asked is answered after a while, or never.
struct World {
    scheduler: ProbeScheduler,
    begun: Instant,
    now: Instant,
    underway: Vec<(Instant, Answer)>,
    /// (when, whom, which try)
    asked: Vec<(Duration, u32, u8)>,
    results: Vec<(Duration, Round)>,
}

impl World {
    fn new(plan: &NodeProbePlan) -> Self {
        let now = Instant::now();
        let mut scheduler = ProbeScheduler::new(now);
        scheduler.replan(plan, now);
        Self {
            scheduler,
            begun: now,
            now,
            underway: Vec::new(),
            asked: Vec::new(),
            results: Vec::new(),
        }
    }

    /// Lets time pass; `rtt` says after how long a question is answered.
    fn run(&mut self, time: Duration, rtt: impl Fn(Key, &NodeProbe) -> Option<Duration>) {
        let end = self.now + time;
        while self.now < end {
            let now = self.now;
            let (come, rest) =
                std::mem::take(&mut self.underway).into_iter().partition(|(at, _)| *at <= now);
            self.underway = rest;
            let come: Vec<(Instant, Answer)> = come;
            come.iter().for_each(|(_, answer)| self.scheduler.answered(answer, now));
            let mut ended = Vec::new();
            self.scheduler.settle(now, &mut ended);
            self.results.extend(ended.into_iter().map(|round| (now - self.begun, round)));
            self.scheduler.begin(now);
            for kind in 0..PROBES.len() {
                let (indices, questions) = self.scheduler.questions(kind);
                for question in questions {
                    let key = question.key;
                    self.asked.push((now - self.begun, key.node.slot, key.nth));
                    let answered = rtt(key, question.probe);
                    let answer = |rtt| {
                        (now + rtt, Answer { key, rtt: Some(rtt), from: Some(question.address) })
                    };
                    self.underway.extend(answered.map(answer));
                }
                self.scheduler.sent(kind, &indices, indices.len(), now);
            }
            self.now = self.scheduler.next().unwrap_or(end).min(end);
        }
    }

    fn of(&self, slot: u32) -> Vec<Round> {
        self.results
            .iter()
            .filter(|(_, round)| round.node.slot == slot)
            .map(|(_, round)| *round)
            .collect()
    }
}

#[test]
fn three_healthy_nodes_cost_two_wake_ups_a_round() {
    let mut world = World::new(&plan(0..3, &[NodeProbe::Icmp]));
    world.run(ms(3000), |_, _| Some(RTT));
    assert_eq!(world.results.len(), 30);
    assert!(world.results.iter().all(|(_, round)| round.rtt == Some(RTT) && !round.first_lost));
    let mut moments: Vec<Duration> = world.results.iter().map(|(at, _)| *at).collect();
    moments.dedup();
    assert_eq!(moments.len(), 10, "all three are reported at once");
}

#[test]
fn only_the_silent_is_asked_again_with_more_patience_and_its_first_loss_is_reported() {
    let mut world = World::new(&plan(0..2, &[NodeProbe::Icmp]));
    world.run(ms(600), |_, _| Some(RTT));
    world.asked.clear();
    world.results.clear();
    world.run(ms(300), |key, _| (key.node.slot == 0 || key.nth == 2).then_some(RTT));
    let round = ms(600);
    let asked = [(round, 0, 0), (round, 1, 0), (round + ms(5), 1, 1), (round + ms(15), 1, 2)];
    assert_eq!(world.asked, asked);
    assert_eq!(world.of(1), [Round { node: id(1), rtt: Some(RTT), first_lost: true }]);
    assert_eq!(world.of(0), [Round { node: id(0), rtt: Some(RTT), first_lost: false }]);
}

#[test]
fn a_death_is_three_failed_rounds_within_a_second_with_three_nodes_and_with_750() {
    for count in [3, 750] {
        let mut world = World::new(&plan(0..count, &[NodeProbe::Icmp]));
        world.run(ms(3000), |_, _| Some(RTT));
        // The worst case: it has answered a moment ago.
        let victim = 1;
        let last = world.asked.iter().rev().find(|(_, slot, _)| *slot == victim).unwrap().0;
        world.results.clear();
        world.run(ms(2000), |key, _| (key.node.slot != victim).then_some(RTT));
        let failed = world.results.iter().filter(|(_, r)| r.node.slot == victim && r.rtt.is_none());
        let noticed = failed.map(|(at, _)| *at).nth(2).unwrap();
        assert!(noticed - last <= ms(1000), "{count} nodes: {:?}", noticed - last);
    }
}

#[test]
fn a_node_that_was_never_seen_has_all_the_time_there_is_for_its_answer() {
    let mut world = World::new(&plan(0..1, &[NodeProbe::Icmp]));
    world.run(ms(300), |_, _| Some(ms(95)));
    assert_eq!(world.of(0).first().and_then(|round| round.rtt), Some(ms(95)));
    assert!(!world.of(0)[0].first_lost, "it was the first try that was answered");
}

#[test]
fn a_node_that_becomes_slow_is_slow_and_not_dead() {
    let mut world = World::new(&plan(0..1, &[NodeProbe::Icmp]));
    world.run(ms(1500), |_, _| Some(RTT));
    world.results.clear();
    world.run(ms(3000), |_, _| Some(ms(80)));
    let failed = world.of(0).iter().filter(|round| round.rtt.is_none()).count();
    assert!(failed < 3, "{failed} rounds failed before it was given the time it needs");
    assert!(
        world
            .of(0)
            .iter()
            .rev()
            .take(5)
            .all(|round| round.rtt == Some(ms(80)) && !round.first_lost)
    );
}

#[test]
fn many_nodes_are_spread_evenly_and_each_is_asked_once_an_interval() {
    for count in [17, 40, 750, 10_000] {
        let mut world = World::new(&plan(0..count, &[NodeProbe::Icmp]));
        world.run(ms(1500), |_, _| Some(RTT));
        let from = ms(600);
        let asked: Vec<_> =
            world.asked.iter().filter(|(at, _, _)| (from..from + ms(300)).contains(at)).collect();
        let slots: std::collections::BTreeSet<u32> =
            asked.iter().map(|(_, slot, _)| *slot).collect();
        assert!(asked.len().abs_diff(count) <= 1 + count / 25, "{} of {count}", asked.len());
        assert!(slots.len() + 1 + count / 25 >= count);
        let mut at_once = std::collections::BTreeMap::<Duration, usize>::new();
        asked.iter().for_each(|(at, _, _)| *at_once.entry(*at).or_default() += 1);
        let most = at_once.values().max().copied().unwrap();
        assert!(most <= count * 10 / 300 + 2, "{most} of {count} at once");
    }
}

#[test]
fn nothing_bursts_after_a_standstill() {
    let mut world = World::new(&plan(0..3000, &[NodeProbe::Icmp]));
    world.run(ms(600), |_, _| Some(RTT));
    world.asked.clear();
    world.now += ms(2000);
    world.run(ms(600), |_, _| Some(RTT));
    let mut at_once = std::collections::BTreeMap::<Duration, usize>::new();
    world
        .asked
        .iter()
        .filter(|(_, _, nth)| *nth == 0)
        .for_each(|(at, _, _)| *at_once.entry(*at).or_default() += 1);
    assert!(at_once.values().all(|count| *count <= 202), "{at_once:?}");
}

#[test]
fn a_node_is_well_only_when_all_its_probes_are() {
    let mut world = World::new(&plan(0..2, &[NodeProbe::Icmp, NodeProbe::Tcp(22)]));
    world.run(ms(250), |key, probe| {
        (key.node.slot == 0 || *probe == NodeProbe::Icmp).then_some(RTT)
    });
    assert_eq!(world.of(0), [Round { node: id(0), rtt: Some(RTT), first_lost: false }]);
    assert_eq!(world.of(1), [Round { node: id(1), rtt: None, first_lost: true }]);
}

/// Two rounds of questions of which those of one kind may not be sent; the others are answered, or
/// not.
fn without_the_right_to(kind: usize, probes: &[NodeProbe], rtt: Option<Duration>) -> Vec<Round> {
    let now = Instant::now();
    let mut scheduler = ProbeScheduler::new(now);
    scheduler.replan(&plan(0..1, probes), now);
    let mut results = Vec::new();
    for at in (0..600).map(ms) {
        let now = now + at;
        scheduler.settle(now, &mut results);
        scheduler.begin(now);
        for asked in 0..PROBES.len() {
            let (indices, questions) = scheduler.questions(asked);
            let answers: Vec<Answer> = questions
                .iter()
                .map(|q| Answer { key: q.key, rtt, from: Some(q.address) })
                .collect();
            if asked == kind {
                scheduler.denied(&indices, now);
                continue;
            }
            scheduler.sent(asked, &indices, indices.len(), now);
            answers
                .iter()
                .filter(|answer| answer.rtt.is_some())
                .for_each(|answer| scheduler.answered(answer, now));
        }
    }
    results
}

#[test]
fn what_may_not_be_asked_reports_nothing_of_a_node() {
    const ARP: usize = 0;
    assert!(PROBES[ARP].name == "arp");
    let both = [NodeProbe::Arp, NodeProbe::Icmp];
    assert_eq!(without_the_right_to(ARP, &both[..1], Some(RTT)), [], "nothing is known of it");
    let well = without_the_right_to(ARP, &both, Some(Duration::ZERO));
    let round = Round { node: id(0), rtt: Some(Duration::ZERO), first_lost: false };
    assert_eq!(well, [round; 2], "the other probe is what counts");
    let ill = without_the_right_to(ARP, &both, None);
    assert_eq!(ill, [Round { rtt: None, first_lost: true, ..round }; 2]);
}

#[test]
fn a_probe_that_is_named_twice_is_asked_once() {
    let mut world = World::new(&plan(0..1, &[NodeProbe::Arp, NodeProbe::Arp]));
    world.run(ms(250), |_, _| Some(RTT));
    assert_eq!(world.asked.len(), 1);
    assert_eq!(world.of(0).len(), 1);
}

#[test]
fn an_answer_from_another_address_or_of_another_round_is_none() {
    let mut world = World::new(&plan(0..1, &[NodeProbe::Icmp]));
    world.run(ms(1), |_, _| None);
    let key = Key { node: id(0), turn: 1, probe: 0, nth: 0 };
    for answer in [
        Answer { key, rtt: Some(RTT), from: Some(address(9)) },
        Answer { key: Key { turn: 7, ..key }, rtt: Some(RTT), from: Some(address(0)) },
        Answer {
            key: Key { node: NodeId { slot: 0, generation: 1 }, ..key },
            rtt: Some(RTT),
            from: Some(address(0)),
        },
    ] {
        world.scheduler.answered(&answer, world.now);
    }
    world.run(ms(290), |_, _| None);
    assert_eq!(world.of(0), [Round { node: id(0), rtt: None, first_lost: true }]);
}

#[test]
fn a_clock_that_is_set_makes_no_node_slow() {
    let mut world = World::new(&plan(0..1, &[NodeProbe::Icmp]));
    world.run(ms(1), |_, _| None);
    let key = Key { node: id(0), turn: 1, probe: 0, nth: 0 };
    let answer = Answer { key, rtt: Some(Duration::from_secs(3600)), from: Some(address(0)) };
    world.scheduler.answered(&answer, world.now + ms(2));
    world.run(ms(250), |_, _| None);
    assert!(world.of(0)[0].rtt.unwrap() <= ms(5));
}

#[test]
fn who_comes_and_goes_does_not_disturb_the_others() {
    let mut world = World::new(&plan(0..40, &[NodeProbe::Icmp]));
    world.run(ms(600), |_, _| Some(RTT));
    world.results.clear();
    // Someone comes and goes every 20 ms; node 5 is dead.
    for step in 0..100 {
        let slots = (0..40).chain((step % 2 == 0).then_some(40 + step));
        world.scheduler.replan(&plan(slots, &[NodeProbe::Icmp]), world.now);
        world.run(ms(20), |key, _| (key.node.slot != 5).then_some(RTT));
    }
    for slot in (0..40).filter(|slot| *slot != 5) {
        let scheduler = world.of(slot);
        assert!(
            (6..=8).contains(&scheduler.len()),
            "node {slot} had {} rounds in 2 s",
            scheduler.len()
        );
        assert!(scheduler.iter().all(|round| round.rtt.is_some()));
    }
    assert!(world.of(5).iter().all(|round| round.rtt.is_none()) && world.of(5).len() >= 6);
    assert!(world.of(60).len() == 1, "a new node is asked at once");
}

#[test]
fn questions_without_room_are_asked_later_and_fail_no_node() {
    let now = Instant::now();
    let mut scheduler = ProbeScheduler::new(now);
    scheduler.replan(&plan(0..10, &[NodeProbe::Tcp(22)]), now);
    let (indices, questions) = scheduler.questions(2);
    assert_eq!(questions.len(), 10);
    scheduler.sent(2, &indices, 4, now);
    let mut ended = Vec::new();
    scheduler.settle(now + ms(200), &mut ended);
    let (_, questions) = scheduler.questions(2);
    let first_tries = questions.iter().filter(|question| question.key.nth == 0).count();
    assert_eq!((first_tries, questions.len(), ended.len()), (6, 10, 0));
}

#[test]
fn a_question_takes_few_bytes() {
    let bytes = size_of::<Ask>();
    println!("{bytes} bytes a question, {} a target", size_of::<NodeTarget>());
    assert!(bytes <= 48 && size_of::<NodeTarget>() <= 56);
}

#[test]
fn a_node_with_a_time_of_its_own_is_waited_for_longer_and_the_others_are_not() {
    let mut plan = plan(0..2, &[NodeProbe::Http { port: 80, path: "/".to_owned(), expect: None }]);
    let mut nodes = plan.nodes.to_vec();
    nodes[1].timeout = 2000;
    plan.nodes = Arc::new(nodes);
    let mut world = World::new(&plan);
    world.run(ms(10_000), |_, _| Some(ms(800)));
    assert!(
        world.of(0).iter().all(|round| round.rtt.is_none()),
        "a page takes longer than health.timeout"
    );
    let slow = world.of(1);
    assert!(slow.len() >= 9 && slow.iter().all(|round| round.rtt == Some(ms(800))), "{slow:?}");
    let mut world = World::new(&plan);
    world.run(ms(10_000), |_, _| None);
    let lost = world.results.iter().filter(|(_, round)| round.node.slot == 1);
    let ends: Vec<u128> = lost.map(|(at, _)| at.as_millis()).collect();
    assert!((2000..2100).contains(&ends[0]) && ends.len() >= 4, "{ends:?}");
}

/// What it failed before counts no more where it may not be asked: the kernel's entry was forgotten
/// then, and is not in each round.
#[test]
fn a_silent_node_that_may_no_longer_be_asked_is_not_named_again() {
    for probes in [&[NodeProbe::Icmp][..], &[NodeProbe::Icmp, NodeProbe::Arp]] {
        let mut world = World::new(&plan([0], probes));
        let mut named = Vec::new();
        while named.is_empty() && world.now < world.begun + ms(3000) {
            world.run(ms(10), |_, _| None);
            named = world.scheduler.take_silent();
        }
        assert_eq!(named, [address(0)]);
        let (mut now, mut rounds) = (world.now, 0);
        for _ in 0..3000 {
            now += ms(1);
            world.scheduler.settle(now, &mut Vec::new());
            world.scheduler.begin(now);
            for kind in 0..PROBES.len() {
                let (indices, _) = world.scheduler.questions(kind);
                rounds += indices.len();
                world.scheduler.denied(&indices, now);
            }
            assert_eq!(world.scheduler.take_silent(), [] as [Ipv4Addr; 0]);
        }
        assert!(rounds >= 9 * probes.len(), "{rounds}");
    }
}

/// Once for each time that a node falls silent: the kernel is not kept busy with the dead.
#[test]
fn a_node_that_falls_silent_is_named_once_and_again_after_it_has_answered() {
    let mut world = World::new(&plan([0, 1], &[NodeProbe::Icmp]));
    let well = |_: Key, _: &NodeProbe| Some(RTT);
    let one_is_dead = |key: Key, _: &NodeProbe| (key.node.slot == 1).then_some(RTT);
    world.run(ms(900), well);
    assert_eq!(world.scheduler.take_silent(), [] as [IpAddr; 0]);
    for _ in 0..2 {
        world.run(ms(3000), one_is_dead);
        assert_eq!(world.scheduler.take_silent(), [address(0)]);
        world.run(ms(900), well);
        assert_eq!(world.scheduler.take_silent(), [] as [IpAddr; 0]);
    }
}
