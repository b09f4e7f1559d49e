//! Reclaims the addresses that the settings assign to a node: neither another node's lease nor an
//! old neighbour entry must keep a spare board from taking the place of a dead one.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddrV4, UdpSocket};

use bramblegate_netlink::Message;
use bramblegate_netlink::packet::AddressFamily;
use bramblegate_netlink::packet::neighbour::NeighbourState;
use bramblegate_netlink::rtnetlink::{self, Listing};
use socket2::{Domain, Socket, Type};

use crate::event::{Change, LinkIndex, Mac};
use crate::reconcile::rtnl::{Request, Rtnl};
use crate::view::dhcp::Files;
use crate::watch::dhcp::leases::file::Entry;
use crate::watch::node::{neighbour, neighbour_message};

/// UDP port of DHCP servers (RFC 2131 4.1).
const SERVER_PORT: u16 = 67;
/// DHCPRELEASE (RFC 2132 9.6), and the length of a message's fixed part with the magic cookie (RFC
/// 2131 2).
const RELEASE: u8 = 7;
const HEADER: usize = 240;

/// The addresses that the settings assign, each with the node's MAC address.
pub type Homes = [(Ipv4Addr, Mac)];

/// Limit on leases released by message. With more dnsmasq is restarted, since it would miss some.
const MOST: usize = 100;

/// Returns the leases whose address the settings assign to another node.
pub fn conflicting<'a>(entries: &'a [Entry], homes: &Homes) -> Vec<&'a Entry> {
    let owners = BTreeMap::from_iter(homes.iter().copied());
    let is_conflict =
        |entry: &&Entry| owners.get(&entry.address).is_some_and(|owner| *owner != entry.mac);
    entries.iter().filter(is_conflict).collect()
}

/// Releases the conflicting leases and deletes the conflicting neighbour entries. Returns false,
/// without doing anything, if there are more than [`MOST`] leases.
///
/// # Errors
/// As [`release`] and [`forget_neighbours`].
pub fn take_back(desired: &Files, entries: &[Entry]) -> io::Result<bool> {
    let (port, homes) = (&desired.port, &desired.nodes.homes);
    let leases = conflicting(entries, homes);
    if leases.len() > MOST {
        return Ok(false);
    }
    release(port, desired.address.addr(), &leases)?;
    forget_neighbours(port, homes)?;
    Ok(true)
}

/// Sends a DHCPRELEASE for each lease to our own server in the name of the client (RFC 2131 4.4.6,
/// like dnsmasq's `dhcp_release`), which needs no restart.
///
/// # Errors
/// `CAP_NET_RAW` is missing where the kernel requires it, or the port does not exist.
pub fn release(port: &str, server: Ipv4Addr, leases: &[&Entry]) -> io::Result<()> {
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, None)?;
    // dnsmasq ignores messages that do not arrive on its own port; one that we send from a socket
    // bound to the port does.
    socket.bind_device(Some(port.as_bytes()))?;
    let socket = UdpSocket::from(socket);
    for entry in leases {
        socket.send_to(&message(entry, server), SocketAddrV4::new(server, SERVER_PORT))?;
    }
    Ok(())
}

fn message(entry: &Entry, server: Ipv4Addr) -> Vec<u8> {
    // BOOTREQUEST, Ethernet, with a transaction ID that no client waits for.
    let mut bytes = vec![1, 1, 6, 0];
    bytes.extend(u32::from(entry.address).to_be_bytes());
    bytes.resize(12, 0);
    bytes.extend(entry.address.octets());
    bytes.resize(28, 0);
    bytes.extend(entry.mac.0);
    bytes.resize(HEADER - 4, 0);
    bytes.extend([99, 130, 83, 99, 53, 1, RELEASE, 54, 4]);
    bytes.extend(server.octets());
    bytes.push(255);
    bytes.resize(300, 0);
    bytes
}

/// Deletes the kernel's neighbour entries of addresses that the settings assign to another node.
/// Permanent entries, made by an administrator, stay.
///
/// # Errors
/// The rtnetlink dump failed, or the port does not exist.
pub fn forget_neighbours(port: &str, homes: &Homes) -> io::Result<()> {
    let mut rtnl = Rtnl::default();
    let index = rtnl.index_of(port)?;
    let owners = BTreeMap::from_iter(homes.iter().copied());
    let entries = rtnl.dump(Listing::Neighbours(AddressFamily::Inet, index), |message| {
        dynamic_neighbour(message, index)
    })?;
    for (address, mac) in entries {
        if owners.get(&address).is_some_and(|owner| mac != Some(*owner)) {
            // The entry may have expired since the dump.
            let _ = rtnl.send(Request::DelNeighbour, &neighbour_message(index, address.into()), 0);
        }
    }
    Ok(())
}

/// Returns the addresses of a neighbour that is not permanent.
fn dynamic_neighbour(message: &Message<'_>, index: LinkIndex) -> Option<(Ipv4Addr, Option<Mac>)> {
    let Change::Present(entry) = neighbour(message, index)? else { return None };
    let IpAddr::V4(address) = entry.address else { return None };
    let is_permanent = rtnetlink::neighbour(message)?.header.state == NeighbourState::Permanent;
    (!is_permanent).then_some((address, entry.mac))
}
