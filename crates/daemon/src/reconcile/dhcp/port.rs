//! Checks whether other programs hold the ports of DNS or DHCP.

use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};

use socket2::{Domain, Protocol, SockAddr, Socket, Type};

/// Binds UDP and TCP port 53 on an address, which the head need not have yet.
///
/// # Errors
/// [`io::ErrorKind::AddrInUse`]: another process has the port.
pub fn try_dns(address: Ipv4Addr) -> io::Result<()> {
    for (kind, protocol) in [(Type::DGRAM, Protocol::UDP), (Type::STREAM, Protocol::TCP)] {
        let socket = Socket::new(Domain::IPV4, kind, Some(protocol))?;
        socket.set_freebind_v4(true)?;
        // Ignores connections of an earlier dnsmasq in TIME_WAIT.
        socket.set_reuse_address(protocol == Protocol::TCP)?;
        socket.bind(&SockAddr::from(SocketAddrV4::new(address, 53)))?;
    }
    Ok(())
}

/// Returns whether dnsmasq's last line shows that another program has the DHCP port
/// (`dhcp-common.c` of 2.85 to 2.91: "failed to bind DHCP server socket: Address already in use").
/// dnsmasq binds to the wildcard address, so that a bind of ours could not show it.
pub fn is_dhcp_taken(line: &str) -> bool {
    line.contains("bind DHCP server socket") && line.contains("in use")
}
