//! The appliers of the network half: one task each, and their common end.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use crate::decide::GatewayPlan;
use crate::event::{ApplyError, Event, Output};
use crate::reconcile::Reconciler;
use crate::reconcile::firewall::FirewallSink;
use crate::reconcile::firewall::conntrack::ConntrackSink;
use crate::reconcile::link::LinkSink;
use crate::reconcile::routing::{self, RoutingSink};
use crate::reconcile::worker::{self, InFlight};

/// The service manager hears no sign of life when an essential sink owes an answer for longer.
const PATIENCE: Duration = Duration::from_secs(5);

/// A sink in its task, and the channel of what it should hold.
#[derive(Debug)]
struct Applier<S: Reconciler> {
    desired: watch::Sender<Option<S::Desired>>,
    in_flight: InFlight,
    task: JoinHandle<S>,
}

impl<S: Reconciler> Applier<S> {
    /// `anew` makes another sink should this one panic.
    fn spawn(
        reconciler: S,
        anew: impl Fn() -> S + Send + 'static,
        events: &mpsc::Sender<Event>,
    ) -> Self {
        let (desired, receiver) = watch::channel(None);
        let in_flight = InFlight::default();
        Self {
            desired,
            task: tokio::spawn(worker::run(
                reconciler,
                anew,
                receiver,
                events.clone(),
                in_flight.clone(),
            )),
            in_flight,
        }
    }

    /// What it is, if it has owed an answer for longer than `patience`.
    fn overdue(&self, patience: Duration) -> Option<Output> {
        self.in_flight.time().filter(|time| *time > patience).map(|_| S::OUTPUT)
    }

    /// An equal value wakes nobody.
    fn publish(&self, value: &S::Desired) {
        // Not by `sync::publish`: a plan is copied only when it is news.
        if self.desired.borrow().as_ref() != Some(value) {
            self.desired.send_replace(Some(value.clone()));
        }
    }

    /// Ends the task and gives the sink back.
    async fn end(self) -> Option<S> {
        drop(self.desired);
        self.task.await.ok()
    }
}

/// All of them.
#[derive(Debug)]
pub struct Appliers {
    firewall: Applier<FirewallSink>,
    link: Applier<LinkSink>,
    routing: Applier<RoutingSink>,
    conntrack: Applier<ConntrackSink>,
    firewall_port: Arc<AtomicU32>,
}

impl Appliers {
    /// Starts them; they do nothing before the first [`Self::publish`].
    ///
    /// # Errors
    /// The kernel gives no nfnetlink socket.
    pub fn spawn(state_directory: &Path, events: &mpsc::Sender<Event>) -> Result<Self, ApplyError> {
        let mut firewall = FirewallSink::guarding();
        let firewall_port = Arc::new(AtomicU32::new(firewall.port()?));
        let known = Arc::clone(&firewall_port);
        let another_firewall = move || {
            let mut firewall = FirewallSink::guarding();
            // Without a socket the first order says what is wrong.
            known.store(firewall.port().unwrap_or_default(), Ordering::Relaxed);
            firewall
        };
        let directory = state_directory.to_owned();
        Ok(Self {
            firewall: Applier::spawn(firewall, another_firewall, events),
            link: Applier::spawn(
                LinkSink::new(state_directory),
                move || LinkSink::new(&directory),
                events,
            ),
            routing: Applier::spawn(RoutingSink::default(), RoutingSink::default, events),
            conntrack: Applier::spawn(ConntrackSink, || ConntrackSink, events),
            firewall_port,
        })
    }

    /// Netlink port of the firewall's applier: changes that carry it are our own.
    pub fn firewall_port(&self) -> u32 {
        self.firewall_port.load(Ordering::Relaxed)
    }

    /// An essential one that has not answered for so long that nobody may say the gateway works.
    pub fn overdue(&self) -> Option<Output> {
        let (firewall, link) = (self.firewall.overdue(PATIENCE), self.link.overdue(PATIENCE));
        firewall.or(link).or_else(|| self.routing.overdue(PATIENCE))
    }

    /// The firewall first: nothing is forwarded before it is judged.
    pub fn publish(&self, plan: &GatewayPlan) {
        self.firewall.publish(&plan.firewall);
        self.link.publish(&plan.links);
        self.routing.publish(&plan.routing);
        if plan.conntrack.revision > 0 {
            self.conntrack.publish(&plan.conntrack);
        }
    }

    /// Ends all and takes everything of ours out of the kernel. Tells what could not be put back.
    pub async fn remove(self, state_directory: &Path) -> Vec<ApplyError> {
        let mut errors = Vec::new();
        let link = self.link.end().await.unwrap_or_else(|| LinkSink::new(state_directory));
        self.routing.end().await;
        self.conntrack.end().await;
        let firewall = self.firewall.end().await;
        errors.extend(routing::restore().await.err().map(ApplyError::from));
        // By what this run knows: the disk may not have taken it.
        errors.extend(link.put_back().err().map(ApplyError::from));
        // Last: nothing is forwarded that is not judged.
        errors.extend(
            firewall.and_then(|mut firewall| firewall.remove().err()).map(ApplyError::from),
        );
        errors
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::sleep;

    use super::*;
    use crate::event::Applied;

    /// Answers `true`, keeps `false` waiting for ever.
    #[derive(Debug)]
    struct Moody;

    impl Reconciler for Moody {
        type Desired = bool;
        const OUTPUT: Output = Output::Routing;

        async fn apply(&mut self, answers: &bool) -> Result<Applied, ApplyError> {
            if *answers { Ok(Applied::Done) } else { std::future::pending().await }
        }
    }

    #[tokio::test]
    async fn one_that_does_not_answer_is_overdue_and_named() {
        let (events, mut heard) = mpsc::channel(4);
        let applier = Applier::spawn(Moody, || Moody, &events);
        let patience = Duration::from_millis(50);
        applier.publish(&true);
        assert!(matches!(heard.recv().await, Some(Event::Applied(_))));
        sleep(patience * 2).await;
        assert_eq!(applier.overdue(patience), None, "nothing is owed");
        applier.publish(&false);
        sleep(patience / 2).await;
        assert_eq!(applier.overdue(patience), None, "not for long");
        sleep(patience).await;
        assert_eq!(applier.overdue(patience), Some(Output::Routing));
    }
}
