//! dnsmasq's configuration. What changes often stands in files of its own, which dnsmasq reads
//! again on SIGHUP; a change of the main one takes a restart.

mod renderer;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr};
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

/// First three bytes of hardware addresses that Raspberry Pis have (IEEE's MA-L list). The boot ROM
/// calls itself an x86 PC with a BIOS (option 93 = 0), so nothing else sets it apart.
const RASPBERRY_PI: [&str; 7] =
    ["28:cd:c1", "2c:cf:67", "88:a2:9e", "b8:27:eb", "d8:3a:dd", "dc:a6:32", "e4:5f:01"];
/// Where the hardware address says nothing: later ones begin option 97 with their generation,
/// `RPi4` or `RPi5`.
const BOOT_ROM_IDENTIFIER: &str = "RPi";
/// The boot ROM takes no offer without this text in option 43, and the first ones compared the
/// blanks too (raspberrypi/firmware#941).
const BOOT_ROM_MENU: &str = "Raspberry Pi Boot   ";

/// How a Raspberry Pi's boot ROM begins its vendor class (option 60), all models and EEPROMs alike.
const BOOT_ROM_CLASS: &str = "PXEClient:Arch:00000";
/// A Raspberry Pi 1 to 3, whose ROM misses an offer that comes at once: its makers advise 1 to 2 s
/// (raspberrypi/firmware#934).
const RASPBERRY_PI_3: &str = "b8:27:eb";
/// In seconds, rounded up by dnsmasq to the next one of the clock.
const REPLY_DELAY: u32 = 1;
/// How iPXE makes itself known: by its encapsulated options, or by its user class alone.
const IPXE_FEATURES: u8 = 175;
const IPXE_CLASS: &str = "iPXE";

/// In seconds: nodes remember an answer no longer, for at the next venue, or when a portal has let
/// them through, it is wrong. It costs a question to the head, whose own cache has the answer for
/// as long as it is valid.
const LONGEST_ANSWER: u32 = 30;

/// In seconds, for how long after the last advertisement nodes use addresses of a delegated prefix: a
/// head that is carried away says no goodbye (RFC 4862, 5.5.3).
const DELEGATED_FOR: u32 = 1800;
/// In seconds, for how long a node does without IPv4 before it asks again: the least (RFC 8925,
/// section 3.4). The next venue may have no NAT64.
const V6ONLY_WAIT: u32 = 300;
/// Its DHCP option; dnsmasq sends it only to who asks for it.
const IPV6_ONLY_PREFERRED: u8 = 108;

/// Most files that are sent at a time. Each takes a socket, and dnsmasq has 1024 open files, some
/// of them for other things (`TFTP_MAX_CONNECTIONS` of its `config.h` is 50); a request beyond it
/// is left unanswered without a line in the log.
const MOST_TRANSFERS: u32 = 900;
const LEAST_TRANSFERS: u32 = 50;

/// What dnsmasq is to be given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Files {
    /// the main file
    pub config: String,
    /// the main file where another program has port 53; the same where no names are resolved in any
    /// case
    pub config_without_names: String,
    /// `dhcp-optsfile`, for each of the two
    pub options: String,
    pub options_without_names: String,
    /// `servers-file`
    pub servers: String,
    pub nodes: NodeFiles,
    /// the cluster port
    pub port: String,
    /// the head's own address: where it listens
    pub address: Ipv4Net,
    /// the domain of the names that it answers for by itself
    pub domain: String,
    /// the addresses that are given to any client: first and last
    pub range: Option<(Ipv4Addr, Ipv4Addr)>,
    /// another one, and what dnsmasq remembers of names is wrong
    pub origin: AnswerOrigin,
}

/// The files that name nodes; long where there are many, so shared.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NodeFiles {
    /// `dhcp-hostsfile`: who gets which address and name
    pub hosts: Arc<str>,
    /// `addn-hosts`: names of all nodes that have an address, and the head's own
    pub names: Arc<str>,
    /// the addresses that the settings give to a board: another's lease of them does not count
    pub homes: Arc<[(Ipv4Addr, Mac)]>,
    /// how a line of `hosts` ends that gives another lease than the main file does
    pub lease: Arc<str>,
}

impl Files {
    /// Returns whether the two can be the same dnsmasq's, one after the other, without a restart.
    pub fn has_main_of(&self, other: &Self) -> bool {
        (&self.config, &self.config_without_names, self.address, &self.port)
            == (&other.config, &other.config_without_names, other.address, &other.port)
    }

    /// Returns these files with the main ones of `other`, and the options, which go by the tags of
    /// those.
    #[must_use]
    pub fn with_main_of(self, other: Self) -> Self {
        let Self { config, config_without_names, options, options_without_names, .. } = other;
        Self { config, config_without_names, options, options_without_names, ..self }
    }
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
        port: plan.port.clone(),
        address: plan.address,
        domain: plan.domain.clone(),
        range: plan.dhcp.as_ref().map(|dhcp| (dhcp.first, dhcp.last)),
        origin: plan.origin.clone(),
    }
}

/// Returns the main file. `names`: resolve them.
pub fn config(plan: &ServicePlan, names: bool, folder: &str) -> String {
    let mut text = format!(
        "# written by bramblegate: changes do not last\ninterface={}\nexcept-interface=lo\n",
        plan.port
    );
    // Also before the port and its address are there.
    text += "bind-dynamic\nno-resolv\nno-hosts\nno-poll\n";
    if names {
        let (domain, net) = (&plan.domain, plan.address.trunc());
        // Names and addresses of the cluster stay inside the cluster.
        let _ = write!(
            text,
            "port=53\ndomain={domain}\nlocal=/{domain}/\nrev-server={net}\ndomain-needed\n\
             expand-hosts\n"
        );
        text.extend(plan.ipv6.map(|address| format!("rev-server={}\n", address.trunc())));
        let _ = write!(text, "addn-hosts={folder}/names\nservers-file={folder}/servers\n");
        let _ = writeln!(text, "max-ttl={LONGEST_ANSWER}");
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

/// Returns the lines of the main file that give addresses.
fn addresses(dhcp: &DhcpPlan, address: Ipv4Net, folder: &str) -> String {
    let count = u32::from(dhcp.last).saturating_sub(u32::from(dhcp.first)).saturating_add(1);
    // Addresses outside the range are given too, to nodes that the settings name.
    let most = count.saturating_add(u32::from(address.hostmask())).max(1000);
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

/// Returns the lines of the main file that announce the nodes' IPv6 network: they make their own
/// addresses in it (RFC 4862), and ask the head for names (RFC 8106).
fn advertisements(port: &str, address: Ipv6Net) -> String {
    format!(
        "dhcp-range={},ra-only,{}\nra-param={port},{ADVERTISED_EVERY},{ROUTER_LIFETIME}\n",
        address.network(),
        address.prefix_len()
    )
}

/// Returns the line of the main file that announces the network of each other address that the head
/// has at the port. dnsmasq announces one that goes as deprecated, for as long as nodes may hold it.
fn delegated(port: &str) -> String {
    format!("dhcp-range=::,constructor:{port},ra-only,64,{DELEGATED_FOR}\n")
}

/// Renders who is served files, and the tags of those who ask; what each is to load stands with the
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
    // The ROM loads what it always loads; who follows the options gets the same.
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
    // Client architectures: RFC 4578 2.1 and IANA's list; 16 and 19 are UEFI's HTTP boot.
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
            // A client that boots by HTTP takes only an offer that names its class.
            let _ = writeln!(text, "dhcp-option-force=tag:{tag}-http,tag:!ipxe,60,HTTPClient");
        }
    }
    text
}

/// Returns how many files may be sent at a time: two for each node that the network has room for,
/// as one that was switched off in the middle begins anew while dnsmasq waits for it. By the
/// network, not by the nodes there are: it takes a restart.
fn transfers(net: Ipv4Net) -> u32 {
    let nodes = u32::from(net.hostmask()).saturating_sub(1);
    nodes.saturating_mul(2).clamp(LEAST_TRANSFERS, MOST_TRANSFERS)
}

/// Returns whether firmware loads this by HTTP, not by TFTP.
fn is_url(file: &str) -> bool {
    file.starts_with("http://")
}

/// Renders what each kind of client is to load, by its tags.
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
        // iPXE that loads iPXE does so for ever; of another loader it is a stage like any firmware.
        let others = if netboot.ipxe.is_some() || is_ipxe(file) { ",tag:!ipxe" } else { "" };
        offer(&format!("tag:{tag}{http},tag:!pi{others}"), file);
    }
    text
}

/// Returns the file of DHCP options: they change with the venue. `names`: the head resolves them,
/// which dnsmasq announces by itself.
pub fn options(plan: &ServicePlan, names: bool) -> String {
    let Some(dhcp) = &plan.dhcp else { return String::new() };
    let resolvers =
        plan.upstreams.iter().filter(|_| !names).filter_map(|upstream| ipv4(upstream.address));
    let seconds = |time: Duration| time.as_secs().to_string();
    let known = [
        ("dns-server", joined(&resolvers.collect::<Vec<_>>())),
        ("ntp-server", joined(&dhcp.time_servers)),
        ("T1", seconds(dhcp.renew)),
        ("T2", seconds(dhcp.rebind)),
    ];
    let given = known.iter().filter(|(_, list)| !list.is_empty());
    let mut text: String =
        given.map(|(option, list)| format!("option:{option},{list}\n")).collect();
    if plan.ipv6_only_preferred {
        let [a, b, c, d] = V6ONLY_WAIT.to_be_bytes();
        let _ = writeln!(text, "{IPV6_ONLY_PREFERRED},{a:02x}:{b:02x}:{c:02x}:{d:02x}");
    }
    text.extend(plan.netboot.as_ref().map(boot_files));
    text
}

/// Writes addresses as dnsmasq takes a list of them.
fn joined(servers: &[Ipv4Addr]) -> String {
    servers.iter().map(Ipv4Addr::to_string).collect::<Vec<_>>().join(",")
}

/// Returns the file of the resolvers that dnsmasq asks.
pub fn servers(plan: &ServicePlan) -> String {
    plan.upstreams.iter().map(server_line).collect()
}

/// Writes a server of names, with the port by which it is asked.
fn server_line(upstream: &crate::decide::dhcp::Upstream) -> String {
    let port = upstream.port.as_ref().map_or_else(String::new, |port| format!("@{port}"));
    format!("server={}{port}\n", upstream.address)
}

/// Returns the `dhcp-hostsfile`. A node that the settings know by its hardware address gets its
/// address, with its host part where the cluster is now; one that they know by its address alone
/// gets it if it gives its name. Who else is at an address of the range keeps it: also a node that
/// never asked, whose address dnsmasq would believe to be free, up to a share of the range.
fn hosts(plan: &ServicePlan, settings: &Settings, facts: &Facts) -> String {
    let (mut hosts, home) = (String::new(), settings.cluster.address);
    let placed =
        |address| if home.contains(&address) { keep_host(address, plan.address) } else { address };
    let mut taken =
        BTreeSet::from_iter(settings.nodes.iter().filter_map(|node| node.address).map(placed));
    taken.insert(plan.address.addr());
    let mut held = |mac: Mac| {
        let range = plan.dhcp.as_ref().map(|dhcp| dhcp.first..=dhcp.last)?;
        let address = facts.nodes().by_mac(mac)?.address.and_then(ipv4).map(placed)?;
        // dnsmasq refuses to reserve an address twice.
        (range.contains(&address) && taken.insert(address)).then_some(address)
    };
    let lease = lease_for_each(plan);
    let successors = BTreeMap::from_iter(facts.nodes().successors());
    let mut nameless = lease.is_empty();
    for node in &settings.nodes {
        // Below, who has no line of its own is met by one for all, and not known by its name any
        // more: so not before each is here. It has a line of its own if our server has given it its
        // place, and not if it has another.
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
    // Those that the lines above do not speak of.
    let others = facts
        .nodes()
        .iter()
        .filter(|node| node.configured_mac.is_none() && node.configured_address.is_none());
    let size = plan
        .dhcp
        .as_ref()
        .map_or(0, |dhcp| u32::from(dhcp.last).saturating_sub(u32::from(dhcp.first)) + 1);
    let mut room = most_claims(size as usize);
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

/// Returns the end of a host's line that gives it another lease than the main file does, which
/// would take a restart to change.
fn lease_for_each(plan: &ServicePlan) -> String {
    let other = plan.dhcp.as_ref().filter(|dhcp| dhcp.lease != dhcp.usual_lease);
    other.map(|dhcp| format!(",{}", dhcp.lease.as_secs())).unwrap_or_default()
}

/// Returns the addresses that the settings give to boards, where the cluster is now; by a node's
/// name too, if another board has it now.
fn homes(plan: &ServicePlan, settings: &Settings, facts: &Facts) -> Arc<[(Ipv4Addr, Mac)]> {
    let home = settings.cluster.address;
    let placed =
        |address| if home.contains(&address) { keep_host(address, plan.address) } else { address };
    let written = settings.nodes.iter().filter_map(|node| Some((node.address?, node.mac?)));
    let successors = facts.nodes().successors();
    let successors = successors.filter_map(|(address, mac)| Some((ipv4(address)?, mac)));
    written.chain(successors).map(|(address, mac)| (placed(address), mac)).collect()
}

/// Returns an address that DHCPv4 can give.
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
        // Where it is about to be: dnsmasq gives no name to a lease that has another address here.
        // Who has a static address stays where it is.
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
        // A name in this file takes the place of the one that a node sends with its lease, also in
        // dnsmasq's own file, and is given to no other: so who came first keeps its name
        // (`docs/decisions/names.md`).
        if let Some(address) = node.address.map(served).filter(|_| !is_heads) {
            let _ = writeln!(names, "{address} {}", node.name);
        }
        let ipv6 = node.mac.filter(|_| plan.ipv6.is_some() && !is_heads);
        for address in ipv6.into_iter().flat_map(|mac| facts.nodes().ipv6_of(mac)) {
            let _ = writeln!(names, "{address} {}", node.name);
        }
    }
    NodeFiles {
        hosts: hosts(plan, settings, facts).into(),
        names: names.into(),
        homes: homes(plan, settings, facts),
        lease: lease_for_each(plan).into(),
    }
}
