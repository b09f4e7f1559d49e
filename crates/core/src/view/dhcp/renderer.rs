//! Which of dnsmasq's files are rendered anew: all of them for another plan, those that name nodes,
//! which may be long, only when what they depend on has changed.

use crate::config::Settings;
use crate::decide::dhcp::ServicePlan;
use crate::facts::Facts;

use super::{Files, NodeFiles, files, nodes};

/// Renders dnsmasq's files, and remembers what it rendered last.
#[derive(Debug, Default)]
pub struct Renderer {
    /// the plan, and the files that name nodes, which follow from it
    last: Option<(ServicePlan, NodeFiles)>,
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
        if self.last.as_ref().map(|(last, _)| last) == plan {
            return None;
        }
        let last = self.last.take();
        self.last = plan.map(|plan| {
            let known = last.filter(|(last, _)| of_nodes(last) == of_nodes(plan));
            let nodes = known.map_or_else(|| nodes(plan, settings, facts), |(_, nodes)| nodes);
            (plan.clone(), nodes)
        });
        Some(self.last.as_ref().map(|(plan, nodes)| files(plan, nodes.clone(), folder)))
    }
}

/// Returns what the files that name nodes depend on.
fn of_nodes(plan: &ServicePlan) -> impl PartialEq + '_ {
    let dhcp = plan.dhcp.as_ref();
    let dhcp = dhcp.map(|dhcp| (dhcp.first, dhcp.last, dhcp.lease, dhcp.usual_lease));
    (plan.names, plan.address, plan.head.as_deref(), dhcp)
}
