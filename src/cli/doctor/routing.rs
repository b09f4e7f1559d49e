//! Routing rules of others that lead the cluster's packets astray, and addresses of the head that
//! others have too.

use std::sync::Arc;
use std::time::Duration;

use super::{CheckContext, Finding};
use crate::clock;
use crate::decide::alert::Subject;
use crate::decide::routing::ways::egress;
use crate::decide::{self, ROUTE_PROTOCOL};
use crate::event::{AlertCode, Dump, Event, Vital};
use crate::facts::Facts;

/// Longer than a way may be wrong without a word.
const SETTLED: Duration = Duration::from_secs(5);
/// What only the gateway hears, as it listens all the time.
const HEARD: [AlertCode; 2] = [AlertCode::GatewayAddressTaken, AlertCode::UplinkAddressTaken];

/// Asks the kernel which way packets take, as the gateway does. Without our own rules only what
/// names a rule of others counts.
pub fn rules(context: &CheckContext<'_>) -> Vec<Finding> {
    let settings = Arc::new(context.settings.clone());
    let now = clock::now();
    let mut facts = Facts::new(Arc::clone(&settings), now);
    let network = context.machine.network();
    for event in
        std::iter::once(Event::Dump(Dump::Begin)).chain(network).chain([Event::Dump(Dump::End)])
    {
        facts.apply(&event, now);
    }
    let asked = |facts: &Facts| egress(&settings, facts, &decide::decide(&settings, facts));
    let Some(plan) = asked(&facts) else { return Vec::new() };
    let port = facts.cluster_port().map(|port| port.name.clone()).unwrap_or_default();
    if let Some(egress) = context.machine.egress(&port, plan.source) {
        let index = facts.kernel().links().find(|link| link.name == egress).map(|link| link.index);
        facts.apply(&Event::Vital(Vital::Egress { index }), now);
    }
    // What takes a part of the nodes' packets is looked up where all the others' way is known.
    let Some(plan) = asked(&facts) else { return Vec::new() };
    facts.apply(&Event::Vital(Vital::Astray(context.machine.astray(&plan.ways))), now);
    facts.apply(&Event::Tick, now + SETTLED);
    let ours = facts.kernel().rules().iter().any(|rule| rule.protocol == ROUTE_PROTOCOL);
    let alerts = decide::decide(&settings, &facts)
        .alerts
        .into_iter()
        .filter(|alert| alert.code == AlertCode::GatewayRule);
    let certain = alerts.filter(|alert| ours || alert.subject != Subject::Whole);
    certain.map(|alert| finding(alert.code, &alert.text)).collect()
}

/// Finds what a gateway that runs has heard.
pub fn addresses(context: &CheckContext<'_>) -> Vec<Finding> {
    let status = context.machine.status(&context.settings.sockets.status).unwrap_or_default();
    let heard = status.alerts.iter().filter_map(|alert| {
        let code = HEARD.into_iter().find(|code| alert.code == code.name())?;
        Some(finding(code, &alert.text))
    });
    heard.collect()
}

/// Makes a finding of an alert, whose remedy stands after a colon.
fn finding(code: AlertCode, text: &str) -> Finding {
    match text.split_once(": ") {
        Some((what, remedy)) => Finding::new(code, what, remedy),
        None => Finding::of(code, text),
    }
}
