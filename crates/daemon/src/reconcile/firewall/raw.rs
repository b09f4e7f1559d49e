//! What all our messages to nf_tables are made with: the message's header, strings and numbers as
//! the kernel wants them, and memory of libnftnl's.

use std::alloc::{Layout, handle_alloc_error};
use std::ffi::{CString, c_void};
use std::ptr::NonNull;

use nftnl::nftnl_sys as sys;

use crate::decide::firewall::Transport;

/// Writes the header of a message for the family inet, and returns it.
///
/// # Safety
/// `buffer` has room for a message.
pub unsafe fn header(
    buffer: *mut c_void,
    command: u16,
    flags: u16,
    sequence: u32,
) -> *mut libc::nlmsghdr {
    // SAFETY: the caller's promise.
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

/// Returns what libnftnl allocated; ends the process if there was no memory, as Rust does.
pub fn allocated<T>(pointer: *mut T) -> NonNull<T> {
    NonNull::new(pointer).unwrap_or_else(|| handle_alloc_error(Layout::new::<[u64; 8]>()))
}

/// Returns the number of a transport protocol (RFC 5237's registry).
pub const fn protocol(transport: Transport) -> u8 {
    match transport {
        Transport::Tcp => 6,
        Transport::Udp => 17,
    }
}

/// Returns the name with zeros up to `IFNAMSIZ`.
pub fn name_of_interface(name: &str) -> [u8; libc::IFNAMSIZ] {
    let mut padded = [0; libc::IFNAMSIZ];
    padded.iter_mut().zip(name.bytes().take(libc::IFNAMSIZ - 1)).for_each(|(to, from)| *to = from);
    padded
}

/// Returns a C string; what stands after a zero byte is lost (there is none in names of ours or of
/// interfaces).
pub fn text(name: &str) -> CString {
    let end = name.find('\0').unwrap_or(name.len());
    CString::new(name.get(..end).unwrap_or_default()).unwrap_or_default()
}
