//! The appliers of the network half: one task each, and their common end.

use std::path::Path;
use std::sync::Arc;

use tokio::sync::{Notify, mpsc, watch};
use tokio::task::JoinHandle;

use crate::event::{ApplyError, Event};
use crate::policy::GatewayPlan;
use crate::sink::conntrack::ConntrackSink;
use crate::sink::firewall::FirewallSink;
use crate::sink::link::LinkSink;
use crate::sink::routing::{self, RoutingSink};
use crate::sink::{self, Sink};

/// A sink in its task, and the channel of what it should hold.
#[derive(Debug)]
struct Applier<S: Sink> {
    desired: watch::Sender<Option<S::Desired>>,
    task: JoinHandle<S>,
}

impl<S: Sink> Applier<S> {
    fn spawn(sink: S, events: &mpsc::Sender<Event>) -> Self {
        let (desired, receiver) = watch::channel(None);
        Self { desired, task: tokio::spawn(sink::run(sink, receiver, events.clone())) }
    }

    /// An equal value wakes nobody.
    fn publish(&self, value: &S::Desired) {
        self.desired.send_if_modified(|held| {
            let differs = held.as_ref() != Some(value);
            if differs {
                *held = Some(value.clone());
            }
            differs
        });
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
    /// netlink port of the firewall's applier
    pub firewall_port: u32,
}

impl Appliers {
    /// Starts them; they do nothing before the first [`Self::publish`].
    ///
    /// # Errors
    /// The kernel gives no nfnetlink socket.
    pub fn spawn(state_directory: &Path, events: &mpsc::Sender<Event>, alarm: Arc<Notify>) -> Result<Self, ApplyError> {
        let mut firewall = FirewallSink::with_alarm(alarm);
        let firewall_port = firewall.port()?;
        Ok(Self {
            firewall: Applier::spawn(firewall, events),
            link: Applier::spawn(LinkSink::new(state_directory), events),
            routing: Applier::spawn(RoutingSink::default(), events),
            conntrack: Applier::spawn(ConntrackSink, events),
            firewall_port,
        })
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
        errors.extend(routing::restore().await.err());
        // By what this run knows: the disk may not have taken it.
        errors.extend(link.put_back().err());
        // Last: nothing is forwarded that is not judged.
        errors.extend(firewall.and_then(|mut firewall| firewall.remove().err()));
        errors
    }
}
