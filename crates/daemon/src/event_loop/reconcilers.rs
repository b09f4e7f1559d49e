//! The reconcilers of the network half: one task each, and their common end.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use crate::decide::GatewayPlan;
use crate::decide::clat::ClatPlan;
use crate::event::{ApplyError, Event, Output};
use crate::facts::Resyncs;
use crate::reconcile::Reconciler;
use crate::reconcile::clat::ClatReconciler;
use crate::reconcile::dhcp::pref64::Pref64Reconciler;
use crate::reconcile::firewall::FirewallReconciler;
use crate::reconcile::firewall::conntrack::ConntrackReconciler;
use crate::reconcile::link::LinkReconciler;
use crate::reconcile::routing::{self, RoutingReconciler};
use crate::reconcile::worker::{self, InFlight, Order};

/// The service manager hears no sign of life when an essential reconciler owes an answer for
/// longer.
const PATIENCE: Duration = Duration::from_secs(5);

/// A reconciler in its task, and the channel of what it should hold.
#[derive(Debug)]
struct Worker<S: Reconciler> {
    desired: watch::Sender<Order<S::Desired>>,
    in_flight: InFlight,
    task: JoinHandle<S>,
}

impl<S: Reconciler> Worker<S> {
    /// Starts a reconciler. `factory` makes another one should this one panic.
    fn spawn(
        reconciler: S,
        factory: impl Fn() -> S + Send + 'static,
        events: &mpsc::Sender<Event>,
    ) -> Self {
        let (desired, receiver) = watch::channel(Order::default());
        let in_flight = InFlight::default();
        Self {
            desired,
            task: tokio::spawn(worker::run(
                reconciler,
                factory,
                receiver,
                events.clone(),
                in_flight.clone(),
            )),
            in_flight,
        }
    }

    /// Returns what it is, if it has owed an answer for longer than `patience`.
    fn overdue(&self, patience: Duration) -> Option<Output> {
        self.in_flight.time().filter(|time| *time > patience).map(|_| S::OUTPUT)
    }

    /// Hands out a plan. An equal value wakes no task, unless the reconciler is to look again.
    fn publish(&self, value: &S::Desired, resyncs: &Resyncs) {
        worker::order(&self.desired, value, resyncs.contains(S::OUTPUT));
    }

    /// Ends the task and gives the reconciler back.
    async fn end(self) -> Option<S> {
        drop(self.desired);
        self.task.await.ok()
    }
}

/// All of them.
#[derive(Debug)]
pub struct Reconcilers {
    firewall: Worker<FirewallReconciler>,
    link: Worker<LinkReconciler>,
    routing: Worker<RoutingReconciler>,
    conntrack: Worker<ConntrackReconciler>,
    clat: Worker<ClatReconciler>,
    pref64: Worker<Pref64Reconciler>,
    firewall_port: Arc<AtomicU32>,
}

impl Reconcilers {
    /// Starts them; they do nothing before the first [`Self::publish`].
    ///
    /// # Errors
    /// The kernel gives no nfnetlink socket.
    pub fn spawn(
        (state_directory, run_directory): (&Path, &Path),
        events: &mpsc::Sender<Event>,
    ) -> Result<Self, ApplyError> {
        let mut firewall = FirewallReconciler::guarding();
        let firewall_port = Arc::new(AtomicU32::new(firewall.port()?));
        let known = Arc::clone(&firewall_port);
        let another_firewall = move || {
            let mut firewall = FirewallReconciler::guarding();
            // Without a socket the first order says what is wrong.
            known.store(firewall.port().unwrap_or_default(), Ordering::Relaxed);
            firewall
        };
        let (directory, run) = (state_directory.to_owned(), run_directory.to_owned());
        Ok(Self {
            firewall: Worker::spawn(firewall, another_firewall, events),
            link: Worker::spawn(
                LinkReconciler::new(state_directory),
                move || LinkReconciler::new(&directory),
                events,
            ),
            routing: Worker::spawn(
                RoutingReconciler::default(),
                RoutingReconciler::default,
                events,
            ),
            conntrack: Worker::spawn(ConntrackReconciler, || ConntrackReconciler, events),
            clat: Worker::spawn(
                ClatReconciler::new(run_directory),
                move || ClatReconciler::new(&run),
                events,
            ),
            pref64: Worker::spawn(Pref64Reconciler::default(), Pref64Reconciler::default, events),
            firewall_port,
        })
    }

    /// Returns the netlink port of the firewall's reconciler: changes that carry it are our own.
    pub fn firewall_port(&self) -> u32 {
        self.firewall_port.load(Ordering::Relaxed)
    }

    /// Returns an essential one that has not answered for so long that the gateway must not be
    /// reported as working.
    pub fn overdue(&self) -> Option<Output> {
        let (firewall, link) = (self.firewall.overdue(PATIENCE), self.link.overdue(PATIENCE));
        firewall.or(link).or_else(|| self.routing.overdue(PATIENCE))
    }

    /// Hands out the plans, the firewall's first: nothing is forwarded before it is judged.
    pub fn publish(&self, plan: &GatewayPlan, resyncs: &Resyncs) {
        self.firewall.publish(&plan.firewall, resyncs);
        self.link.publish(&plan.links, resyncs);
        self.routing.publish(&plan.routing, resyncs);
        // Undecided: what was ordered before this start goes on.
        if plan.clat != ClatPlan::Undecided {
            self.clat.publish(&plan.clat.order().cloned(), resyncs);
        }
        self.pref64.publish(&plan.pref64, resyncs);
        if !plan.conntrack.sources.is_empty() {
            self.conntrack.publish(&plan.conntrack, resyncs);
        }
    }

    /// Ends all and takes everything of ours out of the kernel. Returns what could not be put back.
    pub async fn remove(self, state_directory: &Path) -> Vec<ApplyError> {
        let mut errors = Vec::new();
        let link = self.link.end().await.unwrap_or_else(|| LinkReconciler::new(state_directory));
        self.routing.end().await;
        self.conntrack.end().await;
        drop(self.pref64.end().await);
        let clat = self.clat.end().await;
        errors.extend(clat.and_then(|clat| clat.put(None).err()).map(ApplyError::from));
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
        let worker = Worker::spawn(Moody, || Moody, &events);
        let patience = Duration::from_millis(50);
        worker.publish(&true, &Resyncs::default());
        assert!(matches!(heard.recv().await, Some(Event::Applied(_))));
        sleep(patience * 2).await;
        assert_eq!(worker.overdue(patience), None, "nothing is owed");
        worker.publish(&false, &Resyncs::default());
        sleep(patience / 2).await;
        assert_eq!(worker.overdue(patience), None, "not for long");
        sleep(patience).await;
        assert_eq!(worker.overdue(patience), Some(Output::Routing));
    }
}
