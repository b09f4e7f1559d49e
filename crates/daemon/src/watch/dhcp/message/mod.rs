//! DHCP messages (RFC 2131) in whole Ethernet frames: makes our requests, and parses those of
//! clients and the replies of servers. Pure.

#[cfg(test)]
pub mod tests;

use std::net::Ipv4Addr;

use super::{CLIENT_PORT, SERVER_PORT};
use crate::event::{Mac, PortalUrl};
use crate::packet::{ETHERTYPE_IPV4, IPV4_HEADER, UDP, checksum};

/// Header lengths: Ethernet, UDP (RFC 768), and the fixed part of BOOTP with the magic cookie
/// (RFC 2131, figure 1).
const ETHERNET: usize = 14;
const UDP_HEADER: usize = 8;
const BOOTP: usize = 240;
/// Minimum length of a message; old BOOTP relays and servers drop shorter ones (RFC 1542, 2.1).
const MIN_LENGTH: usize = 300;

const BOOT_REQUEST: u8 = 1;
const BOOT_REPLY: u8 = 2;
const COOKIE: [u8; 4] = [99, 130, 83, 99];
/// The broadcast flag: without an address we cannot receive unicast replies.
const BROADCAST: [u8; 2] = [0x80, 0];

/// Options (RFC 2132).
const PAD: u8 = 0;
const HOST_NAME: u8 = 12;
const MESSAGE_TYPE: u8 = 53;
const SERVER_IDENTIFIER: u8 = 54;
const PARAMETER_REQUEST: u8 = 55;
/// RFC 4702.
const CLIENT_FQDN: u8 = 81;
/// RFC 8925.
const IPV6_ONLY: u8 = 108;
/// RFC 8910.
const CAPTIVE_PORTAL: u8 = 114;
const END: u8 = 255;

pub const DISCOVER: u8 = 1;
pub const OFFER: u8 = 2;
pub const REQUEST: u8 = 3;
pub const DECLINE: u8 = 4;
pub const ACK: u8 = 5;
pub const NAK: u8 = 6;

/// Holds a server's reply to any client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reply {
    /// Server identifier (option 54), else the source address.
    pub server: Ipv4Addr,
    /// Source of the frame.
    pub mac: Mac,
    /// Hardware address of the client.
    pub asked_by: Mac,
    pub transaction: u32,
}

/// Holds a client's message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Question {
    /// Hardware address in the message.
    pub mac: Mac,
    pub kind: u8,
    /// It requests the option IPv6-only preferred (108).
    pub ipv6_only: bool,
}

/// Holds a server's reply to one given client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    pub kind: u8,
    pub transaction: u32,
    /// Server identifier (option 54), else the source address.
    pub server: Ipv4Addr,
    /// The offered address.
    pub address: Ipv4Addr,
    /// The network prefers IPv6-only clients (option 108).
    pub ipv6_only: bool,
    /// URL of the captive portal (option 114).
    pub portal: Option<PortalUrl>,
}

/// Parses a frame as a client's message.
pub fn question(frame: &[u8]) -> Option<Question> {
    let Message { fixed, options, .. } = message(frame, [CLIENT_PORT, SERVER_PORT], BOOT_REQUEST)?;
    let &[kind] = option(options, MESSAGE_TYPE)? else { return None };
    let wanted = option(options, PARAMETER_REQUEST).unwrap_or_default();
    Some(Question { mac: hardware(fixed)?, kind, ipv6_only: wanted.contains(&IPV6_ONLY) })
}

/// Parses a frame as a server's reply to the client `ours`.
pub fn answer(frame: &[u8], ours: Mac) -> Option<Answer> {
    let Message { ip, fixed, options, .. } =
        message(frame, [SERVER_PORT, CLIENT_PORT], BOOT_REPLY)?;
    let &[kind] = option(options, MESSAGE_TYPE).filter(|_| hardware(fixed) == Some(ours))? else {
        return None;
    };
    let named = option(options, SERVER_IDENTIFIER).and_then(|value| address(value, 0));
    let portal = option(options, CAPTIVE_PORTAL)
        .and_then(|value| PortalUrl::read(std::str::from_utf8(value).ok()?));
    Some(Answer {
        kind,
        transaction: u32::from_be_bytes(*fixed.get(4..)?.first_chunk()?),
        server: named.or_else(|| address(ip, 12))?,
        address: address(fixed, 16)?,
        ipv6_only: option(options, IPV6_ONLY).is_some_and(|value| value.len() == 4),
        portal,
    })
}

/// Returns the client's hardware address.
fn hardware(fixed: &[u8]) -> Option<Mac> {
    Some(Mac(*fixed.get(28..)?.first_chunk()?))
}

/// Makes a broadcast DHCPDISCOVER of an interface without address. `asking_for` is the time since
/// the first one, in seconds.
pub fn discover(ours: Mac, transaction: u32, asking_for: u16) -> Vec<u8> {
    // Like any client: mask, router, resolvers, lease time and server.
    discover_asking(ours, transaction, asking_for, &[1, 3, 6, 51, SERVER_IDENTIFIER])
}

/// Makes a DHCPDISCOVER like [`discover`] that requests the options `wanted`.
pub fn discover_asking(
    Mac(ours): Mac,
    transaction: u32,
    asking_for: u16,
    wanted: &[u8],
) -> Vec<u8> {
    let mut bootp = Vec::with_capacity(MIN_LENGTH);
    // Ethernet, addresses of six bytes, no relay.
    bootp.extend([BOOT_REQUEST, 1, 6, 0]);
    bootp.extend(transaction.to_be_bytes());
    bootp.extend(asking_for.to_be_bytes());
    bootp.extend(BROADCAST);
    bootp.extend([0; 16]);
    bootp.extend(ours);
    bootp.resize(BOOTP - COOKIE.len(), 0);
    bootp.extend(COOKIE);
    bootp.extend([MESSAGE_TYPE, 1, DISCOVER]);
    bootp.extend([PARAMETER_REQUEST, u8::try_from(wanted.len()).unwrap_or(0)]);
    bootp.extend(wanted);
    bootp.push(END);
    bootp.resize(MIN_LENGTH, PAD);

    let ip = ipv4_header(UDP_HEADER + bootp.len());
    let udp = udp_header(&bootp);
    [&[0xff; 6], &ours[..], &ETHERTYPE_IPV4.to_be_bytes(), &ip, &udp, &bootp].concat()
}

/// Makes an IPv4 header from 0.0.0.0 to 255.255.255.255.
fn ipv4_header(payload: usize) -> Vec<u8> {
    let [high, low] = u16::try_from(IPV4_HEADER + payload).unwrap_or(u16::MAX).to_be_bytes();
    let header = |sum: [u8; 2]| {
        let lengths = [0x45, 0, high, low, 0, 0, 0, 0, 64, UDP];
        [&lengths[..], &sum, &[0; 4], &[0xff; 4]].concat()
    };
    header(checksum(&header([0; 2])).to_be_bytes())
}

fn udp_header(payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(UDP_HEADER + payload.len()).unwrap_or(u16::MAX).to_be_bytes();
    let ports = [CLIENT_PORT.to_be_bytes(), SERVER_PORT.to_be_bytes()].concat();
    let pseudo = [&[0; 4][..], &[0xff; 4], &[0, UDP], &length].concat();
    let sum = match checksum(&[&pseudo, &ports[..], &length, &[0; 2], payload].concat()) {
        // Zero would mean no checksum.
        0 => u16::MAX,
        sum => sum,
    };
    [&ports[..], &length, &sum.to_be_bytes()].concat()
}

/// Parses a frame as the reply of a server that assigns addresses. Ignores checksums: with
/// offloading they are missing in frames from the same machine.
pub fn reply(frame: &[u8]) -> Option<Reply> {
    let Message { mac, ip, fixed, options } =
        message(frame, [SERVER_PORT, CLIENT_PORT], BOOT_REPLY)?;
    let offered = address(fixed, 16)?;
    let assigns = match option(options, MESSAGE_TYPE) {
        // An offer without address is that of a netboot server beside the DHCP server.
        Some([OFFER | ACK]) => !offered.is_unspecified(),
        Some([NAK]) => true,
        // Plain BOOTP.
        None => !offered.is_unspecified(),
        Some(_) => false,
    };
    let named = option(options, SERVER_IDENTIFIER).and_then(|value| address(value, 0));
    let server = named.or_else(|| address(ip, 12))?;
    let transaction = u32::from_be_bytes(*fixed.get(4..)?.first_chunk()?);
    assigns.then_some(Reply { server, mac, asked_by: hardware(fixed)?, transaction })
}

/// Returns whether a frame is a broadcast DISCOVER or REQUEST of a client without address, which
/// every server on the link receives and logs: it is not relayed (from a subnet that is not
/// served), and neither the kernel nor dnsmasq drops it as invalid (RFC 2131, 2 and 4.1).
pub fn asks_all(frame: &[u8]) -> bool {
    const BY_ETHERNET: [u8; 2] = [1, 6];
    let Some(Message { ip, fixed, options, .. }) =
        message(frame, [CLIENT_PORT, SERVER_PORT], BOOT_REQUEST)
    else {
        return false;
    };
    let to_all = frame.first().is_some_and(|first| first & 1 == 1)
        && address(ip, 16) == Some(Ipv4Addr::BROADCAST);
    let from_unspecified = address(ip, 12) == Some(Ipv4Addr::UNSPECIFIED);
    let direct =
        fixed.get(1..3) == Some(&BY_ETHERNET) && address(fixed, 24) == Some(Ipv4Addr::UNSPECIFIED);
    let asks = matches!(option(options, MESSAGE_TYPE), Some([DISCOVER | REQUEST]));
    to_all && from_unspecified && checksum(ip) == 0 && direct && asks
}

/// Returns the server whose offer a client accepts in a broadcast REQUEST (RFC 2131, 3.1, step 3).
pub fn chosen(frame: &[u8]) -> Option<Ipv4Addr> {
    // A unicast REQUEST renews a lease.
    let to_all = frame.first().is_some_and(|first| first & 1 == 1);
    let Message { options, .. } =
        message(frame, [CLIENT_PORT, SERVER_PORT], BOOT_REQUEST).filter(|_| to_all)?;
    let server = option(options, SERVER_IDENTIFIER).and_then(|value| address(value, 0))?;
    (option(options, MESSAGE_TYPE) == Some(&[REQUEST]) && !server.is_unspecified())
        .then_some(server)
}

/// Returns the host name in a DISCOVER or REQUEST. Option 81 precedes option 12, as on servers.
pub fn calls_itself(frame: &[u8]) -> Option<(Mac, String)> {
    let Message { fixed, options, .. } = message(frame, [CLIENT_PORT, SERVER_PORT], BOOT_REQUEST)?;
    // An Ethernet address that is unicast and not zero.
    let mac = hardware(fixed)?;
    let [first, ..] = mac.0;
    let is_valid = fixed.get(1..3) == Some(&[1, 6]) && first & 1 == 0 && mac.0 != [0; 6];
    let asks = matches!(option(options, MESSAGE_TYPE), Some([DISCOVER | REQUEST]));
    let full = option(options, CLIENT_FQDN).and_then(first_label);
    let name = full
        .or_else(|| option(options, HOST_NAME))
        .and_then(host_name)
        .filter(|_| is_valid && asks)?;
    Some((mac, name))
}

/// Returns the first label of a client FQDN in DNS wire encoding (RFC 4702, 2.3.1), or all of a
/// name in ASCII.
fn first_label(value: &[u8]) -> Option<&[u8]> {
    const WIRE_ENCODING: u8 = 4;
    // Flags, then two deprecated RCODE fields.
    let [flags, _, _, name @ ..] = value else { return None };
    let name = match name {
        [length, rest @ ..] if flags & WIRE_ENCODING != 0 => rest.get(..usize::from(*length))?,
        _ => name,
    };
    name.first().is_some_and(|byte| *byte != 0).then_some(name)
}

/// Decodes a host name; some clients add a terminating zero. `None` if it is not UTF-8 or empty.
fn host_name(value: &[u8]) -> Option<String> {
    let end = value.iter().position(|byte| *byte == 0).unwrap_or(value.len());
    let text = std::str::from_utf8(value.get(..end)?).ok()?;
    (!text.is_empty()).then(|| text.to_owned())
}

/// Holds the parts of a DHCP message.
struct Message<'a> {
    /// Source of the frame.
    mac: Mac,
    ip: &'a [u8],
    fixed: &'a [u8],
    options: &'a [u8],
}

/// Splits a frame that is a DHCP message between these UDP ports, with the BOOTP operation `kind`.
fn message(frame: &[u8], [from, to]: [u16; 2], kind: u8) -> Option<Message<'_>> {
    let (ethernet, packet) = frame.split_at_checked(ETHERNET)?;
    let mac = Mac(*ethernet.get(6..)?.first_chunk()?);
    if ethernet.get(12..) != Some(&ETHERTYPE_IPV4.to_be_bytes()) {
        return None;
    }
    let (ip, udp) = packet.split_at_checked(header_length(packet)?)?;
    let (ports, bootp) = udp.split_at_checked(UDP_HEADER)?;
    let ports_match =
        ports.starts_with(&from.to_be_bytes()) && ports.get(2..4) == Some(&to.to_be_bytes());
    let (fixed, options) = bootp.split_at_checked(BOOTP)?;
    let is_valid = ports_match && fixed.first() == Some(&kind) && fixed.ends_with(&COOKIE);
    is_valid.then_some(Message { mac, ip, fixed, options })
}

/// Returns the length of the IPv4 header of an unfragmented UDP packet.
fn header_length(packet: &[u8]) -> Option<usize> {
    let first = *packet.first()?;
    let length = usize::from(first & 0x0f) * 4;
    let fragment = u16::from_be_bytes(*packet.get(6..)?.first_chunk()?) & 0x3fff;
    (first >> 4 == 4 && length >= IPV4_HEADER && fragment == 0 && packet.get(9) == Some(&UDP))
        .then_some(length)
}

fn address(bytes: &[u8], at: usize) -> Option<Ipv4Addr> {
    bytes.get(at..)?.first_chunk::<4>().map(|bytes| Ipv4Addr::from(*bytes))
}

/// Returns the first option with this code in the options field.
fn option(mut options: &[u8], wanted: u8) -> Option<&[u8]> {
    loop {
        options = match options {
            [PAD, rest @ ..] => rest,
            [END, ..] | [] | [_] => return None,
            [code, length, rest @ ..] => {
                let (value, after) = rest.split_at_checked(usize::from(*length))?;
                if *code == wanted {
                    return Some(value);
                }
                after
            }
        };
    }
}
