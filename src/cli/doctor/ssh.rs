//! Is the way in from the venue open where sshd listens?

use std::collections::BTreeSet;

use super::sockets::listeners;
use super::{Finding, Patient};
use crate::cli::machine::Machine;
use crate::config::Allow;
use crate::source::host;

/// An sshd that `uplink.allow` does not cover cannot be reached from the venue.
pub fn reachable(patient: &Patient<'_>) -> Vec<Finding> {
    let allow = &patient.settings.uplink.allow;
    let configured: BTreeSet<u16> = host::ssh_ports(&patient.machine.path("/")).into_iter().collect();
    let running = running_ports(patient.machine);
    let covered = |port: u16| {
        allow.iter().any(|allow| match allow {
            Allow::Ssh => port == 22 || configured.contains(&port),
            Allow::Tcp(first, last) => (*first..=*last).contains(&port),
            _ => false,
        })
    };
    let relevant = if running.is_empty() { &configured } else { &running };
    let uncovered = relevant.iter().copied().filter(|port| !covered(*port));
    let finding = |port: u16| {
        Finding::new(
            "host-ssh-closed",
            format!("sshd listens on port {port}, which uplink.allow does not cover: no new ssh from the venue"),
            if configured.contains(&port) || port == 22 {
                "add \"ssh\" to uplink.allow".to_owned()
            } else {
                format!("add {port} to uplink.allow, or give the port in sshd_config")
            },
        )
    };
    uncovered.map(finding).collect()
}

/// Ports on which a process named sshd (or dropbear) listens to more than the machine itself; needs root.
fn running_ports(machine: &Machine) -> BTreeSet<u16> {
    let open = listeners(machine).into_iter().filter(|listener| listener.tcp && !listener.address.is_loopback());
    let of_ssh = open.filter(|listener| {
        let owner = listener.owner(machine).unwrap_or_default();
        owner.starts_with("sshd ") || owner.starts_with("dropbear ")
    });
    of_ssh.map(|listener| listener.port).collect()
}
