//! A DHCPv6 server that delegates one prefix (RFC 8415, sections 18.3 and 21), at the venue's end
//! of the cable.

use std::fs::File;
use std::net::{Ipv6Addr, SocketAddr, UdpSocket};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// `All_DHCP_Relay_Agents_and_Servers`.
const SERVERS: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 1, 2);
const SERVER_ID: [u8; 10] = [0, 3, 0, 1, 2, 0xbb, 0, 0, 0xe1, 0xfe];
/// In seconds: T1, T2, preferred, valid.
const TIMES: [u32; 4] = [8, 12, 16, 20];
const CLIENT: u16 = 1;
const SERVER: u16 = 2;
const IA_NA: u16 = 3;
const IA_ADDRESS: u16 = 5;
const IA_PD: u16 = 25;
const IA_PREFIX: u16 = 26;

/// The server; dropping this ends it.
pub struct Delegation {
    ended: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Delegation {
    /// Delegates this prefix.
    pub fn start(prefix: Ipv6Addr, length: u8) -> Self {
        let ended = Arc::new(AtomicBool::new(false));
        let end = Arc::clone(&ended);
        let thread = std::thread::spawn(move || {
            let venue = File::open("/run/netns/venue").unwrap();
            move_into_link_name_space(venue.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
            let index = std::process::Command::new("sh")
                .args(["-c", "ip -o link show lan0 | cut -d: -f1"])
                .output()
                .unwrap();
            let index = String::from_utf8(index.stdout).unwrap().trim().parse().unwrap();
            let socket = UdpSocket::bind("[::]:547").unwrap();
            socket.join_multicast_v6(&SERVERS, index).unwrap();
            socket.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
            while !end.load(Ordering::Relaxed) {
                let mut buffer = [0; 1500];
                let Ok((size, from)) = socket.recv_from(&mut buffer) else { continue };
                reply(&socket, from, &buffer[..size], prefix, length);
            }
        });
        Self { ended, thread: Some(thread) }
    }
}

impl Drop for Delegation {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

fn option(code: u16, value: &[u8]) -> Vec<u8> {
    [&code.to_be_bytes()[..], &u16::try_from(value.len()).unwrap().to_be_bytes(), value].concat()
}

fn reply(socket: &UdpSocket, from: SocketAddr, asked: &[u8], prefix: Ipv6Addr, length: u8) {
    // Solicit is answered by Advertise, everything else by Reply.
    let kind = if asked[0] == 1 { 2 } else { 7 };
    let [t1, t2, preferred, valid] = TIMES.map(u32::to_be_bytes);
    let mut answer = [&[kind], &asked[1..4], &option(SERVER, &SERVER_ID)].concat();
    let mut rest = &asked[4..];
    while rest.len() >= 4 {
        let code = u16::from_be_bytes([rest[0], rest[1]]);
        let size = usize::from(u16::from_be_bytes([rest[2], rest[3]]));
        let value = &rest[4..4 + size];
        let held = match code {
            IA_NA => {
                let address = Ipv6Addr::new(0x2001, 0xdb8, 9, 0, 0, 0, 0, 0x77).octets();
                option(IA_ADDRESS, &[&address[..], &preferred, &valid].concat())
            }
            IA_PD => {
                option(IA_PREFIX, &[&preferred[..], &valid, &[length], &prefix.octets()].concat())
            }
            _ => Vec::new(),
        };
        match code {
            CLIENT => answer.extend(option(CLIENT, value)),
            IA_NA | IA_PD => {
                answer.extend(option(code, &[&value[..4], &t1, &t2, &held].concat()));
            }
            _ => {}
        }
        rest = &rest[4 + size..];
    }
    let _ = socket.send_to(&answer, from);
}
