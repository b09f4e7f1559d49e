//! The uplinks: their DHCP clients, why one has no address, captive portals.

pub mod clients;
mod venue;

pub use venue::translator;

use ipnet::IpNet;

use self::clients::Client;
use super::link::is_wireless;
use super::{CheckContext, Finding, FindingCode, Rank};
use crate::api::Word;
use crate::api::status::{DhcpProgress, Snapshot, Uplink, UplinkState};
use crate::cli::machine::Machine;
use crate::event::{AlertCode, PortalUrl};
use crate::watch::uplink::clients::Manager;

/// Finds two clients on one uplink: they get two leases, and remove each other's routes.
pub fn two_clients(context: &CheckContext<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for port in context.uplinks() {
        let clients = clients::of_port(context.machine, &port);
        let [first, others @ ..] = clients.as_slice() else { continue };
        for other in others {
            let text = format!(
                "{first} and {other} both ask for an address on the uplink {port}: it gets two, \
                 and each removes the other's routes; use {first} only"
            );
            findings.push(Finding::new(
                FindingCode::UplinkTwoClients,
                text,
                first.replace(other, &port),
            ));
        }
    }
    findings
}

/// Finds uplinks with a cable and without an IPv4 address, leases that are not renewed, and
/// portals.
pub fn addresses(context: &CheckContext<'_>) -> Vec<Finding> {
    let status = context.machine.status(&context.settings.sockets.status);
    let mut findings = switched_off(context);
    for port in context.uplinks() {
        let known = status.as_ref().and_then(|status| uplink_status(status, &port));
        findings.extend(portal(context, &port, known));
        findings.extend(
            status
                .as_ref()
                .zip(known)
                .and_then(|(status, known)| venue::without_ipv4(context, status, &port, known)),
        );
        if !context.machine.has_carrier(&port) {
            continue;
        }
        let held = context.machine.addresses(&port);
        if held.iter().any(is_leased_ipv4) {
            findings.extend(known.and_then(|known| not_renewed(&port, known)));
        } else if !status.as_ref().is_some_and(|status| venue::is_enough(status, &held)) {
            findings.push(without_ipv4(context, &port, known, &held));
        }
    }
    findings
}

/// Returns whether it is an IPv4 address that a server leased: neither link-local (169.254.0.0/16)
/// nor a translator's (192.0.0.0/24, RFC 7335).
fn is_leased_ipv4(net: &IpNet) -> bool {
    match net {
        IpNet::V4(net) => {
            !net.addr().is_link_local() && net.addr().octets().first_chunk() != Some(&[192, 0, 0])
        }
        IpNet::V6(_) => false,
    }
}

/// Finds uplinks that are administratively down. A hint if another one has a carrier: it may be
/// intended.
fn switched_off(context: &CheckContext<'_>) -> Vec<Finding> {
    let uplinks = context.uplinks();
    let flags = |port: &str| context.machine.read(&format!("/sys/class/net/{port}/flags"));
    let carries = uplinks.iter().any(|port| context.machine.has_carrier(port));
    let off = uplinks.iter().filter(|port| flags(port).is_some_and(|flags| !is_up(&flags)));
    off.map(|port| {
        let rank = if carries { Rank::Hint } else { Rank::Finding };
        // NetworkManager takes a port down when it releases it. Only switched on, the port would
        // get no address.
        let finding = if clients::is_released_by_network_manager(context.machine, port) {
            let text = format!(
                "the uplink {port} is switched off (administratively down), and NetworkManager is \
                 set to leave it alone: nothing on this machine asks for an address there"
            );
            let remedy = clients::start(context.machine, port);
            Finding::new(FindingCode::UplinkNoClient, text, remedy)
        } else {
            let text = format!(
                "the uplink {port} is switched off (administratively down), so it sees no cable or \
                 network"
            );
            Finding::new(FindingCode::UplinkOff, text, switch_on(context.machine, port))
        };
        finding.ranked(rank)
    })
    .collect()
}

/// Returns whether the flags of `/sys/class/net/PORT/flags` ("0x1003") hold `IFF_UP`
/// (netdevice(7)).
fn is_up(flags: &str) -> bool {
    let digits = flags.trim().trim_start_matches("0x");
    u32::from_str_radix(digits, 16).is_ok_and(|flags| flags & 1 != 0)
}

/// Returns the command that sets a port up, through its manager if that would leave it down. Wi-Fi
/// may also be blocked.
fn switch_on(machine: &Machine, port: &str) -> String {
    let command = clients::switch_on(machine, port);
    let blocked = if is_wireless(machine, port) {
        "; if that is refused, `sudo rfkill unblock wifi` before it"
    } else {
        ""
    };
    format!("`{command}`{blocked}")
}

/// Returns the daemon's status of one uplink.
fn uplink_status<'s>(status: &'s Snapshot, port: &str) -> Option<&'s Uplink> {
    status.uplinks.iter().find(|uplink| uplink.interface.as_deref() == Some(port))
}

fn without_ipv4(
    context: &CheckContext<'_>,
    port: &str,
    known: Option<&Uplink>,
    held: &[IpNet],
) -> Finding {
    let machine = context.machine;
    let clients = clients::of_port(machine, port);
    let reached = venue::is_reached(held);
    // An uplink with IPv6 can be reached: only the nodes have no way out.
    let rank = if reached { Rank::Hint } else { Rank::Finding };
    let finding =
        |code, text: String, remedy: String| Finding::new(code, text, remedy).ranked(rank);
    let Some(client) = clients.first() else {
        let text = format!(
            "the uplink {port} has a carrier and no IPv4 address, and nothing on this machine \
             asks for one"
        );
        return finding(FindingCode::UplinkNoClient, text, clients::start(machine, port));
    };
    // An unknown word counts as no progress.
    let progress = known.and_then(|known| known.dhcp.as_ref());
    match progress.and_then(Word::known) {
        Some(DhcpProgress::Ipv6Only) => {
            let after = match client {
                Client::Managed(Manager::Networkd) => "asks for IPv4 only after five minutes",
                _ => "takes no IPv4 address for as long as the server says so",
            };
            let text = format!(
                "the venue's DHCP server asks for IPv6 only on {port} (option 108), and {client} \
                 is set to obey: it {after}"
            );
            finding(FindingCode::UplinkIpv6Only, text, client.ignore_option_108(machine, port))
        }
        Some(DhcpProgress::Offered) => finding(
            FindingCode::UplinkNotTaken,
            format!("a DHCP server offers an address on {port}, and {client} does not take it"),
            format!("see its log: `journalctl -b --no-pager -n 50 -u {}`", unit(client)),
        ),
        Some(DhcpProgress::Refused | DhcpProgress::Declined) => finding(
            FindingCode::UplinkRefused,
            format!("the venue's DHCP server and {client} disagree on an address for {port}"),
            format!("ask again: `{}`", client.renew(port)),
        ),
        None | Some(DhcpProgress::Waiting) if client.honours_option_108(machine, port) => {
            let text = format!(
                "{client} is set to obey option 108 on {port} and is not asking for an address \
                 now: a DHCP server that asks for IPv6 only may have answered before the gateway \
                 listened (`sudo bramblegate doctor --try` shows it)"
            );
            finding(FindingCode::UplinkIpv6Only, text, client.ignore_option_108(machine, port))
        }
        Some(DhcpProgress::Waiting) => finding(
            FindingCode::UplinkWaiting,
            format!("{client} manages the uplink {port}, but is not asking for an address now"),
            format!("ask again: `{}`", client.renew(port)),
        ),
        Some(DhcpProgress::Unanswered) => finding(
            FindingCode::UplinkNoDhcp,
            format!("{client} asks for an address on {port}, and no DHCP server answers"),
            "`sudo bramblegate doctor --try` asks independently; else try another socket of the \
             venue"
                .to_owned(),
        ),
        _ => {
            let text = format!(
                "{client} manages the uplink {port}, which has a carrier and no IPv4 address"
            );
            Finding::of(FindingCode::UplinkNoAddress, text).ranked(rank)
        }
    }
}

/// Returns the unit of a client's log in the journal.
fn unit(client: &Client) -> &str {
    match client {
        Client::Managed(Manager::NetworkManager) => "NetworkManager",
        Client::Managed(Manager::Networkd) => "systemd-networkd",
        Client::Managed(Manager::Dhcpcd) => "dhcpcd",
        Client::Standalone(process) => &process.name,
    }
}

fn not_renewed(port: &str, known: &Uplink) -> Option<Finding> {
    let late = known.not_renewed_s?;
    let left = known.lease_left_s.unwrap_or(0);
    // `address` may be one of IPv6, and the lease is of IPv4.
    let ipv4 = known.addresses.iter().flatten().find(|net| net.addr().is_ipv4()).copied();
    let address = ipv4.or(known.address);
    let address = address.map_or_else(|| "its address".to_owned(), |address| address.to_string());
    let text = format!(
        "the lease of {address} on {port} has not been renewed for {late} s: it ends in {left} s, \
         and answers until then"
    );
    let remedy = "check that the venue's router is on; `sudo bramblegate doctor --try` asks its \
                  DHCP server";
    Some(Finding::new(AlertCode::UplinkLeaseNotRenewed, text, remedy))
}

/// Finds a portal, by the daemon's probe or by dhcpcd's lease.
fn portal(context: &CheckContext<'_>, port: &str, known: Option<&Uplink>) -> Option<Finding> {
    if known.is_some_and(|known| known.state == UplinkState::Online) {
        return None;
    }
    let by_daemon = known.and_then(|known| PortalUrl::read(known.portal_url.as_deref()?));
    let url = by_daemon.or_else(|| leased_portal(context, port))?;
    Some(Finding::new(
        AlertCode::UplinkPortal,
        format!("the venue of {port} has a captive portal at {url}"),
        format!("open {url} in a browser behind the gateway, and accept its terms"),
    ))
}

/// Returns the portal in dhcpcd's lease (dhcpcd 10 or newer, with `option captive_portal_uri`).
fn leased_portal(context: &CheckContext<'_>, port: &str) -> Option<PortalUrl> {
    if !clients::of_port(context.machine, port).contains(&Client::Managed(Manager::Dhcpcd)) {
        return None;
    }
    let lease = context.machine.run("dhcpcd", &["-4", "-U", port])?;
    let line = lease.lines().find_map(|line| line.trim().strip_prefix("captive_portal_uri="))?;
    PortalUrl::read(line.trim_matches(['\'', '"']))
}
