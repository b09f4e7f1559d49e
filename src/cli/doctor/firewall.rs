//! Rules of other programs: drops of the gateway's traffic, masquerades of an older gateway, saved
//! copies of our table.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;

use ipnet::IpNet;

use super::sockets::listeners;
use super::{CheckContext, Finding, FindingCode, Rank};
use crate::cli::machine::Machine;
use crate::config::Allow;
use crate::decide::firewall::{TABLE, traffic};
use crate::event::{AlertCode, Blocker, Vital};
use crate::watch::firewall::FirewallWatch;
use crate::watch::host::{name, time};
use crate::watch::web;

/// Files with saved rule sets.
const SAVED: [&str; 2] = ["/etc/nftables.conf", "/etc/sysconfig/nftables.conf"];
const SAVED_IPTABLES: [&str; 4] = [
    "/etc/iptables/rules.v4",
    "/etc/iptables.ipv4.nat",
    "/etc/iptables.rules",
    "/etc/sysconfig/iptables",
];

/// Finds chains of other tables that drop traffic between the cluster and an uplink, or traffic
/// that the head promises to nodes and venue. It blocks the gateway if it is on the current egress,
/// or cuts nodes off from the head.
pub fn foreign_drop(context: &CheckContext<'_>) -> Vec<Finding> {
    let mut uplinks = context.uplinks();
    if uplinks.is_empty() {
        // No uplink is there now: check for a future one.
        uplinks = vec!["uplink".to_owned()];
    }
    let port = context.cluster_port();
    let net = IpNet::V4(context.settings.cluster.address);
    let node = net.hosts().find(|host| *host != net.addr());
    let Vital::Time { served, .. } = time::read(&context.machine.path("/")) else {
        return Vec::new();
    };
    let ssh_ports = name::ssh_ports(&context.machine.path("/"));
    let web_port = web::read(&context.settings.web.port_file);
    let watch = FirewallWatch {
        table: TABLE,
        bridge: port
            .as_ref()
            .is_some_and(|port| context.machine.exists(&format!("/sys/class/net/{port}/bridge"))),
        head: Some(net),
        traffic: traffic::promised(context.settings, net, served, &ssh_ports, web_port, &[]),
        egress: port.as_ref().zip(node).and_then(|(port, node)| context.machine.egress(port, node)),
        cluster_port: Some(port.unwrap_or_else(|| "cluster".to_owned())),
        cluster_networks: vec![net],
        ipv6_uplinks: uplinks.iter().filter(|uplink| has_ipv6(context, uplink)).cloned().collect(),
        uplinks,
        ..FirewallWatch::default()
    };
    let found = context.machine.blockers(&watch);
    let or = |name: Option<String>| name.unwrap_or_else(|| "unknown".to_owned());
    let text =
        |table, chain| format!("table {}, chain {} drops the nodes' traffic", or(table), or(chain));
    let blocking = found.egress.map(|Blocker { table, chain, remedy }| {
        Finding::new(AlertCode::GatewayBlocked, text(table, chain), format!("as root: {remedy}"))
            .ranked(Rank::Blocked)
    });
    let spare = found.spare.into_iter().map(|(uplink, Blocker { table, chain, remedy })| {
        let text = format!("{} through {uplink}, which is not the way out now", text(table, chain));
        Finding::new(AlertCode::UplinkBlocked, text, format!("as root: {remedy}"))
    });
    let promised = found.traffic.into_iter().map(|(what, Blocker { table, chain, remedy })| {
        let text =
            format!("table {}, chain {} drops {}", or(table), or(chain), traffic::words(what));
        let rank = if traffic::is_vital(what) { Rank::Blocked } else { Rank::Finding };
        Finding::new(AlertCode::GatewayBlocked, text, format!("as root: {remedy}")).ranked(rank)
    });
    blocking.into_iter().chain(spare).chain(promised).collect()
}

/// Returns whether a port has an IPv6 address that is not link-local.
fn has_ipv6(context: &CheckContext<'_>, port: &str) -> bool {
    let held = context.machine.addresses(port);
    held.iter().any(|net| matches!(net, IpNet::V6(net) if !net.addr().is_unicast_link_local()))
}

/// Finds saved rule sets that contain our table. Loading one fails while the daemon owns the table.
pub fn saved_table(context: &CheckContext<'_>) -> Vec<Finding> {
    let more = ["/etc/nftables.d", "/etc/nftables"].map(|folder| context.machine.paths(folder));
    let files = SAVED.map(str::to_owned).into_iter().chain(more.into_iter().flatten());
    files.filter(|file| holds_our_table(context.machine, file)).map(saved_copy).collect()
}

/// Describes a file that contains a copy of our table.
fn saved_copy(file: String) -> Finding {
    Finding::new(
        FindingCode::GatewayTableSaved,
        format!("{file} holds a copy of the table inet bramblegate"),
        format!("take that table out of {file}: loading it fails while the gateway owns the table"),
    )
}

/// Returns whether a file of rules contains our table.
fn holds_our_table(machine: &Machine, file: &str) -> bool {
    let text = machine.read(file).unwrap_or_default();
    text.lines().any(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        matches!(words.as_slice(), ["table", "inet", "bramblegate", ..])
    })
}

/// Finds MASQUERADE rules of an older gateway, in the kernel or in files loaded at boot.
pub fn old_masquerade(context: &CheckContext<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in SAVED_IPTABLES.iter().chain(&SAVED) {
        let text = context.machine.read(file).unwrap_or_default();
        if let Some((number, line)) = first_foreign(&text, is_leftover) {
            findings.push(Finding::new(
                FindingCode::GatewayMasqueradeSaved,
                format!("{file}:{number} masquerades at every start: {line}"),
                format!("remove it from {file}, if it was for the cluster: the gateway does this"),
            ));
        }
    }
    for (program, command) in
        [("iptables-nft-save", "iptables-nft"), ("iptables-legacy-save", "iptables-legacy")]
    {
        let text = saved_nat(context.machine, program);
        if let Some((_, line)) =
            first_foreign(&text, |line| line.starts_with("-A POSTROUTING") && is_leftover(line))
        {
            findings.push(Finding::new(
                FindingCode::GatewayMasqueradeOld,
                format!("an older rule masquerades as well: {line}"),
                format!("`sudo {command} -t nat {}`", line.replacen("-A", "-D", 1)),
            ));
        }
    }
    findings
}

/// Returns the NAT rules of one of the two iptables. The legacy one is only asked if its table
/// exists: the query would create it.
fn saved_nat(machine: &Machine, program: &str) -> String {
    let tables = machine.read("/proc/net/ip_tables_names").unwrap_or_default();
    if program.contains("legacy") && !tables.lines().any(|table| table == "nat") {
        return String::new();
    }
    machine.run(program, &["-t", "nat"]).unwrap_or_default()
}

/// Returns whether a line masquerades, and not for Docker, libvirt and the like.
fn is_leftover(line: &str) -> bool {
    let lower = line.to_ascii_lowercase();
    let others = ["docker", "172.17.", "libvirt", "lxc", "cni", "kube", "flannel", "virbr"];
    lower.contains("masquerade")
        && !lower.trim_start().starts_with('#')
        && !others.iter().any(|other| lower.contains(other))
}

/// Returns the first wanted line outside of our own table, with its number.
fn first_foreign(text: &str, wanted: impl Fn(&str) -> bool) -> Option<(usize, String)> {
    let mut in_our_table = false;
    for (index, line) in text.lines().enumerate() {
        if line.starts_with("table ") {
            in_our_table = line.contains(" bramblegate");
        }
        if !in_our_table && wanted(line.trim()) {
            return Some((index + 1, line.trim().to_owned()));
        }
    }
    None
}

/// Finds an sshd that cannot be reached from the venue: `uplink.allow` does not cover it, or the
/// rules do not accept it.
pub fn ssh(context: &CheckContext<'_>) -> Vec<Finding> {
    let allow = &context.settings.uplink.allow;
    let configured = BTreeSet::from_iter(name::ssh_ports(&context.machine.path("/")));
    let running = running_ports(context.machine);
    let relevant = if running.is_empty() { &configured } else { &running };
    let mut findings = not_accepted(
        context.machine,
        relevant.iter().copied().filter(|port| covers(allow, &configured, *port)),
    );
    let others = relevant.iter().copied().filter(|port| !covers(allow, &configured, *port));
    findings.extend(others.map(|port| uncovered(&configured, port)));
    findings
}

/// Describes a port of sshd that `uplink.allow` does not cover.
fn uncovered(configured: &BTreeSet<u16>, port: u16) -> Finding {
    Finding::new(
        FindingCode::HostSshClosed,
        format!(
            "sshd listens on port {port}, which uplink.allow does not cover: new ssh \
             connections from the venue fail"
        ),
        if configured.contains(&port) || port == 22 {
            "add \"ssh\" to uplink.allow".to_owned()
        } else {
            format!("add {port} to uplink.allow, or give the port in sshd_config")
        },
    )
}

/// Returns whether `uplink.allow` covers a port of sshd.
fn covers(allow: &[Allow], configured: &BTreeSet<u16>, port: u16) -> bool {
    allow.iter().any(|allow| match allow {
        Allow::Ssh => port == 22 || configured.contains(&port),
        Allow::Tcp(first, last) => (*first..=*last).contains(&port),
        _ => false,
    })
}

/// Finds covered ports that the rules in the kernel do not accept. Finds nothing without the right
/// to read the rules.
fn not_accepted(machine: &Machine, covered: impl Iterator<Item = u16>) -> Vec<Finding> {
    let Some(rules) = machine.run("nft", &["list", "chain", "inet", TABLE, "from_uplink"]) else {
        return Vec::new();
    };
    let open: Vec<_> = rules.lines().filter_map(accepted_ports).collect();
    let missing = covered.filter(|port| !open.iter().any(|range| range.contains(port)));
    missing.map(closed_port).collect()
}

/// Describes a port of sshd that the rules do not accept, though `uplink.allow` covers it.
fn closed_port(port: u16) -> Finding {
    Finding::new(
        FindingCode::HostSshClosed,
        format!(
            "sshd listens on port {port}, which uplink.allow covers, but the rules in the \
             kernel keep it closed"
        ),
        "`sudo systemctl reload bramblegate`",
    )
}

/// Parses the ports of a rule `tcp dport PORT … accept` or `tcp dport FIRST-LAST … accept`.
fn accepted_ports(rule: &str) -> Option<RangeInclusive<u16>> {
    let mut words = rule.trim().strip_prefix("tcp dport ")?.split_whitespace();
    let (first, last) =
        words.next().map(|ports| ports.split_once('-').unwrap_or((ports, ports)))?;
    words.any(|word| word == "accept").then_some(first.parse().ok()?..=last.parse().ok()?)
}

/// Returns the ports on which sshd or dropbear listens beyond loopback; needs root.
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
