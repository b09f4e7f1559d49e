//! Messages of the spanning tree (IEEE 802.1D clause 9, 802.1w; Cisco's per VLAN in SNAP), which
//! switches send to the devices at their ports: a port that has just got a carrier is kept from
//! forwarding for twice the delay that they carry.

use std::io;
use std::os::fd::AsRawFd;
use std::time::Duration;

use bramblegate_netlink::bpf::{
    accept, jump_if_any_bit, jump_if_equal, load_byte, load_half, load_word, reject,
};
use socket2::{SockFilter, Socket, Type};

use crate::event::LinkIndex;
use crate::packet::{self, ETHERTYPE_LLC};

/// Where the switches send them: bridge group address, and Cisco's.
const GROUPS: [[u8; 6]; 2] = [[0x01, 0x80, 0xc2, 0, 0, 0], [0x01, 0x00, 0x0c, 0xcc, 0xcc, 0xcd]];
/// Longer frames are cut.
pub const FRAME: usize = 128;
const ETHERNET: usize = 14;
/// LLC's header for the spanning tree, and SNAP's for Cisco's.
const LLC: [u8; 3] = [0x42, 0x42, 0x03];
const SNAP: [u8; 8] = [0xaa, 0xaa, 0x03, 0x00, 0x00, 0x0c, 0x01, 0x0b];
/// Kinds of message: configuration, and that of the rapid protocol.
const CONFIGURATION: u8 = 0;
const RAPID: u8 = 2;
/// Flags: the topology changes; the sending port forwards.
const CHANGE: u8 = 0x01;
const FORWARDING: u8 = 0x20;
/// No switch is set to more (802.1D, table 17-1).
const MOST: Duration = Duration::from_secs(30);

/// Holds what a switch says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bpdu {
    /// priority and hardware address of the switch
    pub bridge: [u8; 8],
    /// how long each of the two states before forwarding lasts
    pub delay: Duration,
    /// its port forwards already; the older protocol does not say so
    pub forwards: bool,
    /// the topology changes
    pub changes: bool,
}

/// Reads a frame.
pub fn read(frame: &[u8]) -> Option<Bpdu> {
    let to = frame.get(..6)?;
    GROUPS.iter().any(|group| to == group).then_some(())?;
    let body = frame.get(ETHERNET..)?;
    let message = body.strip_prefix(&LLC[..]).or_else(|| body.strip_prefix(&SNAP[..]))?;
    // Protocol 0, version, kind, flags, root, cost, bridge, port, age, limit of age, hello time,
    // delay
    let (kind, flags) = (*message.get(3)?, *message.get(4)?);
    let known = message.starts_with(&[0, 0]) && matches!(kind, CONFIGURATION | RAPID);
    let bridge = *message.get(17..)?.first_chunk()?;
    let delay = u16::from_be_bytes(*message.get(33..)?.first_chunk()?);
    // In 1/256 s.
    let delay = Duration::from_millis(u64::from(delay) * 1000 / 256).min(MOST);
    let forwards = kind == RAPID && flags & FORWARDING != 0;
    known.then_some(Bpdu { bridge, delay, forwards, changes: flags & CHANGE != 0 })
}

/// Opens a socket that hears them at one port.
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
        // SAFETY: the kernel reads `length` bytes, the size of the structure.
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

/// Hears from now on only what says something new: a switch says the same every two seconds.
///
/// # Errors
/// As the kernel says.
pub fn only_news(socket: &Socket, bridge: [u8; 8]) -> io::Result<()> {
    socket.attach_filter(&filter(Some(bridge)))
}

/// Lets through what goes to one of the groups; with a bridge: not what comes from that one, unless
/// the topology changes. Cisco's frames lie otherwise, and all pass.
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

    /// What Linux' bridge sends (`stp_state 1`), with its padding; the same of the rapid protocol.
    fn frame(kind: u8, flags: u8) -> Vec<u8> {
        let mut frame =
            [&GROUPS[0][..], &[2, 0, 0, 0, 0, 9], &[0, 38], &LLC, &[0, 0, 0, kind, flags]].concat();
        frame.extend([0x80, 0, 2, 0, 0, 0, 0, 9, 0, 0, 0, 0, 0x80, 0, 2, 0, 0, 0, 0, 9, 0x80, 1]);
        frame.extend([0, 0, 20, 0, 2, 0, 15, 0]);
        frame.resize(60, 0);
        frame
    }

    #[test]
    fn a_switch_reports_how_long_it_keeps_a_port_from_forwarding() {
        let bpdu = read(&frame(CONFIGURATION, 0)).unwrap();
        assert_eq!(
            (bpdu.delay, bpdu.forwards, bpdu.changes),
            (Duration::from_secs(15), false, false)
        );
        assert_eq!(bpdu.bridge, [0x80, 0, 2, 0, 0, 0, 0, 9]);
        assert!(read(&frame(RAPID, 0x3c)).unwrap().forwards);
        assert!(!read(&frame(CONFIGURATION, 0x3c)).unwrap().forwards, "there the bits say nothing");
        assert!(read(&frame(CONFIGURATION, 1)).unwrap().changes);
        let mut long = frame(CONFIGURATION, 0);
        long[50..52].fill(0xff);
        assert_eq!(read(&long).unwrap().delay, MOST);
    }

    #[test]
    fn ciscos_frames_are_read_too_and_others_are_not() {
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
        fn any_bytes_are_read_without_harm(bytes in proptest::collection::vec(any::<u8>(), 0..FRAME)) {
            read(&bytes);
        }
    }
}
