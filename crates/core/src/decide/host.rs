//! What is looked at on the head itself.

use crate::config::Settings;
use crate::event::VitalsPlan;
use crate::facts::Facts;

/// Returns what is looked at. Connection tracking is the gateway's, and so are the settings of its ports.
pub fn vitals(settings: &Settings, facts: &Facts) -> VitalsPlan {
    VitalsPlan {
        tables: settings.gateway.enabled,
        ports: facts.gateway_ports().collect(),
        limits: Some(settings.vitals.clone()),
        boot_folder: settings.cluster.netboot.as_ref().map(|netboot| netboot.root.clone()),
    }
}
