//! Which alerts the facts raise: asks every subject.

use crate::config::Settings;
use crate::decide::cluster::Placement;
use crate::facts::Facts;

use super::{Alert, cluster, dhcp, firewall, forward, host, link, node, output, routing, uplink};

/// Returns all alerts: the most severe first, then by code and text.
pub fn alerts(settings: &Settings, state: &Facts, placement: &Placement) -> Vec<Alert> {
    let mut raised = Vec::new();
    if state.links().is_synced() {
        uplink::alerts(settings, state, &mut raised);
        link::enslaved(state, &mut raised);
        if settings.gateway.enabled {
            output::gateway(state, &mut raised);
            link::alerts(settings, state, &mut raised);
            firewall::alerts(state, placement, &mut raised);
            routing::alerts(state, placement, &mut raised);
            cluster::alerts(settings, state, placement, &mut raised);
            dhcp::alerts(settings, state, &mut raised);
            forward::alerts(settings, state, placement, &mut raised);
        }
    }
    node::alerts(settings, state, &mut raised);
    output::optional(state, &mut raised);
    host::alerts(settings, state, &mut raised);
    let known = state.acknowledged();
    for alert in raised.iter_mut().filter(|_| !known.is_empty()) {
        alert.acknowledged |= known.contains(&alert.id());
    }
    raised.sort_by(|a, b| {
        b.severity.cmp(&a.severity).then(a.code.cmp(&b.code)).then(a.text.cmp(&b.text))
    });
    raised
}
