//! Other services that want the cluster's port, or the ports of DHCP and DNS.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::clients::Client;
use super::sockets::{Process, listeners};
use super::{CheckContext, Finding, FindingCode};
use crate::cli::machine::Machine;
use crate::event::AlertCode;
use crate::watch::uplink::clients::Manager;

/// NetworkManager, dhcpcd, systemd-networkd or ifupdown on the cluster's port.
pub fn managers(context: &CheckContext<'_>) -> Vec<Finding> {
    let Some(port) = context.cluster_port() else { return Vec::new() };
    let finding = |who: &str, remedy: String| {
        let text = format!(
            "{who} manages the cluster port {port}: it may take the address away or ask for one there"
        );
        Finding::new(FindingCode::GatewayPortManaged, text, remedy)
    };
    let managed = |manager: Manager, by: &str| {
        let command = Client::Managed(manager).switch_off(&port);
        finding(&format!("{}{by}", manager.name()), format!("`{command}`"))
    };
    let mut findings = Vec::new();
    if network_manager(context.machine, &port) {
        findings.push(managed(Manager::NetworkManager, ""));
    }
    if dhcpcd(context.machine, &port) {
        findings.push(managed(Manager::Dhcpcd, ""));
    }
    if let Some(file) = networkd(context.machine, &port) {
        findings.push(managed(Manager::Networkd, &format!(", by {file},")));
    }
    if let Some(file) = ifupdown(context.machine, &port) {
        let command = format!(
            "sudo sed -i 's/^[ \\t]*iface {port} inet .*/iface {port} inet manual/' {file}"
        );
        findings.push(finding(
            "ifupdown",
            format!("`{command}`, and take the lines of its address out there"),
        ));
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
    let denied =
        denied.flat_map(str::split_whitespace).any(|pattern| super::matches(pattern, port));
    machine.exists(wants) && !denied
}

/// Returns the file by which networkd asks for an address on the port. Of the files that match a
/// port the first by name counts, whatever its folder (systemd.network(5)).
fn networkd(machine: &Machine, port: &str) -> Option<String> {
    if !machine.exists("/etc/systemd/system/multi-user.target.wants/systemd-networkd.service") {
        return None;
    }
    let mut files = BTreeMap::new();
    for folder in ["/etc/systemd/network", "/run/systemd/network"] {
        for name in machine.list(folder).into_iter().filter(|name| name.ends_with(".network")) {
            let path = format!("{folder}/{name}");
            files.entry(name).or_insert(path);
        }
    }
    files.into_values().find_map(|path| {
        let text = machine.read(&path).unwrap_or_default();
        let value = |key: &str| {
            text.lines().find_map(|line| line.trim().strip_prefix(key).map(str::to_owned))
        };
        let names = value("Name=").unwrap_or_default();
        names.split_whitespace().any(|name| super::matches(name, port)).then(|| {
            let asks = value("DHCP=").is_some_and(|dhcp| dhcp != "no" && dhcp != "ipv6");
            (asks && value("Unmanaged=").as_deref() != Some("yes")).then_some(path)
        })
    })?
}

fn ifupdown(machine: &Machine, port: &str) -> Option<String> {
    let more = machine
        .list("/etc/network/interfaces.d")
        .into_iter()
        .map(|name| format!("/etc/network/interfaces.d/{name}"));
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
    let starts =
        |unit: &str| machine.exists(&format!("/etc/systemd/system/multi-user.target.wants/{unit}"));
    known.into_iter().filter(|(unit, _)| starts(unit)).collect()
}

/// Whether there is a dnsmasq to run.
pub fn has_dnsmasq(machine: &Machine) -> bool {
    ["/usr/sbin/dnsmasq", "/sbin/dnsmasq", "/usr/bin/dnsmasq"]
        .iter()
        .any(|path| machine.is_file(path))
}

/// DHCP servers of old, and whoever has port 53 or 67 where ours would serve.
pub fn servers(context: &CheckContext<'_>) -> Vec<Finding> {
    let machine = context.machine;
    let other = |(unit, what): (&str, &str)| {
        Finding::new(
            FindingCode::GatewayDhcpOther,
            format!("{what} starts with the machine and would answer the nodes as well"),
            format!("`sudo systemctl disable --now {unit}`"),
        )
    };
    let mut findings: Vec<Finding> = other_servers(machine).into_iter().map(other).collect();
    if context.settings.cluster.dhcp.is_some() {
        findings.extend(taken(context));
    }
    if context.settings.cluster.dhcp.is_some() && !has_dnsmasq(machine) {
        findings.push(Finding::new(
            AlertCode::GatewayDnsmasqMissing,
            "dnsmasq is not installed, so the nodes get no addresses from here",
            "`sudo apt install dnsmasq-base`, or leave [cluster.dhcp] out",
        ));
    }
    findings
}

/// Who listens on 53 or 67 where the nodes would ask.
fn taken(context: &CheckContext<'_>) -> Vec<Finding> {
    let head = IpAddr::V4(context.settings.cluster.address.addr());
    let ours = |owner: &Process| owner.name == "dnsmasq" && our_child(context.machine, owner);
    let mut findings: Vec<Finding> = Vec::new();
    for listener in listeners(context.machine) {
        let name = match (listener.port, listener.tcp) {
            (53, _) => "DNS",
            (67, false) => "DHCP",
            _ => continue,
        };
        if !(listener.address.is_unspecified() || listener.address == head) {
            continue;
        }
        let owner = listener.owner(context.machine);
        if owner.as_ref().is_some_and(ours) {
            continue;
        }
        let who = owner.as_ref().map_or_else(|| "another program".to_owned(), ToString::to_string);
        let text = format!(
            "{who} has port {} on {}, where {name} for the nodes would be",
            listener.port, listener.address
        );
        let known = findings.iter().any(|finding| finding.text == text);
        if !known {
            let remedy = format!(
                "{}; without the port the gateway serves none",
                stop(context.machine, owner.as_ref())
            );
            findings.push(Finding::new(
                if name == "DNS" { FindingCode::HostPort53 } else { FindingCode::HostPort67 },
                text,
                remedy,
            ));
        }
    }
    findings
}

/// Returns how to stop who has a port: its unit, if it is one's, else the process.
fn stop(machine: &Machine, owner: Option<&Process>) -> String {
    let Some(owner) = owner else {
        return "`sudo bramblegate doctor` names it; stop it, or bind it to the addresses that it needs".to_owned();
    };
    match unit(machine, owner) {
        Some(unit) => format!(
            "`sudo systemctl disable --now {unit}`, or bind it to the addresses that it needs"
        ),
        None => {
            format!(
                "`sudo kill {}`, and take it out of what starts it; or bind it to the addresses that it needs",
                owner.id
            )
        }
    }
}

/// Returns the system's unit that a process belongs to, by its control group (cgroups(7)):
/// "0::/system.slice/udhcpd.service".
fn unit(machine: &Machine, process: &Process) -> Option<String> {
    let groups = machine.read(&format!("/proc/{}/cgroup", process.id))?;
    let path = groups.lines().find_map(|line| line.strip_prefix("0::/system.slice/"))?;
    let plain = |c: char| c.is_ascii_alphanumeric() || "@:._-\\".contains(c);
    let unit = path.split('/').find(|part| part.ends_with(".service"))?;
    unit.chars().all(plain).then(|| unit.to_owned())
}

/// Returns whether a process is a child of a bramblegate.
fn our_child(machine: &Machine, process: &Process) -> bool {
    let status = machine.read(&format!("/proc/{}/status", process.id)).unwrap_or_default();
    let parent = status
        .lines()
        .find_map(|line| line.strip_prefix("PPid:"))
        .map(str::trim)
        .unwrap_or_default()
        .to_owned();
    machine.read(&format!("/proc/{parent}/comm")).as_deref() == Some("bramblegate")
}
