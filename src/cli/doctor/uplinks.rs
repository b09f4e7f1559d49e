//! The uplinks: who asks for their addresses, why one has none, and what a portal or a server says.

use ipnet::IpNet;
use serde_json::Value;

use super::clients::{self, Client};
use super::{Finding, Patient};
use crate::cli::machine::Machine;
use crate::event::PortalUrl;
use crate::source::clients::Manager;

/// Two clients on one uplink get two leases, and take each other's routes away.
pub fn two_clients(patient: &Patient<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for port in patient.uplinks() {
        let clients = clients::of_port(patient.machine, &port);
        let [first, others @ ..] = clients.as_slice() else { continue };
        for other in others {
            let text = format!(
                "{first} and {other} both ask for an address on the uplink {port}: it gets two, and the one removes the other's routes; let {first} do it alone"
            );
            findings.push(Finding::new("uplink-two-clients", text, first.stays_instead_of(other, &port)));
        }
    }
    findings
}

/// Why an uplink with a cable has no IPv4 address, what is known of its lease, and where its portal is.
pub fn addresses(patient: &Patient<'_>) -> Vec<Finding> {
    let status = patient.machine.status(&patient.settings.status.socket);
    let mut findings = switched_off(patient);
    for port in patient.uplinks() {
        let told = status.as_ref().and_then(|status| uplink(status, &port));
        findings.extend(portal(patient, &port, told));
        if patient.machine.read(&format!("/sys/class/net/{port}/carrier")).as_deref() != Some("1") {
            continue;
        }
        let held = patient.machine.addresses(&port);
        let answers = |net: &&IpNet| match net {
            IpNet::V4(net) => !net.addr().is_link_local() && net.addr().octets().first_chunk() != Some(&[192, 0, 0]),
            IpNet::V6(_) => false,
        };
        if held.iter().any(|net| answers(&net)) {
            findings.extend(told.and_then(|told| not_renewed(&port, told)));
        } else {
            findings.push(without_ipv4(patient, &port, told, &held));
        }
    }
    findings
}

/// Finds uplinks that are administratively down. Where another one has a carrier that may be meant so: a hint.
fn switched_off(patient: &Patient<'_>) -> Vec<Finding> {
    let uplinks = patient.uplinks();
    let read = |port: &str, file: &str| patient.machine.read(&format!("/sys/class/net/{port}/{file}"));
    let carries = uplinks.iter().any(|port| read(port, "carrier").as_deref() == Some("1"));
    let off = uplinks.iter().filter(|port| read(port, "flags").is_some_and(|flags| !is_up(&flags)));
    off.map(|port| {
        let text = format!("the uplink {port} is switched off (administratively down), so it sees no cable or network");
        let code = "uplink-off";
        let remedy = switch_on(patient.machine, port);
        if carries { Finding::hint(code, text, remedy) } else { Finding::new(code, text, remedy) }
    })
    .collect()
}

/// Returns whether the flags of `/sys/class/net/PORT/flags` ("0x1003") hold `IFF_UP` (netdevice(7)).
fn is_up(flags: &str) -> bool {
    let digits = flags.trim().trim_start_matches("0x");
    u32::from_str_radix(digits, 16).is_ok_and(|flags| flags & 1 != 0)
}

/// Returns the command that switches a port on: its manager's, which else leaves it down. A radio may be blocked beside that.
fn switch_on(machine: &Machine, port: &str) -> String {
    let command = clients::switch_on(machine, port);
    let radio = port.starts_with("wl") || machine.exists(&format!("/sys/class/net/{port}/phy80211"));
    let blocked = if radio { "; if that is refused, `sudo rfkill unblock wifi` before it" } else { "" };
    format!("`{command}`{blocked}")
}

/// What the daemon says of one uplink.
fn uplink<'v>(status: &'v Value, port: &str) -> Option<&'v Value> {
    let uplinks = status.get("uplinks")?.as_array()?;
    uplinks.iter().find(|uplink| uplink.get("interface").and_then(Value::as_str) == Some(port))
}

fn word<'v>(told: Option<&'v Value>, key: &str) -> Option<&'v str> {
    told?.get(key)?.as_str()
}

fn without_ipv4(patient: &Patient<'_>, port: &str, told: Option<&Value>, held: &[IpNet]) -> Finding {
    let machine = patient.machine;
    let clients = clients::of_port(machine, port);
    let reached = held.iter().any(|net| matches!(net, IpNet::V6(net) if !net.addr().is_unicast_link_local()));
    // An uplink with IPv6 is reached: nothing is wrong, but the nodes have no way out.
    let finding = |code, text: String, remedy: String| match reached {
        true => Finding::hint(code, text, remedy),
        false => Finding::new(code, text, remedy),
    };
    let Some(client) = clients.first() else {
        let text = format!(
            "the uplink {port} has a carrier and no IPv4 address, and nothing on this machine asks for one there"
        );
        return finding("uplink-no-client", text, clients::start(machine, port));
    };
    match word(told, "dhcp") {
        Some("ipv6-only") => {
            let after = match client {
                Client::Managed(Manager::Networkd) => "asks for IPv4 only after five minutes",
                _ => "takes no IPv4 address for as long as the server says so",
            };
            let text = format!(
                "the venue's DHCP server asks for IPv6 only on {port} (option 108), and {client} is set to obey: it {after}"
            );
            finding("uplink-ipv6-only", text, client.heed_no_option_108(machine, port))
        }
        Some("offered") => finding(
            "uplink-not-taken",
            format!("a DHCP server offers an address on {port}, and {client} does not take it"),
            format!("see what it says: `journalctl -b --no-pager -n 50 -u {}`", unit(client)),
        ),
        Some("refused" | "declined") => finding(
            "uplink-refused",
            format!("the venue's DHCP server and {client} do not agree on an address for {port}"),
            format!("ask anew: `{}`", client.again(port)),
        ),
        None | Some("waiting") if client.heeds_option_108(machine, port) => {
            let text = format!(
                "{client} is set to obey option 108 on {port} and asks for nothing now: a DHCP server that asks for IPv6 only may have answered before the gateway listened (`sudo bramblegate doctor --try` shows it)"
            );
            finding("uplink-ipv6-only", text, client.heed_no_option_108(machine, port))
        }
        Some("waiting") => finding(
            "uplink-waiting",
            format!("{client} looks after the uplink {port} and asks for nothing now"),
            format!("ask anew: `{}`", client.again(port)),
        ),
        Some("unanswered") => finding(
            "uplink-no-dhcp",
            format!("{client} asks for an address on {port}, and no DHCP server answers"),
            "`sudo bramblegate doctor --try` asks by itself; else try another socket of the venue".to_owned(),
        ),
        _ => finding(
            "uplink-no-address",
            format!("{client} looks after the uplink {port}, which has a carrier and no IPv4 address"),
            "`sudo bramblegate doctor --try` asks the venue's server by itself".to_owned(),
        ),
    }
}

/// The unit under which a client's words are in the journal.
fn unit(client: &Client) -> &str {
    match client {
        Client::Managed(Manager::NetworkManager) => "NetworkManager",
        Client::Managed(Manager::Networkd) => "systemd-networkd",
        Client::Managed(Manager::Dhcpcd) => "dhcpcd",
        Client::Alone(process) => &process.name,
    }
}

fn not_renewed(port: &str, told: &Value) -> Option<Finding> {
    let late = told.get("not_renewed_s")?.as_u64()?;
    let left = told.get("lease_left_s").and_then(Value::as_u64).unwrap_or(0);
    let address = word(Some(told), "address").unwrap_or("its address");
    let text = format!(
        "the lease of {address} on {port} has not been renewed for {late} s: it ends in {left} s, and answers until then"
    );
    let remedy = "look whether the venue's router is on; `sudo bramblegate doctor --try` asks its DHCP server";
    Some(Finding::new("uplink-lease-not-renewed", text, remedy))
}

/// A portal, by the daemon's probe or by dhcpcd's lease.
fn portal(patient: &Patient<'_>, port: &str, told: Option<&Value>) -> Option<Finding> {
    if word(told, "state") == Some("online") {
        return None;
    }
    let by_daemon = word(told, "portal_url").and_then(PortalUrl::read);
    let url = by_daemon.or_else(|| leased_portal(patient, port))?;
    Some(Finding::new(
        "uplink-portal",
        format!("the venue of {port} has a captive portal at {url}"),
        format!("open {url} in a browser behind the gateway, and accept its terms"),
    ))
}

/// dhcpcd (from 10 on) keeps in its lease what it asked for (`option captive_portal_uri`).
fn leased_portal(patient: &Patient<'_>, port: &str) -> Option<PortalUrl> {
    if !clients::of_port(patient.machine, port).contains(&Client::Managed(Manager::Dhcpcd)) {
        return None;
    }
    let lease = patient.machine.run("dhcpcd", &["-4", "-U", port])?;
    let line = lease.lines().find_map(|line| line.trim().strip_prefix("captive_portal_uri="))?;
    PortalUrl::read(line.trim_matches(['\'', '"']))
}
