//! Other services that want the cluster's port, or the ports of DHCP and DNS.

use std::net::IpAddr;

use super::sockets::listeners;
use super::{Finding, FindingCode, Patient};
use crate::cli::machine::Machine;
use crate::event::AlertCode;

/// NetworkManager, dhcpcd, systemd-networkd or ifupdown on the cluster's port.
pub fn managers(patient: &Patient<'_>) -> Vec<Finding> {
    let Some(port) = patient.cluster_port() else { return Vec::new() };
    let finding = |who: &str, remedy: String| {
        let text = format!("{who} manages the cluster port {port}: it may take the address away or ask for one there");
        Finding::new(FindingCode::GatewayPortManaged, text, remedy)
    };
    let mut findings = Vec::new();
    if network_manager(patient.machine, &port) {
        findings.push(finding(
            "NetworkManager",
            format!(
                "printf '[keyfile]\\nunmanaged-devices=interface-name:{port}\\n' | sudo tee \
                 /etc/NetworkManager/conf.d/90-bramblegate.conf && sudo nmcli general reload"
            ),
        ));
    }
    if dhcpcd(patient.machine, &port) {
        findings.push(finding(
            "dhcpcd",
            format!("add the line \"denyinterfaces {port}\" to /etc/dhcpcd.conf and restart dhcpcd"),
        ));
    }
    for file in networkd(patient.machine, &port) {
        let remedy = format!("remove DHCP= from {file}, or write Unmanaged=yes in its [Link]; then networkctl reload");
        findings.push(finding("systemd-networkd", remedy));
    }
    if let Some(file) = ifupdown(patient.machine, &port) {
        findings.push(finding("ifupdown", format!("remove \"iface {port} inet …\" from {file}")));
    }
    findings
}

fn network_manager(machine: &Machine, port: &str) -> bool {
    let devices = machine.run("nmcli", &["-t", "-f", "DEVICE,STATE", "device"]).unwrap_or_default();
    let state = devices.lines().find_map(|line| line.strip_prefix(port)?.strip_prefix(':'));
    // "unavailable" is managed, and waits for a cable.
    state.is_some_and(|state| state != "unmanaged")
}

fn dhcpcd(machine: &Machine, port: &str) -> bool {
    let Some(conf) = machine.read("/etc/dhcpcd.conf") else { return false };
    let wants = "/etc/systemd/system/multi-user.target.wants/dhcpcd.service";
    let denied = conf.lines().filter_map(|line| line.trim().strip_prefix("denyinterfaces "));
    let denied = denied.flat_map(str::split_whitespace).any(|pattern| super::matches(pattern, port));
    machine.exists(wants) && !denied
}

/// Files that match the port and ask for an address.
fn networkd(machine: &Machine, port: &str) -> Vec<String> {
    if !machine.exists("/etc/systemd/system/multi-user.target.wants/systemd-networkd.service") {
        return Vec::new();
    }
    let mut files = Vec::new();
    for folder in ["/etc/systemd/network", "/run/systemd/network"] {
        for name in machine.list(folder).into_iter().filter(|name| name.ends_with(".network")) {
            let path = format!("{folder}/{name}");
            let text = machine.read(&path).unwrap_or_default();
            let value = |key: &str| text.lines().find_map(|line| line.trim().strip_prefix(key).map(str::to_owned));
            let matched =
                value("Name=").is_some_and(|names| names.split_whitespace().any(|name| super::matches(name, port)));
            let asks = value("DHCP=").is_some_and(|dhcp| dhcp != "no" && dhcp != "ipv6");
            if matched && asks && value("Unmanaged=").as_deref() != Some("yes") {
                files.push(path);
            }
        }
    }
    files
}

fn ifupdown(machine: &Machine, port: &str) -> Option<String> {
    let more =
        machine.list("/etc/network/interfaces.d").into_iter().map(|name| format!("/etc/network/interfaces.d/{name}"));
    let mut files = std::iter::once("/etc/network/interfaces".to_owned()).chain(more);
    files.find(|file| {
        let text = machine.read(file).unwrap_or_default();
        let words = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        text.lines().map(words).any(|line| {
            let line: Vec<&str> = line.iter().map(String::as_str).collect();
            matches!(line.as_slice(), ["iface", name, "inet", method, ..] if *name == port && *method != "manual")
        })
    })
}

/// DHCP servers that start with the machine: (unit, what it is).
pub fn other_servers(machine: &Machine) -> Vec<(&'static str, &'static str)> {
    let known = [
        ("isc-dhcp-server.service", "isc-dhcp-server"),
        ("kea-dhcp4-server.service", "kea"),
        ("udhcpd.service", "udhcpd"),
        ("dnsmasq.service", "the system's own dnsmasq"),
    ];
    let starts = |unit: &str| machine.exists(&format!("/etc/systemd/system/multi-user.target.wants/{unit}"));
    known.into_iter().filter(|(unit, _)| starts(unit)).collect()
}

/// Whether there is a dnsmasq to run.
pub fn has_dnsmasq(machine: &Machine) -> bool {
    ["/usr/sbin/dnsmasq", "/sbin/dnsmasq", "/usr/bin/dnsmasq"].iter().any(|path| machine.is_file(path))
}

/// DHCP servers of old, and whoever has port 53 or 67 where ours would serve.
pub fn servers(patient: &Patient<'_>) -> Vec<Finding> {
    let machine = patient.machine;
    let other = |(unit, what): (&str, &str)| {
        Finding::new(
            FindingCode::GatewayDhcpOther,
            format!("{what} starts with the machine and would answer the nodes as well"),
            format!("sudo systemctl disable --now {unit}"),
        )
    };
    let mut findings: Vec<Finding> = other_servers(machine).into_iter().map(other).collect();
    if patient.settings.cluster.dhcp.is_some() {
        findings.extend(taken(patient));
    }
    if patient.settings.cluster.dhcp.is_some() && !has_dnsmasq(machine) {
        findings.push(Finding::new(
            AlertCode::GatewayDnsmasqMissing,
            "dnsmasq is not installed, so the nodes get no addresses from here",
            "sudo apt install dnsmasq-base, or leave [cluster.dhcp] out",
        ));
    }
    findings
}

/// Who listens on 53 or 67 where the nodes would ask.
fn taken(patient: &Patient<'_>) -> Vec<Finding> {
    let head = IpAddr::V4(patient.settings.cluster.address.addr());
    let ours = |owner: &str| owner.starts_with("dnsmasq ") && our_child(patient.machine, owner);
    let mut findings: Vec<Finding> = Vec::new();
    for listener in listeners(patient.machine) {
        let name = match (listener.port, listener.tcp) {
            (53, _) => "DNS",
            (67, false) => "DHCP",
            _ => continue,
        };
        if !(listener.address.is_unspecified() || listener.address == head) {
            continue;
        }
        let owner = listener.owner(patient.machine);
        if owner.as_deref().is_some_and(ours) {
            continue;
        }
        let owner = owner.unwrap_or_else(|| "another program".to_owned());
        let text =
            format!("{owner} has port {} on {}, where {name} for the nodes would be", listener.port, listener.address);
        let known = findings.iter().any(|finding| finding.text == text);
        if !known {
            let code = if name == "DNS" { FindingCode::HostPort53 } else { FindingCode::HostPort67 };
            findings.push(Finding::of(code, text));
        }
    }
    findings
}

/// Is "dnsmasq (123)" a child of a bramblegate?
fn our_child(machine: &Machine, owner: &str) -> bool {
    let id = owner.rsplit_once('(').map(|(_, id)| id.trim_end_matches(')')).unwrap_or_default();
    let status = machine.read(&format!("/proc/{id}/status")).unwrap_or_default();
    let parent =
        status.lines().find_map(|line| line.strip_prefix("PPid:")).map(str::trim).unwrap_or_default().to_owned();
    machine.read(&format!("/proc/{parent}/comm")).as_deref() == Some("bramblegate")
}
