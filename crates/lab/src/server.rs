//! The venue's servers: dnsmasq for DHCP, DNS and router advertisements, udhcpd for leases shorter
//! than dnsmasq's minimum of two minutes.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

use ipnet::Ipv6Net;

use super::file::{Dhcp, DhcpServer, Network};
use super::inside::HOME;
use super::router::Advertised;
use super::shell::{Running, spawn, within};
use super::wiring::{DNS, WEB, WEB6, embed, laptop_name, mac, venue_name};
use super::{Error, Result, while_doing};

/// A static lease of a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Host {
    /// `02:bb:…`
    pub mac: String,
    /// Dotted.
    pub address: std::net::Ipv4Addr,
}

/// The servers of one network; killed when dropped.
#[derive(Debug)]
pub struct Servers {
    processes: Vec<Running>,
}

/// Starts DNS, and DHCP for `hosts` if `dhcp` is given, in the `index`th network. Returns when they
/// are ready.
pub fn start(
    index: usize,
    network: &Network,
    dhcp: Option<&Dhcp>,
    hosts: &[Host],
) -> Result<Servers> {
    let venue = venue_name(index);
    let mut text = format!(
        "port=53\ninterface=lan0\nbind-dynamic\nno-resolv\nno-hosts\nno-ping\nlog-dhcp\n\
         dhcp-authoritative\n\
         server={DNS}\ndhcp-leasefile={HOME}/{venue}.leases\n"
    );
    if let (Some(prefix), None) = (network.ipv6, &network.ra) {
        let _ = writeln!(
            text,
            "enable-ra\ndhcp-range=::,constructor:lan0,ra-only,{},1h",
            prefix.prefix_len()
        );
    }
    if let Some(prefix) = network.dns64 {
        for address in ["192.0.0.170", "192.0.0.171"] {
            let _ = writeln!(text, "address=/ipv4only.arpa/{}", embed(prefix, address)?);
        }
    }
    let mut processes = Vec::new();
    if let Some(ra) = &network.ra {
        processes.push(router(&venue, "lan0", ra)?);
    }
    if let Some(ra) = &network.second_ra {
        processes.push(router(&laptop_name(index), "eth0", ra)?);
    }
    if let Some(address) = network.dhcpv6 {
        let _ = writeln!(text, "dhcp-range={address},{address},64,1h");
    }
    match dhcp {
        Some(dhcp) if dhcp.server == DhcpServer::Dnsmasq => {
            text.push_str(&dnsmasq_lines(network, dhcp, hosts))
        }
        Some(dhcp) => processes.push(udhcpd(&venue, network, dhcp, hosts)?),
        None => {}
    }
    processes.push(dnsmasq(&venue, &venue, &text)?);
    Ok(Servers { processes })
}

/// Starts the DNS server of the internet, which is also reachable behind these NAT64 prefixes.
pub fn start_internet(ipv6: bool, nat64: &[Ipv6Net]) -> Result<Servers> {
    let mut text = format!(
        "port=53\nlisten-address={DNS}\nbind-dynamic\nno-resolv\nno-hosts\naddress=/#/{WEB}\n"
    );
    for prefix in nat64 {
        let _ = writeln!(text, "listen-address={}", embed(*prefix, DNS)?);
    }
    if ipv6 {
        let _ = writeln!(text, "address=/#/{WEB6}");
    }
    Ok(Servers { processes: vec![dnsmasq("internet", "internet", &text)?] })
}

impl Servers {
    /// Stops all of them at once.
    pub fn stop(&mut self) {
        self.processes.clear();
    }
}

/// Starts a router that advertises `ra` on a port. Returns when it is ready.
fn router(namespace: &str, port: &str, ra: &Advertised) -> Result<Running> {
    let own = std::env::current_exe().map_err(while_doing("this program's file"))?;
    let log = PathBuf::from(format!("{HOME}/{namespace}.router.log"));
    let _ = fs::remove_file(&log);
    let mut command = within(namespace, &own.to_string_lossy());
    let running = spawn(command.args(["venue-advertise", port, &ra.to_string()]), &log)?;
    wait_for(&log, "ready")?;
    Ok(running)
}

fn dnsmasq(namespace: &str, name: &str, text: &str) -> Result<Running> {
    let file = format!("{HOME}/{name}.dnsmasq");
    fs::write(&file, text).map_err(while_doing(&file))?;
    let _ = fs::remove_file(format!("{HOME}/{name}.leases"));
    let log = PathBuf::from(format!("{HOME}/{name}.dnsmasq.log"));
    let _ = fs::remove_file(&log);
    // -d: in the foreground, without dropping privileges, as an unprivileged user namespace has no
    // other user.
    let running = spawn(within(namespace, "dnsmasq").args(["-d", "-C", &file]), &log)?;
    wait_for(&log, "started")?;
    Ok(running)
}

/// Waits until a log contains `word`, at most three seconds.
pub fn wait_for(log: &Path, word: &str) -> Result<()> {
    let deadline = Instant::now() + Duration::from_secs(3);
    loop {
        let text = fs::read_to_string(log).unwrap_or_default();
        if text.contains(word) {
            return Ok(());
        }
        if Instant::now() > deadline {
            return Err(Error(format!(
                "{} does not say \"{word}\" but: {}",
                log.display(),
                text.trim()
            )));
        }
        sleep(Duration::from_millis(5));
    }
}

fn dnsmasq_lines(network: &Network, dhcp: &Dhcp, hosts: &[Host]) -> String {
    let Some(router) = network.address.first() else { return String::new() };
    let seconds = dhcp.lease.as_secs();
    // dnsmasq serves only ranges in a subnet of its port's addresses.
    let subnet = network.address.iter().find(|own| own.contains(&dhcp.address)).unwrap_or(router);
    let mut text =
        format!("dhcp-range={},static,{},{seconds}\n", subnet.network(), subnet.netmask());
    for host in hosts {
        let _ = writeln!(text, "dhcp-host={},{}", host.mac, host.address);
    }
    if let Some(netmask) = dhcp.netmask {
        let _ = writeln!(text, "dhcp-option=1,{netmask}");
    }
    for (option, value) in [(3, dhcp.router), (6, dhcp.resolver)] {
        let _ = match value.unwrap_or(Some(router.addr())) {
            Some(address) => writeln!(text, "dhcp-option={option},{address}"),
            None => writeln!(text, "dhcp-option={option}"),
        };
    }
    if !dhcp.routes.is_empty() {
        let list: Vec<String> = dhcp.routes.iter().map(|(to, via)| format!("{to},{via}")).collect();
        let _ = writeln!(text, "dhcp-option=121,{0}\ndhcp-option=249,{0}", list.join(","));
    }
    if let Some(portal) = &dhcp.portal {
        let _ = writeln!(text, "dhcp-option=114,{portal}");
    }
    if let Some(time) = dhcp.ipv6_only {
        let _ = writeln!(text, "dhcp-option=108,{}i", time.as_secs());
    }
    if network.mtu != 1500 {
        let _ = writeln!(text, "dhcp-option=26,{}", network.mtu);
    }
    text
}

fn udhcpd(venue: &str, network: &Network, dhcp: &Dhcp, hosts: &[Host]) -> Result<Running> {
    let router = network.address.first().map(|router| router.addr());
    let netmask = dhcp.netmask.or_else(|| network.address.first().map(|router| router.netmask()));
    let leases = format!("{HOME}/{venue}.udhcpd.leases");
    fs::write(&leases, "").map_err(while_doing(&leases))?;
    let mut text = format!(
        "interface lan0\nstart {0}\nend {0}\nmin_lease 5\noffer_time 5\nlease_file {leases}\n\
         pidfile {HOME}/{venue}.udhcpd.pid\n\
         option lease {1}\n",
        dhcp.address,
        dhcp.lease.as_secs()
    );
    for host in hosts {
        let _ = writeln!(text, "static_lease {} {}", host.mac, host.address);
    }
    if let Some(netmask) = netmask {
        let _ = writeln!(text, "option subnet {netmask}");
    }
    for (option, value) in [("router", dhcp.router), ("dns", dhcp.resolver)] {
        if let Some(address) = value.unwrap_or(router) {
            let _ = writeln!(text, "option {option} {address}");
        }
    }
    let file = format!("{HOME}/{venue}.udhcpd");
    fs::write(&file, text).map_err(while_doing(&file))?;
    let log = PathBuf::from(format!("{HOME}/{venue}.udhcpd.log"));
    let _ = fs::remove_file(&log);
    let running = spawn(within(venue, "busybox").args(["udhcpd", "-f", &file]), &log)?;
    wait_for(&log, "started")?;
    Ok(running)
}

/// Returns the static leases of the `wire`th network: one for each port plugged into it.
pub fn hosts(networks: &[Network], wire: usize) -> Vec<Host> {
    let Some(port) = networks.get(wire).map(|network| network.port.as_str()) else {
        return Vec::new();
    };
    networks
        .iter()
        .enumerate()
        .filter(|(index, network)| *index == wire || network.shares.as_deref() == Some(port))
        .filter_map(|(index, network)| {
            Some(Host { mac: mac(index), address: network.dhcp.as_ref()?.address })
        })
        .collect()
}
