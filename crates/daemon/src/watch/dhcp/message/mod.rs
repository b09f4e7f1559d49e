//! DHCP messages (RFC 2131) in whole Ethernet frames: our question, and what servers say. Pure.

#[cfg(test)]
pub mod tests;

use std::net::Ipv4Addr;

use super::{CLIENT_PORT, SERVER_PORT};
use crate::event::{Mac, PortalUrl};
use crate::packet::{ETHERTYPE_IPV4, IPV4_HEADER, UDP, checksum};

/// Where things stand: Ethernet, IPv4 (RFC 791), UDP (RFC 768), then BOOTP with the magic cookie
/// (RFC 2131, figure 1).
const ETHERNET: usize = 14;
const UDP_HEADER: usize = 8;
const BOOTP: usize = 240;
/// BOOTP relays and servers of old drop what is shorter (RFC 1542, 2.1).
const LEAST: usize = 300;

const BOOT_REQUEST: u8 = 1;
const BOOT_REPLY: u8 = 2;
const COOKIE: [u8; 4] = [99, 130, 83, 99];
/// "Answer to all": we cannot take an answer at an address that we do not have.
const BROADCAST: [u8; 2] = [0x80, 0];

/// Options (RFC 2132).
const PAD: u8 = 0;
const HOST_NAME: u8 = 12;
const MESSAGE_TYPE: u8 = 53;
const SERVER_IDENTIFIER: u8 = 54;
const PARAMETER_REQUEST: u8 = 55;
/// RFC 4702
const CLIENT_FQDN: u8 = 81;
/// RFC 8925
const IPV6_ONLY: u8 = 108;
/// RFC 8910
const CAPTIVE_PORTAL: u8 = 114;
const END: u8 = 255;

pub const DISCOVER: u8 = 1;
pub const OFFER: u8 = 2;
pub const REQUEST: u8 = 3;
pub const DECLINE: u8 = 4;
pub const ACK: u8 = 5;
pub const NAK: u8 = 6;

/// Holds what a server sends, to whomever.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reply {
    /// as it calls itself (option 54), else by whose address it came
    pub server: Ipv4Addr,
    /// who sent the frame
    pub mac: Mac,
    /// whose question it answers, and which
    pub asked_by: Mac,
    pub transaction: u32,
}

/// Holds what a client says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Question {
    /// whose it is, as it calls its hardware address
    pub mac: Mac,
    pub kind: u8,
    /// it wants to know whether IPv6 only is preferred here (option 108)
    pub ipv6_only: bool,
}

/// Holds what a server says to one client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    pub kind: u8,
    /// of the question that it answers
    pub transaction: u32,
    /// as it calls itself (option 54), else by whose address it came
    pub server: Ipv4Addr,
    /// the address that it gives
    pub address: Ipv4Addr,
    /// IPv6 only is preferred here
    pub ipv6_only: bool,
    /// where the captive portal is
    pub portal: Option<PortalUrl>,
}

/// Reads a frame as what a client says.
pub fn question(frame: &[u8]) -> Option<Question> {
    let Message { fixed, options, .. } = message(frame, [CLIENT_PORT, SERVER_PORT], BOOT_REQUEST)?;
    let &[kind] = option(options, MESSAGE_TYPE)? else { return None };
    let wanted = option(options, PARAMETER_REQUEST).unwrap_or_default();
    Some(Question { mac: hardware(fixed)?, kind, ipv6_only: wanted.contains(&IPV6_ONLY) })
}

/// Reads a frame as what a server says to the client `ours`.
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

/// Makes a DHCPDISCOVER of a port that has no address, to everybody. `asking_for` is how long we
/// have been at it.
pub fn discover(ours: Mac, transaction: u32, asking_for: u16) -> Vec<u8> {
    // mask, router, resolvers, lease time, server: what any client wants to know
    discover_asking(ours, transaction, asking_for, &[1, 3, 6, 51, SERVER_IDENTIFIER])
}

/// Makes one as [`discover`] does, asking for these options.
pub fn discover_asking(
    Mac(ours): Mac,
    transaction: u32,
    asking_for: u16,
    wanted: &[u8],
) -> Vec<u8> {
    let mut bootp = Vec::with_capacity(LEAST);
    // Ethernet, six bytes of address, no relay
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
    bootp.resize(LEAST, PAD);

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
        // Zero would mean: none.
        0 => u16::MAX,
        sum => sum,
    };
    [&ports[..], &length, &sum.to_be_bytes()].concat()
}

/// Reads a frame as what a server says that gives addresses. Checksums are not looked at: the
/// kernel leaves them to network cards, so that within one machine they are often not there yet.
pub fn reply(frame: &[u8]) -> Option<Reply> {
    let Message { mac, ip, fixed, options } =
        message(frame, [SERVER_PORT, CLIENT_PORT], BOOT_REPLY)?;
    let offered = address(fixed, 16)?;
    let gives = match option(options, MESSAGE_TYPE) {
        // One without an address only adds to what another offers: a server for net boot.
        Some([OFFER | ACK]) => !offered.is_unspecified(),
        Some([NAK]) => true,
        // BOOTP, before there was DHCP
        None => !offered.is_unspecified(),
        Some(_) => false,
    };
    let named = option(options, SERVER_IDENTIFIER).and_then(|value| address(value, 0));
    let server = named.or_else(|| address(ip, 12))?;
    let transaction = u32::from_be_bytes(*fixed.get(4..)?.first_chunk()?);
    gives.then_some(Reply {
        server,
        mac,
        asked_by: Mac(*fixed.get(28..)?.first_chunk()?),
        transaction,
    })
}

/// Returns whether a client without an address asks all servers, or takes up an offer before all of
/// them, so that every server on the wire hears it and logs it: no relay asks for it (those of
/// another subnet are not served), and neither the kernel nor dnsmasq drops it as damaged. (RFC
/// 2131 2, 4.1.)
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

/// Returns the server whose offer a client takes, as it announces to all servers (RFC 2131, 3.1,
/// 3): that one has made an offer.
pub fn chosen(frame: &[u8]) -> Option<Ipv4Addr> {
    // What goes to one server is about that one's lease.
    let to_all = frame.first().is_some_and(|first| first & 1 == 1);
    let Message { options, .. } =
        message(frame, [CLIENT_PORT, SERVER_PORT], BOOT_REQUEST).filter(|_| to_all)?;
    let server = option(options, SERVER_IDENTIFIER).and_then(|value| address(value, 0))?;
    (option(options, MESSAGE_TYPE) == Some(&[REQUEST]) && !server.is_unspecified())
        .then_some(server)
}

/// Returns what a board that asks for an address, or for its own again, calls itself. Servers take
/// option 81 first, and so do we.
pub fn calls_itself(frame: &[u8]) -> Option<(Mac, String)> {
    let Message { fixed, options, .. } = message(frame, [CLIENT_PORT, SERVER_PORT], BOOT_REQUEST)?;
    // By Ethernet, with its kind of address, which is one board's.
    let mac = hardware(fixed)?;
    let [first, ..] = mac.0;
    let one_board = fixed.get(1..3) == Some(&[1, 6]) && first & 1 == 0 && mac.0 != [0; 6];
    let asks = matches!(option(options, MESSAGE_TYPE), Some([DISCOVER | REQUEST]));
    let full = option(options, CLIENT_FQDN).and_then(first_label);
    let name = full
        .or_else(|| option(options, HOST_NAME))
        .and_then(words)
        .filter(|_| one_board && asks)?;
    Some((mac, name))
}

/// Returns of a full name its first label, where it is written by lengths (RFC 4702, 2.3.1); else
/// all of it.
fn first_label(value: &[u8]) -> Option<&[u8]> {
    const BY_LENGTHS: u8 = 4;
    // Flags, and two results of old.
    let [flags, _, _, name @ ..] = value else { return None };
    let name = match name {
        [length, rest @ ..] if flags & BY_LENGTHS != 0 => rest.get(..usize::from(*length))?,
        _ => name,
    };
    name.first().is_some_and(|byte| *byte != 0).then_some(name)
}

/// Reads a name. Some end it as C does. What is no text is no name.
fn words(value: &[u8]) -> Option<String> {
    let end = value.iter().position(|byte| *byte == 0).unwrap_or(value.len());
    let text = std::str::from_utf8(value.get(..end)?).ok()?;
    (!text.is_empty()).then(|| text.to_owned())
}

/// Holds the parts of a frame that is a message of DHCP.
struct Message<'a> {
    /// who sent it
    mac: Mac,
    ip: &'a [u8],
    fixed: &'a [u8],
    options: &'a [u8],
}

fn message(frame: &[u8], [from, to]: [u16; 2], kind: u8) -> Option<Message<'_>> {
    let (ethernet, packet) = frame.split_at_checked(ETHERNET)?;
    let mac = Mac(*ethernet.get(6..)?.first_chunk()?);
    if ethernet.get(12..) != Some(&ETHERTYPE_IPV4.to_be_bytes()) {
        return None;
    }
    let (ip, udp) = packet.split_at_checked(header_length(packet)?)?;
    let (ports, bootp) = udp.split_at_checked(UDP_HEADER)?;
    let directed =
        ports.starts_with(&from.to_be_bytes()) && ports.get(2..4) == Some(&to.to_be_bytes());
    let (fixed, options) = bootp.split_at_checked(BOOTP)?;
    let whole = directed && fixed.first() == Some(&kind) && fixed.ends_with(&COOKIE);
    whole.then_some(Message { mac, ip, fixed, options })
}

/// Returns the length of an IPv4 header in front of UDP, if it is one of a whole packet.
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

/// Returns the first option of this code, among those in the field of their own.
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
