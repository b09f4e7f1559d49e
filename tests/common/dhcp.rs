//! DHCP messages of a client, built and parsed; for stories and benchmarks.

// Neither of the two uses everything.
#![allow(dead_code)]

use std::net::Ipv4Addr;

/// Message types and options (RFC 2132, 9; RFC 4578).
pub const DISCOVER: u8 = 1;
pub const REQUEST: u8 = 3;
pub const ACK: u8 = 5;
pub const NAK: u8 = 6;
pub const RELEASE: u8 = 7;
pub const HOST_NAME: u8 = 12;
pub const REQUESTED_ADDRESS: u8 = 50;
pub const MESSAGE_TYPE: u8 = 53;
pub const SERVER: u8 = 54;
pub const WANTED: u8 = 55;
pub const RENEWAL_TIME: u8 = 58;
pub const REBINDING_TIME: u8 = 59;
pub const VENDOR_CLASS: u8 = 60;
pub const CLIENT_ID: u8 = 61;
pub const BOOT_FILE: u8 = 67;
pub const USER_CLASS: u8 = 77;
pub const ARCHITECTURE: u8 = 93;

/// Returns a client's message (RFC 2131, figure 1) as a datagram's payload; `has` is the client's
/// current address.
pub fn message(kind: u8, mac: [u8; 6], has: Ipv4Addr, options: &[(u8, &[u8])]) -> Vec<u8> {
    // A request over Ethernet, with the broadcast flag.
    let mut bytes = vec![1, 1, 6, 0, 0x26, 0xf3, 0x03, mac[5], 0, 0, 0x80, 0];
    bytes.extend(has.octets());
    bytes.resize(28, 0);
    bytes.extend(mac);
    bytes.resize(236, 0);
    bytes.extend([99, 130, 83, 99]);
    for (code, value) in [(MESSAGE_TYPE, [kind].as_slice())].iter().chain(options) {
        bytes.extend([*code, u8::try_from(value.len()).unwrap_or(0)]);
        bytes.extend(*value);
    }
    bytes.push(255);
    bytes.resize(bytes.len().max(300), 0);
    bytes
}

/// A server's answer.
#[derive(Debug, Clone, Default)]
pub struct Answer {
    pub kind: u8,
    /// The offered address.
    pub address: Option<Ipv4Addr>,
    /// The server of boot files.
    pub next_server: Option<Ipv4Addr>,
    /// The field that net boot reads when there is no option 67.
    pub file: String,
    options: Vec<(u8, Vec<u8>)>,
}

impl Answer {
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let field = bytes.get(108..236)?;
        let file = String::from_utf8_lossy(field).trim_end_matches('\0').to_owned();
        let address = |at: usize| {
            Some(Ipv4Addr::from(*bytes.get(at..)?.first_chunk::<4>()?))
                .filter(|ip| !ip.is_unspecified())
        };
        let (mut rest, mut options) = (bytes.get(240..)?, Vec::new());
        while let [code, length, more @ ..] = rest {
            match code {
                0 => rest = rest.get(1..)?,
                255 => break,
                _ => {
                    let (value, next) = more.split_at_checked(usize::from(*length))?;
                    options.push((*code, value.to_vec()));
                    rest = next;
                }
            }
        }
        let answer =
            Self { kind: 0, address: address(16), next_server: address(20), file, options };
        Some(Self { kind: *answer.option(MESSAGE_TYPE)?.first()?, ..answer })
    }

    pub fn option(&self, code: u8) -> Option<&[u8]> {
        self.options.iter().find(|(known, _)| *known == code).map(|(_, value)| value.as_slice())
    }
}
