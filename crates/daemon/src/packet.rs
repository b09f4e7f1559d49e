//! Packet sockets (packet(7)): receive and send whole frames on one port, with or without
//! addresses.

use std::io;
use std::os::fd::AsFd;

use bramblegate_netlink::packet::link::LinkAttribute;
use bramblegate_netlink::rtnetlink::{self, Listing};
use bramblegate_netlink::{self as netlink, Message};
use rustix::io::Errno;
use rustix::net::netdevice::name_to_index;
use rustix::net::{RecvFlags, recv};
use socket2::{Domain, Protocol, SockAddr, SockAddrStorage, SockFilter, Socket, Type};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use crate::event::{LinkIndex, Mac};

/// `AF_PACKET` of `linux/socket.h`.
const AF_PACKET: u16 = 17;
/// EtherTypes (`linux/if_ether.h`). `ETH_P_ALL`: the socket also receives frames sent by this host.
pub const ETHERTYPE_ALL: u16 = 0x0003;
/// `ETH_P_802_2`: frames with a length in place of the EtherType.
pub const ETHERTYPE_LLC: u16 = 0x0004;
/// `ETH_P_IP`
pub const ETHERTYPE_IPV4: u16 = 0x0800;
/// `ETH_P_ARP`
pub const ETHERTYPE_ARP: u16 = 0x0806;
/// `ETH_P_IPV6`
pub const ETHERTYPE_IPV6: u16 = 0x86dd;
/// IP protocol numbers (`IPPROTO_*` of `linux/in.h`).
pub const ICMP: u8 = 1;
pub const TCP: u8 = 6;
pub const UDP: u8 = 17;
pub const ICMPV6: u8 = 58;
/// Bytes of an IPv4 header without options (RFC 791, 3.1).
pub const IPV4_HEADER: usize = 20;
/// Bytes of an IPv6 header without extensions (RFC 8200, 3).
pub const IPV6_HEADER: usize = 40;
/// Bytes of an ARP packet for Ethernet and IPv4 (RFC 826).
pub const ARP_LENGTH: usize = 28;
/// First bytes of an ARP packet: Ethernet, IPv4, and their address lengths. The operation follows.
pub const ARP_TYPES: [u8; 6] = [0, 1, 8, 0, 6, 4];
pub const ARP_REQUEST: u8 = 1;
pub const ARP_REPLY: u8 = 2;
/// Size of a `sockaddr_ll`, bytes.
const SOCKADDR_LL: u8 = 20;

/// A port in the kernel's current state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Port {
    pub index: LinkIndex,
    pub mac: Mac,
    /// Number of carrier changes since the port was created (`IFLA_CARRIER_CHANGES`).
    pub carrier_changes: u32,
}

/// Looks up a port by name.
///
/// # Errors
/// The rtnetlink dump failed, or no port with a MAC address has this name.
pub fn find(name: &str) -> io::Result<Port> {
    let mut requests = netlink::Socket::open(netlink::Protocol::Route, &[])?;
    let found = requests.dump(&Listing::Links.request(), |message| port(message, name))?;
    found.items.first().copied().ok_or_else(|| io::ErrorKind::NotFound.into())
}

/// Parses a port from its message if it has this name and a MAC address.
fn port(message: &Message<'_>, wanted: &str) -> Option<Port> {
    let link = rtnetlink::link(message)?;
    let (mut named, mut mac, mut carrier_changes) = (false, None, 0);
    for attribute in link.attributes() {
        match attribute {
            LinkAttribute::IfName(name) => named = name == wanted,
            LinkAttribute::Address(bytes) => mac = bytes.try_into().ok().map(Mac),
            LinkAttribute::CarrierChanges(changes) => carrier_changes = changes,
            _ => {}
        }
    }
    mac.filter(|_| named).map(|mac| Port { index: link.header.index, mac, carrier_changes })
}

/// Opens a socket that receives the frames of one port that pass `filter` (classic BPF; empty:
/// all). It receives none of another port before it is bound, and, except with [`ETHERTYPE_ALL`],
/// none that this host sends.
///
/// # Errors
/// `CAP_NET_RAW` is missing, or the port does not exist.
pub fn open(
    kind: Type,
    ethertype: u16,
    index: LinkIndex,
    filter: &[SockFilter],
) -> io::Result<Socket> {
    bind(unbound(kind)?, ethertype, index, filter)
}

/// Receives the next frame into `frame`, truncated to its size. Returns the number of bytes.
///
/// # Errors
/// The port was removed or set down.
pub async fn receive(wire: &AsyncFd<Socket>, frame: &mut [u8]) -> io::Result<usize> {
    wire.async_io(
        Interest::READABLE,
        |socket| Ok(recv(socket, &mut *frame, RecvFlags::DONTWAIT)?.0),
    )
    .await
}

/// Opens a socket as [`open`] does, for a port by name. A missing capability is reported before a
/// missing port.
///
/// # Errors
/// As [`open`].
pub fn open_at(
    name: &str,
    kind: Type,
    ethertype: u16,
    filter: &[SockFilter],
) -> io::Result<(Socket, LinkIndex)> {
    let socket = unbound(kind)?;
    let index = name_to_index(&socket, name)?;
    Ok((bind(socket, ethertype, index, filter)?, index))
}

/// Returns the index of a port (`SIOCGIFINDEX`, netdevice(7)) through a socket of any type.
///
/// # Errors
/// The port does not exist.
pub fn index_of(socket: impl AsFd, name: &str) -> io::Result<LinkIndex> {
    Ok(name_to_index(socket, name)?)
}

/// Returns the Internet checksum (RFC 1071). Adds four bytes at a time and folds the sum at the
/// end.
pub fn checksum(bytes: &[u8]) -> u16 {
    let (mut sum, mut rest) = (0_u64, bytes);
    while let Some((word, more)) = rest.split_first_chunk() {
        sum += u64::from(u32::from_be_bytes(*word));
        rest = more;
    }
    let mut last = [0; 4];
    last.iter_mut().zip(rest).for_each(|(place, byte)| *place = *byte);
    sum += u64::from(u32::from_be_bytes(last));
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !u16::try_from(sum).unwrap_or(0)
}

/// Attaches the filter, then binds the socket to a port.
fn bind(
    socket: Socket,
    ethertype: u16,
    index: LinkIndex,
    filter: &[SockFilter],
) -> io::Result<Socket> {
    if !filter.is_empty() {
        socket.attach_filter(filter)?;
    }
    socket.bind(&address(index, ethertype, Mac([0; 6])))?;
    Ok(socket)
}

/// Opens a packet socket with protocol 0, which receives nothing until it is bound to a port.
fn unbound(kind: Type) -> io::Result<Socket> {
    let socket = Socket::new(Domain::PACKET, kind, Some(Protocol::from(0)))?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// Returns the current MAC address of the port that a packet socket is bound to; `None` if the port
/// was removed.
pub fn own_mac(socket: &Socket) -> Option<Mac> {
    let mut storage = socket.local_addr().ok()?.as_storage();
    // SAFETY: the 20 bytes of a `sockaddr_ll` lie within the storage, and any bytes are valid.
    let bytes: &mut [u8; SOCKADDR_LL as usize] = unsafe { storage.view_as() };
    match *bytes {
        // `sll_halen` and `sll_addr`
        [.., 6, a, b, c, d, e, f, _, _] => Some(Mac([a, b, c, d, e, f])),
        _ => None,
    }
}

/// Makes a `struct sockaddr_ll` (`linux/if_packet.h`).
pub fn address(index: LinkIndex, ethertype: u16, Mac(mac): Mac) -> SockAddr {
    let mut storage = SockAddrStorage::zeroed();
    // SAFETY: the 20 bytes of a `sockaddr_ll` lie within the storage, and any bytes are valid.
    let bytes: &mut [u8; SOCKADDR_LL as usize] = unsafe { storage.view_as() };
    let family = AF_PACKET.to_ne_bytes();
    let protocol = ethertype.to_be_bytes();
    let fields = family
        .into_iter()
        .chain(protocol)
        .chain(index.to_ne_bytes())
        .chain([0, 0, 0, 6])
        .chain(mac);
    bytes.iter_mut().zip(fields).for_each(|(byte, field)| *byte = field);
    // SAFETY: the storage holds an address of `AF_PACKET` of this size.
    unsafe { SockAddr::new(storage, SOCKADDR_LL.into()) }
}

/// Returns whether the port of a socket was removed or set down. Netlink reports that too, so the
/// error can be ignored.
pub fn is_port_gone(error: &io::Error) -> bool {
    let gone = [Errno::NETDOWN, Errno::NXIO, Errno::NODEV].map(Errno::raw_os_error);
    error.kind() == io::ErrorKind::NotFound
        || error.raw_os_error().is_some_and(|code| gone.contains(&code))
}
