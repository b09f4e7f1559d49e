//! Helpers for nf_tables messages: the header, the kernel's encoding of names and numbers, and
//! libnftnl's allocations.

use std::alloc::{Layout, handle_alloc_error};
use std::ffi::{CString, c_void};
use std::ptr::NonNull;

use nftnl::nftnl_sys as sys;

use crate::decide::firewall::Transport;
use crate::packet::{TCP, UDP};

/// Writes the header of a message for the family inet. Returns the header.
///
/// # Safety
/// `buffer` must have room for a message.
pub unsafe fn header(
    buffer: *mut c_void,
    command: u16,
    flags: u16,
    sequence: u32,
) -> *mut libc::nlmsghdr {
    // SAFETY: guaranteed by the caller.
    unsafe {
        sys::nftnl_nlmsg_build_hdr(
            buffer.cast(),
            command,
            libc::NFPROTO_INET as u16,
            flags,
            sequence,
        )
    }
}

/// Checks an allocation of libnftnl. Aborts if it failed, as Rust's allocator does.
pub fn allocated<T>(pointer: *mut T) -> NonNull<T> {
    NonNull::new(pointer).unwrap_or_else(|| handle_alloc_error(Layout::new::<[u64; 8]>()))
}

/// Returns the IP protocol number of a transport.
pub const fn protocol(transport: Transport) -> u8 {
    match transport {
        Transport::Tcp => TCP,
        Transport::Udp => UDP,
    }
}

/// Returns the name padded with zeros to `IFNAMSIZ`.
pub fn name_of_interface(name: &str) -> [u8; libc::IFNAMSIZ] {
    let mut padded = [0; libc::IFNAMSIZ];
    padded.iter_mut().zip(name.bytes().take(libc::IFNAMSIZ - 1)).for_each(|(to, from)| *to = from);
    padded
}

/// Converts a name to a C string. Truncates at a zero byte, which neither our names nor those of
/// interfaces contain.
pub fn text(name: &str) -> CString {
    let end = name.find('\0').unwrap_or(name.len());
    CString::new(name.get(..end).unwrap_or_default()).unwrap_or_default()
}
