//! The effect of the rule set on packets: a head between a node and a venue.

use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::time::Duration;

use bramblegate::decide::firewall::{ClusterIpv6, RulesetInput, build};
use bramblegate::reconcile::firewall::FirewallReconciler;

use crate::firewall::{home, load};
use crate::frame::Trial;
use crate::lab::{Namespace, sh, start_helper, trial, try_sh};

pub fn tests() -> Vec<Trial> {
    vec![
        trial(
            "packets::a_node_reaches_the_venue_by_masquerade",
            a_node_reaches_the_venue_by_masquerade,
        ),
        trial(
            "packets::nothing_new_from_the_venue_reaches_a_node",
            nothing_new_from_the_venue_reaches_a_node,
        ),
        trial(
            "packets::the_venue_reaches_only_what_is_allowed",
            the_venue_reaches_only_what_is_allowed,
        ),
        trial(
            "packets::an_open_session_survives_the_first_start",
            an_open_session_survives_the_first_start,
        ),
        trial(
            "packets::foreign_sources_do_not_leave_by_the_uplink",
            foreign_sources_do_not_leave_by_the_uplink,
        ),
        trial("packets::ipv6_is_not_forwarded", ipv6_is_not_forwarded),
        trial(
            "packets::ipv6_is_forwarded_for_the_translator_alone",
            ipv6_is_forwarded_for_the_translator_alone,
        ),
        trial("packets::segments_fit_the_uplink", segments_fit_the_uplink),
        trial(
            "packets::other_networks_of_the_head_are_not_judged",
            other_networks_of_the_head_are_not_judged,
        ),
        trial("packets::replacing_the_rules_loses_no_packet", replacing_the_rules_loses_no_packet),
        trial(
            "packets::a_killed_daemon_and_its_heir_lose_no_packet",
            a_killed_daemon_and_its_heir_lose_no_packet,
        ),
        trial(
            "packets::a_datagram_to_a_dead_node_is_refused",
            a_datagram_to_a_dead_node_is_refused,
        ),
        trial(
            "packets::what_claims_a_nodes_address_is_not_refused_in_its_name",
            what_claims_a_nodes_address_is_not_refused_in_its_name,
        ),
        trial(
            "packets::a_connection_survives_a_foreign_flush",
            a_connection_survives_a_foreign_flush,
        ),
    ]
}

pub const NODE: &str = "192.168.50.11";
pub const HEAD: &str = "10.99.0.126";
pub const VENUE: &str = "10.99.0.1";

/// The calling thread's namespace is the head.
pub struct Lab {
    pub node: Namespace,
    pub venue: Namespace,
}

impl Lab {
    pub fn new() -> Self {
        let (node, venue) = (Namespace::new("node"), Namespace::new("venue"));
        let (n, v) = (node.name(), venue.name());
        sh(&format!(
            "sysctl -qw net.ipv4.ip_forward=1 net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.default.rp_filter=0
             ip link add eth0 type veth peer name eth0 netns {n}
             ip link add eth1 type veth peer name eth0 netns {v}
             ip addr add 192.168.50.1/24 dev eth0; ip link set eth0 up
             ip addr add {HEAD}/24 dev eth1; ip link set eth1 up
             ip route add default via {VENUE}"
        ));
        node.sh(&format!("ip addr add {NODE}/24 dev eth0; ip link set eth0 up; ip route add default via 192.168.50.1"));
        venue.sh(&format!("ip addr add {VENUE}/24 dev eth0; ip link set eth0 up"));
        Self { node, venue }
    }
}

pub fn rules() -> RulesetInput {
    RulesetInput { uplinks: vec!["eth1".into()], ..home() }
}

pub fn started(input: &RulesetInput) -> FirewallReconciler {
    let mut reconciler = FirewallReconciler::new();
    load(&mut reconciler, &build(input), true);
    reconciler
}

/// Returns the packets that the rules with this comment have counted.
pub fn counted(comment: &str) -> u64 {
    let listing = sh("nft list table inet bramblegate");
    let rules = listing.lines().filter(|line| line.contains(comment));
    rules
        .map(|line| {
            line.split("packets ")
                .nth(1)
                .unwrap()
                .split(' ')
                .next()
                .unwrap()
                .parse::<u64>()
                .unwrap()
        })
        .sum()
}

pub fn ping(from: &Namespace, to: &str) -> bool {
    from.try_sh(&format!("ping -n -c 2 -i 0.2 -W 1 {to}")).0
}

/// An ICMP error that a socket does not report ("host unreachable") would not be a refusal.
fn a_datagram_to_a_dead_node_is_refused() {
    let lab = Lab::new();
    let _sink = started(&rules());
    let refused = lab.venue.run(|| {
        let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
        socket.connect((HEAD, 5000)).unwrap();
        socket.send(b"?").unwrap();
        socket.recv(&mut [0; 8]).unwrap_err().kind()
    });
    assert_eq!(refused.join().unwrap(), ErrorKind::HostUnreachable);
}

/// The refusal would go to the node: a host in the venue could make the head send packets to it, at
/// any rate.
fn what_claims_a_nodes_address_is_not_refused_in_its_name() {
    const BORN: &str = "192.168.50.200";
    let lab = Lab::new();
    let _sink = started(&rules());
    let knock = format!(
        "for i in 1 2 3; do nc -s {BORN} -z -w 1 {HEAD} 2201 || true
             echo x | nc -s {BORN} -u -w 1 {HEAD} 5000 || true; done"
    );
    // The node gets a reset, and learns that a datagram was not delivered.
    let hears = |place: &Namespace| {
        lab.node.sh(&format!(
            "nft 'add table ip t; delete table ip t; add table ip t;
                  add chain ip t i {{ type filter hook prerouting priority raw; }};
                  add rule ip t i ip daddr {BORN} tcp flags & rst == rst counter;
                  add rule ip t i ip daddr {BORN} icmp type destination-unreachable counter'"
        ));
        place.sh(&knock);
        let heard = lab.node.sh("nft list table ip t");
        let rules = heard.lines().filter(|line| line.contains("counter"));
        rules.map(|line| !line.contains("packets 0 ")).collect::<Vec<_>>()
    };
    lab.node.sh(&format!("ip addr add {BORN}/24 dev eth0"));
    assert_eq!(hears(&lab.node), [true, true], "what the node itself asks is refused");
    lab.venue.sh(&format!("ip addr add {BORN}/32 dev lo"));
    assert_eq!(hears(&lab.venue), [false, false], "what the venue sends in its name is not");
    assert!(counted("at the uplink: no answer") >= 6);
    assert!(counted("an address of the cluster, at the uplink\"") >= 6, "dropped and counted");
    let refused = counted("the node of this port is down");
    lab.venue.try_sh(&format!("nc -z -w 2 {HEAD} 2201"));
    assert!(counted("the node of this port is down") > refused, "its own is refused as before");
}

fn a_node_reaches_the_venue_by_masquerade() {
    let lab = Lab::new();
    assert!(!ping(&lab.node, VENUE), "the venue has no route back");
    let _sink = started(&rules());
    assert!(ping(&lab.node, VENUE));
    let server = lab.venue.run(|| {
        let listener = TcpListener::bind((VENUE, 7)).unwrap();
        listener.accept().unwrap().1.ip().to_string()
    });
    lab.node.sh(&format!("for i in 1 2 3 4 5; do nc -z -w 2 {VENUE} 7 && break; sleep 0.1; done"));
    assert_eq!(server.join().unwrap(), HEAD);
    assert_eq!(counted("new connections from the cluster"), 2, "an echo and a TCP connection");
    assert_eq!(counted("are hidden behind"), 2);
}

fn nothing_new_from_the_venue_reaches_a_node() {
    let lab = Lab::new();
    let _sink = started(&rules());
    lab.venue.sh(&format!("ip route add 192.168.50.0/24 via {HEAD}"));
    assert!(!ping(&lab.venue, NODE));
    assert_eq!(counted("nothing new from the uplink to the nodes"), 2);
}

fn the_venue_reaches_only_what_is_allowed() {
    let lab = Lab::new();
    let listeners: Vec<_> = [22, 80, 111, 2222, 3306, 8005, 8011]
        .map(|port| TcpListener::bind(("0.0.0.0", port)))
        .into();
    let _local = TcpListener::bind((HEAD, 9000)).unwrap();
    let _sink = started(&rules());
    let open = lab.venue.sh(&format!(
        "for port in 22 23 80 111 2222 3306 8005 8011 9000; do nc -z -w 1 {HEAD} $port && echo $port; done; true"
    ));
    // 80 is the status page's, by the word "web".
    assert_eq!(open.split_whitespace().collect::<Vec<_>>(), ["22", "80", "2222", "8005"]);
    assert!(ping(&lab.venue, HEAD), "icmp is allowed");
    assert!(lab.node.try_sh("nc -z -w 1 192.168.50.1 3306").0, "a node may");
    assert!(listeners.iter().all(Result::is_ok));
    let _closed = started_without_icmp(_sink);
    assert!(!ping(&lab.venue, HEAD), "now it is not");
    assert!(!lab.venue.try_sh(&format!("nc -z -w 1 {HEAD} 80")).0, "nor is the page");
    sh(&format!("ping -n -c 1 -W 1 {VENUE}"));
}

fn started_without_icmp(mut reconciler: FirewallReconciler) -> FirewallReconciler {
    load(&mut reconciler, &build(&RulesetInput { allow: vec![], ..rules() }), true);
    reconciler
}

fn an_open_session_survives_the_first_start() {
    let lab = Lab::new();
    let listener = TcpListener::bind(("0.0.0.0", 8080)).unwrap();
    let client = lab.venue.run(|| {
        let mut stream = TcpStream::connect((HEAD, 8080)).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        let mut byte = [0];
        for _ in 0..2 {
            stream.read_exact(&mut byte).unwrap();
            stream.write_all(&byte).unwrap();
        }
        byte
    });
    let (mut session, _) = listener.accept().unwrap();
    session.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    let mut byte = [0];
    session.write_all(b"a").unwrap();
    session.read_exact(&mut byte).unwrap();
    let _sink = started(&rules());
    // The venue sends first: its segment is new to connection tracking.
    std::thread::sleep(Duration::from_millis(50));
    session.write_all(b"b").unwrap();
    session.read_exact(&mut byte).unwrap();
    assert_eq!(client.join().unwrap(), *b"b");
    let refused = lab.venue.run(|| {
        let address = (HEAD.parse::<std::net::IpAddr>().unwrap(), 8080).into();
        TcpStream::connect_timeout(&address, Duration::from_secs(1)).is_err()
    });
    assert!(refused.join().unwrap(), "a new session to the same port");
}

fn foreign_sources_do_not_leave_by_the_uplink() {
    let lab = Lab::new();
    let _sink = started(&rules());
    lab.node.sh("ip addr add 172.20.0.5/32 dev eth0");
    assert!(!lab.node.try_sh(&format!("ping -n -c 1 -W 1 -I 172.20.0.5 {VENUE}")).0);
    assert_eq!(counted("not from an address of the cluster"), 1);
}

fn ipv6_is_not_forwarded() {
    let lab = Lab::new();
    sh("sysctl -qw net.ipv6.conf.all.forwarding=1
        ip addr add fd00:50::1/64 dev eth0 nodad; ip addr add fd00:99::126/64 dev eth1 nodad");
    lab.node.sh("ip addr add fd00:50::11/64 dev eth0 nodad; ip route add default via fd00:50::1");
    lab.venue
        .sh("ip addr add fd00:99::1/64 dev eth0 nodad; ip route add fd00:50::/64 via fd00:99::126");
    assert!((0..5).any(|_| ping(&lab.node, "fd00:99::1")), "without rules it is");
    let _sink = started(&rules());
    assert!(!ping(&lab.node, "fd00:99::1"));
    assert!(!ping(&lab.venue, "fd00:50::11"));
    assert!(ping(&lab.node, "fd00:50::1"), "the head itself answers its nodes");
    assert!(ping(&lab.venue, "fd00:99::126"), "and the venue, after neighbour discovery");
    lab.venue.sh("ip -6 neigh flush dev eth0");
    assert!(ping(&lab.venue, "fd00:99::126"));
}

/// Without BPF the translator makes the kernel forward IPv6, so the venue could use the head as a
/// router.
fn ipv6_is_forwarded_for_the_translator_alone() {
    let lab = Lab::new();
    let (clat, other) = (Namespace::new("clat"), Namespace::new("other"));
    sh(&format!(
        "sysctl -qw net.ipv6.conf.all.forwarding=1
         ip link add clat0 type veth peer name eth0 netns {}; ip link set clat0 up
         ip link add wg0 type veth peer name eth0 netns {}; ip link set wg0 up
         ip addr add fd00:46::1/64 dev clat0 nodad; ip addr add fd00:77::1/64 dev wg0 nodad
         ip addr add fd00:99::126/64 dev eth1 nodad",
        clat.name(),
        other.name()
    ));
    clat.sh("ip addr add fd00:46::2/64 dev eth0 nodad; ip link set eth0 up
             ip route add default via fd00:46::1");
    other.sh("ip addr add fd00:77::2/64 dev eth0 nodad; ip link set eth0 up
              ip route add default via fd00:77::1");
    lab.venue.sh("ip addr add fd00:99::1/64 dev eth0 nodad; ip route add default via fd00:99::126");
    assert!((0..5).any(|_| ping(&lab.venue, "fd00:77::2")), "without rules it is open");
    let uplinks = vec!["eth1".into(), "clat0".into()];
    let network = "fd12:3456:789a:1::/64".parse().unwrap();
    let given = Some(ClusterIpv6 { network, for_us_alone: true });
    let both = [
        RulesetInput { translated: true, uplinks, ..rules() },
        // The nodes have IPv6 too.
        RulesetInput { uplinks: vec!["eth1".into(), "clat0".into()], ipv6: given, ..rules() },
    ];
    let mut reconciler = FirewallReconciler::new();
    for input in both {
        load(&mut reconciler, &build(&input), true);
        assert!(!ping(&lab.venue, "fd00:77::2"), "to the head's other networks");
        assert!(ping(&clat, "fd00:99::1"), "what was translated");
        assert!(ping(&lab.venue, "fd00:46::2"), "what is to be translated");
        if input.translated {
            assert!(ping(&other, "fd00:99::1"), "the head's other networks to the venue");
        }
    }
}

fn segments_fit_the_uplink() {
    let lab = Lab::new();
    let _sink = started(&rules());
    sh("ip link set eth1 mtu 1280");
    let largest = |namespace: &Namespace, flags: &str, connect: &dyn Fn()| {
        let script =
            format!("timeout 5 tcpdump -i eth0 -nn -c 1 'tcp[13] & 18 = {flags}' 2>/dev/null");
        let name = namespace.name().to_owned();
        let seen = std::thread::spawn(move || try_sh(&format!("ip netns exec {name} {script}")).1);
        std::thread::sleep(Duration::from_millis(700));
        connect();
        let line = seen.join().unwrap();
        line.split("mss ")
            .nth(1)
            .unwrap_or_else(|| panic!("{line}"))
            .split(',')
            .next()
            .unwrap()
            .to_owned()
    };
    let _server = lab.venue.run(|| {
        let listener = TcpListener::bind((VENUE, 7)).unwrap();
        let _first = listener.accept();
        let _second = listener.accept();
    });
    let connect = || drop(lab.node.sh(&format!("nc -z -w 2 {VENUE} 7")));
    assert_eq!(largest(&lab.venue, "2", &connect), "1240", "what the node offers");
    assert_eq!(largest(&lab.node, "18", &connect), "1240", "what the venue answers");
}

fn other_networks_of_the_head_are_not_judged() {
    let lab = Lab::new();
    let container = Namespace::new("container");
    sh(&format!(
        "ip link add docker0 type veth peer name eth0 netns {}; ip addr add 172.17.0.1/16 dev docker0; ip link set docker0 up",
        container.name()
    ));
    container.sh("ip addr add 172.17.0.2/16 dev eth0; ip link set eth0 up; ip route add default via 172.17.0.1");
    lab.venue.sh(&format!("ip route add 172.17.0.0/16 via {HEAD}"));
    let _sink = started(&rules());
    assert!(ping(&lab.node, "172.17.0.2"), "a node to a container");
    assert!(ping(&container, NODE), "and back");
    assert!(ping(&lab.venue, "172.17.0.2"), "the venue to a published container");
    assert!(ping(&container, VENUE), "a container to the venue");
}

fn replacing_the_rules_loses_no_packet() {
    let lab = Lab::new();
    let mut reconciler = started(&rules());
    let name = lab.node.name().to_owned();
    let echo = std::thread::spawn(move || {
        sh(&format!("ip netns exec {name} ping -n -q -i 0.002 -c 1000 {VENUE}"))
    });
    let mut replaced = 0;
    while !echo.is_finished() {
        load(&mut reconciler, &build(&rules()), true);
        replaced += 1;
        std::thread::sleep(Duration::from_millis(2));
    }
    let result = echo.join().unwrap();
    assert!(replaced > 100, "{replaced}");
    assert!(result.contains(" 0% packet loss"), "{result}");
}

/// Runs pings from the node to the venue every 2 ms while `work` runs; returns the last lines of
/// ping.
fn echoes_during(lab: &Lab, work: impl FnOnce()) -> String {
    let name = lab.node.name().to_owned();
    let echo = std::thread::spawn(move || {
        sh(&format!("ip netns exec {name} ping -n -q -i 0.002 -c 600 {VENUE}"))
    });
    std::thread::sleep(Duration::from_millis(200));
    work();
    echo.join().unwrap()
}

fn a_killed_daemon_and_its_heir_lose_no_packet() {
    let lab = Lab::new();
    let (mut daemon, line) = start_helper("own the table", &[]);
    assert_eq!(line, "owned\n");
    let result = echoes_during(&lab, || {
        daemon.kill().unwrap();
        daemon.wait().unwrap();
        std::thread::sleep(Duration::from_millis(200));
        drop(started(&rules()));
    });
    assert!(result.contains(" 0% packet loss"), "{result}");
}

fn a_connection_survives_a_foreign_flush() {
    let lab = Lab::new();
    let mut reconciler = started(&rules());
    let result = echoes_during(&lab, || drop(sh("nft flush ruleset")));
    assert!(result.contains(" 0% packet loss"), "protected: {result}");
    load(&mut reconciler, &build(&rules()), false);
    let result = echoes_during(&lab, || {
        sh("nft flush ruleset");
        load(&mut reconciler, &build(&rules()), false);
    });
    // Without a NAT chain the kernel translates nothing: only packets between flush and repair are
    // lost.
    let received: u32 =
        result.split(" received").next().unwrap().rsplit(' ').next().unwrap().parse().unwrap();
    assert!(received >= 580, "{result}");
}
