//! Packet sockets (packet(7)): whole frames of one port, heard and sent whatever addresses it has,
//! or none.

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
/// Kinds of frames (`linux/if_ether.h`). `ETH_P_ALL`: a socket of this kind also hears what this
/// machine sends.
pub const ETHERTYPE_ALL: u16 = 0x0003;
/// `ETH_P_802_2`: frames with a length where others have their kind.
pub const ETHERTYPE_LLC: u16 = 0x0004;
/// `ETH_P_IP`
pub const ETHERTYPE_IPV4: u16 = 0x0800;
/// `ETH_P_ARP`
pub const ETHERTYPE_ARP: u16 = 0x0806;
/// `ETH_P_IPV6`
pub const ETHERTYPE_IPV6: u16 = 0x86dd;
/// Protocols in IP (`IPPROTO_*` of `linux/in.h`).
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
/// Its first bytes: Ethernet, IPv4, and how long their addresses are. The operation follows.
pub const ARP_TYPES: [u8; 6] = [0, 1, 8, 0, 6, 4];
pub const ARP_REQUEST: u8 = 1;
pub const ARP_REPLY: u8 = 2;
/// Bytes of a `sockaddr_ll`.
const SOCKADDR_LL: u8 = 20;

/// Holds a port as the kernel sees it now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Port {
    pub index: LinkIndex,
    pub mac: Mac,
    /// how often its carrier came or went since it was made
    pub carrier_changes: u32,
}

/// Looks a port up by its name.
///
/// # Errors
/// The kernel was not to be asked, or there is no such port with a hardware address.
pub fn find(name: &str) -> io::Result<Port> {
    let mut requests = netlink::Socket::open(netlink::Protocol::Route, &[])?;
    let found = requests.dump(&Listing::Links.request(), |message| port(message, name))?;
    found.items.first().copied().ok_or_else(|| io::ErrorKind::NotFound.into())
}

/// Reads a port from its message if it has this name and a hardware address.
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

/// Opens a socket that hears what comes in at one port and passes `filter` (classic BPF; empty:
/// everything), and nothing else: not even what waits in between, nor, but for [`ETHERTYPE_ALL`],
/// what this machine itself sends there.
///
/// # Errors
/// `CAP_NET_RAW` is missing, or the port is not there.
pub fn open(
    kind: Type,
    ethertype: u16,
    index: LinkIndex,
    filter: &[SockFilter],
) -> io::Result<Socket> {
    let socket = unbound(kind)?;
    if !filter.is_empty() {
        socket.attach_filter(filter)?;
    }
    socket.bind(&address(index, ethertype, Mac([0; 6])))?;
    Ok(socket)
}

/// Waits for the next frame and reads it into `frame`. Returns its length, in bytes; what is longer
/// than `frame` is cut off.
///
/// # Errors
/// The port is gone, or was switched off.
pub async fn receive(wire: &AsyncFd<Socket>, frame: &mut [u8]) -> io::Result<usize> {
    wire.async_io(
        Interest::READABLE,
        |socket| Ok(recv(socket, &mut *frame, RecvFlags::DONTWAIT)?.0),
    )
    .await
}

/// Opens one as [`open`] does, for a port by its name: the right to is asked for before the port is
/// looked up.
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
    if !filter.is_empty() {
        socket.attach_filter(filter)?;
    }
    socket.bind(&address(index, ethertype, Mac([0; 6])))?;
    Ok((socket, index))
}

/// Returns the number of a port (netdevice(7)); a socket of any kind can be asked.
///
/// # Errors
/// There is no such port.
pub fn index_of(socket: impl AsFd, name: &str) -> io::Result<LinkIndex> {
    Ok(name_to_index(socket, name)?)
}

/// Returns the Internet checksum (RFC 1071), of four bytes at a time: the halves of a sum can be
/// added up at the end.
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

/// Makes a packet socket without a protocol until it is bound, so that nothing of another port
/// comes in between.
fn unbound(kind: Type) -> io::Result<Socket> {
    let socket = Socket::new(Domain::PACKET, kind, Some(Protocol::from(0)))?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// Returns the hardware address of the port that a packet socket is bound to, as it is now; `None`
/// for a port that has gone.
pub fn own_mac(socket: &Socket) -> Option<Mac> {
    let mut storage = socket.local_addr().ok()?.as_storage();
    // SAFETY: twenty bytes, the size of a `sockaddr_ll`, lie within the storage, and any bytes are
    // valid there.
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
    // SAFETY: twenty bytes, the size of a `sockaddr_ll`, lie within the storage, and any bytes are
    // valid there.
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

/// Returns whether the port went away under the socket, or is switched off: netlink reports that,
/// and it is no fault.
pub fn is_port_gone(error: &io::Error) -> bool {
    let gone = [Errno::NETDOWN, Errno::NXIO, Errno::NODEV].map(Errno::raw_os_error);
    error.kind() == io::ErrorKind::NotFound
        || error.raw_os_error().is_some_and(|code| gone.contains(&code))
}
