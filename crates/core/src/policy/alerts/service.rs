//! Alerts of what serves the nodes.

use super::alert;
use crate::config::Settings;
use crate::event::{Applied, ApplyErrorKind, Output};
use crate::policy::alert::{Alert, Severity};
use crate::policy::service::{Verdict, verdict};
use crate::state::State;

/// dnsmasq that is missing, does not start, or cannot resolve names.
pub fn alerts(settings: &Settings, state: &State, raised: &mut Vec<Alert>) {
    let verdict = verdict(settings, state);
    let names_alone = verdict == Verdict::Refused && settings.cluster.dns.is_some();
    if verdict != Verdict::Serve && !names_alone {
        return;
    }
    let netboot = settings.cluster.netboot.as_ref().filter(|_| settings.cluster.dhcp.is_some() && !names_alone);
    if let Some((netboot, why)) = netboot.zip(state.vitals().boot_folder.as_ref()) {
        let root = netboot.root.display();
        let text = format!(
            "no node can boot from {root}: {why}; make the folder and let user bramblegate read it, or correct cluster.netboot.root (`bramblegate doctor` says more)"
        );
        raised.push(alert(Severity::Warning, "gateway-netboot", text, "NO BOOT FILES"));
    }
    let outputs = state.outputs();
    if let Some(error) = outputs.error(Output::Dnsmasq) {
        let (code, panel) = match error.kind {
            ApplyErrorKind::Absent => ("gateway-dnsmasq-missing", "NO DNSMASQ"),
            _ => ("gateway-dnsmasq-failed", "DHCP FAULT"),
        };
        raised.push(alert(Severity::Warning, code, error.message.clone(), panel));
    } else if let Some(Applied::Dnsmasq { without_names: Some(why) }) = outputs.held(Output::Dnsmasq) {
        let text = format!("nodes get addresses, but no names are resolved for them here: {why}");
        raised.push(alert(Severity::Warning, "gateway-dnsmasq-no-names", text, "NO NODE DNS"));
    }
}
