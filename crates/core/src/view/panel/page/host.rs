//! Whom one reaches by ssh.

use super::{Scene, Topic};

/// Returns the host's name, and sshd's port if it is not the usual one.
pub fn topics(scene: &Scene) -> Vec<Topic> {
    const SSH: u16 = 22;
    let vitals = scene.facts.vitals();
    let name = (!vitals.host_name.is_empty()).then(|| Topic::Text(vitals.host_name.clone()));
    let unusual = vitals.ssh_ports.first().filter(|_| !vitals.ssh_ports.contains(&SSH));
    let port = unusual.map(|port| {
        Topic::wordings([format!("ssh port {port}"), format!("ssh -p {port}"), format!(":{port}")])
    });
    name.into_iter().chain(port).collect()
}
