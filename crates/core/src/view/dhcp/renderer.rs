//! Caches dnsmasq's files. A new plan renders all; the node files, which may be long, are only
//! rendered when their input has changed.

use crate::config::Settings;
use crate::decide::dhcp::ServicePlan;
use crate::facts::Facts;

use super::{Files, NodeFiles, files, nodes};

/// Renders dnsmasq's files, and caches the last result.
#[derive(Debug, Default)]
pub struct Renderer {
    last: Option<Rendered>,
}

/// The last result and its input.
#[derive(Debug)]
struct Rendered {
    plan: ServicePlan,
    /// [`Nodes::topology_version`](crate::facts::node::Nodes), which changes with a node's name or
    /// address.
    topology_version: u64,
    /// The node files for both.
    nodes: NodeFiles,
}

impl Renderer {
    /// Returns the new files for dnsmasq (`Some(None)`: it is to stop), or `None` if they are
    /// unchanged. `folder` is the directory they will be in.
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
            let unchanged = last.filter(|last| node_input(&last.plan) == node_input(plan));
            let nodes = unchanged.map_or_else(|| nodes(plan, settings, facts), |last| last.nodes);
            Rendered { plan: plan.clone(), topology_version, nodes }
        });
        Some(self.last.as_ref().map(|last| files(&last.plan, last.nodes.clone(), folder)))
    }
}

/// Returns the part of the plan that the node files depend on.
fn node_input(plan: &ServicePlan) -> impl PartialEq + '_ {
    let dhcp = plan.dhcp.as_ref();
    let dhcp = dhcp.map(|dhcp| (dhcp.first, dhcp.last, dhcp.lease, dhcp.usual_lease));
    (plan.address, plan.head.as_deref(), dhcp)
}
