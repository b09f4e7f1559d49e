//! The head node itself: ports, subnets, connection tracking, file system, and scripts of an older
//! gateway or status display.

use super::{CheckContext, Finding, FindingCode};
use crate::cli::machine::Machine;
use crate::event::AlertCode;

/// Finds missing ports, and ports that belong to a bridge or bond.
pub fn ports(context: &CheckContext<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    let cluster = context.cluster_port();
    if cluster.is_none() {
        let wanted = &context.settings.cluster.interface;
        findings.push(Finding::new(
            AlertCode::GatewayPortAbsent,
            format!("the cluster interface {wanted} is not in this machine now"),
            "plug it in, or correct cluster.interface; `bramblegate detect` lists the interfaces",
        ));
    }
    let uplinks = context.uplinks();
    if uplinks.is_empty() {
        findings.push(Finding::new(
            AlertCode::UplinkNone,
            "none of uplink.interfaces is in this machine now",
            "plug it in, or correct uplink.interfaces; `bramblegate detect` lists the interfaces",
        ));
    }
    let coded = |code| move |name| (code, name);
    let ports: Vec<String> = uplinks.iter().chain(&cluster).cloned().collect();
    let uplinks = uplinks.into_iter().map(coded(AlertCode::UplinkEnslaved));
    for (code, name) in
        cluster.into_iter().map(coded(AlertCode::GatewayPortEnslaved)).chain(uplinks)
    {
        // A glob may match a member of a bridge that is itself a port of the settings.
        let fine = |master: &String| ports.contains(master) && !context.is_uplink_by_name(&name);
        if let Some(master) = context.machine.master(&name).filter(|master| !fine(master)) {
            findings.push(Finding::new(
                code,
                format!("{name} is a port of {master}"),
                format!("name {master} in the settings instead, or take {name} out of it"),
            ));
        }
    }
    findings
}

/// Finds a default route through the cluster's port. It sends the nodes' traffic back to them, at
/// the latest when the uplink's route is gone.
pub fn default_route(context: &CheckContext<'_>) -> Vec<Finding> {
    let cluster = context.cluster_port();
    let routes = context.machine.routes();
    let default = |(net, port): &&(ipnet::Ipv4Net, String)| {
        net.prefix_len() == 0 && Some(port) == cluster.as_ref()
    };
    routes.iter().find(default).map(default_route_by_cluster).into_iter().collect()
}

/// Describes a default route that uses the cluster's port.
fn default_route_by_cluster((_, port): &(ipnet::Ipv4Net, String)) -> Finding {
    Finding::new(
        AlertCode::UplinkExitBy,
        format!(
            "a default route uses the cluster interface {port}, which has no way to the \
             internet"
        ),
        format!(
            "remove the gateway from the settings of {port}, then: `sudo ip route del \
             default dev {port}`"
        ),
    )
}

/// Finds a route of another port that overlaps the cluster's subnet.
pub fn overlap(context: &CheckContext<'_>) -> Vec<Finding> {
    let net = context.settings.cluster.address.trunc();
    let cluster = context.cluster_port();
    let routes = context.machine.routes().into_iter();
    let clash = routes.filter(|(other, port)| {
        let overlaps = other.contains(&net.network()) || net.contains(&other.network());
        other.prefix_len() > 0 && overlaps && Some(port) != cluster.as_ref()
    });
    clash.map(|(other, port)| overlapping(&port, other, net)).collect()
}

/// Describes a port whose route overlaps the cluster's subnet.
fn overlapping(port: &str, other: ipnet::Ipv4Net, net: ipnet::Ipv4Net) -> Finding {
    Finding::new(
        AlertCode::GatewayOverlap,
        format!("{port} leads to {other}, which overlaps the cluster's subnet {net}"),
        "the gateway keeps both working by policy routing; if this place is where the cluster \
         stays, choose another cluster.address",
    )
}

/// Finds that the table of connections is at least 80 % full.
pub fn conntrack(context: &CheckContext<'_>) -> Vec<Finding> {
    let number = |name: &str| -> Option<u64> {
        context.machine.read(&format!("/proc/sys/net/netfilter/{name}"))?.trim().parse().ok()
    };
    let (Some(count), Some(max)) = (number("nf_conntrack_count"), number("nf_conntrack_max"))
    else {
        return Vec::new();
    };
    if max == 0 || count * 100 < max * 80 {
        return Vec::new();
    }
    vec![Finding::new(
        AlertCode::GatewayConntrack,
        format!(
            "connection tracking holds {count} of {max} entries; when it is full new connections \
             are dropped"
        ),
        format!(
            "`sudo sysctl -w net.netfilter.nf_conntrack_max={}`, and in /etc/sysctl.d/ for the \
             next start; then find what opens them",
            max * 2
        ),
    )]
}

/// Finds that the kernel's neighbour table has no room for the cluster: a node without an entry is
/// neither reached nor given an address.
pub fn neighbours(context: &CheckContext<'_>) -> Vec<Finding> {
    let limit = context.machine.read("/proc/sys/net/ipv4/neigh/default/gc_thresh3");
    let Some(limit) = limit.and_then(|text| text.trim().parse::<usize>().ok()) else {
        return Vec::new();
    };
    // The first line is a heading.
    let held =
        context.machine.read("/proc/net/arp").map_or(0, |table| table.lines().skip(1).count());
    let nodes = context.settings.nodes.len();
    let wanted = held.max(nodes);
    if wanted * 10 < limit * 9 {
        return Vec::new();
    }
    vec![Finding::new(
        AlertCode::GatewayNeighbours,
        format!(
            "the kernel remembers {limit} neighbours at most; it has {held}, and the settings \
             name {nodes} nodes"
        ),
        format!(
            "`sudo sysctl -w net.ipv4.neigh.default.gc_thresh3={}`, and in /etc/sysctl.d/ for the \
             next start: nodes beyond that are \
             neither reached nor given addresses",
            (wanted * 2).next_power_of_two()
        ),
    )]
}

/// Finds that the root file system is an overlay in memory, as Raspberry Pi OS offers it.
pub fn overlay(context: &CheckContext<'_>) -> Vec<Finding> {
    if !overlay_root(context.machine) {
        return Vec::new();
    }
    let text = "the root file system is an overlay in memory: settings, leases and acknowledged \
                alerts are lost at power-off";
    vec![Finding::of(FindingCode::HostOverlayRoot, text)]
}

/// Finds that the journal is written to a memory card. journald does so if its folder exists
/// (`Storage=auto`, journald.conf(5)), and from systemd 259 on creates that folder.
pub fn journal_on_card(context: &CheckContext<'_>) -> Vec<Finding> {
    let machine = context.machine;
    let id = machine.read("/etc/machine-id").unwrap_or_default();
    let folder = format!("/var/log/journal/{}", id.trim());
    let is_kept = machine.list(&folder).iter().any(|name| name.ends_with(".journal"));
    let is_kept = is_kept && !["volatile", "none"].contains(&journal_storage(machine).as_str());
    let Some(device) = device_of(machine, &folder).filter(|device| is_kept && is_card(device))
    else {
        return Vec::new();
    };
    let text = format!(
        "the journal is kept on the memory card {device}, in {folder}: each record wears the card a \
         little, and a power cut may hit it while it is written"
    );
    vec![Finding::of(FindingCode::HostJournalOnCard, text)]
}

/// Returns journald's effective `Storage=`: the last one in its file and the drop-ins, sorted by
/// name. Of equal names, the drop-in in the first folder counts (journald.conf(5)).
fn journal_storage(machine: &Machine) -> String {
    let folders = [
        "/etc/systemd/journald.conf.d",
        "/run/systemd/journald.conf.d",
        "/usr/lib/systemd/journald.conf.d",
    ];
    let main = std::iter::once("/etc/systemd/journald.conf".to_owned());
    let files = main.chain(machine.drop_ins(&folders, ".conf"));
    let texts = files.filter_map(|path| machine.read(&path));
    let values = texts.flat_map(|text| {
        let of_line = |line: &str| Some(line.trim().strip_prefix("Storage=")?.trim().to_owned());
        text.lines().filter_map(of_line).collect::<Vec<_>>()
    });
    values.last().unwrap_or_else(|| "auto".to_owned())
}

/// Returns whether a device is a memory card or soldered flash (`Documentation/mmc/mmc-dev-parts`
/// of the kernel).
fn is_card(device: &str) -> bool {
    device.starts_with("/dev/mmcblk")
}

/// Returns the device of the file system with this folder: of the mount points above it the
/// longest, of equal ones the last.
fn device_of(machine: &Machine, folder: &str) -> Option<String> {
    let mounts = machine.read("/proc/mounts").unwrap_or_default();
    let above = mounts.lines().filter_map(|line| {
        let mut words = line.split(' ');
        let (device, point) = (words.next()?, words.next()?);
        std::path::Path::new(folder).starts_with(point).then_some((point.len(), device))
    });
    above.max_by_key(|(length, _)| *length).map(|(_, device)| device.to_owned())
}

/// Returns whether the root is an overlay.
pub fn overlay_root(machine: &Machine) -> bool {
    let mounts = machine.read("/proc/mounts").unwrap_or_default();
    let root = mounts.lines().rfind(|line| line.split_whitespace().nth(1) == Some("/"));
    root.is_some_and(|line| line.split_whitespace().nth(2) == Some("overlay"))
}

/// Finds lines of rc.local and cron that set up forwarding, NAT, a display or an LED.
pub fn leftovers(context: &CheckContext<'_>) -> Vec<Finding> {
    let machine = context.machine;
    let folders = [
        "/var/spool/cron/crontabs",
        "/etc/cron.d",
        "/etc/network/if-up.d",
        "/etc/network/if-pre-up.d",
        "/lib/dhcpcd/dhcpcd-hooks",
    ];
    let single = ["/etc/rc.local", "/etc/crontab", "/etc/network/interfaces"].map(str::to_owned);
    let more = folders.iter().flat_map(|folder| machine.paths(folder));
    let files = single.into_iter().chain(more);
    files.flat_map(|file| leftovers_in(&file, &machine.read(&file).unwrap_or_default())).collect()
}

fn leftovers_in(file: &str, text: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.starts_with('#') {
            continue;
        }
        let lower = line.to_ascii_lowercase();
        let place = format!("{file}:{}: {line}", number + 1);
        let firewall = lower.contains("iptables") || lower.contains("ip_forward");
        let display = ["blinkstick", "lcd", "i2c"].iter().any(|word| lower.contains(word))
            && !lower.contains("bramblegate");
        if firewall {
            let remedy =
                format!("take that line out of {file}: the gateway does this, and repairs it");
            findings.push(Finding::new(FindingCode::GatewayLeftover, place, remedy));
        } else if display {
            let remedy =
                format!("take that line out of {file} if it drives the gateway's display or LED");
            findings.push(Finding::new(FindingCode::LcdLeftover, place, remedy));
        }
    }
    findings
}
