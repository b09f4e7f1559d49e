use super::*;
use proptest::prelude::*;

pub const OURS: Mac = Mac([2, 0, 0, 0, 0, 1]);
const THEIRS: Mac = Mac([2, 0, 0, 0, 0, 9]);

/// Makes a reply as sent by a home router.
pub fn answer(kind: u8, offered: [u8; 4], options: &[u8]) -> Vec<u8> {
    let mut frame = discover(OURS, 0xdead_beef, 0);
    frame[..6].copy_from_slice(&OURS.0);
    frame[6..12].copy_from_slice(&THEIRS.0);
    frame[26..30].copy_from_slice(&[192, 168, 1, 254]);
    frame[34..38].copy_from_slice(&[0, 67, 0, 68]);
    frame[42] = BOOT_REPLY;
    frame[58..62].copy_from_slice(&offered);
    frame.truncate(ETHERNET + IPV4_HEADER + UDP_HEADER + BOOTP);
    frame.extend([PAD, MESSAGE_TYPE, 1, kind]);
    frame.extend(options);
    frame.push(END);
    frame
}

#[test]
fn an_offer_names_its_server() {
    let offer = answer(OFFER, [192, 168, 1, 20], &[SERVER_IDENTIFIER, 4, 192, 168, 1, 1]);
    let expected = Reply {
        server: [192, 168, 1, 1].into(),
        mac: THEIRS,
        asked_by: OURS,
        transaction: 0xdead_beef,
    };
    assert_eq!(reply(&offer), Some(expected));
    let nameless = answer(ACK, [192, 168, 1, 20], &[]);
    assert_eq!(reply(&nameless).map(|reply| reply.server), Some([192, 168, 1, 254].into()));
    assert!(reply(&answer(NAK, [0; 4], &[])).is_some());
}

#[test]
fn a_reply_without_an_address_is_no_server() {
    assert_eq!(
        reply(&answer(
            OFFER,
            [0; 4],
            &[60, 9, b'P', b'X', b'E', b'C', b'l', b'i', b'e', b'n', b't']
        )),
        None
    );
    assert_eq!(reply(&answer(DISCOVER, [192, 168, 1, 20], &[])), None);
    assert_eq!(reply(&discover(OURS, 1, 0)), None, "a question, ours or another's");
}

#[test]
fn a_broadcast_request_names_the_chosen_server() {
    let mut request = discover(OURS, 1, 0);
    // The message type is the first option; another replaces the parameter request list.
    request[284] = REQUEST;
    assert_eq!(chosen(&request), None, "without server identifier");
    request[285..291].copy_from_slice(&[SERVER_IDENTIFIER, 4, 192, 168, 1, 1]);
    assert_eq!(chosen(&request), Some([192, 168, 1, 1].into()));
    assert_eq!(reply(&request), None, "not a reply");
    for (at, byte) in [(35, 67), (37, 68), (42, BOOT_REPLY), (284, DISCOVER)] {
        let mut bad = request.clone();
        bad[at] = byte;
        assert_eq!(chosen(&bad), None, "byte {at}");
    }
    request[287..291].fill(0);
    assert_eq!(chosen(&request), None, "the unspecified address");
}

#[test]
fn only_requests_that_every_server_receives_count() {
    assert!(asks_all(&discover(OURS, 1, 0)));
    // Unicast; damaged; another hardware type, too long an address; relayed from another subnet.
    for (what, at, byte) in [
        ("to one", 0, 2),
        ("damaged", 24, 7),
        ("kind", 43, 6),
        ("length", 44, 17),
        ("relay", 66, 10),
        ("release", 284, 7),
    ] {
        let mut frame = discover(OURS, 1, 0);
        frame[at] = byte;
        assert!(!asks_all(&frame), "{what}");
    }
}

/// Makes a client's message with these options.
pub fn question(kind: u8, options: &[u8]) -> Vec<u8> {
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
fn a_host_name_is_read_from_broadcast_and_unicast_messages() {
    let plain = [&[HOST_NAME, 4][..], b"rpi1"].concat();
    assert_eq!(called(&question(DISCOVER, &plain)).as_deref(), Some("rpi1"));
    let mut renewal = question(REQUEST, &plain);
    renewal[..6].copy_from_slice(&THEIRS.0);
    assert_eq!(called(&renewal).as_deref(), Some("rpi1"));
    renewal[6..12].copy_from_slice(&THEIRS.0);
    assert_eq!(called(&renewal).as_deref(), Some("rpi1"), "with another Ethernet source");
    for (at, byte) in [(35, 67), (37, 68), (42, BOOT_REPLY), (43, 6), (44, 8), (70, 3), (284, 7)] {
        let mut bad = question(REQUEST, &plain);
        bad[at] = byte;
        assert_eq!(calls_itself(&bad), None, "byte {at}");
    }
}

#[test]
fn a_host_name_is_read_in_each_encoding_and_an_invalid_one_is_none() {
    let with = |options: &[&[u8]]| called(&question(DISCOVER, &options.concat()));
    let plain: &[u8] = &[HOST_NAME, 3, b'o', b'n', b'e'];
    let name = |options: &[&[u8]]| with(options).unwrap_or_default();
    assert_eq!(name(&[&[HOST_NAME, 5], b"one\0x"]), "one", "zero-terminated");
    assert_eq!(name(&[plain, &[CLIENT_FQDN, 6, 0, 0, 0], b"two"]), "two");
    assert_eq!(name(&[plain, &[CLIENT_FQDN, 12, 4, 0, 0, 3], b"two", &[3], b"lan", &[0]]), "two");
    for empty in [
        &[CLIENT_FQDN, 3, 0, 0, 0][..],
        &[CLIENT_FQDN, 4, 4, 0, 0, 0],
        &[CLIENT_FQDN, 5, 4, 0, 0, 9, b'x'],
    ] {
        assert_eq!(name(&[empty, plain]), "one", "{empty:?}");
    }
    for spoilt in [
        &[][..],
        &[HOST_NAME, 0],
        &[HOST_NAME, 200, b'a'],
        &[HOST_NAME, 1, 0],
        &[HOST_NAME, 2, 0xc3, 0x28],
    ] {
        assert_eq!(with(&[spoilt]), None, "{spoilt:?}");
    }
}

#[test]
fn only_unfragmented_packets_from_server_to_client_count() {
    let good = answer(OFFER, [192, 168, 1, 20], &[]);
    assert!(reply(&good).is_some());
    for (at, byte) in [
        (12, 0x86),
        (14, 0x65),
        (14, 0x44),
        (20, 0x20),
        (21, 1),
        (23, 6),
        (35, 68),
        (37, 67),
        (42, 1),
        (278, 0),
    ] {
        let mut bad = good.clone();
        bad[at] = byte;
        assert_eq!(reply(&bad), None, "byte {at}");
    }
    for length in 0..ETHERNET + IPV4_HEADER + UDP_HEADER + BOOTP {
        assert_eq!(reply(&good[..length]), None, "cut at {length}");
    }
}

#[test]
fn a_discover_conforms_to_the_standards() {
    let frame = discover(OURS, 0x0102_0304, 2);
    assert_eq!(frame.len(), ETHERNET + IPV4_HEADER + UDP_HEADER + MIN_LENGTH);
    let (ip, udp) = (&frame[14..34], &frame[34..]);
    assert_eq!(checksum(ip), 0, "the checksum over a header with its checksum is zero");
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
    fn damaged_requests_never_panic_and_names_fit_an_option(
        damage in proptest::collection::vec((12..320usize, any::<u8>()), 0..4),
        options in proptest::collection::vec(prop_oneof![any::<u8>(), prop::sample::select(vec![HOST_NAME, CLIENT_FQDN, 4])], 0..60),
        length in 0..360usize,
    ) {
        let mut frame = question(REQUEST, &options);
        for (at, byte) in damage {
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
    fn damaged_offers_never_panic_and_keep_their_sender(
        damage in proptest::collection::vec((12..320usize, any::<u8>()), 0..12),
        options in proptest::collection::vec(any::<u8>(), 0..40),
        length in 0..340usize,
    ) {
        let mut frame = answer(OFFER, [10, 0, 0, 9], &options);
        for (at, byte) in damage {
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
