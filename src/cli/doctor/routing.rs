//! Routing rules of other programs that divert the cluster's packets, and duplicates of the head's
//! addresses.

use std::time::Duration;

use super::{CheckContext, Finding};
use crate::clock;
use crate::decide::alert::Subject;
use crate::decide::routing::ways::egress;
use crate::decide::{self, ROUTE_PROTOCOL};
use crate::event::{AlertCode, Event, Vital};
use crate::facts::Facts;

/// Longer than a diverted route is tolerated before it raises an alert.
const SETTLED: Duration = Duration::from_secs(5);
/// Alerts that only the daemon can raise, because it listens all the time.
const DAEMON_ONLY: [AlertCode; 2] = [AlertCode::GatewayAddressTaken, AlertCode::UplinkAddressTaken];

/// Asks the kernel which routes packets take, as the daemon does. If our own rules are not loaded,
/// only alerts that name a rule count.
pub fn rules(context: &CheckContext<'_>) -> Vec<Finding> {
    let (settings, mut facts, now) = (context.settings, context.facts(), clock::now());
    let plan_for = |facts: &Facts| egress(settings, facts, &decide::decide(settings, facts));
    let Some(plan) = plan_for(&facts) else { return Vec::new() };
    let port = facts.cluster_port().map(|port| port.name.clone()).unwrap_or_default();
    if let Some(egress) = context.machine.egress(&port, plan.source) {
        let index = facts.kernel().links().find(|link| link.name == egress).map(|link| link.index);
        facts.apply(&Event::Vital(Vital::Egress { index }), now);
    }
    // The second plan includes routes of a part of the nodes' packets, which need the known egress.
    let Some(plan) = plan_for(&facts) else { return Vec::new() };
    facts.apply(&Event::Vital(Vital::Astray(context.machine.astray(&plan.ways))), now);
    facts.apply(&Event::Tick, now + SETTLED);
    let ours = facts.kernel().rules().iter().any(|rule| rule.protocol == ROUTE_PROTOCOL);
    let alerts = decide::decide(settings, &facts)
        .alerts
        .into_iter()
        .filter(|alert| alert.code == AlertCode::GatewayRule);
    let certain = alerts.filter(|alert| ours || alert.subject != Subject::Whole);
    certain.map(|alert| finding(alert.code, &alert.text)).collect()
}

/// Finds duplicate addresses that a running daemon has detected.
pub fn addresses(context: &CheckContext<'_>) -> Vec<Finding> {
    let status = context.machine.status(&context.settings.sockets.status).unwrap_or_default();
    let duplicates = status.alerts.iter().filter_map(|alert| {
        let code = DAEMON_ONLY.into_iter().find(|code| alert.code == code.name())?;
        Some(finding(code, &alert.text))
    });
    duplicates.collect()
}

/// Converts an alert into a finding; its remedy follows the first colon.
fn finding(code: AlertCode, text: &str) -> Finding {
    match text.split_once(": ") {
        Some((what, remedy)) => Finding::new(code, what, remedy),
        None => Finding::of(code, text),
    }
}
