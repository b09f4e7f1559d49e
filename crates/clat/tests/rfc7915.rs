//! The requirements of RFC 7915, case by case.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::net::{Ipv4Addr, Ipv6Addr};

use bramblegate_clat::{DropReason, Offload, Translator};
use etherparse::checksum::Sum16BitWords;
use etherparse::{IpNumber, Ipv4Header, Ipv6FlowLabel, Ipv6Header, PacketBuilder};
use etherparse::{SlicedPacket, TransportSlice};

const REMOTE: Ipv4Addr = Ipv4Addr::new(45, 45, 45, 80);
const ROUTER: &str = "2001:db8:ffff::1";

fn translator() -> Translator {
    Translator { clat6: "2001:db8::464".parse().unwrap(), ..Translator::default() }
}

fn v4(protocol: u8, source: Ipv4Addr, destination: Ipv4Addr, payload: &[u8]) -> Vec<u8> {
    let length = payload.len() as u16;
    let (source, destination) = (source.octets(), destination.octets());
    let header = Ipv4Header::new(length, 64, IpNumber(protocol), source, destination).unwrap();
    let mut bytes = Vec::new();
    header.write(&mut bytes).unwrap();
    [bytes, payload.to_vec()].concat()
}

fn v6(next: u8, source: Ipv6Addr, destination: Ipv6Addr, payload: &[u8]) -> Vec<u8> {
    let header = Ipv6Header {
        traffic_class: 0,
        flow_label: Ipv6FlowLabel::ZERO,
        payload_length: payload.len() as u16,
        next_header: IpNumber(next),
        hop_limit: 60,
        source: source.octets(),
        destination: destination.octets(),
    };
    [header.to_bytes().to_vec(), payload.to_vec()].concat()
}

fn remote6() -> Ipv6Addr {
    translator().prefix.embed(REMOTE)
}

fn to_v6(packet: &[u8]) -> Result<Vec<u8>, DropReason> {
    let mut head = Vec::new();
    let translator = translator();
    let translated = translator.to_v6(packet, Offload::default(), &mut head)?;
    Ok(translated.packets()?.remove(0).1)
}

fn to_v4(packet: &[u8]) -> Result<Vec<u8>, DropReason> {
    let mut head = Vec::new();
    let translator = translator();
    let translated = translator.to_v4(packet, Offload::default(), 7, &mut head)?;
    Ok(translated.packets()?.remove(0).1)
}

/// Returns an ICMPv6 error with its checksum, from a router that has no IPv4 address.
fn error6(kind: u8, code: u8, field: u32, quoted: &[u8]) -> Vec<u8> {
    let source: Ipv6Addr = ROUTER.parse().unwrap();
    let destination = translator().clat6;
    let mut message = vec![kind, code, 0, 0];
    message.extend(field.to_be_bytes());
    message.extend(quoted);
    let mut packet = v6(58, source, destination, &message);
    let mut sum = message.len() as u32 + 58;
    for word in packet[8..].chunks(2) {
        sum += u32::from(word[0]) << 8 | u32::from(word.get(1).copied().unwrap_or(0));
    }
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    packet[42..44].copy_from_slice(&(!sum as u16).to_be_bytes());
    packet
}

/// Returns an ICMP error with its checksum, from the IPv4 side.
fn error4(kind: u8, code: u8, field: u32, quoted: &[u8]) -> Vec<u8> {
    let mut message = vec![kind, code, 0, 0];
    message.extend(field.to_be_bytes());
    message.extend(quoted);
    let mut sum = 0;
    for word in message.chunks(2) {
        sum += u32::from(word[0]) << 8 | u32::from(word.get(1).copied().unwrap_or(0));
    }
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    message[2..4].copy_from_slice(&(!sum as u16).to_be_bytes());
    v4(1, translator().clat4, REMOTE, &message)
}

fn udp4(source: Ipv4Addr, destination: Ipv4Addr, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let ip = PacketBuilder::ipv4(source.octets(), destination.octets(), 64);
    ip.udp(1000, 53).write(&mut bytes, payload).unwrap();
    bytes
}

fn udp6(source: Ipv6Addr, destination: Ipv6Addr, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let ip = PacketBuilder::ipv6(source.octets(), destination.octets(), 64);
    ip.udp(1000, 53).write(&mut bytes, payload).unwrap();
    bytes
}

/// Checks an ICMP message's checksum and returns the message.
fn message4(packet: &[u8]) -> Vec<u8> {
    let sliced = SlicedPacket::from_ip(packet).expect("a packet");
    let Some(TransportSlice::Icmpv4(icmp)) = sliced.transport else { panic!("{packet:x?}") };
    assert_eq!(Sum16BitWords::new().add_slice(icmp.slice()).ones_complement(), 0);
    icmp.slice().to_vec()
}

fn message6(packet: &[u8]) -> Vec<u8> {
    let sliced = SlicedPacket::from_ip(packet).expect("a packet");
    let Some(TransportSlice::Icmpv6(icmp)) = sliced.transport else { panic!("{packet:x?}") };
    let addresses = (packet[8..24].try_into().unwrap(), packet[24..40].try_into().unwrap());
    assert!(icmp.is_checksum_valid(addresses.0, addresses.1));
    icmp.slice().to_vec()
}

#[test]
fn addresses_that_are_dropped() {
    let own = translator().clat4;
    let reason = |source: &str, destination: &str| {
        let packet = udp4(source.parse().unwrap(), destination.parse().unwrap(), b"x");
        to_v6(&packet).unwrap_err()
    };
    for source in ["0.0.0.0", "127.0.0.1", "224.0.0.1", "255.255.255.255"] {
        assert_eq!(reason(source, "8.8.8.8"), DropReason::IllegalSource, "{source}");
    }
    assert_eq!(reason("192.168.50.11", "8.8.8.8"), DropReason::ForeignSource);
    for destination in ["224.0.0.251", "255.255.255.255", "127.0.0.1", "0.0.0.0", "192.0.0.1"] {
        assert_eq!(reason("192.0.0.1", destination), DropReason::IllegalDestination);
    }
    for destination in ["10.0.0.1", "203.0.113.80", "192.168.1.1"] {
        assert_eq!(reason("192.0.0.1", destination), DropReason::NotGlobal);
    }
    let six = translator().clat6;
    let back = |source: Ipv6Addr, destination: Ipv6Addr| {
        to_v4(&udp6(source, destination, b"x")).unwrap_err()
    };
    let embed = |text: &str| translator().prefix.embed(text.parse().unwrap());
    assert_eq!(back(Ipv6Addr::LOCALHOST, six), DropReason::IllegalSource);
    assert_eq!(back("ff02::1".parse().unwrap(), six), DropReason::IllegalSource);
    assert_eq!(back(embed("224.0.0.1"), six), DropReason::IllegalSource);
    assert_eq!(back(translator().prefix.embed(own), six), DropReason::IllegalSource);
    assert_eq!(back(embed("10.0.0.1"), six), DropReason::NotGlobal);
    assert_eq!(back("2001:db8::1".parse().unwrap(), six), DropReason::ForeignSource);
    assert_eq!(back(remote6(), "2001:db8::1".parse().unwrap()), DropReason::ForeignDestination);
    assert_eq!(back(remote6(), "ff02::1".parse().unwrap()), DropReason::IllegalDestination);
}

/// Section 4.1: options are ignored, except source routes.
#[test]
fn options() {
    let plain = udp4(translator().clat4, REMOTE, b"question");
    let with = |options: [u8; 8]| {
        let mut packet = [&plain[..20], &options, &plain[20..]].concat();
        packet[0] = 0x47;
        packet[3] += 8;
        packet[10..12].fill(0);
        let mut sum = 0;
        for word in packet[..28].chunks(2) {
            sum += u32::from(word[0]) << 8 | u32::from(word[1]);
        }
        packet[10..12].copy_from_slice(&(!(sum % 0xffff) as u16).to_be_bytes());
        packet
    };
    // A router alert.
    let alert = with([148, 4, 0, 0, 0, 0, 0, 0]);
    assert_eq!(to_v6(&alert), to_v6(&plain));
    assert!(to_v6(&plain).is_ok());
    let routed = with([131, 7, 4, 10, 0, 0, 1, 0]);
    assert_eq!(to_v6(&routed), Err(DropReason::SourceRoute));
    let answer = translator().answer(&routed, DropReason::SourceRoute, REMOTE.into()).unwrap();
    let message = message4(&answer);
    assert_eq!(message[..2], [3, 5]);
    assert_eq!(message[8..], routed);
}

#[test]
fn protocols_that_are_dropped() {
    for protocol in [0, 2, 43, 44, 58, 59, 60, 135, 139, 140] {
        let packet = v4(protocol, translator().clat4, REMOTE, &[0; 32]);
        assert_eq!(to_v6(&packet), Err(DropReason::Protocol(protocol)));
    }
    for next in [1, 2, 135, 139, 140] {
        let packet = v6(next, remote6(), translator().clat6, &[0; 32]);
        assert_eq!(to_v4(&packet), Err(DropReason::Protocol(next)));
    }
    // Other protocols are copied: GRE, ESP, SCTP.
    for protocol in [47, 50, 132] {
        let packet = v4(protocol, translator().clat4, REMOTE, &[9; 32]);
        let six = to_v6(&packet).unwrap();
        assert_eq!((six[6], &six[40..]), (protocol, &[9; 32][..]));
        let packet = v6(protocol, remote6(), translator().clat6, &[9; 32]);
        let four = to_v4(&packet).unwrap();
        assert_eq!((four[9], &four[20..]), (protocol, &[9; 32][..]));
    }
}

/// Section 5.1: extension headers are skipped, unless segments are left.
#[test]
fn extension_headers() {
    let plain = udp6(remote6(), translator().clat6, b"answer");
    let with = |first: u8, headers: &[u8]| {
        let mut packet = [&plain[..40], headers, &plain[40..]].concat();
        packet[5] += headers.len() as u8;
        packet[6] = first;
        packet
    };
    let four = to_v4(&plain).unwrap();
    let padding = [60, 0, 1, 4, 0, 0, 0, 0, 17, 0, 1, 4, 0, 0, 0, 0];
    assert_eq!(to_v4(&with(0, &padding)), Ok(four.clone()));
    assert_eq!(to_v4(&with(43, &[17, 0, 4, 0, 0, 0, 0, 0])), Ok(four));
    let routed = with(43, &[17, 0, 4, 1, 0, 0, 0, 0]);
    assert_eq!(to_v4(&routed), Err(DropReason::SegmentsLeft(43)));
    let from = translator().clat6.into();
    let answer = translator().answer(&routed, DropReason::SegmentsLeft(43), from).unwrap();
    let message = message6(&answer);
    assert_eq!(message[..8], [&[4, 0], &message[2..4], &[0, 0, 0, 43]].concat());
    // Hop-by-hop options are allowed only first.
    assert_eq!(
        to_v4(&with(60, &[0, 0, 1, 4, 0, 0, 0, 0, 17, 0, 1, 4, 0, 0, 0, 0])),
        Err(DropReason::Malformed)
    );
    // No extension header is allowed after a fragment header.
    let hidden = with(44, &[60, 0, 0, 0, 0, 0, 0, 1, 17, 0, 1, 4, 0, 0, 0, 0]);
    assert_eq!(to_v4(&hidden), Err(DropReason::ExtensionHeader(60)));
    // An atomic fragment may be fragmented again, and keeps its identification.
    let atomic = to_v4(&with(44, &[17, 0, 0, 0, 0xaa, 0xbb, 0xcc, 0xdd])).unwrap();
    assert_eq!(atomic[4..8], [0xcc, 0xdd, 0, 0]);
}

/// Sections 4.2 and 4.5: fragments that cannot be translated.
#[test]
fn fragments_that_are_dropped() {
    let mut echo = v4(1, translator().clat4, REMOTE, &[8, 0, 0xf7, 0xfe, 0, 1, 0, 0]);
    set_fragment(&mut echo, 0x2000);
    assert_eq!(to_v6(&echo), Err(DropReason::FragmentedIcmp));
    let mut unsummed = udp4(translator().clat4, REMOTE, &[0; 16]);
    unsummed[26..28].fill(0);
    let whole = to_v6(&unsummed).unwrap();
    assert_ne!(whole[46..48], [0, 0]);
    set_fragment(&mut unsummed, 0x2000);
    assert_eq!(to_v6(&unsummed), Err(DropReason::NoUdpChecksum));
    let message = [128, 0, 0, 0, 0, 1, 0, 0];
    let piece =
        v6(44, remote6(), translator().clat6, &[&[58, 0, 0, 1, 0, 0, 0, 1], &message[..]].concat());
    assert_eq!(to_v4(&piece), Err(DropReason::FragmentedIcmp));
    // A missing checksum is allowed by IPv6 in tunnels, and by IPv4.
    let mut tunnel = udp6(remote6(), translator().clat6, b"x");
    tunnel[46..48].fill(0);
    assert_eq!(to_v4(&tunnel).unwrap()[26..28], [0, 0]);
}

fn set_fragment(packet: &mut [u8], field: u16) {
    packet[6..8].copy_from_slice(&field.to_be_bytes());
    packet[10..12].fill(0);
    let mut sum = 0;
    for word in packet[..20].chunks(2) {
        sum += u32::from(word[0]) << 8 | u32::from(word[1]);
    }
    packet[10..12].copy_from_slice(&(!(sum % 0xffff) as u16).to_be_bytes());
}

/// Section 5.2: errors of routers without an IPv4 address come from 192.0.0.8, and quote the
/// original IPv4 packet.
#[test]
fn errors_from_the_venue() {
    let sent = udp4(translator().clat4, REMOTE, b"a question");
    let quoted = to_v6(&sent).unwrap();
    let table = [
        ((1, 0, 0), (3, 1, 0)),
        ((1, 1, 0), (3, 10, 0)),
        ((1, 3, 0), (3, 1, 0)),
        ((1, 4, 0), (3, 3, 0)),
        ((2, 0, 1400), (3, 4, 1380)),
        // No IPv6 path is smaller, and the uplink's MTU is the maximum.
        ((2, 0, 600), (3, 4, 1260)),
        ((2, 0, 9000), (3, 4, 1480)),
        ((3, 0, 0), (11, 0, 0)),
        ((3, 1, 0), (11, 1, 0)),
        ((4, 0, 7), (12, 0, 8 << 24)),
        ((4, 1, 6), (3, 2, 0)),
    ];
    for ((kind, code, field), (new_kind, new_code, new_field)) in table {
        let four = to_v4(&error6(kind, code, field, &quoted)).unwrap();
        assert_eq!(four[12..16], [192, 0, 0, 8]);
        let message = message4(&four);
        assert_eq!(message[..2], [new_kind, new_code]);
        assert_eq!(message[4..8], u32::to_be_bytes(new_field), "{kind} {code} {field}");
        // The quoted packet is the original, except for the identification, which IPv6 did not
        // carry.
        let mut back = message[8..].to_vec();
        back[4..6].copy_from_slice(&sent[4..6]);
        back[10..12].copy_from_slice(&sent[10..12]);
        let mut before = sent.clone();
        before[6..8].copy_from_slice(&message[14..16]);
        assert_eq!(back, before);
    }
    for (kind, code) in [(1, 2), (1, 5), (4, 2), (5, 0), (100, 0)] {
        let result = to_v4(&error6(kind, code, 0, &quoted));
        assert_eq!(result.is_ok(), (kind, code) == (1, 2), "{kind} {code}");
    }
    let mut wrong = error6(1, 0, 0, &quoted);
    wrong[42] ^= 1;
    assert_eq!(to_v4(&wrong), Err(DropReason::Checksum));
    // About a packet of another host.
    let foreign = udp6(ROUTER.parse().unwrap(), remote6(), b"x");
    assert_eq!(to_v4(&error6(1, 0, 0, &foreign)), Err(DropReason::ForeignError));
    // About an error.
    let nested = v6(58, translator().clat6, remote6(), &[1, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(to_v4(&error6(1, 0, 0, &nested)), Err(DropReason::NestedError));
    // About a fragment that the translator made: eight octets more.
    let piece =
        v6(44, translator().clat6, remote6(), &[&[17, 0, 0, 1, 0, 0, 0, 1], &[0; 16][..]].concat());
    let message = message4(&to_v4(&error6(2, 0, 1300, &piece)).unwrap());
    assert_eq!(message[6..8], 1272u16.to_be_bytes());
}

/// Section 4.2: errors from the IPv4 side.
#[test]
fn errors_from_the_ipv4_side() {
    let sent = udp6(remote6(), translator().clat6, b"an answer");
    let quoted = to_v4(&sent).unwrap();
    let table = [
        ((3, 0, 0), (1, 0, 0)),
        ((3, 1, 0), (1, 0, 0)),
        ((3, 2, 0), (4, 1, 6)),
        ((3, 3, 0), (1, 4, 0)),
        ((3, 13, 0), (1, 1, 0)),
        ((3, 4, 1400), (2, 0, 1420)),
        ((3, 4, 576), (2, 0, 1280)),
        // A router that reports no MTU.
        ((3, 4, 0), (2, 0, 1280)),
        ((11, 0, 0), (3, 0, 0)),
        ((12, 0, 9 << 24), (4, 0, 6)),
    ];
    for ((kind, code, field), (new_kind, new_code, new_field)) in table {
        let message = message6(&to_v6(&error4(kind, code, field, &quoted)).unwrap());
        assert_eq!(message[..2], [new_kind, new_code]);
        assert_eq!(message[4..8], u32::to_be_bytes(new_field), "{kind} {code} {field}");
        assert_eq!(message[8..], sent);
    }
    let nested = v4(1, REMOTE, translator().clat4, &[3, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(to_v6(&error4(3, 0, 0, &nested)), Err(DropReason::NestedError));
    let foreign = udp4(REMOTE, Ipv4Addr::new(192, 168, 50, 11), b"x");
    assert_eq!(to_v6(&error4(3, 0, 0, &foreign)), Err(DropReason::ForeignError));
    for (kind, code) in [(3, 14), (4, 0), (5, 0), (12, 1), (13, 0)] {
        let result = to_v6(&error4(kind, code, 0, &quoted));
        assert_eq!(result, Err(DropReason::Icmp(kind, code)));
    }
}

/// RFC 4884: extensions are translated too, and the length of the quoted packet is in other units.
#[test]
fn extensions_of_errors() {
    let extension = [0x20, 0, 0, 0, 0, 8, 1, 1, 0, 1, 0x21, 0xff];
    let sent = udp4(translator().clat4, REMOTE, &[7; 64]);
    let mut quoted = to_v6(&sent).unwrap();
    quoted.resize(128, 0);
    quoted.extend(extension);
    let message = message4(&to_v4(&error6(3, 0, 16 << 24, &quoted)).unwrap());
    assert_eq!((message[4], message[5]), (0, 32));
    assert_eq!(message.len(), 8 + 128 + extension.len());
    assert_eq!(message[8 + 128..], extension);

    let mut quoted = to_v4(&udp6(remote6(), translator().clat6, &[7; 84])).unwrap();
    quoted.resize(128, 0);
    quoted.extend(extension);
    let message = message6(&to_v6(&error4(11, 0, 32 << 16, &quoted)).unwrap());
    // 84 + 8 + 40 octets, in units of eight.
    assert_eq!(message[4..8], [17, 0, 0, 0]);
    assert_eq!(message[8 + 136..], extension);
}

/// The checksum of an echo reply of zeros is 0xffff, since ICMP has no pseudo header.
#[test]
fn an_echo_reply_of_zeros() {
    let mut echo = Vec::new();
    let ip = PacketBuilder::ipv6(remote6().octets(), translator().clat6.octets(), 9);
    ip.icmpv6_echo_reply(0, 0).write(&mut echo, &[0; 8]).unwrap();
    let message = message4(&to_v4(&echo).unwrap());
    assert_eq!(message[..4], [0, 0, 0xff, 0xff]);
}

#[test]
fn a_wrong_checksum_stays_wrong() {
    let mut packet = udp4(translator().clat4, REMOTE, b"damaged");
    let good = to_v6(&packet).unwrap();
    packet[30] ^= 0x10;
    let bad = to_v6(&packet).unwrap();
    assert_eq!(bad[46..48], good[46..48]);
    packet[8] ^= 1;
    assert_eq!(to_v6(&packet), Err(DropReason::Checksum));
}
