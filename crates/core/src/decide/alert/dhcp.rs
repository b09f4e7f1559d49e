//! Alerts of DHCP, DNS and net boot for the nodes.

use crate::config::{Netboot, Settings};
use crate::decide::alert::{Alert, AlertCode, Part, Severity, Subject};
use crate::decide::dhcp::{Verdict, is_ipxe, verdict};
use crate::event::{Applied, ApplyErrorKind, Output};
use crate::facts::Facts;
use crate::facts::dhcp::OtherServers;

/// Seconds for which a switch with default settings blocks a new port: twice the forward delay
/// (802.1D, table 17-1), with a margin.
const DEFAULT_HOLD: u64 = 32;

/// Raises what keeps the nodes from being served.
pub fn alerts(settings: &Settings, facts: &Facts, raised: &mut Vec<Alert>) {
    other_server(facts, raised);
    switch_blocks(facts, raised);
    range_exhausted(settings, facts, raised);
    let verdict = verdict(settings, facts);
    let names_alone = verdict == Verdict::Refused && settings.cluster.dns.is_some();
    if verdict != Verdict::Serve && !names_alone {
        return;
    }
    let netboot = settings.cluster.netboot.as_ref();
    let netboot = netboot.filter(|_| settings.cluster.dhcp.is_some() && !names_alone);
    if let Some(netboot) = netboot {
        boot_files(netboot, facts, raised);
        raised.extend(ipxe_without_script(netboot));
    }
    dnsmasq(facts, raised);
}

/// Raises that a board requested an address and the range is exhausted.
fn range_exhausted(settings: &Settings, facts: &Facts, raised: &mut Vec<Alert>) {
    let Some((mac, dhcp)) = facts.dhcp().refused().zip(settings.cluster.dhcp.as_ref()) else {
        return;
    };
    if verdict(settings, facts) != Verdict::Serve {
        return;
    }
    let text = format!(
        "no address is left for {mac}: widen cluster.dhcp.range ({}-{}), or shorten \
         cluster.dhcp.lease_time where boards come and go (`bramblegate nodes` lists the nodes)",
        dhcp.first, dhcp.last
    );
    raised.push(Alert::whole(AlertCode::GatewayDhcpFull, text));
}

/// Raises that spanning-tree frames announce a longer block than switches' default. Anyone can send
/// such frames.
fn switch_blocks(facts: &Facts, raised: &mut Vec<Alert>) {
    let port = facts.cluster_port().map(|port| &port.name);
    let Some((port, seconds)) =
        port.zip(facts.dhcp().held().filter(|seconds| *seconds > DEFAULT_HOLD))
    else {
        return;
    };
    let text = format!(
        "no addresses are served on {port} for up to {seconds} s: spanning-tree frames announce \
         that the switch blocks for that long, where 30 s are usual. Set its port as an edge \
         port (\"portfast\"), or find the sender (sudo tcpdump -eni {port} stp)"
    );
    raised.push(Alert::whole(AlertCode::GatewayDhcpHeld, text));
}

/// Raises another DHCP server, or that the check for one failed: in both cases no addresses are
/// served.
fn other_server(facts: &Facts, raised: &mut Vec<Alert>) {
    let Some(port) = facts.cluster_port().map(|port| &port.name) else { return };
    if let OtherServers::Foreign { server, mac } = facts.dhcp().other_servers() {
        let who = mac.map_or_else(|| server.to_string(), |mac| format!("{server} ({mac})"));
        let text = format!(
            "another DHCP server, {who}, answers on the cluster interface {port}, so Bramblegate \
             serves no addresses there"
        );
        raised.push(Alert::whole(AlertCode::GatewayForeignDhcp, text));
    }
    if let Some(why) = facts.dhcp().unasked() {
        let text = format!(
            "not serving DHCP on {port}: cannot check for other DHCP servers ({why}); the \
             service needs CAP_NET_RAW"
        );
        raised.push(Alert::whole(AlertCode::GatewayDhcpUnasked, text));
    }
}

/// Raises net boot files and folders that cannot be read.
fn boot_files(netboot: &Netboot, facts: &Facts, raised: &mut Vec<Alert>) {
    let root = netboot.root.display();
    if let Some(why) = &facts.vitals().boot_folder {
        let text = format!(
            "no node can boot from {root}: {why}; make the folder and let user bramblegate read \
             it, or correct cluster.netboot.root (`bramblegate doctor` shows more)"
        );
        raised.push(netboot_alert(Part::BootFolder, text));
    }
    if let Some(closed) = &facts.vitals().boot_files {
        let text = format!(
            "nodes cannot load {closed}: the user bramblegate may not read it (sudo chmod -R \
             o+rX {root}; `bramblegate doctor` shows more)"
        );
        raised.push(netboot_alert(Part::BootFile, text));
    }
}

/// Raises a dnsmasq that is missing, fails to start, or cannot resolve names.
fn dnsmasq(facts: &Facts, raised: &mut Vec<Alert>) {
    let outputs = facts.outputs();
    if let Some(error) = outputs.error(Output::Dnsmasq) {
        let code = match error.kind {
            ApplyErrorKind::Absent => AlertCode::GatewayDnsmasqMissing,
            _ => AlertCode::GatewayDnsmasqFailed,
        };
        raised.push(Alert::whole(code, error.message.clone()));
    } else if let Some(Applied::Dnsmasq { without_names: Some(why) }) =
        outputs.held(Output::Dnsmasq)
    {
        let text = format!("nodes get addresses, but no names are resolved for them here: {why}");
        raised.push(Alert::whole(AlertCode::GatewayDnsmasqNoNames, text));
    }
}

/// Returns an alert about one part of net boot.
fn netboot_alert(part: Part, text: String) -> Alert {
    Alert::new(AlertCode::GatewayNetboot, Subject::Part(part), text)
}

/// Returns the alert that firmware is sent iPXE, and no script is set for iPXE to run.
fn ipxe_without_script(netboot: &Netboot) -> Option<Alert> {
    let files = [
        ("bios", &netboot.bios),
        ("uefi_x86", &netboot.uefi_x86),
        ("uefi_arm64", &netboot.uefi_arm64),
    ];
    let (key, file) = files
        .into_iter()
        .filter_map(|(key, file)| Some((key, file.as_deref()?)))
        .find(|(_, file)| netboot.ipxe.is_none() && is_ipxe(file))?;
    let text = format!(
        "cluster.netboot.{key} = {file:?} is iPXE, which asks again what to start: set \
         cluster.netboot.ipxe to its script"
    );
    Some(netboot_alert(Part::IpxeScript, text).graded(Severity::Notice))
}
