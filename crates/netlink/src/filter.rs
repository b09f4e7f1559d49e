//! Socket filters for multicast messages, which the kernel runs before it queues a message and
//! wakes the reader (classic BPF, `linux/filter.h`).
//!
//! Each multicast message is a datagram of its own, so fields have fixed offsets. BPF loads convert
//! from network order while netlink uses host order, so constants are byte-swapped.

use netlink_packet_route::AddressFamily;
use socket2::SockFilter;

use crate::bpf::{accept, jump_if_any_bit, jump_if_equal, load_byte, load_half, load_word, reject};
use crate::rtnetlink::kind;

/// Accepts the whole message.
const ALL: u32 = u32::MAX;

/// Offsets in `struct nlmsghdr`, and of the fixed header after it.
const TYPE: u32 = 4;
const FLAGS: u32 = 6;
const BODY: u32 = 16;
/// `NLM_F_REPLACE`
const REPLACE: u16 = 0x100;
/// `rtm_type` of `struct rtmsg`; `RTN_UNICAST`, `RTN_ANYCAST`, `RTN_UNREACHABLE`
const ROUTE_TYPE: u32 = BODY + 7;
const UNICAST: u32 = 1;
const ANYCAST: u32 = 4;
const UNREACHABLE: u32 = 7;
/// `ndm_ifindex` and `ndm_state` of `struct ndmsg`
const NEIGHBOUR_PORT: u32 = BODY + 4;
const NEIGHBOUR_STATE: u32 = BODY + 8;

/// Returns a filter that drops what does not affect forwarding: routes that are neither unicast nor
/// anycast nor unreachable (each address adds two or three, local and broadcast), and a bridge's
/// messages about its ports (`AF_BRIDGE`). A route that replaces another passes, since no message
/// announces the end of the replaced one.
pub fn forwarding() -> Vec<SockFilter> {
    vec![
        load_half(TYPE),
        jump_if_equal(swapped(kind::NEW_ROUTE), 5, 0),
        jump_if_equal(swapped(kind::DEL_ROUTE), 4, 0),
        jump_if_equal(swapped(kind::NEW_LINK), 1, 0),
        jump_if_equal(swapped(kind::DEL_LINK), 0, 8),
        load_byte(BODY),
        jump_if_equal(0, 6, 7),
        load_byte(ROUTE_TYPE),
        jump_if_equal(UNICAST, 4, 0),
        jump_if_equal(ANYCAST, 3, 0),
        jump_if_equal(UNREACHABLE, 2, 0),
        load_half(FLAGS),
        jump_if_any_bit(swapped(REPLACE), 0, 1),
        accept(ALL),
        reject(),
    ]
}

/// Returns a 16-bit number as a BPF load yields it.
fn swapped(number: u16) -> u32 {
    u32::from(number.to_be())
}

/// Returns a filter for neighbours of the port: passes those in one of `states` (`NUD_*`) and
/// removed ones, IPv6 only if `ipv6`. Without a port nothing passes.
pub fn neighbours(port: Option<u32>, states: u16, ipv6: bool) -> Vec<SockFilter> {
    let Some(port) = port else { return vec![reject()] };
    let family = |family: AddressFamily| u32::from(u8::from(family));
    let second = if ipv6 { AddressFamily::Inet6 } else { AddressFamily::Inet };
    vec![
        load_word(NEIGHBOUR_PORT),
        jump_if_equal(port.to_be(), 0, 8),
        load_byte(BODY),
        jump_if_equal(family(AddressFamily::Inet), 1, 0),
        jump_if_equal(family(second), 0, 5),
        load_half(TYPE),
        jump_if_equal(swapped(kind::DEL_NEIGHBOUR), 2, 0),
        load_half(NEIGHBOUR_STATE),
        jump_if_any_bit(swapped(states), 0, 1),
        accept(ALL),
        reject(),
    ]
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixDatagram;

    use socket2::SockRef;

    use super::*;
    use crate::Request;

    const PORT: u32 = 0x0102_0304;
    const REACHABLE: u16 = 0x02;
    const PROBE: u16 = 0x10;

    /// Returns whether the kernel passes a message. Unix sockets run the same filters.
    fn passes(filter: Vec<SockFilter>, kind: u16, flags: u16, body: &[u8]) -> bool {
        let (from, to) = UnixDatagram::pair().unwrap();
        SockRef::from(&to).attach_filter(&filter).unwrap();
        to.set_nonblocking(true).unwrap();
        let bytes = Request::raw(kind, body.to_vec()).flags(flags).bytes(1);
        // The sender gets an error for a datagram that the filter drops.
        let _ = from.send(&bytes);
        to.recv(&mut [0; 128]).is_ok_and(|length| length == bytes.len())
    }

    #[test]
    fn forwarding_routes_and_replacing_ones_pass() {
        let route = |route_type: u8| [2, 0, 0, 0, 254, 0, 0, route_type, 0, 0, 0, 0];
        for kind in [kind::NEW_ROUTE, kind::DEL_ROUTE] {
            assert!(passes(forwarding(), kind, 0, &route(1)));
            assert!(passes(forwarding(), kind, 0, &route(4)), "RTN_ANYCAST");
            assert!(passes(forwarding(), kind, 0, &route(7)), "RTN_UNREACHABLE");
            assert!(!passes(forwarding(), kind, 0, &route(2)), "RTN_LOCAL");
            assert!(!passes(forwarding(), kind, 0, &route(3)), "RTN_BROADCAST");
            assert!(passes(forwarding(), kind, REPLACE, &route(6)), "a blackhole in place of one");
        }
        for kind in [kind::NEW_LINK, kind::DEL_LINK] {
            assert!(passes(forwarding(), kind, 0, &[0; 16]));
            assert!(!passes(forwarding(), kind, 0, &[7; 16]), "AF_BRIDGE");
        }
        for kind in [kind::NEW_ADDRESS, kind::DEL_RULE, kind::NEW_NETCONF, kind::DEL_NEXTHOP] {
            assert!(passes(forwarding(), kind, 0, &[2; 16]), "{kind}");
        }
    }

    #[test]
    fn neighbours_of_the_port_in_the_wanted_states_pass() {
        let neighbour = |family: u8, port: u32, state: u16| {
            let mut body = vec![family, 0, 0, 0];
            body.extend(port.to_ne_bytes());
            body.extend(state.to_ne_bytes());
            body.extend([0, 1]);
            body
        };
        let passes =
            |kind, body: Vec<u8>| passes(neighbours(Some(PORT), REACHABLE, false), kind, 0, &body);
        assert!(passes(kind::NEW_NEIGHBOUR, neighbour(2, PORT, REACHABLE)));
        assert!(!passes(kind::NEW_NEIGHBOUR, neighbour(2, PORT, PROBE)));
        assert!(passes(kind::DEL_NEIGHBOUR, neighbour(2, PORT, PROBE)));
        assert!(!passes(kind::NEW_NEIGHBOUR, neighbour(10, PORT, REACHABLE)));
        assert!(!passes(kind::NEW_NEIGHBOUR, neighbour(2, PORT + 1, REACHABLE)));
    }

    #[test]
    fn ipv6_neighbours_pass_only_on_request() {
        let body = |family: u8, state: u16| {
            let mut body = vec![family, 0, 0, 0];
            body.extend(PORT.to_ne_bytes());
            body.extend(state.to_ne_bytes());
            body.extend([0, 1]);
            body
        };
        let passes =
            |kind, body: Vec<u8>| passes(neighbours(Some(PORT), REACHABLE, true), kind, 0, &body);
        for family in [2, 10] {
            assert!(passes(kind::NEW_NEIGHBOUR, body(family, REACHABLE)));
            assert!(!passes(kind::NEW_NEIGHBOUR, body(family, PROBE)));
            assert!(passes(kind::DEL_NEIGHBOUR, body(family, PROBE)));
        }
        assert!(!passes(kind::NEW_NEIGHBOUR, body(7, REACHABLE)), "AF_BRIDGE");
    }

    #[test]
    fn without_a_port_nothing_passes() {
        let body = [2, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 1];
        assert!(!passes(neighbours(None, u16::MAX, true), kind::NEW_NEIGHBOUR, 0, &body));
    }
}
