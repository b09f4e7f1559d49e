//! dnsmasq's configuration. What changes often is in separate files, which dnsmasq rereads on
//! SIGHUP; a change of the main file requires a restart.

mod renderer;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::time::Duration;

use ipnet::{Ipv4Net, Ipv6Net};

use crate::config::{Netboot, Settings};
use crate::decide::cluster::keep_host;
use crate::decide::dhcp::{
    ADVERTISED_EVERY, AnswerOrigin, DhcpPlan, ROUTER_LIFETIME, ServicePlan, is_ipxe,
};
use crate::event::Mac;
use crate::facts::Facts;
use crate::facts::node::most_claims;

pub use renderer::Renderer;

/// MAC prefixes of Raspberry Pis (IEEE's MA-L list). The boot ROM identifies as an x86 PC with a
/// BIOS (option 93 = 0), so nothing else distinguishes it.
const RASPBERRY_PI: [&str; 7] =
    ["28:cd:c1", "2c:cf:67", "88:a2:9e", "b8:27:eb", "d8:3a:dd", "dc:a6:32", "e4:5f:01"];
/// Boards without such a prefix: the ROM of later models starts option 97 with the generation,
/// `RPi4` or `RPi5`.
const BOOT_ROM_IDENTIFIER: &str = "RPi";
/// The boot ROM requires this text in option 43; the first ROMs compare the trailing spaces too
/// (raspberrypi/firmware#941).
const BOOT_ROM_MENU: &str = "Raspberry Pi Boot   ";

/// Prefix of the boot ROM's vendor class (option 60), the same for all models and EEPROMs.
const BOOT_ROM_CLASS: &str = "PXEClient:Arch:00000";
/// A Raspberry Pi 1 to 3: its ROM misses an immediate offer. The vendor advises a delay of 1 to 2 s
/// (raspberrypi/firmware#934).
const RASPBERRY_PI_3: &str = "b8:27:eb";
/// In seconds; dnsmasq rounds up to the next full second of the clock.
const REPLY_DELAY: u32 = 1;
/// iPXE identifies by its encapsulated options, or by its user class only.
const IPXE_FEATURES: u8 = 175;
const IPXE_CLASS: &str = "iPXE";

/// Upper limit of the TTL that nodes get, in seconds: answers are wrong at the next venue, and
/// after a portal login. The cost is a query to the head, whose own cache keeps the original TTL.
const MAX_TTL: u32 = 30;

/// Lifetime of addresses of a delegated prefix after the last advertisement, in seconds: a head
/// that is carried away sends no final advertisement (RFC 4862, 5.5.3).
const DELEGATED_LIFETIME: u32 = 1800;
/// How long a node does without IPv4 before it asks again, in seconds: the minimum (RFC 8925,
/// section 3.4), because the next venue may have no NAT64.
const V6ONLY_WAIT: u32 = 300;
/// The DHCP option for it; dnsmasq sends it only to clients that request it.
const IPV6_ONLY_PREFERRED: u8 = 108;

/// Limit on concurrent TFTP transfers. Each takes a socket, and dnsmasq is limited to 1024 open
/// files in total (`TFTP_MAX_CONNECTIONS` in its `config.h` is 50). Requests beyond the limit get
/// no reply and no log line.
const MAX_TRANSFERS: u32 = 900;
const MIN_TRANSFERS: u32 = 50;

/// The contents of dnsmasq's files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Files {
    /// The main file.
    pub config: String,
    /// The main file while another program has port 53; equal to `config` if DNS is off.
    pub config_without_names: String,
    /// `dhcp-optsfile`, one for each main file.
    pub options: String,
    pub options_without_names: String,
    /// `servers-file`
    pub servers: String,
    pub nodes: NodeFiles,
    /// The cluster port.
    pub port: String,
    /// The head's address, on which it listens.
    pub address: Ipv4Net,
    /// The domain that it is authoritative for.
    pub domain: String,
    /// First and last address of the dynamic range.
    pub range: Option<(Ipv4Addr, Ipv4Addr)>,
    /// It sends router advertisements.
    pub advertises: bool,
    /// A change invalidates the DNS cache.
    pub origin: AnswerOrigin,
}

/// The files that name nodes. Shared, because they may be long.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NodeFiles {
    /// `dhcp-hostsfile`: addresses and names by board.
    pub hosts: Arc<str>,
    /// `addn-hosts`: names of all nodes with an address, and the head's.
    pub names: Arc<str>,
    /// Addresses that the settings reserve for a board: another board's lease of one does not
    /// count.
    pub homes: Arc<[(Ipv4Addr, Mac)]>,
    /// Suffix of each line in `hosts` while the lease time differs from the main file's.
    pub lease: Arc<str>,
}

impl Files {
    /// Returns whether dnsmasq can change from one to the other without a restart.
    pub fn has_main_of(&self, other: &Self) -> bool {
        (&self.config, &self.config_without_names, self.address, &self.port)
            == (&other.config, &other.config_without_names, other.address, &other.port)
    }

    /// Returns these files with the main files of `other` and its options, which use the tags of
    /// the main files.
    #[must_use]
    pub fn with_main_of(self, other: Self) -> Self {
        let Self { config, config_without_names, options, options_without_names, .. } = other;
        Self { config, config_without_names, options, options_without_names, ..self }
    }
}

/// Renders all files; `folder` is the directory they will be in.
pub fn files(plan: &ServicePlan, nodes: NodeFiles, folder: &str) -> Files {
    Files {
        config: config(plan, plan.dns, folder),
        config_without_names: config(plan, false, folder),
        options: options(plan, plan.dns),
        options_without_names: options(plan, false),
        servers: servers(plan),
        nodes,
        port: plan.port.clone(),
        address: plan.address,
        domain: plan.domain.clone(),
        range: plan.dhcp.as_ref().map(|dhcp| (dhcp.first, dhcp.last)),
        advertises: plan.dhcp.is_some() && (plan.ipv6.is_some() || plan.delegated),
        origin: plan.origin.clone(),
    }
}

/// Returns the main file, with DNS if `names`.
pub fn config(plan: &ServicePlan, names: bool, folder: &str) -> String {
    let mut text = format!(
        "# written by bramblegate: changes do not last\ninterface={}\nexcept-interface=lo\n",
        plan.port
    );
    // dnsmasq starts even before the port and its address exist.
    text += "bind-dynamic\nno-resolv\nno-hosts\nno-poll\n";
    if names {
        let (domain, net) = (&plan.domain, plan.address.trunc());
        // Queries for the cluster's names and addresses are not forwarded.
        let _ = write!(
            text,
            "port=53\ndomain={domain}\nlocal=/{domain}/\nrev-server={net}\ndomain-needed\n\
             expand-hosts\n"
        );
        text.extend(plan.ipv6.map(|address| format!("rev-server={}\n", address.trunc())));
        let _ = write!(text, "addn-hosts={folder}/names\nservers-file={folder}/servers\n");
        let _ = writeln!(text, "max-ttl={MAX_TTL}");
    } else {
        let _ = write!(text, "port=0\ndomain={}\n", plan.domain);
    }
    if let Some(dhcp) = &plan.dhcp {
        text += &addresses(dhcp, plan.address, folder);
        text.extend(plan.ipv6.map(|address| advertisements(&plan.port, address)));
        if plan.delegated {
            text += &delegated(&plan.port);
        }
        if let Some(netboot) = &plan.netboot {
            text += &boot(netboot, plan);
        }
    }
    text
}

/// Returns the lines of the main file for DHCPv4.
fn addresses(dhcp: &DhcpPlan, address: Ipv4Net, folder: &str) -> String {
    // Configured nodes may have addresses outside the range.
    let most = dhcp.size().saturating_add(u32::from(address.hostmask())).max(1000);
    format!(
        "dhcp-range={},{},{},{}\ndhcp-lease-max={most}\n\
         # we are the only server here (that was asked first): say no to addresses of another \
         subnet at once\n\
         dhcp-authoritative\ndhcp-rapid-commit\n\
         # the question whether an address is in use takes three seconds; nodes ask \
         themselves\nno-ping\n\
         dhcp-leasefile={folder}/leases\ndhcp-hostsfile={folder}/hosts\n\
         dhcp-optsfile={folder}/options\n\
         # a board is known by its hardware address, whatever system it starts: one board, one \
         lease\n\
         dhcp-ignore-clid\n\
         # no node becomes the proxy of all browsers, or a tunnel's end, by its name (CERT \
         VU#598349, RFC 5214 9)\n\
         dhcp-name-match=set:wpad,wpad\ndhcp-name-match=set:wpad,wpad.*\n\
         dhcp-name-match=set:wpad,isatap\ndhcp-name-match=set:wpad,isatap.*\n\
         dhcp-ignore-names=tag:wpad\n",
        dhcp.first,
        dhcp.last,
        address.netmask(),
        dhcp.usual_lease.as_secs()
    )
}

/// Returns the lines of the main file that advertise the nodes' IPv6 network, for stateless
/// autoconfiguration (RFC 4862) and with the head as resolver (RFC 8106).
fn advertisements(port: &str, address: Ipv6Net) -> String {
    format!(
        "dhcp-range={},ra-only,{}\nra-param={port},{ADVERTISED_EVERY},{ROUTER_LIFETIME}\n",
        address.network(),
        address.prefix_len()
    )
}

/// Returns the line of the main file that advertises the networks of the head's other addresses on
/// the port. dnsmasq advertises a removed one as deprecated for as long as nodes may use it.
fn delegated(port: &str) -> String {
    format!("dhcp-range=::,constructor:{port},ra-only,64,{DELEGATED_LIFETIME}\n")
}

/// Renders the TFTP server and the tags of its clients. The file that each client loads is in the
/// [`options`].
fn boot(netboot: &Netboot, plan: &ServicePlan) -> String {
    let head = plan.address.addr();
    let mut text =
        format!("enable-tftp={}\ntftp-root={}\ntftp-no-fail\n", plan.port, netboot.root.display());
    let _ = writeln!(text, "tftp-max={}", transfers(plan.address));
    if netboot.folder_per_mac {
        text += "tftp-unique-root=mac\n";
    }
    for prefix in RASPBERRY_PI {
        let _ = writeln!(text, "dhcp-mac=set:pi-board,{prefix}:*:*:*");
    }
    let _ = write!(
        text,
        "dhcp-match=set:pi-board,97,{BOOT_ROM_IDENTIFIER}\n\
         # UEFI, U-Boot and the system that runs on a Raspberry Pi are not its ROM\n\
         dhcp-vendorclass=set:rom,{BOOT_ROM_CLASS}\n\
         dhcp-match=set:ipxe,{IPXE_FEATURES}\ndhcp-userclass=set:ipxe,{IPXE_CLASS}\n\
         tag-if=set:pi,tag:pi-board,tag:rom,tag:!ipxe\n"
    );
    // The ROM loads its usual files; a client that follows the options gets the same.
    let _ = write!(
        text,
        "pxe-service=tag:pi,0,\"{BOOT_ROM_MENU}\"\ndhcp-option-force=tag:pi,66,{head}\n\
         dhcp-boot=tag:pi,bootcode.bin\n"
    );
    let _ = write!(
        text,
        "dhcp-mac=set:pi-3-board,{RASPBERRY_PI_3}:*:*:*\ntag-if=set:pi-3,tag:pi-3-board,tag:pi\n\
         dhcp-reply-delay=tag:pi-3,{REPLY_DELAY}\n"
    );
    // Client architectures: RFC 4578 2.1 and the IANA registry; 16 and 19 are UEFI HTTP boot.
    for (tag, architectures) in [
        ("bios", [0].as_slice()),
        ("x86", &[7, 9]),
        ("arm64", &[11]),
        ("x86-http", &[16]),
        ("arm64-http", &[19]),
    ] {
        for architecture in architectures {
            let _ = writeln!(text, "dhcp-match=set:{tag},option:client-arch,{architecture}");
        }
    }
    for (tag, file) in [("x86", &netboot.uefi_x86), ("arm64", &netboot.uefi_arm64)] {
        if file.as_deref().is_some_and(is_url) {
            // HTTP boot clients require their vendor class in the offer.
            let _ = writeln!(text, "dhcp-option-force=tag:{tag}-http,tag:!ipxe,60,HTTPClient");
        }
    }
    text
}

/// Returns the number of concurrent TFTP transfers: two for each possible node, since after a power
/// cut a node starts a second one while dnsmasq waits for the first. Derived from the network's
/// size, not from the node count, because a change requires a restart.
fn transfers(net: Ipv4Net) -> u32 {
    let nodes = u32::from(net.hostmask()).saturating_sub(1);
    nodes.saturating_mul(2).clamp(MIN_TRANSFERS, MAX_TRANSFERS)
}

/// Returns whether firmware loads this over HTTP instead of TFTP.
fn is_url(file: &str) -> bool {
    file.starts_with("http://")
}

/// Renders the boot file of each kind of client, by tag.
fn boot_files(netboot: &Netboot) -> String {
    let mut text = String::new();
    let mut offer = |tags: &str, file: &str| {
        let _ = writeln!(text, "{tags},option:bootfile-name,{file}");
    };
    if let Some(file) = &netboot.ipxe {
        offer("tag:ipxe", file);
    }
    let firmware =
        [("bios", &netboot.bios), ("x86", &netboot.uefi_x86), ("arm64", &netboot.uefi_arm64)];
    for (tag, file) in firmware.into_iter().filter_map(|(tag, file)| Some((tag, file.as_deref()?)))
    {
        let http = if is_url(file) { "-http" } else { "" };
        // iPXE that loads iPXE would loop; any other loader may follow iPXE as it follows firmware.
        let others = if netboot.ipxe.is_some() || is_ipxe(file) { ",tag:!ipxe" } else { "" };
        offer(&format!("tag:{tag}{http},tag:!pi{others}"), file);
    }
    text
}

/// Returns the DHCP options file, which changes with the venue. If `names`, dnsmasq announces the
/// head as resolver by itself.
pub fn options(plan: &ServicePlan, names: bool) -> String {
    let Some(dhcp) = &plan.dhcp else { return String::new() };
    let resolvers =
        plan.upstreams.iter().filter(|_| !names).filter_map(|upstream| ipv4(upstream.address));
    let seconds = |time: Duration| time.as_secs().to_string();
    let values = [
        ("dns-server", comma_separated(&resolvers.collect::<Vec<_>>())),
        ("ntp-server", comma_separated(&dhcp.time_servers)),
        ("T1", seconds(dhcp.renew)),
        ("T2", seconds(dhcp.rebind)),
    ];
    let given = values.iter().filter(|(_, list)| !list.is_empty());
    let mut text: String =
        given.map(|(option, list)| format!("option:{option},{list}\n")).collect();
    if plan.ipv6_only_preferred {
        let [a, b, c, d] = V6ONLY_WAIT.to_be_bytes();
        let _ = writeln!(text, "{IPV6_ONLY_PREFERRED},{a:02x}:{b:02x}:{c:02x}:{d:02x}");
    }
    text.extend(plan.netboot.as_ref().map(boot_files));
    text
}

/// Returns addresses as a list for dnsmasq.
fn comma_separated(servers: &[Ipv4Addr]) -> String {
    servers.iter().map(Ipv4Addr::to_string).collect::<Vec<_>>().join(",")
}

/// Returns the file of upstream resolvers.
pub fn servers(plan: &ServicePlan) -> String {
    plan.upstreams.iter().map(server_line).collect()
}

/// Returns the line of one upstream resolver, with the port that reaches it.
fn server_line(upstream: &crate::decide::dhcp::Upstream) -> String {
    let port = upstream.port.as_ref().map_or_else(String::new, |port| format!("@{port}"));
    format!("server={}{port}\n", upstream.address)
}

/// Returns the `dhcp-hostsfile`. A node configured with a hardware address gets its address, with
/// the host part moved to the cluster's current network; one configured with an address only gets
/// it if it sends its name. Any other board in the range keeps its address, also without a lease
/// from us, since dnsmasq would consider the address free; those are limited to a share of the
/// range.
fn hosts(plan: &ServicePlan, settings: &Settings, facts: &Facts) -> String {
    let mut hosts = String::new();
    let placed = |address| placed(address, settings, plan);
    let mut taken =
        BTreeSet::from_iter(settings.nodes.iter().filter_map(|node| node.address).map(placed));
    taken.insert(plan.address.addr());
    let mut held = |mac: Mac| {
        let range = plan.dhcp.as_ref().map(|dhcp| dhcp.first..=dhcp.last)?;
        let address = facts.nodes().by_mac(mac)?.address.and_then(ipv4).map(placed)?;
        // dnsmasq rejects a second reservation of an address.
        (range.contains(&address) && taken.insert(address)).then_some(address)
    };
    let lease = lease_suffix(plan);
    let successors = BTreeMap::from_iter(facts.nodes().successors());
    let mut nameless = lease.is_empty();
    for node in &settings.nodes {
        // The wildcard line at the end matches any board without a line of its own, which stops the
        // match by name. So it is only written when all boards of such nodes are known. A board
        // gets its own line once our server has leased it its address, not while it has another.
        let known = facts.nodes().by_name(&node.name).filter(|_| !lease.is_empty());
        let here = known.and_then(|known| known.mac);
        let at_home = known
            .is_some_and(|it| it.address.and_then(ipv4).map(placed) == node.address.map(placed));
        let settled = here.filter(|mac| at_home && facts.nodes().has_lease(*mac));
        let spare = node.address.and_then(|home| successors.get(&home.into()).copied());
        let board = node.mac.or(spare).or(settled);
        let address = node.address.map(placed).or_else(|| held(node.mac?));
        let mac = board.map(|mac| format!("{mac},")).unwrap_or_default();
        let place = address.map(|address| format!("{address},")).unwrap_or_default();
        nameless |= board.or(here).is_none() && address.is_some();
        let _ = match (mac.is_empty(), address) {
            (false, _) => writeln!(hosts, "{mac}{place}{}{lease}", node.name),
            (true, Some(address)) => writeln!(hosts, "{},{address}{lease}", node.name),
            (true, None) => Ok(()),
        };
    }
    // Boards that the lines above do not cover.
    let others = facts
        .nodes()
        .iter()
        .filter(|node| node.configured_mac.is_none() && node.configured_address.is_none());
    let mut room = most_claims(plan.dhcp.as_ref().map_or(0, DhcpPlan::size) as usize);
    let spares = BTreeSet::from_iter(successors.values().copied());
    for mac in others.filter_map(|node| node.mac).filter(|mac| !spares.contains(mac)) {
        let claims = !facts.nodes().has_lease(mac);
        if let Some(address) = held(mac).filter(|_| !claims || room > 0) {
            room -= usize::from(claims);
            let _ = writeln!(hosts, "{mac},{address}{lease}");
        }
    }
    if !nameless {
        let _ = writeln!(hosts, "*:*:*:*:*:*{lease}");
    }
    hosts
}

/// Returns the suffix that overrides the lease time of the main file, where a change would require
/// a restart.
fn lease_suffix(plan: &ServicePlan) -> String {
    let other = plan.dhcp.as_ref().filter(|dhcp| dhcp.lease != dhcp.usual_lease);
    other.map(|dhcp| format!(",{}", dhcp.lease.as_secs())).unwrap_or_default()
}

/// Returns the addresses that the settings reserve for boards, in the cluster's current network;
/// also by a node's name, for the board that has succeeded to it.
fn homes(plan: &ServicePlan, settings: &Settings, facts: &Facts) -> Arc<[(Ipv4Addr, Mac)]> {
    let configured = settings.nodes.iter().filter_map(|node| Some((node.address?, node.mac?)));
    let successors = facts.nodes().successors();
    let successors = successors.filter_map(|(address, mac)| Some((ipv4(address)?, mac)));
    let homes = configured.chain(successors);
    homes.map(|(address, mac)| (placed(address, settings, plan), mac)).collect()
}

/// Returns an address of the settings, moved to the cluster's current network.
fn placed(address: Ipv4Addr, settings: &Settings, plan: &ServicePlan) -> Ipv4Addr {
    let home = settings.cluster.address;
    if home.contains(&address) { keep_host(address, plan.address) } else { address }
}

/// Returns the address if it is IPv4.
fn ipv4(address: IpAddr) -> Option<Ipv4Addr> {
    match address {
        IpAddr::V4(address) => Some(address),
        IpAddr::V6(_) => None,
    }
}

/// Returns the files that name nodes.
pub fn nodes(plan: &ServicePlan, settings: &Settings, facts: &Facts) -> NodeFiles {
    let mut names = String::new();
    if let Some(head) = &plan.head {
        let _ = writeln!(names, "{} {head}", plan.address.addr());
        if let Some(address) = plan.ipv6 {
            let _ = writeln!(names, "{} {head}", address.addr());
        }
    }
    for node in facts.nodes().iter() {
        // The node's address after it has moved along: dnsmasq names no lease whose address differs
        // here. A node with a static address stays where it is.
        let goes_along = plan.dhcp.is_some() && facts.nodes().moves_along(node);
        let is_ours = |address: &IpAddr| facts.own_addresses().any(|net| net.contains(address));
        let served = |address| match address {
            IpAddr::V4(given) if goes_along && is_ours(&address) => {
                keep_host(given, plan.address).into()
            }
            _ => address,
        };
        let is_heads =
            plan.head.as_deref().is_some_and(|head| node.name.eq_ignore_ascii_case(head));
        // A name in this file overrides the one that a client sends with its lease, also in
        // dnsmasq's lease file, and no other client gets it: the first node keeps its name
        // (`docs/decisions/names.md`).
        if let Some(address) = node.address.map(served).filter(|_| !is_heads) {
            let _ = writeln!(names, "{address} {}", node.name);
        }
        // Addresses of a delegated network end with the venue; a name with one would cost a timeout.
        let lasts = |address: &Ipv6Addr| plan.ipv6.is_some_and(|net| net.contains(address));
        let ipv6 = node.mac.filter(|_| !is_heads);
        let ipv6 = ipv6.into_iter().flat_map(|mac| facts.nodes().ipv6_of(mac));
        for address in ipv6.filter(lasts) {
            let _ = writeln!(names, "{address} {}", node.name);
        }
    }
    NodeFiles {
        hosts: hosts(plan, settings, facts).into(),
        names: names.into(),
        homes: homes(plan, settings, facts),
        lease: lease_suffix(plan).into(),
    }
}
