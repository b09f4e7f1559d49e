//! Traffic that the settings promise, and that other programs' rules must not block.

use ipnet::IpNet;

use crate::config::{Allow, Settings, TimeServer};
use crate::event::Traffic;

use super::{ForwardedPort, Transport};

const ICMP: u8 = 1;
const ICMPV6: u8 = 58;
const TCP: u8 = 6;
const UDP: u8 = 17;
/// The port of multicast DNS (RFC 6762).
const MDNS: u16 = 5353;

/// Returns the promised traffic, except what is forwarded for the nodes: services of the head, and
/// what the venue may reach. `head` is the head's address in the cluster, `serves_time` whether
/// nodes get it as their time server, `ssh_ports` those of sshd (empty: 22), `web_port` that of the
/// status page.
pub fn promised(
    settings: &Settings,
    head: IpNet,
    serves_time: bool,
    ssh_ports: &[u16],
    web_port: Option<u16>,
    forwards: &[ForwardedPort],
) -> Vec<Traffic> {
    let cluster = &settings.cluster;
    let dhcp = cluster.dhcp.as_ref();
    let time = dhcp.is_some_and(|dhcp| match dhcp.ntp {
        TimeServer::Auto => serves_time,
        TimeServer::At(address) => address == head.addr(),
        TimeServer::Off => false,
    });
    let served = [
        (true, Traffic::Datagrams),
        (cluster.ipv6.is_some(), Traffic::ForwardingIpv6),
        (true, Traffic::Own),
        (true, Traffic::Neighbours),
        (dhcp.is_some(), Traffic::Addresses),
        (cluster.dns.is_some(), Traffic::Names),
        (dhcp.is_some() && cluster.netboot.is_some(), Traffic::BootFiles),
        (time, Traffic::Time),
        (true, Traffic::Probes),
    ];
    let mut promised: Vec<Traffic> =
        served.into_iter().filter_map(|(wanted, traffic)| wanted.then_some(traffic)).collect();
    let ssh = if ssh_ports.is_empty() { &[22] } else { ssh_ports };
    for allow in &settings.uplink.allow {
        // A range is represented by its ends.
        let (protocol, ports) = match *allow {
            Allow::Ssh => (TCP, ssh.to_vec()),
            Allow::Web => (TCP, Vec::from_iter(web_port)),
            Allow::Icmp => (ICMP, vec![0]),
            Allow::Tcp(first, last) => (TCP, vec![first, last]),
            Allow::Udp(first, last) => (UDP, vec![first, last]),
            Allow::Mdns => (UDP, vec![MDNS]),
        };
        for port in ports {
            let traffic = Traffic::Venue { protocol, port };
            if !promised.contains(&traffic) {
                promised.push(traffic);
            }
        }
    }
    promised.extend(forwards.iter().map(|forward| Traffic::Port {
        protocol: match forward.transport {
            Transport::Tcp => TCP,
            Transport::Udp => UDP,
        },
        listen: forward.listen,
        to: forward.to,
        port: forward.port,
    }));
    promised
}

/// Returns whether the nodes are cut off without it.
pub const fn is_vital(traffic: Traffic) -> bool {
    matches!(
        traffic,
        Traffic::Forwarding | Traffic::Neighbours | Traffic::Addresses | Traffic::Names
    )
}

/// Returns a description in plain English.
pub fn words(traffic: Traffic) -> String {
    let by = |protocol: u8| if protocol == TCP { "tcp" } else { "udp" };
    match traffic {
        Traffic::Forwarding => "the nodes' traffic".to_owned(),
        Traffic::Datagrams => "the nodes' datagrams (UDP)".to_owned(),
        Traffic::ForwardingIpv6 => "the nodes' IPv6 traffic".to_owned(),
        Traffic::Own => {
            "what the head itself asks of the venue (ARP, names, connections)".to_owned()
        }
        Traffic::Neighbours => "ARP between head and nodes".to_owned(),
        Traffic::Addresses => "the nodes' requests for addresses (DHCP)".to_owned(),
        Traffic::Names => "the nodes' questions for names (DNS)".to_owned(),
        Traffic::BootFiles => "the files that nodes boot from (TFTP)".to_owned(),
        Traffic::Time => "the nodes' questions for the time (NTP)".to_owned(),
        Traffic::Probes => "the pings that show whether nodes are up".to_owned(),
        Traffic::Venue { protocol: ICMP, .. } => "pings from the venue (uplink.allow)".to_owned(),
        Traffic::Venue { protocol: UDP, port: MDNS } => {
            "mDNS (udp 5353) from the venue (uplink.allow)".to_owned()
        }
        Traffic::Venue { protocol, port } => {
            format!("{} {port} from the venue (uplink.allow)", by(protocol))
        }
        Traffic::VenueIpv6 { protocol: ICMPV6, .. } => {
            "pings from the venue over IPv6 (uplink.allow)".to_owned()
        }
        Traffic::VenueIpv6 { protocol: UDP, port: MDNS } => {
            "mDNS (udp 5353) from the venue by IPv6 (uplink.allow)".to_owned()
        }
        Traffic::VenueIpv6 { protocol, port } => {
            format!("{} {port} from the venue over IPv6 (uplink.allow)", by(protocol))
        }
        Traffic::Port { protocol, listen, .. } => {
            format!("the forwarded port {}:{listen}", by(protocol))
        }
    }
}
