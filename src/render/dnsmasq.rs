//! dnsmasq's configuration. What changes often stands in files of its own, which dnsmasq reads again on SIGHUP; a change of
//! the main one takes a restart.

#[cfg(test)]
mod tests;

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use ipnet::Ipv4Net;

use crate::config::{Netboot, Settings};
use crate::event::Mac;
use crate::policy::service::{DhcpPlan, ServicePlan};
use crate::policy::subnet::keep_host;
use crate::sort;
use crate::state::State;
use crate::state::node::most_claims;

/// First three bytes of hardware addresses that Raspberry Pis have (IEEE's MA-L list). The boot ROM calls itself an x86 PC
/// with a BIOS (option 93 = 0), so nothing else tells it from one.
const RASPBERRY_PI: [&str; 7] = ["28:cd:c1", "2c:cf:67", "88:a2:9e", "b8:27:eb", "d8:3a:dd", "dc:a6:32", "e4:5f:01"];
/// Where the hardware address says nothing: later ones begin option 97 with their generation, `RPi4` or `RPi5`.
const BOOT_ROM_IDENTIFIER: &str = "RPi";
/// The boot ROM takes no offer without this text in option 43, and the first ones compared the blanks too
/// (raspberrypi/firmware#941).
const BOOT_ROM_MENU: &str = "Raspberry Pi Boot   ";

/// What dnsmasq is to be given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Files {
    /// the main file
    pub config: String,
    /// the main file where somebody else has port 53; the same where no names are resolved in any case
    pub config_without_names: String,
    /// `dhcp-optsfile`, for each of the two
    pub options: String,
    pub options_without_names: String,
    /// `servers-file`
    pub servers: String,
    pub nodes: NodeFiles,
    /// the head's own address: where it listens
    pub address: Ipv4Net,
}

/// The files that name nodes; long where there are many, so shared.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NodeFiles {
    /// `dhcp-hostsfile`: who gets which address and name
    pub hosts: Arc<str>,
    /// `addn-hosts`: names of all nodes that have an address, and the head's own
    pub names: Arc<str>,
}

/// Renders all files; `folder` is where they will be.
pub fn files(plan: &ServicePlan, nodes: NodeFiles, folder: &str) -> Files {
    Files {
        config: config(plan, plan.dns, folder),
        config_without_names: config(plan, false, folder),
        options: options(plan, plan.dns),
        options_without_names: options(plan, false),
        servers: servers(plan),
        nodes,
        address: plan.address,
    }
}

/// The main file. `names`: resolve them.
pub fn config(plan: &ServicePlan, names: bool, folder: &str) -> String {
    let mut text =
        format!("# written by bramblegate: changes do not last\ninterface={}\nexcept-interface=lo\n", plan.port);
    // Also before the port and its address are there.
    text += "bind-dynamic\nno-resolv\nno-hosts\nno-poll\n";
    if names {
        let (domain, net) = (&plan.domain, plan.address.trunc());
        // Names and addresses of the cluster are nobody else's business.
        let _ =
            write!(text, "port=53\ndomain={domain}\nlocal=/{domain}/\nrev-server={net}\ndomain-needed\nexpand-hosts\n");
        let _ = write!(text, "addn-hosts={folder}/names\nservers-file={folder}/servers\n");
    } else {
        let _ = write!(text, "port=0\ndomain={}\n", plan.domain);
    }
    if let Some(dhcp) = &plan.dhcp {
        text += &addresses(dhcp, plan.address, folder);
        if let Some(netboot) = &plan.netboot {
            text += &boot(netboot, plan);
        }
    }
    text
}

fn addresses(dhcp: &DhcpPlan, address: Ipv4Net, folder: &str) -> String {
    let count = u32::from(dhcp.last).saturating_sub(u32::from(dhcp.first)).saturating_add(1);
    // Addresses outside the range are given too, to nodes that the settings name.
    let most = count.saturating_add(u32::from(address.hostmask())).max(1000);
    format!(
        "dhcp-range={},{},{},{}\ndhcp-lease-max={most}\n\
         # we are the only server here (that was asked first): say no to addresses of another subnet at once\n\
         dhcp-authoritative\ndhcp-rapid-commit\n\
         # a line for each renewal: how many those are the nodes decide, and who has an address stands in the file of leases\n\
         quiet-dhcp\n\
         # the question whether an address is in use takes three seconds; nodes ask themselves\nno-ping\n\
         dhcp-leasefile={folder}/leases\ndhcp-hostsfile={folder}/hosts\ndhcp-optsfile={folder}/options\n\
         # a board is known by its hardware address, whatever system it starts: one board, one lease\n\
         dhcp-ignore-clid\n\
         # no node becomes the proxy of all browsers, or a tunnel's end, by its name (CERT VU#598349, RFC 5214 9)\n\
         dhcp-name-match=set:wpad,wpad\ndhcp-name-match=set:wpad,wpad.*\n\
         dhcp-name-match=set:wpad,isatap\ndhcp-name-match=set:wpad,isatap.*\ndhcp-ignore-names=tag:wpad\n",
        dhcp.first,
        dhcp.last,
        address.netmask(),
        dhcp.lease.as_secs()
    )
}

fn boot(netboot: &Netboot, plan: &ServicePlan) -> String {
    let head = plan.address.addr();
    let mut text = format!("enable-tftp={}\ntftp-root={}\ntftp-no-fail\n", plan.port, netboot.root.display());
    if netboot.folder_per_mac {
        text += "tftp-unique-root=mac\n";
    }
    for prefix in RASPBERRY_PI {
        let _ = writeln!(text, "dhcp-mac=set:pi,{prefix}:*:*:*");
    }
    let _ = writeln!(text, "dhcp-match=set:pi,97,{BOOT_ROM_IDENTIFIER}");
    // The ROM loads what it always loads; who follows the options is told the same.
    let _ = write!(
        text,
        "pxe-service=tag:pi,0,\"{BOOT_ROM_MENU}\"\ndhcp-option-force=tag:pi,66,{head}\ndhcp-boot=tag:pi,bootcode.bin\n"
    );
    // Client architectures: RFC 4578 2.1 and IANA's list; 16 and 19 are UEFI's HTTP boot.
    for (tag, architectures) in
        [("bios", [0].as_slice()), ("x86", &[7, 9]), ("arm64", &[11]), ("x86-http", &[16]), ("arm64-http", &[19])]
    {
        for architecture in architectures {
            let _ = writeln!(text, "dhcp-match=set:{tag},option:client-arch,{architecture}");
        }
    }
    if let Some(file) = &netboot.bios {
        let _ = writeln!(text, "dhcp-boot=tag:bios,tag:!pi,{file}");
    }
    for (tag, file) in [("x86", &netboot.uefi_x86), ("arm64", &netboot.uefi_arm64)] {
        match file {
            Some(url) if url.starts_with("http://") => {
                // A client that boots by HTTP takes only an offer that names its class.
                let _ =
                    write!(text, "dhcp-boot=tag:{tag}-http,{url}\ndhcp-option-force=tag:{tag}-http,60,HTTPClient\n");
            }
            Some(file) => {
                let _ = writeln!(text, "dhcp-boot=tag:{tag},{file}");
            }
            None => {}
        }
    }
    text
}

/// DHCP options: they change with the venue. `names`: the head resolves them, which dnsmasq tells by itself.
pub fn options(plan: &ServicePlan, names: bool) -> String {
    let Some(dhcp) = &plan.dhcp else { return String::new() };
    let resolvers = plan.upstreams.iter().filter(|_| !names).filter_map(|upstream| match upstream.address {
        IpAddr::V4(address) => Some(address),
        IpAddr::V6(_) => None,
    });
    let list = |servers: Vec<Ipv4Addr>| servers.iter().map(Ipv4Addr::to_string).collect::<Vec<_>>().join(",");
    let seconds = |time: Duration| time.as_secs().to_string();
    let known = [
        ("dns-server", list(resolvers.collect())),
        ("ntp-server", list(dhcp.time_servers.clone())),
        ("T1", seconds(dhcp.renew)),
        ("T2", seconds(dhcp.rebind)),
    ];
    let told = known.iter().filter(|(_, list)| !list.is_empty());
    told.map(|(option, list)| format!("option:{option},{list}\n")).collect()
}

/// Whom dnsmasq asks.
pub fn servers(plan: &ServicePlan) -> String {
    let line = |upstream: &crate::policy::service::Upstream| {
        let port = upstream.port.as_ref().map_or_else(String::new, |port| format!("@{port}"));
        format!("server={}{port}\n", upstream.address)
    };
    plan.upstreams.iter().map(line).collect()
}

/// `dhcp-hostsfile`. A node that the settings know by its hardware address gets its address, with its host part where the
/// cluster is now; one that they know by its address alone gets it if it gives its name. Who else is at an address of the
/// range keeps it: also a node that never asked, whose address dnsmasq would believe to be free, up to a share of the range.
fn hosts(plan: &ServicePlan, settings: &Settings, state: &State) -> String {
    let (mut hosts, home) = (String::new(), settings.cluster.address);
    let placed = |address| if home.contains(&address) { keep_host(address, plan.address) } else { address };
    let mut taken = sort::set(settings.nodes.iter().filter_map(|node| node.address).map(placed));
    taken.insert(plan.address.addr());
    let mut held = |mac: Mac| {
        let range = plan.dhcp.as_ref().map(|dhcp| dhcp.first..=dhcp.last)?;
        let address = state.nodes().by_mac(mac)?.address.map(placed)?;
        // dnsmasq refuses to reserve an address twice.
        (range.contains(&address) && taken.insert(address)).then_some(address)
    };
    for node in &settings.nodes {
        let address = node.address.map(placed).or_else(|| held(node.mac?));
        let mac = node.mac.map(|mac| format!("{mac},")).unwrap_or_default();
        let place = address.map(|address| format!("{address},")).unwrap_or_default();
        let _ = match (mac.is_empty(), address) {
            (false, _) => writeln!(hosts, "{mac}{place}{}", node.name),
            (true, Some(address)) => writeln!(hosts, "{},{address}", node.name),
            (true, None) => Ok(()),
        };
    }
    // Those that the lines above do not speak of.
    let others = state.nodes().iter().filter(|node| node.written_mac.is_none() && node.home.is_none());
    let size = plan.dhcp.as_ref().map_or(0, |dhcp| u32::from(dhcp.last).saturating_sub(u32::from(dhcp.first)) + 1);
    let mut room = most_claims(size as usize);
    for mac in others.filter_map(|node| node.mac) {
        let claims = !state.nodes().has_lease(mac);
        if let Some(address) = held(mac).filter(|_| !claims || room > 0) {
            room -= usize::from(claims);
            let _ = writeln!(hosts, "{mac},{address}");
        }
    }
    hosts
}

/// The files that name nodes.
pub fn nodes(plan: &ServicePlan, settings: &Settings, state: &State) -> NodeFiles {
    let mut names = String::new();
    if let Some(head) = &plan.head {
        let _ = writeln!(names, "{} {head}", plan.address.addr());
    }
    for node in state.nodes().iter() {
        // Where it is about to be: dnsmasq gives no name to a lease that has another address here. Who has a static address
        // stays where it is.
        let goes_along = plan.dhcp.is_some() && state.nodes().moves_along(node);
        let served = |address: Ipv4Addr| match state.own_addresses().any(|net| net.contains(&address)) {
            true if goes_along => keep_host(address, plan.address),
            _ => address,
        };
        let is_heads = plan.head.as_deref().is_some_and(|head| node.name.eq_ignore_ascii_case(head));
        // A name in this file takes the place of the one that a node tells with its lease, also in dnsmasq's own file, and is
        // given to nobody else: so who came first keeps its name (`docs/decisions/names.md`).
        if let Some(address) = node.address.map(served).filter(|_| !is_heads) {
            let _ = writeln!(names, "{address} {}", node.name);
        }
    }
    NodeFiles { hosts: hosts(plan, settings, state).into(), names: names.into() }
}
