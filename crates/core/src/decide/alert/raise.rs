//! Which alerts the facts raise: asks every subject.

use crate::config::Settings;
use crate::decide::cluster::Placement;
use crate::facts::Facts;

use super::{Alert, cluster, dhcp, firewall, forward, host, link, node, output, routing, uplink};

/// Returns all alerts: the most severe first, then by code and text.
pub fn alerts(settings: &Settings, facts: &Facts, placement: &Placement) -> Vec<Alert> {
    let mut raised = Vec::new();
    if facts.links().is_synced() {
        uplink::alerts(settings, facts, &mut raised);
        link::enslaved(facts, &mut raised);
        if settings.gateway.enabled {
            output::gateway(facts, &mut raised);
            link::alerts(settings, facts, &mut raised);
            firewall::alerts(facts, placement, &mut raised);
            routing::alerts(facts, placement, &mut raised);
            cluster::alerts(settings, facts, placement, &mut raised);
            dhcp::alerts(settings, facts, &mut raised);
            forward::alerts(settings, facts, placement, &mut raised);
        }
    }
    node::alerts(settings, facts, &mut raised);
    output::optional(facts, &mut raised);
    host::alerts(settings, facts, &mut raised);
    let known = facts.acknowledged();
    for alert in raised.iter_mut().filter(|_| !known.is_empty()) {
        alert.acknowledged |= known.contains(&alert.id());
    }
    raised.sort_by(|a, b| {
        b.severity.cmp(&a.severity).then(a.code.cmp(&b.code)).then(a.text.cmp(&b.text))
    });
    raised
}
