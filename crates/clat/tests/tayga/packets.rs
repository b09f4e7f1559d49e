//! The packets, made by the crate etherparse, and the differences that two translators may have.

use std::net::{Ipv4Addr, Ipv6Addr};

use bramblegate_clat::{Offload, Translator};
use etherparse::{Icmpv4Type, Icmpv6Type, PacketBuilder};

pub const REMOTE: Ipv4Addr = Ipv4Addr::new(45, 45, 45, 80);

#[derive(Clone)]
pub struct Case {
    pub name: String,
    pub packet: Vec<u8>,
}

/// Lengths of payloads: empty, odd, around the limit for fragmentation, and around the MTU.
const SIZES: [usize; 8] = [0, 1, 56, 1211, 1212, 1213, 1232, 1400];

pub fn all(translator: &Translator) -> Vec<Case> {
    let mut cases = Vec::new();
    let mut add = |name: String, packet: Vec<u8>| cases.push(Case { name, packet });
    let own6 = translator.clat6;
    let remote6 = translator.prefix.embed(REMOTE);
    for size in SIZES {
        let payload: Vec<u8> = (0..size).map(|at| (at * 7 + size) as u8).collect();
        for kind in ["tcp", "udp", "echo"] {
            add(format!("{kind} {size} out"), v4(kind, translator.clat4, REMOTE, &payload, 0x40));
            add(format!("{kind} {size} in"), v6(kind, remote6, own6, &payload));
        }
        if size <= 1212 {
            add(
                format!("udp {size} out without DF"),
                v4("udp", translator.clat4, REMOTE, &payload, 0),
            );
        }
    }
    let datagram = v4("udp", translator.clat4, REMOTE, &[5; 1000], 0);
    for (number, at) in (0..1008).step_by(504).enumerate() {
        let mut piece = [&datagram[..20], &datagram[20 + at..20 + at + 504]].concat();
        let field = (at / 8) as u16 | if number == 0 { 0x2000 } else { 0 };
        piece[2..4].copy_from_slice(&524u16.to_be_bytes());
        piece[6..8].copy_from_slice(&field.to_be_bytes());
        seal(&mut piece);
        add(format!("udp piece {number} out"), piece.clone());
        // And the translated packet, back.
        let back = Translator { clat4: REMOTE, clat6: remote6, ..translator.clone() };
        add(format!("udp piece {number} in"), mirrored(&back, translator, &piece));
    }
    errors(translator, &mut add);
    cases
}

/// Returns a packet of IPv4 as it comes from the other side.
fn mirrored(back: &Translator, translator: &Translator, packet: &[u8]) -> Vec<u8> {
    let mut turned = packet.to_vec();
    turned[12..16].copy_from_slice(&REMOTE.octets());
    turned[16..20].copy_from_slice(&translator.clat4.octets());
    seal(&mut turned);
    let far = Translator { hop: false, only_global: false, ..back.clone() };
    let mut head = Vec::new();
    let six = far.to_v6(&turned, Offload::default(), &mut head).expect("a packet");
    let mut six = six.packets().expect("a packet").remove(0).1;
    six[24..40].copy_from_slice(&translator.clat6.octets());
    six
}

fn errors(translator: &Translator, add: &mut impl FnMut(String, Vec<u8>)) {
    let own6 = translator.clat6;
    let remote6 = translator.prefix.embed(REMOTE);
    let quoted4 = v4("udp", REMOTE, translator.clat4, b"an answer", 0);
    for (kind, code, field) in [
        (3, 0, 0),
        (3, 1, 0),
        (3, 2, 0),
        (3, 3, 0),
        (3, 4, 1400u32),
        (3, 9, 0),
        (3, 10, 0),
        (3, 13, 0),
        (11, 0, 0),
        (11, 1, 0),
        (4, 0, 0),
        (5, 0, 0),
    ] {
        let bytes = field.to_be_bytes();
        let ip = PacketBuilder::ipv4(translator.clat4.octets(), REMOTE.octets(), 64);
        let message = Icmpv4Type::Unknown { type_u8: kind, code_u8: code, bytes5to8: bytes };
        let mut packet = Vec::new();
        ip.icmpv4(message).write(&mut packet, &quoted4).unwrap();
        packet[6] = 0x40;
        seal(&mut packet);
        add(format!("error {kind}/{code} out"), packet);
    }
    // Without 1/3, address unreachable: tayga 0.9.2 drops it; RFC 7915, section 5.2, translates it
    // to 3/1.
    let quoted6 = v6("udp", own6, remote6, b"a question");
    for (kind, code, field) in [
        (1, 0, 0),
        (1, 1, 0),
        (1, 4, 0),
        (2, 0, 1400u32),
        (3, 0, 0),
        (3, 1, 0),
        (4, 1, 6),
        (4, 2, 40),
    ] {
        let ip = PacketBuilder::ipv6(remote6.octets(), own6.octets(), 64);
        let bytes = field.to_be_bytes();
        let message = Icmpv6Type::Unknown { type_u8: kind, code_u8: code, bytes5to8: bytes };
        let mut packet = Vec::new();
        ip.icmpv6(message).write(&mut packet, &quoted6).unwrap();
        add(format!("error {kind}/{code} in"), packet);
    }
}

fn v4(kind: &str, from: Ipv4Addr, to: Ipv4Addr, payload: &[u8], fragment: u8) -> Vec<u8> {
    let ip = PacketBuilder::ipv4(from.octets(), to.octets(), 64);
    let mut packet = Vec::new();
    match kind {
        "tcp" => ip.tcp(1000, 80, 7, 9).write(&mut packet, payload),
        "udp" => ip.udp(1000, 53).write(&mut packet, payload),
        _ => ip.icmpv4_echo_request(7, 9).write(&mut packet, payload),
    }
    .unwrap();
    packet[1] = 0x2e;
    packet[4..8].copy_from_slice(&[0x12, 0x34, fragment, 0]);
    seal(&mut packet);
    packet
}

fn v6(kind: &str, from: Ipv6Addr, to: Ipv6Addr, payload: &[u8]) -> Vec<u8> {
    let ip = PacketBuilder::ipv6(from.octets(), to.octets(), 60);
    let mut packet = Vec::new();
    match kind {
        "tcp" => ip.tcp(80, 1000, 7, 9).write(&mut packet, payload),
        "udp" => ip.udp(53, 1000).write(&mut packet, payload),
        _ => ip.icmpv6_echo_reply(7, 9).write(&mut packet, payload),
    }
    .unwrap();
    packet[0..2].copy_from_slice(&[0x62, 0xe0]);
    packet
}

/// Writes the checksum of an IPv4 header.
pub fn seal(packet: &mut [u8]) {
    packet[10..12].fill(0);
    let sum: u32 = packet[..20].chunks(2).map(|w| u32::from(w[0]) << 8 | u32::from(w[1])).sum();
    let sum = (sum & 0xffff) + (sum >> 16);
    packet[10..12].copy_from_slice(&(!((sum + (sum >> 16)) as u16)).to_be_bytes());
}

/// Makes legitimate differences of unfragmented IPv4 packets equal, also in quoted ones: an
/// identification that IPv6 did not carry, and DF up to 1260 octets, which tayga 0.9.2 sets by RFC
/// 6145, and RFC 7915, section 5.1, does not.
pub fn set_free_equal(ours: &mut [Vec<u8>], theirs: &mut [Vec<u8>]) {
    for packet in ours.iter_mut().chain(theirs).filter(|packet| packet[0] >> 4 == 4) {
        let quotes = packet[9] == 1 && matches!(packet[20], 3 | 11 | 12);
        set_whole_equal(packet);
        if quotes {
            set_whole_equal(&mut packet[28..]);
        }
    }
}

fn set_whole_equal(packet: &mut [u8]) {
    let whole = u16::from_be_bytes([packet[6], packet[7]]) & 0x3fff == 0;
    if whole {
        packet[4..7].copy_from_slice(&[0, 0, 0x40]);
        seal(packet);
    }
}

/// Returns packets that tayga translates differently or not at all, to compare the program with the
/// library.
pub fn of_ours(translator: &Translator) -> Vec<Case> {
    let own4 = translator.clat4;
    let own6 = translator.clat6;
    let remote6 = translator.prefix.embed(REMOTE);
    let mut cases = Vec::new();
    let mut add = |name: &str, packet: Vec<u8>| cases.push(Case { name: name.into(), packet });
    let datagram = v4("udp", own4, REMOTE, &[7; 100], 0x40);
    let segment = v6("udp", remote6, own6, &[7; 100]);
    for protocol in [2, 33, 41, 43, 44, 47, 50, 51, 58, 59, 60, 132, 136] {
        let mut packet = datagram.clone();
        packet[9] = protocol;
        seal(&mut packet);
        add(&format!("protocol {protocol} out"), packet);
        let mut packet = segment.clone();
        packet[6] = protocol;
        add(&format!("next header {protocol} in"), packet);
    }
    let mut unsummed = datagram.clone();
    unsummed[26..28].fill(0);
    add("udp without checksum out", unsummed);
    let mut unsummed = segment.clone();
    unsummed[46..48].fill(0);
    add("udp without checksum in", unsummed);
    for size in [1213, 1232, 1400, 1452, 1453, 1472] {
        add(&format!("udp {size} out without DF"), v4("udp", own4, REMOTE, &vec![3; size], 0));
        add(&format!("udp {size} out"), v4("udp", own4, REMOTE, &vec![3; size], 0x40));
        add(&format!("echo {size} out without DF"), v4("echo", own4, REMOTE, &vec![3; size], 0));
    }
    for hops in [0, 1, 2] {
        let mut packet = datagram.clone();
        packet[8] = hops;
        seal(&mut packet);
        add(&format!("{hops} hops out"), packet);
        let mut packet = segment.clone();
        packet[7] = hops;
        add(&format!("{hops} hops in"), packet);
    }
    for other in [
        "10.0.0.1",
        "127.0.0.1",
        "224.0.0.1",
        "255.255.255.255",
        "0.0.0.0",
        "100.64.0.1",
        "169.254.0.1",
        "172.16.0.1",
        "172.32.0.1",
        "192.0.0.9",
        "192.0.0.1",
        "192.0.0.2",
        "192.0.2.1",
        "192.168.1.1",
        "198.18.0.1",
        "198.20.0.1",
        "198.51.100.1",
        "203.0.113.1",
        "240.0.0.1",
        "8.8.8.8",
    ] {
        let other: Ipv4Addr = other.parse().unwrap();
        add(&format!("to {other}"), v4("udp", own4, other, b"hello", 0x40));
        add(&format!("from {other}"), v6("udp", translator.prefix.embed(other), own6, b"hello"));
        add(&format!("{other} itself"), v4("udp", other, REMOTE, b"hello", 0x40));
    }
    let foreign: Ipv6Addr = "2001:db8:bad::1".parse().unwrap();
    add("from outside of the prefix", v6("udp", foreign, own6, b"hello"));
    add("echo from outside of the prefix", v6("echo", foreign, own6, b"hello"));
    let mut options = datagram.clone();
    options.splice(20..20, [1, 1, 1, 0]);
    options[0] = 0x46;
    let length = options.len() as u16;
    options[2..4].copy_from_slice(&length.to_be_bytes());
    options[10..12].fill(0);
    add("options with a wrong checksum", options);
    // An atomic fragment, and a first fragment with an incomplete header.
    let mut atomic = segment.clone();
    atomic.splice(40..40, [17, 0, 0, 0, 0x12, 0x34, 0x56, 0x78]);
    atomic[6] = 44;
    let length = (atomic.len() - 40) as u16;
    atomic[4..6].copy_from_slice(&length.to_be_bytes());
    add("an atomic fragment", atomic.clone());
    atomic[43] = 1;
    atomic.truncate(56);
    atomic[4..6].copy_from_slice(&16u16.to_be_bytes());
    add("a first piece", atomic);
    for kind in [0, 3, 5, 8, 9, 13, 17] {
        let mut packet = v4("echo", own4, REMOTE, &[0; 40], 0x40);
        packet[20] = kind;
        add(&format!("icmp {kind} out"), packet);
    }
    cases
}

/// Changes an octet or two of the headers. Updates the checksum of the IPv4 header, since the
/// kernel does not pass on a wrong one.
pub fn change(case: &Case, random: &mut u64) -> Case {
    let mut next = || {
        *random ^= *random << 13;
        *random ^= *random >> 7;
        *random ^= *random << 17;
        (*random >> 32) as usize
    };
    let mut packet = case.packet.clone();
    let version = packet[0] >> 4;
    for _ in 0..1 + next() % 2 {
        let headers = packet.len().min(if version == 4 { 48 } else { 68 });
        let at = next() % headers;
        packet[at] = match next() % 4 {
            0 => 0,
            1 => 0xff,
            2 => packet[at] ^ (1 << (next() % 8)),
            _ => next() as u8,
        };
    }
    packet[0] = version << 4 | packet[0] & 0xf;
    if version == 4 {
        packet[0] = 0x45;
        seal(&mut packet);
    }
    Case { name: format!("{}, changed", case.name), packet }
}

/// Returns a datagram for the slow path: outward it has no checksum, inward an extension header.
pub fn last(translator: &Translator, four: bool, port: u16) -> Vec<u8> {
    let mut packet;
    if four {
        packet = v4("udp", translator.clat4, REMOTE, b"the last", 0x40);
        packet[22..24].copy_from_slice(&port.to_be_bytes());
        packet[26..28].fill(0);
    } else {
        packet = v6("udp", translator.prefix.embed(REMOTE), translator.clat6, b"the last");
        packet[42..44].copy_from_slice(&port.to_be_bytes());
        packet.splice(40..40, [17, 0, 1, 4, 0, 0, 0, 0]);
        packet[6] = 60;
        let length = (packet.len() - 40) as u16;
        packet[4..6].copy_from_slice(&length.to_be_bytes());
    }
    packet
}

/// Zeroes the identification of an unfragmented packet, which each translator may choose.
pub fn set_identification_equal(packet: &mut [u8]) {
    if u16::from_be_bytes([packet[6], packet[7]]) & 0x3fff == 0 {
        packet[4..6].fill(0);
        seal(packet);
    }
}
