//! The packets, made by the crate etherparse, and what two translators may do differently.

use std::net::{Ipv4Addr, Ipv6Addr};

use bramblegate_clat::{Offload, Translator};
use etherparse::{Icmpv4Type, Icmpv6Type, PacketBuilder};

const REMOTE: Ipv4Addr = Ipv4Addr::new(45, 45, 45, 80);

pub struct Case {
    pub name: String,
    pub packet: Vec<u8>,
}

/// Lengths of payloads: empty, odd, around what may be fragmented, and around what fits.
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
        // and what becomes of it, back
        let back = Translator { clat4: REMOTE, clat6: remote6, ..translator.clone() };
        add(format!("udp piece {number} in"), mirrored(&back, translator, &piece));
    }
    errors(translator, &mut add);
    cases
}

/// A packet of IPv4 as it comes from the other end.
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
    // Without 1/3, address unreachable: tayga 0.9.2 drops it, RFC 7915, section 5.2, makes it 3/1.
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

/// Makes equal what has to differ in whole packets of IPv4, also in those that an error quotes: an
/// identification that IPv6 did not carry, and DF up to 1260 octets, which tayga 0.9.2 sets, as RFC
/// 6145 had it, and RFC 7915, section 5.1, does not.
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
