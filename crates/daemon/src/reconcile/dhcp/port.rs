//! Are the ports of DNS and DHCP free where we would serve?

use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};

use socket2::{Domain, Protocol, SockAddr, Socket, Type};

/// Returns whether names can be served on this address, which the head need not have yet; the error
/// names what stands against it.
///
/// # Errors
/// `AddrInUse`: another process has the port.
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

/// Returns whether dnsmasq's last words say that another program has the port of DHCP
/// (`dhcp-common.c` of 2.85 to 2.91: "failed to bind DHCP server socket: Address already in use").
/// It binds to all addresses, so that no try of ours could show it.
pub fn is_dhcp_taken(words: &str) -> bool {
    words.contains("bind DHCP server socket") && words.contains("in use")
}
