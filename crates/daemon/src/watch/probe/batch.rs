//! Sends and receives many datagrams per system call (`sendmmsg(2)`, `recvmmsg(2)`), with their
//! arrival times.

use std::io;
use std::mem::{MaybeUninit, size_of};
use std::os::fd::{AsFd, AsRawFd};
use std::time::{Duration, SystemTime};

use socket2::SockAddr;
use tracing::debug;

/// Maximum number of datagrams per `sendmmsg(2)`. They share a send timestamp, so this also limits
/// the error of a round trip to one or two tenths of a millisecond.
pub const SENT_AT_ONCE: usize = 32;
/// Maximum number of datagrams per `recvmmsg(2)`.
const READ_AT_ONCE: usize = 64;
/// Maximum length of a received datagram in bytes; longer ones are truncated.
const MAX_LENGTH: usize = 128;
/// Size of a sender's address in bytes: `sockaddr_in6` is the longest (linux/in6.h).
pub const SENDER: usize = 28;
/// `SO_TIMESTAMPNS_NEW` (`asm-generic/socket.h`, kernel ≥ 5.1): a `__kernel_timespec`, which is two
/// `i64` even if `time_t` has 32 bits.
const TIMESTAMP: libc::c_int = 64;

/// Returns the wall-clock time since 1970, the clock of the kernel's arrival times.
pub fn wall() -> Duration {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default()
}

/// Enables arrival timestamps, and sets both socket buffers to `bytes`: beyond the system's limit
/// with CAP_NET_ADMIN, else up to it. The kernel uses memory only for queued datagrams.
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

/// Sets the DF flag, for datagrams within the minimum MTU (68 bytes; RFC 791). The kernel then need
/// not generate an IP identification for each, which with ten thousand peers is a twentieth of the
/// total cost of probing.
pub fn never_fragment(socket: &socket2::Socket) {
    set(socket, libc::IPPROTO_IP, libc::IP_MTU_DISCOVER, libc::IP_PMTUDISC_DO);
}

/// Sets an integer socket option. Returns whether the kernel accepted it.
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

/// Sends at most [`SENT_AT_ONCE`] datagrams to their addresses. Returns how many were sent.
///
/// # Errors
/// The first datagram could not be sent; the others were not tried.
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

/// Holds the buffers for the datagrams that one call reads.
#[derive(Debug)]
pub struct RecvBuffer {
    slots: Box<[Slot; READ_AT_ONCE]>,
}

/// Holds one datagram and its metadata.
#[derive(Debug, Clone, Copy)]
struct Slot {
    bytes: [u8; MAX_LENGTH],
    length: usize,
    from: [u8; SENDER],
    /// Buffer for one control message with a timestamp, aligned for `cmsghdr`.
    control: [u64; 4],
}

impl Default for RecvBuffer {
    fn default() -> Self {
        let empty = Slot { bytes: [0; MAX_LENGTH], length: 0, from: [0; SENDER], control: [0; 4] };
        Self { slots: Box::new([empty; READ_AT_ONCE]) }
    }
}

/// Borrows a received datagram.
#[derive(Debug, Clone, Copy)]
pub struct Datagram<'a> {
    pub bytes: &'a [u8],
    /// The first bytes of the sender's `sockaddr`.
    pub from: &'a [u8; SENDER],
    /// Arrival by the [`wall`] clock; the time of reading on a socket without [`prepare`].
    pub at: Duration,
}

impl RecvBuffer {
    /// Passes all queued datagrams to `take`, without blocking.
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

    /// Reads one batch. Returns the number of datagrams.
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
            *vector = libc::iovec { iov_base: slot.bytes.as_mut_ptr().cast(), iov_len: MAX_LENGTH };
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
            slot.length = (header.msg_len as usize).min(MAX_LENGTH);
        }
        count
    }
}

impl Slot {
    /// Returns the timestamp in the control message, if present.
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
    fn a_hundred_datagrams_are_received_with_content_sender_and_time() {
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
    fn the_timestamp_is_that_of_arrival_not_of_reading() {
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
        // Timestamps start with a delay: `net_enable_timestamp` defers to a worker.
        let ages: Vec<Duration> = std::iter::repeat_with(age).take(25).collect();
        assert!(ages.last().is_some_and(|age| *age >= Duration::from_millis(35)), "{ages:?}");
    }
}
