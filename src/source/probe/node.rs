//! Rounds of questions to the nodes. One round asks every node, and those that do not answer at once twice more; all
//! within one interval. The state decides what a failed round means.

use std::collections::{BTreeSet, HashMap};
use std::convert::Infallible;
use std::io;
use std::net::Ipv4Addr;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until};

use super::{Kind, NodeProbePlan, NodeTarget, PROBES, Probe, Question};
use crate::config::NodeProbe;
use crate::event::{self, Event};

/// Asked at most this often in a round.
const TRIES: u32 = 3;
/// A try waits this many smoothed round trip times, but not shorter or longer than the bounds.
const PATIENCE: u32 = 4;
const SHORTEST_WAIT: Duration = Duration::from_millis(5);
const LONGEST_WAIT: Duration = Duration::from_millis(100);
const SHORTEST_INTERVAL: Duration = Duration::from_millis(20);

/// Asks round after round, and tells every node's result of each.
///
/// # Errors
/// A channel is closed (`BrokenPipe`).
pub async fn run(mut plan: watch::Receiver<NodeProbePlan>, events: mpsc::Sender<Event>) -> io::Result<Infallible> {
    let mut rounds = Rounds::new();
    let mut next = Instant::now();
    loop {
        let current = plan.borrow_and_update().clone();
        if current.nodes.iter().all(|node| node.probes.is_empty()) {
            tell(&events, rounds.denials(BTreeSet::new())).await?;
            plan.changed().await.map_err(|_| io::ErrorKind::BrokenPipe)?;
            next = Instant::now();
            continue;
        }
        tell(&events, rounds.round(&current).await).await?;
        next = (next + current.interval.max(SHORTEST_INTERVAL)).max(Instant::now());
        tokio::select! {
            () = sleep_until(next) => {}
            changed = plan.changed() => changed.map_err(|_| io::ErrorKind::BrokenPipe)?,
        }
    }
}

async fn tell(events: &mpsc::Sender<Event>, probes: Vec<event::Probe>) -> io::Result<()> {
    for probe in probes {
        events.send(Event::Probe(probe)).await.map_err(|_| io::ErrorKind::BrokenPipe)?;
    }
    Ok(())
}

/// The probes, and how long each node took lately.
struct Rounds {
    probes: Vec<(&'static Kind, Box<dyn Probe>)>,
    smoothed: HashMap<Ipv4Addr, Duration>,
    /// kinds of probes that we have no right to send, as told
    denied: BTreeSet<&'static str>,
}

impl Rounds {
    fn new() -> Self {
        static KINDS: [Kind; PROBES.len()] = PROBES;
        let probes = KINDS.iter().map(|kind| (kind, (kind.make)())).collect();
        Self { probes, smoothed: HashMap::new(), denied: BTreeSet::new() }
    }

    /// One round: for each node its first probe's round trip time, `None` if one of its probes failed thrice. Probes that may
    /// not be sent are told once and say nothing of a node.
    async fn round(&mut self, plan: &NodeProbePlan) -> Vec<event::Probe> {
        let port = plan.port.as_deref();
        let longest = LONGEST_WAIT.min(plan.interval.max(SHORTEST_INTERVAL) / TRIES);
        let smoothed = &self.smoothed;
        let asked = self.probes.iter_mut().map(|(kind, probe)| {
            let questions = questions(&plan.nodes, kind);
            async move { ask_patiently(probe.as_mut(), questions, port, smoothed, longest).await }
        });
        let answers: Vec<_> = join_all(asked).await.into_iter().flatten().collect();
        let asked = |kind: &Kind| plan.nodes.iter().flat_map(|node| &node.probes).any(|probe| (kind.takes)(probe));
        let denied = self.probes.iter().filter(|(kind, probe)| asked(kind) && probe.is_denied());
        let mut told = self.denials(denied.map(|(kind, _)| kind.name).collect());
        let able = |probe: &&NodeProbe| {
            self.probes.iter().any(|(kind, _)| (kind.takes)(probe) && !self.denied.contains(kind.name))
        };
        let results: Vec<_> = plan
            .nodes
            .iter()
            .map(|node| NodeTarget { probes: node.probes.iter().filter(able).cloned().collect(), ..node.clone() })
            .filter(|node| !node.probes.is_empty())
            .map(|node| (result(&node, &answers), node))
            .collect();
        self.smoothed.retain(|address, _| plan.nodes.iter().any(|node| node.address == *address));
        for (rtt, node) in &results {
            self.smooth(node.address, *rtt);
        }
        told.extend(results.into_iter().map(|(rtt, node)| event::Probe::Node { name: node.name, rtt }));
        told
    }

    /// What is to be told when these kinds may not be sent.
    fn denials(&mut self, now: BTreeSet<&'static str>) -> Vec<event::Probe> {
        let before = std::mem::replace(&mut self.denied, now);
        let changed = before.symmetric_difference(&self.denied);
        let told = changed.map(|kind| {
            let denied = self.denied.contains(kind);
            event::Probe::Denied { probe: (*kind).to_owned(), denied }
        });
        told.collect()
    }

    /// As TCP smooths its round trip time (RFC 6298); a node that fails gets all the patience there is.
    fn smooth(&mut self, address: Ipv4Addr, rtt: Option<Duration>) {
        match rtt {
            Some(rtt) => {
                let known = self.smoothed.entry(address).or_insert(rtt);
                *known = (*known * 7 + rtt) / 8;
            }
            None => {
                self.smoothed.remove(&address);
            }
        }
    }
}

fn questions(nodes: &[NodeTarget], kind: &Kind) -> Vec<Question> {
    let of_node = |node: &NodeTarget| {
        let probes = node.probes.iter().filter(|probe| (kind.takes)(probe));
        probes.map(|probe| Question { address: node.address, probe: probe.clone() }).collect::<Vec<_>>()
    };
    nodes.iter().flat_map(of_node).collect()
}

/// Asks, then asks those again that did not answer, with growing patience.
async fn ask_patiently(
    probe: &mut dyn Probe,
    questions: Vec<Question>,
    port: Option<&str>,
    smoothed: &HashMap<Ipv4Addr, Duration>,
    longest: Duration,
) -> Vec<(Question, Option<Duration>)> {
    let mut answered = Vec::new();
    let mut open = questions;
    for try_number in 0..TRIES {
        if open.is_empty() {
            break;
        }
        let slowest = open.iter().map(|question| smoothed.get(&question.address).copied().unwrap_or(longest)).max();
        let patience = slowest.unwrap_or(longest) * PATIENCE * 2_u32.pow(try_number);
        let within = patience.max(SHORTEST_WAIT * 2_u32.pow(try_number)).min(longest);
        let answers = probe.ask(&open, port, within).await;
        let mut silent = Vec::new();
        for (question, answer) in open.into_iter().zip(answers) {
            match answer {
                Some(rtt) => answered.push((question, Some(rtt))),
                None => silent.push(question),
            }
        }
        open = silent;
    }
    answered.extend(open.into_iter().map(|question| (question, None)));
    answered
}

/// All of a node's probes must have been answered; the first one's time is told.
fn result(node: &NodeTarget, answers: &[(Question, Option<Duration>)]) -> Option<Duration> {
    let mut first = None;
    for probe in &node.probes {
        let mut of_node = answers.iter().filter(|(question, _)| question.address == node.address);
        if let Some((_, answer)) = of_node.find(|(question, _)| question.probe == *probe) {
            let rtt = (*answer)?;
            first = first.or(Some(rtt));
        }
    }
    first
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::future::BoxFuture;

    fn node(last: u8, probes: &[NodeProbe]) -> NodeTarget {
        NodeTarget { name: format!("rpi{last}"), address: [192, 168, 50, last].into(), probes: probes.to_vec() }
    }

    fn question(last: u8, probe: NodeProbe) -> Question {
        Question { address: [192, 168, 50, last].into(), probe }
    }

    const QUICK: Option<Duration> = Some(Duration::from_micros(300));

    #[test]
    fn a_node_is_well_only_when_all_its_probes_are() {
        let node = node(11, &[NodeProbe::Icmp, NodeProbe::Tcp(22)]);
        let mut answers = vec![(question(11, NodeProbe::Icmp), QUICK), (question(11, NodeProbe::Tcp(22)), QUICK)];
        assert_eq!(result(&node, &answers), QUICK);
        answers[1].1 = None;
        assert_eq!(result(&node, &answers), None);
    }

    /// Answers at the given try; notes how long it was given.
    struct Scripted {
        answers_at: usize,
        asked: Vec<(usize, Duration)>,
    }

    impl Probe for Scripted {
        fn ask<'a>(
            &'a mut self,
            questions: &'a [Question],
            _: Option<&'a str>,
            within: Duration,
        ) -> BoxFuture<'a, Vec<Option<Duration>>> {
            self.asked.push((questions.len(), within));
            let answer = if self.asked.len() > self.answers_at { QUICK } else { None };
            // The first node always answers.
            let answers = questions.iter().map(|q| if q.address.octets()[3] == 11 { QUICK } else { answer }).collect();
            Box::pin(std::future::ready(answers))
        }
    }

    #[test]
    fn only_the_silent_are_asked_again_and_with_more_patience() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let mut probe = Scripted { answers_at: 2, asked: Vec::new() };
        let questions = vec![question(11, NodeProbe::Icmp), question(12, NodeProbe::Icmp)];
        let quick = Duration::from_micros(300);
        let smoothed = questions.iter().map(|question| (question.address, quick)).collect();
        let longest = Duration::from_millis(100);
        let answers = runtime.block_on(ask_patiently(&mut probe, questions, None, &smoothed, longest));
        assert!(answers.iter().all(|(_, rtt)| rtt.is_some()));
        let ms = Duration::from_millis;
        assert_eq!(probe.asked, [(2, ms(5)), (1, ms(10)), (1, ms(20))]);
    }

    #[test]
    fn a_round_of_a_dead_node_fits_into_the_interval() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let mut probe = Scripted { answers_at: 9, asked: Vec::new() };
        let questions = vec![question(12, NodeProbe::Icmp)];
        let answers =
            runtime.block_on(ask_patiently(&mut probe, questions, None, &HashMap::new(), Duration::from_millis(100)));
        assert_eq!(answers[0].1, None);
        assert!(probe.asked.iter().map(|(_, within)| *within).sum::<Duration>() <= Duration::from_millis(300));
    }
}
