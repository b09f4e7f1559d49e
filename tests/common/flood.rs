//! Floods of raw frames on the cluster interface, for stories and benchmarks. Limited in number and
//! time.

// Neither of the two uses everything.
#![allow(dead_code)]
// Frames are built at fixed offsets.
#![allow(clippy::indexing_slicing)]

use std::io;
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use rustix::net::netdevice::name_to_index;
use socket2::{Domain, Protocol, SockAddr, SockAddrStorage, Socket, Type};

use super::dhcp::{DISCOVER, HOST_NAME, REQUEST, REQUESTED_ADDRESS, SERVER, message};

/// The kind of frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flood {
    /// One node requests its address repeatedly, with another host name each time.
    Names,
    /// Requests for the head's address, each from another hardware address.
    Arp,
    /// DHCPDISCOVER, each from another board.
    Discover,
    /// One node releases its address and requests it again.
    Journal,
}

impl Flood {
    pub const ALL: [Self; 4] = [Self::Names, Self::Arp, Self::Discover, Self::Journal];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Names => "host names",
            Self::Arp => "ARP",
            Self::Discover => "DHCP discovers",
            Self::Journal => "journal",
        }
    }

    fn frame(self, number: u32) -> Vec<u8> {
        let [a, b, c, d] = number.to_be_bytes();
        let (one, new) = ([2, 0, 0, 0, 9, 9], [6, 1, a, b, c, d]);
        let (head, nowhere) = ([192, 168, 50, 1], Ipv4Addr::UNSPECIFIED);
        match self {
            Self::Names => {
                let name = format!("name-{number}");
                let options = [
                    (REQUESTED_ADDRESS, [192, 168, 50, 150].as_slice()),
                    (HOST_NAME, name.as_bytes()),
                ];
                dhcp(one, nowhere, &message(REQUEST, one, nowhere, &options))
            }
            Self::Arp => {
                let sender = [192, 168, 50, 20 + (number % 230) as u8];
                let arp =
                    [[0, 1, 8, 0, 6, 4, 0, 1].as_slice(), &new, &sender, &[0; 6], &head].concat();
                [[0xff; 6].as_slice(), &new, &[8, 6], &arp].concat()
            }
            Self::Discover => {
                let name = format!("board-{number}");
                dhcp(
                    new,
                    nowhere,
                    &message(DISCOVER, new, nowhere, &[(HOST_NAME, name.as_bytes())]),
                )
            }
            Self::Journal => {
                const RELEASE: u8 = 7;
                let (two, address) = ([2, 0, 0, 0, 9, 8], Ipv4Addr::new(192, 168, 50, 151));
                if number % 2 == 1 {
                    return dhcp(two, address, &message(RELEASE, two, address, &[(SERVER, &head)]));
                }
                dhcp(
                    two,
                    nowhere,
                    &message(REQUEST, two, nowhere, &[(REQUESTED_ADDRESS, &address.octets())]),
                )
            }
        }
    }

    /// Sends `rate` frames a second through `port` for so long, numbered from `first` on; returns
    /// how many were sent.
    pub fn send(self, port: &str, rate: u32, time: Duration, first: u32) -> io::Result<u32> {
        let socket = Socket::new(Domain::PACKET, Type::RAW, Some(Protocol::from(0)))?;
        let to = link(name_to_index(&socket, port)?);
        let (begin, mut sent) = (Instant::now(), 0);
        while begin.elapsed() < time {
            let due = (begin.elapsed().as_secs_f64() * f64::from(rate)) as u32;
            while sent < due {
                // A full queue drops the frame.
                let _ = socket.send_to(&self.frame(first.wrapping_add(sent)), &to);
                sent += 1;
            }
            std::thread::sleep(Duration::from_millis(4));
        }
        Ok(sent)
    }
}

/// Returns a client's broadcast message as a frame, without a UDP checksum, as IPv4 allows.
fn dhcp(mac: [u8; 6], from: Ipv4Addr, bootp: &[u8]) -> Vec<u8> {
    let udp = u16::try_from(8 + bootp.len()).unwrap_or(u16::MAX);
    let total = (udp + 20).to_be_bytes();
    let mut ip =
        [[0x45, 0].as_slice(), &total, &[0, 0, 0, 0, 64, 17, 0, 0], &from.octets(), &[0xff; 4]]
            .concat();
    let sum: u32 = ip.chunks(2).map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]]))).sum();
    let sum = (sum & 0xffff) + (sum >> 16);
    ip[10..12].copy_from_slice(&(!((sum + (sum >> 16)) as u16)).to_be_bytes());
    [[0xff; 6].as_slice(), &mac, &[8, 0], &ip, &[0, 68, 0, 67], &udp.to_be_bytes(), &[0, 0], bootp]
        .concat()
}

/// Returns the `struct sockaddr_ll` of an interface.
fn link(index: u32) -> SockAddr {
    let mut storage = SockAddrStorage::zeroed();
    // SAFETY: the twenty bytes, the size of a `sockaddr_ll`, are within the storage, and any bytes
    // are valid there.
    let bytes: &mut [u8; 20] = unsafe { storage.view_as() };
    bytes[..2].copy_from_slice(&17_u16.to_ne_bytes());
    bytes[4..8].copy_from_slice(&index.to_ne_bytes());
    bytes[11] = 6;
    bytes[12..18].fill(0xff);
    // SAFETY: the storage holds an address of `AF_PACKET` of this size.
    unsafe { SockAddr::new(storage, 20) }
}

/// Returns the arguments of a process that sends a flood.
pub fn arguments(flood: Flood, port: &str, rate: u32, time: Duration) -> Vec<String> {
    let kind = Flood::ALL.iter().position(|known| *known == flood).unwrap_or(0);
    [
        "--flood".to_owned(),
        port.to_owned(),
        kind.to_string(),
        rate.to_string(),
        time.as_millis().to_string(),
    ]
    .into()
}

/// Sends the flood that the [`arguments`] describe; returns `None` for other arguments.
pub fn helper(arguments: &[String]) -> Option<std::process::ExitCode> {
    let [flag, port, numbers @ ..] = arguments else { return None };
    let numbers: Vec<u32> = numbers.iter().filter_map(|number| number.parse().ok()).collect();
    let ("--flood", [kind, rate, millis]) = (flag.as_str(), numbers.as_slice()) else {
        return None;
    };
    let flood = Flood::ALL.get(*kind as usize)?;
    Some(match flood.send(port, *rate, Duration::from_millis((*millis).into()), 0) {
        Ok(_) => std::process::ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{port}: {error}");
            std::process::ExitCode::FAILURE
        }
    })
}
