//! The nodes' probes at work: takes answers in, ends rounds, begins others, and tells the results.
//! The state decides what a failed round means.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::io;

use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use super::resolution::Resolution;
use super::rounds::Rounds;
use super::{NodeProbePlan, PROBES, Probe};
use crate::event::{self, Event};
use crate::sync::{Closed, reached};
use crate::watch::emit;

/// Asks round after round, and tells every node's result of each; those that end together are told
/// together.
///
/// # Errors
/// A channel is closed (`Closed`).
pub async fn run(
    mut plan: watch::Receiver<NodeProbePlan>,
    events: mpsc::Sender<Event>,
) -> io::Result<Infallible> {
    let mut probes: Vec<Box<dyn Probe>> = PROBES.iter().map(|kind| (kind.make)()).collect();
    let mut rounds = Rounds::new(Instant::now());
    let mut answers = Vec::new();
    let mut denied = BTreeSet::new();
    let mut resolution = Resolution::default();
    plan.mark_changed();
    loop {
        let mut now = Instant::now();
        if plan.has_changed().map_err(|_| Closed)? {
            let wanted = plan.borrow_and_update().clone();
            rounds.replan(&wanted, now);
        }
        probes.iter_mut().for_each(|probe| probe.answers(&mut answers));
        answers.drain(..).for_each(|answer| rounds.answered(&answer, now));
        let mut ended = Vec::new();
        rounds.settle(now, &mut ended);
        let silent = rounds.take_silent();
        if let Some(port) = &rounds.plan().port {
            resolution.begin_anew(port, &silent);
        }
        rounds.begin(now);
        for (kind, probe) in probes.iter_mut().enumerate() {
            let port = rounds.plan().port.clone();
            let (indices, questions) = rounds.questions(kind);
            if questions.is_empty() {
                continue;
            }
            // Without a cluster port they go unanswered: elsewhere somebody else may have their
            // addresses.
            let taken = port.map_or(questions.len(), |port| probe.ask(&questions, &port));
            now = Instant::now();
            match probe.is_denied() {
                true => rounds.denied(&indices, now),
                false => rounds.sent(kind, &indices, taken, now),
            }
        }
        for reported in denials(&mut denied, kinds_denied(&probes, &rounds)) {
            emit(&events, Event::Probe(reported)).await?;
        }
        if !ended.is_empty() {
            let reported = Event::Probe(event::Probe::Nodes(ended));
            emit(&events, reported).await?;
        }
        tokio::select! {
            () = reached(rounds.next()) => {}
            changed = plan.changed() => {
                changed.map_err(|_| Closed)?;
                plan.mark_changed();
            }
        }
    }
}

/// The kinds of probes that are asked for and may not be sent.
fn kinds_denied(probes: &[Box<dyn Probe>], rounds: &Rounds) -> BTreeSet<&'static str> {
    let kinds = PROBES.iter().zip(probes).enumerate();
    let denied = kinds.filter(|(kind, (_, probe))| probe.is_denied() && rounds.asks(*kind));
    BTreeSet::from_iter(denied.map(|(_, (kind, _))| kind.name))
}

/// What is to be told when these kinds may not be sent, and `before` was told.
fn denials(before: &mut BTreeSet<&'static str>, now: BTreeSet<&'static str>) -> Vec<event::Probe> {
    let changed = before.symmetric_difference(&now);
    let reported = changed
        .map(|kind| event::Probe::Denied { probe: (*kind).to_owned(), denied: now.contains(kind) });
    let reported = reported.collect();
    *before = now;
    reported
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_right_is_reported_once_and_so_is_its_return() {
        let mut known = BTreeSet::new();
        let mut report =
            |kinds: &[&'static str]| denials(&mut known, kinds.iter().copied().collect());
        let reported =
            |probe: &str, denied| event::Probe::Denied { probe: probe.to_owned(), denied };
        assert_eq!(report(&["arp", "icmp"]), [reported("arp", true), reported("icmp", true)]);
        assert_eq!(report(&["arp", "icmp"]), []);
        assert_eq!(report(&["icmp"]), [reported("arp", false)]);
        assert_eq!(report(&[]), [reported("icmp", false)]);
    }
}
