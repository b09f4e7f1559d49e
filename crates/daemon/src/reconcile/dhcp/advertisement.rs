//! The socket for router advertisements of our own to the nodes: those that dnsmasq cannot send.

use std::io;
use std::net::{Ipv6Addr, SocketAddrV6};
use std::time::Duration;

use bramblegate_clat::{Advertisement, Resolvers};
use bramblegate_netlink::bpf::{accept, jump_if_equal, load_byte, reject};
use socket2::{Domain, Protocol, SockFilter, Socket, Type};

/// Destinations of advertisements and of solicitations (RFC 4291, section 2.7.1).
const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
const ALL_ROUTERS: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 2);
/// The type of a router solicitation (RFC 4861, section 4.1).
const SOLICITATION: u32 = 133;
/// `MIN_DELAY_BETWEEN_RAS` (RFC 4861, section 10).
pub(super) const SPACING: Duration = Duration::from_secs(3);

/// Opens a socket that receives only router solicitations, only on the port.
pub(super) fn open(port: &str, index: u32) -> io::Result<Socket> {
    let socket = Socket::new(Domain::IPV6, Type::RAW, Some(Protocol::ICMPV6))?;
    socket.attach_filter(&solicitations())?;
    socket.bind_device(Some(port.as_bytes()))?;
    socket.set_nonblocking(true)?;
    socket.join_multicast_v6(&ALL_ROUTERS, index)?;
    socket.set_multicast_hops_v6(255)?;
    socket.set_multicast_loop_v6(false)?;
    socket.set_multicast_if_v6(index)?;
    Ok(socket)
}

/// Returns a filter that accepts router solicitations.
fn solicitations() -> Vec<SockFilter> {
    vec![load_byte(0), jump_if_equal(SOLICITATION, 0, 1), accept(u32::MAX), reject()]
}

/// Returns the option that names the resolver, if there is one; `lifetime` in seconds.
pub(super) fn resolvers(server: Option<Ipv6Addr>, lifetime: u32) -> Vec<Resolvers> {
    let option = server.map(|server| Resolvers { lifetime, servers: vec![server] });
    option.into_iter().collect()
}

/// Sends an advertisement to all nodes.
pub(super) fn send_to_all(wire: &Socket, index: u32, message: &Advertisement) -> io::Result<()> {
    let to = SocketAddrV6::new(ALL_NODES, 0, 0, index);
    wire.send_to(&message.message(), &to.into()).map(drop)
}
