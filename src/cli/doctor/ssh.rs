//! Is the way in from the venue open where sshd listens?

use std::collections::BTreeSet;
use std::ops::RangeInclusive;

use super::sockets::listeners;
use super::{CheckContext, Finding, FindingCode};
use crate::cli::machine::Machine;
use crate::config::Allow;
use crate::decide::firewall::TABLE;
use crate::watch::host::name;

/// An sshd that `uplink.allow` does not cover cannot be reached from the venue.
pub fn reachable(context: &CheckContext<'_>) -> Vec<Finding> {
    let allow = &context.settings.uplink.allow;
    let configured = BTreeSet::from_iter(name::ssh_ports(&context.machine.path("/")));
    let running = running_ports(context.machine);
    let covered = |port: u16| {
        allow.iter().any(|allow| match allow {
            Allow::Ssh => port == 22 || configured.contains(&port),
            Allow::Tcp(first, last) => (*first..=*last).contains(&port),
            _ => false,
        })
    };
    let relevant = if running.is_empty() { &configured } else { &running };
    let mut findings =
        shut(context.machine, relevant.iter().copied().filter(|port| covered(*port)));
    let uncovered = relevant.iter().copied().filter(|port| !covered(*port));
    let finding = |port: u16| {
        Finding::new(
            FindingCode::HostSshClosed,
            format!(
                "sshd listens on port {port}, which uplink.allow does not cover: no new ssh from the venue"
            ),
            if configured.contains(&port) || port == 22 {
                "add \"ssh\" to uplink.allow".to_owned()
            } else {
                format!("add {port} to uplink.allow, or give the port in sshd_config")
            },
        )
    };
    findings.extend(uncovered.map(finding));
    findings
}

/// Of these ports, which `uplink.allow` covers, those that the rules in the kernel do not let in
/// all the same. Without the right to read them there is nothing to compare with.
fn shut(machine: &Machine, covered: impl Iterator<Item = u16>) -> Vec<Finding> {
    let Some(rules) = machine.run("nft", &["list", "chain", "inet", TABLE, "from_uplink"]) else {
        return Vec::new();
    };
    let open: Vec<_> = rules.lines().filter_map(accepted).collect();
    let missing = covered.filter(|port| !open.iter().any(|range| range.contains(port)));
    let finding = |port: u16| {
        Finding::new(
            FindingCode::HostSshClosed,
            format!(
                "sshd listens on port {port}, which uplink.allow covers, but the rules in the kernel do not let it in"
            ),
            "`sudo systemctl reload bramblegate`",
        )
    };
    missing.map(finding).collect()
}

/// The ports of a rule `tcp dport PORT … accept` or `tcp dport FIRST-LAST … accept`.
fn accepted(rule: &str) -> Option<RangeInclusive<u16>> {
    let mut words = rule.trim().strip_prefix("tcp dport ")?.split_whitespace();
    let (first, last) =
        words.next().map(|ports| ports.split_once('-').unwrap_or((ports, ports)))?;
    words.any(|word| word == "accept").then_some(first.parse().ok()?..=last.parse().ok()?)
}

/// Ports on which a process named sshd (or dropbear) listens to more than the machine itself; needs
/// root.
fn running_ports(machine: &Machine) -> BTreeSet<u16> {
    let open = listeners(machine)
        .into_iter()
        .filter(|listener| listener.tcp && !listener.address.is_loopback());
    let of_ssh = open.filter(|listener| {
        listener
            .owner(machine)
            .is_some_and(|owner| ["sshd", "dropbear"].contains(&owner.name.as_str()))
    });
    BTreeSet::from_iter(of_ssh.map(|listener| listener.port))
}
