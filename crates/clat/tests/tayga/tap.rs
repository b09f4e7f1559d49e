//! A packet socket (packet(7)) on a translator's device: the translator reads what the socket
//! sends, and the socket receives what the translator writes.

use std::mem::MaybeUninit;
use std::time::{Duration, Instant};

use socket2::{Domain, Protocol, SockAddr, SockAddrStorage, Socket, Type};

/// The size of a `sockaddr_ll` without padding of its address, in octets.
const SOCKADDR_LL: usize = 20;
/// `ETH_P_ALL`, `ETH_P_IP`, `ETH_P_IPV6` (linux/if_ether.h).
const ALL: u16 = 0x0003;
const IPV4: u16 = 0x0800;
const IPV6: u16 = 0x86dd;
/// `PACKET_OUTGOING` (linux/if_packet.h): sent by this host.
const OUTGOING: u8 = 4;
/// The deadline of an answer; and how long to wait for one that must not come.
const PATIENCE: Duration = Duration::from_secs(2);
const SILENCE: Duration = Duration::from_millis(60);

pub struct Tap {
    socket: Socket,
    index: u32,
    /// The destination of sent frames, on an Ethernet interface.
    to: Option<[u8; 6]>,
}

impl Tap {
    /// Opens a tap on an Ethernet interface that sends to another one of this namespace.
    pub fn towards(device: &str, other: &str) -> Self {
        let mut tap = Self::open(device);
        let path = format!("/sys/class/net/{other}/address");
        let text = std::fs::read_to_string(path).expect("a device");
        let mut octets = text.trim().split(':').map(|octet| u8::from_str_radix(octet, 16));
        tap.to = Some(std::array::from_fn(|_| octets.next().unwrap().unwrap()));
        tap
    }

    pub fn open(device: &str) -> Self {
        let path = format!("/sys/class/net/{device}/ifindex");
        let index = std::fs::read_to_string(path).expect("a device").trim().parse().unwrap();
        let protocol = Protocol::from(i32::from(ALL.to_be()));
        let socket = Socket::new(Domain::PACKET, Type::DGRAM, Some(protocol)).expect("root");
        socket.bind(&address(index, ALL, None)).expect("a device");
        Self { socket, index, to: None }
    }

    pub fn send(&self, packet: &[u8]) {
        let kind = if packet[0] >> 4 == 4 { IPV4 } else { IPV6 };
        self.socket.send_to(packet, &address(self.index, kind, self.to)).expect("sent");
    }

    /// Returns what the translator sent: that many packets of IPv6 or of IPv4, and whatever follows
    /// soon after.
    pub fn receive(&self, count: usize, v6: bool) -> Vec<Vec<u8>> {
        let mut packets = Vec::new();
        let until = Instant::now() + PATIENCE;
        loop {
            let wait = if packets.len() < count {
                until.saturating_duration_since(Instant::now()).max(SILENCE)
            } else {
                SILENCE
            };
            let Some(packet) = self.next(wait) else { return packets };
            if packet[0] >> 4 == if v6 { 6 } else { 4 } {
                packets.push(packet);
            }
        }
    }

    /// Returns the packets before the one that `is_last` recognizes.
    pub fn receive_until(&self, is_last: impl Fn(&[u8]) -> bool) -> Vec<Vec<u8>> {
        let mut packets = Vec::new();
        let until = Instant::now() + PATIENCE;
        while let Some(packet) = self.next(until.saturating_duration_since(Instant::now())) {
            if is_last(&packet) {
                return packets;
            }
            packets.push(packet);
        }
        panic!("the last packet did not come; before it came {}", packets.len());
    }

    /// Discards pending packets.
    pub fn discard(&self) {
        self.socket.set_nonblocking(true).unwrap();
        let mut buffer = [MaybeUninit::<u8>::uninit(); 64];
        while self.socket.recv(&mut buffer).is_ok() {}
        self.socket.set_nonblocking(false).unwrap();
    }

    /// Returns the next packet that another host sent.
    fn next(&self, wait: Duration) -> Option<Vec<u8>> {
        loop {
            self.socket.set_read_timeout(Some(wait.max(Duration::from_millis(1)))).unwrap();
            let mut buffer = [MaybeUninit::<u8>::uninit(); 4096];
            let (length, from) = self.socket.recv_from(&mut buffer).ok()?;
            // SAFETY: the twenty bytes are within the storage, and any bytes are valid there.
            let from: [u8; SOCKADDR_LL] = unsafe { *from.as_storage().view_as() };
            // SAFETY: the kernel wrote this many bytes.
            let packet: Vec<u8> =
                buffer[..length].iter().map(|byte| unsafe { byte.assume_init() }).collect();
            if from[10] != OUTGOING && !packet.is_empty() {
                return Some(packet);
            }
        }
    }
}

/// Returns the `struct sockaddr_ll` of a device and an EtherType.
fn address(index: u32, kind: u16, to: Option<[u8; 6]>) -> SockAddr {
    let mut storage = SockAddrStorage::zeroed();
    // SAFETY: the twenty bytes are within the storage, and any bytes are valid there.
    let bytes: &mut [u8; SOCKADDR_LL] = unsafe { storage.view_as() };
    bytes[..2].copy_from_slice(&17_u16.to_ne_bytes());
    bytes[2..4].copy_from_slice(&kind.to_be_bytes());
    bytes[4..8].copy_from_slice(&index.to_ne_bytes());
    if let Some(to) = to {
        bytes[11] = 6;
        bytes[12..18].copy_from_slice(&to);
    }
    // SAFETY: the storage holds an address of `AF_PACKET` of this size.
    unsafe { SockAddr::new(storage, SOCKADDR_LL as u32) }
}
