//! Socket filters that pass DHCP only, so that other traffic wakes no task.

use bramblegate_netlink::bpf::{
    accept, jump_if_any_bit, jump_if_equal, load_byte, load_half, load_half_from_x,
    load_header_length, reject,
};
use socket2::SockFilter;

use super::{CLIENT_PORT, FRAME, SERVER_PORT};
use crate::packet::{ETHERTYPE_IPV4, UDP};

/// Source and destination port of a datagram.
type Ports = (u16, u16);

const FROM_SERVERS: Ports = (SERVER_PORT, CLIENT_PORT);
const FROM_CLIENTS: Ports = (CLIENT_PORT, SERVER_PORT);

/// Offsets in an Ethernet frame with an IPv4 packet (RFC 791, 3.1).
const ETHERTYPE: u32 = 12;
const IPV4: u32 = 14;
const FRAGMENT: u32 = 20;
const PROTOCOL: u32 = 23;
/// Bits of the fragment offset; zero in an unfragmented packet and in a first fragment.
const FRAGMENT_OFFSET: u32 = 0x1fff;

/// Returns a filter for messages from servers to clients.
pub fn servers() -> Vec<SockFilter> {
    udp_between(&[FROM_SERVERS])
}

/// Returns a filter for messages from clients to servers.
pub fn clients() -> Vec<SockFilter> {
    udp_between(&[FROM_CLIENTS])
}

/// Returns a filter for both directions, including renewals, on sockets for all Ethertypes.
pub fn both() -> Vec<SockFilter> {
    let program = udp_between(&[FROM_SERVERS, FROM_CLIENTS]);
    // Other Ethertypes jump to the last but one instruction, which rejects.
    let to_reject = u8::try_from(program.len() - 2).unwrap_or(u8::MAX);
    let kind = [load_half(ETHERTYPE), jump_if_equal(ETHERTYPE_IPV4.into(), 0, to_reject)];
    kind.into_iter().chain(program).collect()
}

/// Returns a filter for IPv4 packets with UDP between one of these pairs of ports, except later
/// fragments.
fn udp_between(pairs: &[Ports]) -> Vec<SockFilter> {
    let count = u8::try_from(pairs.len()).unwrap_or(u8::MAX);
    // Four instructions per pair, then one that rejects and one that accepts.
    let of_pairs = 4 * count;
    let mut program = vec![
        load_byte(PROTOCOL),
        jump_if_equal(UDP.into(), 0, of_pairs + 3),
        load_half(FRAGMENT),
        jump_if_any_bit(FRAGMENT_OFFSET, of_pairs + 1, 0),
        load_header_length(IPV4),
    ];
    for ((from, to), left) in pairs.iter().zip((0..count).rev()) {
        program.extend([
            load_half_from_x(IPV4),
            jump_if_equal((*from).into(), 0, 2),
            load_half_from_x(IPV4 + 2),
            jump_if_equal((*to).into(), 4 * left + 1, 0),
        ]);
    }
    program.extend([reject(), accept(FRAME as u32)]);
    program
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixDatagram;

    use socket2::SockRef;

    use super::*;

    /// Returns whether the kernel passes a frame; Unix sockets accept the same programs.
    fn passes(filter: &[SockFilter], frame: &[u8]) -> bool {
        let (from, to) = UnixDatagram::pair().unwrap();
        SockRef::from(&to).attach_filter(filter).unwrap();
        to.set_nonblocking(true).unwrap();
        // The send fails if the filter drops the datagram.
        let _ = from.send(frame);
        to.recv(&mut [0; FRAME]).is_ok()
    }

    /// Makes an Ethernet frame with `options` bytes of options in its IPv4 header.
    fn frame(options: usize, (from, to): Ports) -> Vec<u8> {
        let mut frame = vec![0; 14 + 20 + options + 8];
        frame[12..14].copy_from_slice(&ETHERTYPE_IPV4.to_be_bytes());
        frame[14] = 0x45 + u8::try_from(options / 4).unwrap();
        frame[23] = UDP;
        frame[34 + options..36 + options].copy_from_slice(&from.to_be_bytes());
        frame[36 + options..38 + options].copy_from_slice(&to.to_be_bytes());
        frame
    }

    #[test]
    fn each_filter_passes_its_own_direction_only() {
        let table = [(servers(), [true, false]), (clients(), [false, true]), (both(), [true; 2])];
        for (filter, expected) in table {
            for options in [0, 8] {
                let of =
                    [FROM_SERVERS, FROM_CLIENTS].map(|pair| passes(&filter, &frame(options, pair)));
                assert_eq!(of, expected, "{options} bytes of options");
                for other in [(67, 67), (68, 68), (67, 53), (53, 68), (0, 0)] {
                    assert!(!passes(&filter, &frame(options, other)), "{other:?}");
                }
            }
            for pair in [FROM_SERVERS, FROM_CLIENTS] {
                let change = |at: usize, byte: u8| {
                    let mut frame = frame(0, pair);
                    frame[at] = byte;
                    frame
                };
                assert!(!passes(&filter, &change(23, 6)), "TCP");
                assert!(!passes(&filter, &change(21, 1)), "a later fragment");
                assert!(!passes(&filter, &frame(0, pair)[..30]), "cut off");
            }
        }
        assert!(!passes(&both(), &{
            let mut arp = frame(0, FROM_CLIENTS);
            arp[13] = 6;
            arp
        }));
    }
}
