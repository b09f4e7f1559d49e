//! DHCP messages (RFC 2131) in whole Ethernet frames: our question, and what servers say. Pure.

use std::net::Ipv4Addr;

use crate::event::Mac;

/// Where things stand: Ethernet, IPv4 (RFC 791), UDP (RFC 768), then BOOTP with the magic cookie (RFC 2131, figure 1).
const ETHERNET: usize = 14;
const IPV4: usize = 20;
const UDP: usize = 8;
const BOOTP: usize = 240;
/// BOOTP relays and servers of old drop what is shorter (RFC 1542, 2.1).
const LEAST: usize = 300;

const ETHERTYPE_IPV4: [u8; 2] = [8, 0];
const PROTOCOL_UDP: u8 = 17;
const SERVER_PORT: u16 = 67;
const CLIENT_PORT: u16 = 68;
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
const END: u8 = 255;

const DISCOVER: u8 = 1;
const OFFER: u8 = 2;
const REQUEST: u8 = 3;
const ACK: u8 = 5;
const NAK: u8 = 6;

/// What a server said, to whomever.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reply {
    /// as it calls itself (option 54), else by whose address it came
    pub server: Ipv4Addr,
    /// who sent the frame
    pub mac: Mac,
}

/// A DHCPDISCOVER of a port that has no address, to everybody. `asking_for` is how long we have been at it.
pub fn discover(Mac(ours): Mac, transaction: u32, asking_for: u16) -> Vec<u8> {
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
    // mask, router, resolvers, lease time, server: what any client wants to know
    bootp.extend([PARAMETER_REQUEST, 5, 1, 3, 6, 51, SERVER_IDENTIFIER, END]);
    bootp.resize(LEAST, PAD);

    let ip = ipv4_header(UDP + bootp.len());
    let udp = udp_header(&bootp);
    [&[0xff; 6], &ours[..], &ETHERTYPE_IPV4, &ip, &udp, &bootp].concat()
}

/// From 0.0.0.0 to 255.255.255.255.
fn ipv4_header(payload: usize) -> Vec<u8> {
    let [high, low] = u16::try_from(IPV4 + payload).unwrap_or(u16::MAX).to_be_bytes();
    let header = |sum: [u8; 2]| {
        let lengths = [0x45, 0, high, low, 0, 0, 0, 0, 64, PROTOCOL_UDP];
        [&lengths[..], &sum, &[0; 4], &[0xff; 4]].concat()
    };
    header(checksum(&header([0; 2])).to_be_bytes())
}

fn udp_header(payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(UDP + payload.len()).unwrap_or(u16::MAX).to_be_bytes();
    let ports = [CLIENT_PORT.to_be_bytes(), SERVER_PORT.to_be_bytes()].concat();
    let pseudo = [&[0; 4][..], &[0xff; 4], &[0, PROTOCOL_UDP], &length].concat();
    let sum = match checksum(&[&pseudo, &ports[..], &length, &[0; 2], payload].concat()) {
        // Zero would mean: none.
        0 => u16::MAX,
        sum => sum,
    };
    [&ports[..], &length, &sum.to_be_bytes()].concat()
}

/// The Internet checksum (RFC 1071).
fn checksum(bytes: &[u8]) -> u16 {
    let words = bytes.chunks(2).map(|pair| match pair {
        [high, low] => u32::from(u16::from_be_bytes([*high, *low])),
        [high] => u32::from(*high) << 8,
        _ => 0,
    });
    let mut sum: u32 = words.sum();
    while sum > 0xffff {
        sum = (sum >> 16) + (sum & 0xffff);
    }
    !u16::try_from(sum).unwrap_or(0)
}

/// Reads a frame as what a server says that gives addresses. Checksums are not looked at: the kernel leaves them to network
/// cards, so that within one machine they are often not there yet.
pub fn reply(frame: &[u8]) -> Option<Reply> {
    let Message { mac, ip, fixed, options } = message(frame, [SERVER_PORT, CLIENT_PORT], BOOT_REPLY)?;
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
    gives.then_some(Reply { server: named.or_else(|| address(ip, 12))?, mac })
}

/// The server whose offer a client takes, as it tells all servers (RFC 2131, 3.1, 3): that one has made an offer.
pub fn chosen(frame: &[u8]) -> Option<Ipv4Addr> {
    // What goes to one server is about that one's lease.
    let to_all = frame.first().is_some_and(|first| first & 1 == 1);
    let Message { options, .. } = message(frame, [CLIENT_PORT, SERVER_PORT], BOOT_REQUEST).filter(|_| to_all)?;
    let server = option(options, SERVER_IDENTIFIER).and_then(|value| address(value, 0))?;
    (option(options, MESSAGE_TYPE) == Some(&[REQUEST]) && !server.is_unspecified()).then_some(server)
}

/// What a board that asks for an address, or for its own again, calls itself. Servers take option 81 first, and so do we.
pub fn calls_itself(frame: &[u8]) -> Option<(Mac, String)> {
    let Message { fixed, options, .. } = message(frame, [CLIENT_PORT, SERVER_PORT], BOOT_REQUEST)?;
    // By Ethernet, with its kind of address, which is one board's.
    let mac = Mac(*fixed.get(28..)?.first_chunk()?);
    let [first, ..] = mac.0;
    let one_board = fixed.get(1..3) == Some(&[1, 6]) && first & 1 == 0 && mac.0 != [0; 6];
    let asks = matches!(option(options, MESSAGE_TYPE), Some([DISCOVER | REQUEST]));
    let full = option(options, CLIENT_FQDN).and_then(first_label);
    let name = full.or_else(|| option(options, HOST_NAME)).and_then(words).filter(|_| one_board && asks)?;
    Some((mac, name))
}

/// Of a full name its first label, where it is written by lengths (RFC 4702, 2.3.1); else all of it.
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

/// Some end it as C does. What is no text is no name.
fn words(value: &[u8]) -> Option<String> {
    let end = value.iter().position(|byte| *byte == 0).unwrap_or(value.len());
    let text = std::str::from_utf8(value.get(..end)?).ok()?;
    (!text.is_empty()).then(|| text.to_owned())
}

/// The parts of a frame that is a message of DHCP.
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
    if ethernet.get(12..) != Some(&ETHERTYPE_IPV4) {
        return None;
    }
    let (ip, udp) = packet.split_at_checked(header_length(packet)?)?;
    let (ports, bootp) = udp.split_at_checked(UDP)?;
    let directed = ports.starts_with(&from.to_be_bytes()) && ports.get(2..4) == Some(&to.to_be_bytes());
    let (fixed, options) = bootp.split_at_checked(BOOTP)?;
    let whole = directed && fixed.first() == Some(&kind) && fixed.ends_with(&COOKIE);
    whole.then_some(Message { mac, ip, fixed, options })
}

/// The length of an IPv4 header in front of UDP, if it is one of a whole packet.
fn header_length(packet: &[u8]) -> Option<usize> {
    let first = *packet.first()?;
    let length = usize::from(first & 0x0f) * 4;
    let fragment = u16::from_be_bytes(*packet.get(6..)?.first_chunk()?) & 0x3fff;
    (first >> 4 == 4 && length >= IPV4 && fragment == 0 && packet.get(9) == Some(&PROTOCOL_UDP)).then_some(length)
}

fn address(bytes: &[u8], at: usize) -> Option<Ipv4Addr> {
    bytes.get(at..)?.first_chunk::<4>().map(|bytes| Ipv4Addr::from(*bytes))
}

/// The first option of this code, among those in the field of their own.
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

#[cfg(test)]
pub mod tests {
    use super::*;
    use proptest::prelude::*;

    const OURS: Mac = Mac([2, 0, 0, 0, 0, 1]);
    const THEIRS: Mac = Mac([2, 0, 0, 0, 0, 9]);

    /// As a home router answers.
    fn answer(kind: u8, offered: [u8; 4], options: &[u8]) -> Vec<u8> {
        let mut frame = discover(OURS, 0xdead_beef, 0);
        frame[..6].copy_from_slice(&OURS.0);
        frame[6..12].copy_from_slice(&THEIRS.0);
        frame[26..30].copy_from_slice(&[192, 168, 1, 254]);
        frame[34..38].copy_from_slice(&[0, 67, 0, 68]);
        frame[42] = BOOT_REPLY;
        frame[58..62].copy_from_slice(&offered);
        frame.truncate(ETHERNET + IPV4 + UDP + BOOTP);
        frame.extend([PAD, MESSAGE_TYPE, 1, kind]);
        frame.extend(options);
        frame.push(END);
        frame
    }

    #[test]
    fn an_offer_tells_who_made_it() {
        let offer = answer(OFFER, [192, 168, 1, 20], &[SERVER_IDENTIFIER, 4, 192, 168, 1, 1]);
        assert_eq!(reply(&offer), Some(Reply { server: [192, 168, 1, 1].into(), mac: THEIRS }));
        let nameless = answer(ACK, [192, 168, 1, 20], &[]);
        assert_eq!(reply(&nameless).map(|reply| reply.server), Some([192, 168, 1, 254].into()));
        assert!(reply(&answer(NAK, [0; 4], &[])).is_some());
    }

    #[test]
    fn what_gives_no_address_is_no_server() {
        assert_eq!(reply(&answer(OFFER, [0; 4], &[60, 9, b'P', b'X', b'E', b'C', b'l', b'i', b'e', b'n', b't'])), None);
        assert_eq!(reply(&answer(DISCOVER, [192, 168, 1, 20], &[])), None);
        assert_eq!(reply(&discover(OURS, 1, 0)), None, "a question, ours or another's");
    }

    #[test]
    fn who_takes_an_offer_tells_whose() {
        let mut request = discover(OURS, 1, 0);
        // The option with the kind of message is the first; another takes the place of what the question asks for.
        request[284] = REQUEST;
        assert_eq!(chosen(&request), None, "to all servers that know it: none is named");
        request[285..291].copy_from_slice(&[SERVER_IDENTIFIER, 4, 192, 168, 1, 1]);
        assert_eq!(chosen(&request), Some([192, 168, 1, 1].into()));
        assert_eq!(reply(&request), None, "it gives nothing");
        for (at, byte) in [(35, 67), (37, 68), (42, BOOT_REPLY), (284, DISCOVER)] {
            let mut bad = request.clone();
            bad[at] = byte;
            assert_eq!(chosen(&bad), None, "byte {at}");
        }
        request[287..291].fill(0);
        assert_eq!(chosen(&request), None, "nobody's address");
    }

    /// A board's message with these options in it.
    fn question(kind: u8, options: &[u8]) -> Vec<u8> {
        let mut frame = discover(OURS, 1, 0);
        frame[284] = kind;
        frame.truncate(285);
        frame.extend(options);
        frame.push(END);
        frame
    }

    fn called(frame: &[u8]) -> Option<String> {
        calls_itself(frame).map(|(mac, name)| {
            assert_eq!(mac, OURS);
            name
        })
    }

    #[test]
    fn a_board_tells_its_name_to_all_or_to_one_server() {
        let plain = [&[HOST_NAME, 4][..], b"rpi1"].concat();
        assert_eq!(called(&question(DISCOVER, &plain)).as_deref(), Some("rpi1"));
        let mut renewal = question(REQUEST, &plain);
        renewal[..6].copy_from_slice(&THEIRS.0);
        assert_eq!(called(&renewal).as_deref(), Some("rpi1"));
        renewal[6..12].copy_from_slice(&THEIRS.0);
        assert_eq!(called(&renewal).as_deref(), Some("rpi1"), "whoever handed it on");
        for (at, byte) in [(35, 67), (37, 68), (42, BOOT_REPLY), (43, 6), (44, 8), (70, 3), (284, 7)] {
            let mut bad = question(REQUEST, &plain);
            bad[at] = byte;
            assert_eq!(calls_itself(&bad), None, "byte {at}");
        }
    }

    #[test]
    fn a_name_is_read_in_each_of_its_forms_and_a_spoilt_one_is_none() {
        let with = |options: &[&[u8]]| called(&question(DISCOVER, &options.concat()));
        let plain: &[u8] = &[HOST_NAME, 3, b'o', b'n', b'e'];
        let name = |options: &[&[u8]]| with(options).unwrap_or_default();
        assert_eq!(name(&[&[HOST_NAME, 5], b"one\0x"]), "one", "as C ends it");
        assert_eq!(name(&[plain, &[CLIENT_FQDN, 6, 0, 0, 0], b"two"]), "two");
        assert_eq!(name(&[plain, &[CLIENT_FQDN, 12, 4, 0, 0, 3], b"two", &[3], b"lan", &[0]]), "two");
        for empty in
            [&[CLIENT_FQDN, 3, 0, 0, 0][..], &[CLIENT_FQDN, 4, 4, 0, 0, 0], &[CLIENT_FQDN, 5, 4, 0, 0, 9, b'x']]
        {
            assert_eq!(name(&[empty, plain]), "one", "{empty:?}");
        }
        for spoilt in
            [&[][..], &[HOST_NAME, 0], &[HOST_NAME, 200, b'a'], &[HOST_NAME, 1, 0], &[HOST_NAME, 2, 0xc3, 0x28]]
        {
            assert_eq!(with(&[spoilt]), None, "{spoilt:?}");
        }
    }

    #[test]
    fn only_whole_packets_from_server_to_client_count() {
        let good = answer(OFFER, [192, 168, 1, 20], &[]);
        assert!(reply(&good).is_some());
        for (at, byte) in
            [(12, 0x86), (14, 0x65), (14, 0x44), (20, 0x20), (21, 1), (23, 6), (35, 68), (37, 67), (42, 1), (278, 0)]
        {
            let mut bad = good.clone();
            bad[at] = byte;
            assert_eq!(reply(&bad), None, "byte {at}");
        }
        for length in 0..ETHERNET + IPV4 + UDP + BOOTP {
            assert_eq!(reply(&good[..length]), None, "cut at {length}");
        }
    }

    #[test]
    fn the_question_is_as_the_standards_say() {
        let frame = discover(OURS, 0x0102_0304, 2);
        assert_eq!(frame.len(), ETHERNET + IPV4 + UDP + LEAST);
        let (ip, udp) = (&frame[14..34], &frame[34..]);
        assert_eq!(checksum(ip), 0, "a header with its checksum sums up to nothing");
        let length = u16::try_from(udp.len()).unwrap().to_be_bytes();
        let pseudo = [&ip[12..20], &[0, 17], &length].concat();
        assert_eq!(checksum(&[&pseudo[..], udp].concat()), 0);
        assert_eq!(udp[4..6], length);
        assert_eq!(&frame[42..54], [1, 1, 6, 0, 1, 2, 3, 4, 0, 2, 0x80, 0]);
        assert_eq!(frame[70..76], OURS.0);
        assert_eq!(option(&frame[282..], MESSAGE_TYPE), Some(&[DISCOVER][..]));
    }

    proptest! {
        #[test]
        fn arbitrary_frames_never_panic(frame in proptest::collection::vec(any::<u8>(), 0..700)) {
            reply(&frame);
            chosen(&frame);
            calls_itself(&frame);
        }

        #[test]
        fn spoilt_questions_never_panic_and_tell_no_more_than_an_option_holds(
            spoilt in proptest::collection::vec((12..320usize, any::<u8>()), 0..4),
            options in proptest::collection::vec(prop_oneof![any::<u8>(), prop::sample::select(vec![HOST_NAME, CLIENT_FQDN, 4])], 0..60),
            length in 0..360usize,
        ) {
            let mut frame = question(REQUEST, &options);
            for (at, byte) in spoilt {
                if let Some(place) = frame.get_mut(at) {
                    *place = byte;
                }
            }
            frame.truncate(length);
            if let Some((_, name)) = calls_itself(&frame) {
                prop_assert!(!name.is_empty() && name.len() < 256 && !name.contains('\0'));
            }
        }

        #[test]
        fn spoilt_offers_never_panic_and_keep_their_sender(
            spoilt in proptest::collection::vec((12..320usize, any::<u8>()), 0..12),
            options in proptest::collection::vec(any::<u8>(), 0..40),
            length in 0..340usize,
        ) {
            let mut frame = answer(OFFER, [10, 0, 0, 9], &options);
            for (at, byte) in spoilt {
                if let Some(place) = frame.get_mut(at) {
                    *place = byte;
                }
            }
            frame.truncate(length);
            if let Some(reply) = reply(&frame) {
                prop_assert_eq!(reply.mac, THEIRS);
            }
        }
    }
}
