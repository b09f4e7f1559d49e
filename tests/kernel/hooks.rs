//! Every hook of the kernel with all traffic that has to get through: what another program's rules
//! really drop is reported, and nothing else; and the printed remedy, when run, restores it.

use std::io::{Read, Write};
use std::net::{SocketAddr, SocketAddrV6, TcpListener, TcpStream, UdpSocket};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use bramblegate::decide::firewall::{RulesetInput, TABLE, build};
use bramblegate::event::{Blocker, Traffic};
use bramblegate::reconcile::firewall::FirewallReconciler;
use bramblegate::watch::firewall::{FirewallWatch, blockers_now};

use crate::firewall::{home, load};
use crate::frame::Trial;
use crate::lab::{sh, trial};
use crate::packets::{HEAD, Lab, NODE, VENUE};

pub fn tests() -> Vec<Trial> {
    vec![
        trial("hooks::what_nft_drops_at_any_hook_is_named_and_its_remedy_helps", || play(&NFT)),
        trial("hooks::what_iptables_drops_is_named_and_its_remedy_helps", || play(&IPTABLES)),
        trial("hooks::what_a_port_or_arp_drops_is_named_and_its_remedy_helps", || play(&PORTS)),
        trial("hooks::what_the_nodes_and_the_head_send_is_named_by_kind", || play_kinds(&KINDS)),
        trial("hooks::what_ipv6_rules_drop_is_named_and_its_remedy_helps", ipv6),
        trial("hooks::what_drops_mdns_is_named_and_its_remedy_helps", mdns),
        trial("hooks::what_a_bridge_drops_is_named_and_its_remedy_helps", bridge),
    ]
}

/// Another program's rules, and what they drop.
struct Case {
    rules: &'static str,
    dropped: &'static [Traffic],
}

const fn case(rules: &'static str, dropped: &'static [Traffic]) -> Case {
    Case { rules, dropped }
}

use Traffic::{Addresses, BootFiles, Datagrams, Forwarding, Names, Neighbours, Own, Probes, Time};
const SSH: Traffic = Traffic::Venue { protocol: 6, port: 22 };
const PING: Traffic = Traffic::Venue { protocol: 1, port: 0 };
const SSH6: Traffic = Traffic::VenueIpv6 { protocol: 6, port: 22 };
const PING6: Traffic = Traffic::VenueIpv6 { protocol: 58, port: 0 };
const MDNS: Traffic = Traffic::Venue { protocol: 17, port: 5353 };
const MDNS6: Traffic = Traffic::VenueIpv6 { protocol: 17, port: 5353 };
/// The head's IPv6 address at its uplink.
const HEAD6: &str = "fd00:99::126";
const PORT: Traffic = Traffic::Port {
    protocol: 6,
    listen: 2201,
    to: std::net::IpAddr::V4(std::net::Ipv4Addr::new(192, 168, 50, 11)),
    port: 22,
};
const ALL: [Traffic; 9] = [Addresses, Names, BootFiles, Time, Probes, SSH, PING, PORT, Forwarding];

const NFT: [Case; 14] = [
    case(
        "nft 'add table inet strict; add chain inet strict i { type filter hook input priority 0; policy drop; };
              add rule inet strict i iif lo accept; add rule inet strict i ct state established,related accept'",
        &[Addresses, Names, BootFiles, Time, SSH, PING],
    ),
    case(
        "nft 'add table ip strict; add chain ip strict input { type filter hook input priority 5; policy drop; };
              add rule ip strict input tcp dport { 22, 80 } accept; add rule ip strict input udp dport 60-70 accept'",
        &[Names, Time, Probes, PING],
    ),
    case(
        "nft 'add table ip t; add chain ip t i { type filter hook input priority 0; }; add chain ip t names;
              add rule ip t i ip daddr 192.168.50.0/24 jump names; add rule ip t names udp dport 53 reject'",
        &[Names],
    ),
    case(
        "nft 'add table ip t; add chain ip t i { type filter hook input priority 0; }; add rule ip t i fib daddr type broadcast drop'",
        &[Addresses],
    ),
    case(
        "nft 'add table ip t; add chain ip t o { type filter hook output priority 0; policy drop; }; add rule ip t o oif lo accept'",
        &[Addresses, Names, BootFiles, Time, Probes, SSH, PING],
    ),
    case(
        "nft 'add table inet t; add chain inet t p { type filter hook prerouting priority raw; }; add rule inet t p iifname eth0 drop'",
        &[Addresses, Names, BootFiles, Time, Probes, PORT, Forwarding],
    ),
    case(
        "nft 'add table inet t; add chain inet t p { type filter hook prerouting priority mangle; policy drop; };
              add rule inet t p iif lo accept; add rule inet t p ct state established accept'",
        &[Addresses, Names, BootFiles, Time, SSH, PING, PORT, Forwarding],
    ),
    case(
        "nft 'add table ip t; add chain ip t p { type filter hook postrouting priority 0; }; add rule ip t p oifname \"eth0\" drop'",
        &[Addresses, Names, BootFiles, Time, Probes, PORT, Forwarding],
    ),
    case(
        "nft 'add table inet t; add chain inet t f { type filter hook forward priority 10; policy drop; }'",
        &[PORT, Forwarding],
    ),
    case(
        "nft 'add table ip t; add chain ip t n { type nat hook prerouting priority -110; }; add rule ip t n udp dport { 53, 123 } drop'",
        &[Names, Time],
    ),
    case(
        "nft 'add table ip t; add chain ip t o { type route hook output priority mangle; }; add rule ip t o udp sport 53 drop'",
        &[Names],
    ),
    // Chains without packets, chains that let some traffic through, and chains for other traffic
    // drop nothing.
    case("nft 'add table ip t { flags dormant; }; add chain ip t i { type filter hook input priority 0; policy drop; }'", &[]),
    case(
        "nft 'add table ip t; add chain ip t i { type filter hook input priority 0; policy drop; };
              add rule ip t i limit rate 1000/second burst 1000 packets accept'",
        &[],
    ),
    case(
        "nft 'add table ip t; add chain ip t i { type filter hook input priority 0; };
              add rule ip t i iifname docker0 drop; add rule ip t i ip saddr 192.168.50.77 drop; add rule ip t i tcp dport 53 drop'",
        &[],
    ),
];

const IPTABLES: [Case; 6] = [
    case(
        "iptables-nft -P INPUT DROP; iptables-nft -A INPUT -i lo -j ACCEPT
         iptables-nft -A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
         iptables-nft -A INPUT -m addrtype --dst-type BROADCAST -j RETURN",
        &[Addresses, Names, BootFiles, Time, SSH, PING],
    ),
    case("iptables-nft -t raw -A PREROUTING -i eth0 -p udp -m multiport --dports 53,69 -j DROP", &[Names, BootFiles]),
    case(
        "iptables-nft -N mine; iptables-nft -A INPUT -j mine; iptables-nft -A mine -p udp --dport 67 -j REJECT
         iptables-nft -A mine -p icmp --icmp-type echo-request -j DROP; iptables-nft -A mine -p tcp --syn -j DROP",
        &[Addresses, SSH, PING],
    ),
    case(
        "iptables-legacy -P INPUT DROP; iptables-legacy -A INPUT -i lo -j ACCEPT
         iptables-legacy -A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT",
        &[Addresses, Names, BootFiles, Time, SSH, PING],
    ),
    case(
        "iptables-legacy -t mangle -N mine; iptables-legacy -t mangle -A PREROUTING -i eth0 -g mine
         iptables-legacy -t mangle -A mine ! -s 10.0.0.0/8 -p udp --dport 53 -j DROP",
        &[Names],
    ),
    case("iptables-legacy -P FORWARD DROP", &[PORT, Forwarding]),
];

const PORTS: [Case; 6] = [
    case(
        "nft 'add table netdev t; add chain netdev t i { type filter hook ingress device eth0 priority 0; };
              add rule netdev t i udp dport 67 drop'",
        &[Addresses],
    ),
    case(
        "nft 'add table netdev t; add chain netdev t i { type filter hook ingress device eth1 priority 0; policy drop; };
              add rule netdev t i ether type arp accept'",
        &[SSH, PING, PORT, Forwarding],
    ),
    case(
        "nft 'add table netdev t; add chain netdev t e { type filter hook egress device eth0 priority 0; };
              add rule netdev t e udp sport 53 drop'",
        &[Names],
    ),
    case(
        "nft 'add table inet t; add chain inet t i { type filter hook ingress device eth0 priority 0; };
              add rule inet t i udp dport 53 drop'",
        &[Names],
    ),
    case(
        "nft 'add table arp t; add chain arp t i { type filter hook input priority 0; }; add rule arp t i iifname eth0 drop'",
        &[Neighbours],
    ),
    case(
        "nft 'add table arp t; add chain arp t o { type filter hook output priority 0; policy drop; }; add rule arp t o arp operation request accept'",
        &[Neighbours],
    ),
];

const KINDS: [Case; 13] = [
    // The gateway's table is of another family.
    case(
        "nft 'add table ip bramblegate; add chain ip bramblegate f { type filter hook forward priority 0; policy drop; }'",
        &[Forwarding, Datagrams],
    ),
    case(
        "nft 'add table ip t; add chain ip t f { type filter hook forward priority 0; }; add rule ip t f meta l4proto udp drop'",
        &[Datagrams],
    ),
    case(
        "nft 'add table inet t; add chain inet t f { type filter hook forward priority 0; policy drop; };
              add rule inet t f tcp dport 1-65535 accept; add rule inet t f tcp sport 1-65535 accept'",
        &[Datagrams],
    ),
    case("iptables-legacy -A FORWARD -o eth1 -p udp -j REJECT", &[Datagrams]),
    // The nodes' resolver is not the gateway's business.
    case(
        "nft 'add table ip t; add chain ip t f { type filter hook forward priority 0; }; add rule ip t f udp dport 5353 drop'",
        &[],
    ),
    case(
        "nft 'add table inet t; add chain inet t o { type filter hook output priority 0; policy drop; };
              add rule inet t o oifname { lo, eth0 } accept; add rule inet t o ct state established accept'",
        &[Own],
    ),
    case(
        "nft 'add table ip t; add chain ip t i { type filter hook input priority 0; policy drop; };
              add rule ip t i iifname { lo, eth0 } accept; add rule ip t i tcp dport 22 accept'",
        &[Own],
    ),
    case("iptables-nft -A OUTPUT -o eth1 -p udp --dport 53 -j DROP", &[Own]),
    case(
        "nft 'add table netdev t; add chain netdev t i { type filter hook ingress device eth1 priority 0; };
              add rule netdev t i ether type arp drop'",
        &[Own],
    ),
    case(
        "nft 'add table arp t; add chain arp t i { type filter hook input priority 0; }; add rule arp t i iifname eth1 drop'",
        &[Own],
    ),
    // Untracked packets are not translated.
    case(
        "nft 'add table ip t; add chain ip t p { type filter hook prerouting priority raw; }; add rule ip t p iifname eth0 notrack'",
        &[Forwarding, Datagrams],
    ),
    case("iptables-nft -t raw -A PREROUTING -i eth0 -p udp -j CT --notrack", &[Datagrams]),
    case("iptables-legacy -t raw -A PREROUTING -i eth0 -p tcp -j NOTRACK", &[Forwarding]),
];

const BY_IPV6: [Case; 9] = [
    // Neighbour discovery is not tracked.
    case(
        "nft 'add table ip6 t; add chain ip6 t i { type filter hook input priority 0; policy drop; };
              add rule ip6 t i iif lo accept; add rule ip6 t i ct state established,related accept'",
        &[SSH6, PING6],
    ),
    case(
        "nft 'add table inet t; add chain inet t i { type filter hook input priority 0; };
              add rule inet t i meta nfproto ipv6 tcp dport 22 reject'",
        &[SSH6],
    ),
    // By IPv4 too, and so reported once.
    case(
        "nft 'add table inet t; add chain inet t i { type filter hook input priority 0; policy drop; };
              add rule inet t i iifname { lo, eth0 } accept; add rule inet t i tcp dport 22 accept;
              add rule inet t i icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } accept'",
        &[PING, PING6],
    ),
    case(
        "nft 'add table ip6 t; add chain ip6 t o { type filter hook output priority 0; };
              add rule ip6 t o icmpv6 type nd-neighbor-advert drop'",
        &[SSH6, PING6],
    ),
    case("ip6tables-nft -A INPUT -p tcp --dport 22 -j DROP", &[SSH6]),
    case("ip6tables-legacy -P INPUT DROP; ip6tables-legacy -A INPUT -p icmpv6 -j ACCEPT", &[SSH6]),
    case(
        "ip6tables-legacy -N mine; ip6tables-legacy -A INPUT -i eth1 -g mine
         ip6tables-legacy -A mine -p icmpv6 --icmpv6-type echo-request -j REJECT",
        &[PING6],
    ),
    case(
        "ip6tables-legacy -P INPUT DROP; ip6tables-legacy -A INPUT -m conntrack --ctstate UNTRACKED -j ACCEPT
         ip6tables-legacy -A INPUT -p tcp --dport 22 -j ACCEPT
         ip6tables-legacy -A INPUT -p icmpv6 --icmpv6-type echo-request -j ACCEPT",
        &[],
    ),
    case(
        "ip6tables-legacy -A INPUT -s fd00:2::/32 -j DROP; ip6tables-legacy -A INPUT ! -d fe80::/10 ! -s fd00:99::/64 -j DROP
         nft 'add table ip6 t; add chain ip6 t i { type filter hook input priority 0; };
              add rule ip6 t i ip6 saddr fd00:1::/32 drop; add rule ip6 t i iifname eth0 drop; add rule ip6 t i tcp dport 80 drop'",
        &[],
    ),
];

/// A head that serves its node, with real programs.
struct Serving {
    lab: Lab,
    _sink: FirewallReconciler,
    dnsmasq: Child,
    folder: PathBuf,
}

impl Serving {
    /// `port` is the cluster's.
    fn new(lab: Lab, port: &str) -> Self {
        let mut reconciler = FirewallReconciler::new();
        let input = RulesetInput {
            cluster_port: Some(port.into()),
            uplinks: vec!["eth1".into()],
            dead: Vec::new(),
            ..home()
        };
        load(&mut reconciler, &build(&input), true);
        let folder = PathBuf::from(sh("mktemp -d").trim());
        std::fs::write(folder.join("file"), "boot").unwrap();
        let shown = folder.display();
        let mut dnsmasq = Command::new("dnsmasq");
        dnsmasq
            .args([
                "-k",
                "--conf-file=/dev/null",
                "--user=root",
                "--pid-file",
                "--no-ping",
                "--no-resolv",
                "--no-hosts",
            ])
            .args([
                "--bind-dynamic",
                "--except-interface=lo",
                "--log-facility=-",
                "--address=/head.example/192.168.50.1",
            ])
            .args([
                format!("--interface={port}"),
                "--dhcp-range=192.168.50.100,192.168.50.199,2m".into(),
            ])
            .args([
                "--enable-tftp".to_owned(),
                format!("--tftp-root={shown}"),
                format!("--dhcp-leasefile={shown}/leases"),
            ]);
        let dnsmasq = dnsmasq.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        echo(UdpSocket::bind("192.168.50.1:123").unwrap());
        greet(TcpListener::bind("0.0.0.0:22").unwrap());
        lab.node.run(|| greet(TcpListener::bind("0.0.0.0:22").unwrap())).join().unwrap();
        lab.venue.run(|| greet(TcpListener::bind("0.0.0.0:7").unwrap())).join().unwrap();
        lab.venue.run(|| echo(UdpSocket::bind("0.0.0.0:53").unwrap())).join().unwrap();
        let serving = Self { lab, _sink: reconciler, dnsmasq, folder };
        for _ in 0..100 {
            if serving.failing(&ALL).is_empty() {
                return serving;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        panic!("these do not work without anybody's rules: {:?}", serving.failing(&ALL));
    }

    /// Returns what does not work.
    fn failing(&self, all: &[Traffic]) -> Vec<Traffic> {
        // Neighbour entries, complete or failed, from under other rules must not count.
        sh("ip neigh flush dev eth1");
        self.lab.venue.sh("ip -6 neigh flush dev eth0");
        let tries: Vec<_> = all.iter().map(|traffic| (*traffic, self.works(*traffic))).collect();
        tries
            .into_iter()
            .filter_map(|(traffic, works)| (!works.join().unwrap()).then_some(traffic))
            .collect()
    }

    /// Tries the service like a user.
    fn works(&self, traffic: Traffic) -> std::thread::JoinHandle<bool> {
        let Lab { node, venue } = &self.lab;
        let ask =
            |to: &'static str, question: Vec<u8>| node.run(move || ask("0.0.0.0:0", to, &question));
        let ping = |to: &str| format!("ping -n -c 1 -W 0.4 {to}");
        match traffic {
            Addresses => node.run(ask_broadcast),
            Names => ask(
                "192.168.50.1:53",
                b"\0\x07\x01\0\0\x01\0\0\0\0\0\0\x04head\x07example\0\0\x01\0\x01".to_vec(),
            ),
            BootFiles => ask("192.168.50.1:69", b"\0\x01file\0octet\0".to_vec()),
            Time => ask("192.168.50.1:123", vec![0x23; 48]),
            Probes => {
                let command = ping(NODE);
                std::thread::spawn(move || crate::lab::try_sh(&command).0)
            }
            Neighbours => {
                let name = node.name().to_owned();
                std::thread::spawn(move || {
                    crate::lab::try_sh(&format!(
                        "ip netns exec {name} busybox arping -q -f -w 1 -I eth0 192.168.50.1"
                    ))
                    .0
                })
            }
            Traffic::Venue { protocol: 1, .. } => {
                let command = format!("ip netns exec {} {}", venue.name(), ping(HEAD));
                std::thread::spawn(move || crate::lab::try_sh(&command).0)
            }
            Traffic::VenueIpv6 { protocol: 58, .. } => {
                let command = format!("ip netns exec {} {}", venue.name(), ping(HEAD6));
                std::thread::spawn(move || crate::lab::try_sh(&command).0)
            }
            MDNS => venue.run(|| asked_mdns(false)),
            MDNS6 => venue.run(|| asked_mdns(true)),
            Traffic::VenueIpv6 { port, .. } => {
                venue.run(move || greeted(&format!("[{HEAD6}]"), port))
            }
            Traffic::Venue { port, .. } => venue.run(move || greeted(HEAD, port)),
            Traffic::Port { listen, .. } => venue.run(move || greeted(HEAD, listen)),
            Forwarding => node.run(|| greeted(VENUE, 7)),
            Datagrams => ask("10.99.0.1:53", b"?".to_vec()),
            Own => {
                let (tcp, udp) =
                    (|| greeted(VENUE, 7), || self::ask("0.0.0.0:0", "10.99.0.1:53", b"?"));
                std::thread::spawn(move || tcp() && udp())
            }
        }
    }

    fn play(&self, watch: &FirewallWatch, case: &Case, all: &[Traffic]) {
        let before = sh("nft list ruleset");
        sh(case.rules);
        assert_eq!(self.failing(all), case.dropped, "really dropped by {}", case.rules);
        let named = named(watch);
        let traffics: Vec<Traffic> = named.iter().map(|(traffic, _)| *traffic).collect();
        // Where no connection of the nodes gets out, one report covers everything.
        let logged = |traffic: &Traffic| match *traffic {
            Datagrams => case.dropped.contains(&Forwarding),
            PING6 => case.dropped.contains(&PING),
            SSH6 => case.dropped.contains(&SSH),
            MDNS6 => case.dropped.contains(&MDNS),
            _ => false,
        };
        let expected: Vec<Traffic> =
            case.dropped.iter().copied().filter(|traffic| !logged(traffic)).collect();
        assert_eq!(sorted(&traffics), sorted(&expected), "named: {named:?} of {}", case.rules);
        // A remedy may reveal the next chain.
        for _ in 0..6 {
            let mut commands: Vec<String> = Vec::new();
            for command in
                self::named(watch).iter().flat_map(|(_, blocker)| blocker.remedy.split("; "))
            {
                if !commands.iter().any(|known| known == command) {
                    commands.push(command.to_owned());
                }
            }
            commands
                .iter()
                .for_each(|command| drop(sh(&command.replace("tables ", "tables-nft "))));
        }
        assert_eq!(self::named(watch), [], "after the remedies of {}", case.rules);
        assert_eq!(self.failing(all), [], "after {named:?}");
        sh("for table in $(nft list tables | grep -v 'inet bramblegate' | cut -d' ' -f 2- | tr ' ' /); do
                nft delete table $(echo $table | tr / ' '); done
            for t in raw mangle nat filter; do iptables-legacy -t $t -F; iptables-legacy -t $t -X; done
            for c in INPUT FORWARD OUTPUT; do iptables-legacy -P $c ACCEPT; done
            ip6tables-legacy -F; ip6tables-legacy -X; ip6tables-legacy -P INPUT ACCEPT");
        assert_eq!(before.lines().count(), sh("nft list ruleset").lines().count());
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.dnsmasq.kill();
        let _ = self.dnsmasq.wait();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// Sends a byte to every client.
fn greet(listener: TcpListener) {
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let _ = stream.write_all(b"!");
        }
    });
}

/// Returns every datagram.
fn echo(socket: UdpSocket) {
    std::thread::spawn(move || {
        let mut bytes = [0; 64];
        while let Ok((length, from)) = socket.recv_from(&mut bytes) {
            let _ = socket.send_to(&bytes[..length], from);
        }
    });
}

const TIMEOUT: Duration = Duration::from_millis(400);

fn greeted(host: &str, port: u16) -> bool {
    let address: SocketAddr = format!("{host}:{port}").parse().unwrap();
    let Ok(mut stream) = TcpStream::connect_timeout(&address, TIMEOUT) else { return false };
    stream.set_read_timeout(Some(TIMEOUT)).unwrap();
    stream.read_exact(&mut [0]).is_ok()
}

fn ask(from: &str, to: &str, question: &[u8]) -> bool {
    let socket = UdpSocket::bind(from).unwrap();
    socket.set_broadcast(true).unwrap();
    socket.set_read_timeout(Some(TIMEOUT)).unwrap();
    socket.send_to(question, to).is_ok() && socket.recv_from(&mut [0; 600]).is_ok()
}

/// Returns a DHCPDISCOVER with the broadcast flag.
fn ask_broadcast() -> bool {
    let mut bytes = vec![1, 1, 6, 0, 1, 2, 3, 4, 0, 0, 0x80, 0];
    bytes.resize(28, 0);
    bytes.extend([2, 0, 0, 0, 0, 0x77]);
    bytes.resize(236, 0);
    bytes.extend([99, 130, 83, 99, 53, 1, 1, 255]);
    bytes.resize(300, 0);
    ask("0.0.0.0:68", "255.255.255.255:67", &bytes)
}

fn sorted(traffics: &[Traffic]) -> Vec<Traffic> {
    let mut traffics = traffics.to_vec();
    traffics.sort();
    traffics
}

/// Returns what is reported, including forwarded traffic.
fn named(watch: &FirewallWatch) -> Vec<(Traffic, Blocker)> {
    let found = blockers_now(watch).unwrap();
    assert_eq!(found.spare, []);
    found.egress.map(|blocker| (Forwarding, blocker)).into_iter().chain(found.traffic).collect()
}

fn watch() -> FirewallWatch {
    FirewallWatch {
        table: TABLE,
        cluster_port: Some("eth0".into()),
        cluster_networks: vec!["192.168.50.0/24".parse().unwrap()],
        head: Some("192.168.50.1/24".parse().unwrap()),
        uplinks: vec!["eth1".into()],
        traffic: vec![Neighbours, Addresses, Names, BootFiles, Time, Probes, SSH, PING, PORT],
        ..FirewallWatch::default()
    }
}

fn play(cases: &[Case]) {
    let serving = Serving::new(Lab::new(), "eth0");
    for case in cases {
        let arp = case.dropped.contains(&Neighbours);
        serving.play(&watch(), case, if arp { &[Neighbours] } else { &ALL });
    }
}

fn play_kinds(cases: &[Case]) {
    let serving = Serving::new(Lab::new(), "eth0");
    let watch = FirewallWatch { traffic: vec![Datagrams, Own], ..watch() };
    for case in cases {
        // Without ARP nothing gets through, and the report about the head's own ARP covers it.
        let arp = case.rules.contains("arp");
        serving.play(&watch, case, if arp { &[Own] } else { &[Forwarding, Datagrams, Own] });
    }
}

fn ipv6() {
    let lab = Lab::new();
    sh(&format!("ip addr add {HEAD6}/64 dev eth1 nodad"));
    lab.venue.sh("ip addr add fd00:99::1/64 dev eth0 nodad");
    let serving = Serving::new(lab, "eth0");
    greet(TcpListener::bind(format!("[{HEAD6}]:22")).unwrap());
    let watch = FirewallWatch { ipv6_uplinks: vec!["eth1".into()], ..watch() };
    assert_eq!(serving.failing(&[SSH6, PING6]), []);
    for case in &BY_IPV6 {
        serving.play(&watch, case, &[SSH, PING, SSH6, PING6]);
    }
}

const MDNS_CASES: [Case; 10] = [
    // An answer to the group belongs to no connection.
    case(
        "nft 'add table inet t; add chain inet t i { type filter hook input priority 0; policy drop; };
              add rule inet t i iif lo accept; add rule inet t i ct state established,related accept;
              add rule inet t i icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } accept'",
        &[MDNS, MDNS6],
    ),
    case(
        "nft 'add table ip t; add chain ip t i { type filter hook input priority 0; };
              add rule ip t i fib daddr type multicast drop'",
        &[MDNS],
    ),
    case(
        "nft 'add table ip t; add chain ip t o { type filter hook output priority 0; };
              add rule ip t o ip daddr 224.0.0.0/24 udp dport 5353 reject'",
        &[MDNS],
    ),
    case(
        "nft 'add table ip6 t; add chain ip6 t i { type filter hook input priority 0; };
              add rule ip6 t i udp dport 5353 drop'",
        &[MDNS6],
    ),
    case(
        "nft 'add table inet t; add chain inet t p { type filter hook prerouting priority raw; };
              add rule inet t p ip6 daddr ff02::fb drop'",
        &[MDNS6],
    ),
    case(
        "nft 'add table ip6 t; add chain ip6 t o { type filter hook postrouting priority 0; };
              add rule ip6 t o oifname eth1 udp sport 5353 drop'",
        &[MDNS6],
    ),
    case("ip6tables-nft -A OUTPUT -d ff02::fb -j DROP", &[MDNS6]),
    case("ip6tables-legacy -A INPUT -p udp --dport 5353 -j DROP", &[MDNS6]),
    case("iptables-legacy -A INPUT -d 224.0.0.0/4 -j DROP", &[MDNS]),
    // Accepted like by ufw, and what is for other groups and ports.
    case(
        "nft 'add table inet t; add chain inet t i { type filter hook input priority 0; policy drop; };
              add rule inet t i iif lo accept; add rule inet t i ip daddr 224.0.0.251 udp dport 5353 accept;
              add rule inet t i ip6 daddr ff02::fb udp dport 5353 accept'
         nft 'add table ip6 u; add chain ip6 u i { type filter hook input priority 0; };
              add rule ip6 u i ip6 daddr ff02::1:3 drop; add rule ip6 u i udp dport 5355 drop'",
        &[],
    ),
];

/// Sends a query to the group through the interface eth0, and waits for the head's answer.
fn asked_mdns(ipv6: bool) -> bool {
    let (socket, group) = group_member(ipv6, "eth0");
    socket.set_read_timeout(Some(TIMEOUT)).unwrap();
    if socket.send_to(b"?", group).is_err() {
        return false;
    }
    let mut bytes = [0];
    // It receives its own query too.
    while let Ok((length, _)) = socket.recv_from(&mut bytes) {
        if bytes[..length] == *b"!" {
            return true;
        }
    }
    false
}

/// Returns a socket that receives the group of multicast DNS at this port, and the group's address.
fn group_member(ipv6: bool, port: &str) -> (UdpSocket, SocketAddr) {
    if ipv6 {
        let index = sh(&format!("ip -o link show dev {port} | cut -d: -f1"));
        let index = index.trim().parse().unwrap();
        let group = SocketAddrV6::new("ff02::fb".parse().unwrap(), 5353, 0, index);
        let socket = UdpSocket::bind(group).unwrap();
        socket.join_multicast_v6(group.ip(), index).unwrap();
        (socket, group.into())
    } else {
        let address = if port == "eth1" { HEAD } else { VENUE };
        let socket = UdpSocket::bind("0.0.0.0:5353").unwrap();
        let group = "224.0.0.251".parse().unwrap();
        socket.join_multicast_v4(&group, &address.parse().unwrap()).unwrap();
        (socket, (group, 5353).into())
    }
}

/// Answers each query to the group.
fn respond(ipv6: bool) {
    let (socket, group) = group_member(ipv6, "eth1");
    std::thread::spawn(move || {
        let mut bytes = [0];
        while let Ok((length, _)) = socket.recv_from(&mut bytes) {
            if bytes[..length] == *b"?" {
                let _ = socket.send_to(b"!", group);
            }
        }
    });
}

fn mdns() {
    let lab = Lab::new();
    sh(&format!("ip addr add {HEAD6}/64 dev eth1 nodad; ip route add 224.0.0.0/4 dev eth1"));
    lab.venue.sh("ip addr add fd00:99::1/64 dev eth0 nodad; ip route add 224.0.0.0/4 dev eth0");
    let serving = Serving::new(lab, "eth0");
    respond(false);
    respond(true);
    let watch = FirewallWatch { ipv6_uplinks: vec!["eth1".into()], traffic: vec![MDNS], ..watch() };
    assert_eq!(serving.failing(&[MDNS, MDNS6]), []);
    for case in &MDNS_CASES {
        serving.play(&watch, case, &[MDNS, MDNS6]);
    }
}

fn bridge() {
    let lab = Lab::new();
    sh("ip link add br0 type bridge; ip addr flush dev eth0; ip link set eth0 master br0
        ip addr add 192.168.50.1/24 dev br0; ip link set br0 up");
    let serving = Serving::new(lab, "br0");
    let watch = FirewallWatch { cluster_port: Some("br0".into()), bridge: true, ..watch() };
    let cases = [
        case(
            "nft 'add table bridge t; add chain bridge t i { type filter hook input priority 0; }; add rule bridge t i udp dport 53 drop'",
            &[Names],
        ),
        case(
            "nft 'add table bridge t; add chain bridge t p { type filter hook prerouting priority 0; policy drop; };
                  add rule bridge t p ether type arp accept'",
            &[Addresses, Names, BootFiles, Time, Probes, PORT, Forwarding],
        ),
        case(
            "nft 'add table bridge t; add chain bridge t o { type filter hook output priority 0; };
                  add rule bridge t o ip protocol udp drop'",
            &[Addresses, Names, BootFiles, Time],
        ),
    ];
    for case in cases {
        serving.play(&watch, &case, &ALL);
    }
}
