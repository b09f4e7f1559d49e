//! What serves the nodes: dnsmasq's files are rendered here, those that name nodes only when those
//! have changed.

use std::path::{Path, PathBuf};

use tokio::sync::mpsc;

use crate::config::Settings;
use crate::decide::dhcp::ServicePlan;
use crate::event::{Event, Mac};
use crate::facts::Facts;
use crate::reconcile::dhcp::{self, DnsmasqHandle, Reply};
use crate::view::dhcp::{self as files, NodeFiles};
use crate::watch::dhcp::Questions;

/// dnsmasq, and what it was given last.
#[derive(Debug)]
pub struct Service {
    dnsmasq: DnsmasqHandle,
    folder: PathBuf,
    /// the plan, and the files that name nodes, which follow from it
    given: Option<(ServicePlan, NodeFiles)>,
}

impl Service {
    pub fn spawn(
        run_directory: &Path,
        state_directory: &Path,
        events: &mpsc::Sender<Event>,
        asked: Questions,
    ) -> Self {
        let dnsmasq = dhcp::spawn(run_directory, state_directory, events.clone(), asked);
        Self { dnsmasq, folder: dhcp::folder(run_directory), given: None }
    }

    /// An equal plan is no work.
    pub fn publish(&mut self, settings: &Settings, facts: &Facts, plan: Option<&ServicePlan>) {
        if self.given.as_ref().map(|(given, _)| given) == plan {
            return;
        }
        let of_nodes = |plan: &ServicePlan| {
            let dhcp = plan
                .dhcp
                .as_ref()
                .map(|dhcp| (dhcp.first, dhcp.last, dhcp.lease, dhcp.usual_lease));
            (plan.names, plan.address, plan.head.clone(), dhcp)
        };
        let known = self
            .given
            .take()
            .filter(|(given, _)| plan.is_some_and(|plan| of_nodes(plan) == of_nodes(given)));
        self.given = plan.map(|plan| {
            let nodes =
                known.map_or_else(|| files::nodes(plan, settings, facts), |(_, nodes)| nodes);
            (plan.clone(), nodes)
        });
        let folder = self.folder.display().to_string();
        self.dnsmasq.publish(
            self.given.as_ref().map(|(plan, nodes)| files::files(plan, nodes.clone(), &folder)),
        );
    }

    /// Forgets a board's address; `reply` hears when that is on the disk.
    pub fn forget(&self, mac: Mac, reply: Reply) {
        self.dnsmasq.forget(mac, reply);
    }

    /// Ends dnsmasq.
    pub async fn stop(self) {
        self.dnsmasq.stop().await;
    }
}
