//! Progress of the nodes' shutdown, as `bramblegate shutdown` reports it.

use std::time::Duration;

use crate::event::{Event, Instant, Order, Report};
use crate::facts::transition::Transition;

/// Without a report for this long, a shutdown counts as aborted.
pub const REPORT_TIME: Duration = Duration::from_secs(15);

/// Holds the last report, until the shutdown has ended.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Shutdown {
    last: Option<(Report, Instant)>,
}

impl Shutdown {
    /// Returns the last report of a running shutdown.
    pub fn report(&self) -> Option<&Report> {
        self.last.as_ref().map(|(report, _)| report)
    }

    pub(crate) fn handle(&mut self, event: &Event, now: Instant) -> Vec<Transition> {
        let Event::Order(Order::Shutdown(report)) = event else { return Vec::new() };
        let mut transitions = Vec::new();
        let known = self.report();
        if known.is_none() {
            let nodes = report.waiting_total;
            transitions.push(Transition::ShutdownBegan { nodes, head: report.head });
        }
        if report.ended && known.is_none_or(|known| !known.ended) {
            let (up, total) = (report.waiting.clone(), report.waiting_total);
            transitions.push(Transition::ShutdownEnded { up, total, head: report.head });
        }
        // If the head follows, the report is shown until it powers off.
        let is_over = report.ended && !report.head;
        self.last = (!is_over).then(|| (report.clone(), now));
        transitions
    }

    /// Processes the timeout.
    pub(crate) fn refresh(&mut self, now: Instant) -> Option<Transition> {
        let (report, at) = self.last.as_ref()?;
        if now.saturating_since(*at) < REPORT_TIME {
            return None;
        }
        let ended = report.ended;
        self.last = None;
        Some(if ended { Transition::PowerOffUnheard } else { Transition::ShutdownBrokenOff })
    }

    /// Returns when the shutdown counts as aborted.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        self.last.as_ref().map(|(_, at)| *at + REPORT_TIME)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Instant {
        Instant::from_boot(Duration::from_secs(seconds))
    }

    fn send(shutdown: &mut Shutdown, ended: bool, head: bool, second: u64) -> usize {
        let report = Report { ended, head, ..Report::default() };
        shutdown.handle(&Event::Order(Order::Shutdown(report)), at(second)).len()
    }

    #[test]
    fn start_and_end_are_reported_once() {
        let mut shutdown = Shutdown::default();
        assert_eq!([0, 1, 2].map(|second| send(&mut shutdown, false, false, second)), [1, 0, 0]);
        assert_eq!(send(&mut shutdown, true, false, 3), 1);
        assert_eq!((shutdown.report(), shutdown.next_deadline()), (None, None));
    }

    #[test]
    fn an_aborted_shutdown_leaves_nothing_on_the_display() {
        let mut shutdown = Shutdown::default();
        send(&mut shutdown, false, true, 0);
        assert_eq!(shutdown.refresh(at(14)), None);
        assert!(shutdown.report().is_some());
        assert_eq!(shutdown.refresh(at(15)), Some(Transition::ShutdownBrokenOff));
        assert_eq!(shutdown.report(), None);
        assert_eq!(shutdown.refresh(at(16)), None);
    }

    #[test]
    fn a_head_that_does_not_follow_its_nodes_is_reported() {
        let mut shutdown = Shutdown::default();
        assert_eq!(send(&mut shutdown, true, true, 0), 2);
        assert!(shutdown.report().is_some(), "shown until the end");
        assert_eq!(shutdown.refresh(at(15)), Some(Transition::PowerOffUnheard));
    }
}
