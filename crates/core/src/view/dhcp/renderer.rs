//! Which of dnsmasq's files are rendered anew: all of them for another plan, those that name nodes,
//! which may be long, only when what they depend on has changed.

use crate::config::Settings;
use crate::decide::dhcp::ServicePlan;
use crate::facts::Facts;

use super::{Files, NodeFiles, files, nodes};

/// Renders dnsmasq's files, and remembers what it rendered last.
#[derive(Debug, Default)]
pub struct Renderer {
    last: Option<Rendered>,
}

/// What was rendered last.
#[derive(Debug)]
struct Rendered {
    plan: ServicePlan,
    /// [`Nodes::topology_version`](crate::facts::node::Nodes): counts up when a node has another
    /// name or address
    topology_version: u64,
    /// the files that name nodes, which follow from both
    nodes: NodeFiles,
}

impl Renderer {
    /// Returns what dnsmasq is to be given from now on (`Some(None)`: nothing, it is to end), or
    /// `None` where that is what it was. `folder` is where the files will be.
    pub fn render(
        &mut self,
        plan: Option<&ServicePlan>,
        settings: &Settings,
        facts: &Facts,
        folder: &str,
    ) -> Option<Option<Files>> {
        let topology_version = facts.nodes().topology_version;
        let last = self.last.as_ref();
        let same_names = last.is_none_or(|last| last.topology_version == topology_version);
        if last.map(|last| &last.plan) == plan && same_names {
            return None;
        }
        let last = self.last.take().filter(|_| same_names);
        self.last = plan.map(|plan| {
            let known = last.filter(|last| of_nodes(&last.plan) == of_nodes(plan));
            let nodes = known.map_or_else(|| nodes(plan, settings, facts), |last| last.nodes);
            Rendered { plan: plan.clone(), topology_version, nodes }
        });
        Some(self.last.as_ref().map(|last| files(&last.plan, last.nodes.clone(), folder)))
    }
}

/// Returns what of the plan the files that name nodes depend on.
fn of_nodes(plan: &ServicePlan) -> impl PartialEq + '_ {
    let dhcp = plan.dhcp.as_ref();
    let dhcp = dhcp.map(|dhcp| (dhcp.first, dhcp.last, dhcp.lease, dhcp.usual_lease));
    (plan.address, plan.head.as_deref(), dhcp)
}
