//! Tests of the scheduler with simulated nodes and a simulated clock.

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

/// Simulates a cluster whose nodes reply after a given time or never.
struct World {
    scheduler: ProbeScheduler,
    begun: Instant,
    now: Instant,
    in_flight: Vec<(Instant, Reply)>,
    /// Requests as (time, slot, number of the try).
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
            in_flight: Vec::new(),
            asked: Vec::new(),
            results: Vec::new(),
        }
    }

    /// Advances the clock; `rtt` returns the round-trip time of a request.
    fn run(&mut self, time: Duration, rtt: impl Fn(Key, &NodeProbe) -> Option<Duration>) {
        let end = self.now + time;
        while self.now < end {
            let now = self.now;
            let (arrived, rest): (Vec<_>, Vec<_>) =
                std::mem::take(&mut self.in_flight).into_iter().partition(|(at, _)| *at <= now);
            self.in_flight = rest;
            arrived.iter().for_each(|(_, answer)| self.scheduler.answered(answer, now));
            let mut ended = Vec::new();
            self.scheduler.settle(now, &mut ended);
            self.results.extend(ended.into_iter().map(|round| (now - self.begun, round)));
            self.scheduler.begin(now);
            for kind in 0..PROBES.len() {
                let (indices, requests) = self.scheduler.requests(kind);
                for request in requests {
                    let key = request.key;
                    self.asked.push((now - self.begun, key.node.slot, key.nth));
                    let answered = rtt(key, request.probe);
                    let answer = |rtt| {
                        (now + rtt, Reply { key, rtt: Some(rtt), from: Some(request.address) })
                    };
                    self.in_flight.extend(answered.map(answer));
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
fn only_a_silent_node_is_retried_with_longer_timeouts_and_its_first_loss_is_reported() {
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
fn three_rounds_fail_within_a_second_with_three_nodes_and_with_750() {
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
fn a_node_without_a_known_rtt_has_the_whole_round_for_its_reply() {
    let mut world = World::new(&plan(0..1, &[NodeProbe::Icmp]));
    world.run(ms(300), |_, _| Some(ms(95)));
    assert_eq!(world.of(0).first().and_then(|round| round.rtt), Some(ms(95)));
    assert!(!world.of(0)[0].first_lost, "it was the first try that was answered");
}

#[test]
fn a_node_that_becomes_slow_does_not_fail() {
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
fn many_nodes_are_spread_evenly_over_the_interval() {
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
fn a_standstill_causes_no_burst() {
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
fn a_node_is_healthy_only_if_all_its_probes_succeed() {
    let mut world = World::new(&plan(0..2, &[NodeProbe::Icmp, NodeProbe::Tcp(22)]));
    world.run(ms(250), |key, probe| {
        (key.node.slot == 0 || *probe == NodeProbe::Icmp).then_some(RTT)
    });
    assert_eq!(world.of(0), [Round { node: id(0), rtt: Some(RTT), first_lost: false }]);
    assert_eq!(world.of(1), [Round { node: id(1), rtt: None, first_lost: true }]);
}

/// Runs two rounds in which one kind of probe is denied, and the others are answered after `rtt`.
fn run_denied(kind: usize, probes: &[NodeProbe], rtt: Option<Duration>) -> Vec<Round> {
    let now = Instant::now();
    let mut scheduler = ProbeScheduler::new(now);
    scheduler.replan(&plan(0..1, probes), now);
    let mut results = Vec::new();
    for at in (0..600).map(ms) {
        let now = now + at;
        scheduler.settle(now, &mut results);
        scheduler.begin(now);
        for asked in 0..PROBES.len() {
            let (indices, requests) = scheduler.requests(asked);
            let answers: Vec<Reply> =
                requests.iter().map(|q| Reply { key: q.key, rtt, from: Some(q.address) }).collect();
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
fn a_denied_probe_does_not_count() {
    const ARP: usize = 0;
    assert!(PROBES[ARP].name == "arp");
    let both = [NodeProbe::Arp, NodeProbe::Icmp];
    assert_eq!(run_denied(ARP, &both[..1], Some(RTT)), [], "nothing is known of it");
    let well = run_denied(ARP, &both, Some(Duration::ZERO));
    let round = Round { node: id(0), rtt: Some(Duration::ZERO), first_lost: false };
    assert_eq!(well, [round; 2], "the other probe is what counts");
    let ill = run_denied(ARP, &both, None);
    assert_eq!(ill, [Round { rtt: None, first_lost: true, ..round }; 2]);
}

#[test]
fn a_duplicate_probe_is_sent_once() {
    let mut world = World::new(&plan(0..1, &[NodeProbe::Arp, NodeProbe::Arp]));
    world.run(ms(250), |_, _| Some(RTT));
    assert_eq!(world.asked.len(), 1);
    assert_eq!(world.of(0).len(), 1);
}

#[test]
fn a_reply_from_another_address_or_round_does_not_count() {
    let mut world = World::new(&plan(0..1, &[NodeProbe::Icmp]));
    world.run(ms(1), |_, _| None);
    let key = Key { node: id(0), turn: 1, probe: 0, nth: 0 };
    for answer in [
        Reply { key, rtt: Some(RTT), from: Some(address(9)) },
        Reply { key: Key { turn: 7, ..key }, rtt: Some(RTT), from: Some(address(0)) },
        Reply {
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
fn setting_the_clock_does_not_affect_round_trips() {
    let mut world = World::new(&plan(0..1, &[NodeProbe::Icmp]));
    world.run(ms(1), |_, _| None);
    let key = Key { node: id(0), turn: 1, probe: 0, nth: 0 };
    let answer = Reply { key, rtt: Some(Duration::from_secs(3600)), from: Some(address(0)) };
    world.scheduler.answered(&answer, world.now + ms(2));
    world.run(ms(250), |_, _| None);
    assert!(world.of(0)[0].rtt.unwrap() <= ms(5));
}

#[test]
fn added_and_removed_nodes_do_not_affect_the_others() {
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
fn requests_that_were_not_accepted_are_sent_later_and_fail_no_node() {
    let now = Instant::now();
    let mut scheduler = ProbeScheduler::new(now);
    scheduler.replan(&plan(0..10, &[NodeProbe::Tcp(22)]), now);
    let (indices, requests) = scheduler.requests(2);
    assert_eq!(requests.len(), 10);
    scheduler.sent(2, &indices, 4, now);
    let mut ended = Vec::new();
    scheduler.settle(now + ms(200), &mut ended);
    let (_, requests) = scheduler.requests(2);
    let first_tries = requests.iter().filter(|request| request.key.nth == 0).count();
    assert_eq!((first_tries, requests.len(), ended.len()), (6, 10, 0));
}

#[test]
fn a_probe_takes_few_bytes() {
    let bytes = size_of::<Ask>();
    println!("{bytes} bytes a question, {} a target", size_of::<NodeTarget>());
    assert!(bytes <= 48 && size_of::<NodeTarget>() <= 56);
}

#[test]
fn a_timeout_of_one_node_does_not_apply_to_the_others() {
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

/// Earlier failures of a denied probe must not delete the kernel's neighbour entry in each round.
#[test]
fn a_silent_node_with_denied_probes_is_not_reported_again() {
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
                let (indices, _) = world.scheduler.requests(kind);
                rounds += indices.len();
                world.scheduler.denied(&indices, now);
            }
            assert_eq!(world.scheduler.take_silent(), [] as [Ipv4Addr; 0]);
        }
        assert!(rounds >= 9 * probes.len(), "{rounds}");
    }
}

/// A dead node must not cause a neighbour resolution in each round.
#[test]
fn a_silent_node_is_reported_once_until_it_answers_again() {
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
