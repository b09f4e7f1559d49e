//! Is the port of DNS free where we would serve?

use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};

use socket2::{Domain, Protocol, SockAddr, Socket, Type};

/// Whether names can be served on this address, which the head need not have yet; the error says what stands against it.
///
/// # Errors
/// `AddrInUse`: somebody else has the port.
pub fn try_dns(address: Ipv4Addr) -> io::Result<()> {
    for (kind, protocol) in [(Type::DGRAM, Protocol::UDP), (Type::STREAM, Protocol::TCP)] {
        let socket = Socket::new(Domain::IPV4, kind, Some(protocol))?;
        socket.set_freebind_v4(true)?;
        // Connections of an earlier dnsmasq that are being closed do not count.
        socket.set_reuse_address(protocol == Protocol::TCP)?;
        socket.bind(&SockAddr::from(SocketAddrV4::new(address, 53)))?;
    }
    Ok(())
}
