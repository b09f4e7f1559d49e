//! Probes through real sockets: their results about the internet and the nodes, and their cost.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::thread::spawn;
use std::time::Duration;

use bramblegate::config::{HttpExpectation, NodeProbe, UplinkProbe};
use bramblegate::event::{Event, NodeId, PortalUrl, Probe, Reachability, Round, UplinkNews};
use bramblegate::watch::probe::{
    NodeProbePlan, NodeTarget, UplinkProbePlan, UplinkTarget, run_nodes, run_uplinks,
};
use simple_dns::rdata::{A, RData};
use simple_dns::{CLASS, Packet, ResourceRecord};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, timeout};

use crate::frame::Trial;
use crate::lab::{own_network, sh, trial};
use crate::links::index_of;
use crate::netlink::block_on;

pub fn tests() -> Vec<Trial> {
    vec![
        trial("probe::online_portal_and_nothing_are_distinguished", distinguished),
        trial(
            "probe::each_uplink_is_asked_by_itself_though_both_have_the_same_addresses",
            same_addresses,
        ),
        trial("probe::a_ping_probe_finds_its_host_or_nothing", ping),
        trial("probe::nodes_answer_and_a_dead_one_is_noticed_at_once", nodes),
        trial("probe::nodes_that_speak_only_ipv6_are_asked_beside_others", ipv6),
        trial("probe::no_node_answers_for_another", forged),
        trial("probe::three_nodes_cost_fewer_than_fifteen_wake_ups_a_second", wake_ups),
        trial("probe::nodes_are_found_though_the_venue_has_the_same_subnet", overlap),
    ]
}

/// A thread in a network namespace of its own at the other end of a cable; `set_up` runs there and
/// starts servers.
pub fn elsewhere(name: &str, here: &str, set_up: impl FnOnce() + Send + 'static) {
    let there = format!("{name}-peer");
    sh(&format!("ip link add {here} type veth peer name {there}; ip link set {here} up"));
    let (report, reported) = std::sync::mpsc::channel();
    let (go, started) = std::sync::mpsc::channel();
    let (ready, is_ready) = std::sync::mpsc::channel();
    spawn(move || {
        own_network();
        report.send(rustix::thread::gettid().as_raw_nonzero().get()).unwrap();
        started.recv().unwrap();
        set_up();
        ready.send(()).unwrap();
        // The namespace exists as long as its last thread and the cable in it.
        std::thread::sleep(Duration::from_secs(90));
    });
    let thread = reported.recv().unwrap();
    sh(&format!("ip link set {there} netns {thread}"));
    go.send(()).unwrap();
    is_ready.recv_timeout(Duration::from_secs(10)).unwrap();
}

const ONLINE: u8 = 0;
const PORTAL: u8 = 1;
const SILENT: u8 = 2;

/// A venue: a resolver that knows every name, and a web server that answers depending on `mode`.
fn venue(name: &'static str, here: &str, mode: &Arc<AtomicU8>) {
    let mode = mode.clone();
    elsewhere(name, here, move || {
        sh(&format!("ip addr add 10.9.0.1/24 dev {name}-peer; ip link set {name}-peer up"));
        let dns = UdpSocket::bind("10.9.0.1:53").unwrap();
        let web = TcpListener::bind("10.9.0.1:80").unwrap();
        spawn(move || serve_names(&dns));
        spawn(move || {
            for stream in web.incoming() {
                let mut stream = stream.unwrap();
                let _ = stream.read(&mut [0; 1024]);
                let _ = match mode.load(Ordering::Relaxed) {
                    ONLINE => stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n"),
                    PORTAL => {
                        stream.write_all(b"HTTP/1.1 302 Found\r\nLocation: http://login/\r\n\r\n")
                    }
                    _ => Ok(()),
                };
            }
        });
    });
}

fn serve_names(socket: &UdpSocket) {
    let mut buffer = [0; 512];
    while let Ok((length, from)) = socket.recv_from(&mut buffer) {
        let Ok(question) = Packet::parse(&buffer[..length]) else { continue };
        let mut reply = Packet::new_reply(question.id());
        let name = question.questions[0].qname.clone();
        let address = A { address: u32::from_be_bytes([10, 9, 0, 1]) };
        reply.answers.push(ResourceRecord::new(name, CLASS::IN, 1, RData::A(address)));
        let _ = socket.send_to(&reply.build_bytes_vec().unwrap(), from);
    }
}

fn http() -> UplinkProbe {
    UplinkProbe::Http {
        host: "internet.example".into(),
        port: 80,
        path: "/generate_204".into(),
        expect: HttpExpectation::Status(204),
    }
}

fn target(name: &str, source: [u8; 4], generation: u64) -> UplinkTarget {
    UplinkTarget {
        index: index_of(name),
        name: name.into(),
        source: source.into(),
        resolvers: vec![[10, 9, 0, 3].into(), [10, 9, 0, 1].into()],
        generation,
        path: None,
        nat64: None,
    }
}

struct Asking {
    plan: watch::Sender<UplinkProbePlan>,
    events: mpsc::Receiver<Event>,
    /// The last reported URL of a portal.
    portal: Option<PortalUrl>,
}

fn asking(targets: Vec<UplinkTarget>, probe: UplinkProbe) -> Asking {
    let (plan, wanted) = watch::channel(UplinkProbePlan { targets, probe });
    let (sender, events) = mpsc::channel(64);
    tokio::spawn(run_uplinks(wanted, sender));
    Asking { plan, events, portal: None }
}

impl Asking {
    async fn answer(&mut self) -> (u32, Reachability) {
        loop {
            match timeout(Duration::from_secs(10), self.events.recv()).await {
                Ok(Some(Event::Probe(Probe::Uplink { index, reachability }))) => {
                    return (index, reachability);
                }
                Ok(Some(Event::Uplink(UplinkNews::Portal { url, .. }))) => self.portal = url,
                other => panic!("{other:?}"),
            }
        }
    }

    fn again(&self) {
        self.plan.send_modify(|plan| plan.targets[0].generation += 1);
    }
}

fn distinguished() {
    let mode = Arc::new(AtomicU8::new(ONLINE));
    venue("hotel", "uplink", &mode);
    sh("ip addr add 10.9.0.2/24 dev uplink");
    let index = index_of("uplink");
    block_on(async {
        let mut asking = asking(vec![target("uplink", [10, 9, 0, 2], 0)], http());
        assert_eq!(asking.answer().await, (index, Reachability::Online));
        let first = Instant::now();
        assert_eq!(asking.answer().await, (index, Reachability::Online));
        assert!(first.elapsed() > Duration::from_millis(900), "asked again after a second");
        for (is, expected) in [
            (PORTAL, Reachability::Portal),
            (SILENT, Reachability::Nothing),
            (ONLINE, Reachability::Online),
        ] {
            mode.store(is, Ordering::Relaxed);
            asking.again();
            assert_eq!(asking.answer().await, (index, expected));
        }
        assert_eq!(asking.portal.as_ref().map(PortalUrl::as_str), Some("http://login/"));
        sh("ip link set uplink down");
        asking.again();
        assert_eq!(asking.answer().await, (index, Reachability::Nothing));
    });
}

fn same_addresses() {
    let (online, portal) = (Arc::new(AtomicU8::new(ONLINE)), Arc::new(AtomicU8::new(PORTAL)));
    venue("good", "eth1", &online);
    venue("hotel", "wlan0", &portal);
    sh("ip addr add 10.9.0.2/24 dev eth1; ip addr add 10.9.0.2/24 dev wlan0");
    sh("for port in eth1 wlan0; do echo 2 > /proc/sys/net/ipv4/conf/$port/rp_filter; done");
    block_on(async {
        let targets = vec![target("eth1", [10, 9, 0, 2], 0), target("wlan0", [10, 9, 0, 2], 0)];
        let mut asking = asking(targets, http());
        let mut answers = [asking.answer().await, asking.answer().await];
        answers.sort_by_key(|(index, _)| *index);
        assert_eq!(
            answers.map(|(_, reachability)| reachability),
            [Reachability::Online, Reachability::Portal]
        );
    });
}

fn ping() {
    elsewhere("net", "uplink", || {
        sh("ip addr add 10.9.0.1/24 dev net-peer; ip link set net-peer up");
    });
    sh("ip addr add 10.9.0.2/24 dev uplink");
    let index = index_of("uplink");
    block_on(async {
        let there = UplinkProbe::Ping { host: [10, 9, 0, 1].into() };
        let mut asking = asking(vec![target("uplink", [10, 9, 0, 2], 0)], there);
        assert_eq!(asking.answer().await, (index, Reachability::Online));
        asking
            .plan
            .send_modify(|plan| plan.probe = UplinkProbe::Ping { host: [10, 9, 0, 99].into() });
        assert_eq!(asking.answer().await, (index, Reachability::Nothing));
    });
}

fn cluster() {
    cluster_with(|| ());
}

/// Does the same with another activity among the nodes.
fn cluster_with(more: impl FnOnce() + Send + 'static) {
    elsewhere("node", "cluster", || {
        more();
        sh(
            "ip link set node-peer up; for i in 11 12 13; do ip addr add 192.168.50.$i/24 dev node-peer; done",
        );
        let ssh = TcpListener::bind("192.168.50.12:22").unwrap();
        spawn(move || ssh.incoming().for_each(drop));
    });
    sh("ip addr add 192.168.50.1/24 dev cluster");
}

fn node(last: u8, probe: NodeProbe) -> NodeTarget {
    NodeTarget {
        node: NodeId { slot: last.into(), generation: 0 },
        address: [192, 168, 50, last].into(),
        mac: None,
        probes: [probe].into(),
        timeout: 0,
    }
}

fn probing(nodes: Vec<NodeTarget>) -> (watch::Sender<NodeProbePlan>, mpsc::Receiver<Event>) {
    let ms = Duration::from_millis;
    let plan = NodeProbePlan {
        nodes: nodes.into(),
        interval: ms(300),
        timeout: ms(100),
        port: Some("cluster".into()),
    };
    let (plan, wanted) = watch::channel(plan);
    let (sender, events) = mpsc::channel(64);
    tokio::spawn(run_nodes(wanted, sender));
    (plan, events)
}

/// Returns the rounds that end together.
async fn rounds(events: &mut mpsc::Receiver<Event>) -> Vec<Round> {
    match timeout(Duration::from_secs(5), events.recv()).await {
        Ok(Some(Event::Probe(Probe::Nodes(rounds)))) => rounds,
        other => panic!("{other:?}"),
    }
}

/// Returns the names of the nodes that answered in one round.
async fn round(events: &mut mpsc::Receiver<Event>, nodes: usize) -> Vec<String> {
    let (mut asked, mut answered) = (0, Vec::new());
    while asked < nodes {
        let rounds = rounds(events).await;
        asked += rounds.len();
        let up = rounds.iter().filter(|round| round.rtt.is_some());
        answered.extend(up.map(|round| format!("rpi{}", round.node.slot)));
    }
    answered
}

fn nodes() {
    cluster();
    block_on(async {
        let tcp = |last| node(last, NodeProbe::Tcp(22));
        let asked = vec![node(11, NodeProbe::Icmp), tcp(12), tcp(13), node(14, NodeProbe::Icmp)];
        let (plan, mut events) = probing(asked);
        assert_eq!(round(&mut events, 4).await, ["rpi11", "rpi12"], "13 refuses, 14 is not there");
        plan.send_modify(|plan| {
            plan.nodes = vec![node(13, NodeProbe::Arp), node(14, NodeProbe::Arp)].into()
        });
        while round(&mut events, 2).await != ["rpi13"] {}
        plan.send_modify(|plan| {
            plan.nodes = vec![node(11, NodeProbe::Icmp), node(12, NodeProbe::Icmp)].into()
        });
        while round(&mut events, 2).await != ["rpi11", "rpi12"] {}
        let rtt = rounds(&mut events).await[0].rtt;
        assert!(rtt.unwrap() < Duration::from_millis(3), "the kernel noted the arrival: {rtt:?}");
        sh("ip neigh replace 192.168.50.12 lladdr 02:00:00:00:00:99 dev cluster nud permanent");
        let died = Instant::now();
        let mut failed = 0;
        while failed < 3 {
            let answered = round(&mut events, 2).await;
            assert!(answered.contains(&"rpi11".to_owned()));
            failed += usize::from(!answered.contains(&"rpi12".to_owned()));
        }
        assert!(
            died.elapsed() < Duration::from_millis(1050),
            "three failed rounds took {:?}",
            died.elapsed()
        );
        // The interface is removed and comes back, like a USB adapter.
        sh("ip link set cluster down");
        while !round(&mut events, 2).await.is_empty() {}
        sh("ip link set cluster up");
        while round(&mut events, 2).await != ["rpi11", "rpi12"] {}
    });
}

fn ipv6() {
    cluster_with(|| {
        sh("for i in 11 12; do ip addr add fd12::$i/64 dev node-peer nodad; done");
    });
    sh("ip addr add fd12::1/64 dev cluster nodad");
    block_on(async {
        // On a busy machine neighbour discovery may take longer than 100 ms.
        let six = |last: u8, timeout| NodeTarget {
            address: format!("fd12::{last}").parse().unwrap(),
            timeout,
            ..node(last + 100, NodeProbe::Icmp)
        };
        let four = NodeTarget { timeout: 2000, ..node(11, NodeProbe::Icmp) };
        let (_plan, mut events) = probing(vec![six(11, 2000), four, six(12, 2000), six(13, 0)]);
        let mut ended = BTreeMap::from([11, 111, 112, 113].map(|slot| (slot, 0)));
        while ended.values().any(|rounds| *rounds < 3) {
            for Round { node, rtt, .. } in rounds(&mut events).await {
                assert_eq!(
                    rtt.is_some(),
                    node.slot != 113,
                    "fd12::13 alone is not there: {node:?}"
                );
                *ended.entry(node.slot).or_default() += 1;
            }
        }
        let mut rtt = None;
        while rtt.is_none() {
            let ended = rounds(&mut events).await;
            rtt = ended.iter().find(|round| round.node.slot == 111).and_then(|round| round.rtt);
        }
        assert!(rtt < Some(Duration::from_millis(20)), "the kernel noted the arrival: {rtt:?}");
    });
}

/// Sends forged replies of 192.168.50.14, an address without a board, on each ping to .11: for that
/// round, and for those around it.
fn forge() {
    let hears = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::ICMPV4)).unwrap();
    let sends = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::from(255))).unwrap();
    let to: SocketAddr = "192.168.50.1:0".parse().unwrap();
    let mut buffer = [0; 512];
    loop {
        let (length, _) =
            rustix::net::recv(&hears, &mut buffer[..], rustix::net::RecvFlags::empty()).unwrap();
        let (ip, icmp) = buffer[..length].split_at(20);
        if icmp[0] != 8 || ip[16..] != [192, 168, 50, 11] {
            continue;
        }
        let turn = u32::from_be_bytes(*icmp[8 + 16..].first_chunk().unwrap());
        for guess in turn.saturating_sub(2)..turn + 6 {
            let mut reply = icmp.to_vec();
            reply[0] = 0;
            reply[8 + 8..8 + 12].copy_from_slice(&14_u32.to_be_bytes());
            reply[8 + 16..8 + 20].copy_from_slice(&guess.to_be_bytes());
            reply[2..4].fill(0);
            let sum = reply
                .chunks(2)
                .map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]])))
                .sum::<u32>();
            let sum = (sum & 0xffff) + (sum >> 16);
            let sum = !((sum + (sum >> 16)) as u16);
            reply[2..4].copy_from_slice(&sum.to_be_bytes());
            let header =
                [0x45, 0, 0, 0, 0, 0, 0, 0, 64, 1, 0, 0, 192, 168, 50, 14, 192, 168, 50, 1];
            let _ = sends.send_to(&[&header[..], &reply].concat(), &to.into());
        }
    }
}

fn forged() {
    cluster_with(|| drop(spawn(forge)));
    block_on(async {
        let board = |last, mac: &str| NodeTarget {
            mac: Some(mac.parse().unwrap()),
            ..node(last, NodeProbe::Arp)
        };
        let icmp = vec![node(11, NodeProbe::Icmp), node(14, NodeProbe::Icmp)];
        let (plan, mut events) = probing(icmp);
        for number in 0..6 {
            assert_eq!(round(&mut events, 2).await, ["rpi11"], "round {number}: 14 is not there");
        }
        // ARP shows which board answers.
        let own = sh("ip neigh show 192.168.50.11 dev cluster");
        let own = own.split_whitespace().skip_while(|word| *word != "lladdr").nth(1).unwrap();
        plan.send_modify(|plan| {
            plan.nodes = vec![board(11, own), board(12, "02:00:00:00:00:99")].into()
        });
        while round(&mut events, 2).await != ["rpi11"] {}
        for number in 0..3 {
            assert_eq!(
                round(&mut events, 2).await,
                ["rpi11"],
                "round {number}: another board is at 12"
            );
        }
    });
}

fn wake_ups() {
    cluster();
    block_on(async {
        let (_plan, mut events) = probing(vec![
            node(11, NodeProbe::Icmp),
            node(12, NodeProbe::Icmp),
            node(13, NodeProbe::Icmp),
        ]);
        round(&mut events, 3).await;
        let (begin, before) = (Instant::now(), switches());
        for _ in 0..10 {
            assert_eq!(round(&mut events, 3).await.len(), 3);
        }
        let a_second = f64::from(switches() - before) / begin.elapsed().as_secs_f64();
        println!("wake-ups with three nodes: {a_second:.1} a second");
        assert!(a_second < 15.0, "{a_second}");
    });
}

/// Returns how often this thread has waited.
fn switches() -> u32 {
    let status = std::fs::read_to_string("/proc/thread-self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("voluntary_ctxt_switches")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

fn overlap() {
    elsewhere("hall", "uplink", || {
        sh("ip link set hall-peer up; ip addr add 192.168.50.254/24 dev hall-peer");
    });
    sh("ip addr add 192.168.50.77/24 dev uplink");
    cluster();
    let nodes = || vec![node(11, NodeProbe::Icmp), node(12, NodeProbe::Tcp(22))];
    // Like the gateway's rules.
    sh(
        "ip route add 192.168.50.0/24 dev cluster table 50980; ip rule add pref 5110 to 192.168.50.0/24 table 50980",
    );
    block_on(async {
        let (_plan, mut events) = probing(nodes());
        assert_eq!(round(&mut events, 2).await, ["rpi11", "rpi12"]);
    });
    // Another program's rule diverts all packets to the uplink: a node that no packet reaches is
    // not healthy.
    sh("ip route add 192.168.50.0/24 dev uplink table 52; ip rule add pref 100 table 52");
    block_on(async {
        let (_plan, mut events) = probing(nodes());
        assert_eq!(round(&mut events, 2).await, [""; 0]);
    });
}
