//! Alerts of what serves the nodes.

use super::raise::alert;
use crate::config::{Netboot, Settings};
use crate::decide::alert::{Alert, AlertCode, Part, Severity, Subject};
use crate::decide::dhcp::{Verdict, is_ipxe, verdict};
use crate::event::{Applied, ApplyErrorKind, Output};
use crate::facts::State;

/// dnsmasq that is missing, does not start, or cannot resolve names.
pub fn alerts(settings: &Settings, state: &State, raised: &mut Vec<Alert>) {
    let verdict = verdict(settings, state);
    let names_alone = verdict == Verdict::Refused && settings.cluster.dns.is_some();
    if verdict != Verdict::Serve && !names_alone {
        return;
    }
    let netboot = settings
        .cluster
        .netboot
        .as_ref()
        .filter(|_| settings.cluster.dhcp.is_some() && !names_alone);
    if let Some((netboot, why)) = netboot.zip(state.vitals().boot_folder.as_ref()) {
        let root = netboot.root.display();
        let text = format!(
            "no node can boot from {root}: {why}; make the folder and let user bramblegate read \
             it, or correct cluster.netboot.root (`bramblegate doctor` says more)"
        );
        raised.push(netboot_alert(Part::BootFolder, text));
    }
    if let Some((netboot, closed)) = netboot.zip(state.vitals().boot_files.as_ref()) {
        let root = netboot.root.display();
        let text = format!(
            "nodes cannot load {closed}: the gateway's user may not read it (sudo chmod -R o+rX \
             {root}; `bramblegate doctor` says more)"
        );
        raised.push(netboot_alert(Part::BootFile, text));
    }
    raised.extend(netboot.and_then(endless));
    let outputs = state.outputs();
    if let Some(error) = outputs.error(Output::Dnsmasq) {
        let code = match error.kind {
            ApplyErrorKind::Absent => AlertCode::GatewayDnsmasqMissing,
            _ => AlertCode::GatewayDnsmasqFailed,
        };
        raised.push(alert(code, error.message.clone()));
    } else if let Some(Applied::Dnsmasq { without_names: Some(why) }) =
        outputs.held(Output::Dnsmasq)
    {
        let text = format!("nodes get addresses, but no names are resolved for them here: {why}");
        raised.push(alert(AlertCode::GatewayDnsmasqNoNames, text));
    }
}

/// Returns an alert about one part of what nodes boot from.
fn netboot_alert(part: Part, text: String) -> Alert {
    Alert::new(AlertCode::GatewayNetboot, Subject::Part(part), text)
}

/// Raises that nothing is there for iPXE to start, where firmware is sent iPXE.
fn endless(netboot: &Netboot) -> Option<Alert> {
    let files = [
        ("bios", &netboot.bios),
        ("uefi_x86", &netboot.uefi_x86),
        ("uefi_arm64", &netboot.uefi_arm64),
    ];
    let (key, file) = files
        .into_iter()
        .filter_map(|(key, file)| Some((key, file.as_deref()?)))
        .find(|(_, file)| netboot.ipxe.is_none() && is_ipxe(file))?;
    let text = format!(
        "cluster.netboot.{key} = {file:?} is iPXE, which asks again what to start and is not sent \
         to itself: write its script as cluster.netboot.ipxe"
    );
    Some(netboot_alert(Part::IpxeScript, text).graded(Severity::Notice))
}
