//! A hostile computer in an IPv6-only hall: it scans all addresses of the head and of a node, forges
//! sources, and advertises the cluster's own network at the venue.

use std::net::{Ipv6Addr, SocketAddr, SocketAddrV6, TcpListener, TcpStream, UdpSocket};
use std::time::Duration;

use bramblegate_lab::file::Action;
use bramblegate_lab::shell::{exec, feed, must};
use bramblegate_lab::{Error, Result, World};

use super::client::inside;
use super::hall::{in_the_hall_with, reaches};
use super::ipv6::{ON, made};
use super::scene::{ensure, until};

/// What a head might serve: the banner of ssh at 22 and a private service at 9100 are there anyway.
const TCP: [u16; 8] = [21, 53, 80, 111, 443, 853, 2049, 8080];
const UDP: [u16; 9] = [53, 67, 69, 111, 123, 546, 547, 1900, 5353];

/// What is sent to each UDP port.
const PROBE: &[u8] = b"is it open?";

/// Keeps sockets of the head open.
struct Open(#[expect(dead_code, reason = "dropped last")] Vec<TcpListener>, Vec<UdpSocket>);

/// Opens all ports at all addresses of the head that are free.
fn open() -> Result<Open> {
    inside("head", || {
        let tcp = TCP.iter().filter_map(|port| TcpListener::bind(("::", *port)).ok()).collect();
        let udp = UDP.iter().filter_map(|port| UdpSocket::bind(("::", *port)).ok()).collect();
        Ok(Open(tcp, udp))
    })
}

/// Returns the TCP ports of an address that are open from a place, by `scope` if it is link-local.
fn tcp_open(place: &str, address: Ipv6Addr, scope: u32) -> Result<Vec<u16>> {
    inside(place, move || {
        let ports = TCP.into_iter().chain([22, 9100]);
        let tries: Vec<_> = ports
            .map(|port| {
                let to = SocketAddr::V6(SocketAddrV6::new(address, port, 0, scope));
                // Threads are in the namespace of the one that starts them.
                let connects =
                    move || TcpStream::connect_timeout(&to, Duration::from_millis(700)).is_ok();
                (port, std::thread::spawn(connects))
            })
            .collect();
        let open = |(port, thread): (u16, std::thread::JoinHandle<bool>)| {
            thread.join().unwrap_or(true).then_some(port)
        };
        Ok(tries.into_iter().filter_map(open).collect())
    })
}

/// Returns the UDP ports at which the head receives what a place sends.
fn udp_open(place: &str, address: Ipv6Addr, scope: u32, head: &Open) -> Result<Vec<u16>> {
    inside(place, move || {
        let socket = UdpSocket::bind("[::]:0")?;
        for port in UDP {
            let _ = socket.send_to(PROBE, SocketAddrV6::new(address, port, 0, scope));
        }
        Ok(())
    })?;
    std::thread::sleep(Duration::from_millis(300));
    let mut heard = Vec::new();
    for socket in &head.1 {
        socket.set_nonblocking(true).map_err(|error| Error(error.to_string()))?;
        let port = socket.local_addr().map_err(|error| Error(error.to_string()))?.port();
        let mut buffer = [0; 16];
        while let Ok((length, _)) = socket.recv_from(&mut buffer) {
            // The gateway itself asks a time server of the head.
            if buffer.get(..length) == Some(PROBE) {
                heard.push(port);
            }
        }
    }
    heard.sort_unstable();
    heard.dedup();
    Ok(heard)
}

/// Returns the addresses of a port of the head that match.
fn held(port: &str, what: &str) -> Result<Vec<Ipv6Addr>> {
    let text = must("head", &format!("ip -6 -o addr show dev {port} {what}"))?;
    let addresses = text.lines().filter_map(|line| line.split_whitespace().nth(3));
    Ok(addresses.filter_map(|net| net.split('/').next()?.parse().ok()).collect())
}

/// Returns the index of the laptop's port, which is the scope of its link-local addresses.
fn scope() -> Result<u32> {
    let text = must("laptop", "cat /sys/class/net/eth0/ifindex")?;
    text.trim().parse().map_err(|_| Error(text))
}

/// Only ssh and mDNS are open to the venue as shipped, whatever address of the head it asks.
fn no_address_opens_more(head: &Open) -> Result<()> {
    let scope = scope()?;
    let [outer, inner] = [held("eth1", "scope global")?, held("eth0", "scope global")?];
    let links = held("eth1", "scope link")?;
    let head_address = outer.first().copied().unwrap_or(Ipv6Addr::UNSPECIFIED);
    for address in &inner {
        must("laptop", &format!("ip -6 route replace {address}/128 via {head_address} dev eth0"))?;
    }
    let all: Vec<Ipv6Addr> = outer.into_iter().chain(inner).chain(links).collect();
    ensure(&format!("all kinds of addresses: {all:?}"), all.len() >= 4)?;
    for address in all {
        let scope = if address.is_unicast_link_local() { scope } else { 0 };
        let tcp = tcp_open("laptop", address, scope)?;
        ensure(&format!("{address}: TCP {tcp:?}"), tcp.iter().all(|port| *port == 22))?;
        let udp = udp_open("laptop", address, scope, head)?;
        // 546 is the DHCPv6 client's, at the link-local address.
        let open = |port: &u16| *port == 5353 || *port == 546 && scope != 0;
        ensure(&format!("{address}: UDP {udp:?}"), udp.iter().all(open))?;
    }
    Ok(())
}

/// Counts, on a node, what comes from an address.
fn count(node: &str, from: &str) -> Result<()> {
    let _ = exec(node, "nft delete table netdev forged");
    let rules = format!(
        "table netdev forged {{\nchain seen {{\ntype filter hook ingress device eth0 priority 0\n\
         {from} counter\n}}\n}}\n"
    );
    feed("ip", &["netns", "exec", node, "nft", "-f", "-"], &rules).map(drop)
}

/// Sources of the cluster, of the NAT64 and of the translator, to the head, a node and the
/// translator: nothing reaches a node.
fn forged_sources_reach_no_node(node: Ipv6Addr, translator: Ipv6Addr) -> Result<()> {
    let head = held("eth1", "scope global -deprecated")?;
    let head = head.first().copied().unwrap_or(Ipv6Addr::UNSPECIFIED);
    must("laptop", &format!("ip -6 route replace {node}/128 via {head} dev eth0"))?;
    must("laptop", &format!("ip -6 route replace {translator}/128 dev eth0"))?;
    let other = made("rpi2").unwrap_or_default();
    let sources = [
        other.as_str(),
        // 192.168.50.12, 203.0.113.80 and 192.0.0.1 behind the NAT64.
        "2001:db8:64::c0a8:320c",
        "2001:db8:64::cb00:7150",
        "2001:db8:64::c000:1",
        "64:ff9b::c0a8:320c",
        "::ffff:192.168.50.12",
    ];
    // dnsmasq of the head pings new addresses itself (ra-names).
    let own = held("eth0", "-tentative")?;
    let own: Vec<String> = own.iter().map(Ipv6Addr::to_string).collect();
    let forged = format!("ip6 saddr != {{ {} }} icmpv6 type echo-request", own.join(", "));
    count("rpi1", &forged)?;
    for source in sources {
        let _ = exec("laptop", &format!("ip -6 addr add {source}/128 dev lo nodad"));
        for to in [node, translator, head] {
            let ping = format!("ping -c 2 -i 0.2 -W 1 -I {source} {to}");
            let (_, text) = exec("laptop", &ping)?;
            println!(
                "{source} to {to}: {}",
                text.lines().rev().find(|line| line.contains('%')).unwrap_or_default()
            );
        }
        let _ = exec("laptop", &format!("ip -6 addr del {source}/128 dev lo"));
    }
    let seen = must("rpi1", "nft list chain netdev forged seen")?;
    ensure(&format!("nothing of it reaches a node: {seen}"), seen.contains("packets 0 "))
}

/// The head's IPv4 address on the translator's device (RFC 7335) is not the venue's to reach.
fn the_translators_ipv4_is_not_there() -> Result<()> {
    must("laptop", "ip addr replace 192.0.0.7/29 dev eth0")?;
    let (code, text) = exec("laptop", "busybox arping -c 2 -w 2 -I eth0 192.0.0.1")?;
    ensure(&format!("it is not answered for: {text}"), code != 0)?;
    let mac = must("head", "cat /sys/class/net/eth1/address")?;
    must("laptop", &format!("ip neigh replace 192.0.0.1 lladdr {} dev eth0", mac.trim()))?;
    for port in [22, 53, 9100] {
        let connect = format!("timeout 1 bash -c 'exec 3<>/dev/tcp/192.0.0.1/{port}'");
        ensure(&format!("port {port}"), exec("laptop", &connect)?.0 != 0)?;
    }
    must("laptop", "ip neigh del 192.0.0.1 dev eth0; ip addr del 192.0.0.7/29 dev eth0").map(drop)
}

/// A router of the venue announces that the node is on its link (RFC 4861, section 4.6.2): the head
/// must not look for its node there.
fn a_node_is_not_looked_for_at_the_venue(world: &mut World, node: Ipv6Addr) -> Result<()> {
    let reached =
        || exec("head", &format!("ping -c 1 -W 1 {node}")).is_ok_and(|(code, _)| code == 0);
    ensure("the head reaches the node", reached())?;
    let ra = format!("lifetime=0 no-slaac prefix={node}/128");
    world.act(&Action::SecondRouter { ra: ra.parse()? })?;
    until("the kernel believes it", || {
        must("head", &format!("ip -6 route show dev eth1 {node}"))
            .is_ok_and(|text| !text.is_empty())
    })?;
    must("head", "ip -6 neigh flush all")?;
    let way = must("head", &format!("ip route get {node}"))?;
    ensure(&format!("the head still finds it at the cluster: {way}"), way.contains("dev eth0"))?;
    ensure("and reaches it", reached())
}

pub fn a_neighbour_gets_in_by_no_address() -> Result<()> {
    in_the_hall_with(ON, |world| {
        until("the nodes have addresses", || made("rpi1").is_some() && made("rpi2").is_some())?;
        let node: Ipv6Addr =
            made("rpi1").unwrap_or_default().parse().map_err(|_| Error("none".into()))?;
        let head = open()?;
        let inner = held("eth0", "scope global")?;
        let inner = inner.first().copied().unwrap_or(Ipv6Addr::UNSPECIFIED);
        let from_within = tcp_open("rpi2", inner, 0)?;
        ensure(&format!("a node reaches all: {from_within:?}"), from_within.len() > 6)?;
        no_address_opens_more(&head)?;
        let ours = held("eth1", "scope global deprecated")?;
        let translator = ours.first().copied().ok_or_else(|| Error("no translator".into()))?;
        forged_sources_reach_no_node(node, translator)?;
        the_translators_ipv4_is_not_there()?;
        ensure("the nodes' way is still there", reaches())?;
        a_node_is_not_looked_for_at_the_venue(world, node)
    })
}
