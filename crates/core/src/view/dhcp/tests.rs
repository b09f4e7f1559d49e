use std::collections::BTreeMap;
use std::sync::Arc;

use super::*;
use crate::config;
use crate::config::board::Board;
use crate::decide::cluster;
use crate::decide::dhcp;
use crate::event::{
    Address, Change, Dump, Event, Instant, Lease, Link, Mac, Neighbour, RouterOffer, VenueNews,
    Vital,
};

const SETTINGS: &str = r#"
[uplink]
interfaces = ["eth1"]
[cluster]
interface = "eth0"
[cluster.dhcp]
[cluster.netboot]
bios = "pxelinux.0"
uefi_x86 = "http://192.168.50.1/grubx64.efi"
uefi_arm64 = "grubaa64.efi"
folders = "mac"
[[node]]
name = "rpi1"
mac = "b8:27:eb:00:00:01"
address = "192.168.50.11"
[[node]]
name = "rpi2"
address = "192.168.50.12"
[[node]]
name = "rpi3"
mac = "b8:27:eb:00:00:03"
"#;

/// Returns the files of a machine that only knows its name and resolver.
fn rendered(settings: &str) -> Files {
    rendered_after(settings, &[])
}

/// Returns the files after further events.
fn rendered_after(settings: &str, more: &[Event]) -> Files {
    let settings = config::load(&[("t", settings)], &Board::built_in("emulated").unwrap()).unwrap();
    let mut facts = Facts::new(Arc::new(settings.clone()), Instant::default());
    for vital in [
        Vital::Host { name: "head.example.org".to_owned(), ssh_ports: vec![22], announced: false },
        Vital::Resolvers { index: 0, servers: vec!["10.99.0.1".parse().unwrap()] },
        Vital::Time { served: true, servers: vec![] },
    ] {
        facts.apply(&Event::Vital(vital), Instant::default());
    }
    for event in more {
        facts.apply(event, Instant::default());
    }
    let placement = cluster::place(&settings, &facts);
    let plan = dhcp::intended(&settings, &facts, &placement).unwrap();
    files(&plan, nodes(&plan, &settings, &facts), "/run/bramblegate/dnsmasq")
}

fn has(text: &str, lines: &[&str]) {
    for line in lines {
        assert!(text.lines().any(|known| known == *line), "{line:?} is missing in\n{text}");
    }
}

#[test]
fn dnsmasq_serves_the_cluster_port_only_and_volatile_settings_have_own_files() {
    let files = rendered(SETTINGS);
    has(
        &files.config,
        &[
            "interface=eth0",
            "except-interface=lo",
            "bind-dynamic",
            "port=53",
            "domain=bramble",
            "local=/bramble/",
            "rev-server=192.168.50.0/24",
            "dhcp-range=192.168.50.100,192.168.50.199,255.255.255.0,3600",
            "dhcp-authoritative",
            "no-ping",
            "dhcp-ignore-clid",
            "dhcp-name-match=set:wpad,wpad.*",
            "dhcp-name-match=set:wpad,isatap",
            "dhcp-leasefile=/run/bramblegate/dnsmasq/leases",
        ],
    );
    assert!(
        !files.config.contains("10.99.0.1") && !files.config.contains("rpi"),
        "{}",
        files.config
    );
    assert_eq!(files.servers, "server=10.99.0.1\n");
    assert!(
        files.options.starts_with("option:ntp-server,192.168.50.1\noption:T1,60\noption:T2,75\n")
    );
}

#[test]
fn nodes_have_addresses_and_names_and_the_head_has_a_name() {
    let files = rendered(SETTINGS);
    assert_eq!(
        &*files.nodes.hosts,
        "b8:27:eb:00:00:01,192.168.50.11,rpi1\nrpi2,192.168.50.12\nb8:27:eb:00:00:03,rpi3\n"
    );
    assert_eq!(&*files.nodes.names, "192.168.50.1 head\n192.168.50.11 rpi1\n192.168.50.12 rpi2\n");
}

fn link(index: u32, name: &str) -> Link {
    Link::wired(index, name)
}

fn address(index: u32, net: &str) -> Address {
    Address::lasting(index, net.parse().unwrap())
}

fn lease(last: u8, address: u8) -> Event {
    Event::Lease(Change::Present(Lease {
        mac: Mac([0xb8, 0x27, 0xeb, 0, 0, last]),
        address: [192, 168, 50, address].into(),
        host_name: None,
        valid_for: None,
    }))
}

#[test]
fn a_board_with_an_address_in_the_range_keeps_it() {
    let known = "b8:27:eb:00:00:01,192.168.50.11,rpi1\nrpi2,192.168.50.12\n";
    let found = |events: &[Event]| {
        rendered_after(SETTINGS, events).nodes.hosts.strip_prefix(known).map(str::to_owned).unwrap()
    };
    assert_eq!(
        found(&[lease(9, 150)]),
        "b8:27:eb:00:00:03,rpi3\nb8:27:eb:00:00:09,192.168.50.150\n"
    );
    assert_eq!(
        found(&[lease(3, 151)]),
        "b8:27:eb:00:00:03,192.168.50.151,rpi3\n",
        "one line for one board"
    );
    assert_eq!(
        found(&[lease(9, 20)]),
        "b8:27:eb:00:00:03,rpi3\n",
        "outside the range it is not given anyhow"
    );
    assert_eq!(
        found(&[lease(1, 150)]),
        "b8:27:eb:00:00:03,rpi3\n",
        "who is given another address has to move"
    );
}

/// Returns the event that the kernel sees a neighbour on the cluster port.
fn heard(last: u8, address: u8) -> Event {
    let (address, mac) = (
        IpAddr::V4(Ipv4Addr::new(192, 168, 50, address)),
        Some(Mac([0xb8, 0x27, 0xeb, 0, 0, last])),
    );
    Event::Neighbour(Change::Present(Neighbour { index: 2, address, mac, reachable: true }))
}

#[test]
fn boards_without_a_lease_get_at_most_half_of_the_range() {
    let settings = SETTINGS
        .replace("[cluster.dhcp]\n", "[cluster.dhcp]\nrange = \"192.168.50.100-192.168.50.109\"\n");
    let listing = [
        Event::Dump(Dump::Begin),
        Event::Link(Change::Present(link(2, "eth0"))),
        Event::Dump(Dump::End),
    ];
    let claims = (100..110).map(|last| heard(last, last)).chain([lease(90, 109)]);
    let hosts = rendered_after(&settings, &listing.into_iter().chain(claims).collect::<Vec<_>>())
        .nodes
        .hosts;
    let kept = |last| hosts.contains(&format!(",192.168.50.{last}\n"));
    assert_eq!(
        (100..110).filter(|last| kept(*last)).collect::<Vec<_>>(),
        [100, 101, 102, 103, 104, 109],
        "{hosts}"
    );
    // A board that claims one address after the other has one.
    let listing = [
        Event::Dump(Dump::Begin),
        Event::Link(Change::Present(link(2, "eth0"))),
        Event::Dump(Dump::End),
    ];
    let claims = (100..110).map(|last| heard(99, last));
    let hosts = rendered_after(&settings, &listing.into_iter().chain(claims).collect::<Vec<_>>())
        .nodes
        .hosts;
    assert_eq!(
        hosts.lines().filter(|line| line.starts_with("b8:27:eb:00:00:63,")).count(),
        1,
        "{hosts}"
    );
}

#[test]
fn when_the_cluster_moves_names_follow_dhcp_clients_and_not_static_nodes() {
    let mut events = vec![
        Event::Dump(Dump::Begin),
        Event::Link(Change::Present(link(2, "eth0"))),
        Event::Link(Change::Present(link(3, "eth1"))),
        Event::Dump(Dump::End),
        heard(2, 12),
        heard(9, 77),
        lease(4, 14),
    ];
    let fourth = format!("{SETTINGS}[[node]]\nname = \"rpi4\"\naddress = \"192.168.50.14\"\n");
    let names = |events: &[Event]| {
        let names = rendered_after(&fourth, events).nodes.names;
        names.lines().filter(|line| !line.ends_with(" head")).map(str::to_owned).collect::<Vec<_>>()
    };
    let at_home = [
        "192.168.50.11 rpi1",
        "192.168.50.12 rpi2",
        "192.168.50.14 rpi4",
        "192.168.50.77 node-00-00-09",
    ];
    assert_eq!(names(&events), at_home);
    // The venue leases the head an address in the cluster's subnet; dnsmasq takes back its leases
    // there.
    events.push(Event::Address(Change::Present(address(3, "192.168.50.1/24"))));
    let Event::Lease(Change::Present(given)) = lease(4, 14) else { unreachable!() };
    events.push(Event::Lease(Change::Gone(Lease {
        valid_for: Some(std::time::Duration::from_secs(60)),
        ..given
    })));
    let away = [
        "10.213.50.11 rpi1",
        "192.168.50.12 rpi2",
        "10.213.50.14 rpi4",
        "192.168.50.77 node-00-00-09",
    ];
    assert_eq!(
        names(&events),
        away,
        "rpi1 is off, and will be given its address; rpi2 was only heard"
    );
    events.push(heard(1, 11));
    assert_eq!(names(&events)[0], "192.168.50.11 rpi1", "it sends no request");
}

#[test]
fn a_discovered_node_cannot_take_the_heads_name() {
    let lease = Lease {
        mac: Mac([2, 0, 0, 0, 0, 7]),
        address: [192, 168, 50, 107].into(),
        host_name: Some("HEAD".to_owned()),
        valid_for: None,
    };
    let names = rendered_after(SETTINGS, &[Event::Lease(Change::Present(lease))]).nodes.names;
    let known =
        "192.168.50.1 head\n192.168.50.11 rpi1\n192.168.50.12 rpi2\n192.168.50.107 node-00-00-07\n";
    assert_eq!(&*names, known);
    let named = format!("{SETTINGS}[[node]]\nname = \"head\"\naddress = \"192.168.50.107\"\n");
    assert!(
        !rendered(&named).nodes.names.contains("192.168.50.1 head"),
        "the settings may give it away"
    );
}

#[test]
fn discovered_boards_have_unique_names_at_any_address() {
    let says = |last| {
        let mac = Mac([0xb8, 0x27, 0xeb, 0, 0, last]);
        Event::Dhcp(crate::event::Dhcp::CallsItself { mac, name: "raspberrypi".to_owned() })
    };
    let link = Event::Link(Change::Present(link(2, "eth0")));
    let events = [link, says(7), lease(7, 107), says(8), lease(8, 108), heard(9, 150)];
    let names = rendered_after(SETTINGS, &events).nodes.names;
    has(
        &names,
        &[
            "192.168.50.107 raspberrypi",
            "192.168.50.108 node-00-00-08",
            "192.168.50.150 node-00-00-09",
        ],
    );
    assert_eq!(names.matches("raspberrypi").count(), 1, "{names}");
}

#[test]
fn without_dns_nodes_get_the_venues_resolver() {
    let files = rendered(SETTINGS);
    has(&files.config_without_names, &["port=0", "domain=bramble"]);
    assert!(!files.config_without_names.contains("servers-file"));
    has(&files.options_without_names, &["option:dns-server,10.99.0.1"]);
    let off = rendered(
        &SETTINGS.replace("[cluster.netboot]", "[cluster.dns]\nenabled = false\n[cluster.netboot]"),
    );
    assert_eq!(
        (&off.config, &off.options),
        (&off.config_without_names, &off.options_without_names)
    );
}

#[test]
fn a_raspberry_pi_is_distinguished_from_a_bios_pc() {
    let files = rendered(SETTINGS);
    has(
        &files.config,
        &[
            "enable-tftp=eth0",
            "tftp-root=/srv/tftp",
            "tftp-unique-root=mac",
            "dhcp-mac=set:pi-board,b8:27:eb:*:*:*",
            "dhcp-mac=set:pi-board,88:a2:9e:*:*:*",
            "dhcp-match=set:pi-board,97,RPi",
            "dhcp-vendorclass=set:rom,PXEClient:Arch:00000",
            "tag-if=set:pi,tag:pi-board,tag:rom,tag:!ipxe",
            "pxe-service=tag:pi,0,\"Raspberry Pi Boot   \"",
            "dhcp-reply-delay=tag:pi-3,1",
            "dhcp-option-force=tag:x86-http,tag:!ipxe,60,HTTPClient",
        ],
    );
    // The files are reread without a restart.
    has(
        &files.options,
        &[
            "tag:bios,tag:!pi,option:bootfile-name,pxelinux.0",
            "tag:x86-http,tag:!pi,option:bootfile-name,http://192.168.50.1/grubx64.efi",
            "tag:arm64,tag:!pi,option:bootfile-name,grubaa64.efi",
        ],
    );
    assert!(
        !rendered(&SETTINGS.replace("[cluster.netboot]", "[cluster.netboot]\nenabled = false"))
            .config
            .contains("tftp")
    );
}

/// dnsmasq sends 51 files at a time (2.90, `TFTP_MAX_CONNECTIONS`) and silently delays all other
/// requests.
#[test]
fn all_nodes_can_load_files_at_once() {
    for (address, range, most) in [
        ("192.168.50.1/24", "", 508),
        ("10.7.0.1/28", "range = \"10.7.0.2-10.7.0.14\"", 50),
        ("10.7.0.1/16", "range = \"10.7.1.0-10.7.9.255\"", 900),
    ] {
        let text = format!(
            "[uplink]\ninterfaces = [\"eth1\"]\n[cluster]\ninterface = \"eth0\"\naddress = \"{address}\"\n[cluster.dhcp]\n{range}\n[cluster.netboot]\n"
        );
        has(&rendered(&text).config, &[&format!("tftp-max={most}")]);
        let off = rendered(&text.replace("[cluster.netboot]", ""));
        assert!(!off.config.contains("tftp-max"), "no node loads files");
    }
}

#[test]
fn ipxe_never_loads_ipxe() {
    let options = |netboot: &str| {
        let netboot = format!("[cluster.dhcp]\n[cluster.netboot]\n{netboot}");
        let text = SETTINGS.split("[cluster.dhcp]").next().unwrap().to_owned() + &netboot;
        let options = rendered(&text).options;
        options
            .lines()
            .filter(|line| line.starts_with("tag:"))
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    for (file, is_ipxe) in [
        ("undionly.kpxe", true),
        ("boot/ipxe.efi", true),
        ("SNPONLY.efi", true),
        ("snp.efi", true),
        ("ipxe/pxelinux.0", false),
        ("grubx64.efi", false),
        ("boot.ipxe", false),
    ] {
        let others = if is_ipxe { ",tag:!ipxe" } else { "" };
        assert_eq!(
            options(&format!("bios = \"{file}\"\n")),
            [format!("tag:bios,tag:!pi{others},option:bootfile-name,{file}")]
        );
    }
    let both = options("uefi_x86 = \"grubx64.efi\"\nipxe = \"tftp://192.168.50.1/${mac}.ipxe\"\n");
    assert_eq!(both[0], "tag:ipxe,option:bootfile-name,tftp://192.168.50.1/${mac}.ipxe");
    assert_eq!(both[1], "tag:x86,tag:!pi,tag:!ipxe,option:bootfile-name,grubx64.efi");
}

/// What a change requires of dnsmasq.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cost {
    Nothing,
    Rereads,
    Restarts,
}

fn cost(before: &Files, after: &Files) -> Cost {
    match (before == after, before.has_main_of(after)) {
        (true, _) => Cost::Nothing,
        (false, true) => Cost::Rereads,
        (false, false) => Cost::Restarts,
    }
}

/// Table rows that cover more than one case.
const OTHER_FILES: &str = "`cluster.netboot.bios`, `uefi_x86`, `uefi_arm64`, `ipxe`";
const NODES: &str = "a node of the settings: new, gone, another name, board or address";
const OTHER_UPLINK: &str = "another uplink, other resolvers, a portal that has been passed";
const ANYTHING_ELSE: &str = "anything else";

/// Returns the table of changes in docs/architecture.md.
fn table_of_changes() -> BTreeMap<&'static str, Cost> {
    const TEXT: &str = include_str!("../../../../../docs/architecture.md");
    let table = TEXT.split("| change | dnsmasq |").nth(1).unwrap().split("\n\n").next().unwrap();
    let rows = table.lines().filter_map(|line| line.strip_prefix("| ")?.strip_suffix(" |"));
    rows.map(|row| {
        let (change, cost) = row.rsplit_once(" | ").unwrap();
        let cost = match cost {
            "restarts" => Cost::Restarts,
            "rereads" => Cost::Rereads,
            "nothing" => Cost::Nothing,
            other => panic!("{change}: {other:?}"),
        };
        (change, cost)
    })
    .collect()
}

/// Returns the settings before a change.
fn plain() -> String {
    SETTINGS.replace("uefi_x86 = \"http://192.168.50.1/grubx64.efi\"", "uefi_x86 = \"grubx64.efi\"")
}

fn changed(from: &str, to: &str) -> String {
    let plain = plain();
    assert!(plain.contains(from), "{from}");
    plain.replacen(from, to, 1)
}

/// Returns the settings with one more line in a section.
fn with(section: &str, line: &str) -> String {
    changed(&format!("{section}\n"), &format!("{section}\n{line}\n"))
}

/// Returns changed settings, each with its row in the table.
fn changes_of_settings() -> Vec<(&'static str, String)> {
    let plain = plain();
    let (cluster, dhcp, netboot) = ("[cluster]", "[cluster.dhcp]", "[cluster.netboot]");
    vec![
        (
            "`cluster.ipv6`",
            format!(
                "{plain}\n[cluster.ipv6]\nmode = \"auto\"\nprefix = \"fd12:3456:789a:1::/64\"\n"
            ),
        ),
        ("`cluster.interface`", changed("interface = \"eth0\"", "interface = \"eth7\"")),
        ("`cluster.address`, or the cluster moves", with(cluster, "address = \"192.168.50.2/24\"")),
        ("`cluster.domain`", with(cluster, "domain = \"thicket\"")),
        ("`cluster.dhcp.range`", with(dhcp, "range = \"192.168.50.100-192.168.50.120\"")),
        ("`cluster.dhcp.lease_time`", with(dhcp, "lease_time = \"2h\"")),
        (
            "`cluster.dns.enabled`",
            changed("[cluster.dhcp]\n", "[cluster.dns]\nenabled = false\n[cluster.dhcp]\n"),
        ),
        ("`cluster.netboot.enabled`", with(netboot, "enabled = false")),
        ("`cluster.netboot.root`", with(netboot, "root = \"/srv/other\"")),
        ("`cluster.netboot.folders`", changed("folders = \"mac\"", "folders = \"shared\"")),
        ("`cluster.netboot.uefi_x86` from a file to a URL", SETTINGS.to_owned()),
        (OTHER_FILES, changed("pxelinux.0", "lpxelinux.0")),
        (OTHER_FILES, changed("grubx64.efi", "shimx64.efi")),
        (OTHER_FILES, changed("grubaa64.efi", "shimaa64.efi")),
        (OTHER_FILES, with(netboot, "ipxe = \"boot.ipxe\"")),
        ("`cluster.dhcp.ntp`", with(dhcp, "ntp = \"off\"")),
        (NODES, format!("{plain}[[node]]\nname = \"rpi4\"\nmac = \"b8:27:eb:00:00:04\"\n")),
        (NODES, changed("name = \"rpi1\"", "name = \"window\"")),
        (NODES, changed("b8:27:eb:00:00:01", "b8:27:eb:00:00:77")),
        (NODES, changed("192.168.50.11", "192.168.50.21")),
        (ANYTHING_ELSE, format!("[health]\ninterval = \"1s\"\n{plain}")),
        (ANYTHING_ELSE, changed("[uplink]\n", "[uplink]\ncheck.method = \"ping\"\n")),
    ]
}

/// Returns the events for the ports, and for an uplink with this address.
fn venue(net: &str) -> Vec<Event> {
    vec![
        Event::Dump(Dump::Begin),
        Event::Link(Change::Present(link(2, "eth0"))),
        Event::Link(Change::Present(link(3, "eth1"))),
        Event::Address(Change::Present(address(3, net))),
        Event::Dump(Dump::End),
    ]
}

fn resolvers(index: u32, servers: &[&str]) -> Event {
    let servers = servers.iter().map(|server| server.parse().unwrap()).collect();
    Event::Vital(Vital::Resolvers { index, servers })
}

/// Returns events after which an uplink with this address differs, each with its row in the table.
fn changes_of_uplink(home: &str) -> Vec<(&'static str, Vec<Event>)> {
    let and = |more: Event| venue(home).into_iter().chain([more]).collect::<Vec<_>>();
    let probed =
        |reachability| and(Event::Probe(crate::event::Probe::Uplink { index: 3, reachability }));
    vec![
        ("an overlap: leases become short", venue("192.168.50.126/24")),
        ("`cluster.address`, or the cluster moves", venue("192.168.50.1/24")),
        (OTHER_UPLINK, and(resolvers(3, &["10.99.0.53"]))),
        (OTHER_UPLINK, probed(crate::event::Reachability::Portal)),
        (ANYTHING_ELSE, probed(crate::event::Reachability::Online)),
    ]
}

/// Returns the events for IPv6 from the venue, each with its row in the table, and common events
/// before them.
fn changes_of_ipv6(home: &str) -> (Vec<Event>, Vec<(&'static str, Event)>) {
    let route = crate::event::Route {
        table: 254,
        destination: "::/0".parse().unwrap(),
        gateway: "fe80::1".parse().ok(),
        index: 3,
        metric: 100,
        protocol: 9,
        onlink: false,
        preferred_source: None,
        mtu: None,
    };
    let kept = "fd12:3456:789a:1::/64".parse().ok();
    let mut before = venue(home);
    before.extend([
        Event::Vital(Vital::Ipv6 { kept, forwarding_before: false }),
        Event::Address(Change::Present(address(3, "2001:db8:7::126/64"))),
        Event::Route(Change::Present(route)),
    ]);
    let prefix = crate::event::Delegated("2001:db8:100::/56".parse().unwrap());
    let offer = RouterOffer {
        lifetime: 1800,
        nat64: vec![("64:ff9b::/96".parse().unwrap(), 600)],
        ..RouterOffer::default()
    };
    let router = "fe80::1".parse().unwrap();
    let changes = vec![
        ("the first prefix that a venue delegates", Event::Delegated(Change::Present(prefix))),
        (
            "`cluster.ipv6.only_preferred`, or the venue's NAT64",
            Event::Venue(VenueNews::Advertised { index: 3, router, offer }),
        ),
    ];
    (before, changes)
}

#[test]
fn each_change_costs_what_the_architecture_document_lists() {
    const HOME: &str = "10.99.0.126/24";
    const FALLBACK: &str = "`cluster.dns.fallback_servers`";
    let mut table = table_of_changes();
    let expected = table.clone();
    let plain = plain();
    for (row, settings) in changes_of_settings() {
        let found = cost(&rendered_after(&plain, &[]), &rendered_after(&settings, &[]));
        assert_eq!(Some(&found), expected.get(row), "{row}: {settings}");
        table.remove(row);
    }
    let before = rendered_after(&plain, &venue(HOME));
    for (row, events) in changes_of_uplink(HOME) {
        let found = cost(&before, &rendered_after(&plain, &events));
        assert_eq!(Some(&found), expected.get(row), "{row}: {events:?}");
        table.remove(row);
    }
    let ipv6 = format!("{plain}\n[cluster.ipv6]\nmode = \"auto\"\nonly_preferred = true\n");
    let (events, changes) = changes_of_ipv6(HOME);
    let before = rendered_after(&ipv6, &events);
    for (row, event) in changes {
        let events: Vec<Event> = events.iter().cloned().chain([event]).collect();
        let found = cost(&before, &rendered_after(&ipv6, &events));
        assert_eq!(Some(&found), expected.get(row), "{row}: {events:?}");
        table.remove(row);
    }
    let fallback = format!("[cluster.dns]\nfallback = [\"8.8.8.8\"]\n{plain}");
    let none = [resolvers(0, &[])];
    let found = cost(&rendered_after(&plain, &none), &rendered_after(&fallback, &none));
    assert_eq!(Some(&found), expected.get(FALLBACK));
    table.remove(FALLBACK);
    assert!(table.is_empty(), "each row has its case above: {table:?}");
}

#[test]
fn in_an_overlap_every_lease_is_short_and_names_still_match() {
    let overlap = |settings: &str, more: &[Event]| {
        let venue = [
            Event::Dump(Dump::Begin),
            Event::Link(Change::Present(link(2, "eth0"))),
            Event::Link(Change::Present(link(3, "eth1"))),
            Event::Address(Change::Present(address(3, "192.168.50.126/24"))),
            Event::Dump(Dump::End),
        ];
        rendered_after(settings, &venue.into_iter().chain(more.iter().cloned()).collect::<Vec<_>>())
    };
    let files = overlap(SETTINGS, &[lease(9, 150)]);
    assert!(files.config.contains(",3600\n"));
    assert_eq!(
        &*files.nodes.hosts,
        "b8:27:eb:00:00:01,192.168.50.11,rpi1,120\nrpi2,192.168.50.12,120\nb8:27:eb:00:00:03,rpi3,120\n\
         b8:27:eb:00:00:09,192.168.50.150,120\n"
    );
    // With the wildcard line dnsmasq no longer matches by name, so it is only written when each
    // board is known.
    let files = overlap(SETTINGS, &[heard(2, 12)]);
    has(&files.nodes.hosts, &["rpi2,192.168.50.12,120", "*:*:*:*:*:*,120"]);
    let files = overlap(SETTINGS, &[lease(2, 12)]);
    has(&files.nodes.hosts, &["b8:27:eb:00:00:02,192.168.50.12,rpi2,120", "*:*:*:*:*:*,120"]);
}

#[test]
fn node_files_are_rendered_again_only_when_names_or_addresses_change() {
    let settings = config::load(&[("t", SETTINGS)], &Board::built_in("emulated").unwrap()).unwrap();
    let mut facts = Facts::new(Arc::new(settings.clone()), Instant::default());
    let placement = cluster::place(&settings, &facts);
    let plan = dhcp::intended(&settings, &facts, &placement).unwrap();
    let mut renderer = Renderer::default();
    let mut render = |plan: Option<&ServicePlan>| renderer.render(plan, &settings, &facts, "/run");
    assert!(render(None).is_none(), "nothing is served, as before");
    let first = render(Some(&plan)).unwrap().unwrap();
    assert!(render(Some(&plan)).is_none(), "an equal plan is no work");
    let portal = AnswerOrigin { portal: true, ..plan.origin.clone() };
    let elsewhere = render(Some(&ServicePlan { origin: portal, ..plan.clone() })).unwrap().unwrap();
    assert_ne!(elsewhere.origin, first.origin);
    assert!(Arc::ptr_eq(&elsewhere.nodes.hosts, &first.nodes.hosts), "the same list");
    facts.apply(&lease(9, 150), Instant::default());
    let mut render = |plan: Option<&ServicePlan>| renderer.render(plan, &settings, &facts, "/run");
    let anew = render(Some(&plan)).unwrap().unwrap();
    assert!(!Arc::ptr_eq(&anew.nodes.hosts, &first.nodes.hosts), "a list of its own");
    assert_eq!(render(None), Some(None), "dnsmasq is to end");
    assert!(render(None).is_none(), "it has");
}
