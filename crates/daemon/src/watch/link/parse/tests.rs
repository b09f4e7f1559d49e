use bramblegate_netlink::push;
use proptest::prelude::*;

use super::*;

fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    push(&mut bytes, kind, value).unwrap();
    bytes
}

fn number(kind: u16, value: u32) -> Vec<u8> {
    attribute(kind, &value.to_ne_bytes())
}

fn events_of(kind: u16, flags: u16, payload: &[u8]) -> (Vec<Event>, bool) {
    let mut events = Vec::new();
    let relist = parse(&Message { kind, flags, sequence: 0, port: 0, payload }, &mut events);
    (events, relist)
}

fn link_message(flags: u32, operational: u8, more: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0, 0, 1, 0];
    bytes.extend(7_u32.to_ne_bytes());
    bytes.extend(flags.to_ne_bytes());
    bytes.extend([0; 4]);
    bytes.extend(attribute(3, b"eth1\0"));
    bytes.extend(number(4, 1500));
    bytes.extend(attribute(16, &[operational]));
    bytes.extend(more);
    bytes
}

fn carrier(flags: u32, operational: u8) -> bool {
    match events_of(kind::NEW_LINK, 0, &link_message(flags, operational, &[])).0.remove(0) {
        Event::Link(Change::Present(link)) => link.carrier,
        other => panic!("{other:?}"),
    }
}

#[test]
fn carrier_needs_lower_up_and_an_operational_state_other_than_down() {
    assert!(carrier(0x1_0001, 6));
    assert!(carrier(0x1_0001, 0), "unknown, for drivers that report no state, counts as up");
    assert!(!carrier(0x1, 6));
    assert!(!carrier(0x1_0001, 2));
}

#[test]
fn a_link_includes_its_settings_and_one_set_down_needs_a_dump() {
    let mut conf = vec![0; 33 * 4];
    conf[0] = 1;
    conf[28] = 2;
    conf[68] = 2;
    conf[72] = 1;
    let spec = attribute(26, &attribute(2, &attribute(1, &conf)));
    let (events, relist) = events_of(kind::NEW_LINK, 0, &link_message(0x1_0001, 6, &spec));
    assert!(!relist);
    let reported = Netconf {
        index: 7,
        forwarding: Some(true),
        rp_filter: Some(2),
        arp_ignore: Some(1),
        arp_announce: Some(2),
        accept_redirects: Some(0),
        send_redirects: Some(0),
        accept_source_route: Some(0),
    };
    assert_eq!(events[1], Event::Netconf(reported));
    assert!(events_of(kind::NEW_LINK, 0, &link_message(0, 2, &spec)).1);
}

#[test]
fn bridge_port_messages_and_wireless_events_are_ignored() {
    let mut of_bridge = link_message(0x1_0001, 6, &[]);
    of_bridge[0] = 7;
    assert_eq!(events_of(kind::DEL_LINK, 0, &of_bridge), (vec![], false));
    assert!(
        events_of(kind::NEW_LINK, 0, &link_message(0x1_0001, 6, &attribute(11, &[0; 8])))
            .0
            .is_empty()
    );
}

fn address_message(flags: u8, address: [u8; 4], valid: u32) -> Vec<u8> {
    let mut bytes = vec![2, 24, flags, 0];
    bytes.extend(7_u32.to_ne_bytes());
    bytes.extend(attribute(2, &address));
    let mut info = vec![0; 16];
    info[4..8].copy_from_slice(&valid.to_ne_bytes());
    bytes.extend(attribute(6, &info));
    bytes
}

#[test]
fn an_address_keeps_its_host_part_and_its_remaining_lifetime() {
    let (events, relist) =
        events_of(kind::NEW_ADDRESS, 0, &address_message(0x01, [10, 99, 0, 126], 118));
    let Event::Address(Change::Present(address)) = &events[0] else { panic!("{events:?}") };
    assert!(!relist);
    assert_eq!(address.address.to_string(), "10.99.0.126/24");
    assert_eq!(address.valid_for, Some(Duration::from_secs(118)));
    assert!(!address.temporary, "a secondary IPv4 address is not a privacy address");
}

#[test]
fn an_infinite_lifetime_is_none_and_zeroconf_is_link_local() {
    let (events, relist) =
        events_of(kind::DEL_ADDRESS, 0, &address_message(0, [169, 254, 7, 7], u32::MAX));
    let Event::Address(Change::Gone(address)) = &events[0] else { panic!("{events:?}") };
    assert_eq!((address.valid_for, address.link_local), (None, true));
    assert!(relist, "the removal of routes with this source is not announced");
}

fn route_message(kind: u8, table: u8, more: &[u8]) -> Vec<u8> {
    let mut bytes = vec![2, 0, 0, 0, table, 3, 0, kind, 0, 0, 0, 0];
    bytes.extend(more);
    bytes
}

#[test]
fn a_default_route_is_reported_and_a_replacement_needs_a_dump() {
    let body = route_message(
        1,
        254,
        &[attribute(5, &[10, 99, 0, 1]), number(4, 7), number(6, 100), number(15, 51_007)].concat(),
    );
    let (events, relist) = events_of(kind::NEW_ROUTE, REPLACED, &body);
    assert!(relist);
    let Event::Route(Change::Present(route)) = &events[0] else { panic!("{events:?}") };
    assert_eq!((route.table, route.index, route.metric), (51_007, 7, 100));
    assert_eq!(route.gateway, Some(Ipv4Addr::new(10, 99, 0, 1).into()));
    assert_eq!(route.destination.to_string(), "0.0.0.0/0");
}

/// The kernel changes an IPv6 route's MTU in place: its RTM_DELROUTE would not match the known route.
#[test]
fn the_mtu_is_read_of_ipv4_routes_only() {
    let metrics = attribute(8, &[number(2, 1472), number(8, 1432)].concat());
    let mut body = route_message(1, 254, &[number(4, 7), metrics].concat());
    for mtu in [Some(1472), None] {
        let (events, _) = events_of(kind::NEW_ROUTE, 0, &body);
        let Event::Route(Change::Present(route)) = &events[0] else { panic!("{events:?}") };
        assert_eq!(route.mtu, mtu);
        body[0] = 10;
    }
}

#[test]
fn the_table_local_and_unreachable_routes_are_ignored() {
    assert!(events_of(kind::NEW_ROUTE, 0, &route_message(1, 255, &number(4, 7))).0.is_empty());
    assert!(events_of(kind::NEW_ROUTE, 0, &route_message(7, 254, &number(4, 7))).0.is_empty());
}

#[test]
fn each_hop_of_a_multipath_route_is_reported() {
    let hop = |index: u32, last: u8| {
        let gateway = attribute(5, &[10, 0, 0, last]);
        let mut bytes = u16::try_from(8 + gateway.len()).unwrap().to_ne_bytes().to_vec();
        bytes.extend([0, 0]);
        bytes.extend(index.to_ne_bytes());
        bytes.extend(gateway);
        bytes
    };
    let hops = [hop(3, 1), hop(4, 2)].concat();
    let (events, _) = events_of(kind::NEW_ROUTE, 0, &route_message(1, 254, &attribute(9, &hops)));
    let indices: Vec<_> = events
        .iter()
        .map(|event| if let Event::Route(Change::Present(r)) = event { r.index } else { 0 })
        .collect();
    assert_eq!(indices, [3, 4]);
}

#[test]
fn a_rule_is_parsed_with_all_selectors() {
    let mut body = vec![2, 24, 32, 0, 0, 0, 0, 1, 0, 0, 0, 0];
    for part in [
        attribute(1, &[192, 168, 50, 0]),
        attribute(2, &[10, 0, 0, 9]),
        attribute(17, b"eth1\0"),
        number(6, 5100),
        number(15, 50_980),
        attribute(21, &[98]),
    ] {
        body.extend(part);
    }
    let (events, _) = events_of(kind::NEW_RULE, 0, &body);
    let Event::Rule(Change::Present(rule)) = &events[0] else { panic!("{events:?}") };
    assert_eq!(rule.destination.unwrap().to_string(), "192.168.50.0/24");
    assert_eq!(rule.source.unwrap().to_string(), "10.0.0.9/32");
    assert_eq!((rule.preference, rule.table, rule.protocol), (5100, 50_980, 98));
    assert_eq!(rule.output.as_deref(), Some("eth1"));
}

#[test]
fn the_settings_all_and_default_are_distinguished_from_those_of_interfaces() {
    let body = |index: i32| {
        let mut bytes = vec![2, 0, 0, 0];
        bytes.extend(attribute(1, &index.to_ne_bytes()));
        bytes.extend(number(2, 0));
        bytes
    };
    let all = Event::Netconf(Netconf {
        index: Netconf::ALL,
        forwarding: Some(false),
        ..Netconf::default()
    });
    assert_eq!(events_of(kind::NEW_NETCONF, 0, &body(-1)).0, [all]);
    assert!(events_of(kind::NEW_NETCONF, 0, &body(-2)).0.is_empty());
    let reported =
        Event::Netconf(Netconf { index: 7, forwarding: Some(false), ..Netconf::default() });
    assert_eq!(events_of(kind::NEW_NETCONF, 0, &body(7)).0, [reported]);
}

/// `NETCONFA_FORWARDING` (2) and `NETCONFA_FORCE_FORWARDING` (9) of `AF_INET6`.
#[test]
fn of_ipv6_only_the_end_of_forwarding_is_reported() {
    let events = |index: i32, setting, value| {
        let mut bytes = vec![10, 0, 0, 0];
        bytes.extend(attribute(1, &index.to_ne_bytes()));
        bytes.extend(number(setting, value));
        events_of(kind::NEW_NETCONF, 0, &bytes).0
    };
    for setting in [2, 9] {
        assert_eq!(events(7, setting, 0), [Event::Ipv6ForwardingOff(7)]);
        assert_eq!(events(-1, setting, 0), [Event::Ipv6ForwardingOff(Netconf::ALL)]);
        assert!(events(7, setting, 1).is_empty() && events(-2, setting, 0).is_empty());
    }
    assert!(events(7, 5, 0).is_empty(), "the NDP proxy");
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(kind in 0_u16..120, flags: u16, payload in proptest::collection::vec(any::<u8>(), 0..256)) {
        events_of(kind, flags, &payload);
    }

    #[test]
    fn a_damaged_message_never_panics(at in 0_usize..80, byte: u8, cut in 0_usize..80) {
        let mut payload = route_message(1, 254, &[attribute(5, &[10, 99, 0, 1]), number(4, 7), attribute(9, &[16; 40])].concat());
        if let Some(b) = payload.get_mut(at) { *b = byte; }
        payload.truncate(cut);
        for kind in [kind::NEW_LINK, kind::NEW_ADDRESS, kind::NEW_ROUTE, kind::NEW_RULE, kind::NEW_NETCONF] {
            events_of(kind, 0, &payload);
        }
    }
}
