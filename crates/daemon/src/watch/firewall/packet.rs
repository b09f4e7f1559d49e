//! Makes the packets to simulate: for each service to the nodes or the venue, those that it needs,
//! as far as their content is known in advance.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::Ipv4Net;

use crate::event::Traffic;
use crate::packet::{
    ARP_LENGTH, ARP_REPLY, ARP_REQUEST, ARP_TYPES, ICMP, ICMPV6, IPV4_HEADER, IPV6_HEADER, TCP, UDP,
};

/// ICMP types (RFC 792).
const ECHO_REQUEST: u8 = 8;
const ECHO_REPLY: u8 = 0;
/// ICMPv6 types (RFC 4443, RFC 4861).
const ECHO_REQUEST_6: u8 = 128;
const ECHO_REPLY_6: u8 = 129;
pub const NEIGHBOUR_SOLICITATION: u8 = 135;
pub const NEIGHBOUR_ADVERTISEMENT: u8 = 136;
/// `NF_CT_STATE_BIT`: established and new.
pub const ESTABLISHED: u16 = 2;
pub const NEW: u16 = 8;
/// `NF_CT_STATE_UNTRACKED_BIT`, the state of neighbour discovery.
pub const UNTRACKED: u16 = 64;
/// `IPS_*`: seen reply, assured, confirmed, source NAT, and both NAT types done.
const STATUS_REPLY: u32 = 0x19e;
/// `IPS_DST_NAT` with both NAT types done.
const STATUS_REDIRECTED: u32 = 0x1a0;
/// Address types `RTN_*`, as in the kernel's routes.
pub const UNICAST: u8 = 1;
pub const LOCAL: u8 = 2;
pub const BROADCAST: u8 = 3;
const MULTICAST: u8 = 5;
/// Port and groups of multicast DNS (RFC 6762, 3).
const MDNS: u16 = 5353;
const MDNS_GROUP: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 251);
const MDNS_GROUP_6: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0xfb);
/// Simulated part of the transport header, in bytes.
const TRANSPORT: usize = 20;

/// Holds bytes of which each bit is known or unknown.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Bytes {
    pub value: Vec<u8>,
    /// Mask of the known bits.
    pub known: Vec<u8>,
}

/// Identifies an interface of this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Port {
    pub name: String,
    pub index: Option<u32>,
    /// It is a bridge, whose members' names are unknown here.
    pub bridge: bool,
}

/// Lists the hooks that a packet passes.
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

/// Describes a packet that passes this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packet {
    pub input: Option<Port>,
    pub output: Option<Port>,
    pub arp: bool,
    pub ipv6: bool,
    pub network: Bytes,
    pub transport: Bytes,
    /// `IPPROTO_*`.
    pub protocol: u8,
    /// `NF_CT_STATE_BIT` after conntrack.
    pub state: u16,
    /// `IPS_*`.
    pub status: u32,
    /// Address types of source and destination (`RTN_*`), if known.
    pub kinds: [Option<u8>; 2],
    /// The stages at which it is simulated; empty means all.
    pub only: Vec<Stage>,
}

/// Holds an IPv4 address as far as known. IPv6 addresses are not simulated.
#[derive(Debug, Clone, Copy)]
enum Known {
    This(Ipv4Addr),
    Within(Ipv4Net),
    Any,
}

/// Holds the interfaces and addresses of the packets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Topology {
    pub cluster: Port,
    pub uplinks: Vec<Port>,
    /// The head's IPv4 address in the cluster, with its prefix.
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

    /// Returns `length` bytes from `offset` on; bytes beyond the end are unknown.
    pub fn part(&self, offset: usize, length: usize) -> Self {
        let of = |bytes: &[u8]| -> Vec<u8> {
            (offset..offset.saturating_add(length))
                .map(|at| bytes.get(at).copied().unwrap_or(0))
                .collect()
        };
        Self { value: of(&self.value), known: of(&self.known) }
    }
}

/// Holds the parts of a packet that differ between services.
struct Datagram {
    protocol: u8,
    from: Known,
    to: Known,
    source_port: Option<u16>,
    destination_port: Option<u16>,
}

impl Datagram {
    /// Makes a datagram between unknown addresses and ports.
    const fn any(protocol: u8) -> Self {
        let (from, to) = (Known::Any, Known::Any);
        Self { protocol, from, to, source_port: None, destination_port: None }
    }

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
        // Not a fragment; the DF flag is unknown.
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
            // SYN or ACK.
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
    /// Restricts the packet to these stages.
    fn at(mut self, only: &[Stage]) -> Self {
        self.only = only.to_vec();
        self
    }

    /// Sets the type of the destination address (`RTN_*`).
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
        let datagram = Datagram { from, to, ..Datagram::any(ICMP) };
        let mut packet = datagram.packet(input, output, state);
        packet.transport = Bytes::unknown(TRANSPORT);
        packet.transport.set(0, &[if state == NEW { ECHO_REQUEST } else { ECHO_REPLY }, 0]);
        packet
    }

    /// Converts the packet to IPv6, between unknown addresses.
    fn by_ipv6(mut self) -> Self {
        let mut network = Bytes::unknown(IPV6_HEADER);
        network.set_masked(0, &[0x60], &[0xf0]);
        network.set(6, &[self.protocol]);
        self.network = network;
        Self { ipv6: true, ..self }
    }

    /// Makes an ICMPv6 message of this type.
    fn icmpv6(input: Option<&Port>, output: Option<&Port>, kind: u8, state: u16) -> Self {
        let mut packet = Datagram::any(ICMPV6).packet(input, output, state).by_ipv6();
        packet.transport = Bytes::unknown(TRANSPORT);
        packet.transport.set(0, &[kind, 0]);
        packet
    }

    /// Makes a neighbour discovery message, whose hop limit is 255 (RFC 4861, 7.1).
    fn discovery(input: Option<&Port>, output: Option<&Port>, kind: u8) -> Self {
        let mut packet = Self::icmpv6(input, output, kind, UNTRACKED);
        packet.network.set(7, &[0xff]);
        packet
    }

    /// Makes an ARP packet ([`ARP_REQUEST`] or [`ARP_REPLY`]).
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
        let packet = Datagram::any(0).packet(input, output, NEW);
        Self { arp: true, network, transport: Bytes::default(), ..packet }
    }
}

/// Returns packets forwarded for the nodes through this uplink: the first of a connection, and the
/// reply.
pub fn forwarded(topology: &Topology, uplink: &Port) -> Vec<Packet> {
    forwarded_by(topology, uplink, TCP)
}

fn forwarded_by(topology: &Topology, uplink: &Port, protocol: u8) -> Vec<Packet> {
    use Stage::{Egress, Forward, Ingress, Postrouting, Prerouting};
    let node = topology.node();
    let (cluster, uplink) = (Some(&topology.cluster), Some(uplink));
    let out = |from| Datagram { from, ..Datagram::any(protocol) };
    let back = |to| Datagram { to, ..Datagram::any(protocol) };
    vec![
        out(node).packet(cluster, uplink, NEW).at(&[Ingress, Prerouting, Forward]),
        // The source may be translated already, depending on the priority.
        out(Known::Any).packet(cluster, uplink, NEW).at(&[Postrouting, Egress]),
        back(Known::Any).packet(uplink, cluster, ESTABLISHED).at(&[Ingress, Prerouting]),
        back(node).packet(uplink, cluster, ESTABLISHED).at(&[Forward, Postrouting, Egress]),
    ]
}

/// Returns the head's own traffic through this uplink, with replies: ARP, TCP to any port, and DNS.
fn own(uplink: &Port) -> Vec<Packet> {
    let uplink = Some(uplink);
    let connection = Datagram::any(TCP);
    let query = Datagram { destination_port: Some(53), ..Datagram::any(UDP) };
    let response = Datagram { source_port: Some(53), ..Datagram::any(UDP) };
    vec![
        Packet::arp(None, uplink, ARP_REQUEST, Known::Any, Known::Any),
        Packet::arp(uplink, None, ARP_REPLY, Known::Any, Known::Any),
        connection.packet(None, uplink, NEW).reaching(UNICAST),
        connection.packet(uplink, None, ESTABLISHED).reaching(LOCAL),
        query.packet(None, uplink, NEW).reaching(UNICAST),
        response.packet(uplink, None, ESTABLISHED).reaching(LOCAL),
    ]
}

/// Returns a request of the venue to the head over IPv6 through this uplink, the reply, and their
/// neighbour discovery.
fn venue_service_by_ipv6(uplink: &Port, protocol: u8, port: u16) -> Vec<Packet> {
    let [request, reply] = match protocol {
        ICMPV6 => [
            Packet::icmpv6(Some(uplink), None, ECHO_REQUEST_6, NEW).reaching(LOCAL),
            Packet::icmpv6(None, Some(uplink), ECHO_REPLY_6, ESTABLISHED).reaching(UNICAST),
        ],
        _ => venue_service(uplink, protocol, port).map(Packet::by_ipv6),
    };
    let uplink = Some(uplink);
    vec![
        request,
        reply,
        Packet::discovery(uplink, None, NEIGHBOUR_SOLICITATION),
        Packet::discovery(None, uplink, NEIGHBOUR_ADVERTISEMENT),
        Packet::discovery(None, uplink, NEIGHBOUR_SOLICITATION),
        Packet::discovery(uplink, None, NEIGHBOUR_ADVERTISEMENT).reaching(LOCAL),
    ]
}

/// Returns a multicast DNS query from the venue on this uplink, and the head's response. Both go to
/// the group, so conntrack treats both as new.
fn mdns(uplink: &Port) -> [Packet; 2] {
    let (port, group) = (Some(MDNS), Known::This(MDNS_GROUP));
    let message = Datagram::udp(Known::Any, port, group, port);
    [
        message.packet(Some(uplink), None, NEW).reaching(MULTICAST),
        message.packet(None, Some(uplink), NEW).reaching(MULTICAST),
    ]
}

/// Returns the same over IPv6.
fn mdns_by_ipv6(uplink: &Port) -> [Packet; 2] {
    mdns(uplink).map(|packet| {
        let mut packet = packet.by_ipv6();
        packet.network.set(24, &MDNS_GROUP_6.octets());
        packet
    })
}

/// Returns the packets that a kind of traffic needs.
pub fn packets(topology: &Topology, traffic: Traffic) -> Vec<Packet> {
    let each = topology.uplinks.iter();
    match traffic {
        Traffic::Forwarding => each.flat_map(|uplink| forwarded(topology, uplink)).collect(),
        Traffic::Datagrams => each.flat_map(|uplink| forwarded_by(topology, uplink, UDP)).collect(),
        Traffic::Own => each.flat_map(own).collect(),
        Traffic::Addresses => leases(topology),
        Traffic::Names => served_at(topology, 53),
        Traffic::Time => served_at(topology, 123),
        Traffic::BootFiles => boot_files(topology),
        Traffic::Probes => pings(topology),
        Traffic::Neighbours => neighbours(topology),
        Traffic::Venue { protocol: ICMP, .. } => each.flat_map(venue_ping).collect(),
        Traffic::Venue { protocol: UDP, port: MDNS } => each.flat_map(mdns).collect(),
        Traffic::VenueIpv6 { protocol: UDP, port: MDNS } => each.flat_map(mdns_by_ipv6).collect(),
        Traffic::Venue { protocol, port } => {
            each.flat_map(|uplink| venue_service(uplink, protocol, port)).collect()
        }
        Traffic::VenueIpv6 { protocol, port } => {
            each.flat_map(|uplink| venue_service_by_ipv6(uplink, protocol, port)).collect()
        }
        // Port forwarding to IPv6 nodes does not exist yet.
        Traffic::Port { to: IpAddr::V6(_), .. } => Vec::new(),
        Traffic::Port { protocol, listen, to: IpAddr::V4(to), port } => {
            let translation = Translation { protocol, listen, to, port };
            each.flat_map(|uplink| translation.packets(topology, uplink)).collect()
        }
    }
}

impl Topology {
    /// Returns the nodes' addresses, as far as known.
    fn node(&self) -> Known {
        self.head.map_or(Known::Any, Known::Within)
    }

    /// Returns the head's address in the cluster.
    fn head(&self) -> Known {
        self.head.map_or(Known::Any, |head| Known::This(head.addr()))
    }
}

/// Returns a node's request to this UDP port of the head, and the reply.
fn served_at(topology: &Topology, port: u16) -> Vec<Packet> {
    let (cluster, node, head) = (Some(&topology.cluster), topology.node(), topology.head());
    let question = Datagram::udp(node, None, head, Some(port));
    let answer = Datagram::udp(head, Some(port), node, None);
    vec![
        question.packet(cluster, None, NEW).reaching(LOCAL),
        answer.packet(None, cluster, ESTABLISHED).reaching(UNICAST),
    ]
}

/// Returns the DHCP messages for getting and renewing a lease (RFC 2131, 4.1).
fn leases(topology: &Topology) -> Vec<Packet> {
    let (cluster, node, head) = (Some(&topology.cluster), topology.node(), topology.head());
    let broadcast = Known::This(Ipv4Addr::BROADCAST);
    let unspecified = Known::This(Ipv4Addr::UNSPECIFIED);
    let discover = Datagram::udp(unspecified, Some(68), broadcast, Some(67));
    // To an address that the node has not configured yet.
    let offer = Datagram::udp(head, Some(67), node, Some(68));
    let renewal = Datagram::udp(node, Some(68), head, Some(67));
    vec![
        discover.packet(cluster, None, NEW).reaching(BROADCAST),
        offer.packet(None, cluster, NEW).reaching(UNICAST),
        renewal.packet(cluster, None, NEW).reaching(LOCAL),
    ]
}

/// Returns a TFTP read request, and the first data packet, which comes from an ephemeral port
/// (RFC 1350, 4).
fn boot_files(topology: &Topology) -> Vec<Packet> {
    let (cluster, node, head) = (Some(&topology.cluster), topology.node(), topology.head());
    let question = Datagram::udp(node, None, head, Some(69));
    let data = Datagram::udp(head, None, node, None);
    vec![
        question.packet(cluster, None, NEW).reaching(LOCAL),
        data.packet(None, cluster, NEW).reaching(UNICAST),
    ]
}

/// Returns the head's ping to a node, and the reply.
fn pings(topology: &Topology) -> Vec<Packet> {
    let (cluster, node, head) = (Some(&topology.cluster), topology.node(), topology.head());
    vec![
        Packet::echo(None, cluster, (head, node), NEW).reaching(UNICAST),
        Packet::echo(cluster, None, (node, head), ESTABLISHED).reaching(LOCAL),
    ]
}

/// Returns ARP requests and replies between nodes and head, in both directions.
fn neighbours(topology: &Topology) -> Vec<Packet> {
    let (cluster, node, head) = (Some(&topology.cluster), topology.node(), topology.head());
    vec![
        Packet::arp(cluster, None, ARP_REQUEST, node, head),
        Packet::arp(None, cluster, ARP_REPLY, head, node),
        Packet::arp(None, cluster, ARP_REQUEST, head, node),
        Packet::arp(cluster, None, ARP_REPLY, node, head),
    ]
}

/// Returns the venue's ping to the head through this uplink, and the reply.
fn venue_ping(uplink: &Port) -> Vec<Packet> {
    let (uplink, any) = (Some(uplink), (Known::Any, Known::Any));
    vec![
        Packet::echo(uplink, None, any, NEW).reaching(LOCAL),
        Packet::echo(None, uplink, any, ESTABLISHED).reaching(UNICAST),
    ]
}

/// Returns the first packet from the venue to a TCP or UDP port of the head, and the reply.
fn venue_service(uplink: &Port, protocol: u8, port: u16) -> [Packet; 2] {
    let to = Datagram { destination_port: Some(port), ..Datagram::any(protocol) };
    let from = Datagram { source_port: Some(port), ..Datagram::any(protocol) };
    [
        to.packet(Some(uplink), None, NEW).reaching(LOCAL),
        from.packet(None, Some(uplink), ESTABLISHED).reaching(UNICAST),
    ]
}

/// Describes a port forwarded to a node.
struct Translation {
    protocol: u8,
    listen: u16,
    to: Ipv4Addr,
    port: u16,
}

impl Translation {
    /// Returns the first packet of a connection through this uplink, before and after DNAT, and the
    /// node's reply.
    fn packets(&self, topology: &Topology, uplink: &Port) -> [Packet; 3] {
        use Stage::{Egress, Forward, Ingress, Postrouting, Prerouting};
        let (cluster, uplink) = (Some(&topology.cluster), Some(uplink));
        let any = Datagram::any(self.protocol);
        let node = Known::This(self.to);
        let outside = Datagram { destination_port: Some(self.listen), ..any };
        let inside = Datagram { to: node, destination_port: Some(self.port), ..any };
        let back = Datagram { from: node, source_port: Some(self.port), ..any };
        let mut through = inside.packet(uplink, cluster, NEW);
        through.status = STATUS_REDIRECTED;
        [
            outside.packet(uplink, None, NEW).reaching(LOCAL).at(&[Ingress, Prerouting]),
            through.at(&[Forward, Postrouting, Egress]),
            back.packet(cluster, uplink, ESTABLISHED).at(&[Ingress, Prerouting, Forward]),
        ]
    }
}
