//! Makes the packets that have to get through: for each thing that is promised to the nodes or to
//! the venue, those without which it does not work, as far as they are known before they are sent.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::Ipv4Net;

use crate::event::Traffic;
use crate::packet::{
    ARP_LENGTH, ARP_REPLY, ARP_REQUEST, ARP_TYPES, ICMP, ICMPV6, IPV4_HEADER, IPV6_HEADER, TCP, UDP,
};

/// ICMP types (RFC 792)
const ECHO_REQUEST: u8 = 8;
const ECHO_REPLY: u8 = 0;
/// ICMPv6 types (RFC 4443, RFC 4861)
const ECHO_REQUEST_6: u8 = 128;
const ECHO_REPLY_6: u8 = 129;
pub const NEIGHBOUR_SOLICITATION: u8 = 135;
pub const NEIGHBOUR_ADVERTISEMENT: u8 = 136;
/// `NF_CT_STATE_BIT`: established and new
pub const ESTABLISHED: u16 = 2;
pub const NEW: u16 = 8;
/// `NF_CT_STATE_UNTRACKED_BIT`: the kernel tracks no neighbour discovery
pub const UNTRACKED: u16 = 64;
/// `IPS_*`: seen both ways, assured, confirmed, source translated and both translations done
const STATUS_REPLY: u32 = 0x19e;
/// `IPS_DST_NAT` with both translations done
const STATUS_REDIRECTED: u32 = 0x1a0;
/// `RTN_*`: kinds of addresses, as the kernel's routes give them
pub const UNICAST: u8 = 1;
pub const LOCAL: u8 = 2;
pub const BROADCAST: u8 = 3;
const MULTICAST: u8 = 5;
/// Port and groups of multicast DNS (RFC 6762, 3).
const MDNS: u16 = 5353;
const MDNS_GROUP: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 251);
const MDNS_GROUP_6: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0xfb);
/// Bytes of the longest header after that of IP that is looked at.
const TRANSPORT: usize = 20;

/// Holds bytes of which each bit is known or not.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Bytes {
    pub value: Vec<u8>,
    /// 1: known
    pub known: Vec<u8>,
}

/// Names a port of this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Port {
    pub name: String,
    pub index: Option<u32>,
    /// it is a bridge: its members' names are not known here
    pub bridge: bool,
}

/// Names where a packet is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    Ingress,
    Prerouting,
    Input,
    Forward,
    Output,
    Postrouting,
    Egress,
}

/// Describes a packet on its way through this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packet {
    pub input: Option<Port>,
    pub output: Option<Port>,
    pub arp: bool,
    pub ipv6: bool,
    pub network: Bytes,
    pub transport: Bytes,
    /// `IPPROTO_*`
    pub protocol: u8,
    /// `NF_CT_STATE_BIT`, once connections are tracked
    pub state: u16,
    /// `IPS_*`
    pub status: u32,
    /// kinds of source and destination (`RTN_*`), where they are known
    pub kinds: [Option<u8>; 2],
    /// only there; empty: wherever it passes
    pub only: Vec<Stage>,
}

/// Holds an IPv4 address as far as it is known; packets of IPv6 have none here.
#[derive(Debug, Clone, Copy)]
enum Known {
    This(Ipv4Addr),
    Within(Ipv4Net),
    Any,
}

/// Names the ports and addresses that the packets are about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    pub cluster: Port,
    pub uplinks: Vec<Port>,
    /// the head's IPv4 address in the cluster, with its network
    pub head: Option<Ipv4Net>,
}

impl Bytes {
    pub fn unknown(length: usize) -> Self {
        Self { value: vec![0; length], known: vec![0; length] }
    }

    pub fn known(value: Vec<u8>) -> Self {
        let known = vec![0xff; value.len()];
        Self { value, known }
    }

    fn set(&mut self, at: usize, bytes: &[u8]) {
        self.set_masked(at, bytes, &vec![0xff; bytes.len()]);
    }

    pub fn set_masked(&mut self, at: usize, bytes: &[u8], mask: &[u8]) {
        let places = self.value.iter_mut().zip(&mut self.known).skip(at);
        for ((value, known), (byte, mask)) in places.zip(bytes.iter().zip(mask)) {
            (*value, *known) = (byte & mask, *mask);
        }
    }

    fn set_address(&mut self, at: usize, address: Known) {
        match address {
            Known::This(address) => self.set(at, &address.octets()),
            Known::Within(net) => {
                self.set_masked(at, &net.network().octets(), &net.netmask().octets())
            }
            Known::Any => {}
        }
    }

    /// Returns `length` of the bytes from `offset` on; what lies beyond them is not known.
    pub fn part(&self, offset: usize, length: usize) -> Self {
        let of = |bytes: &[u8]| -> Vec<u8> {
            (offset..offset.saturating_add(length))
                .map(|at| bytes.get(at).copied().unwrap_or(0))
                .collect()
        };
        Self { value: of(&self.value), known: of(&self.known) }
    }
}

/// Holds the parts of a packet that services differ in.
struct Datagram {
    protocol: u8,
    from: Known,
    to: Known,
    source_port: Option<u16>,
    destination_port: Option<u16>,
}

impl Datagram {
    const fn udp(
        from: Known,
        source_port: Option<u16>,
        to: Known,
        destination_port: Option<u16>,
    ) -> Self {
        Self { protocol: UDP, from, to, source_port, destination_port }
    }

    fn packet(&self, input: Option<&Port>, output: Option<&Port>, state: u16) -> Packet {
        let mut network = Bytes::unknown(IPV4_HEADER);
        network.set(0, &[0x45]);
        // No fragment; whether one is allowed is not known.
        network.set_masked(6, &[0, 0], &[0xbf, 0xff]);
        network.set(9, &[self.protocol]);
        network.set_address(12, self.from);
        network.set_address(16, self.to);
        let mut transport = Bytes::unknown(TRANSPORT);
        for (at, port) in [(0, self.source_port), (2, self.destination_port)] {
            if let Some(port) = port {
                transport.set(at, &port.to_be_bytes());
            }
        }
        if self.protocol == TCP {
            // SYN, or ACK
            transport.set(13, &[if state == NEW { 0x02 } else { 0x10 }]);
        }
        let reply = state == ESTABLISHED;
        Packet {
            input: input.cloned(),
            output: output.cloned(),
            arp: false,
            ipv6: false,
            network,
            transport,
            protocol: self.protocol,
            state,
            status: if reply { STATUS_REPLY } else { 0 },
            kinds: [None, None],
            only: Vec::new(),
        }
    }
}

impl Packet {
    fn at(mut self, only: &[Stage]) -> Self {
        self.only = only.to_vec();
        self
    }

    fn reaching(mut self, kind: u8) -> Self {
        let [from, _] = self.kinds;
        self.kinds = [from, Some(kind)];
        self
    }

    fn echo(
        input: Option<&Port>,
        output: Option<&Port>,
        (from, to): (Known, Known),
        state: u16,
    ) -> Self {
        let datagram =
            Datagram { protocol: ICMP, from, to, source_port: None, destination_port: None };
        let mut packet = datagram.packet(input, output, state);
        packet.transport = Bytes::unknown(TRANSPORT);
        packet.transport.set(0, &[if state == NEW { ECHO_REQUEST } else { ECHO_REPLY }, 0]);
        packet
    }

    /// Returns this packet by IPv6, between any addresses.
    fn by_ipv6(mut self) -> Self {
        let mut network = Bytes::unknown(IPV6_HEADER);
        network.set_masked(0, &[0x60], &[0xf0]);
        network.set(6, &[self.protocol]);
        self.network = network;
        Self { ipv6: true, ..self }
    }

    /// Returns an ICMPv6 message of this type.
    fn icmpv6(input: Option<&Port>, output: Option<&Port>, kind: u8, state: u16) -> Self {
        let datagram =
            Datagram { protocol: ICMPV6, ..Datagram::udp(Known::Any, None, Known::Any, None) };
        let mut packet = datagram.packet(input, output, state).by_ipv6();
        packet.transport = Bytes::unknown(TRANSPORT);
        packet.transport.set(0, &[kind, 0]);
        packet
    }

    /// Returns a message of neighbour discovery, which goes no further than one hop (RFC 4861,
    /// 7.1).
    fn discovery(input: Option<&Port>, output: Option<&Port>, kind: u8) -> Self {
        let mut packet = Self::icmpv6(input, output, kind, UNTRACKED);
        packet.network.set(7, &[0xff]);
        packet
    }

    /// Returns an ARP packet ([`ARP_REQUEST`], [`ARP_REPLY`]) between nodes and head.
    fn arp(
        input: Option<&Port>,
        output: Option<&Port>,
        operation: u8,
        from: Known,
        to: Known,
    ) -> Self {
        let mut network = Bytes::unknown(ARP_LENGTH);
        network.set(0, &ARP_TYPES);
        network.set(ARP_TYPES.len(), &[0, operation]);
        network.set_address(14, from);
        network.set_address(24, to);
        let none = Datagram::udp(Known::Any, None, Known::Any, None);
        let packet = none.packet(input, output, NEW);
        Self { arp: true, network, transport: Bytes::default(), protocol: 0, ..packet }
    }
}

/// Returns what is forwarded for the nodes by this uplink: the first packet of a connection, and
/// the answer.
pub fn forwarded(place: &Place, uplink: &Port) -> Vec<Packet> {
    forwarded_by(place, uplink, TCP)
}

fn forwarded_by(place: &Place, uplink: &Port, protocol: u8) -> Vec<Packet> {
    use Stage::{Egress, Forward, Ingress, Postrouting, Prerouting};
    let node = place.node();
    let (cluster, uplink) = (Some(&place.cluster), Some(uplink));
    let out = |from| Datagram {
        protocol,
        from,
        to: Known::Any,
        source_port: None,
        destination_port: None,
    };
    let back =
        |to| Datagram { protocol, from: Known::Any, to, source_port: None, destination_port: None };
    vec![
        out(node).packet(cluster, uplink, NEW).at(&[Ingress, Prerouting, Forward]),
        // Translated or not, by priority.
        out(Known::Any).packet(cluster, uplink, NEW).at(&[Postrouting, Egress]),
        back(Known::Any).packet(uplink, cluster, ESTABLISHED).at(&[Ingress, Prerouting]),
        back(node).packet(uplink, cluster, ESTABLISHED).at(&[Forward, Postrouting, Egress]),
    ]
}

/// Returns what is forwarded for the nodes by IPv6, and how nodes and head find each other.
fn forwarded_ipv6(place: &Place) -> Vec<Packet> {
    let each = place.uplinks.iter();
    let cluster = Some(&place.cluster);
    let found = [
        Packet::discovery(cluster, None, NEIGHBOUR_SOLICITATION),
        Packet::discovery(None, cluster, NEIGHBOUR_ADVERTISEMENT),
        Packet::discovery(None, cluster, NEIGHBOUR_SOLICITATION),
        Packet::discovery(cluster, None, NEIGHBOUR_ADVERTISEMENT).reaching(LOCAL),
    ];
    each.flat_map(|uplink| forwarded(place, uplink)).map(Packet::by_ipv6).chain(found).collect()
}

/// Returns what the head itself asks by this uplink, with the answers. Its connections may be to
/// any port, names are asked for at 53.
fn own(uplink: &Port) -> Vec<Packet> {
    let uplink = Some(uplink);
    let connection =
        Datagram { protocol: TCP, ..Datagram::udp(Known::Any, None, Known::Any, None) };
    let question = Datagram::udp(Known::Any, None, Known::Any, Some(53));
    let answer = Datagram::udp(Known::Any, Some(53), Known::Any, None);
    vec![
        Packet::arp(None, uplink, ARP_REQUEST, Known::Any, Known::Any),
        Packet::arp(uplink, None, ARP_REPLY, Known::Any, Known::Any),
        connection.packet(None, uplink, NEW).reaching(UNICAST),
        connection.packet(uplink, None, ESTABLISHED).reaching(LOCAL),
        question.packet(None, uplink, NEW).reaching(UNICAST),
        answer.packet(uplink, None, ESTABLISHED).reaching(LOCAL),
    ]
}

/// Returns what the venue asks of the head by IPv6 at this uplink, with the answer; and how the two
/// find each other.
fn asked_by_ipv6(uplink: &Port, protocol: u8, port: u16) -> Vec<Packet> {
    let uplink = Some(uplink);
    let (question, answer) = if protocol == ICMPV6 {
        (
            Packet::icmpv6(uplink, None, ECHO_REQUEST_6, NEW),
            Packet::icmpv6(None, uplink, ECHO_REPLY_6, ESTABLISHED),
        )
    } else {
        let any = Datagram { protocol, ..Datagram::udp(Known::Any, None, Known::Any, None) };
        let to = Datagram { destination_port: Some(port), ..any };
        let from = Datagram { source_port: Some(port), destination_port: None, ..to };
        (to.packet(uplink, None, NEW).by_ipv6(), from.packet(None, uplink, ESTABLISHED).by_ipv6())
    };
    vec![
        question.reaching(LOCAL),
        answer.reaching(UNICAST),
        Packet::discovery(uplink, None, NEIGHBOUR_SOLICITATION),
        Packet::discovery(None, uplink, NEIGHBOUR_ADVERTISEMENT),
        Packet::discovery(None, uplink, NEIGHBOUR_SOLICITATION),
        Packet::discovery(uplink, None, NEIGHBOUR_ADVERTISEMENT).reaching(LOCAL),
    ]
}

/// Returns a question of the venue by multicast DNS at this uplink, and the head's answer: both to
/// the group, so that to connection tracking neither answers the other.
fn mdns(uplink: &Port) -> [Packet; 2] {
    let (port, group) = (Some(MDNS), Known::This(MDNS_GROUP));
    let message = Datagram::udp(Known::Any, port, group, port);
    [
        message.packet(Some(uplink), None, NEW).reaching(MULTICAST),
        message.packet(None, Some(uplink), NEW).reaching(MULTICAST),
    ]
}

/// Returns the same by IPv6.
fn mdns_by_ipv6(uplink: &Port) -> [Packet; 2] {
    mdns(uplink).map(|packet| {
        let mut packet = packet.by_ipv6();
        packet.network.set(24, &MDNS_GROUP_6.octets());
        packet
    })
}

/// Returns the packets without which this does not work.
pub fn packets(place: &Place, traffic: Traffic) -> Vec<Packet> {
    let each = place.uplinks.iter();
    match traffic {
        Traffic::Forwarding => each.flat_map(|uplink| forwarded(place, uplink)).collect(),
        Traffic::Datagrams => each.flat_map(|uplink| forwarded_by(place, uplink, UDP)).collect(),
        Traffic::ForwardingIpv6 => forwarded_ipv6(place),
        Traffic::Own => each.flat_map(own).collect(),
        Traffic::Addresses => leases(place),
        Traffic::Names => served_at(place, 53),
        Traffic::Time => served_at(place, 123),
        Traffic::BootFiles => boot_files(place),
        Traffic::Probes => pings(place),
        Traffic::Neighbours => neighbours(place),
        Traffic::Venue { protocol: ICMP, .. } => each.flat_map(venue_ping).collect(),
        Traffic::Venue { protocol: UDP, port: MDNS } => each.flat_map(mdns).collect(),
        Traffic::VenueIpv6 { protocol: UDP, port: MDNS } => each.flat_map(mdns_by_ipv6).collect(),
        Traffic::Venue { protocol, port } => {
            each.flat_map(|uplink| venue_service(uplink, protocol, port)).collect()
        }
        Traffic::VenueIpv6 { protocol, port } => {
            each.flat_map(|uplink| asked_by_ipv6(uplink, protocol, port)).collect()
        }
        // To a node of IPv6 nothing is forwarded yet.
        Traffic::Port { to: IpAddr::V6(_), .. } => Vec::new(),
        Traffic::Port { protocol, listen, to: IpAddr::V4(to), port } => {
            let translation = Translation { protocol, listen, to, port };
            each.flat_map(|uplink| translation.packets(place, uplink)).collect()
        }
    }
}

impl Place {
    /// Returns the nodes' addresses, as far as they are known.
    fn node(&self) -> Known {
        self.head.map_or(Known::Any, Known::Within)
    }

    /// Returns the head's address in the cluster.
    fn head(&self) -> Known {
        self.head.map_or(Known::Any, |head| Known::This(head.addr()))
    }
}

/// Returns a question of a node at this port of the head over UDP, and its answer.
fn served_at(place: &Place, port: u16) -> Vec<Packet> {
    let (cluster, node, head) = (Some(&place.cluster), place.node(), place.head());
    let question = Datagram::udp(node, None, head, Some(port));
    let answer = Datagram::udp(head, Some(port), node, None);
    vec![
        question.packet(cluster, None, NEW).reaching(LOCAL),
        answer.packet(None, cluster, ESTABLISHED).reaching(UNICAST),
    ]
}

/// Returns what a node needs to get an address, and to keep it (RFC 2131, 4.1).
fn leases(place: &Place) -> Vec<Packet> {
    let (cluster, node, head) = (Some(&place.cluster), place.node(), place.head());
    let everybody = Known::This(Ipv4Addr::BROADCAST);
    let unspecified = Known::This(Ipv4Addr::UNSPECIFIED);
    let discover = Datagram::udp(unspecified, Some(68), everybody, Some(67));
    // To an address that the node has yet to take.
    let offer = Datagram::udp(head, Some(67), node, Some(68));
    let renewal = Datagram::udp(node, Some(68), head, Some(67));
    vec![
        discover.packet(cluster, None, NEW).reaching(BROADCAST),
        offer.packet(None, cluster, NEW).reaching(UNICAST),
        renewal.packet(cluster, None, NEW).reaching(LOCAL),
    ]
}

/// Returns the question for a file by TFTP, and the first of its data, which comes from a port of
/// its own (RFC 1350, 4).
fn boot_files(place: &Place) -> Vec<Packet> {
    let (cluster, node, head) = (Some(&place.cluster), place.node(), place.head());
    let question = Datagram::udp(node, None, head, Some(69));
    let data = Datagram::udp(head, None, node, None);
    vec![
        question.packet(cluster, None, NEW).reaching(LOCAL),
        data.packet(None, cluster, NEW).reaching(UNICAST),
    ]
}

/// Returns the head's ping to a node, and its answer.
fn pings(place: &Place) -> Vec<Packet> {
    let (cluster, node, head) = (Some(&place.cluster), place.node(), place.head());
    vec![
        Packet::echo(None, cluster, (head, node), NEW).reaching(UNICAST),
        Packet::echo(cluster, None, (node, head), ESTABLISHED).reaching(LOCAL),
    ]
}

/// Returns what nodes and head ask one another by ARP, with the answers.
fn neighbours(place: &Place) -> Vec<Packet> {
    let (cluster, node, head) = (Some(&place.cluster), place.node(), place.head());
    vec![
        Packet::arp(cluster, None, ARP_REQUEST, node, head),
        Packet::arp(None, cluster, ARP_REPLY, head, node),
        Packet::arp(None, cluster, ARP_REQUEST, head, node),
        Packet::arp(cluster, None, ARP_REPLY, node, head),
    ]
}

/// Returns the venue's ping to the head by this uplink, and its answer.
fn venue_ping(uplink: &Port) -> Vec<Packet> {
    let (uplink, any) = (Some(uplink), (Known::Any, Known::Any));
    vec![
        Packet::echo(uplink, None, any, NEW).reaching(LOCAL),
        Packet::echo(None, uplink, any, ESTABLISHED).reaching(UNICAST),
    ]
}

/// Returns what begins a connection of the venue to a port of the head, and its answer.
fn venue_service(uplink: &Port, protocol: u8, port: u16) -> Vec<Packet> {
    let to = Datagram {
        protocol,
        from: Known::Any,
        to: Known::Any,
        source_port: None,
        destination_port: Some(port),
    };
    let from = Datagram { source_port: Some(port), destination_port: None, ..to };
    vec![
        to.packet(Some(uplink), None, NEW).reaching(LOCAL),
        from.packet(None, Some(uplink), ESTABLISHED).reaching(UNICAST),
    ]
}

/// Leads a port of the head to one of a node.
struct Translation {
    protocol: u8,
    listen: u16,
    to: Ipv4Addr,
    port: u16,
}

impl Translation {
    /// Returns what begins a connection by this uplink, before and after its destination is
    /// translated, and the node's answer.
    fn packets(&self, place: &Place, uplink: &Port) -> [Packet; 3] {
        use Stage::{Egress, Forward, Ingress, Postrouting, Prerouting};
        let (cluster, uplink) = (Some(&place.cluster), Some(uplink));
        let outside = Datagram {
            protocol: self.protocol,
            from: Known::Any,
            to: Known::Any,
            source_port: None,
            destination_port: Some(self.listen),
        };
        let inside =
            Datagram { to: Known::This(self.to), destination_port: Some(self.port), ..outside };
        let back = Datagram {
            from: Known::This(self.to),
            source_port: Some(self.port),
            destination_port: None,
            ..outside
        };
        let mut through = inside.packet(uplink, cluster, NEW);
        through.status = STATUS_REDIRECTED;
        [
            outside.packet(uplink, None, NEW).reaching(LOCAL).at(&[Ingress, Prerouting]),
            through.at(&[Forward, Postrouting, Egress]),
            back.packet(cluster, uplink, ESTABLISHED).at(&[Ingress, Prerouting, Forward]),
        ]
    }
}
