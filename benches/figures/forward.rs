//! Forwarding from a node to the venue, with the gateway's rules and with other rule sets: bulk
//! TCP, small packets, new connections. Each candidate has networks of its own; they take turns in
//! short bursts.

use std::io::Read;
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use bramblegate::decide::firewall::{ClusterIpv6, RulesetInput, build};
use bramblegate::reconcile::firewall::FirewallReconciler;
use bramblegate_lab::shell::feed;
use bramblegate_lab::{Error, Result};

use crate::lab::{self, Namespace, VENUE_6, fail, median, paired};
use crate::table::Row;
use crate::traffic::{BURST, SHORT, Traffic, VENUE};

const ROUNDS: usize = 21;

/// The rules that a careful administrator would write for the same purpose.
const BY_HAND: &str = r#"
table inet hand {
	chain forward {
		type filter hook forward priority filter; policy accept;
		ct state established,related accept
		ct state invalid iifname "eth0" drop
		ct state invalid oifname "eth0" drop
		meta nfproto ipv6 iifname "eth0" drop
		meta nfproto ipv6 oifname "eth0" drop
		iifname "eth0" oifname "eth1" ip saddr 192.168.50.0/24 tcp flags syn tcp option maxseg size set rt mtu
		iifname "eth0" oifname "eth1" ip saddr 192.168.50.0/24 accept
		iifname "eth0" oifname "eth1" drop
		iifname "eth1" oifname "eth0" drop
	}
	chain input {
		type filter hook input priority filter; policy accept;
		iifname != "eth1" accept
		ct state established,related accept
		tcp dport 22 accept
		icmp type echo-request accept
		udp dport { 68, 5353 } accept
		drop
	}
	chain postrouting {
		type nat hook postrouting priority srcnat; policy accept;
		oifname "eth1" ip saddr 192.168.50.0/24 masquerade
	}
}
"#;

const BARE: &str = "table ip bare {\n\tchain postrouting {\n\t\ttype nat hook postrouting priority srcnat;\n\
                    \t\toifname \"eth1\" masquerade\n\t}\n}\n";

const IPTABLES: &str = "*nat\n:PREROUTING ACCEPT\n:INPUT ACCEPT\n:OUTPUT ACCEPT\n:POSTROUTING ACCEPT\n\
                        -A POSTROUTING -o eth1 -j MASQUERADE\nCOMMIT\n*filter\n:INPUT ACCEPT\n:FORWARD ACCEPT\n:OUTPUT ACCEPT\n\
                        -A FORWARD -i eth1 -o eth0 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT\n\
                        -A FORWARD -i eth0 -o eth1 -j ACCEPT\nCOMMIT\n";

/// A rule set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Ours,
    /// The gateway's, with IPv6.
    Nat66,
    ByHand,
    Bare,
    /// The same with IPv6.
    Bare66,
    Iptables(&'static str),
    None,
}

impl Way {
    fn is_ipv6(self) -> bool {
        matches!(self, Self::Nat66 | Self::Bare66)
    }
}

const WAYS: [(Way, &str); 6] = [
    (Way::Ours, "ours"),
    (Way::ByHand, "nft by hand, the same"),
    (Way::Bare, "a bare masquerade"),
    (Way::Iptables("iptables-nft-restore"), "iptables-nft"),
    (Way::Iptables("iptables-legacy-restore"), "iptables-legacy"),
    (Way::None, "no rules, routed"),
];

/// A node, a head with rules, a venue.
struct Net {
    name: &'static str,
    way: Way,
    _head: Namespace,
    _sink: Option<FirewallReconciler>,
    traffic: Traffic,
}

const MEASURES: [(&str, f64, &str); 3] =
    [("TCP, bulk", 1e9, "Gbit/s"), ("small packets", 1e3, "k/s"), ("new connections", 1e3, "k/s")];

/// The results of one candidate: TCP bits a second, packets a second, connections a second.
type Samples = [Vec<f64>; 3];

/// NAT of IPv6 compared with that of IPv4, by the same rule set; and by a single rule, which is the
/// maximum that any rule set can reach.
pub fn nat66() -> Result<Vec<Row>> {
    let ways = [
        (Way::Nat66, "NAT66"),
        (Way::Ours, "NAT44"),
        (Way::Bare66, "a bare masquerade of IPv6"),
        (Way::Bare, "a bare masquerade of IPv4"),
    ];
    let nets = ways.into_iter().enumerate();
    let mut nets = nets
        .map(|(index, (way, name))| Net::build(index, way, name))
        .collect::<Result<Vec<_>>>()?;
    let samples = in_turn(&mut nets)?;
    let rows = |(measure, (name, scale, unit)): (usize, (&str, f64, &'static str))| {
        let value = |net: usize| median(&samples[net][measure]) / scale;
        let ratio = |net: usize| paired(&samples[net][measure], &samples[net + 1][measure]);
        let ours = Row::new(format!("NAT66, {name}"), value(0), unit)
            .against("NAT44", value(1))
            .ratio(ratio(0))
            .target(">= 0.97x", ratio(0) >= 0.97);
        let bare = Row::new(format!("a bare masquerade of IPv6, {name}"), value(2), unit)
            .against(nets[3].name, value(3))
            .ratio(ratio(2));
        [ours, bare]
    };
    Ok(MEASURES.into_iter().enumerate().flat_map(rows).collect())
}

/// Measures each candidate in short bursts, in turn.
fn in_turn(nets: &mut [Net]) -> Result<Vec<Samples>> {
    let mut samples: Vec<Samples> = nets.iter().map(|_| Samples::default()).collect();
    for round in 0..ROUNDS {
        // Varies the order within a round.
        for step in 0..nets.len() {
            let place = (round + step) % nets.len();
            let (net, samples) = (&mut nets[place], &mut samples[place]);
            samples[0].push(net.traffic.up()?);
            samples[1].push(net.traffic.packets()?);
            samples[2].push(net.connections()?);
        }
    }
    Ok(samples)
}

pub fn measure() -> Result<Vec<Row>> {
    let mut nets = Vec::new();
    let mut absent = Vec::new();
    for (index, (way, name)) in WAYS.into_iter().enumerate() {
        match Net::build(index, way, name) {
            Ok(net) => nets.push(net),
            // Not every kernel has iptables-legacy.
            Err(error) if matches!(way, Way::Iptables(_)) => {
                absent.push(format!("{name}: {error}"))
            }
            Err(error) => return Err(error),
        }
    }
    for reason in absent {
        eprint!("(without {}) ", reason.lines().next().unwrap_or_default());
    }
    let samples = in_turn(&mut nets)?;
    let mut rows = Vec::new();
    for (measure, (name, scale, unit)) in MEASURES.into_iter().enumerate() {
        let value = |net: usize| median(&samples[net][measure]) / scale;
        let plain = nets.iter().position(|net| net.way == Way::None);
        for (place, net) in
            nets.iter().enumerate().filter(|(_, net)| !matches!(net.way, Way::Ours | Way::None))
        {
            let ratio = paired(&samples[0][measure], &samples[place][measure]);
            let figure = format!("forwarding, {name}");
            let mut row =
                Row::new(figure, value(0), unit).against(net.name, value(place)).ratio(ratio);
            if net.way == Way::ByHand {
                row = row.target(">= 0.97x", ratio >= 0.97);
            }
            if let Some(plain) = plain.filter(|_| place == 1) {
                row = row.limit("no rules", value(plain));
            }
            rows.push(row);
        }
    }
    Ok(rows)
}

impl Net {
    fn build(index: usize, way: Way, name: &'static str) -> Result<Self> {
        let [node, head, venue] = lab::way(index)?;
        head.ip("addr add 10.60.0.2/24 dev eth1")?;
        venue.ip("addr add 10.60.0.1/24 dev v0\nroute add 192.168.50.0/24 via 10.60.0.2")?;
        let at = if way.is_ipv6() {
            lab::add_ipv6(&node, &head, &venue)?;
            VENUE_6
        } else {
            VENUE
        };
        node.sh("sysctl -qw net.ipv4.ip_local_port_range='1024 65000'")?;
        let reconciler = load(way, &head)?;
        let traffic = Traffic::new(name, node, venue, at)?;
        Ok(Self { name, way, _head: head, _sink: reconciler, traffic })
    }

    /// Returns the connections made and reset in a second.
    fn connections(&self) -> Result<f64> {
        let at = self.traffic.at;
        let rate = self.traffic.node.on(move || -> std::io::Result<f64> {
            let begin = Instant::now();
            let mut count = 0.0;
            while begin.elapsed() < BURST {
                let mut stream = TcpStream::connect(SocketAddr::from((at, SHORT)))?;
                // No faster than they are accepted: a full backlog would delay one for a second.
                stream.read_exact(&mut [0])?;
                socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO))?;
                count += 1.0;
            }
            Ok(count / begin.elapsed().as_secs_f64())
        })?;
        rate.map_err(fail(self.name))
    }
}

fn load(way: Way, head: &Namespace) -> Result<Option<FirewallReconciler>> {
    match way {
        Way::Ours | Way::Nat66 => {
            let ipv6 =
                (way == Way::Nat66).then(|| "fd12::/64".parse::<ipnet::Ipv6Net>()).transpose();
            let network = "192.168.50.1/24".parse().map_err(fail("an address"))?;
            let input = RulesetInput {
                cluster_port: Some("eth0".into()),
                cluster_networks: vec![network],
                ipv6: ipv6
                    .map_err(fail("a network"))?
                    .map(|network| ClusterIpv6 { network, for_us_alone: true }),
                uplinks: vec!["eth1".into()],
                allow: vec![bramblegate::config::Allow::Ssh, bramblegate::config::Allow::Icmp],
                flow_table_devices: vec!["eth0".into(), "eth1".into()],
                ..RulesetInput::default()
            };
            head.on(move || {
                let mut reconciler = FirewallReconciler::new();
                reconciler
                    .load(&build(&input), true)
                    .map(|_| Some(reconciler))
                    .map_err(|error| Error(bramblegate::event::ApplyError::from(error).message))
            })?
        }
        Way::ByHand => head.nft(BY_HAND).map(|()| None),
        Way::Bare => head.nft(BARE).map(|()| None),
        Way::Bare66 => head.nft(&BARE.replace("table ip ", "table ip6 ")).map(|()| None),
        Way::Iptables(program) => {
            feed("ip", &["netns", "exec", &head.0, program], IPTABLES).map(|_| None)
        }
        Way::None => Ok(None),
    }
}
