//! The host name and port for ssh.

use super::{Scene, Topic};
use crate::config::Allow;

/// Returns the host name, and sshd's port if it is not 22. The name is the mDNS name if computers
/// in the venue can resolve it.
pub fn topics(scene: &Scene) -> Vec<Topic> {
    const SSH: u16 = 22;
    let vitals = scene.facts.vitals();
    let announced = announced(scene).map(Topic::Text);
    let plain = (!vitals.host_name.is_empty()).then(|| Topic::Text(vitals.host_name.clone()));
    let name = announced.or(plain);
    let unusual = vitals.ssh_ports.first().filter(|_| !vitals.ssh_ports.contains(&SSH));
    let port = unusual.map(|port| {
        Topic::wordings([format!("ssh port {port}"), format!("ssh -p {port}"), format!(":{port}")])
    });
    name.into_iter().chain(port).collect()
}

/// Returns the head's mDNS name (RFC 6762), if it is announced to the venue and fits a row.
pub(super) fn announced(scene: &Scene) -> Option<String> {
    let vitals = scene.facts.vitals();
    let label = vitals.host_name.split('.').next().filter(|label| !label.is_empty())?;
    let name = format!("{label}.local");
    let fits = name.chars().count() < usize::from(scene.settings.lcd.geometry.columns);
    let heard = vitals.announced && scene.settings.uplink.allow.contains(&Allow::Mdns);
    (fits && heard).then_some(name)
}
