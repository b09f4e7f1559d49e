//! Connections to the daemon's sockets that never wait longer than they may. Of a daemon that hangs
//! the queue fills, and then connect(2) waits for ever; and a time limit of each read alone is none
//! for a peer that sends a byte now and then.

use std::io::{self, BufRead, BufReader, ErrorKind};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use socket2::{Domain, SockAddr, Socket, Type};

/// How long a place in the queue is waited for, and in what steps.
const QUEUE: Duration = Duration::from_secs(3);
const STEP: Duration = Duration::from_millis(20);

/// Connects; a full queue is waited for 3 s at most.
///
/// # Errors
/// No process listens there; none accepts ([`ErrorKind::TimedOut`]).
pub fn connect(path: &Path) -> io::Result<UnixStream> {
    let address = SockAddr::unix(path)?;
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    let deadline = Instant::now() + QUEUE;
    loop {
        match socket.connect(&address) {
            Ok(()) => break,
            // unix(7): the queue of who listens is full.
            Err(error) if error.kind() == ErrorKind::WouldBlock && Instant::now() < deadline => {
                sleep(STEP)
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                return Err(io::Error::new(
                    ErrorKind::TimedOut,
                    "the daemon there does not accept connections: it hangs",
                ));
            }
            Err(error) => return Err(error),
        }
    }
    socket.set_nonblocking(false)?;
    Ok(UnixStream::from(OwnedFd::from(socket)))
}

/// Appends to `line` up to and with the next line break, until it holds `longest` bytes, the peer
/// closes, or `timeout` has passed since the call; `None` waits for ever. What came before an error
/// stays in `line`.
///
/// # Errors
/// It took longer ([`ErrorKind::TimedOut`] or [`ErrorKind::WouldBlock`]); of the system calls.
pub fn read_line(
    reader: &mut BufReader<UnixStream>,
    line: &mut Vec<u8>,
    longest: usize,
    timeout: Option<Duration>,
) -> io::Result<()> {
    let deadline = timeout.map(|timeout| Instant::now() + timeout);
    loop {
        let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        if left.is_some_and(|left| left.is_zero()) {
            return Err(ErrorKind::TimedOut.into());
        }
        reader.get_ref().set_read_timeout(left)?;
        let come = match reader.fill_buf() {
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            come => come?,
        };
        let room = longest.saturating_sub(line.len()).min(come.len());
        let end = come.iter().take(room).position(|byte| *byte == b'\n');
        let taken = end.map_or(room, |place| place + 1);
        line.extend_from_slice(come.get(..taken).unwrap_or_default());
        reader.consume(taken);
        if end.is_some() || taken == 0 {
            return Ok(());
        }
    }
}
