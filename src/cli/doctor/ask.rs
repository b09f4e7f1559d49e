//! `doctor --try`: queries DHCP servers and resolvers, and announces each query. No address is
//! requested, and nothing is changed.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::path::Path;
use std::time::Duration;

use socket2::SockRef;

use super::{CheckContext, CheckResult, Finding, FindingCode, presumed_settings};
use crate::cli::machine::Machine;
use crate::cli::{output, settings};
use crate::config::{Settings, UplinkProbe};
use crate::dns;
use crate::event::AlertCode;
use crate::watch::dhcp::ask::offers;
use crate::watch::probe;
use crate::watch::uplink::resolvers;

/// Timeout for a resolver; a venue's may have to ask other servers first.
const RESOLVER_TIMEOUT: Duration = Duration::from_secs(3);
/// Port of DNS (RFC 1035, 4.2).
const DNS_PORT: u16 = 53;
/// Name to resolve if the settings probe an address: the host of the default `uplink.check.url`.
const FALLBACK_NAME: &str = "connectivitycheck.gstatic.com";

/// Sends each query, after announcing it on standard error.
pub fn ask(machine: &Machine, file: &Path) -> Vec<CheckResult> {
    let loaded = settings::load(file).map(|merged| merged.settings).ok();
    let Some(settings) = loaded.or_else(|| presumed_settings(machine)) else {
        return Vec::new();
    };
    let context = CheckContext { machine, settings: &settings };
    let name = probed_name(&settings);
    let mut asked = Vec::new();
    for port in context.uplinks().iter().filter(|port| machine.has_carrier(port)) {
        output::err(&format!(
            "Asking on {port} for a DHCP server (a DISCOVER; the offer is not taken)\n"
        ));
        asked.push(query(format!("{port}: a DHCP server answers"), query_dhcp(port)));
        for server in venue_resolvers(machine, port) {
            output::err(&format!("Asking the resolver {server} through {port} for {name}\n"));
            let what = format!("{port}: the resolver {server} resolves {name}");
            asked.push(query(what, query_resolver(port, server, &name)));
        }
    }
    let address = settings.cluster.address.addr();
    if settings.cluster.dhcp.is_some() && settings.gateway.enabled {
        output::err(&format!(
            "Asking the head's own dnsmasq at {address} for {name}, as a node would\n"
        ));
        let what = format!("the head's own dnsmasq resolves {name}");
        asked.push(query(what, query_own_dnsmasq(address, &name)));
    }
    asked
}

/// Notes if all is well, else a finding.
type Answer = Result<Vec<String>, Box<Finding>>;

fn query(name: String, answer: Answer) -> CheckResult {
    let (notes, findings) = match answer {
        Ok(notes) => (notes, Vec::new()),
        Err(finding) => (Vec::new(), vec![*finding]),
    };
    CheckResult { name, findings, notes, is_query: true }
}

/// Returns the host name that the settings probe, or [`FALLBACK_NAME`].
fn probed_name(settings: &Settings) -> String {
    match &settings.uplink.probe {
        UplinkProbe::Http { host, .. }
            if host.parse::<IpAddr>().is_err() && !host.starts_with('[') =>
        {
            host.clone()
        }
        _ => FALLBACK_NAME.to_owned(),
    }
}

fn query_dhcp(port: &str) -> Answer {
    let offers = offers(port).map_err(|error| {
        let text = format!("cannot ask for a DHCP server on {port}: {error}");
        Finding::of(FindingCode::UplinkNotAsked, text)
    })?;
    if offers.is_empty() {
        return Err(Box::new(Finding::new(
            FindingCode::UplinkNoDhcp,
            format!("no DHCP server answers a question on {port}"),
            "try another socket of the venue, or ask whether this one is switched on",
        )));
    }
    let notes = offers.iter().map(|offer| {
        let ipv6_only = if offer.ipv6_only { ", and asks for IPv6 only (option 108)" } else { "" };
        let portal = offer
            .portal
            .as_ref()
            .map(|url| format!(", with a captive portal at {url}"))
            .unwrap_or_default();
        let (server, address) = (offer.server, offer.address);
        format!("{port}: the DHCP server {server} offers {address}{ipv6_only}{portal}")
    });
    Ok(notes.collect())
}

/// Returns the uplink's own resolvers, else the machine's; without loopback addresses.
fn venue_resolvers(machine: &Machine, port: &str) -> Vec<IpAddr> {
    let known = resolvers::read(&machine.path("/"));
    let own = machine.index(port).and_then(|index| known.get(&index));
    let mut servers = own.or_else(|| known.get(&0)).cloned().unwrap_or_default();
    servers.retain(|server| !server.is_loopback());
    servers
}

/// The answer of a resolver.
enum Resolution {
    Addresses(usize),
    /// An answer without addresses, or a refusal.
    Empty,
}

/// Asks one server for the IPv4 addresses of a name.
fn resolve(server: IpAddr, from: IpAddr, port: Option<&str>, name: &str) -> io::Result<Resolution> {
    let socket = UdpSocket::bind(SocketAddr::new(from, 0))?;
    SockRef::from(&socket).bind_device(port.map(str::as_bytes))?;
    socket.set_read_timeout(Some(RESOLVER_TIMEOUT))?;
    socket.connect(SocketAddr::new(server, DNS_PORT))?;
    let [high, low, ..] = probe::unguessable().to_ne_bytes();
    let id = u16::from_be_bytes([high, low]);
    let asked = dns::query(id, name, false).ok_or(io::ErrorKind::InvalidInput)?;
    socket.send(&asked)?;
    let mut answer = [0; 1500];
    let length = socket.recv(&mut answer)?;
    let answer = answer.get(..length).unwrap_or_default();
    // Any answer shows that the server is there, also a refusal.
    match dns::addresses(answer, &asked) {
        Some(found) if !found.is_empty() => Ok(Resolution::Addresses(found.len())),
        _ => Ok(Resolution::Empty),
    }
}

fn query_resolver(port: &str, server: IpAddr, name: &str) -> Answer {
    let from = if server.is_ipv4() { IpAddr::from([0; 4]) } else { IpAddr::from([0; 16]) };
    let (text, remedy) = match resolve(server, from, Some(port), name) {
        Ok(Resolution::Addresses(count)) => {
            return Ok(vec![format!(
                "{port}: the resolver {server} resolves {name} (addresses: {count})"
            )]);
        }
        Ok(Resolution::Empty) => (
            format!(
                "the venue's resolver {server} answers through {port}, but has no address for \
                 {name}"
            ),
            "log in at the venue's portal if there is one; else give the DHCP client another \
             resolver",
        ),
        Err(error) => (
            format!("the venue's resolver {server} does not answer through {port}: {error}"),
            "give the DHCP client another resolver, or ask whether the venue's is on",
        ),
    };
    Err(Box::new(Finding::new(FindingCode::UplinkResolver, text, remedy)))
}

fn query_own_dnsmasq(address: Ipv4Addr, name: &str) -> Answer {
    let address = IpAddr::V4(address);
    let finding = match resolve(address, address, None, name) {
        Ok(Resolution::Addresses(count)) => {
            return Ok(vec![format!("the head's dnsmasq resolves {name} (addresses: {count})")]);
        }
        Ok(Resolution::Empty) => {
            let text =
                format!("the head's dnsmasq answers at {address}, but has no address for {name}");
            Finding::of(FindingCode::GatewayNames, text)
        }
        Err(error) => Finding::new(
            AlertCode::GatewayDnsmasqFailed,
            format!(
                "the head's dnsmasq does not answer at {address}, where the nodes ask: {error}"
            ),
            "`sudo systemctl restart bramblegate`",
        ),
    };
    Err(Box::new(finding))
}
