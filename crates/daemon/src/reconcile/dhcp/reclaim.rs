//! What the settings give to a board is taken from others at once: a lease that runs until the
//! evening, or the kernel's memory of who answered there, must not keep a spare board from the
//! place of a dead one.

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
/// DHCP message type of a release; `sizeof` the fixed part of a message with its magic number (RFC
/// 2131 2).
const RELEASE: u8 = 7;
const HEADER: usize = 240;

/// The addresses that the settings give, each with its board.
pub type Homes = [(Ipv4Addr, Mac)];

/// Bounds the leases that are given back by message; with more of them dnsmasq starts anew, for it
/// would miss some.
const MOST: usize = 100;

/// Returns those leases whose address is another board's by the settings.
pub fn in_the_way<'a>(entries: &'a [Entry], homes: &Homes) -> Vec<&'a Entry> {
    let owners = BTreeMap::from_iter(homes.iter().copied());
    let anothers =
        |entry: &&Entry| owners.get(&entry.address).is_some_and(|owner| *owner != entry.mac);
    entries.iter().filter(anothers).collect()
}

/// Takes what the settings give to a board from others: their leases and the kernel's neighbours.
/// `false`: there are too many leases for messages.
///
/// # Errors
/// As [`release`] and [`forget_neighbours`].
pub fn take_back(wanted: &Files, entries: &[Entry]) -> io::Result<bool> {
    let (port, homes) = (&wanted.port, &wanted.nodes.homes);
    let leases = in_the_way(entries, homes);
    if leases.len() > MOST {
        return Ok(false);
    }
    release(port, wanted.address.addr(), &leases)?;
    forget_neighbours(port, homes)?;
    Ok(true)
}

/// Gives leases back to our own server in the name of their boards (RFC 2131 4.4.6, as
/// `dhcp_release` of dnsmasq's authors does), so that it need not be restarted.
///
/// # Errors
/// `CAP_NET_RAW` is missing where the kernel asks for it, or the port is gone.
pub fn release(port: &str, server: Ipv4Addr, leases: &[&Entry]) -> io::Result<()> {
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, None)?;
    // The server passes over what comes from no port of its own; a datagram of ours comes from the
    // one it is bound to.
    socket.bind_device(Some(port.as_bytes()))?;
    let socket = UdpSocket::from(socket);
    for entry in leases {
        socket.send_to(&message(entry, server), SocketAddrV4::new(server, SERVER_PORT))?;
    }
    Ok(())
}

fn message(entry: &Entry, server: Ipv4Addr) -> Vec<u8> {
    // A request by Ethernet, with a number that no client waits for.
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

/// Deletes the kernel's entries of addresses that are another board's by the settings: who answered
/// there is dead, or has to move. One that an administrator made for ever stays.
///
/// # Errors
/// The kernel was not to be asked, or the port is gone.
pub fn forget_neighbours(port: &str, homes: &Homes) -> io::Result<()> {
    let mut rtnl = Rtnl::default();
    let index = rtnl.index_of(port)?;
    let owners = BTreeMap::from_iter(homes.iter().copied());
    let known = rtnl.dump(Listing::Neighbours(AddressFamily::Inet, index), |message| {
        passing_neighbour(message, index)
    })?;
    for (address, mac) in known {
        if owners.get(&address).is_some_and(|owner| mac != Some(*owner)) {
            // It may have gone by itself.
            let _ = rtnl.send(Request::DelNeighbour, &neighbour_message(index, address.into()), 0);
        }
    }
    Ok(())
}

/// Returns a neighbour's address and hardware address, unless it was made for ever.
fn passing_neighbour(message: &Message<'_>, index: LinkIndex) -> Option<(Ipv4Addr, Option<Mac>)> {
    let Change::Present(known) = neighbour(message, index)? else { return None };
    let IpAddr::V4(address) = known.address else { return None };
    let is_permanent = rtnetlink::neighbour(message)?.header.state == NeighbourState::Permanent;
    (!is_permanent).then_some((address, known.mac))
}
