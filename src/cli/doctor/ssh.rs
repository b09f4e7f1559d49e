//! Is the way in from the venue open where sshd listens?

use std::collections::BTreeSet;

use super::sockets::listeners;
use super::{Finding, Patient};
use crate::cli::machine::Machine;
use crate::config::Allow;

/// An sshd that `uplink.allow` does not cover cannot be reached from the venue.
pub fn reachable(patient: &Patient<'_>) -> Vec<Finding> {
    let allow = &patient.settings.uplink.allow;
    let configured = configured_ports(patient.machine);
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

/// Ports in sshd_config, its drop-ins, and ssh.socket; 22 if none is given and sshd is installed.
pub fn configured_ports(machine: &Machine) -> BTreeSet<u16> {
    let drop_ins = machine.list("/etc/ssh/sshd_config.d").into_iter().filter(|name| name.ends_with(".conf"));
    let files = drop_ins.map(|name| format!("/etc/ssh/sshd_config.d/{name}"));
    let texts = files.chain(std::iter::once("/etc/ssh/sshd_config".to_owned())).filter_map(|file| machine.read(&file));
    let mut installed = false;
    let mut ports = BTreeSet::new();
    for text in texts {
        installed = true;
        ports.extend(text.lines().filter_map(sshd_line));
    }
    ports.extend(socket_ports(machine));
    if installed && ports.is_empty() {
        ports.insert(22);
    }
    ports
}

/// `Port 22`, `ListenAddress host:22`: keywords in any case, an equals sign is as good as a blank (sshd_config(5)).
fn sshd_line(line: &str) -> Option<u16> {
    let line = line.split('#').next()?.replace('=', " ");
    let mut words = line.split_whitespace();
    let (keyword, value) = (words.next()?.to_ascii_lowercase(), words.next()?.trim_matches('"').to_owned());
    match keyword.as_str() {
        "port" => value.parse().ok(),
        "listenaddress" => {
            let bare_v6 = value.matches(':').count() > 1 && !value.starts_with('[');
            value.rsplit_once(':').filter(|_| !bare_v6)?.1.parse().ok()
        }
        _ => None,
    }
}

/// `ListenStream=` of an enabled ssh.socket.
fn socket_ports(machine: &Machine) -> Vec<u16> {
    let enabled = machine.exists("/etc/systemd/system/sockets.target.wants/ssh.socket");
    if !enabled {
        return Vec::new();
    }
    let own = "/etc/systemd/system/ssh.socket.d";
    let mut files: Vec<String> = vec!["/etc/systemd/system/sockets.target.wants/ssh.socket".to_owned()];
    files.extend(machine.list(own).into_iter().map(|name| format!("{own}/{name}")));
    let mut ports = Vec::new();
    for text in files.iter().filter_map(|file| machine.read(file)) {
        for line in text.lines() {
            match line.trim().strip_prefix("ListenStream=").map(str::trim) {
                Some("") => ports.clear(),
                Some(value) => ports.extend(value.rsplit(':').next().and_then(|port| port.parse::<u16>().ok())),
                None => {}
            }
        }
    }
    ports
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
