//! The tasks of the network reconcilers.

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
use crate::reconcile::dhcp::withdrawal::WithdrawalReconciler;
use crate::reconcile::firewall::FirewallReconciler;
use crate::reconcile::firewall::conntrack::ConntrackReconciler;
use crate::reconcile::link::LinkReconciler;
use crate::reconcile::routing::{self, RoutingReconciler};
use crate::reconcile::worker::{self, InFlight, Order};

/// Timeout of an essential reconciler: while one exceeds it, the watchdog is not pinged.
const TIMEOUT: Duration = Duration::from_secs(5);

/// A reconciler in its task, and the channel of its desired state.
#[derive(Debug)]
struct Worker<S: Reconciler> {
    desired: watch::Sender<Order<S::Desired>>,
    in_flight: InFlight,
    task: JoinHandle<S>,
}

impl<S: Reconciler> Worker<S> {
    /// Spawns a reconciler. `factory` makes the next one after a panic.
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

    /// Returns its output if the current run has taken longer than `timeout`.
    fn overdue(&self, timeout: Duration) -> Option<Output> {
        self.in_flight.time().filter(|time| *time > timeout).map(|_| S::OUTPUT)
    }

    /// Publishes the desired state. An equal one wakes no task unless a resync is due.
    fn publish(&self, value: &S::Desired, resyncs: &Resyncs) {
        worker::order(&self.desired, value, resyncs.contains(S::OUTPUT));
    }

    /// Ends the task and returns the reconciler.
    async fn end(self) -> Option<S> {
        drop(self.desired);
        self.task.await.ok()
    }
}

/// All network reconcilers.
#[derive(Debug)]
pub struct Reconcilers {
    firewall: Worker<FirewallReconciler>,
    link: Worker<LinkReconciler>,
    routing: Worker<RoutingReconciler>,
    conntrack: Worker<ConntrackReconciler>,
    clat: Worker<ClatReconciler>,
    pref64: Worker<Pref64Reconciler>,
    withdrawal: Worker<WithdrawalReconciler>,
    firewall_port: Arc<AtomicU32>,
}

impl Reconcilers {
    /// Spawns the reconcilers; they do nothing before the first [`Self::publish`].
    ///
    /// # Errors
    /// An nfnetlink socket cannot be opened.
    pub fn spawn(
        (state_directory, run_directory): (&Path, &Path),
        events: &mpsc::Sender<Event>,
    ) -> Result<Self, ApplyError> {
        let mut firewall = FirewallReconciler::guarding();
        let firewall_port = Arc::new(AtomicU32::new(firewall.port()?));
        let shared_port = Arc::clone(&firewall_port);
        let next_firewall = move || {
            let mut firewall = FirewallReconciler::guarding();
            // If no socket can be opened, the next apply reports the error.
            shared_port.store(firewall.port().unwrap_or_default(), Ordering::Relaxed);
            firewall
        };
        let (directory, run) = (state_directory.to_owned(), run_directory.to_owned());
        Ok(Self {
            firewall: Worker::spawn(firewall, next_firewall, events),
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
            withdrawal: Worker::spawn(
                WithdrawalReconciler::default(),
                WithdrawalReconciler::default,
                events,
            ),
            firewall_port,
        })
    }

    /// Returns the netlink port ID of the firewall reconciler, which marks our own changes.
    pub fn firewall_port(&self) -> u32 {
        self.firewall_port.load(Ordering::Relaxed)
    }

    /// Returns an essential reconciler that exceeded its timeout.
    pub fn overdue(&self) -> Option<Output> {
        let (firewall, link) = (self.firewall.overdue(TIMEOUT), self.link.overdue(TIMEOUT));
        firewall.or(link).or_else(|| self.routing.overdue(TIMEOUT))
    }

    /// Publishes the plans, the firewall's first, so that no packet is forwarded unfiltered.
    pub fn publish(&self, plan: &GatewayPlan, resyncs: &Resyncs) {
        self.firewall.publish(&plan.firewall, resyncs);
        self.link.publish(&plan.links, resyncs);
        self.routing.publish(&plan.routing, resyncs);
        // While undecided, the order of an earlier run stays in force.
        if plan.clat != ClatPlan::Undecided {
            self.clat.publish(&plan.clat.order().cloned(), resyncs);
        }
        self.pref64.publish(&plan.pref64, resyncs);
        self.withdrawal.publish(&plan.withdrawal, resyncs);
        if !plan.conntrack.sources.is_empty() {
            self.conntrack.publish(&plan.conntrack, resyncs);
        }
    }

    /// Ends the reconcilers and removes the gateway from the kernel. Returns the errors.
    pub async fn remove(self, state_directory: &Path) -> Vec<ApplyError> {
        let mut errors = Vec::new();
        let link = self.link.end().await.unwrap_or_else(|| LinkReconciler::new(state_directory));
        self.routing.end().await;
        self.conntrack.end().await;
        drop(self.pref64.end().await);
        drop(self.withdrawal.end().await);
        let clat = self.clat.end().await;
        errors.extend(clat.and_then(|clat| clat.put(None).err()).map(ApplyError::from));
        let firewall = self.firewall.end().await;
        errors.extend(routing::restore().await.err().map(ApplyError::from));
        // The reconciler's own record is used, since the one on disk may be incomplete.
        errors.extend(link.put_back().err().map(ApplyError::from));
        // Last, so that no packet is forwarded unfiltered.
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

    /// Applies `true` immediately and hangs on `false`.
    #[derive(Debug)]
    struct Hanging;

    impl Reconciler for Hanging {
        type Desired = bool;
        const OUTPUT: Output = Output::Routing;

        async fn apply(&mut self, responds: &bool) -> Result<Applied, ApplyError> {
            if *responds { Ok(Applied::Done) } else { std::future::pending().await }
        }
    }

    #[tokio::test]
    async fn a_hanging_reconciler_is_overdue() {
        let (events, mut received) = mpsc::channel(4);
        let worker = Worker::spawn(Hanging, || Hanging, &events);
        let timeout = Duration::from_millis(50);
        worker.publish(&true, &Resyncs::default());
        assert!(matches!(received.recv().await, Some(Event::Applied(_))));
        sleep(timeout * 2).await;
        assert_eq!(worker.overdue(timeout), None, "nothing is in flight");
        worker.publish(&false, &Resyncs::default());
        sleep(timeout / 2).await;
        assert_eq!(worker.overdue(timeout), None, "not yet");
        sleep(timeout).await;
        assert_eq!(worker.overdue(timeout), Some(Output::Routing));
    }
}
