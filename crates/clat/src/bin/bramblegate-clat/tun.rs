//! A TUN device with checksum and segmentation offload (`IFF_VNET_HDR`;
//! Documentation/networking/tuntap.rst).

use std::fs::{File, OpenOptions};
use std::io::{self, IoSlice, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::OpenOptionsExt;

use bramblegate_clat::Offload;
use rustix::fs::OFlags;
use rustix::ioctl::{self, IntegerSetter, Setter, opcode};

/// The sizes of an interface's name with its NUL and of `struct ifreq`, in octets (linux/if.h).
const IFNAMSIZ: usize = 16;
const IFREQ: usize = 40;
/// linux/if_tun.h
const IFF_TUN: u16 = 0x0001;
const IFF_NO_PI: u16 = 0x1000;
const IFF_VNET_HDR: u16 = 0x4000;
const TUN_F_CSUM: usize = 0x01;
const TUN_F_TSO4: usize = 0x02;
const TUN_F_TSO6: usize = 0x04;
const TUN_F_TSO_ECN: usize = 0x08;
const TUNSETIFF: ioctl::Opcode = opcode::write::<i32>(b'T', 202);
const TUNSETOFFLOAD: ioctl::Opcode = opcode::write::<u32>(b'T', 208);

/// The device. Dropping this removes it, unless it existed before as a persistent one.
#[derive(Debug)]
pub struct Tun {
    file: File,
}

impl Tun {
    /// Opens a device, or creates it.
    ///
    /// # Errors
    /// The kernel refuses, or the name is too long ([`io::ErrorKind::InvalidInput`]).
    pub fn open(name: &str) -> io::Result<Self> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).custom_flags(OFlags::NONBLOCK.bits() as i32);
        let file = options.open("/dev/net/tun")?;
        let mut request = [0; IFREQ];
        let (to, rest) = request.split_at_mut(IFNAMSIZ);
        if name.is_empty() || name.len() >= IFNAMSIZ {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        to.iter_mut().zip(name.as_bytes()).for_each(|(to, from)| *to = *from);
        let flags = (IFF_TUN | IFF_NO_PI | IFF_VNET_HDR).to_ne_bytes();
        rest.iter_mut().zip(flags).for_each(|(to, from)| *to = from);
        let offloads = TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6 | TUN_F_TSO_ECN;
        // SAFETY: TUNSETIFF reads and writes a `struct ifreq`; the request has its size, and any
        // bytes are valid for it. TUNSETOFFLOAD takes a number.
        unsafe {
            ioctl::ioctl(&file, Setter::<TUNSETIFF, [u8; IFREQ]>::new(request))?;
            ioctl::ioctl(&file, IntegerSetter::<TUNSETOFFLOAD>::new_usize(offloads))?;
        }
        Ok(Self { file })
    }

    /// Reads an [`Offload`] and its packet, and returns the length of both in octets; `None`
    /// without a pending packet.
    ///
    /// # Errors
    /// The device is gone.
    pub fn read(&self, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        loop {
            match (&self.file).read(buffer) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
                result => return result.map(Some),
            }
        }
    }

    /// Sends a packet; one that the kernel refuses is lost.
    pub fn write(&self, offload: &Offload, headers: &[u8], body: &[u8]) {
        let offload = offload.to_bytes();
        let parts = [IoSlice::new(&offload), IoSlice::new(headers), IoSlice::new(body)];
        let _ = (&self.file).write_vectored(&parts);
    }
}

impl AsFd for Tun {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}
