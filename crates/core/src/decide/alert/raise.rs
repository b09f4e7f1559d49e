//! Collects the alerts of every subject.

use crate::config::Settings;
use crate::decide::cluster::Placement;
use crate::facts::Facts;

use super::{
    Alert, cluster, dhcp, firewall, forward, host, link, node, output, routing, share, uplink,
};

/// Initial capacity for alerts of nodes.
const INITIAL_CAPACITY: usize = 12;

/// Returns the alerts that do not depend on probes of nodes.
pub fn cacheable(settings: &Settings, facts: &Facts, placement: &Placement) -> Vec<Alert> {
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
            share::alerts(settings, facts, &mut raised);
        }
    }
    node::inventory::alerts(facts, &mut raised);
    output::optional(facts, &mut raised);
    host::alerts(settings, facts, &mut raised);
    mark_acknowledged(facts, &mut raised);
    raised
}

/// Returns all alerts, including `cacheable`: most severe first, then by code and text.
pub fn all(settings: &Settings, facts: &Facts, cacheable: &[Alert]) -> Vec<Alert> {
    let mut raised = Vec::with_capacity(cacheable.len() + INITIAL_CAPACITY);
    node::health::alerts(settings, facts, &mut raised);
    mark_acknowledged(facts, &mut raised);
    raised.extend_from_slice(cacheable);
    raised.sort_by(|a, b| {
        b.severity.cmp(&a.severity).then(a.code.cmp(&b.code)).then(a.text.cmp(&b.text))
    });
    raised
}

/// Marks the alerts that the operator has acknowledged.
fn mark_acknowledged(facts: &Facts, raised: &mut [Alert]) {
    let acknowledged = facts.acknowledged();
    for alert in raised.iter_mut().filter(|_| !acknowledged.is_empty()) {
        alert.acknowledged |= acknowledged.contains(&alert.id());
    }
}
