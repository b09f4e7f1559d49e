//! Which vitals of the head are watched.

use crate::config::Settings;
use crate::event::VitalsPlan;
use crate::facts::Facts;

/// Returns which vitals are watched. Connection tracking and port settings belong to the gateway.
pub fn vitals(settings: &Settings, facts: &Facts) -> VitalsPlan {
    VitalsPlan {
        tables: settings.gateway.enabled,
        ports: facts.gateway_ports().collect(),
        limits: Some(settings.vitals.clone()),
        boot_folder: settings.cluster.netboot.as_ref().map(|netboot| netboot.root.clone()),
    }
}
