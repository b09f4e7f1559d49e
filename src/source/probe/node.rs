//! The nodes' probes at work: takes answers in, ends rounds, begins others, and tells the results. The state decides what a
//! failed round means.

use std::convert::Infallible;
use std::io;

use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until};

use super::rounds::Rounds;
use super::{NodeProbePlan, PROBES, Probe};
use crate::event::{self, Event};

/// Asks round after round, and tells every node's result of each; those that end together are told together.
///
/// # Errors
/// A channel is closed (`BrokenPipe`).
pub async fn run(mut plan: watch::Receiver<NodeProbePlan>, events: mpsc::Sender<Event>) -> io::Result<Infallible> {
    let mut probes: Vec<Box<dyn Probe>> = PROBES.iter().map(|kind| (kind.make)()).collect();
    let mut rounds = Rounds::new(Instant::now());
    let mut answers = Vec::new();
    plan.mark_changed();
    loop {
        let mut now = Instant::now();
        if plan.has_changed().map_err(|_| io::ErrorKind::BrokenPipe)? {
            let wanted = plan.borrow_and_update().clone();
            rounds.replan(&wanted, now);
        }
        probes.iter_mut().for_each(|probe| probe.answers(&mut answers));
        answers.drain(..).for_each(|answer| rounds.answered(&answer, now));
        let mut ended = Vec::new();
        rounds.settle(now, &mut ended);
        rounds.begin(now);
        for (kind, probe) in probes.iter_mut().enumerate() {
            let port = rounds.plan().port.clone();
            let (indices, questions) = rounds.questions(kind);
            if questions.is_empty() {
                continue;
            }
            let taken = probe.ask(&questions, port.as_deref());
            now = Instant::now();
            rounds.sent(kind, &indices, taken, now);
        }
        if !ended.is_empty() {
            let told = Event::Probe(event::Probe::Nodes(ended));
            events.send(told).await.map_err(|_| io::ErrorKind::BrokenPipe)?;
        }
        let next = rounds.next();
        tokio::select! {
            () = async { sleep_until(next.unwrap_or(now)).await }, if next.is_some() => {}
            changed = plan.changed() => {
                changed.map_err(|_| io::ErrorKind::BrokenPipe)?;
                plan.mark_changed();
            }
        }
    }
}
