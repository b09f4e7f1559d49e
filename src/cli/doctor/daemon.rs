//! The running daemon: whether it answers, and may send its probes.

use super::sockets::{holds_net_raw, status_field};
use super::{CheckContext, Finding, FindingCode};
use crate::cli::machine::Machine;
use crate::cli::run;
use crate::config::{NodeProbe, UplinkProbe};
use crate::event::AlertCode;

/// Finds a daemon that runs but does not answer, so that its panel shows an old state. A daemon
/// that does not run is not a finding: it may not have been started yet.
pub fn answers(context: &CheckContext<'_>) -> Vec<Finding> {
    let socket = &context.settings.sockets.status;
    if !context.machine.is_silent(socket) {
        return Vec::new();
    }
    let text = format!(
        "the gateway hangs: its status socket {} is open, but does not answer",
        socket.display()
    );
    vec![Finding::of(FindingCode::GatewaySilent, text)]
}

/// The range of groups that may ping without the capability: the lowest and the highest.
const PING_GROUPS: &str = "/proc/sys/net/ipv4/ping_group_range";

/// Finds a daemon without the capability for its ICMP and ARP probes, whose failure is not the
/// nodes' fault.
pub fn rights(context: &CheckContext<'_>) -> Vec<Finding> {
    let machine = context.machine;
    let Some(process) = machine.daemon(&run::run_directory()) else { return Vec::new() };
    let Some(status) = machine.read(&format!("/proc/{process}/status")) else { return Vec::new() };
    if holds_net_raw(&status) {
        return Vec::new();
    }
    let asks =
        |wanted: &NodeProbe| context.settings.nodes.iter().any(|node| node.probes.contains(wanted));
    let pings =
        asks(&NodeProbe::Icmp) || matches!(context.settings.uplink.probe, UplinkProbe::Ping { .. });
    let mut kinds = Vec::new();
    if pings && !may_ping(machine, &status) {
        kinds.push("ICMP");
    }
    if asks(&NodeProbe::Arp) {
        kinds.push("ARP");
    }
    if kinds.is_empty() {
        return Vec::new();
    }
    let text = format!(
        "the gateway (process {process}) lacks CAP_NET_RAW and cannot probe by {}",
        kinds.join(" and ")
    );
    let remedy = "start it as the service, which has this right: `sudo systemctl restart \
                  bramblegate`; or probe with tcp and http";
    vec![Finding::new(AlertCode::HostNoNetRaw, text, remedy)]
}

/// Returns whether one of the process's groups may ping.
fn may_ping(machine: &Machine, status: &str) -> bool {
    let range = numbers(&machine.read(PING_GROUPS).unwrap_or_default());
    let [lowest, highest] = range.as_slice() else { return false };
    let groups =
        [status_field(status, "Gid"), status_field(status, "Groups")].into_iter().flatten();
    groups.flat_map(numbers).any(|group| (*lowest..=*highest).contains(&group))
}

/// Returns the numbers in a text.
fn numbers(text: &str) -> Vec<u32> {
    text.split_whitespace().filter_map(|word| word.parse().ok()).collect()
}
