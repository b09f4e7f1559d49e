use bramblegate_netlink::push;

use super::*;

const PORT: LinkIndex = 7;
const PLAN: NeighbourPlan = NeighbourPlan { index: PORT, ipv6: None, delegated: None };

const INCOMPLETE: u16 = 0x01;
const REACHABLE: u16 = 0x02;
const STALE: u16 = 0x04;
const FAILED: u16 = 0x20;
/// `NDA_DST`, `NDA_LLADDR`.
const ADDRESS: u16 = 1;
const LINK_ADDRESS: u16 = 2;

/// Encodes a `struct ndmsg` with its attributes.
fn payload(index: LinkIndex, state: u16, mac: Option<[u8; 6]>) -> Vec<u8> {
    let mut bytes = vec![2, 0, 0, 0];
    bytes.extend(index.to_ne_bytes());
    bytes.extend(state.to_ne_bytes());
    bytes.extend([0, 1]);
    push(&mut bytes, ADDRESS, &[192, 168, 50, 77]).unwrap();
    if let Some(mac) = mac {
        push(&mut bytes, LINK_ADDRESS, &mac).unwrap();
    }
    bytes
}

fn read(kind: u16, payload: &[u8]) -> Option<Change<Neighbour>> {
    neighbour(&Message { kind, flags: 0, sequence: 0, port: 0, payload }, PORT)
}

fn entry(last: u8, reachable: bool) -> Neighbour {
    Neighbour {
        index: PORT,
        address: "192.168.50.77".parse().unwrap(),
        mac: Some(Mac([2, 0, 0, 0, 0, last])),
        reachable,
    }
}

#[test]
fn an_entry_reports_hardware_address_and_reachability() {
    let mac = Some([2, 0, 0, 0, 0, 1]);
    assert_eq!(
        read(kind::NEW_NEIGHBOUR, &payload(PORT, REACHABLE, mac)),
        Some(Change::Present(entry(1, true)))
    );
    assert_eq!(
        read(kind::NEW_NEIGHBOUR, &payload(PORT, STALE, mac)),
        Some(Change::Present(entry(1, false)))
    );
    assert_eq!(read(kind::NEW_NEIGHBOUR, &payload(8, REACHABLE, mac)), None, "another port's");
}

#[test]
fn transient_states_are_ignored_and_a_failed_entry_is_gone() {
    let mac = Some([2, 0, 0, 0, 0, 1]);
    for state in [INCOMPLETE, 0x08, 0x10, 0x40] {
        assert_eq!(read(kind::NEW_NEIGHBOUR, &payload(PORT, state, mac)), None, "{state:#x}");
    }
    let gone = Change::Gone(Neighbour { mac: None, reachable: false, ..entry(1, true) });
    assert_eq!(read(kind::NEW_NEIGHBOUR, &payload(PORT, FAILED, None)), Some(gone.clone()));
    assert_eq!(read(kind::DEL_NEIGHBOUR, &payload(PORT, STALE, mac)), Some(gone));
}

#[test]
fn a_truncated_message_is_ignored() {
    let whole = payload(PORT, REACHABLE, Some([2, 0, 0, 0, 0, 1]));
    // The last two bytes are padding.
    for length in 0..whole.len() - 2 {
        assert_eq!(read(kind::NEW_NEIGHBOUR, &whole[..length]), None, "{length} bytes");
    }
}

#[test]
fn a_repeated_message_is_no_change() {
    let mut table = Table::new(Instant::now());
    assert!(table.take(&Change::Present(entry(1, true))));
    assert!(!table.take(&Change::Present(entry(1, true))));
    assert!(table.take(&Change::Present(entry(2, true))), "another board answers");
    assert!(table.take(&Change::Gone(entry(2, true))));
    assert!(!table.take(&Change::Gone(entry(2, true))));
}

#[test]
fn a_flood_of_changed_hardware_addresses_hides_no_other_change() {
    let at = |address: u8, last: u8| Neighbour {
        address: IpAddr::from([192, 168, 50, address]),
        ..entry(last, true)
    };
    let mut table = Table::new(Instant::now());
    for address in 1..=201 {
        assert!(table.take(&Change::Present(at(address, 0))));
    }
    let (now, mut passed) = (Instant::now(), 0);
    let mut apply = |address, last, now| {
        let change = Change::Present(at(address, last));
        let passes = !table.is_rate_limited(&change, now);
        (passes && table.take(&change), table.moved.len())
    };
    for round in 1..=100 {
        passed += (1..=200).filter(|address| apply(*address, round, now).0).count();
    }
    assert!(passed <= 200 + MOVE_BURST as usize, "{passed} of 20000");
    assert!(apply(201, 1, now).0, "the first change of an address");
    assert!(!apply(201, 2, now).0, "the second");
    assert!(apply(201, 2, now + RECENT_MOVE).0);
}

#[test]
fn a_dump_reports_differences_and_another_interface_starts_afresh() {
    let dumped = |last| BTreeMap::from([(entry(last, true).address, entry(last, true))]);
    let mut table = Table::new(Instant::now());
    assert_eq!(table.replace(Some(PLAN), dumped(1)), [Change::Present(entry(1, true))]);
    assert_eq!(table.replace(Some(PLAN), dumped(1)), []);
    assert_eq!(table.replace(Some(PLAN), dumped(2)), [Change::Present(entry(2, true))]);
    assert_eq!(table.replace(Some(PLAN), BTreeMap::new()), [Change::Gone(entry(2, true))]);
    table.replace(Some(PLAN), dumped(1));
    let with_ipv6 = NeighbourPlan { ipv6: "fd12::1/64".parse().ok(), ..PLAN };
    assert_eq!(table.replace(Some(with_ipv6), dumped(1)), [], "another network there");
    assert_eq!(table.replace(None, BTreeMap::new()), [Change::Gone(entry(1, true))]);
}
