//! The device side of the kernel's virtual USB host controller (`vhci_hcd`): USB/IP over a socket
//! pair.
//!
//! Header layout: Linux `Documentation/usb/usbip_protocol.rst`. All numbers are big-endian, every
//! header is 48 bytes.

use std::fs;
use std::io::{self, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;

const CONTROLLER: &str = "/sys/devices/platform/vhci_hcd.0";
const HEADER: usize = 48;
const CMD_SUBMIT: u32 = 1;
const CMD_UNLINK: u32 = 2;
const RET_SUBMIT: u32 = 3;
const RET_UNLINK: u32 = 4;
const EPIPE: i32 = 32;
const ECONNRESET: i32 = 104;

/// Speed codes of the kernel's `enum usb_device_speed`.
#[derive(Debug, Clone, Copy)]
pub enum Speed {
    Low = 1,
    Full = 2,
}

/// The eight bytes that start a control transfer (USB 2.0, 9.3).
#[derive(Debug, Clone, Copy)]
pub struct Setup {
    pub request_type: u8,
    pub request: u8,
    pub value: u16,
    pub index: u16,
    pub length: u16,
}

impl Setup {
    fn parse(bytes: &[u8; 8]) -> Self {
        let [request_type, request, v0, v1, i0, i1, l0, l1] = *bytes;
        Self {
            request_type,
            request,
            value: u16::from_le_bytes([v0, v1]),
            index: u16::from_le_bytes([i0, i1]),
            length: u16::from_le_bytes([l0, l1]),
        }
    }
}

/// The device refuses a request: a STALL on the bus.
#[derive(Debug)]
pub struct Stall;

/// A simulated device's default pipe. Other pipes never have data.
pub trait Device: Send {
    fn speed(&self) -> Speed;

    /// Answers a control transfer: `data` came from the host (empty for reads), the result goes to
    /// the host.
    fn control(&mut self, setup: Setup, data: &[u8]) -> Result<Vec<u8>, Stall>;
}

/// Plugs in a device of `speed`: finds a free port and passes the kernel one end of a socket pair.
/// Returns the other end; closing it unplugs the device.
pub fn attach(speed: Speed) -> io::Result<UnixStream> {
    let status = fs::read_to_string(format!("{CONTROLLER}/status"))?;
    let port =
        free_port(&status).ok_or_else(|| io::Error::other("every port of vhci_hcd is taken"))?;
    let (ours, kernels) = UnixStream::pair()?;
    let device = (1 << 16) | (port + 1);
    fs::write(
        format!("{CONTROLLER}/attach"),
        format!("{port} {} {device} {}", kernels.as_raw_fd(), speed as u8),
    )?;
    Ok(ours)
}

/// Returns the first unused high-speed port in the controller's table: `hub port sta spd dev sockfd
/// local_busid`; state 4 is unused.
fn free_port(status: &str) -> Option<u32> {
    status.lines().find_map(|line| {
        let mut words = line.split_whitespace();
        let (hub, port, state) = (words.next()?, words.next()?, words.next()?);
        (hub == "hs" && state.parse() == Ok(4u32)).then(|| port.parse().ok()).flatten()
    })
}

/// Serves the host's requests until the device is unplugged.
pub fn serve(
    mut link: &UnixStream,
    mut control: impl FnMut(Setup, &[u8]) -> Result<Vec<u8>, Stall>,
) -> io::Result<()> {
    let mut header = [0; HEADER];
    while link.read_exact(&mut header).is_ok() {
        let sequence = word(&header, 4);
        match word(&header, 0) {
            CMD_UNLINK => reply(link, RET_UNLINK, sequence, -ECONNRESET, 0, &[])?,
            CMD_SUBMIT => {
                let (from_device, endpoint, length) =
                    (word(&header, 12) == 1, word(&header, 16), word(&header, 24));
                let mut data = vec![0; if from_device { 0 } else { length as usize }];
                link.read_exact(&mut data)?;
                // An interrupt transfer without data stays pending until the host cancels it.
                if endpoint != 0 {
                    continue;
                }
                let mut setup = [0; 8];
                setup.copy_from_slice(header.get(40..48).unwrap_or(&[0; 8]));
                match control(Setup::parse(&setup), &data) {
                    Ok(mut answer) if from_device => {
                        answer.truncate(length as usize);
                        reply(link, RET_SUBMIT, sequence, 0, answer.len() as u32, &answer)?;
                    }
                    Ok(_) => reply(link, RET_SUBMIT, sequence, 0, length, &[])?,
                    Err(Stall) => reply(link, RET_SUBMIT, sequence, -EPIPE, 0, &[])?,
                }
            }
            other => return Err(io::Error::other(format!("unknown USB/IP command {other}"))),
        }
    }
    Ok(())
}

fn word(header: &[u8; HEADER], at: usize) -> u32 {
    header.get(at..at + 4).and_then(|bytes| bytes.try_into().ok()).map_or(0, u32::from_be_bytes)
}

fn reply(
    mut link: &UnixStream,
    command: u32,
    sequence: u32,
    status: i32,
    length: u32,
    data: &[u8],
) -> io::Result<()> {
    let mut message = Vec::with_capacity(HEADER + data.len());
    for number in [command, sequence, 0, 0, 0] {
        message.extend(number.to_be_bytes());
    }
    message.extend(status.to_be_bytes());
    message.extend(length.to_be_bytes());
    message.resize(HEADER, 0);
    message.extend_from_slice(data);
    link.write_all(&message)
}

/// Descriptors, common to all simulated devices (USB 2.0, 9.6).
pub mod descriptor {
    /// The content of the device descriptor and the strings.
    #[derive(Debug)]
    pub struct Identity {
        pub vendor: u16,
        pub product: u16,
        pub release: u16,
        pub maker: &'static str,
        pub name: &'static str,
        pub serial: String,
    }

    impl Identity {
        pub fn device(&self) -> Vec<u8> {
            let mut bytes = vec![18, 1, 0x10, 0x01, 0, 0, 0, 8];
            for number in [self.vendor, self.product, self.release] {
                bytes.extend(number.to_le_bytes());
            }
            bytes.extend([1, 2, 3, 1]);
            bytes
        }

        /// String `index`: 0 is the list of languages (US English), then maker, name, serial
        /// number.
        pub fn string(&self, index: u8) -> Vec<u8> {
            let text = match index {
                0 => return vec![4, 3, 0x09, 0x04],
                1 => self.maker,
                2 => self.name,
                _ => &self.serial,
            };
            let units: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
            let mut bytes = vec![units.len() as u8 + 2, 3];
            bytes.extend(units);
            bytes
        }
    }

    /// Returns one configuration with one interface; `rest` follows the interface descriptor.
    pub fn configuration(class: u8, endpoints: u8, rest: &[u8]) -> Vec<u8> {
        let total = 9 + 9 + rest.len() as u16;
        let [low, high] = total.to_le_bytes();
        let mut bytes = vec![9, 2, low, high, 1, 1, 0, 0x80, 50];
        bytes.extend([9, 4, 0, 0, endpoints, class, 0, 0, 0]);
        bytes.extend(rest);
        bytes
    }
}
