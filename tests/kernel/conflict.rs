//! Another board with the head's own address; and a time server that listens but does not serve.

use std::net::UdpSocket;
use std::time::Duration;

use bramblegate::event::{Conflict, Event, Mac, Vital};
use bramblegate::watch::host::ntp::{TimeAnswer, ask};
use bramblegate::watch::link::conflict::{ConflictPlan, ConflictPort, run};
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;

use crate::frame::Trial;
use crate::lab::{Namespace, sh, trial};
use crate::links::index_of;
use crate::netlink::block_on_within;

pub fn tests() -> Vec<Trial> {
    vec![
        trial("conflict::a_board_with_the_heads_address_is_named_until_it_is_gone", board),
        trial("conflict::a_second_port_of_ours_in_the_same_network_is_ours", own_port),
        trial("conflict::a_time_server_that_listens_is_asked", time),
    ]
}

fn conflicts(event: Option<Event>) -> Vec<Conflict> {
    match event {
        Some(Event::Vital(Vital::Conflicts(conflicts))) => conflicts,
        other => panic!("{other:?}"),
    }
}

fn plan() -> ConflictPlan {
    let mac = "02:00:00:00:00:01".parse().unwrap();
    let addresses = vec!["192.168.50.1".parse().unwrap()];
    ConflictPlan {
        ports: vec![ConflictPort { index: index_of("eth0"), mac, addresses }],
        own: vec![mac],
    }
}

fn board() {
    let far = Namespace::new("far");
    sh(&format!(
        "ip link add eth0 address 02:00:00:00:00:01 type veth peer name far address 02:00:00:00:00:09 netns {}
         ip addr add 192.168.50.1/24 dev eth0; ip link set eth0 up",
        far.name()
    ));
    far.sh("ip link set far up; ip addr add 192.168.50.2/24 dev far");
    block_on_within(Duration::from_secs(40), async {
        let (sender, mut events) = mpsc::channel(16);
        let (_keep, wanted) = watch::channel(plan());
        tokio::spawn(run(wanted, sender));
        // A board with another address does not reveal it, whatever it asks for.
        far.sh("busybox arping -q -c 2 -w 2 -I far 192.168.50.1");
        assert!(timeout(Duration::from_millis(500), events.recv()).await.is_err());
        // Its own ARP requests for other addresses reveal its address at once.
        far.sh("ip addr add 192.168.50.1/24 dev far; busybox arping -q -c 1 -w 1 -s 192.168.50.1 -I far 192.168.50.77 || true");
        let by = "02:00:00:00:00:09".parse().unwrap();
        let taken =
            vec![Conflict { port: index_of("eth0"), address: "192.168.50.1".parse().unwrap(), by }];
        assert_eq!(conflicts(timeout(Duration::from_secs(2), events.recv()).await.unwrap()), taken);
        // The gateway probes the address periodically, and the board answers.
        assert!(timeout(Duration::from_secs(7), events.recv()).await.is_err(), "it is still there");
        far.sh("ip addr del 192.168.50.1/24 dev far");
        assert_eq!(conflicts(timeout(Duration::from_secs(18), events.recv()).await.unwrap()), []);
    });
}

fn own_port() {
    sh("ip link add switch type bridge; ip link set switch up
        ip link add eth0 address 02:00:00:00:00:01 type veth peer name sw0; ip link set sw0 up master switch
        ip link add eth1 address 02:00:00:00:00:02 type veth peer name sw1; ip link set sw1 up master switch
        ip link set eth0 up; ip link set eth1 up; ip addr add 192.168.50.1/24 dev eth0; ip addr add 10.0.0.1/24 dev eth1
        sysctl -qw net.ipv4.conf.eth1.proxy_arp=1");
    block_on_within(Duration::from_secs(10), async {
        let (sender, mut events) = mpsc::channel(16);
        let mut plan = plan();
        let listing = sh("ip -o link");
        let macs = listing
            .split("link/ether ")
            .skip(1)
            .filter_map(|rest| rest.split(' ').next()?.parse::<Mac>().ok());
        plan.own.extend(macs);
        let (_keep, wanted) = watch::channel(plan);
        tokio::spawn(run(wanted, sender));
        // eth1 answers for it, as an interface of Linux does.
        assert!(timeout(Duration::from_secs(4), events.recv()).await.is_err());
    });
}

fn time() {
    sh("ip addr add 192.168.50.1/32 dev lo");
    let head = "192.168.50.1".parse().unwrap();
    block_on_within(Duration::from_secs(20), async {
        assert_eq!(ask("192.168.50.2".parse().unwrap()).await, TimeAnswer::NoAddress);
        assert_eq!(ask(head).await, TimeAnswer::Silent, "no server listens");
        let server = UdpSocket::bind("0.0.0.0:123").unwrap();
        assert_eq!(
            ask(head).await,
            TimeAnswer::Silent,
            "a server that listens may refuse to answer"
        );
        let mut waiting = [0; 64];
        for _ in 0..3 {
            server.recv_from(&mut waiting).unwrap();
        }
        for (first, stratum, expected) in
            [(0x24, 10, TimeAnswer::Serves), (0xe4, 0, TimeAnswer::Unsynchronised)]
        {
            let server = server.try_clone().unwrap();
            let answering = std::thread::spawn(move || {
                let mut question = [0; 48];
                let (_, from) = server.recv_from(&mut question).unwrap();
                let mut answer = [0; 48];
                (answer[0], answer[1]) = (first, stratum);
                answer[24..32].copy_from_slice(&question[40..]);
                server.send_to(&answer, from).unwrap();
            });
            assert_eq!(ask(head).await, expected);
            answering.join().unwrap();
        }
    });
}
