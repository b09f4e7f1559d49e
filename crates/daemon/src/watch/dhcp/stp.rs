//! Spanning tree BPDUs (IEEE 802.1D clause 9, 802.1w; Cisco's per-VLAN variant in SNAP), which
//! switches send on each port. A port with a new carrier does not forward for twice the forward
//! delay in them.

use std::io;
use std::os::fd::AsRawFd;
use std::time::Duration;

use bramblegate_netlink::bpf::{
    accept, jump_if_any_bit, jump_if_equal, load_byte, load_half, load_word, reject,
};
use socket2::{SockFilter, Socket, Type};

use crate::event::LinkIndex;
use crate::packet::{self, ETHERTYPE_LLC};

/// Destination addresses: the bridge group address, and Cisco's.
const GROUPS: [[u8; 6]; 2] = [[0x01, 0x80, 0xc2, 0, 0, 0], [0x01, 0x00, 0x0c, 0xcc, 0xcc, 0xcd]];
/// Maximum size of a frame in bytes; longer ones are truncated.
pub const FRAME: usize = 128;
const ETHERNET: usize = 14;
/// LLC header of the standard's BPDUs, and SNAP header of Cisco's.
const LLC: [u8; 3] = [0x42, 0x42, 0x03];
const SNAP: [u8; 8] = [0xaa, 0xaa, 0x03, 0x00, 0x00, 0x0c, 0x01, 0x0b];
/// BPDU types: configuration, and rapid spanning tree.
const CONFIGURATION: u8 = 0;
const RAPID: u8 = 2;
/// Flags: topology change, and the state of the sending port.
const CHANGE: u8 = 0x01;
const FORWARDING: u8 = 0x20;
/// Maximum forward delay (802.1D, table 17-1).
const MAX_DELAY: Duration = Duration::from_secs(30);

/// Holds the relevant fields of a BPDU.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bpdu {
    /// Bridge ID: priority and hardware address.
    pub bridge: [u8; 8],
    /// Forward delay: the duration of each of the two states before forwarding.
    pub delay: Duration,
    /// The sending port forwards already; only rapid spanning tree reports this.
    pub forwards: bool,
    /// The topology changes.
    pub changes: bool,
}

/// Parses a frame.
pub fn read(frame: &[u8]) -> Option<Bpdu> {
    let to = frame.get(..6)?;
    GROUPS.iter().any(|group| to == group).then_some(())?;
    let body = frame.get(ETHERNET..)?;
    let message = body.strip_prefix(&LLC[..]).or_else(|| body.strip_prefix(&SNAP[..]))?;
    // Protocol 0, version, type, flags, root, cost, bridge, port, message age, max age, hello time,
    // forward delay.
    let (kind, flags) = (*message.get(3)?, *message.get(4)?);
    let known = message.starts_with(&[0, 0]) && matches!(kind, CONFIGURATION | RAPID);
    let bridge = *message.get(17..)?.first_chunk()?;
    let delay = u16::from_be_bytes(*message.get(33..)?.first_chunk()?);
    // In units of 1/256 s.
    let delay = Duration::from_millis(u64::from(delay) * 1000 / 256).min(MAX_DELAY);
    let forwards = kind == RAPID && flags & FORWARDING != 0;
    known.then_some(Bpdu { bridge, delay, forwards, changes: flags & CHANGE != 0 })
}

/// Opens a socket for BPDUs on one interface.
///
/// # Errors
/// As [`packet::open`].
pub fn open(index: LinkIndex) -> io::Result<Socket> {
    let socket = packet::open(Type::RAW, ETHERTYPE_LLC, index, &filter(None))?;
    for group in GROUPS {
        let mut address = [0; 8];
        address.iter_mut().zip(group).for_each(|(place, byte)| *place = byte);
        let member = libc::packet_mreq {
            mr_ifindex: i32::try_from(index).map_err(io::Error::other)?,
            mr_type: u16::try_from(libc::PACKET_MR_MULTICAST).map_err(io::Error::other)?,
            mr_alen: 6,
            mr_address: address,
        };
        let length =
            libc::socklen_t::try_from(size_of::<libc::packet_mreq>()).map_err(io::Error::other)?;
        // SAFETY: the kernel reads `length` bytes, the size of `member`, which outlives the call.
        let done = unsafe {
            libc::setsockopt(
                socket.as_raw_fd(),
                libc::SOL_PACKET,
                libc::PACKET_ADD_MEMBERSHIP,
                (&raw const member).cast(),
                length,
            )
        };
        if done != 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(socket)
}

/// Makes the socket drop further BPDUs of this bridge without a topology change, which repeat every
/// two seconds.
///
/// # Errors
/// The filter cannot be attached.
pub fn drop_repetitions(socket: &Socket, bridge: [u8; 8]) -> io::Result<()> {
    socket.attach_filter(&filter(Some(bridge)))
}

/// Returns a filter for frames to [`GROUPS`], without those of `bridge` unless the topology
/// changes. Cisco's frames have another layout and always pass.
fn filter(bridge: Option<[u8; 8]>) -> Vec<SockFilter> {
    let word =
        |bytes: &[u8]| bytes.iter().take(4).fold(0, |word, byte| word << 8 | u32::from(*byte));
    let mut program = vec![
        load_word(0),
        jump_if_equal(0x0180_c200, 2, 0),
        jump_if_equal(0x0100_0ccc, 0, 3),
        accept(FRAME as u32),
        load_half(4),
        jump_if_equal(0, 1, 0),
        reject(),
    ];
    if let Some(bridge) = bridge {
        let (first, last) = bridge.split_at(4);
        program.extend([
            load_byte(21),
            jump_if_any_bit(CHANGE.into(), 5, 0),
            load_word(34),
            jump_if_equal(word(first), 0, 3),
            load_word(38),
            jump_if_equal(word(last), 0, 1),
            reject(),
        ]);
    }
    program.push(accept(FRAME as u32));
    program
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Makes a frame as sent by the Linux bridge (`stp_state 1`) with its padding, of any BPDU
    /// type.
    fn frame(kind: u8, flags: u8) -> Vec<u8> {
        let mut frame =
            [&GROUPS[0][..], &[2, 0, 0, 0, 0, 9], &[0, 38], &LLC, &[0, 0, 0, kind, flags]].concat();
        frame.extend([0x80, 0, 2, 0, 0, 0, 0, 9, 0, 0, 0, 0, 0x80, 0, 2, 0, 0, 0, 0, 9, 0x80, 1]);
        frame.extend([0, 0, 20, 0, 2, 0, 15, 0]);
        frame.resize(60, 0);
        frame
    }

    #[test]
    fn delay_state_and_topology_change_are_parsed() {
        let bpdu = read(&frame(CONFIGURATION, 0)).unwrap();
        assert_eq!(
            (bpdu.delay, bpdu.forwards, bpdu.changes),
            (Duration::from_secs(15), false, false)
        );
        assert_eq!(bpdu.bridge, [0x80, 0, 2, 0, 0, 0, 0, 9]);
        assert!(read(&frame(RAPID, 0x3c)).unwrap().forwards);
        assert!(!read(&frame(CONFIGURATION, 0x3c)).unwrap().forwards, "unused bits");
        assert!(read(&frame(CONFIGURATION, 1)).unwrap().changes);
        let mut long = frame(CONFIGURATION, 0);
        long[50..52].fill(0xff);
        assert_eq!(read(&long).unwrap().delay, MAX_DELAY);
    }

    #[test]
    fn ciscos_frames_are_parsed_and_others_are_not() {
        let plain = frame(RAPID, 0);
        let cisco = [&GROUPS[1][..], &plain[6..14], &SNAP, &plain[17..]].concat();
        assert_eq!(read(&cisco), read(&plain));
        for (at, byte) in [(5, 0x0e), (14, 0xaa), (17, 1), (20, 0x80)] {
            let mut other = plain.clone();
            other[at] = byte;
            assert_eq!(read(&other), None, "byte {at}");
        }
        assert_eq!(read(&plain[..51]), None);
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..FRAME)) {
            read(&bytes);
        }
    }
}
