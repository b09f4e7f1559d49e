//! Properties of every packet. The crate etherparse makes the packets and checks the checksums.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use bramblegate_clat::{DropReason, Gso, Offload, Prefix, Translator};
use etherparse::{NetSlice, PacketBuilder, SlicedPacket, TransportSlice};
use proptest::prelude::*;

const CLAT4: Ipv4Addr = Ipv4Addr::new(192, 0, 0, 1);

/// The protocol of a packet.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Kind {
    Tcp,
    Udp,
    Echo,
}

#[derive(Debug, Clone)]
struct Packet {
    kind: Kind,
    destination: Ipv4Addr,
    tos: u8,
    ttl: u8,
    identification: u16,
    payload: Vec<u8>,
    ports: (u16, u16),
}

impl Packet {
    /// Serializes the packet, with DF by the rule of RFC 7915.
    fn bytes(&self) -> Vec<u8> {
        let (one, other) = self.ports;
        let ip = PacketBuilder::ipv4(CLAT4.octets(), self.destination.octets(), self.ttl);
        let mut bytes = Vec::new();
        match self.kind {
            Kind::Tcp => ip.tcp(one, other, 7, 9).write(&mut bytes, &self.payload),
            Kind::Udp => ip.udp(one, other).write(&mut bytes, &self.payload),
            Kind::Echo => ip.icmpv4_echo_request(one, other).write(&mut bytes, &self.payload),
        }
        .unwrap();
        bytes[1] = self.tos;
        let [high, low] = self.identification.to_be_bytes();
        let df = if bytes.len() > 1260 { 0x40 } else { 0 };
        bytes[4..8].copy_from_slice(&[high, low, df, 0]);
        seal(&mut bytes);
        bytes
    }
}

/// Writes the checksum of an IPv4 header.
fn seal(bytes: &mut [u8]) {
    let length = usize::from(bytes[0] & 0xf) * 4;
    bytes[10..12].fill(0);
    let mut sum: u32 = 0;
    for word in bytes[..length].chunks(2) {
        sum += u32::from(word[0]) << 8 | u32::from(word[1]);
    }
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    bytes[10..12].copy_from_slice(&(!sum as u16).to_be_bytes());
}

fn unicast() -> impl Strategy<Value = Ipv4Addr> {
    any::<u32>().prop_map(Ipv4Addr::from_bits).prop_filter("a host", |address| {
        let first = address.octets()[0];
        first != 0 && first != 127 && first < 224 && *address != CLAT4
    })
}

prop_compose! {
    fn packet()(
        kind in prop::sample::select(vec![Kind::Tcp, Kind::Udp, Kind::Echo]),
        destination in unicast(),
        tos: u8, ttl in 1u8.., identification: u16,
        payload in prop::collection::vec(prop_oneof![3 => any::<u8>(), 1 => Just(0), 1 => Just(255)], 0..1400),
        ports: (u16, u16),
    ) -> Packet {
        Packet { kind, destination, tos, ttl, identification, payload, ports }
    }
}

fn prefix() -> impl Strategy<Value = Prefix> {
    (any::<u128>(), prop::sample::select(&Prefix::LENGTHS[..])).prop_map(|(bits, length)| {
        // Neither multicast nor in ::/8.
        let bits = bits >> 8 | 0x20 << 120;
        Prefix::new(Ipv6Addr::from_bits(bits), length).unwrap()
    })
}

/// Returns a translator, and the mirrored one at the other end.
fn ends(one: Prefix, other: Prefix, remote: Ipv4Addr) -> (Translator, Translator) {
    let near = Translator {
        clat4: CLAT4,
        clat6: other.embed(CLAT4),
        prefix: one,
        only_global: false,
        ..Translator::default()
    };
    let far = Translator { clat4: remote, clat6: one.embed(remote), prefix: other, ..near.clone() };
    (near, far)
}

fn to_v6(translator: &Translator, packet: &[u8]) -> Result<Vec<Vec<u8>>, DropReason> {
    let mut head = Vec::new();
    let translated = translator.to_v6(packet, Offload::default(), &mut head)?;
    Ok(translated.packets()?.into_iter().map(|(_, packet)| packet).collect())
}

fn to_v4(translator: &Translator, packet: &[u8], id: u16) -> Result<Vec<u8>, DropReason> {
    let mut head = Vec::new();
    let translated = translator.to_v4(packet, Offload::default(), id, &mut head)?;
    Ok(translated.packets()?.remove(0).1)
}

/// Checks the checksum of an IPv6 packet's transport header.
fn assert_valid_v6(packet: &[u8]) {
    let sliced = SlicedPacket::from_ip(packet).expect("a packet");
    let Some(NetSlice::Ipv6(ip)) = &sliced.net else { panic!("IPv6") };
    let header = ip.header();
    assert_eq!(usize::from(header.payload_length()) + 40, packet.len());
    let (source, destination) = (header.source(), header.destination());
    match sliced.transport.expect("a transport header") {
        TransportSlice::Tcp(tcp) => {
            let sum = tcp.to_header().calc_checksum_ipv6_raw(source, destination, tcp.payload());
            assert_eq!(tcp.checksum(), sum.unwrap());
        }
        TransportSlice::Udp(udp) => {
            let sum = udp.to_header().calc_checksum_ipv6_raw(source, destination, udp.payload());
            assert_eq!(udp.checksum(), sum.unwrap());
        }
        TransportSlice::Icmpv6(icmp) => assert!(icmp.is_checksum_valid(source, destination)),
        other => panic!("{other:?}"),
    }
}

proptest! {
    #[test]
    fn a_round_trip_restores_the_packet(packet in packet(), one in prefix(), other in prefix()) {
        let (near, far) = ends(one, other, packet.destination);
        prop_assume!(near.clat6 != near.prefix.embed(packet.destination));
        let before = packet.bytes();
        let there = to_v6(&near, &before).unwrap();
        prop_assert_eq!(there.len(), 1);
        prop_assert_eq!(there[0].len(), before.len() + 20);
        assert_valid_v6(&there[0]);
        let back = to_v4(&far, &there[0], packet.identification).unwrap();
        prop_assert_eq!(back, before);
    }

    /// As a hop of its own, it changes only the TTL and the header's checksum.
    #[test]
    fn takes_a_hop_each_way(packet in packet()) {
        let (near, far) = ends(Prefix::WELL_KNOWN, "2001:db8::/96".parse().unwrap(), packet.destination);
        let (near, far) = (Translator { hop: true, ..near }, Translator { hop: true, ..far });
        let mut before = packet.bytes();
        match to_v6(&near, &before) {
            Err(reason) => {
                prop_assert_eq!((packet.ttl, reason), (1, DropReason::HopLimit));
                let answer = near.answer(&before, reason, Ipv4Addr::new(192, 0, 0, 2).into()).unwrap();
                let sliced = SlicedPacket::from_ip(&answer).unwrap();
                let Some(TransportSlice::Icmpv4(icmp)) = sliced.transport else { panic!() };
                prop_assert_eq!((icmp.type_u8(), icmp.code_u8()), (11, 0));
                prop_assert_eq!(icmp.header().icmp_type.calc_checksum(icmp.payload()), icmp.checksum());
            }
            Ok(there) if packet.ttl == 2 => {
                let reason = to_v4(&far, &there[0], 0).unwrap_err();
                prop_assert_eq!(reason, DropReason::HopLimit);
                let answer = far.answer(&there[0], reason, near.clat6.into()).unwrap();
                assert_valid_v6(&answer);
            }
            Ok(there) => {
                let back = to_v4(&far, &there[0], packet.identification).unwrap();
                before[8] -= 2;
                seal(&mut before);
                prop_assert_eq!(back, before);
            }
        }
    }

    /// Fragments are translated one by one; reassembled, they are the whole packet.
    #[test]
    fn fragments_stay_fragments(packet in packet(), size in 3usize..60) {
        prop_assume!(packet.kind != Kind::Echo);
        let (near, far) = ends(Prefix::WELL_KNOWN, "2001:db8::/96".parse().unwrap(), packet.destination);
        let whole = packet.bytes();
        let payload = &whole[20..];
        let mut together: Vec<u8> = Vec::new();
        let last = payload.len().div_ceil(size * 8) - 1;
        for (number, piece) in payload.chunks(size * 8).enumerate() {
            let field = (number * size) as u16 | if number == last { 0 } else { 0x2000 };
            let mut before = [&whole[..20], piece].concat();
            let total = before.len() as u16;
            before[2..4].copy_from_slice(&total.to_be_bytes());
            before[6..8].copy_from_slice(&field.to_be_bytes());
            seal(&mut before);
            let there = to_v6(&near, &before).unwrap();
            prop_assert_eq!(there.len(), 1);
            let six = &there[0];
            if last == 0 {
                assert_valid_v6(six);
                continue;
            }
            prop_assert_eq!((six[6], six[40]), (44, before[9]));
            prop_assert_eq!(&six[44..48], &[&[0, 0], &before[4..6]].concat()[..]);
            let offset = usize::from(u16::from_be_bytes([six[42], six[43]]) & !7);
            prop_assert_eq!(offset, together.len());
            prop_assert_eq!(six[43] & 1 == 1, number != last);
            together.extend(&six[48..]);
            prop_assert_eq!(to_v4(&far, six, 0).unwrap(), before);
        }
        if last > 0 {
            let mut six = to_v6(&near, &whole).unwrap().remove(0);
            six.truncate(40);
            six.extend(together);
            assert_valid_v6(&six);
        }
    }

    /// Without DF, a packet that is too long leaves in fragments of 1280 octets (RFC 7915, section
    /// 4).
    #[test]
    fn fragments_packets_without_df(
        payload in prop::collection::vec(any::<u8>(), 1233..9000), zero: bool, open: bool,
    ) {
        let packet = Packet {
            kind: Kind::Udp, destination: Ipv4Addr::new(45, 45, 45, 80), tos: 0, ttl: 64,
            identification: 0x1234, payload, ports: (1, 2),
        };
        let (near, _) = ends(Prefix::WELL_KNOWN, "2001:db8::/96".parse().unwrap(), packet.destination);
        let mut bytes = packet.bytes();
        bytes[6] = 0;
        seal(&mut bytes);
        let offload = open_checksum(&mut bytes, open);
        if zero && !open {
            bytes[26..28].fill(0);
        }
        let mut head = Vec::new();
        let translated = near.to_v6(&bytes, offload, &mut head).unwrap();
        let mut together: Vec<u8> = Vec::new();
        for (offload, piece) in translated.packets().unwrap() {
            prop_assert_eq!(offload, Offload::default());
            prop_assert!(piece.len() <= 1280);
            prop_assert_eq!(usize::from(u16::from_be_bytes([piece[4], piece[5]])) + 40, piece.len());
            prop_assert_eq!(usize::from(u16::from_be_bytes([piece[42], piece[43]]) & !7), together.len());
            together.extend(&piece[48..]);
        }
        prop_assert_eq!(together.len(), bytes.len() - 20);
        let mut whole = translated.packets().unwrap()[0].1[..40].to_vec();
        let length = together.len() as u16;
        whole[4..6].copy_from_slice(&length.to_be_bytes());
        whole[6] = 17;
        whole.extend(together);
        assert_valid_v6(&whole);
    }

    /// With DF, the sender gets the MTU.
    #[test]
    fn answers_packets_with_df(size in 1481usize..1600) {
        let payload = vec![7; size - 28];
        let packet = Packet {
            kind: Kind::Udp, destination: Ipv4Addr::new(45, 45, 45, 80), tos: 0, ttl: 64,
            identification: 1, payload, ports: (1, 2),
        };
        let (near, _) = ends(Prefix::WELL_KNOWN, "2001:db8::/96".parse().unwrap(), packet.destination);
        let bytes = packet.bytes();
        let reason = to_v6(&near, &bytes).unwrap_err();
        prop_assert_eq!(reason, DropReason::TooBig(1480));
        let answer = near.answer(&bytes, reason, Ipv4Addr::new(192, 0, 0, 2).into()).unwrap();
        prop_assert!(answer.len() <= 576);
        prop_assert_eq!(&answer[20..22], &[3, 4]);
        prop_assert_eq!(&answer[26..28], &1480u16.to_be_bytes());
    }

    /// A partial checksum stays partial, and is right once completed.
    #[test]
    fn offloads_are_translated(packet in packet(), segment in 500u16..3000) {
        prop_assume!(packet.kind == Kind::Tcp);
        let (near, far) = ends(Prefix::WELL_KNOWN, "2001:db8::/96".parse().unwrap(), packet.destination);
        let mut bytes = packet.bytes();
        bytes[6] = 0x40;
        seal(&mut bytes);
        let right = to_v6(&near, &bytes).unwrap().remove(0);
        let before = bytes.clone();
        let mut offload = open_checksum(&mut bytes, true);
        offload.gso = Gso::TcpV4;
        offload.ecn = true;
        offload.gso_size = segment;
        offload.header_length = 40;
        let mut head = Vec::new();
        let six = near.to_v6(&bytes, offload, &mut head).unwrap().packets().unwrap().remove(0);
        let expected = Offload {
            gso: Gso::TcpV6, checksum_start: 40, header_length: 60,
            // No segment may exceed the uplink's MTU.
            gso_size: segment.min(1500 - 60), ..offload
        };
        prop_assert_eq!(six.0, expected);
        prop_assert_eq!(completed(&six.1, 40), right);
        let mut head = Vec::new();
        let back = far.to_v4(&six.1, six.0, packet.identification, &mut head).unwrap();
        let (back_offload, back) = back.packets().unwrap().remove(0);
        prop_assert_eq!(back_offload, Offload { gso_size: expected.gso_size, ..offload });
        let mut back = completed(&back, 20);
        // DF depends on the length of a segment.
        prop_assert_eq!(back[6] == 0x40, 40 + expected.gso_size > 1260);
        back[6] = before[6];
        seal(&mut back);
        prop_assert_eq!(back, before);
    }

    #[test]
    fn takes_any_bytes(
        mut bytes in prop::collection::vec(any::<u8>(), 0..200), offload: [u8; 10],
        version in prop::sample::select(vec![4u8, 6]), ours: bool,
    ) {
        let translator = Translator { clat6: "2001:db8::1".parse().unwrap(), ..Translator::default() };
        if let Some(first) = bytes.first_mut() {
            *first = version << 4 | (*first & 0xf);
        }
        if ours && version == 4 && bytes.len() >= 20 {
            let length = bytes.len() as u16;
            bytes[0] = 0x45;
            bytes[2..4].copy_from_slice(&length.to_be_bytes());
            bytes[12..20].copy_from_slice(&[192, 0, 0, 1, 8, 8, 8, 8]);
            seal(&mut bytes);
        }
        if ours && version == 6 && bytes.len() >= 40 {
            let length = bytes.len() as u16 - 40;
            bytes[4..6].copy_from_slice(&length.to_be_bytes());
            bytes[8..24].copy_from_slice(&translator.prefix.embed(Ipv4Addr::new(8, 8, 8, 8)).octets());
            bytes[24..40].copy_from_slice(&translator.clat6.octets());
        }
        let offload = Offload::from_bytes(&offload).unwrap_or_default();
        for offload in [Offload::default(), offload] {
            let mut head = Vec::new();
            if let Err(reason) = translator.to_v6(&bytes, offload, &mut head) {
                let _ = translator.answer(&bytes, reason, IpAddr::V4(CLAT4));
            }
            if let Err(reason) = translator.to_v4(&bytes, offload, 1, &mut head) {
                let _ = translator.answer(&bytes, reason, IpAddr::V6(translator.clat6));
            }
        }
    }
}

/// Makes the checksum of an IPv4 packet partial, as the kernel leaves it to a device: the field
/// holds the sum of the pseudo header.
fn open_checksum(bytes: &mut [u8], open: bool) -> Offload {
    if !open {
        return Offload::default();
    }
    let field = if bytes[9] == 6 { 16 } else { 6 };
    let mut sum = u32::from(bytes[9]) + bytes.len() as u32 - 20;
    for word in bytes[12..20].chunks(2) {
        sum += u32::from(word[0]) << 8 | u32::from(word[1]);
    }
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    bytes[20 + field..22 + field].copy_from_slice(&(sum as u16).to_be_bytes());
    Offload { flags: 1, checksum_start: 20, checksum_offset: field as u16, ..Offload::default() }
}

/// Completes the checksum of TCP like a device.
fn completed(packet: &[u8], start: usize) -> Vec<u8> {
    let mut sum: u32 = 0;
    for word in packet[start..].chunks(2) {
        sum += u32::from(word[0]) << 8 | u32::from(word.get(1).copied().unwrap_or(0));
    }
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    let mut packet = packet.to_vec();
    packet[start + 16..start + 18].copy_from_slice(&(!sum as u16).to_be_bytes());
    packet
}
