//! Runs the node probes: receives replies, ends and starts rounds, and reports the results. The
//! facts decide what a failed round means.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::io;

use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use super::resolution::Resolution;
use super::scheduler::ProbeScheduler;
use super::{NodeProbePlan, PROBES, Probe};
use crate::event::{self, Event};
use crate::sync::{Closed, reached};
use crate::watch::emit;

/// Probes all nodes in rounds and reports each result; those that end together form one event.
///
/// # Errors
/// A channel is closed (`Closed`).
pub async fn run(
    mut plan: watch::Receiver<NodeProbePlan>,
    events: mpsc::Sender<Event>,
) -> io::Result<Infallible> {
    let mut probes: Vec<Box<dyn Probe>> = PROBES.iter().map(|kind| (kind.make)()).collect();
    let mut scheduler = ProbeScheduler::new(Instant::now());
    let mut replies = Vec::new();
    let mut denied = BTreeSet::new();
    let mut resolution = Resolution::default();
    plan.mark_changed();
    loop {
        let mut now = Instant::now();
        if plan.has_changed().map_err(|_| Closed)? {
            let wanted = plan.borrow_and_update().clone();
            scheduler.replan(&wanted, now);
        }
        probes.iter_mut().for_each(|probe| probe.receive(&mut replies));
        replies.drain(..).for_each(|reply| scheduler.answered(&reply, now));
        let mut ended = Vec::new();
        scheduler.settle(now, &mut ended);
        let silent = scheduler.take_silent();
        if let Some(port) = &scheduler.plan().port {
            resolution.begin_anew(port, &silent);
        }
        scheduler.begin(now);
        for (kind, probe) in probes.iter_mut().enumerate() {
            let port = scheduler.plan().port.clone();
            let (indices, requests) = scheduler.requests(kind);
            if requests.is_empty() {
                continue;
            }
            // Without a cluster port nothing is sent: on other networks another host may have the
            // address.
            let taken = port.map_or(requests.len(), |port| probe.send(&requests, &port));
            now = Instant::now();
            if probe.is_denied() {
                scheduler.denied(&indices, now);
            } else {
                scheduler.sent(kind, &indices, taken, now);
            }
        }
        for reported in denials(&mut denied, kinds_denied(&probes, &scheduler)) {
            emit(&events, Event::Probe(reported)).await?;
        }
        if !ended.is_empty() {
            let reported = Event::Probe(event::Probe::Nodes(ended));
            emit(&events, reported).await?;
        }
        tokio::select! {
            () = reached(scheduler.next()) => {}
            changed = plan.changed() => {
                changed.map_err(|_| Closed)?;
                plan.mark_changed();
            }
        }
    }
}

/// Returns the kinds of probes that are in use but denied.
fn kinds_denied(probes: &[Box<dyn Probe>], scheduler: &ProbeScheduler) -> BTreeSet<&'static str> {
    let kinds = PROBES.iter().zip(probes).enumerate();
    let denied = kinds.filter(|(kind, (_, probe))| probe.is_denied() && scheduler.asks(*kind));
    BTreeSet::from_iter(denied.map(|(_, (kind, _))| kind.name))
}

/// Returns the events for kinds whose denial has changed since `before`, and updates it.
fn denials(before: &mut BTreeSet<&'static str>, now: BTreeSet<&'static str>) -> Vec<event::Probe> {
    let changed = before.symmetric_difference(&now);
    let events = changed
        .map(|kind| event::Probe::Denied { probe: (*kind).to_owned(), denied: now.contains(kind) })
        .collect();
    *before = now;
    events
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_denial_and_its_end_are_reported_once() {
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
