//! The doors: every parser of untrusted text or bytes, as a function that accepts any input. Shared
//! by the targets of cargo-fuzz (`fuzz_targets/`) and by the stable test (`tests/fuzz.rs`).
//!
//! A door must not panic, hang, or accept invalid input: results are checked where possible.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use bramblegate::api::control::{Answer, Order};
use bramblegate::board::Board;
use bramblegate::config::HttpExpectation;
use bramblegate::dns;
use bramblegate::netlink::{messages, rtnetlink};
use bramblegate::panel::Wiring;
use bramblegate::panel::emulator::Script;
use bramblegate::watch::dhcp::leases::file;
use bramblegate::watch::probe::http;
use bramblegate::watch::{dhcp, firewall, link, node, panel, probe};
use bramblegate_clat::{Advertisement, DropReason, Offload, Translator};
use bramblegate_lab::Venue;

/// A door: its name, which its corpus and its target have too, and the function.
pub type Door = (&'static str, fn(&[u8]));

/// All doors.
pub const DOORS: [Door; 15] = [
    ("settings", settings),
    ("boards", boards),
    ("venues", venues),
    ("netlink", netlink_messages),
    ("nfnetlink", nfnetlink_messages),
    ("uevents", uevents),
    ("http", http_answers),
    ("dns", dns_answers),
    ("echoes", echoes),
    ("scripts", scripts),
    ("leases", leases),
    ("offers", offers),
    ("orders", orders),
    ("packets", packets),
    ("advertisements", advertisements),
];

/// A settings file with a drop-in after a line of `---`. Accepted settings, printed, parse to the
/// same settings.
pub fn settings(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let (main, drop_in) = text.split_once("\n---\n").unwrap_or((text, ""));
    let Ok(board) = Board::built_in("emulated") else { return };
    let files = [("bramblegate.toml", main), ("10-drop-in.toml", drop_in)];
    match bramblegate::config::read(&files, &board, None) {
        Ok(merged) => {
            let printed = merged.to_toml();
            let again = bramblegate::config::load(&[("printed.toml", &printed)], &board);
            assert_eq!(again.as_ref(), Ok(&merged.settings), "printed as\n{printed}");
        }
        Err(faults) => assert!(faults.iter().all(|fault| !fault.to_string().is_empty())),
    }
}

/// A board's file.
pub fn boards(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    match Board::parse("any", text) {
        Ok(board) => assert!(Wiring::named(&board.lcd.wiring).is_some(), "{board:?}"),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

/// A venue's file.
pub fn venues(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Err(error) = Venue::parse("any", text) {
        assert!(!error.to_string().is_empty());
    }
}

/// Datagrams of rtnetlink.
pub fn netlink_messages(bytes: &[u8]) {
    let mut events = Vec::new();
    for message in messages(bytes) {
        link::parse(&message, &mut events);
        node::neighbour(&message, 2);
        let _ = rtnetlink::neighbour_table(&message).map(|table| table.attributes().count());
        // How a request ended, and why.
        drop(message.outcome());
    }
    // A route with several next hops is several events, but each event needs some bytes.
    assert!(events.len() <= bytes.len() / 8, "{} events of {} bytes", events.len(), bytes.len());
}

/// Datagrams of nfnetlink: other programs' tables, chains, rules and sets.
pub fn nfnetlink_messages(bytes: &[u8]) {
    firewall::read_any(bytes);
}

/// Datagrams of the kernel's hot-plug announcements.
pub fn uevents(bytes: &[u8]) {
    panel::parse(bytes);
}

/// A web server's reply. A complete one always has a result.
pub fn http_answers(bytes: &[u8]) {
    for expect in [HttpExpectation::Status(204), HttpExpectation::Body("success".into())] {
        assert!(http::read_any(bytes, &expect).is_some());
    }
}

/// What a resolver answers, to the question that it has itself. An answer with another id, or to
/// another question, is none.
pub fn dns_answers(bytes: &[u8]) {
    let id = bytes.first_chunk().map_or(0, |id| u16::from_be_bytes(*id));
    let mut other = bytes.to_vec();
    if let Some(byte) = other.first_mut() {
        *byte = byte.wrapping_add(1);
    }
    dns::addresses(bytes, bytes);
    assert_eq!(dns::addresses(bytes, &other), None);
    if let Some(question) = dns::query(id, "internet.example", false) {
        dns::addresses(bytes, &question);
    }
    if let Some(host) = std::str::from_utf8(bytes).ok().filter(|host| host.len() < 300) {
        dns::query(7, host, false);
    }
}

/// Replies of nodes to ICMP and ARP.
pub fn echoes(bytes: &[u8]) {
    probe::read_any(bytes);
}

/// An emulator's script of faults. Each fault is due once.
pub fn scripts(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok(mut script) = Script::parse(text) {
        let mut count = 0;
        while script.due(Duration::MAX).is_some() {
            count += 1;
        }
        assert!(count <= text.lines().count());
    }
}

/// Messages of DHCP servers and clients, as whole frames. The sender and a board's host name are
/// those in the frame, or there are none.
pub fn offers(bytes: &[u8]) {
    let (server, name) = dhcp::read_any(bytes);
    if let Some(mac) = server {
        assert_eq!(bytes.get(6..12), Some(&mac.0[..]));
    }
    if let Some(name) = name {
        assert!(!name.is_empty() && bytes.windows(name.len()).any(|part| part == name.as_bytes()));
    }
}

/// dnsmasq's lease file. Entries that are written parse to the same entries.
pub fn leases(bytes: &[u8]) {
    let read = file::parse(bytes);
    let again = file::parse(read.to_text().as_bytes());
    assert_eq!(
        (&again.entries, again.damaged.len()),
        (&read.entries, 0),
        "written as\n{}",
        read.to_text()
    );
}

/// Lines of the control socket: an order, or an error as a reply of one line.
pub fn orders(bytes: &[u8]) {
    for line in bytes.split(|byte| *byte == b'\n') {
        let result = Order::parse(line).map(drop);
        let reply = String::from_utf8_lossy(&bramblegate::api::line(&Answer::from(result.clone())))
            .into_owned();
        assert!(reply.ends_with('\n') && reply.matches('\n').count() == 1, "{reply}");
        assert!(result.is_ok() || reply.contains("\"error\":"), "{reply}");
    }
}

/// Packets that are translated between IPv4 and IPv6, behind the header of a TUN device. None grows
/// by more than a header and a fragment header.
pub fn packets(bytes: &[u8]) {
    let Some((offload, packet)) = bytes.split_first_chunk() else { return };
    let offload = Offload::from_bytes(offload).unwrap_or_default();
    let clat6 = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x464);
    let translator = Translator { clat6, ..Translator::default() };
    let mut head = Vec::new();
    for offload in [offload, Offload::default()] {
        match translator.to_v6(packet, offload, &mut head).map(|six| six.packets()) {
            Ok(Ok(packets)) => {
                assert!(packets.iter().all(|(_, six)| six.first().is_some_and(|b| b >> 4 == 6)));
                let longest = packets.iter().map(|(_, six)| six.len()).max().unwrap_or(0);
                assert!(longest <= packet.len() + 300, "{longest} of {}", packet.len());
            }
            Ok(Err(reason)) => assert_eq!(reason, DropReason::Offload),
            Err(reason) => drop(translator.answer(packet, reason, Ipv4Addr::LOCALHOST.into())),
        }
        match translator.to_v4(packet, offload, 1, &mut head).map(|four| four.packets()) {
            Ok(Ok(packets)) => {
                let (_, four) = packets.first().expect("a packet");
                assert_eq!(four.get(2..4), Some(&(four.len() as u16).to_be_bytes()[..]));
            }
            Ok(Err(reason)) => panic!("{reason}"),
            Err(reason) => drop(translator.answer(packet, reason, clat6.into())),
        }
    }
}

/// Router advertisements. Prefixes have no bits beyond their length.
pub fn advertisements(bytes: &[u8]) {
    let router = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1);
    let Ok(advertisement) = Advertisement::read(bytes, router, 255) else { return };
    for nat in &advertisement.nat_prefixes {
        assert_eq!(nat.prefix.to_string().parse(), Ok(nat.prefix));
        assert_eq!(nat.lifetime % 8, 0);
    }
    for prefix in &advertisement.prefixes {
        assert!(prefix.address.to_bits().trailing_zeros() + u32::from(prefix.length) >= 128);
    }
    assert!(advertisement.mtu.is_none_or(|mtu| mtu >= 1280));
}
