//! Many datagrams by one call of the kernel (`sendmmsg(2)`, `recvmmsg(2)`), and when each of them
//! arrived.

use std::io;
use std::mem::{MaybeUninit, size_of};
use std::os::fd::{AsFd, AsRawFd};
use std::time::{Duration, SystemTime};

use socket2::SockAddr;
use tracing::debug;

/// Bounds the datagrams of one `sendmmsg(2)`. One time stamp serves them all, so this bounds the
/// error of a round trip: a tenth of a millisecond or two.
pub const SENT_AT_ONCE: usize = 32;
/// Bounds the datagrams of one `recvmmsg(2)`.
const READ_AT_ONCE: usize = 64;
/// Bounds the bytes that are kept of a datagram; the rest is cut off.
const LONGEST: usize = 128;
/// Bytes of a sender's address: `sockaddr_in6` is the longest (linux/in6.h).
pub const SENDER: usize = 28;
/// `SO_TIMESTAMPNS_NEW` of `asm-generic/socket.h`, kernel ≥ 5.1: a `__kernel_timespec`, two `i64`,
/// also where `time_t` is short.
const TIMESTAMP: libc::c_int = 64;

/// Reads the wall clock: time since 1970. The kernel's times of arrival are this clock's.
pub fn wall() -> Duration {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default()
}

/// Asks the kernel to note when a datagram arrives, and for room for a burst of `bytes` in either
/// direction: beyond the system's limit where we may (CAP_NET_ADMIN), else up to it. Memory is used
/// only while datagrams wait.
pub fn prepare(socket: &socket2::Socket, bytes: usize) {
    set(socket, libc::SOL_SOCKET, TIMESTAMP, 1);
    let forced = rustix::net::sockopt::set_socket_recv_buffer_size_force(socket, bytes);
    let set_any = forced.map_err(io::Error::from).or_else(|_| socket.set_recv_buffer_size(bytes));
    if let Err(error) = set_any {
        debug!(%error, bytes, "a socket keeps the system's room for what is received");
    }
    let room = libc::c_int::try_from(bytes).unwrap_or(libc::c_int::MAX);
    if !set(socket, libc::SOL_SOCKET, libc::SO_SNDBUFFORCE, room) {
        if let Err(error) = socket.set_send_buffer_size(bytes) {
            debug!(%error, bytes, "a socket keeps the system's room for what is sent");
        }
    }
}

/// Forbids fragments, for datagrams that fit everywhere (68 bytes; RFC 791). The kernel need not
/// think of an identification for each then, by which its pieces would be put together again: with
/// ten thousand peers a twentieth of all that asking costs.
pub fn never_fragment(socket: &socket2::Socket) {
    set(socket, libc::IPPROTO_IP, libc::IP_MTU_DISCOVER, libc::IP_PMTUDISC_DO);
}

/// Sets an option that is an int, and returns whether the kernel took it.
fn set(
    socket: &socket2::Socket,
    level: libc::c_int,
    option: libc::c_int,
    value: libc::c_int,
) -> bool {
    let size = size_of::<libc::c_int>() as libc::socklen_t;
    // SAFETY: these options read one int, which outlives the call; the descriptor is the socket's.
    unsafe {
        libc::setsockopt(socket.as_raw_fd(), level, option, (&raw const value).cast(), size) == 0
    }
}

/// Sends datagrams to their addresses, at most [`SENT_AT_ONCE`], and returns how many went.
///
/// # Errors
/// Of the first one; those behind it were not tried.
pub fn send<const N: usize>(
    socket: &impl AsFd,
    datagrams: &[([u8; N], SockAddr)],
) -> io::Result<usize> {
    let mut vectors = [libc::iovec { iov_base: std::ptr::null_mut(), iov_len: 0 }; SENT_AT_ONCE];
    // SAFETY: a `mmsghdr` of zeroes is valid: no address, no vectors, no control data.
    let mut headers: [libc::mmsghdr; SENT_AT_ONCE] = unsafe { MaybeUninit::zeroed().assume_init() };
    let mut count = 0;
    for ((bytes, to), (vector, header)) in
        datagrams.iter().zip(vectors.iter_mut().zip(&mut headers))
    {
        *vector = libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: N };
        header.msg_hdr.msg_name = to.as_ptr().cast_mut().cast();
        header.msg_hdr.msg_namelen = to.len();
        header.msg_hdr.msg_iov = vector;
        header.msg_hdr.msg_iovlen = 1;
        count += 1;
    }
    // SAFETY: `count` headers are filled in; what they point to lives in `datagrams` and `vectors`
    // beyond the call, and the kernel only reads it.
    let sent = unsafe {
        libc::sendmmsg(socket.as_fd().as_raw_fd(), headers.as_mut_ptr(), count, libc::MSG_DONTWAIT)
    };
    usize::try_from(sent).map_err(|_| io::Error::last_os_error())
}

/// Holds the room for the datagrams that one call reads.
pub struct RecvBuffer {
    slots: Box<[Slot; READ_AT_ONCE]>,
}

/// Holds one datagram, and what the kernel says of it.
#[derive(Clone, Copy)]
struct Slot {
    bytes: [u8; LONGEST],
    length: usize,
    from: [u8; SENDER],
    /// room for one control message with a time, aligned as they are
    control: [u64; 4],
}

impl std::fmt::Debug for RecvBuffer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RecvBuffer").finish_non_exhaustive()
    }
}

impl Default for RecvBuffer {
    fn default() -> Self {
        let empty = Slot { bytes: [0; LONGEST], length: 0, from: [0; SENDER], control: [0; 4] };
        Self { slots: Box::new([empty; READ_AT_ONCE]) }
    }
}

/// Lends out a datagram that was read.
#[derive(Debug, Clone, Copy)]
pub struct Datagram<'a> {
    pub bytes: &'a [u8],
    /// the first bytes of the sender's `sockaddr`
    pub from: &'a [u8; SENDER],
    /// by the [`wall`] clock; of a socket that was not [`prepare`]d, when it was read
    pub at: Duration,
}

impl RecvBuffer {
    /// Hands over everything that waits, without waiting.
    pub fn read(&mut self, socket: &impl AsFd, mut take: impl FnMut(Datagram<'_>)) {
        loop {
            let count = self.fill(socket);
            for slot in self.slots.iter().take(count) {
                let bytes = slot.bytes.get(..slot.length).unwrap_or_default();
                take(Datagram { bytes, from: &slot.from, at: slot.arrival().unwrap_or_else(wall) });
            }
            if count < READ_AT_ONCE {
                return;
            }
        }
    }

    fn fill(&mut self, socket: &impl AsFd) -> usize {
        let mut vectors =
            [libc::iovec { iov_base: std::ptr::null_mut(), iov_len: 0 }; READ_AT_ONCE];
        // SAFETY: a `mmsghdr` of zeroes is valid: no address, no vectors, no control data.
        let mut headers: [libc::mmsghdr; READ_AT_ONCE] =
            unsafe { MaybeUninit::zeroed().assume_init() };
        for (slot, (vector, header)) in
            self.slots.iter_mut().zip(vectors.iter_mut().zip(&mut headers))
        {
            slot.control = [0; 4];
            *vector = libc::iovec { iov_base: slot.bytes.as_mut_ptr().cast(), iov_len: LONGEST };
            header.msg_hdr.msg_name = slot.from.as_mut_ptr().cast();
            header.msg_hdr.msg_namelen = SENDER as libc::socklen_t;
            header.msg_hdr.msg_iov = vector;
            header.msg_hdr.msg_iovlen = 1;
            header.msg_hdr.msg_control = slot.control.as_mut_ptr().cast();
            header.msg_hdr.msg_controllen = size_of::<[u64; 4]>() as _;
        }
        // SAFETY: every header points to memory of its slot and its vector, with the right
        // lengths, which outlive the call and are not looked at before it returns.
        let count = unsafe {
            let wanted = READ_AT_ONCE as libc::c_uint;
            let descriptor = socket.as_fd().as_raw_fd();
            libc::recvmmsg(
                descriptor,
                headers.as_mut_ptr(),
                wanted,
                libc::MSG_DONTWAIT as _,
                std::ptr::null_mut(),
            )
        };
        let count = usize::try_from(count).unwrap_or(0);
        for (slot, header) in self.slots.iter_mut().zip(&headers).take(count) {
            slot.length = (header.msg_len as usize).min(LONGEST);
        }
        count
    }
}

impl Slot {
    /// Returns the time in the control message, if there is one.
    fn arrival(&self) -> Option<Duration> {
        let bytes = self.control.map(u64::to_ne_bytes);
        let bytes = bytes.as_flattened();
        // `struct cmsghdr`: a length as long as a pointer, level, type; then two `i64`.
        let head = size_of::<usize>();
        let word = |at: usize| bytes.get(at..)?.first_chunk().copied().map(i32::from_ne_bytes);
        let long = |at: usize| bytes.get(at..)?.first_chunk().copied().map(i64::from_ne_bytes);
        if (word(head)?, word(head + 4)?) != (libc::SOL_SOCKET, TIMESTAMP) {
            return None;
        }
        Some(Duration::new(
            u64::try_from(long(head + 8)?).ok()?,
            u32::try_from(long(head + 16)?).ok()?,
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{Ipv4Addr, SocketAddr, UdpSocket};

    #[test]
    fn a_hundred_datagrams_go_and_come_with_their_bytes_sender_and_time() {
        let there = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let here = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        here.set_nonblocking(true).unwrap();
        prepare(&there.try_clone().unwrap().into(), 1 << 20);
        let to: SocketAddr = there.local_addr().unwrap();
        let before = wall();
        let datagrams: Vec<([u8; 1], SockAddr)> = (0..100).map(|n| ([n], to.into())).collect();
        let mut rest = &datagrams[..];
        while !rest.is_empty() {
            rest = &rest[send(&here, rest).unwrap()..];
        }
        let port = here.local_addr().unwrap().port().to_be_bytes();
        let mut heard = Vec::new();
        RecvBuffer::default().read(&there, |datagram| {
            assert_eq!(datagram.from[2..4], port);
            assert!(datagram.at >= before - Duration::from_millis(20) && datagram.at <= wall());
            heard.push(datagram.bytes[0]);
        });
        assert_eq!(heard, (0..100).collect::<Vec<u8>>());
    }

    #[test]
    fn the_kernels_time_is_that_of_arrival_not_of_reading() {
        let there = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        prepare(&there.try_clone().unwrap().into(), 1 << 16);
        let here = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let age = || {
            send(&here, &[([7], there.local_addr().unwrap().into())]).unwrap();
            std::thread::sleep(Duration::from_millis(40));
            let mut arrival = None;
            RecvBuffer::default().read(&there, |datagram| arrival = Some(datagram.at));
            wall().saturating_sub(arrival.unwrap())
        };
        // The kernel begins to note arrivals a moment after it was asked to (`net_enable_timestamp`
        // defers it to a worker).
        let ages: Vec<Duration> = std::iter::repeat_with(age).take(25).collect();
        assert!(ages.last().is_some_and(|age| *age >= Duration::from_millis(35)), "{ages:?}");
    }
}
