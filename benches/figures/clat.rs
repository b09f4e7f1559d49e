//! IPv4 of a node over an uplink that has only IPv6: Bramblegate's translator, by BPF and by a TUN
//! device alone; tayga; and the kernel, where the uplink has IPv4. The server itself has the
//! address behind the prefix, so no NAT64 distorts the result. With the offloads of all interfaces,
//! and without. Each candidate has networks of its own; they take turns in short bursts.
//!
//! As many senders as processors send small packets. The kernel forwards on the sender's processor,
//! so a single sender would leave the others free for a translator in a process of its own.
//!
//! The limit is the kernel's own masquerading of IPv6: the server's packets are IPv6 there too,
//! which costs it and the head more than IPv4.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use bramblegate_lab::shell::{Running, spawn, within};
use bramblegate_lab::{Error, Result};
use rustix::time::{ClockId, clock_gettime};

use crate::lab::{self, Namespace, VENUE_6, fail, file, median, paired, program, used, write};
use crate::table::Row;
use crate::traffic::{Traffic, VENUE};

const ROUNDS: usize = 21;
/// The NAT64 prefix of the server: 10.60.0.1 is in the last four octets.
const PREFIX: &str = "2001:db8:9::/96";
const SERVER: &str = "2001:db8:9::a3c:1";
const OWN: &str = "2001:db8:64::464";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Bpf,
    Tun,
    Tayga,
    Masquerade,
    /// IPv6 end to end.
    Masquerade66,
}

/// The candidates, with their names.
const WAYS: [(Way, &str); 5] = [
    (Way::Bpf, "BPF"),
    (Way::Tun, "TUN alone"),
    (Way::Tayga, "tayga"),
    (Way::Masquerade, "the kernel's masquerade"),
    (Way::Masquerade66, "the same of IPv6"),
];

/// The results: TCP throughput up and down in bits a second, packets a second, CPU seconds per Gbit
/// of both directions and per delivered packet, the sender's included.
type Samples = [Vec<f64>; 5];
const MEASURES: [(&str, f64, &str); 5] = [
    ("TCP up", 1e9, "Gbit/s"),
    ("TCP down", 1e9, "Gbit/s"),
    ("small packets", 1e3, "k/s"),
    ("CPU", 1.0, "s/Gbit"),
    ("CPU a small packet", 1e-6, "µs"),
];

struct Net {
    traffic: Traffic,
    head: Namespace,
    translator: Option<Running>,
}

pub fn measure() -> Result<Vec<Row>> {
    let mut nets = Vec::new();
    for (index, (way, name)) in WAYS.into_iter().enumerate() {
        nets.push(Net::build(index, way, name)?);
    }
    let mut rows = Vec::new();
    for (offloads, title) in [("on", "CLAT"), ("off", "CLAT without offloads")] {
        for net in &nets {
            net.set_offloads(offloads)?;
        }
        let mut samples: Vec<Samples> = nets.iter().map(|_| Samples::default()).collect();
        for round in 0..ROUNDS {
            // Varies the order within a round.
            for step in 0..nets.len() {
                let place = (round + step) % nets.len();
                nets[place].sample(&mut samples[place])?;
            }
        }
        rows.extend(table(title, &samples));
    }
    Ok(rows)
}

/// The rows of one run, with the targets of the issue.
fn table(title: &str, samples: &[Samples]) -> Vec<Row> {
    let mut rows = Vec::new();
    for (measure, (name, scale, unit)) in MEASURES.into_iter().enumerate() {
        let value = |way: Way| {
            let place = WAYS.iter().position(|(other, _)| *other == way).unwrap_or(0);
            (&samples[place][measure], median(&samples[place][measure]) / scale)
        };
        let bulk = measure < 2;
        for (ours, theirs, least) in [
            (Way::Bpf, Way::Masquerade, [0.95, 0.8, 1.2]),
            (Way::Bpf, Way::Tayga, [6.0, 1.2, 1.0]),
            (Way::Tun, Way::Masquerade, [0.65, 0.0, 0.0]),
        ] {
            let name_of = |way| WAYS.iter().find(|(other, _)| *other == way).map_or("", |w| w.1);
            let ((our_samples, our_value), (their_samples, their_value)) =
                (value(ours), value(theirs));
            let ratio = paired(our_samples, their_samples);
            let figure = format!("{title}, {name}, {}", name_of(ours));
            let row = Row::new(figure, our_value, unit)
                .against(name_of(theirs), their_value)
                .ratio(ratio);
            let row = if theirs == Way::Masquerade {
                row.limit(name_of(Way::Masquerade66), value(Way::Masquerade66).1)
            } else {
                row
            };
            let target = match (bulk, measure, least) {
                (true, _, [least, ..]) => Some((least, ratio >= least, ">=")),
                (_, 2, [_, least, _]) if least > 0.0 => Some((least, ratio >= least, ">=")),
                (_, 3, [.., most]) if most > 0.0 => Some((most, ratio <= most, "<=")),
                _ => None,
            };
            rows.push(match target {
                Some((limit, met, sign)) => row.target(format!("{sign} {limit}x"), met),
                None => row,
            });
        }
    }
    rows
}

impl Net {
    fn build(index: usize, way: Way, name: &'static str) -> Result<Self> {
        let [node, head, venue] = lab::way(index)?;
        let (family, uplink) = match way {
            Way::Masquerade => ("ip", "eth1"),
            Way::Masquerade66 => ("ip6", "eth1"),
            _ => ("ip", "clat0"),
        };
        head.nft(&format!(
            "table {family} bare {{\n\tchain post {{ type nat hook postrouting priority srcnat; \
             oifname \"{uplink}\" masquerade; }}\n\tchain forward {{ type filter hook forward \
             priority 0; tcp flags syn tcp option maxseg size set rt mtu; }}\n}}\n"
        ))?;
        let mut at = VENUE;
        let translator = if way == Way::Masquerade66 {
            lab::add_ipv6(&node, &head, &venue)?;
            at = VENUE_6;
            None
        } else if way == Way::Masquerade {
            head.ip("addr add 10.60.0.2/24 dev eth1")?;
            venue.ip("addr add 10.60.0.1/24 dev v0")?;
            None
        } else {
            head.ip("addr add 2001:db8:64::2/64 dev eth1 nodad\n\
                 route add ::/0 via 2001:db8:64::1 dev eth1")?;
            venue.ip(&format!(
                "addr add 2001:db8:64::1/64 dev v0 nodad\naddr add {SERVER}/128 dev v0 nodad"
            ))?;
            Some(translate(way, &head, index)?)
        };
        wait_for_way(&node, at)?;
        let traffic = Traffic::new(name, node, venue, at)?;
        Ok(Self { traffic, head, translator })
    }

    fn set_offloads(&self, on: &str) -> Result<()> {
        let all = format!("tx {on} tso {on} gso {on} gro {on}");
        for (namespace, port) in [
            (&self.traffic.node, "e0"),
            (&self.head, "eth0"),
            (&self.head, "eth1"),
            (&self.traffic.venue, "v0"),
        ] {
            namespace.sh(&format!("ethtool -K {port} {all}"))?;
        }
        Ok(())
    }

    fn sample(&mut self, samples: &mut Samples) -> Result<()> {
        let (cpu, bits) = (self.cpu()?, self.traffic.bits());
        samples[0].push(self.traffic.up()?);
        samples[1].push(self.traffic.down()?);
        let (cpu, bits) = (self.cpu()? - cpu, self.traffic.bits() - bits);
        samples[3].push(cpu.as_secs_f64() / bits * 1e9);
        let senders = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let before = self.cpu()?;
        let (rate, arrived) = self.traffic.packets_of(senders.try_into().unwrap_or(u16::MAX))?;
        samples[2].push(rate);
        samples[4].push((self.cpu()? - before).as_secs_f64() / arrived);
        Ok(())
    }

    /// Returns the processor time of this process, which sends and receives and in which most
    /// forwarding runs as soft interrupts, and of the translator.
    fn cpu(&self) -> Result<Duration> {
        let own = clock_gettime(ClockId::ProcessCPUTime);
        let own = Duration::new(own.tv_sec as u64, own.tv_nsec as u32);
        let theirs = self.translator.as_ref().map(|running| used(running.id())).transpose()?;
        Ok(own + theirs.map_or(Duration::ZERO, |used| used.cpu))
    }
}

/// Starts a translator in a head: tayga by its manual, with the routes that it leaves to the
/// administrator.
fn translate(way: Way, head: &Namespace, index: usize) -> Result<Running> {
    let log = file(&format!("clat{index}.log"));
    if way != Way::Tayga {
        let mode = if way == Way::Bpf { "bpf" } else { "tun" };
        // With the rights of its unit only: the kernel adds speculation barriers to BPF programs of
        // less privileged loaders.
        let rights = "-all,+net_admin,+bpf";
        let mut command = within(&head.0, "setpriv");
        command.args(["--inh-caps", rights, "--ambient-caps", rights, "--bounding-set", rights]);
        command.arg("--no-new-privs").arg(program().with_file_name("bramblegate-clat"));
        command.args(["--uplink", "eth1", "--prefix", PREFIX, "--address", OWN, "--mode", mode]);
        return spawn(&mut command, &log);
    }
    let text = format!(
        "tun-device clat0\nipv4-addr 192.0.0.2\nipv6-addr 2001:db8:64::6464\nprefix {PREFIX}\n\
         map 192.0.0.1 {OWN}\n"
    );
    let settings = write(&format!("tayga{index}.conf"), &text)?;
    let running = spawn(within(&head.0, "tayga").arg("-n").arg("-c").arg(settings), &log)?;
    let patience = Instant::now() + Duration::from_secs(5);
    while head.sh("ip link show clat0").is_err() {
        if Instant::now() > patience {
            return Err(Error("tayga made no device".into()));
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    head.sh("sysctl -qw net.ipv6.conf.all.forwarding=1 net.ipv6.conf.eth1.proxy_ndp=1")?;
    head.ip(&format!(
        "link set clat0 mtu 1500 up\naddr add 192.0.0.1/32 dev clat0\n\
         route add default dev clat0 src 192.0.0.1 mtu 1480\nroute add {OWN}/128 dev clat0\n\
         neigh add proxy {OWN} dev eth1"
    ))?;
    Ok(running)
}

/// Waits until the node reaches the server.
fn wait_for_way(node: &Namespace, at: IpAddr) -> Result<()> {
    let patience = Instant::now() + Duration::from_secs(10);
    while node.sh(&format!("ping -c 1 -W 1 {at}")).is_err() {
        if Instant::now() > patience {
            return Err(fail("the way to the server")("no answer in 10 s"));
        }
    }
    Ok(())
}
