//! Picks DHCP out of what a port hears, in the kernel: other traffic wakes no task.

use bramblegate_netlink::bpf::{
    accept, jump_if_any_bit, jump_if_equal, load_byte, load_half, load_half_from_x,
    load_header_length, reject,
};
use socket2::SockFilter;

use super::{CLIENT_PORT, FRAME, SERVER_PORT};
use crate::packet::{ETHERTYPE_IPV4, UDP};

/// Holds the ports of a datagram (RFC 2131, 4.1): from and to.
type Ports = (u16, u16);

const OF_SERVERS: Ports = (SERVER_PORT, CLIENT_PORT);
const OF_CLIENTS: Ports = (CLIENT_PORT, SERVER_PORT);

/// Offsets in an Ethernet frame with an IPv4 packet (RFC 791, 3.1).
const ETHERTYPE: u32 = 12;
const IPV4: u32 = 14;
const FRAGMENT: u32 = 20;
const PROTOCOL: u32 = 23;
/// The bits of a fragment's offset: the first, and a whole packet, have none.
const FRAGMENT_OFFSET: u32 = 0x1fff;

/// Lets through what servers send to clients.
pub fn servers() -> Vec<SockFilter> {
    udp_between(&[OF_SERVERS])
}

/// Lets through what clients send to servers.
pub fn clients() -> Vec<SockFilter> {
    udp_between(&[OF_CLIENTS])
}

/// Lets through what servers and clients send, renewals too. For sockets of all kinds of frame.
pub fn both() -> Vec<SockFilter> {
    let program = udp_between(&[OF_SERVERS, OF_CLIENTS]);
    // Another kind of frame goes to the last instruction but one, which rejects.
    let to_reject = u8::try_from(program.len() - 2).unwrap_or(u8::MAX);
    let kind = [load_half(ETHERTYPE), jump_if_equal(ETHERTYPE_IPV4.into(), 0, to_reject)];
    kind.into_iter().chain(program).collect()
}

/// Lets through what is IPv4, UDP, no later fragment, and goes between one of these pairs of ports.
fn udp_between(pairs: &[Ports]) -> Vec<SockFilter> {
    let count = u8::try_from(pairs.len()).unwrap_or(u8::MAX);
    // Four instructions for each pair, then one that rejects and one that accepts.
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

    /// Returns whether the kernel lets a frame through; Unix sockets take the same programs.
    fn passes(filter: &[SockFilter], frame: &[u8]) -> bool {
        let (from, to) = UnixDatagram::pair().unwrap();
        SockRef::from(&to).attach_filter(filter).unwrap();
        to.set_nonblocking(true).unwrap();
        // A datagram that the filter drops is refused to its sender.
        let _ = from.send(frame);
        to.recv(&mut [0; FRAME]).is_ok()
    }

    /// An Ethernet frame with so many bytes of options in its IPv4 header.
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
    fn each_filter_lets_its_own_side_through_and_no_others() {
        let table = [(servers(), [true, false]), (clients(), [false, true]), (both(), [true; 2])];
        for (filter, expected) in table {
            for options in [0, 8] {
                let of =
                    [OF_SERVERS, OF_CLIENTS].map(|pair| passes(&filter, &frame(options, pair)));
                assert_eq!(of, expected, "{options} bytes of options");
                for other in [(67, 67), (68, 68), (67, 53), (53, 68), (0, 0)] {
                    assert!(!passes(&filter, &frame(options, other)), "{other:?}");
                }
            }
            for pair in [OF_SERVERS, OF_CLIENTS] {
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
            let mut arp = frame(0, OF_CLIENTS);
            arp[13] = 6;
            arp
        }));
    }
}
