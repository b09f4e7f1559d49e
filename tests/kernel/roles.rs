//! The effect of the rule set on packets from interfaces that are neither the cluster's nor
//! uplinks, and on packets that only a router sees.

use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use bramblegate::decide::firewall::{RulesetInput, build};
use rustix::net::{AddressFamily, SendFlags, SocketType, ipproto, sendto, socket};

use crate::firewall::load;
use crate::frame::Trial;
use crate::lab::{Namespace, sh, trial};
use crate::links::index_of;
use crate::packets::{HEAD, Lab, NODE, VENUE, counted, ping, rules, started};

pub fn tests() -> Vec<Trial> {
    vec![
        trial("roles::only_ports_of_the_heads_own_are_open", only_ports_of_the_heads_own_are_open),
        trial(
            "roles::an_uplink_leads_nowhere_but_to_the_nodes",
            an_uplink_leads_nowhere_but_to_the_nodes,
        ),
        trial(
            "roles::nodes_behind_a_renamed_port_stay_closed",
            nodes_behind_a_renamed_port_stay_closed,
        ),
        trial("roles::no_redirect_changes_the_heads_routes", no_redirect_changes_the_heads_routes),
        trial("roles::a_node_is_no_ipv6_router_of_the_head", a_node_is_no_ipv6_router_of_the_head),
        trial("roles::a_scan_does_not_report_what_listens", a_scan_does_not_report_what_listens),
        trial(
            "roles::the_cluster_subnet_behind_the_venue_connects",
            the_cluster_subnet_behind_the_venue_connects,
        ),
        trial(
            "roles::dhcpv6_answers_from_any_address_are_taken",
            dhcpv6_answers_from_any_address_are_taken,
        ),
    ]
}

/// Another interface of the head, with a network behind it.
struct Side {
    far: Namespace,
}

/// The kind of an interface.
#[derive(Debug, Clone, Copy)]
enum Made {
    /// A veth: the adapter of a head in a container, or a container's end.
    Cable,
    /// On top of a cable.
    Macvlan,
    /// A bridge with the cable as its port.
    Bridge,
}

impl Side {
    fn new(name: &str, made: Made) -> Self {
        let far = Namespace::new("side");
        let cable = if matches!(made, Made::Cable) { name } else { "cable" };
        sh(&format!(
            "ip link add {cable} type veth peer name eth0 netns {}; ip link set {cable} up",
            far.name()
        ));
        match made {
            Made::Cable => {}
            Made::Macvlan => {
                drop(sh(&format!("ip link add {name} link cable type macvlan mode bridge")))
            }
            Made::Bridge => drop(sh(&format!(
                "ip link add {name} type bridge; ip link set cable master {name}"
            ))),
        }
        sh(&format!("ip addr add 172.22.0.1/24 dev {name}; ip link set {name} up"));
        far.sh("ip addr add 172.22.0.2/24 dev eth0; ip link set eth0 up; ip route add default via 172.22.0.1");
        Self { far }
    }

    /// Returns which services answer, of all that should be open only to a trusted network.
    fn reaches(&self) -> Vec<&'static str> {
        let socket = UdpSocket::bind("172.22.0.1:4000").unwrap();
        socket.set_read_timeout(Some(WAIT)).unwrap();
        self.far
            .run(|| UdpSocket::bind("0.0.0.0:0").unwrap().send_to(b"x", "172.22.0.1:4000").unwrap())
            .join()
            .unwrap();
        let tries = [
            ("a closed port of the head", self.connects("172.22.0.1:3306", WAIT)),
            ("by the cluster's address", self.connects("192.168.50.1:3306", WAIT)),
            ("a node", self.connects("192.168.50.11:22", WAIT)),
        ];
        let mut open: Vec<&str> =
            socket.recv(&mut [0; 8]).is_ok().then_some("a datagram").into_iter().collect();
        open.extend(
            tries.into_iter().filter_map(|(what, open)| open.join().unwrap().then_some(what)),
        );
        open
    }

    /// Returns whether a connection is established within `wait`.
    fn connects(&self, to: &'static str, wait: Duration) -> std::thread::JoinHandle<bool> {
        self.far.run(move || TcpStream::connect_timeout(&to.parse().unwrap(), wait).is_ok())
    }
}

/// An answer within one machine takes less.
const WAIT: Duration = Duration::from_millis(300);

/// Every kind of interface that can be created here, and what a network behind it may reach.
fn only_ports_of_the_heads_own_are_open() {
    let lab = Lab::new();
    let _ssh = TcpListener::bind(("0.0.0.0", 22)).unwrap();
    let _closed = TcpListener::bind(("0.0.0.0", 3306)).unwrap();
    let _node = lab.node.run(|| {
        let listener = TcpListener::bind((NODE, 22)).unwrap();
        listener.incoming().take(20).for_each(drop);
    });
    let mut reconciler = started(&rules());
    let list = |name: &str| vec![name.to_owned()];
    for (name, made, input, open) in [
        ("up9", Made::Cable, rules(), false),
        ("up9", Made::Cable, RulesetInput { unknown: list("up9"), ..rules() }, false),
        ("up9", Made::Cable, RulesetInput { trusted: list("up9"), ..rules() }, true),
        (
            "up9",
            Made::Cable,
            RulesetInput { uplinks: vec!["eth1".into(), "up9".into()], ..rules() },
            false,
        ),
        ("eth5.7", Made::Macvlan, rules(), false),
        ("veth5", Made::Macvlan, rules(), false),
        ("docker0", Made::Bridge, rules(), false),
        ("docker0", Made::Bridge, RulesetInput { bridges: list("docker0"), ..rules() }, true),
        ("vethd1f0c3a", Made::Cable, rules(), true),
        ("cali0123", Made::Cable, rules(), true),
    ] {
        load(&mut reconciler, &build(&input), true);
        let side = Side::new(name, made);
        let found = side.reaches();
        assert_eq!(found.len(), if open { 4 } else { 0 }, "{name} ({made:?}): {found:?}");
        assert!(
            side.connects("172.22.0.1:22", WAIT * 10).join().unwrap(),
            "{name}: all hosts reach what uplink.allow names"
        );
        // Connections from the head and its nodes are answered.
        assert!(lab.node.try_sh("ping -n -c 1 -W 1 172.22.0.2").0, "{name}: a node reaches it");
        sh("ping -n -c 1 -W 1 172.22.0.2");
        let cable = if matches!(made, Made::Cable) { name } else { "cable" };
        sh(&format!("ip link del {cable}; ip link del {name} 2>/dev/null || true"));
    }
}

/// The rules match the cluster interface by its name, and its network wherever it is.
fn nodes_behind_a_renamed_port_stay_closed() {
    let lab = Lab::new();
    lab.venue.sh(&format!("ip route add default via {HEAD}"));
    let mut reconciler = started(&rules());
    sh("ip link set eth0 down; ip link set eth0 name lan5; ip link set lan5 up");
    let unknown = vec!["lan5".to_owned()];
    for input in [
        rules(),
        RulesetInput { cluster_port: None, ..rules() },
        RulesetInput { cluster_port: None, overlap_routed: true, unknown, ..rules() },
    ] {
        load(&mut reconciler, &build(&input), true);
        assert!(!ping(&lab.venue, NODE), "{input:?}");
        assert!(ping(&lab.node, VENUE), "what the node begins is answered");
    }
}

/// Forwarding of an uplink was enabled for the nodes: not for another venue, and not for a
/// container's network.
fn an_uplink_leads_nowhere_but_to_the_nodes() {
    let lab = Lab::new();
    let (other, own) = (Namespace::new("venue"), Side::new("docker0", Made::Cable));
    sh(&format!(
        "ip link add eth2 type veth peer name eth0 netns {}; ip addr add 10.77.0.5/24 dev eth2; ip link set eth2 up",
        other.name()
    ));
    other.sh("ip addr add 10.77.0.1/24 dev eth0; ip link set eth0 up; ip route add default via 10.77.0.5");
    lab.venue.sh(&format!("ip route add default via {HEAD}"));
    let uplinks = || vec!["eth1".to_owned(), "eth2".to_owned()];
    let mut reconciler = started(&RulesetInput { uplinks: uplinks(), ..rules() });
    assert!(ping(&lab.venue, "10.77.0.1") && ping(&lab.venue, "172.22.0.2"), "as it was before us");
    let for_us = RulesetInput { uplinks: uplinks(), forwarded_for_us: uplinks(), ..rules() };
    for input in [for_us.clone(), RulesetInput { cluster_port: None, ..for_us.clone() }] {
        load(&mut reconciler, &build(&input), true);
        assert!(!ping(&lab.venue, "10.77.0.1"), "from one venue to another");
        assert!(!ping(&other, VENUE), "and back");
        assert!(!ping(&lab.venue, "172.22.0.2"), "to another network of the head");
        assert!(counted("the venue does not reach other networks through the head") >= 6);
        assert!(ping(&own.far, VENUE), "which reaches the venue, with its answers");
    }
    load(&mut reconciler, &build(&for_us), true);
    assert!(ping(&lab.node, VENUE) && ping(&lab.node, "10.77.0.1"), "the nodes reach both");
}

/// Returns a raw socket of ICMP (`protocol` 1) or ICMPv6 (58).
fn raw(family: AddressFamily, protocol: u32) -> OwnedFd {
    let protocol = if protocol == 1 { ipproto::ICMP } else { ipproto::ICMPV6 };
    socket(family, SocketType::RAW, Some(protocol)).unwrap()
}

/// The checksum of RFC 1071.
fn checksum(bytes: &[u8]) -> [u8; 2] {
    let words = bytes
        .chunks(2)
        .map(|pair| u32::from(u16::from_be_bytes([pair[0], *pair.get(1).unwrap_or(&0)])));
    let mut sum: u32 = words.sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    (!(sum as u16)).to_be_bytes()
}

/// Returns a redirect for `destination` to another router, about an echo reply that `source` sent
/// (RFC 792): the kernel follows it without a matching socket.
fn redirect(router: Ipv4Addr, source: Ipv4Addr, destination: Ipv4Addr) -> Vec<u8> {
    let mut quoted = vec![0x45, 0, 0, 28, 0, 1, 0, 0, 64, 1, 0, 0];
    quoted.extend(source.octets());
    quoted.extend(destination.octets());
    let sum = checksum(&quoted);
    quoted[10..12].copy_from_slice(&sum);
    quoted.extend([0; 8]);
    let mut message = vec![5, 1, 0, 0];
    message.extend(router.octets());
    message.extend(quoted);
    let sum = checksum(&message);
    message[2..4].copy_from_slice(&sum);
    message
}

/// The venue's router claims that the route to the internet is through the laptop: the nodes'
/// packets would go there.
fn no_redirect_changes_the_heads_routes() {
    let lab = Lab::new();
    sh("for c in all eth0 eth1; do for f in accept secure send; do
            echo 1 > /proc/sys/net/ipv4/conf/$c/${f}_redirects; done; done
        echo 0 > /proc/sys/net/ipv4/conf/all/secure_redirects; echo 0 > /proc/sys/net/ipv4/conf/eth1/secure_redirects");
    lab.venue.sh("ip addr add 10.99.0.66/24 dev eth0; ip addr add 203.0.113.80/32 dev lo");
    let (head, away): (Ipv4Addr, Ipv4Addr) =
        (HEAD.parse().unwrap(), "203.0.113.80".parse().unwrap());
    let send = || {
        // The other router is resolved: the kernel does that before it sends packets to it.
        sh("ping -n -c 1 -W 1 203.0.113.80; ping -n -c 1 -W 1 10.99.0.66");
        lab.venue
            .run(move || {
                let to = SocketAddr::from((head, 0));
                let message = redirect("10.99.0.66".parse().unwrap(), head, away);
                sendto(raw(AddressFamily::INET, 1).as_fd(), &message, SendFlags::empty(), &to)
                    .unwrap();
            })
            .join()
            .unwrap();
        std::thread::sleep(Duration::from_millis(50));
        sh("ip route get 203.0.113.80")
    };
    let mut reconciler = started(&rules());
    let way = send();
    assert!(way.contains("via 10.99.0.1 ") && !way.contains("redirected"), "{way}");
    assert_eq!(counted("a stranger gives the head no routes (IPv4)"), 1);
    // Without the rule the kernel would have followed it; and the head itself sends none.
    reconciler.remove().unwrap();
    let way = send();
    assert!(way.contains("via 10.99.0.66 "), "without rules: {way}");
    load(&mut reconciler, &build(&rules()), true);
    lab.venue.sh(&format!("ip route add 10.99.7.0/24 via {HEAD}"));
    sh("ip route add 10.99.7.0/24 via 10.99.0.1");
    let _ = lab.venue.try_sh("ping -n -c 2 -i 0.2 -W 1 10.99.7.7");
    assert!(
        counted("the head sends no redirects") > 0,
        "{}",
        sh("nft list table inet bramblegate")
    );
}

/// Returns a router advertisement (RFC 4861) with a prefix for SLAAC.
fn advertisement() -> Vec<u8> {
    let mut message = vec![134, 0, 0, 0, 64, 0, 7, 8, 0, 0, 0, 0, 0, 0, 0, 0];
    message.extend([3, 4, 64, 0xc0, 0, 0, 7, 8, 0, 0, 7, 8, 0, 0, 0, 0]);
    message.extend("2001:db8:bad::".parse::<std::net::Ipv6Addr>().unwrap().octets());
    message
}

fn a_node_is_no_ipv6_router_of_the_head() {
    let lab = Lab::new();
    sh(
        "for p in eth0 eth1; do echo 2 > /proc/sys/net/ipv6/conf/$p/accept_ra; echo 1 > /proc/sys/net/ipv6/conf/$p/autoconf; done",
    );
    // Duplicate address detection of the senders' own addresses takes a second.
    for namespace in [&lab.node, &lab.venue] {
        namespace.sh("ip addr add fe80::7/64 dev eth0 nodad");
    }
    let advertise = |namespace: &Namespace| {
        namespace
            .run(|| {
                let socket = raw(AddressFamily::INET6, 58);
                rustix::net::sockopt::set_ipv6_multicast_hops(&socket, 255).unwrap();
                rustix::net::sockopt::set_ipv6_unicast_hops(&socket, Some(255)).unwrap();
                let index = index_of("eth0");
                rustix::net::bind(
                    &socket,
                    &std::net::SocketAddrV6::new("fe80::7".parse().unwrap(), 0, 0, index),
                )
                .unwrap();
                let to = std::net::SocketAddrV6::new("ff02::1".parse().unwrap(), 0, 0, index);
                sendto(&socket, &advertisement(), SendFlags::empty(), &SocketAddr::V6(to)).unwrap();
            })
            .join()
            .unwrap();
        std::thread::sleep(Duration::from_millis(100));
        sh("ip -6 route; ip -6 addr")
    };
    let _sink = started(&rules());
    let seen = advertise(&lab.node);
    assert!(!seen.contains("default") && !seen.contains("2001:db8:bad"), "{seen}");
    assert_eq!(counted("a node gives the head no routes (IPv6)"), 1);
    let seen = advertise(&lab.venue);
    assert!(
        seen.contains("default via fe80::7 dev eth1") && seen.contains("2001:db8:bad"),
        "an uplink's router: {seen}"
    );
}

/// A stray segment without a connection: the answer is the same whether a program listens or not.
fn a_scan_does_not_report_what_listens() {
    let lab = Lab::new();
    let _bound = TcpListener::bind((HEAD, 9000)).unwrap();
    let _all = TcpListener::bind(("0.0.0.0", 9001)).unwrap();
    let _ssh = TcpListener::bind((HEAD, 22)).unwrap();
    let _sink = started(&rules());
    let log = sh("mktemp").trim().to_owned();
    let name = lab.venue.name().to_owned();
    let file = log.clone();
    let heard = std::thread::spawn(move || {
        sh(&format!(
            "ip netns exec {name} timeout 3 tcpdump -l -i eth0 -nn 'src {HEAD} and tcp' > {file} 2>/dev/null || true"
        ))
    });
    std::thread::sleep(Duration::from_millis(700));
    for port in [9000_u16, 9001, 9002, 22] {
        for flags in [0x10, 0x11, 0x18, 0x01, 0x00, 0x29] {
            lab.venue.run(move || stray(VENUE, HEAD, port, flags)).join().unwrap();
        }
    }
    heard.join().unwrap();
    let answers = std::fs::read_to_string(&log).unwrap();
    std::fs::remove_file(&log).unwrap();
    let of = |port: u16| {
        answers.lines().filter(|line| line.contains(&format!("{HEAD}.{port} >"))).count()
    };
    assert_eq!((of(9000), of(9001), of(9002)), (0, 0, 0), "{answers}");
    assert!(of(22) > 0, "who has a stale session to an open port hears that it is over: {answers}");
}

/// Sends a segment with these flags that belongs to no connection.
pub fn stray(from: &str, to: &str, port: u16, flags: u8) {
    let (from, to): (Ipv4Addr, Ipv4Addr) = (from.parse().unwrap(), to.parse().unwrap());
    let mut segment = 40_000_u16.wrapping_add(port).to_be_bytes().to_vec();
    segment.extend(port.to_be_bytes());
    segment.extend([0, 0, 0, 9, 0, 0, 0, 7, 0x50, flags, 4, 0, 0, 0, 0, 0]);
    let pseudo = [&from.octets()[..], &to.octets(), &[0, 6, 0, 20], &segment].concat();
    let sum = checksum(&pseudo);
    segment[16..18].copy_from_slice(&sum);
    let socket = socket(AddressFamily::INET, SocketType::RAW, Some(ipproto::TCP)).unwrap();
    sendto(&socket, &segment, SendFlags::empty(), &SocketAddr::from((to, 0))).unwrap();
}

/// The cluster's subnet exists behind the venue's router too, and a host there connects to the
/// address on the LCD.
fn the_cluster_subnet_behind_the_venue_connects() {
    let lab = Lab::new();
    let listener = TcpListener::bind(("0.0.0.0", 22)).unwrap();
    let _sink = started(&rules());
    lab.venue.sh("ip addr add 192.168.50.77/32 dev lo");
    // Answers from an uplink's address leave through it: a rule of the gateway's routing.
    sh(&format!(
        "ip route add default via {VENUE} dev eth1 table 51003; ip rule add from {HEAD} lookup 51003"
    ));
    let knocks = lab.venue.run(|| {
        let socket = socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
        rustix::net::bind(&socket, &SocketAddr::from(([192, 168, 50, 77], 0))).unwrap();
        rustix::net::sockopt::set_socket_timeout(
            &socket,
            rustix::net::sockopt::Timeout::Send,
            Some(Duration::from_secs(2)),
        )
        .unwrap();
        rustix::net::connect(&socket, &SocketAddr::from((HEAD.parse::<Ipv4Addr>().unwrap(), 22)))
            .map(|()| TcpStream::from(socket))
    });
    let stream = knocks.join().unwrap().expect("it connects");
    assert_eq!(listener.accept().unwrap().1, stream.local_addr().unwrap());
    // To the nodes it is a forged source anyway.
    lab.venue.sh(&format!("ip route add 192.168.50.0/24 via {HEAD}"));
    assert!(!lab.venue.try_sh(&format!("ping -n -c 1 -W 1 -I 192.168.50.77 {NODE}")).0);
    assert_eq!(counted("an address of the cluster, at the uplink"), 1);
}

fn dhcpv6_answers_from_any_address_are_taken() {
    let lab = Lab::new();
    sh("ip addr add fe80::126/64 dev eth1 nodad; ip addr add fd00:99::126/64 dev eth1 nodad");
    lab.venue.sh("ip addr add fe80::1/64 dev eth0 nodad; ip addr add fd00:99::1/64 dev eth0 nodad");
    let _sink = started(&rules());
    let client = UdpSocket::bind("[::]:546").unwrap();
    client.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
    let send = |from: &'static str, to: &'static str| {
        lab.venue
            .run(move || {
                let index = index_of("eth0");
                let scope = |address: &str| if address.starts_with("fe80") { index } else { 0 };
                let at = |address: &str, port| {
                    std::net::SocketAddrV6::new(address.parse().unwrap(), port, 0, scope(address))
                };
                UdpSocket::bind(at(from, 547)).unwrap().send_to(b"x", at(to, 546)).unwrap();
            })
            .join()
            .unwrap();
        client.recv(&mut [0; 8]).is_ok()
    };
    assert!(send("fe80::1", "fe80::126"), "from the link");
    assert!(send("fd00:99::1", "fe80::126"), "a relay or a server of another address");
    assert!(
        !send("fd00:99::1", "fd00:99::126"),
        "who does not answer to the client's own address is no server"
    );
}
